/**
 * The page outside development: a token gets in, and shows nowhere.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { BINARY } from './support.js';
import { say, shows, useBrowser } from './visit.js';

const browser = useBrowser();
const SECRET = randomBytes(32).toString('hex');
const FLAGS = ['--page', '--jwt-secret', SECRET];

/** @param {string} sub @param {string} name @param {string} [ttl] */
const tokenOf = (sub, name, ttl = '1h') => execFileSync(BINARY, ['token', '--sub', sub, '--name', name, '--ttl', ttl, '--jwt-secret', SECRET], { encoding: 'utf8' }).trim();

test('a pasted token gets in, and is kept for the tab', async (t) => {
  const visit = await browser.visit(t, FLAGS);
  const ada = await visit.tab();
  await ada.goto(visit.server.url);
  assert.equal(await ada.locator('#picker').isHidden(), true, 'no demo users in production');
  await ada.getByLabel('Token').fill(tokenOf('ada', 'Ada'));
  await ada.getByRole('button', { name: 'Log in' }).click();
  await ada.getByText('No conversations yet.').waitFor();
  assert.equal(await ada.locator('#me').innerText().then((text) => text.endsWith('Ada')), true);
  assert.equal(await ada.locator('#open-as').isHidden(), true);
  await ada.reload();
  await ada.getByText('No conversations yet.').waitFor();
  await ada.getByRole('button', { name: 'New conversation' }).click();
  await ada.getByLabel('Somebody else, by user id').fill('bea');
  await ada.keyboard.press('Enter');
  await ada.locator('#thread-title').getByText('bea').waitFor();
  await say(ada, 'Hello, Bea');
  await shows(ada, ['Hello, Bea']);

  await ada.getByRole('button', { name: 'Log out' }).click();
  await ada.getByLabel('Token').waitFor();
  await ada.reload();
  await ada.getByLabel('Token').waitFor();
  assert.equal(await ada.evaluate(() => JSON.stringify(sessionStorage).includes('eyJ')), false, 'the token is forgotten');
  visit.assertQuiet();
});

test('a token in the address is taken out of it at once', async (t) => {
  const visit = await browser.visit(t, FLAGS);
  const bea = await visit.tab();
  await bea.goto(`${visit.server.url}/#token=${tokenOf('bea', 'Bea')}`);
  await bea.getByText('No conversations yet.').waitFor();
  assert.equal(new URL(bea.url()).hash, '');
  assert.equal(await bea.evaluate(() => history.length), 2, 'about:blank, and the page without the token');
  visit.assertQuiet();
});

test('a token in the address is taken on the first screen too', async (t) => {
  const visit = await browser.visit(t, FLAGS);
  const bea = await visit.tab();
  await bea.goto(visit.server.url);
  await bea.getByLabel('Token').waitFor();
  await bea.evaluate((token) => {
    location.hash = `token=${token}`;
  }, tokenOf('bea', 'Bea'));
  await bea.getByText('No conversations yet.').waitFor();
  assert.equal(new URL(bea.url()).hash, '');
  visit.assertQuiet();
});

test('a token that is refused, or has ended, asks for another', async (t) => {
  const visit = await browser.visit(t, [...FLAGS, '--token-grace', '0', '--token-warning', '0']);
  const eve = await visit.tab();
  await eve.goto(visit.server.url);
  await eve.getByLabel('Token').fill('eyJhbGciOiJIUzI1NiJ9.e30.no');
  await eve.keyboard.press('Enter');
  await eve.getByText('The token was refused. Log in with a fresh one.').waitFor();

  await eve.getByLabel('Token').fill(tokenOf('eve', 'Eve', '4s'));
  await eve.keyboard.press('Enter');
  await eve.getByText('No conversations yet.').waitFor();
  await eve.getByText('The token was refused. Log in with a fresh one.').waitFor();
  await eve.getByLabel('Token').fill(tokenOf('eve', 'Eve'));
  await eve.keyboard.press('Enter');
  await eve.getByText('No conversations yet.').waitFor();
  visit.assertQuiet();
});

test('who is thrown out is told, and not let in by itself', async (t) => {
  const operator = randomBytes(32).toString('hex');
  const visit = await browser.visit(t, [...FLAGS, '--operator-token', operator]);
  const mallory = await visit.tab();
  await mallory.goto(`${visit.server.url}/#token=${tokenOf('mallory', 'Mallory')}`);
  await mallory.getByText('No conversations yet.').waitFor();
  const response = await fetch(`${visit.server.url}/operator/remove?user=mallory`, { method: 'POST', headers: { authorization: `Bearer ${operator}` } });
  assert.equal(response.status, 202);
  await mallory.getByText('Your connections were ended.').waitFor();
  await mallory.getByRole('button', { name: 'Log in again' }).click();
  await mallory.getByLabel('Token').waitFor();
  visit.assertQuiet();
});

test('without --page there is none', async (t) => {
  const visit = await browser.visit(t, ['--jwt-secret', SECRET]);
  for (const path of ['/client/page/main.js', '/client/page/mode.json', '/client/chat.js', '/client/page/page.css']) {
    assert.equal((await fetch(visit.server.url + path)).status, 404, path);
  }
  assert.match(await (await fetch(visit.server.url)).text(), /^This is a Parlor chat server/u);
});
