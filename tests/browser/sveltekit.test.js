/**
 * The app of examples/sveltekit in a real browser, on the real server: two users chat, drafts, scrolling, the keyboard alone,
 * accessibility, and how it looks. What happens in outages is in sveltekit.outage.test.js.
 */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { OUTAGE, screenshot, until } from './support.js';
import { connected, conversationIn, field, item, marked, message, say, store, texts, useBrowser, writeTo } from './sveltekit-app.js';

const browser = useBrowser();
const FAST = { flags: ['--messages-per-second', '0'] };
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

/** @import { Page } from 'playwright-core' */

test('logging in works without JavaScript, and tokens are for those who are', async (t) => {
  const visit = await browser.visit(t);
  const context = await visit.open({ javaScriptEnabled: false });
  assert.equal((await context.request.post('/api/chat-token')).status(), 401);
  const page = await context.newPage();
  await page.goto('/c/some-id');
  assert.equal(new URL(page.url()).pathname, '/login');
  await page.getByRole('button', { name: 'Alice' }).click();
  assert.equal(new URL(page.url()).pathname, '/c/some-id', 'it goes where one wanted to');
  await page.getByRole('heading', { name: 'Alice', level: 1 }).waitFor();

  const [cookie] = await context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Lax']);
  const answer = await context.request.post('/api/chat-token');
  assert.equal(answer.headers()['cache-control'], 'no-store');
  const claims = JSON.parse(Buffer.from((await answer.json()).token.split('.')[1], 'base64url').toString());
  assert.deepEqual([claims.sub, claims.name], ['alice', 'Alice']);
  assert.ok(claims.exp - Date.now() / 1000 <= 300);

  const [payload, signature] = cookie.value.split('.');
  const forged = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), id: 'bob' })).toString('base64url');
  for (const value of [`${forged}.${signature}`, payload, `${cookie.value}x`, 'x.y']) {
    await context.addCookies([{ ...cookie, value }]);
    assert.equal((await context.request.post('/api/chat-token')).status(), 401, value);
  }
  await context.addCookies([cookie]);
  await page.getByRole('button', { name: 'Log out' }).click();
  assert.equal(new URL(page.url()).pathname, '/login');
  assert.deepEqual(await context.cookies(), []);
  // Not to another site afterwards.
  await page.goto('/login?next=//example.com/');
  await page.getByRole('button', { name: 'Bob' }).click();
  assert.equal(page.url(), `${visit.app.url}/`);
  const ways = [['/c/x?y#z', '/c/x?y#z'], ['/€', '/%E2%82%AC'], ['http://[', '/'], ['//[', '/'], ['/.//example.com/', '/'], ['/\\example.com/', '/']];
  for (const [next, expected] of ways) {
    const answer = await context.request.get(`/login?next=${encodeURIComponent(next)}`, { maxRedirects: 0 });
    assert.deepEqual([answer.status(), answer.headers().location], [303, expected], next);
  }
});

test('a session that is over leads to the login, and a token that is refused is told of', async (t) => {
  const visit = await browser.visit(t);
  const page = await visit.signIn('Alice');
  await page.route('**/api/chat-token', async (route) => {
    await page.context().clearCookies();
    await route.fulfill({ status: 401 });
  });
  await page.reload();
  await page.waitForURL('**/login?next=%2F');
  await page.unroute('**/api/chat-token');
  await page.getByRole('button', { name: 'Alice' }).click();
  await connected(page);

  // The app and the chat server do not have the same secret any more.
  await visit.server.kill();
  const secret = path.join(visit.server.directory, 'other');
  writeFileSync(secret, 'a secret that the app has not got, 40 bytes', { mode: 0o600 });
  await visit.server.start(['--jwt-secret-file', secret]);
  await page.getByText('The chat server did not let you in.').waitFor();
  await visit.server.kill();
  await visit.restart();
  await page.getByRole('button', { name: 'Connect again' }).click();
  await page.getByText('The chat server did not let you in.').waitFor({ state: 'detached' });
  await writeTo(page, 'Bob');

  // Also where it is the first that the page hears of the server: the list is there afterwards.
  await visit.server.kill();
  await visit.server.start(['--jwt-secret-file', secret]);
  await page.goto('/');
  await page.getByText('The chat server did not let you in.').waitFor();
  await visit.server.kill();
  await visit.restart();
  await page.getByRole('button', { name: 'Connect again' }).click();
  await item(page, 'Bob').waitFor();
  visit.assertQuiet([...OUTAGE, /status of 401/u]);
});

test('two users chat: unread counts, typing, presence, read ticks', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await writeTo(alice, 'Bob');
  await say(alice, 'Hello, Bob!');
  await marked(alice, 'Hello, Bob!', 'Sent');
  await item(bob, 'Alice').getByText('1 unread').waitFor();
  await until('the title', async () => (await bob.title()) === '(1) Parlor');

  await item(bob, 'Alice').click();
  await message(bob, 'Hello, Bob!').waitFor();
  await bob.getByText('New', { exact: true }).waitFor();
  await marked(alice, 'Hello, Bob!', 'Read by Bob');
  await item(bob, 'Alice').getByText('unread').waitFor({ state: 'detached' });
  await until('the title', async () => (await bob.title()) === 'Parlor');

  await field(bob).pressSequentially('<b>Hi</b>');
  await alice.getByText('Bob is typing…').waitFor();
  await item(alice, 'Bob').getByText('typing…').waitFor();
  await field(bob).press('Shift+Enter');
  await field(bob).pressSequentially('Alice');
  await field(bob).press('Enter');
  await message(alice, '<b>Hi</b>\nAlice').waitFor();
  await alice.getByText('Bob is typing…').waitFor({ state: 'detached' });
  await marked(bob, '<b>Hi</b>\nAlice', 'Read by Alice');

  await alice.locator('main header').getByText('online', { exact: true }).waitFor();
  await bob.getByRole('button', { name: 'Log out' }).click();
  await alice.locator('main header').getByText('last seen just now').waitFor();
  visit.assertQuiet();
});

test('a group is made, joined by its link and by its code, and left', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice', { permissions: ['clipboard-read', 'clipboard-write'] });
  const dialog = alice.getByRole('dialog');
  await alice.getByRole('button', { name: 'New chat' }).click();
  await dialog.getByLabel('Name of the group').fill('Lunch');
  await dialog.getByLabel('Bob').check();
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await alice.getByRole('heading', { name: 'Lunch', level: 2 }).waitFor();
  await say(alice, 'Noon?');
  await alice.getByRole('button', { name: 'Members' }).click();
  const code = await dialog.locator('code').innerText();
  await dialog.getByRole('button', { name: 'Copy the link' }).click();
  await dialog.getByText('Copied.').waitFor();
  const link = await alice.evaluate(() => navigator.clipboard.readText());
  await dialog.getByRole('button', { name: 'Close' }).click();

  const carol = await visit.signIn('Carol');
  await carol.goto(link);
  await carol.getByRole('button', { name: 'Join it' }).click();
  await message(carol, 'Noon?').waitFor();
  await alice.getByText('Carol joined').waitFor();
  await alice.getByText('3 members').waitFor();

  const dave = await visit.signIn('Dave');
  await dave.getByRole('button', { name: 'New chat' }).click();
  await dave.getByLabel('Invite code').fill('nonsense');
  await dave.getByRole('button', { name: 'Join', exact: true }).click();
  await dave.getByText('There is no group with this code.').waitFor();
  await dave.getByLabel('Invite code').fill(code.toUpperCase());
  await dave.getByRole('button', { name: 'Join', exact: true }).click();
  await message(dave, 'Noon?').waitFor();
  await say(dave, 'I am in');
  await message(alice, 'I am in').getByText('Dave', { exact: true }).waitFor();

  await dave.getByRole('button', { name: 'Members' }).click();
  await dave.getByRole('button', { name: 'Leave the group' }).click();
  await dave.getByRole('button', { name: 'Really leave?' }).click();
  await dave.waitForURL('/');
  await alice.getByText('Dave left').waitFor();
  await dave.goto(`/c/${conversationIn(alice)}`);
  await dave.getByText('There is no such conversation, or you are not in it.').waitFor();
  visit.assertQuiet();
});

test('what one has begun to write is there after a reload, and for nobody else', async (t) => {
  const visit = await browser.visit(t);
  const page = await visit.signIn('Alice');
  await writeTo(page, 'Bob');
  await say(page, 'hi');
  await marked(page, 'hi', 'Sent');
  await field(page).fill('Dear Bob, between us');
  const thread = page.url();
  await page.reload();
  await until('the draft', async () => (await field(page).inputValue()) === 'Dear Bob, between us');

  // The session ends without a word, and somebody else logs in, in the same tab.
  const as = async (/** @type {string} */ name) => {
    await page.context().clearCookies();
    await page.goto(thread);
    await page.getByRole('button', { name }).click();
    await message(page, 'hi').waitFor();
  };
  await as('Bob');
  assert.equal(await field(page).inputValue(), '');
  await as('Alice');
  assert.equal(await field(page).inputValue(), 'Dear Bob, between us');
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('heading', { name: 'Who are you?' }).waitFor();
  assert.ok(!(await page.evaluate(() => JSON.stringify({ ...sessionStorage }))).includes('between us'), 'nothing is left of it');
  visit.assertQuiet();
});

test('what nobody looks at is not read', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await writeTo(alice, 'Bob');
  await say(alice, 'one');
  // Bob's window is there, and another one has the focus, from before the thread is on the page.
  await bob.evaluate(() => (document.hasFocus = () => false));
  await item(bob, 'Alice').click();
  await message(bob, 'one').waitFor();
  await say(alice, 'two');
  await message(bob, 'two').waitFor();
  await item(bob, 'Alice').getByText('2 unread').waitFor();
  await bob.evaluate(() => {
    document.hasFocus = () => true;
    dispatchEvent(new Event('focus'));
  });
  await marked(alice, 'two', 'Read by Bob');
  visit.assertQuiet();
});

/** How far a thread is scrolled from its end. @param {Page} page */
const below = (page) => page.getByRole('log').evaluate((log) => log.scrollHeight - log.clientHeight - log.scrollTop);

/** Scrolls up a little and tells how far the first message that is seen moves while older ones come. @param {Page} page */
const watchAnchor = (page) =>
  page.getByRole('log').evaluate((log) => new Promise((resolve, reject) => {
    log.scrollTop = 200;
    const edge = log.getBoundingClientRect().top;
    const anchor = [...log.querySelectorAll('.message')].find((row) => row.getBoundingClientRect().top >= edge);
    const oldest = log.querySelector('.message');
    if (!anchor || !oldest) return reject(new Error('nothing is seen'));
    const at = anchor.getBoundingClientRect().top;
    const end = performance.now() + 20_000;
    let worst = 0;
    const look = () => {
      worst = Math.max(worst, anchor.isConnected ? Math.abs(anchor.getBoundingClientRect().top - at) : Infinity);
      if (log.querySelector('.message') !== oldest) return resolve(worst);
      if (performance.now() > end) return reject(new Error('no older messages came'));
      requestAnimationFrame(look);
    };
    look();
  }));

test('older messages come while scrolling up, and what one looks at does not move', async (t) => {
  const visit = await browser.visit(t, FAST);
  const alice = await visit.signIn('Alice');
  await writeTo(alice, 'Bob');
  await store(alice, conversationIn(alice), 'Message', 260);
  await message(alice, 'Message 260').waitFor();
  await until('the end', async () => (await below(alice)) < 2);

  // Not before, else all of it would come live.
  const bob = await visit.signIn('Bob');
  await item(bob, 'Alice').click();
  await message(bob, 'Message 260').waitFor();
  await until('the end', async () => (await below(bob)) < 2);
  for (let round = 1; round <= 3; round += 1) {
    const moved = await watchAnchor(bob);
    assert.ok(Number(moved) <= 1, `round ${round}: it moved by ${moved} px`);
  }
  await until('the first message', async () => {
    await bob.getByRole('log').evaluate((log) => (log.scrollTop = 0));
    return (await texts(bob))[0] === 'Message 1';
  });
  assert.deepEqual(await texts(bob), Array.from({ length: 260 }, (_, place) => `Message ${place + 1}`));

  // What comes while one reads further up moves nothing, and is a click away.
  const top = await bob.getByRole('log').evaluate((log) => (log.scrollTop = 4000));
  await say(alice, 'news');
  await bob.getByRole('button', { name: '1 new messages' }).waitFor();
  assert.equal(await bob.getByRole('log').evaluate((log) => log.scrollTop), top);
  await bob.getByRole('button', { name: '1 new messages' }).click();
  await marked(alice, 'news', 'Read by Bob');
  // At the end it stays there, whatever comes and however the field below grows.
  await say(alice, 'several\nlines\nof\nnews');
  await message(bob, 'several\nlines\nof\nnews').waitFor();
  await until('the end', async () => (await below(bob)) < 2);
  await field(bob).fill('1\n2\n3\n4\n5');
  await until('the end', async () => (await below(bob)) < 2);
  visit.assertQuiet();
});

test('the keyboard alone suffices', async (t) => {
  const visit = await browser.visit(t);
  const page = await (await visit.open()).newPage();
  await page.goto('/');
  const { keyboard } = page;
  /** Tabs on until what has the focus is called so. @param {string} name @param {string} [key] */
  const tabTo = (name, key = 'Tab') =>
    until(`the focus on ${name}`, async () => {
      await keyboard.press(key);
      return page.evaluate((name) => {
        const focused = document.activeElement;
        const label = focused?.getAttribute('aria-label') ?? (/** @type {HTMLInputElement} */ (focused)?.labels?.[0] ?? focused)?.textContent;
        return label?.includes(name) && focused?.matches(':focus-visible');
      }, name);
    });
  await tabTo('Alice');
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Alice', level: 1 }).waitFor();
  await connected(page);
  await tabTo('New chat');
  await keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await tabTo('New chat', 'Shift+Tab').catch(() => tabTo('New chat'));
  await keyboard.press('Space');
  await tabTo('Bob');
  await keyboard.press('Enter');
  // The field has the focus; one can write.
  await page.getByRole('heading', { name: 'Bob', level: 2 }).waitFor();
  await until('the field', () => field(page).evaluate((element) => element === document.activeElement));
  await keyboard.type('by keyboard');
  await keyboard.press('Enter');
  await marked(page, 'by keyboard', 'Sent');
  await tabTo('Messages', 'Shift+Tab');
  await tabTo('bob', 'Shift+Tab');
  await keyboard.press('Enter');
  await message(page, 'by keyboard').waitFor();
  visit.assertQuiet();
});

/** @typedef {{ id: string, impact: string, nodes: { html: string }[] }} Violation */
/** @typedef {{ axe: { run(root: Document): Promise<{ violations: Violation[] }> } }} Axe */

/** What axe finds that is serious. @param {Page} page */
async function assertAccessible(page, /** @type {string} */ what) {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations } = await /** @type {Window & typeof globalThis & Axe} */ (window).axe.run(document);
    return violations
      .filter(({ impact }) => ['serious', 'critical'].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
  });
  assert.deepEqual(found, [], what);
}

test('it is accessible in light and dark, on a desk and on a phone', async (t) => {
  const visit = await browser.visit(t);
  const bob = await visit.signIn('Bob');
  const carol = await visit.signIn('Carol');
  const looks = [
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['phone', { colorScheme: 'light', ...PHONE }],
    ['phone-dark', { colorScheme: 'dark', ...PHONE }],
  ];
  await scene(bob, carol);
  for (const [name, options] of /** @type {[string, import('playwright-core').BrowserContextOptions][]} */ (looks)) {
    const page = await (await visit.open(options)).newPage();
    await page.goto('/login');
    await assertAccessible(page, `${name}: login`);
    await screenshot(page, `sveltekit-${name}-login`);
    await page.getByRole('button', { name: 'Alice' }).click();
    await item(page, 'Bob').waitFor();
    await item(page, 'Lunch on Friday').waitFor();
    await assertAccessible(page, `${name}: list`);
    await screenshot(page, `sveltekit-${name}-list`);
    await item(page, 'Bob').click();
    await message(page, 'See you there.').waitFor();
    if (name === 'light') await say(page, 'I did, and could not find a single difference. Well done!');
    await field(bob).pressSequentially('…');
    await page.getByText('Bob is typing…').waitFor();
    if (name === 'light') await marked(page, 'I did, and could not find a single difference. Well done!', 'Read by Bob');
    await assertAccessible(page, `${name}: thread`);
    await screenshot(page, `sveltekit-${name}-thread`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: nothing sticks out`);
    if (name.startsWith('phone')) await page.getByRole('link', { name: 'All conversations' }).click();
    await page.getByRole('button', { name: 'New chat' }).click();
    await assertAccessible(page, `${name}: new chat`);
    await screenshot(page, `sveltekit-${name}-new`);
    await page.keyboard.press('Escape');
    await item(page, 'Lunch on Friday').click();
    await page.getByRole('button', { name: 'Members' }).click();
    await assertAccessible(page, `${name}: members`);
    await screenshot(page, `sveltekit-${name}-members`);
    await page.context().close();
  }
  visit.assertQuiet();
});

/** Something to look at. @param {Page} bob @param {Page} carol */
async function scene(bob, carol) {
  await carol.getByRole('button', { name: 'New chat' }).click();
  await carol.getByLabel('Name of the group').fill('Lunch on Friday');
  for (const name of ['Alice', 'Bob', 'Dave']) await carol.getByRole('dialog').getByLabel(name).check();
  await carol.getByRole('button', { name: 'Make it' }).click();
  await say(carol, 'The new place by the river, or the usual one?');
  await item(bob, 'Lunch on Friday').click();
  await say(bob, 'The river! I have not been there yet.');
  await say(carol, 'Twelve, then. I reserve for four.');
  await message(bob, 'Twelve, then. I reserve for four.').waitFor();
  await writeTo(bob, 'Alice');
  await say(bob, 'Morning! Did you see the numbers from last night?');
  await say(bob, 'The import went through in one go. I expected at least one surprise, and there was none: every count is what it was before, and the oldest messages are there too.');
  await say(bob, 'I would like to show it to the others on Thursday.');
  await say(bob, 'See you there.');
  await marked(bob, 'See you there.', 'Sent');
}

test('while developing, Vite passes the WebSocket on', async (t) => {
  const visit = await browser.visit(t, { mode: 'dev' });
  const page = await (await visit.open()).newPage();
  await page.goto('/');
  // The first visit makes Vite find and bundle what the page needs, and it may load anew.
  await until('the list', async () => {
    if (new URL(page.url()).pathname === '/login') await page.getByRole('button', { name: 'Alice' }).click().catch(() => {});
    return page.getByText('Nothing here yet.').isVisible();
  });
  await writeTo(page, 'Bob');
  await say(page, 'through the proxy');
  await marked(page, 'through the proxy', 'Sent');
});
