/**
 * Messages that are not answered yet, in the order of sending: one of each conversation is on its way at a time, so that none
 * overtakes another. Kept in a storage, if there is one. No sockets and no clock.
 */

/** @import { Message, Storage } from './types.js' */
import { ChatError } from './error.js';

/**
 * @typedef {object} Unsent What is stored of an item.
 * @property {string} conversationId
 * @property {string} clientMessageId
 * @property {string} content
 * @property {string} [replyTo]
 * @property {string} createdAt
 * @property {{ code: string, message: string }} [failed]
 */

/**
 * @typedef {object} Item
 * @property {Unsent} unsent
 * @property {'queued' | 'sending' | 'failed'} stage
 * @property {ChatError} [error]
 * @property {(message: Message) => void} [resolve]
 * @property {(error: ChatError) => void} [reject]
 */

/** @param {unknown} value @returns {value is Unsent} */
function isUnsent(value) {
  const item = /** @type {Partial<Record<keyof Unsent, unknown>> | null} */ (value);
  return (
    [item?.conversationId, item?.clientMessageId, item?.content, item?.createdAt].every((text) => typeof text === 'string' && text) &&
    ['string', 'undefined'].includes(typeof item?.replyTo)
  );
}

export class Outbox {
  /** @type {Item[]} */
  items = [];
  #storage;
  #prefix;
  #most;
  #key = '';

  /**
   * @param {Storage | undefined} storage
   * @param {string} prefix
   * @param {number} most
   */
  constructor(storage, prefix, most) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#most = most;
  }

  /**
   * The user is known: takes over what was kept for them, before what is here already.
   *
   * @param {string} userId
   */
  adopt(userId) {
    if (this.#key) return;
    this.#key = `${this.#prefix}:${userId}`;
    const kept = this.#read().slice(0, this.#most);
    const here = this.items;
    this.items = kept.map(({ failed, ...unsent }) => ({
      unsent,
      stage: failed ? 'failed' : 'queued',
      error: failed && new ChatError(String(failed.code), String(failed.message)),
    }));
    for (const item of here) {
      this.items.push(item);
      this.keep(item);
    }
  }

  /** @param {Item} item */
  add(item) {
    if (this.items.length >= this.#most) {
      throw new ChatError('QUEUE_FULL', `${this.#most} messages are waiting to be sent`, { retryable: true });
    }
    this.items.push(item);
    this.keep(item);
  }

  /**
   * @param {string} conversationId
   * @param {string | undefined} clientMessageId
   */
  find(conversationId, clientMessageId) {
    return this.items.find(({ unsent: u }) => u.clientMessageId === clientMessageId && u.conversationId === conversationId);
  }

  /** The next to send. @returns {Item | undefined} */
  next() {
    const busy = new Set();
    for (const item of this.items) {
      const { conversationId } = item.unsent;
      if (item.stage === 'failed' || busy.has(conversationId)) continue;
      if (item.stage === 'queued') return item;
      busy.add(conversationId);
    }
  }

  /** @param {Item} item */
  remove(item) {
    this.items = this.items.filter((other) => other !== item);
    this.keep(item);
  }

  /**
   * Brings the storage up to date with one item. Others' there are left alone: they may be another tab's.
   *
   * @param {Item} item
   */
  keep(item) {
    if (!this.#storage || !this.#key) return;
    const { unsent, error } = item;
    const kept = this.#read().filter((other) => other.clientMessageId !== unsent.clientMessageId);
    if (this.items.includes(item)) kept.push(error ? { ...unsent, failed: { code: error.code, message: error.message } } : unsent);
    try {
      if (kept.length) this.#storage.setItem(this.#key, JSON.stringify(kept.slice(-2 * this.#most)));
      else this.#storage.removeItem(this.#key);
    } catch {
      // It is full, or not allowed: what is unsent does not survive a reload then, and is sent all the same.
    }
  }

  /** @returns {Unsent[]} */
  #read() {
    try {
      const kept = JSON.parse(this.#storage?.getItem(this.#key) ?? '[]');
      return Array.isArray(kept) ? kept.filter(isUnsent) : [];
    } catch {
      return [];
    }
  }
}
