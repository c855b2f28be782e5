/**
 * People on the built-in page: what they do, and what they see.
 */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { launch, openContext, Server, until } from './support.js';

/** @import { Browser, BrowserContextOptions, Page } from 'playwright-core' */
/** @import { TestContext } from 'node:test' */

/** One browser for all tests of a file. */
export function useBrowser() {
  /** @type {{ browser: Browser | null }} */
  const held = { browser: null };
  before(async () => {
    held.browser = await launch();
  });
  after(() => held.browser?.close());
  return {
    /** A server of this test's own, and people who come to it. @param {TestContext} t @param {string[]} [flags] */
    async visit(t, flags) {
      assert.ok(held.browser);
      const server = await Server.start(flags);
      const visit = new Visit(server, held.browser);
      t.after(() => visit.end());
      return visit;
    },
  };
}

class Visit {
  server;
  #browser;
  /** @type {Awaited<ReturnType<typeof openContext>>[]} */
  #opened = [];

  /** @param {Server} server @param {Browser} browser */
  constructor(server, browser) {
    this.server = server;
    this.#browser = browser;
  }

  /** A tab of somebody who has not been here. @param {BrowserContextOptions} [options] @returns {Promise<Page>} */
  async tab(options) {
    const opened = await openContext(this.#browser, { permissions: ['clipboard-read', 'clipboard-write'], ...options });
    this.#opened.push(opened);
    return opened.context.newPage();
  }

  /** Opens the page and clicks on somebody. @param {string} name @param {BrowserContextOptions} [options] */
  async signIn(name, options) {
    const page = await this.tab(options);
    await page.goto(this.server.url);
    await page.getByRole('button', { name, exact: true }).click();
    await page.locator('#composer').waitFor();
    return page;
  }

  /** Nobody has complained. @param {readonly RegExp[]} [expected] */
  assertQuiet(expected) {
    for (const { watch } of this.#opened) watch.assertQuiet(expected);
  }

  async end() {
    for (const { context } of this.#opened) await context.close();
    await this.server.remove();
  }
}

/** @param {Page} page */
export const field = (page) => page.getByRole('textbox', { name: 'Message', exact: true });

/** Writes a message and sends it with Enter. @param {Page} page @param {string} text */
export async function say(page, text) {
  await field(page).fill(text);
  await field(page).press('Enter');
}

/**
 * Types on until something shows it: typing ends by itself after some seconds, which may be over before a slow machine has looked.
 * @param {Page} page who types @param {() => Promise<boolean>} isShown
 */
export const typeUntil = (page, isShown) => until('typing', async () => {
  await field(page).pressSequentially('m');
  return isShown();
});

/** The texts of the messages that a thread shows, in their order. @param {Page} page */
export const texts = (page) => page.locator('#log .message .content').allTextContents();

/** Waits until a thread shows exactly these. @param {Page} page @param {readonly string[]} expected */
export async function shows(page, expected) {
  /** @type {string[]} */
  let seen = [];
  const isShown = async () => {
    seen = await texts(page);
    return seen.length === expected.length && seen.every((text, index) => text === expected[index]);
  };
  await until('the messages', isShown).catch((error) => assert.deepEqual(seen, expected, error.message));
}

/** The message with this text. @param {Page} page @param {string} text */
export const message = (page, text) => page.locator('#log .message').filter({ has: page.locator('.content').getByText(text, { exact: true }) });

/** Waits until an own message has come so far: pending, failed, sent, seen, read. @param {Page} page @param {string} text @param {string} state */
export const marked = (page, text, state) => message(page, text).locator(`.mark.${state}`).waitFor();

/** The conversation of this title in the list. @param {Page} page @param {string} title */
export const item = (page, title) => page.locator('#list .item').filter({ has: page.locator('.item-title').getByText(title, { exact: true }) });

/** Opens a conversation of the list. @param {Page} page @param {string} title */
export async function open(page, title) {
  await item(page, title).click();
  await page.locator('#thread-title').getByText(title, { exact: true }).waitFor();
}

/** The id of the conversation that a tab has open. @param {Page} page */
export const conversationIn = (page) => new URL(page.url()).hash.slice(1);

/**
 * Stores messages past the page, as another device of a user might. Each is `text NUMBER`.
 * @param {Page} page any page of the server @param {string} user @param {string} conversationId @param {string} text @param {number} count
 */
export async function store(page, user, conversationId, text, count) {
  await page.evaluate(async (given) => {
    const { token } = await (await fetch(`/dev/token?sub=${given.user}&name=${given.user[0].toUpperCase()}${given.user.slice(1)}`)).json();
    const socket = new WebSocket(`ws://${location.host}/ws`);
    const say = (/** @type {string} */ type, /** @type {object} */ payload) => socket.send(JSON.stringify({ type, requestId: type, payload }));
    let answered = 0;
    await new Promise((resolve, reject) => {
      socket.onclose = reject;
      socket.onopen = () => say('auth', { token });
      socket.onmessage = ({ data }) => {
        const { type, payload } = JSON.parse(data);
        if (type === 'error') return reject(new Error(payload.message));
        if (type === 'auth' || type === 'send_message') {
          if (type === 'send_message') answered += 1;
          if (answered === given.count) return resolve(undefined);
          say('send_message', { conversationId: given.conversationId, content: `${given.text} ${answered + 1}` });
        }
      };
    });
    socket.onclose = null;
    socket.close();
  }, { user, conversationId, text, count });
}

/** Follows a link in an open page. @param {Page} page @param {string} hash */
export const follow = (page, hash) => page.evaluate((to) => {
  location.hash = to;
}, hash);

/** The dialog that starts conversations and asks about invites. @param {Page} page */
export const dialog = (page) => page.getByRole('dialog', { name: 'New conversation' });

/** Waits until that dialog is closed. @param {Page} page */
export const isGone = (page) => dialog(page).waitFor({ state: 'hidden' });

/** Waits for the dialog of an invite, with this code in it. @param {Page} page @param {string} code */
export async function isAsked(page, code) {
  await dialog(page).getByText('The address that was opened is an invite to a group.').waitFor();
  await until('the code', async () => (await page.getByLabel('Invite code', { exact: true }).inputValue()) === code);
  await dialog(page).getByRole('button', { name: 'Join', exact: true }).waitFor();
}

/** What stands behind the `#` of the address. @param {Page} page */
export const hashOf = (page) => page.evaluate(() => location.hash);

/** Waits until something has the focus. @param {Page} page @param {string} selector */
export const focused = (page, selector) => until(`the focus on ${selector}`, () => page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector));

/** The code of the group that its owner has open. @param {Page} page */
export async function codeOf(page) {
  await page.getByRole('button', { name: 'Members and details' }).click();
  const code = await page.locator('#details-code').inputValue();
  await page.keyboard.press('Escape');
  return code;
}
