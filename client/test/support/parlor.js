/**
 * The real server, on a free port and with a data directory of its own. `PARLOR_BINARY` names it; else it is the newest of what
 * `cargo build` left in this repository.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const START_MS = 20_000;
const STOP_MS = 30_000;

/** The binary's path, or nothing. */
export function binary() {
  if (process.env.PARLOR_BINARY) return process.env.PARLOR_BINARY;
  const built = ['release', 'debug']
    .map((profile) => fileURLToPath(new URL(`../../../target/${profile}/parlor`, import.meta.url)))
    .filter((path) => existsSync(path));
  return built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

export class Parlor {
  #directory = mkdtempSync(join(tmpdir(), 'parlor-client-'));
  #flags;
  #listen = '127.0.0.1:0';
  #log = '';
  #child;

  constructor(flags = {}) {
    this.#flags = { '--messages-per-second': '0', '--actions-per-second': '0', '--creations-per-minute': '0', ...flags };
  }

  /** Where it listens, also after it was started again. */
  get url() {
    return `ws://${this.#listen}/ws`;
  }

  async start() {
    const flags = ['serve', '--dev', '--listen', this.#listen, '--data', join(this.#directory, 'data'), ...Object.entries(this.#flags).flat()];
    // Nothing of the environment, where a PARLOR_ variable could change what is tested.
    const child = spawn(binary(), flags, { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
    this.#child = child;
    child.stderr.on('data', (bytes) => (this.#log += bytes));
    this.#listen = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`it does not listen after ${START_MS} ms\n${this.#log}`)), START_MS);
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`it ended while it started\n${this.#log}`)));
      createInterface(child.stdout).on('line', (line) => {
        const [, address] = /ws:\/\/(127\.0\.0\.1:\d+)\/ws/.exec(line) ?? [];
        if (!address) return;
        clearTimeout(timer);
        resolve(address);
      });
    });
    return this;
  }

  /** A token for a day. */
  async token(user) {
    const response = await fetch(`http://${this.#listen}/dev/token?sub=${user}&name=${user.toUpperCase()}`);
    return (await response.json()).token;
  }

  /** SIGKILL, as a power cut would end it. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** SIGTERM, as an operator would end it. */
  async terminate() {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    assert.equal(await this.#end('SIGTERM'), 0, `it stops cleanly\n${this.#log}`);
    clearTimeout(timer);
  }

  async remove() {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #end(signal) {
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    return (await ended)[0];
  }
}
