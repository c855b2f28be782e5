/** The client: conversations and messages on a connection. */

/** @import { ClientEvents, Limits, LogMessage, Options, Payload, Presence, Reason, State, Summary, User } from './types.js' */
/** @import { Connection } from './connection.js' */
/** @import { Outbox } from './outbox.js' */
/** @import { Timing } from './timing.js' */
import { createConnection } from './connection.js';
import { Conversation } from './conversation.js';
import { NOTHING } from './defer.js';
import { createOutbox } from './outbox.js';
import { createTiming } from './timing.js';

/** Conversations that are joined or marked as read side by side. */
const JOINED_AT_ONCE = 4;
/**
 * What conversations need of their client.
 *
 * @typedef {Timing & Connection & Outbox & {
 *   randomId: () => string,
 *   user: () => User | null,
 *   self: () => string | undefined,
 *   turn: <T>(ask: () => Promise<T>) => Promise<T>,
 *   changed: (conversation: Conversation) => void,
 *   message: (conversation: Conversation, message: LogMessage) => void,
 * }} Core `self`: one's own user id.
 */

/** @typedef {{ userId: string, status: string, lastSeenAt?: string, conversation: Summary, conversationId: string }} EventFields */

export class ChatClient {
  /** @readonly @type {State} */
  state = 'idle';
  /** @readonly @type {Reason} Why it is not, or was last not connected. */
  reason = null;
  /** @readonly @type {number | null} When the next attempt is due, in milliseconds since 1970; `null` while one is under way. */
  retryAt = null;
  /** @readonly @type {User | null} Oneself, known from the first login on. */
  user = null;
  /** @readonly @type {Limits | null} What the server told of its own. */
  limits = null;

  /** @type {Core} */
  #core;
  #epoch = '';
  /** @type {Map<string, Conversation>} */
  #conversations = new Map();
  /** @type {readonly Conversation[] | null} */
  #list = null;
  /** Where the next page begins; `undefined`: nothing was loaded; `null`: there is none. @type {string | null | undefined} */
  #cursor;
  /** How often it was asked for while it runs, and before. */
  #reloads = 0;
  /** @type {Set<[event: string, listener: (payload: unknown) => void]>} */
  #listeners = new Set();
  /** @type {boolean | undefined} */
  #changing;

  /** @param {Options} options */
  constructor(options) {
    const timing = createTiming(options);
    /** What each of those that join side by side has last to wait for. @type {Promise<unknown>[]} */
    const joins = Array(JOINED_AT_ONCE).fill(Promise.resolve());
    const connection = createConnection(options, timing, {
      state: (status) => {
        Object.assign(this, status);
        if (connection.ended()) this.#core.end();
        this.#emit('state', status);
      },
      // Connected: everything is to be as it was.
      ready: ({ user, epoch, limits }) => {
        if ((this.user ?? user).id !== user.id) throw Error('user');
        Object.assign(this, { user, limits });
        if (epoch !== this.#epoch) this.#conversations.forEach((conversation) => conversation._reset());
        this.#epoch = epoch;
        this.#core.ready(user.id);
        this.#reload();
        for (const conversation of this.#all) if (connection.usable()) conversation._up();
        this.#core.pump();
      },
      down: () => this.#conversations.forEach((conversation) => conversation._down()),
      event: (type, payload) => this.#event(type, payload),
      error: (error) => this.#emit('error', error),
    });
    this.#core = {
      ...timing,
      ...connection,
      ...createOutbox(options, connection, (conversationId, message) => this.conversation(conversationId)._changed(message)),
      // Unlike all others of one user: no more is needed. `randomUUID` would want a secure context.
      randomId: options.randomId ?? (() => Date.now() + `${Math.random()}`),
      user: () => this.user,
      self: () => this.user?.id,
      turn: (ask) => {
        // The answers are long, so that a server takes only so many; and it takes only so many in a second.
        const mine = /** @type {Promise<unknown>} */ (joins.shift()).then(ask);
        joins.push(mine.catch(NOTHING));
        return mine;
      },
      changed: (conversation) => {
        this.#list = null;
        this.#emit('conversation', { conversation });
        this.#emit('list');
      },
      message: (conversation, message) => this.#emit('message', { conversation, message }),
    };
  }

  /** All conversations that are known, latest activity first. A new array whenever it changes. @returns {readonly Conversation[]} */
  get list() {
    return (this.#list ??= this.#all.filter(({ kind, state }) => kind && state !== 'left'));
  }

  get hasMoreConversations() {
    return !!this.#cursor;
  }

  /** Resolves at the first login, rejects at `failed` and `closed`. While it runs it is the same promise. @returns {Promise<void>} */
  connect() {
    return this.#core.connect();
  }

  /** Does not wait for the next attempt. */
  retry() {
    this.#core.retry();
  }

  /** Ends it. Messages that are not sent stay in the storage, if there is one. */
  close() {
    this.#core.close();
  }

  /**
   * @template {keyof ClientEvents} E
   * @param {E} event
   * @param {(payload: ClientEvents[E]) => void} listener
   * @returns {() => void} Undoes it.
   */
  on(event, listener) {
    const entry = /** @type {[string, (payload: unknown) => void]} */ ([event, listener]);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Latest activity first. */
  get #all() {
    return [...this.#conversations.values()].sort((a, b) => (a._activity < b._activity ? 1 : -1));
  }

  /**
   * Any request of PROTOCOL.md §4.
   *
   * @param {string} action
   * @param {Payload} [payload]
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Payload>} The reply's payload. Rejects with a `ChatError`, or with the signal's reason.
   */
  request(action, payload = {}, { signal } = {}) {
    return this.#core.ask(/** @type {'ping'} */ (action), payload, null, signal);
  }

  /**
   * Loads the newest conversations into `list`, or the next page of older ones. After a reconnect the former happens by itself.
   *
   * @param {{ limit?: number, more?: boolean }} [options] `limit`: 1 to 100, by default 30.
   * @returns {Promise<readonly Conversation[]>} `list`
   */
  async conversations({ limit, more } = {}) {
    const cursor = more ? this.#cursor : undefined;
    if (cursor !== null) {
      this.#cursor ??= null;
      await this.#load({ limit, cursor });
    }
    return this.list;
  }

  /** @param {Payload} page */
  #load(page) {
    return this.#core.ask('load_conversations', page, ({ conversations, nextCursor }) => {
      for (const summary of conversations) this.#know(summary);
      this.#cursor = nextCursor ?? null;
    });
  }

  /** The newest page again: something may have been missed. */
  async #reload() {
    if (this.#cursor === undefined || this.#reloads++) return;
    for (let asked; this.#reloads; this.#reloads -= asked) {
      asked = this.#reloads;
      await this.#load({}).catch(NOTHING);
    }
  }

  /**
   * With one other member and no title: the two users' direct conversation. Else a new group.
   *
   * @param {string[]} memberIds
   * @param {{ title?: string }} [options]
   * @returns {Promise<Conversation>}
   */
  createConversation(memberIds, { title } = {}) {
    return this.#obtain('create_conversation', { memberIds, title });
  }

  /** @param {string} name @param {string[]} [memberIds] @returns {Promise<Conversation>} It has an `inviteCode`. */
  createGroup(name, memberIds) {
    return this.#obtain('create_group', { name, memberIds });
  }

  /** @param {string} inviteCode @returns {Promise<Conversation>} */
  joinGroup(inviteCode) {
    return this.#obtain('join_group', { inviteCode });
  }

  /** What is known of a user: of the members of open conversations. @param {string} userId @returns {Presence | undefined} */
  status(userId) {
    const known = this.#all.flatMap(({ state, members }) => (state === 'open' ? members : []));
    return known.find((member) => member.userId === userId);
  }

  /**
   * @param {'create_conversation' | 'create_group' | 'join_group'} action
   * @param {Payload} payload
   */
  async #obtain(action, payload) {
    const { conversation } = await this.#core.ask(action, payload);
    return this.#know(conversation, true);
  }

  /** Always the same object for an id. It is not opened by this. @param {string} id @returns {Conversation} */
  conversation(id) {
    const conversation = this.#conversations.get(id) ?? new Conversation(id, this.#core);
    this.#conversations.set(id, conversation);
    return conversation;
  }

  /** @param {Summary} summary @param {boolean} [member] */
  #know(summary, member) {
    const conversation = this.conversation(summary.id);
    conversation._set(summary, member);
    return conversation;
  }

  /** @param {string} type @param {Payload} payload */
  #event(type, payload) {
    const { userId, status, lastSeenAt, conversation, conversationId } = /** @type {EventFields} */ (payload);
    if (type === 'presence_changed') {
      const online = status === 'online';
      this.#conversations.forEach((one) => one._member(userId, () => ({ online, lastSeenAt })));
      this.#emit('presence', { userId, online, lastSeenAt });
    } else if (type === 'conversation_created') this.#know(conversation, true);
    else {
      const known = this.#conversations.get(conversationId);
      known?._event(type, payload);
      // Joined on another device: nothing else tells.
      if (type === 'conversation_activity' && !known?.kind) this.#reload();
    }
  }

  /**
   * @template {keyof ClientEvents} E
   * @param {E} event
   * @param {ClientEvents[E]} [payload]
   */
  #emit(event, payload) {
    const first = event !== 'change' && !this.#changing;
    this.#changing = event !== 'change';
    if (first) Promise.resolve().then(() => this.#emit('change'));
    for (const [wanted, listener] of this.#listeners) {
      // What it throws is the app's own fault: a rejection that nobody handles tells it, and the client goes on.
      if (wanted === event) (async () => listener(payload))();
    }
  }
}
