/**
 * Two people talk: from the first click to typing, ticks, badges and presence.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './support.js';
import { conversationIn, field, item, marked, message, open, say, shows, typeUntil, useBrowser } from './visit.js';

const browser = useBrowser();

test('one click each, and two people chat in two tabs', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  assert.equal(await alice.locator('#thread-title').textContent(), 'Bob');

  const opening = alice.context().waitForEvent('page');
  await alice.getByRole('link', { name: 'Open as Bob' }).click();
  const bob = await opening;
  await bob.locator('#thread-title').getByText('Alice', { exact: true }).waitFor();
  assert.equal(conversationIn(bob), conversationIn(alice), 'the same conversation is open');
  assert.equal(await bob.locator('#me').textContent().then((text) => text?.endsWith('Bob')), true);

  await say(alice, 'Hello, Bob!');
  await shows(bob, ['Hello, Bob!']);
  await say(bob, 'Hi Alice\nhow are you?');
  await shows(alice, ['Hello, Bob!', 'Hi Alice\nhow are you?']);
  await marked(alice, 'Hello, Bob!', 'read');
  await alice.locator('#thread-subtitle').getByText('Online').waitFor();

  await typeUntil(bob, () => alice.locator('#typing').getByText('Bob is typing').isVisible());
  await field(bob).fill('');
  await until('the end of the typing', async () => (await alice.locator('#typing').textContent()) === '');

  // A reload keeps who one is, and what is open.
  await bob.reload();
  await shows(bob, ['Hello, Bob!', 'Hi Alice\nhow are you?']);
  assert.equal(await bob.locator('#thread-title').textContent(), 'Alice');
  visit.assertQuiet();
});

test('what happens elsewhere shows in the list and in the title', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await open(bob, 'Lounge');
  await say(bob, 'Anybody here?');
  await say(bob, 'Hello?');
  await item(alice, 'Lounge').locator('.badge').getByText('2').waitFor();
  await item(alice, 'Lounge').getByText('Bob: Hello?').waitFor();
  await until('the title', async () => (await alice.title()) === '(2) Bob · Parlor');
  assert.equal(await alice.locator('#list .item-title').first().textContent(), 'Lounge', 'the latest activity comes first');

  await typeUntil(bob, () => item(alice, 'Lounge').getByText('Bob is typing…').isVisible());

  await open(alice, 'Lounge');
  await item(alice, 'Lounge').locator('.badge').waitFor({ state: 'detached' });
  await until('the title', async () => (await alice.title()) === 'Lounge · Parlor');
  await alice.locator('#log .divider.new').getByText('New messages').waitFor();
  await marked(bob, 'Hello?', 'seen');
  assert.equal(await message(bob, 'Hello?').locator('.mark').getAttribute('title'), 'Read by 1 of 5');
  visit.assertQuiet();
});

test('who is there and who has gone is seen', async (t) => {
  const visit = await browser.visit(t, ['--dev', '--presence-grace', '0']);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  await item(alice, 'Bob').locator('.avatar.online').waitFor();
  await bob.close();
  await alice.locator('#thread-subtitle').getByText('Last seen just now').waitFor();
  await item(alice, 'Bob').locator('.avatar:not(.online)').waitFor();
  visit.assertQuiet();
});

test('a text is only ever a text', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const bob = await visit.signIn('Bob');
  const attack = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script> &amp; javascript:alert(1)';
  await say(alice, attack);
  await shows(bob, [attack]);
  assert.equal(await bob.locator('#log img, #log script').count(), 0);
  assert.equal(await item(bob, 'Alice').locator('.item-text').textContent(), attack.slice(0, 120));

  await say(alice, 'see https://example.com/a?b=1, or HTTP://example.org.');
  const links = message(bob, 'see https://example.com/a?b=1, or HTTP://example.org.').locator('a');
  await links.first().waitFor();
  assert.deepEqual(await links.evaluateAll((all) => all.map((link) => [link.getAttribute('href'), link.getAttribute('rel')])), [
    ['https://example.com/a?b=1', 'noopener noreferrer'],
    ['HTTP://example.org', 'noopener noreferrer'],
  ]);
  // A group's name and a user's are texts as well.
  await alice.getByRole('button', { name: 'New conversation' }).click();
  await alice.getByText('Group', { exact: true }).click();
  await alice.getByLabel('Name of the group').fill('<b onclick=x>bold</b>');
  await alice.getByRole('button', { name: 'Create the group' }).click();
  await alice.locator('#thread-title').getByText('<b onclick=x>bold</b>').waitFor();
  assert.equal(await alice.locator('b').count(), 0);
  visit.assertQuiet();
});

test('drafts stay with their conversation, over a reload too', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await field(alice).fill('half a thou');
  await open(alice, 'Lounge');
  assert.equal(await field(alice).inputValue(), '');
  await item(alice, 'Bob').getByText('Draft: half a thou').waitFor();
  await alice.reload();
  await alice.locator('#composer').waitFor();
  await open(alice, 'Bob');
  assert.equal(await field(alice).inputValue(), 'half a thou');
  await field(alice).press('Enter');
  await shows(alice, ['half a thou']);
  await alice.reload();
  await shows(alice, ['half a thou']);
  assert.equal(await field(alice).inputValue(), '', 'what was sent is no draft');
  visit.assertQuiet();
});

test('a message has the length that the server takes', async (t) => {
  const visit = await browser.visit(t, ['--dev', '--max-content-chars', '300']);
  const alice = await visit.signIn('Alice');
  await field(alice).fill('🙂'.repeat(301));
  await alice.getByText('1 character too many').waitFor();
  assert.equal(await alice.getByRole('button', { name: 'Send' }).isDisabled(), true);
  await field(alice).press('Enter');
  assert.equal(await alice.locator('#log .message').count(), 0);
  await field(alice).fill('🙂'.repeat(300));
  await alice.getByText('0 left').waitFor();
  await field(alice).press('Enter');
  await marked(alice, '🙂'.repeat(300), 'sent');
  visit.assertQuiet();
});
