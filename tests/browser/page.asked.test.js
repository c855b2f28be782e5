/**
 * Which invite is asked about: the newest, until it is answered, whatever comes between.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './support.js';
import { dialog, follow, hashOf, isAsked, isGone, useBrowser } from './visit.js';

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
