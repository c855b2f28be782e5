/**
 * The client as one Svelte object, for `$chat` as well as for runes: connection, conversations, the current one and what goes on
 * in it. It connects when somebody looks, and lets go when nobody does. On a server it does nothing.
 */

/** @import { Conversation, Entry, Member, Message, Options } from './chat.js' */
import { createSubscriber } from 'svelte/reactivity';
import { ChatClient } from './chat.js';

/** Nobody looks while one page gives way to the next: no reason to hang up. */
const LINGER_MS = 1000;
/** Before the list is asked for again that the server did not give. */
const AGAIN_MS = 5000;
/** When a conversation is selected it shows at least this much, if there is as much. */
const SCREENFUL = 30;
const NOTHING = () => {};
/** @type {readonly never[]} */
const NONE = Object.freeze([]);

/**
 * @param {Options & { autoOpen?: number }} options `autoOpen`: of how many listed conversations presence and typing are live, by
 *   default the newest 20.
 * @returns {ChatStore}
 */
export const createChat = (options) => new ChatStore(options);

export class ChatStore {
  /** @readonly */
  client;
  #seen;
  #autoOpen;
  /** Opened because they are listed. @type {Set<Conversation>} */
  #opened = new Set();
  #lookers = 0;
  #timers;
  /** @type {unknown} */
  #hangUp;
  /** Whether the list was there once: from then on the client keeps it. */
  #isLoaded = false;
  /** @type {unknown} */
  #again;
  #browser;
  /** @type {Conversation | null} */
  #current = null;
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** What was handed out for each conversation. @type {WeakMap<Conversation, Conversation>} */
  #views = new WeakMap();

  /** @param {Options & { autoOpen?: number }} options */
  constructor({ autoOpen = 20, ...options }) {
    this.client = new ChatClient(options);
    this.#autoOpen = autoOpen;
    this.#timers = options.timers ?? globalThis;
    this.#browser = Boolean(options.environment?.window ?? globalThis.window);
    this.#seen = createSubscriber((update) => this.#look(update));
    this.client.on('state', () => this.#load());
    this.client.on('change', () => {
      this.#openListed();
      this.#changed();
    });
  }

  /** @param {(chat: ChatStore) => void} run @returns {() => void} */
  subscribe(run) {
    run(this);
    return this.#look(() => run(this));
  }

  /** The connection. */
  get status() {
    const { state, reason, retryAt } = this.#live;
    return { state, reason, retryAt };
  }
  get user() {
    return this.#live.user;
  }
  get conversations() {
    return this.#live.list.map((conversation) => this.#view(conversation));
  }
  /** Of all conversations. */
  get unread() {
    return this.#live.list.reduce((sum, conversation) => sum + conversation.unreadCount, 0);
  }
  /** Whether `loadMore` would bring more conversations. */
  get hasMore() {
    return this.#live.hasMoreConversations;
  }
  get current() {
    this.#seen();
    return this.#current && this.#view(this.#current);
  }
  /** Of the current conversation, as are those below. @returns {readonly Entry[]} */
  get messages() {
    return this.current?.messages ?? NONE;
  }
  get hasOlder() {
    return this.current?.hasOlder ?? false;
  }
  /** @returns {readonly Member[]} */
  get members() {
    return this.current?.members ?? NONE;
  }
  /** Who is typing: ids. @returns {readonly string[]} */
  get typing() {
    return this.current?.typists ?? NONE;
  }

  /** @param {string} userId */
  online(userId) {
    return this.#live.status(userId)?.online ?? false;
  }

  /** Makes one the current conversation, and opens it. @param {string | null} id @returns {Promise<void>} */
  async select(id) {
    const conversation = id ? this.client.conversation(id) : null;
    this.#current = conversation;
    this.#changed();
    if (!conversation) return;
    this.#opened.add(conversation);
    try {
      await conversation.open();
      if (conversation.messages.length < SCREENFUL && conversation.hasOlder) await conversation.loadOlder();
    } catch (error) {
      // Not connected: it opens as soon as it is.
      if (conversation.state !== 'opening') throw error;
    }
  }

  /** @param {string} content @param {{ replyTo?: string }} [options] @returns {Promise<Message>} */
  send(content, options) {
    return this.#selected.send(content, options);
  }
  /** @param {string} clientMessageId @returns {Promise<Message>} */
  retry(clientMessageId) {
    return this.#selected.retry(clientMessageId);
  }
  /** @param {string} clientMessageId */
  discard(clientMessageId) {
    this.#selected.discard(clientMessageId);
  }
  /** @param {number} [limit] */
  loadOlder(limit) {
    return this.#selected.loadOlder(limit);
  }
  /** For each key stroke. @param {boolean} [active] */
  type(active) {
    this.#selected.typing(active);
  }
  /** @param {number} [seq] */
  markRead(seq) {
    return this.#selected.markRead(seq);
  }
  leave() {
    return this.#selected.leave();
  }
  /** @param {number} [limit] */
  loadConversations(limit) {
    return this.client.conversations({ limit });
  }
  loadMore() {
    return this.client.conversations({ more: true });
  }
  /** @param {string[]} memberIds @param {{ title?: string }} [options] */
  async createConversation(memberIds, options) {
    return this.#view(await this.client.createConversation(memberIds, options));
  }
  /** @param {string} name @param {string[]} [memberIds] */
  async createGroup(name, memberIds) {
    return this.#view(await this.client.createGroup(name, memberIds));
  }
  /** @param {string} inviteCode */
  async joinGroup(inviteCode) {
    return this.#view(await this.client.joinGroup(inviteCode));
  }

  /**
   * The conversation, looked at by whatever effect reads something of it: it stays the same object when it changes, so that a
   * component would not notice by itself.
   *
   * @param {Conversation} conversation
   */
  #view(conversation) {
    let view = this.#views.get(conversation);
    if (!view) {
      view = new Proxy(conversation, {
        get: (target, key) => {
          this.#seen();
          const value = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      this.#views.set(conversation, view);
    }
    return view;
  }

  /** The client, looked at by whatever effect runs. */
  get #live() {
    this.#seen();
    return this.client;
  }

  get #selected() {
    if (!this.#current) throw new Error('no conversation is selected');
    return this.#current;
  }

  /** Somebody looks: connects, until nobody has for a while. @param {() => void} update @returns {() => void} */
  #look(update) {
    if (!this.#browser) return NOTHING;
    const own = () => update();
    this.#listeners.add(own);
    this.#timers.clearTimeout(/** @type {number} */ (this.#hangUp));
    // Not while a page renders: connecting changes what it reads.
    if (!this.#lookers++) queueMicrotask(() => this.#lookers && this.#connect());
    return () => {
      if (!this.#listeners.delete(own) || --this.#lookers) return;
      this.#hangUp = this.#timers.setTimeout(() => this.client.close(), LINGER_MS);
    };
  }

  #connect() {
    // Whoever comes when it has failed may have what it takes. How it goes is in `status`.
    if (/idle|closed|failed/.test(this.client.state)) this.client.connect().catch(NOTHING);
  }

  /** The list, once there is a connection, whoever has made it; until it is there. */
  #load() {
    const { client } = this;
    this.#timers.clearTimeout(/** @type {number} */ (this.#again));
    if (this.#isLoaded || client.state !== 'connected') return;
    client.conversations().then(
      () => (this.#isLoaded = true),
      () => {
        if (client.state === 'connected') this.#again = this.#timers.setTimeout(() => this.#load(), AGAIN_MS);
      },
    );
  }

  #openListed() {
    if (this.client.state !== 'connected') return;
    const { list } = this.client;
    for (const conversation of list.slice(0, this.#autoOpen)) {
      if (conversation.state === 'closed' && !this.#opened.has(conversation)) {
        this.#opened.add(conversation);
        conversation.open({ limit: 1 }).catch(NOTHING);
      }
    }
    // Those that have fallen far behind need not be open; a few that go to and fro stay.
    const kept = new Set(list.slice(0, 2 * this.#autoOpen));
    for (const conversation of this.#opened) {
      if (kept.has(conversation) || conversation === this.#current) continue;
      this.#opened.delete(conversation);
      conversation.close().catch(NOTHING);
    }
  }

  #changed() {
    for (const listener of [...this.#listeners]) listener();
  }
}
