/**
 * Which conversations are live: never more than the server allows, and what it refuses is not asked for again and again.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OUTAGE, until } from './support.js';
import { conversationIn, item, marked, open, say, shows, useBrowser } from './visit.js';

const browser = useBrowser();

/** @import { Page } from 'playwright-core' */

/** Begins conversations with these, one after the other. @param {Page} page @param {readonly string[]} guests */
async function begin(page, guests) {
  for (const guest of guests) {
    await page.getByRole('button', { name: 'New conversation' }).click();
    await page.getByLabel('Somebody else, by user id').fill(guest);
    await page.getByRole('button', { name: 'Start' }).click();
    await page.locator('#thread-title').getByText(guest, { exact: true }).waitFor();
  }
}

/** Counts what pages ask for from now on, and what is refused. @param {Page} page */
function listen(page) {
  const heard = { joins: 0, refused: /** @type {string[]} */ ([]) };
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => {
      if (JSON.parse(String(payload)).type === 'join_conversation') heard.joins += 1;
    });
    socket.on('framereceived', ({ payload }) => {
      const { type, payload: { code } } = JSON.parse(String(payload));
      if (type === 'error') heard.refused.push(code);
    });
  });
  return heard;
}

/** The newest message is there and read, which takes some round trips. @param {Page} page @param {Page} reader @param {string} text */
async function talk(page, reader, text) {
  await say(page, text);
  await marked(page, text, 'read');
  await shows(reader, [text]);
}

test('with a small --max-joined as many as that are live, and the one on screen is among them', async (t) => {
  const visit = await browser.visit(t, ['--dev', '--max-joined', '3']);
  const alice = await visit.signIn('Alice');
  const direct = conversationIn(alice);
  await begin(alice, ['guest-1', 'guest-2', 'guest-3', 'guest-4', 'guest-5']);
  const heard = listen(alice);
  await alice.goto(`${visit.server.url}/#${direct}`);
  await alice.reload();
  const bob = await visit.signIn('Bob');
  await open(bob, 'Alice');
  // Bob is not among the newest, and live nevertheless.
  await talk(alice, bob, 'one');
  await alice.locator('#thread-subtitle').getByText('Online').waitFor();
  for (const title of ['Lounge', 'guest-4', 'guest-1', 'Lounge', 'guest-2', 'Bob']) await open(alice, title);
  await say(alice, 'two');
  await marked(alice, 'two', 'read');
  await shows(bob, ['one', 'two']);
  assert.deepEqual(heard.refused, [], 'nothing was asked for that is too much');
  assert.ok(heard.joins <= 25, `${heard.joins} joins`);
  visit.assertQuiet();
});

test('a server that comes back with less room keeps the one on screen live', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  const direct = conversationIn(alice);
  await begin(alice, ['guest-1', 'guest-2', 'guest-3', 'guest-4']);
  await open(alice, 'Bob');
  assert.equal(conversationIn(alice), direct);
  const heard = listen(alice);
  await visit.server.kill();
  await visit.server.start(['--dev', '--max-joined', '2']);
  await talk(alice, bob, 'one');
  assert.ok(heard.joins <= 14, `${heard.joins} joins`);
  visit.assertQuiet(OUTAGE);
});

test('what is refused for good is asked for once on a connection', async (t) => {
  const visit = await browser.visit(t);
  const bob = await visit.signIn('Bob');
  await open(bob, 'Lounge');
  const lounge = conversationIn(bob);
  await open(bob, 'Alice');
  const alice = await visit.tab();
  let asked = 0;
  await alice.routeWebSocket(/\/ws$/u, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const { type, requestId, payload } = JSON.parse(String(text));
      if (type !== 'join_conversation' || payload.conversationId !== lounge) return server.send(text);
      asked += 1;
      const error = { code: 'limit_exceeded', message: 'no more room', retryable: false };
      socket.send(JSON.stringify({ type: 'error', requestId, timestamp: new Date().toISOString(), payload: error }));
    });
  });
  await alice.goto(visit.server.url);
  await alice.getByRole('button', { name: 'Alice' }).click();
  await alice.locator('#composer').waitFor();
  await until('the refusal', () => asked > 0);
  await talk(alice, bob, 'one');
  assert.equal(asked, 1);
  await visit.server.kill();
  await alice.locator('#banner').getByText('The connection is lost.').waitFor();
  await visit.server.start();
  await until('another try', () => asked > 1);
  await say(alice, 'two');
  await marked(alice, 'two', 'read');
  assert.equal(asked, 2);
  await item(alice, 'Lounge').waitFor();
  visit.assertQuiet(OUTAGE);
});
