/** The client: conversations on a connection. */

/** @import { AuthReply, ClientEvents, LogMessage, Message, Options, Payload, Presence, Replies, Summary } from './types.js' */
/** @import { Entry } from './types.js' */
/** @import { Item } from './outbox.js' */
/** @import { Settle } from './requests.js' */
import { Clock, PLATFORM, startTicker } from './clock.js';
import { Connection } from './connection.js';
import { Conversation } from './conversation.js';
import { errorOf } from './requests.js';
import { Sender } from './sender.js';

/** Conversations that are joined again side by side after a reconnect; their answers are long. */
const REJOINED_AT_ONCE = 4;
const NOTHING = () => {};

/**
 * @typedef {object} Core What conversations need of their client.
 * @property {Clock} clock
 * @property {string} self One's own user id.
 * @property {boolean} usable Whether requests are taken now.
 * @property {number} typingLeaseMs
 * @property {() => string} randomId
 * @property {() => string} time
 * @property {<A extends keyof Replies>(action: A, payload: Payload) => Promise<Replies[A]>} request
 * @property {(payload: Payload, settle: Settle<Replies['join_conversation']>) => void} join
 * @property {(unsent: Item['unsent']) => Promise<Message>} send
 * @property {(conversationId: string, clientMessageId: string) => Item['unsent'] | undefined} discard
 * @property {(conversationId: string) => Entry[]} unsent
 * @property {(conversationId: string, message: Message) => void} stored
 * @property {(conversation: Conversation) => void} changed
 * @property {() => void} listed
 * @property {(conversation: Conversation, message: LogMessage) => void} message
 */

/** 128 bits at random. `randomUUID` would want a secure context. */
const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

export class ChatClient {
  #connection;
  #clock;
  #sender;
  /** @type {Core} */
  #core;
  #epoch = '';
  /** @type {AuthReply['user'] | null} */
  #user = null;
  /** @type {Map<string, Conversation>} */
  #conversations = new Map();
  /** @type {readonly Conversation[] | null} */
  #list = null;
  /** Where the next page begins; `undefined`: nothing was loaded; `null`: there is none. @type {string | null | undefined} */
  #cursor;
  #loading = false;
  /** @type {Map<string, Set<(payload: never) => void>>} */
  #listeners = new Map();
  #changing = false;

  /** @param {Options} options */
  constructor(options) {
    const environment = { window: globalThis.window, document: globalThis.document, ...options.environment };
    const clock = new Clock(options.timers ?? PLATFORM, environment.ticker ?? startTicker);
    const connection = new Connection(options, clock, environment, {
      changed: () => this.#emit('state', { state: this.state, reason: this.reason, retryAt: this.retryAt }),
      ready: (reply) => this.#ready(reply),
      up: () => this.#up(),
      down: () => this.#conversations.forEach((conversation) => conversation._down()),
      event: (type, payload) => this.#event(type, payload),
      error: (error) => this.#emit('error', error),
    });
    const sender = new Sender(
      options,
      clock,
      connection,
      (id) => this.conversation(id)._pending(),
      (message) => this.conversation(message.conversationId)._acknowledge(message),
    );
    this.#clock = clock;
    this.#connection = connection;
    this.#sender = sender;
    const client = this;
    this.#core = {
      clock,
      get self() {
        return client.#user?.id ?? '';
      },
      get usable() {
        return connection.usable;
      },
      get typingLeaseMs() {
        return connection.requests.limits.typingLeaseMs;
      },
      randomId: options.randomId ?? randomId,
      time: () => new Date(clock.now()).toISOString(),
      request: (action, payload) => this.#ask(action, payload),
      join: (payload, settle) => connection.requests.request('join_conversation', payload, settle),
      send: (unsent) => sender.send(unsent),
      discard: (id, clientMessageId) => sender.discard(id, clientMessageId),
      unsent: (id) => this.#unsent(id),
      stored: (id, message) => sender.stored(id, message),
      changed: (conversation) => this.#emit('conversation', { conversation }),
      listed: () => {
        this.#list = null;
        this.#emit('list', undefined);
      },
      message: (conversation, message) => this.#emit('message', { conversation, message }),
    };
  }

  get state() {
    return this.#connection.state;
  }
  /** Why it is not, or was last not connected. */
  get reason() {
    return this.#connection.reason;
  }
  /** When the next attempt is due, in milliseconds since 1970; `null` while one is under way. */
  get retryAt() {
    return this.#connection.retryAt;
  }
  /** Oneself, known from the first login on. */
  get user() {
    return this.#user;
  }
  get limits() {
    return this.#user && this.#connection.requests.limits;
  }

  /** All conversations that are known, latest activity first. A new array whenever it changes. @returns {readonly Conversation[]} */
  get list() {
    return (this.#list ??= [...this.#conversations.values()]
      .filter((conversation) => conversation.kind && conversation.state !== 'left')
      .sort((a, b) => (a._activity < b._activity ? 1 : -1)));
  }

  get hasMoreConversations() {
    return Boolean(this.#cursor);
  }

  /** Resolves at the first login, rejects at `failed` and `closed`. While it runs it is the same promise. @returns {Promise<void>} */
  connect() {
    return this.#connection.connect();
  }

  /** Does not wait for the next attempt. */
  retry() {
    this.#connection.retry();
  }

  /** Ends it. Messages that are not sent stay in the storage, if there is one. */
  close() {
    this.#connection.close();
  }

  /**
   * @template {keyof ClientEvents} E
   * @param {E} event
   * @param {(payload: ClientEvents[E]) => void} listener
   * @returns {() => void} Undoes it.
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    // The same function twice is two listeners.
    /** @param {ClientEvents[E]} payload */
    const own = (payload) => listener(payload);
    listeners.add(own);
    return () => void listeners.delete(own);
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
    return this.#ask(/** @type {'ping'} */ (action), payload, signal);
  }

  /**
   * Loads the newest conversations into `list`, or the next page of older ones. After a reconnect the former happens by itself.
   *
   * @param {{ limit?: number, more?: boolean }} [options] `limit`: 1 to 100, by default 30.
   * @returns {Promise<readonly Conversation[]>} `list`
   */
  async conversations({ limit, more } = {}) {
    if (more && this.#cursor === null) return this.list;
    const cursor = (more && this.#cursor) || undefined;
    this.#cursor ??= null;
    const before = new Map(this.list.map((conversation) => [conversation, conversation._activity]));
    const { conversations, nextCursor } = await this.#ask('load_conversations', { limit, cursor });
    const page = new Set(conversations.map((summary) => summary.id));
    for (const summary of conversations) {
      const conversation = this.conversation(summary.id);
      // Left while the answer was on its way.
      if (conversation.state !== 'left' || !before.has(conversation)) conversation._upsert(summary);
    }
    if (!cursor) {
      const last = conversations.at(-1);
      const end = nextCursor && last ? this.conversation(last.id)._activity : '';
      // What should be among the newest and is not, is no longer one's own.
      for (const [conversation, activity] of before) if (activity > end && !page.has(conversation.id)) conversation._left();
    }
    this.#cursor = nextCursor ?? null;
    this.#core.listed();
    return this.list;
  }

  /** Always the same object for an id. It is not opened by this. @param {string} id @returns {Conversation} */
  conversation(id) {
    let conversation = this.#conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(id, this.#core);
      this.#conversations.set(id, conversation);
    }
    return conversation;
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
  createGroup(name, memberIds = []) {
    return this.#obtain('create_group', { name, memberIds });
  }

  /** @param {string} inviteCode @returns {Promise<Conversation>} */
  joinGroup(inviteCode) {
    return this.#obtain('join_group', { inviteCode });
  }

  /** What is known of a user: of the members of open conversations. @param {string} userId @returns {Presence | undefined} */
  status(userId) {
    for (const conversation of this.#conversations.values()) {
      const member = conversation._member(userId);
      if (member) return { online: member.online, lastSeenAt: member.lastSeenAt };
    }
  }

  /**
   * @param {'create_conversation' | 'create_group' | 'join_group'} action
   * @param {Payload} payload
   */
  async #obtain(action, payload) {
    const { conversation } = await this.#ask(action, payload);
    const known = this.conversation(conversation.id);
    known._upsert(conversation);
    return known;
  }

  /**
   * @template {keyof Replies} A
   * @param {A} action
   * @param {Payload} payload
   * @param {AbortSignal} [signal]
   * @returns {Promise<Replies[A]>}
   */
  #ask(action, payload, signal) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#connection.requests.request(action, payload, (error, reply) => (error ? reject(error) : resolve(reply)), signal);
    });
  }

  /**
   * Logged in.
   *
   * @param {AuthReply} reply
   * @returns {string | void}
   */
  #ready({ user, epoch }) {
    if (this.#user && this.#user.id !== user.id) return 'the token is of another user: take a new client for them';
    this.#user = user;
    if (epoch !== this.#epoch) this.#conversations.forEach((conversation) => conversation._forget());
    this.#epoch = epoch;
    this.#sender.outbox.adopt(user.id);
    for (const item of this.#sender.outbox.items) this.conversation(item.unsent.conversationId)._pending();
  }

  /** Connected: everything is to be as it was. */
  #up() {
    if (this.#cursor !== undefined) this.conversations().catch(NOTHING);
    const all = [...this.#conversations.values()].sort((a, b) => (a._activity < b._activity ? 1 : -1));
    const next = () => {
      const conversation = all.shift();
      conversation?._up().then(next, next);
    };
    for (let i = 0; i < REJOINED_AT_ONCE; i++) next();
    this.#sender.pump();
  }

  /**
   * @param {string} type
   * @param {Payload} payload
   */
  #event(type, payload) {
    switch (type) {
      case 'error':
        this.#emit('error', errorOf(payload));
        break;
      case 'presence_changed': {
        const { userId, status, lastSeenAt } = /** @type {{ userId: string, status: string, lastSeenAt?: string }} */ (payload);
        const online = status === 'online';
        this.#conversations.forEach((conversation) => conversation._presence(userId, online, lastSeenAt));
        this.#emit('presence', { userId, online, lastSeenAt });
        break;
      }
      case 'conversation_created': {
        const { conversation } = /** @type {{ conversation: Summary }} */ (payload);
        this.conversation(conversation.id)._upsert(conversation);
        break;
      }
      case 'message_created':
      case 'member_joined':
      case 'member_left':
      case 'message_read':
      case 'typing_started':
      case 'typing_stopped':
      case 'conversation_activity': {
        const conversation = this.#conversations.get(String(payload.conversationId));
        conversation?._event(type, payload);
        // Joined on another device: nothing else tells.
        if (!conversation?.kind && this.#cursor !== undefined && !this.#loading) {
          this.#loading = true;
          this.conversations().catch(NOTHING).finally(() => (this.#loading = false));
        }
      }
    }
  }

  /** @param {string} conversationId @returns {Entry[]} */
  #unsent(conversationId) {
    return this.#sender.outbox.items
      .filter((item) => item.unsent.conversationId === conversationId)
      .map(({ unsent, stage, error }) => ({
        kind: 'message',
        status: stage === 'failed' ? 'failed' : 'pending',
        error,
        senderId: this.#user?.id ?? '',
        senderName: this.#user?.name ?? '',
        ...unsent,
      }));
  }

  /**
   * @template {keyof ClientEvents} E
   * @param {E} event
   * @param {ClientEvents[E]} payload
   */
  #emit(event, payload) {
    this.#call(event, payload);
    if (this.#changing) return;
    this.#changing = true;
    queueMicrotask(() => {
      this.#changing = false;
      this.#call('change', undefined);
    });
  }

  /**
   * @template {keyof ClientEvents} E
   * @param {E} event
   * @param {ClientEvents[E]} payload
   */
  #call(event, payload) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        /** @type {(payload: ClientEvents[E]) => void} */ (/** @type {unknown} */ (listener))(payload);
      } catch (error) {
        // The app's own fault: it is told, and the client goes on.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
