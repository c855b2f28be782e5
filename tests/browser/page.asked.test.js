/**
 * Which invite is asked about: the newest, until it is answered, whatever comes between.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { BINARY, until } from './support.js';
import { codeOf, conversationIn, dialog, field, focused, follow, hashOf, isAsked, isGone, item, open, say, useBrowser } from './visit.js';

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
    } else {
      await page.locator('#new-submit').focus();
    }
    letIn(undefined);
    await until('the conversation to begin with', async () => (await hashOf(page)) !== '');
    if (isDeclined) {
      assert.equal(await dialog(page).isHidden(), true, 'the older one is no question any more');
    } else {
      await isAsked(page, 'newer');
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'new-submit', 'it is not asked about once more');
    }
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

test('a login, a conversation and an invite may stand in one address', async (t) => {
  const secret = randomBytes(32).toString('hex');
  const visit = await browser.visit(t, ['--page', '--jwt-secret', secret]);
  const tokenOf = (/** @type {string} */ sub) => execFileSync(BINARY, ['token', '--sub', sub, '--ttl', '1h', '--jwt-secret', secret], { encoding: 'utf8' }).trim();
  const ada = await visit.tab();
  await ada.goto(`${visit.server.url}/#token=${tokenOf('ada')}`);
  await ada.getByText('No conversations yet.').waitFor();
  const create = async (/** @type {string} */ name, /** @type {string} */ others) => {
    await ada.getByRole('button', { name: 'New conversation' }).click();
    await dialog(ada).getByText('Group', { exact: true }).click();
    await ada.getByLabel('Name of the group').fill(name);
    await ada.getByLabel('Others, by user id').fill(others);
    await ada.keyboard.press('Enter');
    await ada.locator('#thread-title').getByText(name).waitFor();
    return { id: conversationIn(ada), code: await codeOf(ada) };
  };
  const [team, guests] = [await create('Team', 'bea'), await create('Guests', '')];
  // Without an address this one would be opened.
  await create('Crew', 'bea');

  const bea = await visit.tab();
  await bea.goto(`${visit.server.url}/#token=${tokenOf('bea')}&c=${team.id}&join=${guests.code}`);
  await isAsked(bea, guests.code);
  assert.equal(conversationIn(bea), team.id);
  assert.equal(await bea.evaluate(() => history.length), 2, 'about:blank, and the page without the rest');
  await bea.locator('#thread-title').getByText('Team').waitFor();
  await bea.keyboard.press('Escape');
  await isGone(bea);
  await focused(bea, '#message');

  // In an open page, and on the first screen.
  await follow(bea, '');
  await bea.getByText('No conversation is open').waitFor();
  await follow(bea, `c=${team.id}&join=${guests.code}`);
  await isAsked(bea, guests.code);
  assert.equal(conversationIn(bea), team.id);
  await bea.locator('#thread-title').getByText('Team').waitFor();
  await dialog(bea).getByRole('button', { name: 'Join', exact: true }).click();
  await bea.locator('#thread-title').getByText('Guests').waitFor();

  const again = await visit.tab();
  await again.goto(`${visit.server.url}/#c=${team.id}&join=${guests.code}`);
  await again.getByLabel('Token').waitFor();
  assert.equal(conversationIn(again), team.id);
  await again.getByLabel('Token').fill(tokenOf('bea'));
  await again.keyboard.press('Enter');
  await isAsked(again, guests.code);
  await again.locator('#thread-title').getByText('Team').waitFor();
  visit.assertQuiet();
});

test('an invite that is not answered is asked about again after a reload, and one that is answered is not', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await open(alice, 'Lounge');
  const code = await codeOf(alice);
  const zoe = await visit.tab();
  await zoe.goto(`${visit.server.url}/#join=${code}`);
  await zoe.getByLabel('Another name').fill('Zoë Quinn');
  await zoe.getByRole('button', { name: 'Enter' }).click();
  await isAsked(zoe, code);
  // The conversation of the address is shown when the question has been asked, or has not.
  const isNotAsked = async () => {
    await zoe.reload();
    await zoe.locator('#thread').waitFor();
    assert.equal(await dialog(zoe).isHidden(), true);
  };
  const isAskedAgain = async (/** @type {string} */ about) => {
    await zoe.reload();
    await isAsked(zoe, about);
  };

  await isAskedAgain(code);
  await isAskedAgain(code);
  await follow(zoe, 'join=newer');
  await isAsked(zoe, 'newer');
  await isAskedAgain('newer');
  await zoe.keyboard.press('Escape');
  await isGone(zoe);
  await isNotAsked();

  // The browser tells of a closed dialog with the next frame: the reload may come before.
  await follow(zoe, 'join=newer');
  await isAsked(zoe, 'newer');
  await zoe.evaluate(() => window.addEventListener('close', (event) => event.stopImmediatePropagation(), { capture: true }));
  await zoe.keyboard.press('Escape');
  await isGone(zoe);
  await isNotAsked();

  await follow(zoe, `join=${code}`);
  await isAskedAgain(code);
  await dialog(zoe).getByRole('button', { name: 'Join', exact: true }).click();
  await zoe.locator('#thread-title').getByText('Lounge').waitFor();
  await isNotAsked();

  // Whoever comes next in this tab has not opened it.
  const stay = zoe.getByRole('button', { name: 'Stay Zoë Quinn' });
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await follow(zoe, 'as=bob');
  await stay.click();
  await stay.waitFor({ state: 'hidden' });
  await isAskedAgain(code);
  await follow(zoe, 'as=bob');
  await zoe.getByRole('button', { name: 'Become Bob' }).click();
  await until('the other user', async () => (await zoe.locator('#me').innerText()).endsWith('Bob'));
  await zoe.locator('#thread').waitFor();
  assert.equal(await dialog(zoe).isHidden(), true);

  // What is in front of everything keeps a person from logging out, but not what else may do it.
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await zoe.locator('#switch-user').evaluate((/** @type {HTMLElement} */ button) => button.click());
  await zoe.getByRole('button', { name: 'Carol', exact: true }).click();
  await zoe.locator('#composer').waitFor();
  assert.equal(await dialog(zoe).isHidden(), true);

  // Nor is anybody asked after Carol, whose login is lost with her question open, as by a token that is refused.
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await zoe.evaluate(() => {
    sessionStorage.removeItem('parlor:identity');
    history.replaceState(null, '', location.pathname);
  });
  await zoe.reload();
  await zoe.getByRole('button', { name: 'Bob', exact: true }).click();
  await zoe.locator('#composer').waitFor();
  await isNotAsked();

  // Where nobody was in, whoever is named by another address is the one who has opened it.
  const dave = await visit.tab();
  await dave.goto(`${visit.server.url}/#join=${code}`);
  await dave.getByLabel('Another name').waitFor();
  await follow(dave, 'as=dave');
  await isAsked(dave, code);
  visit.assertQuiet();
});
