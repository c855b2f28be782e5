/**
 * An address that names a user: it lets somebody into a tab where nobody is, and does not make a tab somebody else's without a yes.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import axe from 'axe-core';
import { BINARY, screenshot, until } from './support.js';
import { conversationIn, field, follow, open, say, shows, useBrowser } from './visit.js';

const browser = useBrowser();
const SECRET = randomBytes(32).toString('hex');
const FLAGS = ['--page', '--jwt-secret', SECRET];

/** @import { Page } from 'playwright-core' */

/** @param {string} sub @param {string} name */
const tokenOf = (sub, name) => execFileSync(BINARY, ['token', '--sub', sub, '--name', name, '--ttl', '1h', '--jwt-secret', SECRET], { encoding: 'utf8' }).trim();

/** @param {Page} page */
const question = (page) => page.getByRole('dialog', { name: 'Become somebody else?' });

/** @param {Page} page */
const me = (page) => page.locator('#me').innerText();

/** @param {Page} page */
const focused = (page) => page.evaluate(() => document.activeElement?.id);

test('an open page stays with its user until somebody says yes', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await open(alice, 'Lounge');
  const lounge = conversationIn(alice);
  await field(alice).fill('half a sentence');

  await follow(alice, 'as=bob');
  await question(alice).waitFor();
  assert.equal(await question(alice).locator('#switch-text').innerText(), 'This tab is Alice (alice). An address that was opened would make it Bob (bob).');
  await until('the focus on what changes nothing', async () => (await focused(alice)) === 'switch-keep');
  await screenshot(alice, 'switch');
  await alice.evaluate(axe.source);
  const found = await alice.evaluate(async () => (await /** @type {typeof axe} */ (Reflect.get(window, 'axe')).run(document)).violations.map(({ id, impact }) => `${impact} ${id}`));
  assert.deepEqual(found.filter((text) => /^(serious|critical)/u.test(text)), []);
  await alice.keyboard.press('Escape');
  await question(alice).waitFor({ state: 'hidden' });
  await until('the address of before', () => conversationIn(alice) === lounge);
  assert.equal(await field(alice).inputValue(), 'half a sentence');
  assert.equal(await focused(alice), 'message', 'the focus is back');

  // Enter, pressed without looking, is no yes; neither is a click beside it, nor a second address.
  await follow(alice, 'as=bob');
  await question(alice).waitFor();
  await follow(alice, 'as=carol&c=x');
  await question(alice).getByText('Carol (carol)').waitFor();
  await alice.keyboard.press('Enter');
  await question(alice).waitFor({ state: 'hidden' });
  await until('the address of before', () => conversationIn(alice) === lounge);
  await follow(alice, 'as=bob');
  await question(alice).waitFor();
  await alice.mouse.click(5, 5);
  await question(alice).waitFor({ state: 'hidden' });
  await until('the address of before', () => conversationIn(alice) === lounge);
  await field(alice).fill('');
  await say(alice, 'Still me');
  await shows(alice, ['Still me']);
  await alice.reload();
  await shows(alice, ['Still me']);
  assert.match(await me(alice), /Alice$/u);

  // The own name is no question.
  await follow(alice, `as=alice&c=${lounge}`);
  await until('the address without the name', () => conversationIn(alice) === lounge);
  assert.equal(await question(alice).isHidden(), true);

  // With a yes it changes, by the keyboard too.
  await follow(alice, `as=bob&c=${lounge}`);
  await question(alice).waitFor();
  await alice.keyboard.press('Shift+Tab');
  await until('the focus on the other button', async () => (await focused(alice)) === 'switch-change');
  await alice.keyboard.press('Enter');
  await until('the other user', async () => (await me(alice)).endsWith('Bob'));
  await shows(alice, ['Still me']);
  visit.assertQuiet();
});

test('a token in an address asks too, in an open page and on arrival', async (t) => {
  const visit = await browser.visit(t, FLAGS);
  const { url } = visit.server;
  const [ada, eve] = [tokenOf('ada', 'Ada'), tokenOf('eve', 'Eve \u202e<b>of elsewhere</b>')];
  const page = await visit.tab();
  await page.goto(`${url}/#token=${ada}`);
  await page.getByText('No conversations yet.').waitFor();
  assert.equal(await question(page).isHidden(), true, 'nobody was in');

  await follow(page, `token=${eve}`);
  await question(page).waitFor();
  assert.equal(new URL(page.url()).hash, '', 'the token does not stay in the address');
  assert.match(await page.locator('#switch-text').innerText(), /^This tab is Ada \(ada\)\..* Eve .*<b>of elsewhere<\/b> \(eve\)\.$/u);
  await page.getByRole('button', { name: 'Stay Ada' }).click();
  await question(page).waitFor({ state: 'hidden' });
  assert.match(await me(page), /Ada$/u);

  await page.goto('about:blank');
  await page.goto(`${url}/#token=${eve}&c=x`);
  await question(page).waitFor();
  assert.equal(new URL(page.url()).hash, '#x');
  await page.getByRole('button', { name: 'Stay Ada' }).click();
  await page.getByText('No conversations yet.').waitFor();
  assert.equal(new URL(page.url()).hash, '');
  assert.match(await me(page), /Ada$/u);
  assert.equal(await page.evaluate((token) => JSON.stringify(sessionStorage).includes(token), eve), false);

  // What is no token of anybody is a question as well.
  await follow(page, 'token=nonsense');
  await question(page).getByText('Somebody with a token (unknown)').waitFor();
  await page.keyboard.press('Escape');
  await question(page).waitFor({ state: 'hidden' });

  await follow(page, `token=${eve}`);
  await page.getByRole('button', { name: 'Become Eve' }).click();
  await until('the other user', async () => (await me(page)).includes('Eve'));
  visit.assertQuiet();
});
