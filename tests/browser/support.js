/**
 * What the browser tests stand on: the real server, which can be killed and comes back on the same port with the same data, and
 * Chromium, of which every page is watched. Nothing here sleeps: waits are for conditions, and have deadlines.
 *
 * Environment: PARLOR_BIN (else target/debug/parlor), CHROMIUM (else /usr/bin/chromium), SCREENSHOTS (else target/screenshots),
 * DEADLINE_MS (else 20000).
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = process.env.PARLOR_ROOT ?? fileURLToPath(new URL('../..', import.meta.url));
/** The server's program. */
export const BINARY = process.env.PARLOR_BIN ?? path.join(ROOT, 'target/debug/parlor');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SCREENSHOTS = process.env.SCREENSHOTS ?? path.join(ROOT, 'target/screenshots');
/** For anything that should happen; far more than it takes on a slow machine. */
export const DEADLINE_MS = Number(process.env.DEADLINE_MS ?? 20_000);

/** What Chromium itself says on the console while there is no server to connect to. */
export const OUTAGE = [/WebSocket connection to .* failed/u, /net::ERR_CONNECTION_REFUSED/u, /net::ERR_EMPTY_RESPONSE|net::ERR_CONNECTION_RESET/u];

export class Server {
  #directory = mkdtempSync(path.join(tmpdir(), 'parlor-browser-'));
  #port = 0;
  /** @type {import('node:child_process').ChildProcess | null} */
  #process = null;
  #flags;
  log = '';

  /** @param {string[]} flags beside `serve`, where to listen and where to keep data */
  constructor(flags) {
    this.#flags = flags;
  }

  /** A server that listens. @param {string[]} [flags] */
  static async start(flags = ['--dev']) {
    const server = new Server(flags);
    await server.start();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  get directory() {
    return this.#directory;
  }

  /** Starts it: at first on a free port, from then on always on that. @param {string[]} [flags] others than before */
  async start(flags = this.#flags) {
    const listen = `127.0.0.1:${this.#port}`;
    const child = spawn(BINARY, ['serve', '--listen', listen, '--data', path.join(this.#directory, 'data'), ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    child.stderr.on('data', (text) => {
      this.log += text;
    });
    const lines = createInterface({ input: child.stdout });
    const port = await deadline('the address of the server', new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${this.log}`)));
      lines.on('line', (line) => {
        const address = /ws:\/\/127\.0\.0\.1:(\d+)\/ws/u.exec(line);
        if (address) resolve(Number(address[1]));
      });
    }));
    this.#port = port;
  }

  /** Ends it at once, as a power cut would. */
  async kill() {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await deadline('the end of the server', ended);
  }

  /** Ends it, and removes what it kept. */
  async remove() {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A promise with a time by which it has to be kept. @template T @param {string} what @param {Promise<T>} promise @returns {Promise<T>} */
export async function deadline(what, promise, ms = DEADLINE_MS) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

/** Chromium, without a window. */
export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });

/** Collects whatever pages complain about: errors nobody caught, and the console, on which violations of the policy appear too. */
export class Watch {
  /** @type {string[]} */
  complaints = [];

  /** @param {import('playwright-core').BrowserContext} context */
  constructor(context) {
    context.on('page', (page) => {
      page.on('pageerror', (error) => this.complaints.push(`uncaught: ${error.stack ?? error}`));
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) this.complaints.push(`${message.type()}: ${message.text()}`);
      });
    });
  }

  /** @param {readonly RegExp[]} expected what may have been said */
  assertQuiet(expected = []) {
    const unexpected = this.complaints.filter((complaint) => !expected.some((pattern) => pattern.test(complaint)));
    assert.deepEqual(unexpected, [], 'the console is silent');
  }
}

/** A new context of a browser, with its watch. @param {import('playwright-core').Browser} browser @param {import('playwright-core').BrowserContextOptions} [options] */
export async function openContext(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, reducedMotion: 'reduce', locale: 'en-GB', ...options });
  context.setDefaultTimeout(DEADLINE_MS);
  return { context, watch: new Watch(context) };
}

/** Keeps a picture of what a page shows. @param {import('playwright-core').Page} page @param {string} name */
export async function screenshot(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}

/**
 * Waits until a function of the test answers something that is true.
 * @template T @param {string} what @param {() => Promise<T> | T} probe @returns {Promise<NonNullable<T>>}
 */
export async function until(what, probe, ms = DEADLINE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
