/** A fake server, manual time, and clients of users on it. */

import { after } from 'node:test';
import { ChatClient } from '../../chat.js';
import { FakeServer } from './server.js';
import { ManualTimers, seeded } from './timers.js';

export { settled } from './timers.js';

/** Something to which listeners can be added, and which tests make speak. */
export class FakeTarget {
  #listeners = new Set();
  addEventListener(type, run, { signal }) {
    const listener = { type, run };
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener));
  }
  speak(type) {
    for (const listener of [...this.#listeners]) if (listener.type === type) listener.run();
  }
  get listeners() {
    return this.#listeners.size;
  }
}

export class FakeStorage {
  items = new Map();
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, String(value));
  }
  removeItem(key) {
    this.items.delete(key);
  }
}

/** @returns {{ window: FakeTarget, document: FakeTarget & { hidden: boolean }, tickers: object[], ticker: () => object }} */
export function fakePage() {
  const page = {
    window: new FakeTarget(),
    document: Object.assign(new FakeTarget(), { hidden: false }),
    tickers: [],
    ticker() {
      const ticker = { asked: [], ended: false, onmessage: null, onerror: null };
      ticker.postMessage = (ms) => ticker.asked.push(ms);
      ticker.terminate = () => (ticker.ended = true);
      page.tickers.push(ticker);
      return ticker;
    },
    show(visible) {
      page.document.hidden = !visible;
      page.document.speak('visibilitychange');
    },
  };
  return page;
}

export function setup() {
  const timers = new ManualTimers();
  const server = new FakeServer(timers);
  const clients = [];
  let lastId = 0;
  after(() => clients.forEach((client) => client.close()));
  /** A client of `user`, with whatever else it is to have. */
  const client = (user, options = {}) => {
    const made = new ChatClient({
      url: 'ws://chat.example/ws',
      getToken: () => user,
      WebSocket: server.WebSocket,
      timers,
      random: seeded(1),
      randomId: () => `id-${user}-${++lastId}`,
      environment: { window: undefined, document: undefined },
      ...options,
    });
    clients.push(made);
    return made;
  };
  /** The same, logged in. */
  const connected = async (user, options) => {
    const made = client(user, options);
    made.connect();
    await timers.advance(0);
    return made;
  };
  /** The same with the conversation `id` open. */
  const opened = async (user, id, options) => {
    const made = await connected(user, options);
    const conversation = made.conversation(id);
    conversation.open();
    await timers.advance(0);
    return { client: made, conversation };
  };
  return { timers, server, client, connected, opened };
}

/** What a promise came to, once time has passed. */
export function outcome(promise) {
  const result = { state: 'pending', value: undefined, error: undefined };
  promise.then(
    (value) => Object.assign(result, { state: 'resolved', value }),
    (error) => Object.assign(result, { state: 'rejected', error }),
  );
  return result;
}

/** Messages in short: `seq content status`. */
export const shown = (conversation) =>
  conversation.messages.map((entry) => `${entry.seq ?? '-'} ${entry.content ?? `${entry.userId} ${entry.kind}`} ${entry.status}`);
