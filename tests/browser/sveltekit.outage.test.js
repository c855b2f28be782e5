/**
 * The app of examples/sveltekit in a real browser, when things go wrong: the server dies, refuses, or answers late.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OUTAGE, screenshot, until } from './support.js';
import { field, item, marked, message, say, texts, useBrowser, writeTo } from './sveltekit-app.js';

const browser = useBrowser();
const FAST = { flags: ['--messages-per-second', '0'] };

test('the server is killed and restarted in mid-conversation, and nothing is lost or doubled', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await writeTo(alice, 'Bob');
  await say(alice, 'before');
  await item(bob, 'Alice').click();
  await message(bob, 'before').waitFor();

  // Some of these are stored, some are on their way, and some are not sent when it dies.
  const burst = Array.from({ length: 12 }, (_, place) => `burst ${place + 1}`);
  for (const text of burst.slice(0, 6)) await say(alice, text);
  const killed = visit.server.kill();
  for (const text of burst.slice(6)) await say(alice, text);
  await killed;

  // Everything stays readable, and writing goes on.
  await alice.getByText('Not connected. What you write is sent as soon as you are.').waitFor();
  await until('a countdown', async () => /Next try in \d+ s/u.test((await alice.locator('.countdown').textContent().catch(() => '')) ?? ''));
  await say(alice, 'in the dark');
  await say(bob, 'hello?');
  await marked(alice, 'in the dark', 'Sending');
  assert.deepEqual(await texts(alice), ['before', ...burst, 'in the dark']);
  await screenshot(alice, 'sveltekit-outage');
  // What waits survives a reload, too. The page comes from the app, which still runs.
  await alice.reload();

  await visit.restart();
  await alice.getByRole('button', { name: 'Try now' }).click({ timeout: 2_000 }).catch(() => {});
  await message(bob, 'in the dark').waitFor();
  await message(alice, 'hello?').waitFor();
  await until('every mark', async () => (await alice.locator('.tick').getByText('Sending').count()) === 0);
  await until('the same on both sides', async () => JSON.stringify(await texts(alice)) === JSON.stringify(await texts(bob)));
  const all = await texts(alice);
  assert.deepEqual(all.filter((text) => text !== 'hello?'), ['before', ...burst, 'in the dark'], 'each once, in the order of writing');
  assert.equal(all.length, burst.length + 3);
  await alice.getByText('Not connected.').waitFor({ state: 'detached' });

  // What the page shows is what the server has.
  await alice.reload();
  await message(alice, 'in the dark').waitFor();
  assert.deepEqual(await texts(alice), all);
  visit.assertQuiet(OUTAGE);
});

test('a message that the server refuses stays, and can be sent again or thrown away', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await writeTo(alice, 'Bob');
  await say(alice, 'hi');
  await item(bob, 'Alice').click();
  await message(bob, 'hi').waitFor();
  await visit.server.kill();
  const [long, other] = ['This is longer than twenty characters.', 'So is this one, by two or three.'];
  for (const text of [long, other, 'short']) await say(alice, text);
  // Somebody has made the limit smaller meanwhile.
  await visit.restart(['--max-content-chars', '20']);
  await message(alice, long).getByRole('alert').getByText('Not sent: it is too long.').waitFor();
  await marked(alice, 'short', 'Read by Bob');
  await alice.locator('main header').getByText('online', { exact: true }).waitFor();
  await screenshot(alice, 'sveltekit-failed');
  await message(alice, other).getByRole('button', { name: 'Discard' }).click();
  await message(alice, other).waitFor({ state: 'detached' });

  await visit.server.kill();
  await visit.restart();
  await alice.getByText('Not connected.').waitFor({ state: 'detached' });
  await message(alice, long).getByRole('button', { name: 'Try again' }).click();
  await marked(alice, long, 'Read by Bob');
  assert.deepEqual(await texts(bob), ['hi', 'short', long]);
  assert.deepEqual(await texts(alice), ['hi', 'short', long]);
  visit.assertQuiet(OUTAGE);
});

test('what is not taken because too much waits stays in the field', async (t) => {
  const visit = await browser.visit(t, FAST);
  const alice = await visit.signIn('Alice');
  await writeTo(alice, 'Bob');
  await say(alice, 'before');
  await marked(alice, 'before', 'Sent');
  await visit.server.kill();
  await alice.getByText('Not connected.').waitFor();
  for (let place = 1; place <= 100; place += 1) await say(alice, `waits ${place}`);
  await say(alice, 'one too many');
  await alice.getByRole('alert').getByText('too many messages wait').waitFor();
  assert.equal(await field(alice).inputValue(), 'one too many');

  await visit.restart(FAST.flags);
  await marked(alice, 'waits 100', 'Sent');
  await field(alice).press('Enter');
  await marked(alice, 'one too many', 'Sent');
  assert.equal(await field(alice).inputValue(), '');
  await alice.getByText('too many messages wait').waitFor({ state: 'detached' });
  visit.assertQuiet(OUTAGE);
});

test('a late answer about one conversation says nothing about the next', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await writeTo(alice, 'Bob');
  await say(alice, 'hi');
  await marked(alice, 'hi', 'Sent');
  /** @type {(() => void)[]} */
  const held = [];
  await alice.routeWebSocket(/\/ws$/u, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((text) => {
      if (String(text).includes('"invalid_payload"')) held.push(() => socket.send(text));
      else socket.send(text);
    });
  });
  await alice.goto('/');
  await item(alice, 'Bob').waitFor();
  await alice.evaluate(() => {
    const link = document.createElement('a');
    link.href = '/c/no-id';
    document.querySelector('nav')?.append(link);
    link.click();
  });
  await until('the answer', () => held.length);
  await item(alice, 'Bob').click();
  await message(alice, 'hi').waitFor();
  for (const release of held) release();
  // What is written next is answered after that.
  await say(alice, 'still here');
  await marked(alice, 'still here', 'Sent');
  assert.equal(await alice.getByText('There is no such conversation').count(), 0);
  visit.assertQuiet();
});
