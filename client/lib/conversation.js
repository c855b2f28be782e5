/** One conversation: what is known of it, kept live while it is open. */

/** @import { Entry, LogEvent, LogMessage, Member, Message, Payload, Summary, WireMembership, JoinReply } from './types.js' */
/** @import { Core } from './client.js' */
/** @import { Task } from './clock.js' */
import { ChatError, disconnected } from './error.js';
import { entryOf, Log } from './log.js';

/** Between two `typing_start` while somebody types. */
const TYPING_EVERY_MS = 3000;
/** After the last key. */
const TYPING_ENDS_MS = 5000;
/** Before a join is asked for again that the server did not answer. */
const JOIN_AGAIN_MS = 2000;

/** @typedef {'closed' | 'opening' | 'open' | 'left'} ConversationState */
/** @typedef {{ promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void }} Deferred */

/** @returns {Deferred} */
function defer() {
  /** @type {Partial<Deferred>} */
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  deferred.promise.catch(() => {});
  return /** @type {Deferred} */ (deferred);
}

export class Conversation {
  /** @readonly */
  id;
  #core;
  #log = new Log();
  /** @type {Partial<Summary>} */
  #summary = {};
  /** @type {ConversationState} */
  #state = 'closed';
  #wanted = false;
  #limit = 1;
  /** @type {Map<string, Member>} */
  #members = new Map();
  /** Who types, and when that ends by itself. @type {Map<string, Task>} */
  #typists = new Map();
  /** @type {readonly Entry[] | null} */
  #messages = null;
  /** @type {readonly Member[] | null} */
  #memberList = null;
  /** @type {readonly string[] | null} */
  #typistList = null;
  /** @type {Deferred | null} */
  #joining = null;
  /** @type {Task | null} */
  #joinAgain = null;
  /** @type {Promise<boolean> | null} */
  #loading = null;
  /** How far it is to be marked as read, and whether the server is being told. */
  #mark = 0;
  /** @type {Promise<void> | null} */
  #marking = null;
  /** One's own typing: when it was last announced, 0 for not; and when it ends. */
  #typingAt = 0;
  /** @type {Task | null} */
  #typingEnds = null;

  /**
   * @internal
   * @param {string} id
   * @param {Core} core
   */
  constructor(id, core) {
    this.id = id;
    this.#core = core;
  }

  /** Unknown until the server has told. */
  get kind() {
    return this.#summary.kind;
  }
  get title() {
    return this.#summary.title ?? '';
  }
  get memberCount() {
    return this.#summary.memberCount ?? 0;
  }
  get createdAt() {
    return this.#summary.createdAt;
  }
  /** The newest `seq`. */
  get head() {
    return this.#summary.head ?? 0;
  }
  /** How far one has read oneself. */
  get readSeq() {
    return this.#summary.readSeq ?? 0;
  }
  get unreadCount() {
    return this.#summary.unreadCount ?? 0;
  }
  get lastMessage() {
    return this.#summary.lastMessage;
  }
  /** For the owner of a group. */
  get inviteCode() {
    return this.#summary.inviteCode;
  }
  /** Whether its live events come. It stays open over reconnects: it is `opening` then, until it has caught up. */
  get state() {
    return this.#state;
  }
  /** Whether there are older messages than those in `messages`. */
  get hasOlder() {
    return this.#log.hasOlder;
  }

  /** Ascending, then those not sent yet in the order of sending. A new array whenever it changes. @returns {readonly Entry[]} */
  get messages() {
    return (this.#messages ??= [...this.#log.entries, ...this.#core.unsent(this.id)]);
  }

  /** Up to 200, in the order in which they joined. @returns {readonly Member[]} */
  get members() {
    return (this.#memberList ??= [...this.#members.values()]);
  }

  /** The ids of others who are typing. @returns {readonly string[]} */
  get typists() {
    return (this.#typistList ??= [...this.#typists.keys()]);
  }

  /** The other one of a direct conversation, once it was open. */
  get partner() {
    return this.kind === 'direct' ? this.members.find((member) => member.userId !== this.#core.self) : undefined;
  }

  /** Others who have read this far. @param {number} seq @returns {readonly Member[]} */
  readBy(seq) {
    return this.members.filter((member) => member.userId !== this.#core.self && member.readSeq >= seq);
  }

  /**
   * Lets live events come, from now on and after every reconnect. Rejects while not connected, and opens nevertheless as soon as
   * the client is.
   *
   * @param {{ limit?: number }} [options] How many of the newest entries to begin with: 1 to 200, by default 50.
   * @returns {Promise<void>}
   */
  open({ limit = 50 } = {}) {
    this.#limit = Math.max(this.#limit, limit);
    if (this.#state === 'open') return Promise.resolve();
    this.#wanted = true;
    return this._join();
  }

  /** No live events any more. What was loaded is kept. @returns {Promise<void>} */
  async close() {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#still(new ChatError('CLOSED', 'the conversation was closed'));
    this.#enter('closed');
    if (this.#core.usable) await this.#core.request('leave_conversation', { conversationId: this.id });
  }

  /**
   * Shows it at once as `pending`, and sends it as soon as it can be.
   *
   * @param {string} content
   * @param {{ replyTo?: string }} [options] A message's id.
   * @returns {Promise<Message>} When the server has stored it. Rejects when it never will; nobody has to look at that.
   */
  send(content, { replyTo } = {}) {
    this.#typingOver();
    if (typeof content !== 'string' || !content) return this.#invalid('a message needs a text');
    return this.#core.send({ conversationId: this.id, clientMessageId: this.#core.randomId(), content, replyTo, createdAt: this.#core.time() });
  }

  /** Sends a failed one again. @param {string} clientMessageId @returns {Promise<Message>} */
  retry(clientMessageId) {
    const unsent = this.#core.discard(this.id, clientMessageId);
    return unsent ? this.#core.send(unsent) : this.#invalid('no such message waits');
  }

  /** Takes off one that failed, or is still waiting. @param {string} clientMessageId */
  discard(clientMessageId) {
    this.#core.discard(this.id, clientMessageId);
  }

  /** @param {string} message @returns {Promise<never>} */
  #invalid(message) {
    const promise = Promise.reject(new ChatError('INVALID', message));
    promise.catch(() => {});
    return promise;
  }

  /** A page of older messages. @param {number} [limit] 1 to 200. @returns {Promise<boolean>} `hasOlder` */
  loadOlder(limit = 50) {
    this.#loading ??= this.#loadOlder(limit).finally(() => (this.#loading = null));
    return this.#loading;
  }

  /** @param {number} limit */
  async #loadOlder(limit) {
    const { before } = this.#log;
    const epoch = this.#log.position?.epoch;
    const { messages, hasMore } = await this.#core.request('load_messages', { conversationId: this.id, before, limit });
    // Unless everything was replaced meanwhile.
    if (before === this.#log.before && epoch === this.#log.position?.epoch) {
      this.#log.prepend(messages, hasMore);
      this.#messages = null;
      this.#core.changed(this);
    }
    return this.hasOlder;
  }

  /** To be called on each key: tells the others, and by itself when it is over. @param {boolean} [active] */
  typing(active = true) {
    this.#core.clock.cancel(this.#typingEnds);
    if (!active) {
      if (this.#typingAt) this.#tell('typing_stop');
      this.#typingAt = 0;
    } else if (this.#core.usable) {
      const now = this.#core.clock.now();
      if (Math.abs(now - this.#typingAt) >= Math.min(TYPING_EVERY_MS, this.#core.typingLeaseMs / 2)) {
        this.#typingAt = now;
        this.#tell('typing_start');
      }
      this.#typingEnds = this.#core.clock.after(TYPING_ENDS_MS, () => this.typing(false));
    }
  }

  /** @param {'typing_start' | 'typing_stop'} action */
  #tell(action) {
    // Hints: what is lost is not missed.
    this.#core.request(action, { conversationId: this.id }).catch(() => {});
  }

  /** The server ends it by itself. */
  #typingOver() {
    this.#core.clock.cancel(this.#typingEnds);
    this.#typingAt = 0;
  }

  /**
   * Marks as read, up to the newest or to `seq`. While not connected it rejects, and is told later nevertheless.
   *
   * @param {number} [seq]
   * @returns {Promise<void>}
   */
  async markRead(seq = this.head) {
    if (seq > this.#mark) this.#mark = seq;
    if (this.#mark > this.readSeq) {
      this.#patch({ unreadCount: this.#unreadAfter(this.#mark) });
      await (this.#marking ??= this.#markRead().finally(() => (this.#marking = null)));
    }
  }

  async #markRead() {
    while (this.#mark > this.readSeq) {
      const mark = this.#mark;
      try {
        const { seq, unreadCount } = await this.#core.request('mark_read', { conversationId: this.id, seq: mark });
        if (mark === this.#mark) this.#mark = seq;
        // What came meanwhile is in the log, but perhaps not in the answer.
        this.#patch({ readSeq: Math.max(seq, this.readSeq), unreadCount: this.#unreadAfter(this.#mark) ?? unreadCount });
      } catch (error) {
        if (/** @type {ChatError} */ (error).code === 'TIMEOUT') continue;
        if (this.#core.usable) {
          this.#mark = 0;
          this.#patch({ unreadCount: this.#unreadAfter(this.readSeq) });
        }
        throw error;
      }
    }
  }

  /** @param {number} seq @returns {number | undefined} */
  #unreadAfter(seq) {
    if (seq >= this.head) return 0;
    return this.#state === 'open' ? this.#log.unreadAfter(seq, this.#core.self) : undefined;
  }

  /** Ends the membership of a group. @returns {Promise<void>} */
  async leave() {
    await this.#core.request('leave_group', { conversationId: this.id });
    this._left();
  }

  /** @internal Whether it is to be open. */
  get _wanted() {
    return this.#wanted;
  }

  /** @internal By what the list is sorted. */
  get _activity() {
    return this.#summary.lastMessage?.createdAt ?? this.#summary.createdAt ?? '';
  }

  /** @internal @param {boolean} [again] It was joined, and still something is missing. @returns {Promise<void>} */
  _join(again) {
    if (this.#joining) return this.#joining.promise;
    this.#joining = defer();
    const { promise } = this.#joining;
    if (this.#state !== 'open') this.#enter('opening');
    this.#askToJoin(again);
    return promise;
  }

  /** @param {boolean} [again] */
  #askToJoin(again) {
    const joining = this.#joining;
    const payload = { conversationId: this.id, since: this.#log.position, limit: this.#limit };
    this.#core.join(payload, (error, reply) => {
      if (joining !== this.#joining || !joining) return;
      if (!error) {
        this.#joined(reply);
        this.#joining = null;
        joining.resolve();
        const missing = this.#log.seen > this.#log.seq;
        this.#log.seen = this.#log.seq;
        if (missing && !again) this._join(true);
      } else if (error.code !== 'DISCONNECTED' && error.retryable) {
        this.#joinAgain = this.#core.clock.after(error.retryAfterMs ?? JOIN_AGAIN_MS, () => this.#askToJoin(again));
      } else {
        if (error.code === 'not_found') this._left();
        else if (error.code !== 'DISCONNECTED') {
          this.#wanted = false;
          this.#enter('closed');
        }
        this.#still(error);
      }
    });
  }

  /** @param {JoinReply} reply */
  #joined({ conversation, epoch, head, recovered, events, members, typing }) {
    const missed = recovered ? events.filter((event) => this.#log.apply(event) === 'new') : [];
    if (!recovered) this.#log.reset(epoch, head, events);
    this.#members = new Map(members.map(({ status, ...member }) => [member.userId, { ...member, online: status === 'online' }]));
    this.#memberList = null;
    this.#clearTypists();
    for (const userId of typing) this.#startTypist(userId, this.#core.typingLeaseMs);
    this.#state = 'open';
    this.#messages = null;
    this.#summarize(conversation);
    // A head that is behind what is known is so because of one's own messages, which do not count.
    const mark = Math.max(this.#mark, this.readSeq);
    this.#patch({ unreadCount: this.#unreadAfter(mark) ?? conversation.unreadCount });
    for (const event of events) if (event.type === 'message_created') this.#settle(event.payload);
    for (const event of missed) if (event.type === 'message_created') this.#core.message(this, entryOf(event.payload));
  }

  /** @param {Message} message */
  #settle(message) {
    if (message.senderId === this.#core.self) this.#core.stored(this.id, message);
  }

  /** @internal @param {string} type @param {Payload} payload */
  _event(type, payload) {
    const { userId, seq, expiresInMs } = /** @type {WireMembership & { expiresInMs: number }} */ (payload);
    if (type === 'conversation_activity') this.#active(/** @type {Summary} */ (payload));
    // The rest is about open ones; what comes late of one that was closed comes again when it is opened.
    else if (!this.#wanted) return;
    else if (type === 'message_read') this.#read(userId, seq);
    else if (type === 'typing_started') this.#startTypist(userId, expiresInMs);
    else if (type === 'typing_stopped') this.#stopTypist(userId);
    else this.#logged(/** @type {LogEvent} */ (/** @type {unknown} */ ({ type, payload })));
  }

  /** @param {LogEvent} event */
  #logged(event) {
    const outcome = this.#log.apply(event);
    if (outcome === 'gap') this._join();
    if (outcome !== 'new') return;
    const { type, payload } = event;
    this.#messages = null;
    if (type === 'message_created') {
      const others = payload.senderId !== this.#core.self;
      this.#stopTypist(payload.senderId);
      this.#settle(payload);
      this.#patch({ head: payload.seq, lastMessage: payload, unreadCount: this.unreadCount + Number(others) });
      this.#core.message(this, entryOf(payload));
    } else {
      const { userId, name, seq } = payload;
      const joined = type === 'member_joined';
      this.#memberList = null;
      this.#members.delete(userId);
      if (joined) this.#members.set(userId, { userId, name, role: 'member', online: true, readSeq: seq });
      else this.#stopTypist(userId);
      this.#patch({ head: seq, memberCount: this.memberCount + (joined ? 1 : -1) });
      if (!joined && userId === this.#core.self) this._left();
    }
  }

  /** @param {string} userId @param {number} seq */
  #read(userId, seq) {
    this.#update(userId, (member) => ({ ...member, readSeq: Math.max(seq, member.readSeq) }));
    // On another device, or answered already.
    if (userId === this.#core.self && seq > this.readSeq) this.#patch({ readSeq: seq, unreadCount: this.#unreadAfter(seq) });
  }

  /** @param {string} userId @param {(member: Member) => Member} change */
  #update(userId, change) {
    const member = this.#members.get(userId);
    if (!member) return;
    this.#members.set(userId, change(member));
    this.#memberList = null;
    this.#core.changed(this);
  }

  /** @internal @param {string} userId @returns {Member | undefined} As far as it is kept up to date. */
  _member(userId) {
    return this.#state === 'open' ? this.#members.get(userId) : undefined;
  }

  /** @internal @param {string} userId @param {boolean} online @param {string} [lastSeenAt] */
  _presence(userId, online, lastSeenAt) {
    this.#update(userId, (member) => ({ ...member, online, lastSeenAt }));
  }

  /** @param {string} userId @param {number} ms */
  #startTypist(userId, ms) {
    if (userId === this.#core.self) return;
    this.#core.clock.cancel(this.#typists.get(userId));
    this.#typists.set(
      userId,
      this.#core.clock.after(ms, () => this.#stopTypist(userId)),
    );
    this.#typistList = null;
    this.#core.changed(this);
  }

  /** @param {string} userId */
  #stopTypist(userId) {
    this.#core.clock.cancel(this.#typists.get(userId));
    if (!this.#typists.delete(userId)) return;
    this.#typistList = null;
    this.#core.changed(this);
  }

  #clearTypists() {
    for (const userId of this.#typists.keys()) this.#stopTypist(userId);
  }

  /** @param {Pick<Summary, 'head' | 'lastMessage' | 'unreadCount'>} activity */
  #active({ head, lastMessage, unreadCount }) {
    if (head >= this.head) this.#patch({ head, lastMessage, unreadCount: this.#mark >= head ? undefined : unreadCount });
  }

  /** @internal What the server says of it. @param {Summary} summary */
  _upsert(summary) {
    this.#summarize(summary);
    if (this.#state === 'left') this.#enter('closed');
    else this.#core.changed(this);
  }

  /** @param {Summary} summary */
  #summarize(summary) {
    const { head, lastMessage, readSeq, unreadCount } = this;
    const newer = summary.head >= head;
    this.#summary = { ...summary };
    if (!newer) Object.assign(this.#summary, { head, lastMessage });
    if (!newer) this.#summary.unreadCount = unreadCount;
    else if (this.#mark > summary.readSeq) this.#summary.unreadCount = unreadCount;
    this.#summary.readSeq = Math.max(readSeq, summary.readSeq);
    this.#core.listed();
  }

  /** @internal One's own message is stored. @param {Message} message */
  _acknowledge(message) {
    this.#log.acknowledge(message);
    this.#messages = null;
    if (message.seq > this.head) this.#patch({ head: message.seq, lastMessage: message });
  }

  /** @internal What is pending has changed. */
  _pending() {
    this.#messages = null;
    this.#core.changed(this);
  }

  /** @internal Connected: catches up with what is to be known. @returns {Promise<void>} */
  _up() {
    if (this.#mark > this.readSeq) this.markRead(this.#mark).catch(() => {});
    return this.#wanted ? this._join() : Promise.resolve();
  }

  /** @internal Not connected any more. */
  _down() {
    this.#log.seen = 0;
    this.#still(disconnected());
    if (this.#state === 'open') this.#enter('opening');
  }

  /** @internal The server's history is another one: its numbers begin again. */
  _forget() {
    Object.assign(this.#summary, { head: 0, readSeq: 0 });
    this.#mark = 0;
  }

  /** @internal One is a member no longer. */
  _left() {
    this.#wanted = false;
    this.#still(new ChatError('not_found', 'not a member'));
    this.#enter('left');
    this.#core.listed();
  }

  /** Nothing goes on: whoever waits for the join hears of it. @param {ChatError} error */
  #still(error) {
    const joining = this.#joining;
    this.#joining = null;
    this.#core.clock.cancel(this.#joinAgain);
    this.#typingOver();
    this.#clearTypists();
    joining?.reject(error);
  }

  /** @param {ConversationState} state */
  #enter(state) {
    this.#state = state;
    this.#messages = null;
    this.#core.changed(this);
  }

  /** @param {Partial<Summary>} changes Those that are `undefined` are none. */
  #patch(changes) {
    for (const [key, value] of Object.entries(changes)) if (value !== undefined) Object.assign(this.#summary, { [key]: value });
    this.#core.listed();
    this.#core.changed(this);
  }
}
