/**
 * Which invite is asked about: the newest, until it is answered, whatever comes between.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './support.js';
import { codeOf, conversationIn, dialog, field, follow, hashOf, isAsked, isGone, item, open, say, useBrowser } from './visit.js';

const browser = useBrowser();

test('of two invites the newest is asked about, also when the older one waited for the login', async (t) => {
  const visit = await browser.visit(t);
  for (const [name, isDeclined] of /** @type {const} */ ([['Yara', false], ['Zoë', true]])) {
    const page = await visit.tab();
    /** @type {(value: unknown) => void} */
    let letIn = () => {};
    const connected = new Promise((resolve) => {
      letIn = resolve;
    });
    await page.routeWebSocket(/\/ws$/u, async (socket) => {
      await connected;
      socket.connectToServer();
    });
    await page.goto(`${visit.server.url}/#join=older`);
    await page.getByLabel('Another name').fill(name);
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.locator('#chat').waitFor();
    await follow(page, 'join=newer');
    await isAsked(page, 'newer');
    if (isDeclined) {
      await page.keyboard.press('Escape');
      await isGone(page);
    }
    letIn(undefined);
    await until('the conversation to begin with', async () => (await hashOf(page)) !== '');
    if (isDeclined) assert.equal(await dialog(page).isHidden(), true, 'the older one is no question any more');
    else await isAsked(page, 'newer');
  }
  visit.assertQuiet();
});

test('the answer to a question that was closed or replaced changes nothing of the newer one', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await open(alice, 'Lounge');
  const code = await codeOf(alice);

  const zoe = await visit.tab();
  let isHeld = true;
  /** @type {(() => void)[]} */
  const held = [];
  await zoe.routeWebSocket(/\/ws$/u, (socket) => {
    socket.connectToServer().onMessage((text) => {
      if (isHeld && ['join_group', 'error'].includes(JSON.parse(String(text)).type)) held.push(() => socket.send(text));
      else socket.send(text);
    });
  });
  await zoe.goto(visit.server.url);
  await zoe.getByLabel('Another name').fill('Zoë Quinn');
  await zoe.getByRole('button', { name: 'Enter' }).click();
  await field(zoe).waitFor();
  const before = conversationIn(zoe);
  const join = dialog(zoe).getByRole('button', { name: 'Join', exact: true });
  const error = zoe.locator('#new-error');
  const release = async () => {
    await until('the answer', () => held.length > 0);
    isHeld = false;
    for (const send of held.splice(0)) send();
  };

  // She gives it up, is asked about another, and only then becomes a member.
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await join.click();
  await zoe.keyboard.press('Escape');
  await isGone(zoe);
  await follow(zoe, 'join=other');
  await isAsked(zoe, 'other');
  assert.equal(await join.isEnabled(), true, 'it is a new question');
  await release();
  await item(zoe, 'Lounge').waitFor();
  await isAsked(zoe, 'other');
  assert.equal(conversationIn(zoe), before);
  await join.click();
  await error.getByText('No group has this code.').waitFor();

  // A refusal of what was replaced; what Alice says comes after it.
  isHeld = true;
  await join.click();
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await release();
  await say(alice, 'Here you are');
  await item(zoe, 'Lounge').getByText('Here you are').waitFor();
  await isAsked(zoe, code);
  assert.equal(await error.textContent(), '');
  await join.click();
  await zoe.locator('#thread-title').getByText('Lounge').waitFor();
  await isGone(zoe);
  visit.assertQuiet();
});
