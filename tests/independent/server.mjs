/**
 * A server of its own for one run: the real binary on a free port, in a temporary directory that goes when it is stopped.
 *
 * Reads `PARLOR_BIN`, the path of the binary.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const SECRET = 'independent clients bring a secret of their own';
const START_MS = 10_000;
const STOP_MS = 15_000;

export class Server {
  #directory = mkdtempSync(join(tmpdir(), 'parlor-independent-'));
  #binary = process.env.PARLOR_BIN ?? '';
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process;
  /** What it said on standard error, over all its lives. */
  #log = '';
  /** Where it listens now, `ws://127.0.0.1:PORT/ws`. */
  url = '';

  constructor() {
    assert.ok(this.#binary, 'PARLOR_BIN names the binary');
    writeFileSync(this.#secretFile, SECRET, { mode: 0o600 });
  }

  get #secretFile() {
    return join(this.#directory, 'secret');
  }

  /** Starts it, or starts it again on the same data; the port is another one each time. */
  async start() {
    const data = join(this.#directory, 'data');
    const flags = ['serve', '--listen', '127.0.0.1:0', '--data', data, '--jwt-secret-file', this.#secretFile];
    // Nothing of the environment, where a PARLOR_ variable could change what is tested.
    const child = spawn(this.#binary, flags, { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
    this.#process = child;
    child.stderr.on('data', (bytes) => (this.#log += bytes));
    this.url = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no URL after ${START_MS} ms\n${this.#log}`)), START_MS);
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`the server ended while it started\n${this.#log}`)));
      createInterface(child.stdout).on('line', (line) => {
        const url = /ws:\/\/127\.0\.0\.1:\d+\/ws/.exec(line);
        if (url) {
          clearTimeout(timer);
          resolve(url[0]);
        }
      });
    });
  }

  /** SIGKILL, and waits for the end. */
  async kill() {
    assert.equal(await this.#end('SIGKILL'), null, 'it lived until it was killed');
  }

  /** SIGTERM; the server must drain and exit with 0 by itself. */
  async terminate() {
    const timer = setTimeout(() => this.#process?.kill('SIGKILL'), STOP_MS);
    const code = await this.#end('SIGTERM');
    clearTimeout(timer);
    assert.equal(code, 0, `the server stops cleanly within ${STOP_MS} ms\n${this.#log}`);
  }

  /** @param {'SIGKILL' | 'SIGTERM'} signal @returns {Promise<number | null>} the exit code */
  async #end(signal) {
    const child = this.#process;
    assert.ok(child && child.exitCode === null && child.signalCode === null, `it runs\n${this.#log}`);
    const ended = once(child, 'exit');
    child.kill(signal);
    return (await ended)[0];
  }

  /** Ends it, however it is, and removes its files. */
  async remove() {
    const child = this.#process;
    if (child && child.exitCode === null && child.signalCode === null) await this.#end('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** What it said on standard error. */
  get log() {
    return this.#log;
  }

  /** A token as a backend would sign it, without a line of the server's code. @param {string} sub @param {string} name */
  signToken(sub, name) {
    const seconds = Math.floor(Date.now() / 1000);
    const part = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, name, iat: seconds, exp: seconds + 3600 })}`;
    return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
  }

  /** A token as `parlor token` prints it. @param {string} sub @param {string} name */
  printToken(sub, name) {
    const flags = ['token', '--sub', sub, '--name', name, '--jwt-secret-file', this.#secretFile];
    return execFileSync(this.#binary, flags, { encoding: 'utf8', env: {} }).trim();
  }
}
