/** Asking the app for tokens: one question at a time, each with an end. */

/** @import { Options, TokenAsk } from './types.js' */
/** @import { Clock } from './clock.js' */

const TIMEOUT_MS = 15_000;
/** A token with less left than this is not worth connecting with. */
const FRESH_MS = 90_000;

export class Tokens {
  #ask;
  #clock;
  #token = '';
  #until = 0;
  /** @type {Promise<string> | null} */
  #asked = null;
  /** @type {AbortController | null} */
  #abort = null;

  /**
   * @param {Options['getToken']} ask
   * @param {Clock} clock
   */
  constructor(ask, clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /**
   * The token at hand if it is good for a while, else a new one.
   *
   * @param {TokenAsk['reason']} reason
   * @returns {Promise<string>} Rejects where the app has none, or does not say so in time.
   */
  async need(reason) {
    if (this.#until - this.#clock.now() > FRESH_MS) return this.#token;
    if (this.#asked) return this.#asked;
    const asked = (this.#asked = this.#fetch(reason));
    try {
      return await asked;
    } finally {
      if (this.#asked === asked) this.#asked = null;
    }
  }

  /** The token was taken, and is good for so long. @param {string} token @param {number} ms */
  accepted(token, ms) {
    this.#token = token;
    this.#until = this.#clock.now() + (ms || 0);
  }

  /** The one at hand is good no longer. */
  forget() {
    this.#until = 0;
  }

  /** Nobody waits any more. */
  stop() {
    this.forget();
    this.#asked = null;
    this.#abort?.abort();
  }

  /** @param {TokenAsk['reason']} reason @returns {Promise<string>} */
  async #fetch(reason) {
    const abort = (this.#abort = new AbortController());
    const { signal } = abort;
    const timeout = this.#clock.after(TIMEOUT_MS, () => abort.abort());
    try {
      const ended = new Promise((_, reject) => {
        signal.onabort = () => reject(new Error('getToken took too long'));
      });
      const token = await Promise.race([this.#ask({ reason, signal }), ended]);
      if (typeof token !== 'string' || !token) throw new Error('getToken gave no token');
      return token;
    } finally {
      this.#clock.cancel(timeout);
    }
  }
}
