/**
 * The keyboard alone, from the first screen to a message that is sent, and around.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './support.js';
import { shows, useBrowser } from './visit.js';

const browser = useBrowser();

/** @import { Page } from 'playwright-core' */

/** Presses Tab until something has the focus. @param {Page} page @param {string} selector */
async function tabTo(page, selector) {
  for (let step = 0; step < 40; step += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not lead to ${selector}`);
}

/** @param {Page} page @param {string} selector */
const focused = (page, selector) => until(`the focus on ${selector}`, () => page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector));

test('from the first screen to a sent message without a mouse', async (t) => {
  const visit = await browser.visit(t);
  const page = await visit.tab();
  const { keyboard } = page;
  await page.goto(visit.server.url);
  await focused(page, '.person');
  await keyboard.press('Tab');
  await keyboard.press('Shift+Tab');
  await keyboard.press('Enter');
  await focused(page, '#message');
  await keyboard.type('By hand');
  await keyboard.press('Shift+Enter');
  await keyboard.type('of two lines');
  await keyboard.press('Enter');
  await shows(page, ['By hand\nof two lines']);

  // Along the list with Alt.
  const title = page.locator('#thread-title');
  await keyboard.press('Alt+ArrowDown');
  await title.getByText('Lounge').waitFor();
  await keyboard.press('Alt+ArrowUp');
  await title.getByText('Bob').waitFor();

  // To the list, along it, and into a conversation.
  await keyboard.press('Escape');
  await focused(page, '#list .item[aria-current]');
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await title.getByText('Lounge').waitFor();
  await focused(page, '#message');

  // Search, and what is found.
  await keyboard.press('Escape');
  await keyboard.press('/');
  await focused(page, '#search');
  await keyboard.type('bo');
  await until('one conversation', async () => (await page.locator('#list .item').count()) === 1);
  await keyboard.press('Enter');
  await focused(page, '#list .item');
  await keyboard.press('Enter');
  await title.getByText('Bob').waitFor();
  await keyboard.press('Escape');
  await keyboard.press('/');
  await keyboard.press('Escape');
  await until('all conversations', async () => (await page.locator('#list .item').count()) === 2);

  // Help, and a group, by keys.
  await keyboard.press('ArrowDown');
  await keyboard.press('?');
  await page.locator('#help-dialog').waitFor();
  await keyboard.press('Escape');
  await page.locator('#help-dialog').waitFor({ state: 'hidden' });
  await keyboard.press('n');
  await page.locator('#new-dialog').waitFor();
  await tabTo(page, '[name=what]');
  await keyboard.press('ArrowRight');
  await tabTo(page, '#new-name');
  await keyboard.type('By keys');
  await keyboard.press('Enter');
  await title.getByText('By keys').waitFor();
  await focused(page, '#message');

  // Every control of the chat can be reached.
  for (const selector of ['#send', '#open-as', '#help', '#new', '#search', '#invite', '#details', '#log', '#message']) {
    if (selector === '#send') await keyboard.type('x');
    await tabTo(page, selector);
  }
  visit.assertQuiet();
});

test('what is closed by keys leaves the focus where one goes on', async (t) => {
  const visit = await browser.visit(t);
  const page = await visit.signIn('Alice');
  const { keyboard } = page;
  await keyboard.press('Escape');
  for (const [key, dialog] of [['?', '#help-dialog'], ['m', '#details-dialog'], ['n', '#new-dialog']]) {
    await keyboard.press(key);
    await page.locator(dialog).waitFor();
    await keyboard.press('Escape');
    await page.locator(dialog).waitFor({ state: 'hidden' });
    await focused(page, '#list .item[aria-current]');
  }

  // The button that had it is gone with the group.
  await page.locator('#list').getByText('Lounge').click();
  await tabTo(page, '#details');
  await keyboard.press('Enter');
  await tabTo(page, '#leave');
  await keyboard.press('Enter');
  await keyboard.press('Enter');
  await page.getByText('You left Lounge.').waitFor();
  await focused(page, '#list .item');
  await until('the title', async () => (await page.title()) === 'Parlor');
  visit.assertQuiet();
});

test('letters that are written are no commands', async (t) => {
  const visit = await browser.visit(t);
  const alice = await visit.signIn('Alice');
  await alice.locator('#message').press('Control+a');
  await alice.keyboard.type('n?/m');
  assert.equal(await alice.locator('#message').inputValue(), 'n?/m');
  assert.equal(await alice.locator('dialog[open]').count(), 0);
  visit.assertQuiet();
});
