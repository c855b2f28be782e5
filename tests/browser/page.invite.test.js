/**
 * Invites as addresses: they are offered, they ask whoever opens one, and no address alone makes anybody a member of anything.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import axe from 'axe-core';
import { BINARY, until } from './support.js';
import { codeOf, conversationIn, dialog, field, focused, follow, hashOf, isAsked, isGone, item, open, say, shows, useBrowser } from './visit.js';

const browser = useBrowser();

/** @import { Page } from 'playwright-core' */

/** Opens the dialog by hand, and tries a code. @param {Page} page @param {string} code */
async function type(page, code) {
  await page.getByRole('button', { name: 'New conversation' }).click();
  await dialog(page).getByText('By code', { exact: true }).click();
  assert.equal(await page.locator('#new-code-note').textContent(), '', 'no address was opened');
  await page.getByLabel('Invite code', { exact: true }).fill(code);
}

test('the link is offered beside the code, by the keyboard too, and where nothing can be copied', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await open(alice, 'Lounge');
  const code = await codeOf(alice);
  assert.match(code, /^[0-9a-z]{32}$/u);
  const link = `${visit.server.url}/#join=${code}`;
  const copied = () => alice.evaluate(() => navigator.clipboard.readText());

  await alice.getByRole('button', { name: 'Copy invite' }).press('Enter');
  await alice.getByText('The invite link is copied.').waitFor();
  assert.equal(await copied(), link);

  await alice.getByRole('button', { name: 'Members and details' }).press('Enter');
  assert.equal(await alice.getByLabel('Invite link: whoever has it can join').inputValue(), link);
  await alice.keyboard.press('Tab');
  await alice.keyboard.press('Tab');
  await alice.keyboard.press('Tab');
  await alice.keyboard.press('Tab');
  await focused(alice, '#details-copy-code');
  await alice.keyboard.press('Enter');
  await alice.getByText('The code is copied.').waitFor();
  assert.equal(await copied(), code);
  await alice.keyboard.press('Shift+Tab');
  await alice.keyboard.press('Shift+Tab');
  await focused(alice, '#details-copy-link');
  await alice.keyboard.press('Enter');
  await alice.getByText('The link is copied.').waitFor();
  assert.equal(await copied(), link);

  // Pages that did not come over TLS, nor from this machine, have no clipboard.
  await alice.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
  await alice.keyboard.press('Enter');
  await alice.getByText('The browser did not let the link be copied. It is selected: copy it yourself.').waitFor();
  assert.equal(await alice.evaluate(() => {
    const { value, selectionStart, selectionEnd } = /** @type {HTMLInputElement} */ (document.activeElement);
    return value.slice(selectionStart ?? 0, selectionEnd ?? 0);
  }), link);
  await alice.keyboard.press('Escape');
  await alice.getByRole('button', { name: 'Copy invite' }).click();
  await alice.getByText('It stands in the group’s members and details.').waitFor();

  const bob = await visit.signIn('Bob');
  await open(bob, 'Lounge');
  await bob.getByRole('button', { name: 'Members and details' }).click();
  await bob.locator('#details-members li').first().waitFor();
  assert.equal(await bob.locator('#details-invite').isHidden(), true, 'only the owner has it');
  visit.assertQuiet();
});

test('an invite that is opened in a chat asks, and joins nobody without a yes', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await open(alice, 'Lounge');
  const code = await codeOf(alice);
  const lounge = conversationIn(alice);

  const zoe = await visit.tab();
  await zoe.goto(visit.server.url);
  await zoe.getByLabel('Another name').fill('Zoë Quinn');
  await zoe.getByRole('button', { name: 'Enter' }).click();
  await field(zoe).fill('half a sentence');
  const before = conversationIn(zoe);
  assert.notEqual(before, '');

  // Enter, pressed in the middle of writing, is no yes; neither is Escape, nor a click beside it.
  for (const decline of [() => zoe.mouse.click(5, 5), () => zoe.keyboard.press('Enter'), () => zoe.keyboard.press('Escape')]) {
    await field(zoe).focus();
    await follow(zoe, `join=${code}`);
    await isAsked(zoe, code);
    await focused(zoe, '#new-dialog [data-close]');
    assert.equal(conversationIn(zoe), before, 'the code does not stay in the address');
    await decline();
    await isGone(zoe);
    assert.equal(await field(zoe).inputValue(), 'half a sentence');
  }

  await focused(zoe, '#message');

  // Nor is a second address, which takes the place of the first, and of what was begun by hand.
  await type(zoe, 'half a code');
  await follow(zoe, 'join=other');
  await isAsked(zoe, 'other');
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await focused(zoe, '#new-dialog [data-close]');
  await zoe.evaluate(axe.source);
  const found = await zoe.evaluate(async () => (await /** @type {typeof axe} */ (Reflect.get(window, 'axe')).run(document)).violations.map(({ id, impact }) => `${impact} ${id}`));
  assert.deepEqual(found.filter((text) => /^(serious|critical)/u.test(text)), []);

  // Whether she was let in meanwhile the group would tell: here is the first that it hears of her.
  await say(alice, 'Nobody yet');
  await zoe.keyboard.press('Tab');
  await zoe.keyboard.press('Tab');
  await zoe.keyboard.press('Tab');
  await focused(zoe, '#new-submit');
  await zoe.keyboard.press('Enter');
  await zoe.locator('#thread-title').getByText('Lounge').waitFor();
  assert.equal(conversationIn(zoe), lounge);
  await alice.locator('#log').getByText('Zoë Quinn joined').waitFor();
  const log = await alice.locator('#log').innerText();
  assert.equal(log.split('Zoë Quinn joined').length, 2, 'once');
  assert.ok(log.indexOf('Nobody yet') < log.indexOf('Zoë Quinn joined'), 'and not before she said so');

  // A member joins again without a change; the code is in none of the addresses that the way back leads to.
  await follow(zoe, `join=${code}`);
  await isAsked(zoe, code);
  await dialog(zoe).getByRole('button', { name: 'Join', exact: true }).click();
  await isGone(zoe);
  assert.equal(conversationIn(zoe), lounge);
  for (let step = 0; step < 5; step += 1) {
    await zoe.evaluate(() => new Promise((resolve) => {
      window.addEventListener('popstate', resolve, { once: true });
      history.back();
    }));
    assert.doesNotMatch(zoe.url(), /join/u);
  }
  assert.equal(await dialog(zoe).isHidden(), true);
  visit.assertQuiet();
});

test('an invite waits for the login, out of the address', async (t) => {
  const secret = randomBytes(32).toString('hex');
  const visit = await browser.visit(t, ['--page', '--jwt-secret', secret]);
  const tokenOf = (/** @type {string} */ sub) => execFileSync(BINARY, ['token', '--sub', sub, '--ttl', '1h', '--jwt-secret', secret], { encoding: 'utf8' }).trim();
  const ada = await visit.tab();
  await ada.goto(`${visit.server.url}/#token=${tokenOf('ada')}`);
  await ada.getByText('No conversations yet.').waitFor();
  await ada.getByRole('button', { name: 'New conversation' }).click();
  await dialog(ada).getByText('Group', { exact: true }).click();
  await ada.getByLabel('Name of the group').fill('Guests');
  await ada.keyboard.press('Enter');
  await ada.locator('#thread-title').getByText('Guests').waitFor();
  const code = await codeOf(ada);

  // A token that is refused costs nothing but another attempt.
  const bea = await visit.tab();
  await bea.goto(`${visit.server.url}/#join=${code}`);
  await bea.getByLabel('Token').waitFor();
  assert.equal(new URL(bea.url()).hash, '');
  assert.equal(await bea.evaluate(() => history.length), 2, 'about:blank, and the page without the code');
  await bea.getByLabel('Token').fill('eyJhbGciOiJIUzI1NiJ9.e30.no');
  await bea.keyboard.press('Enter');
  await bea.getByText('The token was refused. Log in with a fresh one.').waitFor();
  await bea.getByLabel('Token').fill(tokenOf('bea'));
  await bea.keyboard.press('Enter');
  await isAsked(bea, code);
  await focused(bea, '#new-dialog [data-close]');
  await bea.keyboard.press('Escape');
  await isGone(bea);
  await bea.getByText('No conversations yet.').waitFor();
  await bea.reload();
  await bea.getByText('No conversations yet.').waitFor();
  assert.equal(await dialog(bea).isHidden(), true, 'it asks once');

  // Opened on the first screen.
  const cleo = await visit.tab();
  await cleo.goto(visit.server.url);
  await cleo.getByLabel('Token').waitFor();
  await follow(cleo, `join=${code}`);
  await until('the address without it', async () => (await hashOf(cleo)) === '');
  await cleo.getByLabel('Token').fill(tokenOf('cleo'));
  await cleo.keyboard.press('Enter');
  await isAsked(cleo, code);
  await dialog(cleo).getByRole('button', { name: 'Join', exact: true }).click();
  await cleo.locator('#thread-title').getByText('Guests').waitFor();

  // Together with a token, as an app may link to it; and with one that is declined it is not followed.
  const dora = await visit.tab();
  await dora.goto(`${visit.server.url}/#token=${tokenOf('dora')}&join=${code}`);
  await isAsked(dora, code);
  assert.equal(new URL(dora.url()).hash, '');
  await dora.keyboard.press('Escape');
  await isGone(dora);
  await follow(dora, `token=${tokenOf('eve')}&join=${code}`);
  await dora.getByRole('button', { name: 'Stay dora' }).click();
  await until('the address without both', async () => (await hashOf(dora)) === '');
  await dora.reload();
  await dora.getByText('No conversations yet.').waitFor();
  assert.equal(await dialog(dora).isHidden(), true);
  await follow(dora, `token=${tokenOf('eve')}&join=${code}`);
  await dora.getByRole('button', { name: 'Become eve' }).click();
  await isAsked(dora, code);
  assert.match(await dora.locator('#me').innerText(), /eve$/u);
  await dora.keyboard.press('Escape');
  await isGone(dora);

  await ada.locator('#log').getByText('cleo joined').waitFor();
  await say(ada, 'Is that all?');
  await shows(ada, ['Is that all?']);
  await ada.locator('#thread-subtitle').getByText('2 members').waitFor();
  assert.equal(await ada.locator('#log').getByText('joined').count(), 1, 'nobody else');
  visit.assertQuiet();
});

test('on a development server one says first who one is', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await open(alice, 'Lounge');
  const code = await codeOf(alice);
  const zoe = await visit.tab();
  await zoe.goto(`${visit.server.url}/#join=${code}`);
  await zoe.getByLabel('Another name').fill('Zoë Quinn');
  assert.equal(new URL(zoe.url()).hash, '');
  await zoe.getByRole('button', { name: 'Enter' }).click();
  await isAsked(zoe, code);
  assert.equal(await item(zoe, 'Lounge').count(), 0, 'not yet');
  await dialog(zoe).getByRole('button', { name: 'Join', exact: true }).click();
  await zoe.locator('#thread-title').getByText('Lounge').waitFor();
  await alice.locator('#log').getByText('Zoë Quinn joined').waitFor();
  visit.assertQuiet();
});

test('a code that is none is refused in the same words, typed or in an address', async (t) => {
  const visit = await browser.visit(t, ['--dev', '--invite-attempts-per-minute', '0']);
  const alice = await visit.signIn('Alice');
  const join = dialog(alice).getByRole('button', { name: 'Join', exact: true });
  const error = alice.locator('#new-error');
  for (const [code, words] of [
    ['wrong', 'No group has this code.'],
    ['x'.repeat(250), 'No group has this code.'],
    ['a\u0000b', 'No group has this code.'],
    ['', 'Paste the code that you were given.'],
  ]) {
    await type(alice, code);
    await join.click();
    await until(`the words about what was typed: ${code}`, async () => (await error.textContent()) === words);
    await alice.keyboard.press('Escape');
    await isGone(alice);

    await follow(alice, String(new URLSearchParams({ join: code })));
    await isAsked(alice, code);
    assert.equal(await error.textContent(), '', 'nothing was tried yet');
    await join.click();
    await until(`the words about what the address said: ${code}`, async () => (await error.textContent()) === words);
    await alice.keyboard.press('Escape');
    await isGone(alice);
  }

  // Of an address that is too long the rest is cut off. A link that is pasted where a code belongs is as good as the code.
  await follow(alice, `join=${'x'.repeat(100_000)}`);
  await isAsked(alice, 'x'.repeat(300));
  await join.click();
  await until('the words', async () => (await error.textContent()) === 'No group has this code.');
  await alice.keyboard.press('Escape');
  await open(alice, 'Lounge');
  const code = await codeOf(alice);
  await open(alice, 'Bob');
  await type(alice, ` ${visit.server.url}/#join=${code} `);
  await join.click();
  await alice.locator('#thread-title').getByText('Lounge').waitFor();
  visit.assertQuiet();
});
