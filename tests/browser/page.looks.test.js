/**
 * Every screen in light, in dark and on a phone: nothing serious that axe-core finds, and pictures to look at.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import axe from 'axe-core';
import { screenshot, until } from './support.js';
import { conversationIn, message, open, say, store, typeUntil, useBrowser } from './visit.js';

const browser = useBrowser();
const DESKTOP = { width: 1200, height: 800 };
const PHONE = { width: 390, height: 844 };
const LOOKS = [
  { name: 'light', options: { colorScheme: /** @type {const} */ ('light'), viewport: DESKTOP } },
  { name: 'dark', options: { colorScheme: /** @type {const} */ ('dark'), viewport: DESKTOP } },
  { name: 'phone', options: { colorScheme: /** @type {const} */ ('light'), viewport: PHONE, hasTouch: true, isMobile: true, deviceScaleFactor: 2 } },
  { name: 'phone-dark', options: { colorScheme: /** @type {const} */ ('dark'), viewport: PHONE, hasTouch: true, isMobile: true, deviceScaleFactor: 2 } },
];

/** @import { Page } from 'playwright-core' */

/** Looks a screen over, and keeps a picture of it. @param {Page} page @param {string} name */
async function inspect(page, name) {
  await screenshot(page, name);
  // The policy is for the page's own code; this comes in through the debugger, and asks for nothing that it forbids.
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { run } = /** @type {typeof axe} */ (Reflect.get(window, 'axe'));
    const { violations } = await run(document, { resultTypes: ['violations'] });
    return violations.map(({ id, impact, nodes }) => ({ id, impact, targets: nodes.map((node) => `${node.target} ${node.failureSummary}`) }));
  });
  const grave = found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(grave, [], `${name}: no serious findings`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name}: nothing is ${wide} px too wide`);
}

for (const { name, options } of LOOKS) {
  test(`${name}: every screen`, async (t) => {
    const visit = await browser.visit(t, ['--dev', '--messages-per-second', '0']);
    const isPhone = name.startsWith('phone');
    const alice = await visit.tab(options);
    await alice.goto(visit.server.url);
    await alice.getByRole('button', { name: 'Alice' }).waitFor();
    await inspect(alice, `${name}-welcome`);
    await alice.getByRole('button', { name: 'Alice' }).click();
    await alice.locator('#composer').waitFor();
    await inspect(alice, `${name}-empty`);

    const direct = conversationIn(alice);
    const bob = await visit.signIn('Bob');
    await converse(alice, bob);
    await inspect(alice, `${name}-thread`);
    if (isPhone) {
      await alice.getByRole('button', { name: 'Back to the conversations' }).click();
      await alice.locator('#list').waitFor();
    }
    await open(bob, 'Lounge');
    await say(bob, 'Who is coming to the quiz on Thursday? We need one more who knows anything about birds.');
    await store(bob, 'carol', conversationIn(bob), 'Me too, number', 1);
    await say(bob, '🎉');
    await until('the badge', async () => (await alice.locator('#list .badge').count()) === 1);
    await typeUntil(bob, () => alice.getByText('Bob is typing…').isVisible());
    await inspect(alice, `${name}-list`);
    await open(alice, 'Lounge');
    await typeUntil(bob, () => alice.locator('#typing').getByText('Bob is typing').isVisible());
    await inspect(alice, `${name}-group`);
    await alice.getByRole('button', { name: 'Members and details' }).click();
    await inspect(alice, `${name}-members`);
    await alice.keyboard.press('Escape');

    if (isPhone) await alice.getByRole('button', { name: 'Back to the conversations' }).click();
    await alice.getByRole('button', { name: 'New conversation' }).click();
    await inspect(alice, `${name}-new`);
    await alice.getByLabel('Somebody else, by user id').fill('x'.repeat(128));
    await inspect(alice, `${name}-new-written`);
    await alice.locator('#new-dialog').getByText('Group', { exact: true }).click();
    await inspect(alice, `${name}-new-group`);
    await alice.keyboard.press('Escape');
    await alice.evaluate(() => {
      location.hash = 'join=kr4vfjdf5m1qw605020zn62z0w7cbc4j';
    });
    await alice.getByLabel('Invite code', { exact: true }).waitFor();
    await inspect(alice, `${name}-invite`);
    await alice.keyboard.press('Escape');
    await alice.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await inspect(alice, `${name}-help`);
    await alice.keyboard.press('Escape');

    await open(alice, 'Bob');
    await visit.server.kill();
    await alice.locator('#banner').getByText('The connection is lost.').waitFor();
    await say(alice, 'Are you still there? This one is longer than it may be soon.');
    await inspect(alice, `${name}-outage`);
    await visit.server.start(['--dev', '--max-content-chars', '20']);
    await alice.getByText('Not sent.').waitFor();
    await inspect(alice, `${name}-failed`);
    assert.equal(conversationIn(alice), direct);
  });
}

/** Something to look at. @param {Page} alice @param {Page} bob */
async function converse(alice, bob) {
  await say(bob, 'Hi Alice! Did you get the keys for the rehearsal room?');
  await message(alice, 'Hi Alice! Did you get the keys for the rehearsal room?').waitFor();
  await say(alice, 'Yes, picked them up this morning.');
  await say(alice, 'The door sticks, so pull while you turn. It took me ten minutes, and somebody with a cello watched the whole time.');
  await message(bob, 'Yes, picked them up this morning.').waitFor();
  await say(bob, 'Good to know! I would have knocked until somebody came.');
  await say(bob, 'Here is how to find it: https://example.com/rooms/12?floor=3');
  await message(alice, 'Good to know! I would have knocked until somebody came.').waitFor();
  await say(alice, 'Thank you!');
  await say(alice, 'See you at seven.\nI bring the tea.');
  await message(bob, 'See you at seven.\nI bring the tea.').waitFor();
  await message(alice, 'See you at seven.\nI bring the tea.').locator('.mark.read').waitFor();
}
