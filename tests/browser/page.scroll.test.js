/**
 * Long conversations: older messages come without anything jumping, the document stays small, and the latest is a click away.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEADLINE_MS, until } from './support.js';
import { conversationIn, field, item, message, open, say, store, texts, useBrowser } from './visit.js';

const browser = useBrowser();
const FAST = ['--dev', '--messages-per-second', '0'];
const MOST_SHOWN = 300;

/** @import { Page } from 'playwright-core' */

/** How far a thread is scrolled from its end. @param {Page} page */
const below = (page) => page.locator('#log').evaluate((log) => log.scrollHeight - log.clientHeight - log.scrollTop);

/**
 * Scrolls close to the upper edge and watches the first message that is seen, in every frame until older messages have come. Answers
 * how far it moved at most.
 * @param {Page} page @param {number} top where to scroll to
 */
const watchAnchor = (page, top) => page.evaluate(([top, most]) => new Promise((resolve, reject) => {
  const log = /** @type {HTMLElement} */ (document.getElementById('log'));
  log.scrollTop = top;
  const edge = log.getBoundingClientRect().top;
  const anchor = [...log.querySelectorAll('.message')].find((row) => row.getBoundingClientRect().top >= edge);
  if (!anchor) return reject(new Error('nothing is seen'));
  const [before, rows] = [anchor.getBoundingClientRect().top, log.querySelectorAll('.message')];
  const oldest = rows[0];
  let worst = 0;
  const end = performance.now() + most;
  const look = () => {
    worst = Math.max(worst, anchor.isConnected ? Math.abs(anchor.getBoundingClientRect().top - before) : Infinity);
    if (log.querySelector('.message') !== oldest) return resolve({ worst, isConnected: anchor.isConnected });
    if (performance.now() > end) return reject(new Error('no older messages came'));
    requestAnimationFrame(look);
  };
  look();
}), [top, DEADLINE_MS]);

test('older messages come while scrolling up, and what is read does not move', async (t) => {
  const visit = await browser.visit(t, FAST);
  const alice = await visit.signIn('Alice');
  // Her own, from elsewhere: of somebody else's, the server may not know yet that she has read them, and opens where they begin.
  await store(alice, 'alice', conversationIn(alice), 'Message', 700);
  await message(alice, 'Message 700').waitFor();
  await until('the end', async () => (await below(alice)) < 2);

  // The tab forgets what came live: from here on older messages come from the server.
  await alice.reload();
  await message(alice, 'Message 700').waitFor();
  await until('the end', async () => (await below(alice)) < 2);
  assert.ok((await texts(alice)).length <= 100);

  // At the very top, where only a divider is above, and with a row cut by the edge.
  for (const top of [120, 0, 133, 1, 57, 0]) {
    const { worst, isConnected } = /** @type {{ worst: number, isConnected: boolean }} */ (await watchAnchor(alice, top));
    assert.ok(isConnected && worst <= 1, `from ${top}: it moved by ${worst} px`);
  }

  // All the way up, with a bounded document.
  await until('the first message', async () => {
    await alice.locator('#log').evaluate((log) => {
      log.scrollTop = 0;
    });
    const shown = await texts(alice);
    assert.ok(shown.length <= MOST_SHOWN, `${shown.length} messages in the document`);
    const first = Number(shown[0].split(' ')[1]);
    assert.deepEqual(shown, shown.map((_, index) => `Message ${first + index}`), 'without a gap');
    return first === 1;
  });

  // And down again, by hand.
  await until('the last message', async () => {
    await alice.locator('#log').evaluate((log) => {
      log.scrollTop = log.scrollHeight;
    });
    const shown = await texts(alice);
    assert.ok(shown.length <= MOST_SHOWN);
    return shown.at(-1) === 'Message 700';
  });
  visit.assertQuiet();
});

test('a thread at its end stays there when it becomes smaller while it moves', async (t) => {
  const visit = await browser.visit(t, FAST);
  const alice = await visit.signIn('Alice');
  await store(alice, 'bob', conversationIn(alice), 'Message', 120);
  await message(alice, 'Message 120').waitFor();
  await until('the end', async () => (await below(alice)) < 2);
  // A movement towards the end, of which is told only when the frame has its new size.
  await alice.locator('#log').evaluate(async (log) => {
    const frame = () => new Promise(requestAnimationFrame);
    log.scrollTop -= 20;
    await frame();
    await frame();
    // Between two frames: the next one tells of the movement first, and of the size last.
    await new Promise((resolve) => setTimeout(resolve));
    log.scrollTop += 20;
    log.style.marginBottom = '200px';
  });
  await until('the end', async () => (await below(alice)) < 2);
  await alice.locator('#latest').waitFor({ state: 'hidden' });
  visit.assertQuiet();
});

test('what arrives while one reads further up waits below', async (t) => {
  const visit = await browser.visit(t, FAST);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await store(alice, 'bob', conversationIn(alice), 'Message', 120);
  await message(alice, 'Message 120').waitFor();
  await until('the end', async () => (await below(alice)) < 2);
  await alice.locator('#log').hover();
  await alice.mouse.wheel(0, -1500);
  const latest = alice.locator('#latest');
  await latest.waitFor();
  const top = await alice.locator('#log').evaluate((log) => log.scrollTop);
  await say(bob, 'news');
  await latest.getByText('1', { exact: true }).waitFor();
  assert.equal(await alice.locator('#log').evaluate((log) => log.scrollTop), top, 'nothing moved');
  await item(alice, 'Bob').locator('.badge').getByText('1').waitFor();

  await latest.click();
  await latest.waitFor({ state: 'hidden' });
  await until('the end', async () => (await below(alice)) < 2);
  await alice.locator('#log .divider.new').waitFor();
  await item(alice, 'Bob').locator('.badge').waitFor({ state: 'detached' });
  // At the end it stays there.
  await say(bob, 'more news\nof\nseveral\nlines');
  await message(alice, 'more news').or(alice.getByText('more news')).first().waitFor();
  await until('the end', async () => (await below(alice)) < 2);
  // A field that grows pushes nothing out of sight.
  await field(alice).fill('1\n2\n3\n4\n5');
  await until('the end', async () => (await below(alice)) < 2);
  visit.assertQuiet();
});

test('a conversation with much that is new opens where that begins', async (t) => {
  const visit = await browser.visit(t, FAST);
  const alice = await visit.signIn('Alice');
  const id = conversationIn(alice);
  await store(alice, 'bob', id, 'Old', 30);
  await message(alice, 'Old 30').waitFor();
  await item(alice, 'Bob').locator('.badge').waitFor({ state: 'detached' });
  await open(alice, 'Lounge');
  await store(alice, 'bob', id, 'New', 45);
  await item(alice, 'Bob').locator('.badge').getByText('45').waitFor();
  await open(alice, 'Bob');
  const line = alice.locator('#log .divider.new');
  await line.waitFor();
  const place = await line.evaluate((element) => {
    const frame = /** @type {HTMLElement} */ (element.parentElement).getBoundingClientRect();
    return (element.getBoundingClientRect().top - frame.top) / frame.height;
  });
  assert.ok(place > 0 && place < 0.5, `the line stands at ${place} of the height`);
  assert.equal(await alice.evaluate(() => document.querySelector('.divider.new')?.nextElementSibling?.querySelector('.content')?.textContent), 'New 1');
  await item(alice, 'Bob').locator('.badge').getByText('45').waitFor();
  await field(alice).press('Escape');
  await alice.locator('#log').focus();
  await alice.keyboard.press('End');
  await item(alice, 'Bob').locator('.badge').waitFor({ state: 'detached' });
  visit.assertQuiet();
});
