/**
 * How the connection is, when it is not well: quietly, with a countdown, and what can be done. Everything below stays readable.
 */

import { byId, setText } from './dom.js';
import { secondsUntil } from './format.js';

/** @import { ChatClient } from '../chat.js' */

const TICK_MS = 500;
/** A connection that is back by then was hardly gone: nothing is said. */
const PATIENCE_MS = 400;

export class Banner {
  #client;
  #onLogin;
  #banner = byId('banner');
  #text = byId('banner-text');
  #countdown = byId('banner-countdown');
  #action = byId('banner-action');
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waiting;
  #isOverdue = false;

  /** @param {ChatClient} client @param {() => void} onLogin asks who the user is, anew */
  constructor(client, onLogin) {
    this.#client = client;
    this.#onLogin = onLogin;
  }

  render() {
    const { text, action, isCalm } = this.#content();
    this.#beganToWait(text !== '');
    this.#banner.hidden = text === '' || (isCalm && !this.#isOverdue);
    this.#banner.classList.toggle('calm', isCalm);
    setText(this.#text, text);
    this.#action.hidden = action === null;
    if (action) {
      setText(this.#action, action.text);
      this.#action.onclick = action.run;
    }
    this.#count();
    const isCounting = this.#client.state === 'reconnecting' && this.#client.retryAt !== null;
    if (isCounting && this.#ticking === undefined) this.#ticking = setInterval(() => this.#count(), TICK_MS);
    if (isCounting || this.#ticking === undefined) return;
    clearInterval(this.#ticking);
    this.#ticking = undefined;
  }

  /** @param {boolean} isWaiting */
  #beganToWait(isWaiting) {
    if (!isWaiting) {
      clearTimeout(this.#waiting);
      this.#waiting = undefined;
      this.#isOverdue = false;
    } else this.#waiting ??= setTimeout(() => {
      this.#isOverdue = true;
      this.render();
    }, PATIENCE_MS);
  }

  /** @returns {{ text: string, action: { text: string, run: () => void } | null, isCalm: boolean }} */
  #content() {
    const { state, reason, retryAt } = this.#client;
    const login = { text: 'Log in again', run: this.#onLogin };
    const connect = { text: 'Connect here', run: () => void this.#client.connect().catch((error) => console.debug('not connected', error)) };
    switch (state) {
      case 'connecting': return { text: 'Connecting…', action: null, isCalm: true };
      case 'reconnecting': {
        const why = reason?.code === 'draining' ? 'The server is restarting.' : 'The connection is lost.';
        const text = `${why} What you write is sent when it is back.`;
        return { text, action: retryAt === null ? null : { text: 'Try now', run: () => this.#client.retry() }, isCalm: true };
      }
      case 'failed': {
        if (reason?.code === 'connection_replaced') return { text: 'This chat is open in too many places, so it was closed here.', action: connect, isCalm: false };
        if (reason?.code === 'removed') return { text: 'Your connections were ended.', action: login, isCalm: false };
        if (reason?.code === 'unauthorized') return { text: 'Your token is not taken any more.', action: login, isCalm: false };
        return { text: 'The connection was closed and does not come back by itself.', action: connect, isCalm: false };
      }
      default: return { text: '', action: null, isCalm: true };
    }
  }

  #count() {
    const { state, retryAt } = this.#client;
    const isWaiting = state === 'reconnecting' && retryAt !== null;
    setText(this.#countdown, isWaiting ? `Trying again in ${secondsUntil(retryAt, Date.now())} s` : state === 'reconnecting' ? 'Trying…' : '');
  }
}
