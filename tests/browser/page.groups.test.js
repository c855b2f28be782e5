/**
 * Groups: creating, inviting, joining, members, leaving; and addresses that name a conversation.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OUTAGE, until } from './support.js';
import { conversationIn, field, item, marked, open, say, shows, useBrowser } from './visit.js';

const browser = useBrowser();

/** @import { Page } from 'playwright-core' */

/** Opens the dialog at one of its parts. @param {Page} page @param {string} what */
async function begin(page, what) {
  await page.getByRole('button', { name: 'New conversation' }).click();
  await page.locator('#new-dialog').getByText(what, { exact: true }).click();
}

test('a group from its creation to the last goodbye', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await begin(alice, 'Group');
  await alice.getByRole('button', { name: 'Create the group' }).click();
  await alice.getByText('Give the group a name.').waitFor();
  await alice.getByLabel('Name of the group').fill('Lunch');
  await alice.getByRole('checkbox', { name: 'Bob' }).check();
  await alice.getByRole('button', { name: 'Create the group' }).click();
  await alice.locator('#thread-title').getByText('Lunch').waitFor();
  await alice.locator('#thread-subtitle').getByText('2 members').waitFor();
  await say(alice, 'Noon?');

  const bob = await visit.signIn('Bob');
  await item(bob, 'Lunch').locator('.badge').getByText('1').waitFor();
  await open(bob, 'Lunch');
  assert.equal(await bob.locator('#invite').isHidden(), true, 'only the owner has the code');

  await alice.getByRole('button', { name: 'Copy invite' }).click();
  await alice.getByText('The invite link is copied.').waitFor();
  const [address, code] = await alice.evaluate(() => navigator.clipboard.readText()).then((link) => link.split('#join='));
  assert.equal(address, `${visit.server.url}/`);
  assert.match(code, /^[0-9a-z]{32}$/u);

  const carol = await visit.signIn('Carol');
  await begin(carol, 'By code');
  await carol.getByLabel('Invite code', { exact: true }).fill('wrong');
  await carol.getByRole('button', { name: 'Join', exact: true }).click();
  await carol.getByText('No group has this code.').waitFor();
  await carol.getByLabel('Invite code', { exact: true }).fill(`  ${code.toUpperCase()} `);
  await carol.getByRole('button', { name: 'Join', exact: true }).click();
  await carol.locator('#thread-title').getByText('Lunch').waitFor();
  await shows(carol, ['Noon?']);
  await alice.locator('#log').getByText('Carol joined').waitFor();
  await alice.locator('#thread-subtitle').getByText('3 members, 3 online').waitFor();
  await say(carol, 'I come too');
  await shows(bob, ['Noon?', 'I come too']);
  await marked(carol, 'I come too', 'read');

  await alice.getByRole('button', { name: 'Members and details' }).click();
  const members = alice.locator('#details-members li');
  assert.deepEqual(await members.locator('.member-name').allTextContents(), ['Alice', 'Bob', 'Carol']);
  await members.first().getByText('You · Owner · Online').waitFor();
  assert.equal(await alice.locator('#details-code').inputValue(), code);
  await alice.keyboard.press('Escape');

  await carol.getByRole('button', { name: 'Members and details' }).click();
  await carol.getByRole('button', { name: 'Leave the group' }).click();
  await carol.getByRole('button', { name: 'Really leave?' }).click();
  await carol.getByText('You left Lunch.').waitFor();
  await item(carol, 'Lunch').waitFor({ state: 'detached' });
  assert.equal(conversationIn(carol), '');
  await alice.locator('#log').getByText('Carol left').waitFor();
  await alice.locator('#thread-subtitle').getByText('2 members, 2 online').waitFor();
  visit.assertQuiet();
});

test('leaving in one tab ends it in the other', async (t) => {
  const visit = await browser.visit(t);
  const bob = await visit.signIn('Bob');
  await open(bob, 'Lounge');
  const other = await visit.signIn('Bob');
  await open(other, 'Lounge');
  await other.keyboard.press('Escape');
  await other.keyboard.press('m');
  await other.getByRole('button', { name: 'Leave the group' }).click();
  await other.getByRole('button', { name: 'Really leave?' }).click();
  await item(bob, 'Lounge').waitFor({ state: 'detached' });
  await bob.getByPlaceholder('You are not in this conversation any more').waitFor();
  assert.equal(await field(bob).isDisabled(), true);
  visit.assertQuiet();
});

test('a direct conversation is found again, whoever begins it', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const id = conversationIn(alice);
  await open(alice, 'Lounge');
  await begin(alice, 'Message');
  await alice.getByRole('button', { name: 'Start' }).click();
  await alice.getByText('Choose somebody, or write their user id.').waitFor();
  await alice.getByRole('radio', { name: 'Bob' }).check();
  await alice.getByRole('button', { name: 'Start' }).click();
  await until('the same conversation', () => conversationIn(alice) === id);
  assert.equal(await alice.locator('#details-leave').isHidden(), true);

  await begin(alice, 'Message');
  await alice.getByLabel('Somebody else, by user id').fill('zoe');
  await alice.getByRole('button', { name: 'Start' }).click();
  await alice.locator('#thread-title').getByText('zoe').waitFor();
  visit.assertQuiet();
});

test('a message goes to whom was chosen or written last, and the button says to whom', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await begin(alice, 'Message');
  const [button, written] = [alice.locator('#new-submit'), alice.getByLabel('Somebody else, by user id')];
  const says = (/** @type {string} */ name) => alice.locator('#new-dialog').getByRole('button', { name, exact: true }).waitFor();
  const chosen = () => alice.locator('#new-people input:checked').evaluateAll((inputs) => inputs.map((input) => /** @type {HTMLInputElement} */ (input).value));
  await says('Start');
  await alice.getByRole('radio', { name: 'Bob' }).check();
  await says('Start with Bob');
  await written.fill('zoe');
  await says('Start with zoe');
  assert.deepEqual(await chosen(), [], 'Bob is not meant any more');
  await alice.getByRole('radio', { name: 'Carol' }).check();
  await says('Start with Carol');
  assert.equal(await written.inputValue(), '', 'zoe is not meant any more');

  // In a group both count, and back at a message what is written does.
  await written.fill(' ');
  assert.deepEqual(await chosen(), ['carol'], 'a blank is nobody');
  await alice.locator('#new-dialog').getByText('Group', { exact: true }).click();
  await says('Create the group');
  await alice.getByRole('checkbox', { name: 'Bob' }).check();
  await alice.getByLabel('Others, by user id').fill('zoe');
  assert.deepEqual(await chosen(), ['bob', 'carol']);
  await alice.locator('#new-dialog').getByText('Message', { exact: true }).click();
  await says('Start with zoe');
  assert.deepEqual(await chosen(), []);

  await written.fill('zoe, bob');
  await says('Start');
  await button.click();
  await alice.getByText('A message goes to one person. To write to several, choose Group.').waitFor();
  await written.fill('zoe');
  await button.locator('bdi').click();
  await alice.locator('#thread-title').getByText('zoe').waitFor();
  await alice.locator('#thread-subtitle').getByText('Offline').waitFor();
  visit.assertQuiet();
});

test('what cannot be a user id is named, in words', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const error = alice.locator('#new-error');
  const rule = 'An id has only the letters A to Z and a to z, digits and . _ : @ | -, at most 128 of them.';
  await begin(alice, 'Message');
  for (const [written, quoted] of [['Zoë', 'Zoë'], ['a/b', 'a/b'], ['x'.repeat(129), `${'x'.repeat(40)}…`], ['<b>\u202e', '<b>\u202e']]) {
    await alice.getByLabel('Somebody else, by user id').fill(written);
    await alice.getByRole('button', { name: 'Start' }).click();
    await until(written, async () => (await error.textContent()) === `“${quoted}” is no user id. ${rule}`);
    assert.equal(await alice.evaluate(() => document.activeElement?.id), 'new-ids', 'the focus is where it is to be mended');
  }
  await alice.locator('#new-dialog').getByText('Group', { exact: true }).click();
  await alice.getByLabel('Name of the group').fill('Trio');
  await alice.getByRole('checkbox', { name: 'Bob' }).check();
  await alice.getByLabel('Others, by user id').fill('zoe, n/a');
  await alice.getByRole('button', { name: 'Create the group' }).click();
  await until('the sentence', async () => (await error.textContent()) === `“n/a” is no user id. ${rule}`);

  // The longest and the oddest that the server takes.
  await alice.getByLabel('Others, by user id').fill(`zoe, ${'x'.repeat(128)}; a|b:c@d.e_f-9`);
  await alice.getByRole('button', { name: 'Create the group' }).click();
  await alice.locator('#thread-title').getByText('Trio').waitFor();
  await alice.locator('#thread-subtitle').getByText('5 members').waitFor();
  visit.assertQuiet();
});

test('an address opens its conversation, and the way back leads back', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  const direct = conversationIn(alice);
  await open(alice, 'Lounge');
  const lounge = conversationIn(alice);
  await alice.goBack();
  await alice.locator('#thread-title').getByText('Bob').waitFor();
  assert.equal(conversationIn(alice), direct);
  await alice.goForward();
  await alice.locator('#thread-title').getByText('Lounge').waitFor();

  const erin = await visit.tab();
  await erin.goto(`${visit.server.url}/#${lounge}`);
  await erin.getByRole('button', { name: 'Erin' }).click();
  await erin.locator('#thread-title').getByText('Lounge').waitFor();

  await erin.goto(`${visit.server.url}/#${direct}`);
  await erin.getByText('There is no such conversation, or you are not a member of it.').waitFor();
  assert.equal(conversationIn(erin), '');
  await erin.locator('#nothing-title').getByText('There is no such conversation').waitFor();
  await open(erin, 'Lounge');
  await erin.goBack();
  await erin.locator('#nothing-title').getByText('No conversation is open').waitFor();
  visit.assertQuiet();
});

test('an address of no conversation says so, and there is nothing to write in', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  for (const address of ['nonsense', '01a20df4-8c2d-78e5-9dca-000000000000', 'x'.repeat(5_000), '%00']) {
    await open(alice, 'Lounge');
    await alice.evaluate((to) => {
      location.hash = to;
    }, address);
    await alice.locator('#nothing-title').getByText('There is no such conversation').waitFor();
    assert.equal(await alice.locator('#thread').isHidden(), true, address);
    assert.equal(conversationIn(alice), '');
  }

  // Nor is there before the server has said so.
  await visit.server.kill();
  await alice.locator('#banner').getByText('The connection is lost.').waitFor();
  await alice.evaluate(() => {
    location.hash = 'nonsense';
  });
  await alice.locator('#thread').waitFor();
  assert.equal(await alice.locator('#composer').isHidden(), true);
  assert.equal(await alice.title(), 'Opening… · Parlor');
  await visit.server.start();
  await alice.locator('#nothing-title').getByText('There is no such conversation').waitFor();
  visit.assertQuiet(OUTAGE);
});

test('a long list comes in pages, and is searched', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await alice.evaluate(async (url) => {
    const { ChatClient } = await import(url);
    const token = async () => (await (await fetch('/dev/token?sub=alice&name=Alice')).json()).token;
    const client = new ChatClient({ url: '/ws', getToken: token });
    await client.connect();
    for (let number = 1; number <= 40; number += 1) await client.createConversation([`guest-${number}`]);
    client.close();
  }, `${visit.server.url}/client/chat.js`);
  const items = alice.locator('#list .item');
  await until('all of them, live', async () => (await items.count()) === 42);
  // An address with a conversation would bring that one in too, and the page would be one longer as soon as it is open.
  await alice.goto('about:blank');
  await alice.goto(visit.server.url);
  await until('a page', async () => (await items.count()) === 30);
  await alice.getByRole('button', { name: 'Show more' }).click();
  await until('all of them', async () => (await items.count()) === 42);
  assert.equal(await alice.locator('#list-more').isHidden(), true);
  assert.equal(await items.first().locator('.item-title').textContent(), 'guest-40');

  await alice.getByLabel('Search conversations').fill('GUEST-3');
  await until('those that are called that', async () => (await items.count()) === 11);
  await alice.getByLabel('Search conversations').fill('nobody');
  await alice.getByText('No conversation is called that.').waitFor();
  visit.assertQuiet();
});
