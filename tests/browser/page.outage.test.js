/**
 * The server dies in mid-conversation and comes back; a message is refused and sent again. Nothing is lost or doubled.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OUTAGE, screenshot, until } from './support.js';
import { conversationIn, field, item, marked, message, open, say, shows, texts, useBrowser } from './visit.js';

const browser = useBrowser();

test('the server is killed and restarted in mid-conversation, and nothing is lost or doubled', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await say(alice, 'before');
  await shows(bob, ['before']);

  // Some of these are on their way, some stored but not answered, and some are not sent when it dies.
  const burst = Array.from({ length: 12 }, (_, index) => `burst ${index + 1}`);
  await alice.locator('#message').evaluate((element, lines) => {
    for (const line of lines) {
      /** @type {HTMLTextAreaElement} */ (element).value = line;
      element.dispatchEvent(new Event('input'));
      element.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', cancelable: true }));
    }
  }, burst);
  await visit.server.kill();

  // Everything stays readable, and writing goes on.
  const banner = alice.locator('#banner');
  await banner.getByText('The connection is lost.').waitFor();
  await until('a countdown', async () => /Trying again in \d+ s/u.test(await banner.innerText()));
  await say(alice, 'in the dark');
  await say(bob, 'hello?');
  await marked(alice, 'in the dark', 'pending');
  await marked(bob, 'hello?', 'pending');
  assert.deepEqual(await texts(alice), ['before', ...burst, 'in the dark']);
  assert.equal(await alice.locator('#list .item').count(), 2);
  await screenshot(alice, 'outage');

  await visit.server.start();
  await banner.waitFor({ state: 'hidden' });
  await message(bob, 'in the dark').waitFor();
  await message(alice, 'hello?').waitFor();
  await until('every mark', async () => (await alice.locator('#log .mark.pending, #log .mark.failed').count()) === 0);
  await until('the same on both sides', async () => JSON.stringify(await texts(alice)) === JSON.stringify(await texts(bob)));
  const all = await texts(alice);
  assert.deepEqual(all.filter((text) => text !== 'hello?'), ['before', ...burst, 'in the dark'], 'each once, in the order of writing');
  assert.equal(all.filter((text) => text === 'hello?').length, 1);

  // What the page shows is what the server has.
  await alice.reload();
  await shows(alice, all);
  visit.assertQuiet(OUTAGE);
});

test('a message for which there is no room stays in the field, and the page says why', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await visit.server.kill();
  await alice.locator('#banner').getByText('The connection is lost.').waitFor();
  await alice.locator('#message').evaluate((element) => {
    for (let number = 0; number <= 100; number += 1) {
      /** @type {HTMLTextAreaElement} */ (element).value = `waits ${number}`;
      element.dispatchEvent(new Event('input'));
      element.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', cancelable: true }));
    }
  });
  const note = alice.locator('#message-note').getByText('Too many messages wait to be sent.');
  await note.waitFor();
  assert.equal(await field(alice).inputValue(), 'waits 100');
  // Whatever the page shows anew meanwhile.
  await alice.locator('#banner').getByText(/Trying again in \d+ s/u).waitFor();
  assert.ok(await note.isVisible());
  await field(alice).fill('waits 100, still');
  await note.waitFor({ state: 'hidden' });
  visit.assertQuiet(OUTAGE);
});

test('nobody is said to be online while there is no connection', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  const [head, row] = [alice.locator('#thread-subtitle'), item(alice, 'Bob')];
  await head.getByText('Online', { exact: true }).waitFor();
  await row.getByText(', online').waitFor();
  await alice.getByRole('button', { name: 'Members and details' }).click();
  await visit.server.kill();
  await head.getByText('Status unknown').waitFor();
  await row.locator('.avatar.unknown').waitFor();
  await alice.locator('#thread-avatar .avatar.unknown').waitFor();
  assert.equal(await row.getByText(', online').count(), 0);
  assert.equal(await alice.locator('#details-count').innerText(), '2 members');
  assert.doesNotMatch(await alice.locator('#details-members').innerText(), /online/iu);
  assert.equal(await alice.locator('.avatar.online').count(), 0);
  await screenshot(alice, 'outage-presence');
  await alice.keyboard.press('Escape');
  await open(alice, 'Lounge');
  await head.getByText(/^6 members$/u).waitFor();
  await open(alice, 'Bob');

  await visit.server.start();
  await head.getByText('Online', { exact: true }).waitFor();
  await row.locator('.avatar.online').waitFor();
  await bob.locator('#thread-subtitle').getByText('Online', { exact: true }).waitFor();
  visit.assertQuiet(OUTAGE);
});

test('what was not sent survives a reload, and is sent once', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await visit.server.kill();
  await alice.locator('#banner').getByText('The connection is lost.').waitFor();
  await say(alice, 'remember me');
  await marked(alice, 'remember me', 'pending');
  // Away and back, as a reload is, but that the page itself comes from the server.
  await alice.goto('about:blank');
  await visit.server.start();
  await alice.goto(visit.server.url);
  await shows(alice, ['remember me']);
  await marked(alice, 'remember me', 'read');
  await shows(bob, ['remember me']);
  visit.assertQuiet(OUTAGE);
});

test('trying at once is a click', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await visit.server.kill();
  const again = alice.getByRole('button', { name: 'Try now' });
  // Pauses grow; after some the click is worth something.
  await until('a pause of some seconds', async () => {
    if (await again.isVisible()) await again.click({ timeout: 1_000 }).catch(() => {});
    return /Trying again in ([3-9]|1\d) s/u.test(await alice.locator('#banner').innerText());
  });
  await visit.server.start();
  await until('the connection', async () => {
    if (await again.isVisible()) await again.click({ timeout: 1_000 }).catch(() => {});
    return alice.locator('#banner').isHidden();
  }, 3_000);
  visit.assertQuiet(OUTAGE);
});

test('a message that the server refuses stays, and can be sent again', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await visit.server.kill();
  const long = 'This is much longer than twenty characters.';
  await say(alice, long);
  await marked(alice, long, 'pending');
  await say(alice, 'short');
  // Somebody has made the limit smaller meanwhile.
  await visit.server.start(['--dev', '--max-content-chars', '20']);
  await marked(alice, long, 'failed');
  await message(alice, long).getByText('Not sent. It is longer than this server takes.').waitFor();
  await marked(alice, 'short', 'read');
  await shows(bob, ['short']);
  await screenshot(alice, 'failed');

  await message(alice, long).getByRole('button', { name: 'Try again' }).click();
  await marked(alice, long, 'failed');
  // And takes that back.
  await visit.server.kill();
  await visit.server.start(['--dev']);
  await alice.locator('#banner').waitFor({ state: 'hidden' });
  await marked(alice, long, 'failed');
  await message(alice, long).getByRole('button', { name: 'Try again' }).click();
  await marked(alice, long, 'read');
  await shows(bob, ['short', long]);
  await shows(alice, ['short', long]);
  visit.assertQuiet(OUTAGE);
});

test('a refused message can be changed or thrown away', async (t) => {
  const visit = await browser.visit(t, ['--dev']);
  const alice = await visit.signIn('Alice');
  const id = conversationIn(alice);
  await visit.server.kill();
  await say(alice, 'this one is to be changed');
  await say(alice, 'this one is for the bin');
  await visit.server.start(['--dev', '--max-content-chars', '20']);
  await marked(alice, 'this one is to be changed', 'failed');
  await marked(alice, 'this one is for the bin', 'failed');
  await message(alice, 'this one is for the bin').getByRole('button', { name: 'Discard' }).click();
  await shows(alice, ['this one is to be changed']);
  await message(alice, 'this one is to be changed').getByRole('button', { name: 'Edit' }).click();
  assert.equal(await field(alice).inputValue(), 'this one is to be changed');
  await say(alice, 'changed');
  await shows(alice, ['changed']);
  await marked(alice, 'changed', 'sent');
  assert.equal(conversationIn(alice), id);
  visit.assertQuiet(OUTAGE);
});
