/**
 * The app of examples/sveltekit for the tests: built, or under Vite's development server, in front of a real Parlor server; and what
 * people do in it.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Server, deadline, launch, openContext } from './support.js';

const APP = fileURLToPath(new URL('../../examples/sveltekit', import.meta.url));
const SECRET = 'a secret of the app and its chat server, 48 bytes';
const ISSUER = 'https://app.example.com';
const AUDIENCE = 'chat';

/** @import { Browser, Locator, Page } from 'playwright-core' */
/** @import { ChildProcess } from 'node:child_process' */

/** Builds the app, as it is deployed. */
export function build() {
  execFileSync('npm', ['run', 'build'], { cwd: APP, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A port that nobody has. The app must know its address before it listens. */
async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  assert.ok(typeof address === 'object' && address);
  return address.port;
}

/** A process of the app that listens. */
class App {
  url = '';
  log = '';
  /** @type {ChildProcess | null} */
  #process = null;

  /** @param {string} parlorUrl @param {'built' | 'dev'} mode */
  async start(parlorUrl, mode) {
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    const command = mode === 'built' ? ['server.js'] : ['node_modules/vite/bin/vite.js', 'dev', '--host', '127.0.0.1', '--port', `${port}`, '--strictPort'];
    const env = {
      ...process.env, PARLOR_URL: parlorUrl, PARLOR_JWT_SECRET: SECRET, PARLOR_JWT_ISSUER: ISSUER, PARLOR_JWT_AUDIENCE: AUDIENCE,
      SESSION_SECRET: 'signs the cookies of this run only', ORIGIN: this.url, PORT: `${port}`, HOST: '127.0.0.1', NO_COLOR: '1',
    };
    const child = spawn(process.execPath, command, { cwd: APP, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    child.stderr.on('data', (text) => (this.log += text));
    const lines = createInterface({ input: child.stdout });
    await deadline('the app', new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the app ended with ${code}: ${this.log}`)));
      lines.on('line', (line) => line.includes(`127.0.0.1:${port}`) && resolve(undefined));
    }), 60_000);
  }

  async stop() {
    const child = this.#process;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

/** A browser for all tests of a file. */
export function useBrowser() {
  /** @type {Browser} */
  let browser;
  before(async () => {
    build();
    browser = await launch();
  });
  after(() => browser?.close());
  return {
    /**
     * A chat server and the app before it, which end with the test.
     * @param {import('node:test').TestContext} t
     * @param {{ mode?: 'built' | 'dev', flags?: string[] }} [options]
     */
    async visit(t, { mode = 'built', flags = [] } = {}) {
      const directory = mkdtempSync(path.join(tmpdir(), 'parlor-sveltekit-'));
      const secret = path.join(directory, 'secret');
      writeFileSync(secret, SECRET, { mode: 0o600 });
      const base = ['--jwt-secret-file', secret, '--jwt-issuer', ISSUER, '--jwt-audience', AUDIENCE];
      const server = await Server.start([...base, ...flags]);
      const app = new App();
      t.after(async () => {
        await app.stop();
        await server.remove();
        rmSync(directory, { recursive: true, force: true });
      });
      await app.start(server.url, mode);
      return new Visit(t, browser, server, app, base);
    },
  };
}

export class Visit {
  #t;
  #browser;
  #base;
  /** @type {import('./support.js').Watch[]} */
  #watches = [];

  /** @param {import('node:test').TestContext} t @param {Browser} browser @param {Server} server @param {App} app @param {string[]} base */
  constructor(t, browser, server, app, base) {
    this.#t = t;
    this.#browser = browser;
    this.server = server;
    this.app = app;
    this.#base = base;
  }

  /** The server again, with other flags beside the usual ones. @param {string[]} [flags] */
  async restart(flags = []) {
    await this.server.start([...this.#base, ...flags]);
  }

  /** A browser of somebody's own. @param {import('playwright-core').BrowserContextOptions} [options] */
  async open(options) {
    const { context, watch } = await openContext(this.#browser, { baseURL: this.app.url, ...options });
    this.#t.after(() => context.close());
    this.#watches.push(watch);
    return context;
  }

  /** Logs in, and is connected. @param {string} name @param {import('playwright-core').BrowserContextOptions} [options] */
  async signIn(name, options) {
    const page = await (await this.open(options)).newPage();
    await page.goto('/');
    await page.getByRole('button', { name }).click();
    await page.getByRole('heading', { name, level: 1 }).waitFor();
    await connected(page);
    return page;
  }

  /** @param {readonly RegExp[]} [expected] */
  assertQuiet(expected) {
    for (const watch of this.#watches) watch.assertQuiet(expected);
    assert.equal(this.app.log, '', 'the app logs no error');
  }
}

/** Waits until the list is there, or is said to be empty. @param {Page} page */
export const connected = (page) => page.getByRole('navigation', { name: 'Conversations' }).locator('a, p').first().waitFor();

/** @param {Page} page */
export const field = (page) => page.getByRole('textbox', { name: 'Message', exact: true });

/** @param {Page} page @param {string} text */
export async function say(page, text) {
  await field(page).fill(text);
  await field(page).press('Enter');
}

/** The row of a message. @param {Page} page @param {string} text @returns {Locator} */
export const message = (page, text) => page.locator('.message').filter({ has: page.locator('.content').getByText(text, { exact: true }) });

/** All messages that are shown, in their order. @param {Page} page */
export const texts = (page) => page.locator('.message .content').allInnerTexts();

/** Waits until a message bears this mark. @param {Page} page @param {string} text @param {string} mark */
export const marked = (page, text, mark) => message(page, text).locator('.tick').getByText(mark, { exact: false }).waitFor({ state: 'attached' });

/** The entry of a conversation in the list. @param {Page} page @param {string} title */
export const item = (page, title) => page.getByRole('navigation', { name: 'Conversations' }).getByRole('link').filter({ has: page.locator('.title', { hasText: title }) });

/** Begins a direct conversation, by the dialog. @param {Page} page @param {string} name */
export async function writeTo(page, name) {
  await page.getByRole('button', { name: 'New chat' }).click();
  await page.getByRole('dialog').getByRole('button', { name, exact: true }).click();
  await page.getByRole('heading', { name, level: 2 }).waitFor();
}

/** The id in the address. @param {Page} page */
export const conversationIn = (page) => new URL(page.url()).pathname.split('/')[2];

/**
 * Stores many messages, as the user of a page, on a connection of its own.
 * @param {Page} page @param {string} conversationId @param {string} word @param {number} count
 */
export async function store(page, conversationId, word, count) {
  await page.evaluate(async ({ conversationId, word, count }) => {
    const { token } = await (await fetch('/api/chat-token', { method: 'POST' })).json();
    const socket = new WebSocket('/ws'.replace(/^/u, location.origin.replace('http', 'ws')));
    await new Promise((resolve, reject) => {
      const send = (/** @type {string} */ type, /** @type {object} */ payload) => socket.send(JSON.stringify({ type, requestId: 'r', payload }));
      let sent = 0;
      const next = () => (sent < count ? send('send_message', { conversationId, content: `${word} ${++sent}` }) : resolve(undefined));
      socket.onopen = () => send('auth', { token });
      socket.onerror = reject;
      socket.onmessage = ({ data }) => {
        const { type, requestId } = JSON.parse(data);
        if (type === 'error') reject(new Error(data));
        if (requestId) next();
      };
    });
    socket.close();
  }, { conversationId, word, count });
}
