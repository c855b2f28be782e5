/** One conversation: what is known of it, kept live while it is open. */

/** @import { Entry, JoinReply, LogEvent, Member, Message, Payload, Replies, Summary } from './types.js' */
/** @import { Core } from './client.js' */
/** @import { Deferred } from './defer.js' */
import { defer, NOTHING } from './defer.js';
import { ChatError, passing } from './error.js';
import { createLog, entryOf } from './log.js';

/** Between two `typing_start` while somebody types. */
const TYPING_EVERY_MS = 3000;
/** After the last key. */
const TYPING_ENDS_MS = 5000;

/** @typedef {{ userId: string, seq: number, expiresInMs: number }} EventFields */

export class Conversation {
  /** @readonly */
  id;
  /** @readonly @type {'direct' | 'group' | undefined} Unknown until the server has told. */
  kind;
  /** @readonly */
  title = /** @type {string} */ ('');
  /** @readonly */
  memberCount = /** @type {number} */ (0);
  /** @readonly @type {string | undefined} */
  createdAt;
  /** @readonly The newest `seq`. */
  head = /** @type {number} */ (0);
  /** @readonly How far one has read oneself. */
  readSeq = /** @type {number} */ (0);
  /** @readonly */
  unreadCount = /** @type {number} */ (0);
  /** @readonly @type {Message | undefined} */
  lastMessage;
  /** @readonly @type {string | undefined} For the owner of a group. */
  inviteCode;
  /**
   * @readonly
   * @type {'closed' | 'opening' | 'open' | 'left'} Whether its live events come. It stays open over reconnects: it is `opening` then,
   *   until it has caught up.
   */
  state = 'closed';
  /** @readonly @type {readonly Member[]} Up to 200, in the order in which they joined. A new array whenever it changes. */
  members = [];
  /** @readonly @type {readonly string[]} The ids of others who are typing. A new array whenever it changes. */
  typists = [];

  #core;
  #log = createLog();
  #wanted = false;
  /** @type {readonly Entry[] | null | undefined} */
  #messages;
  /** When each one's typing ends by itself. @type {Map<string, unknown>} */
  #leases = new Map();
  /** @type {(Deferred<void> & AbortController) | null | undefined} */
  #joining;
  /** @type {Promise<boolean> | null | undefined} */
  #loading;
  /** How far it is to be marked as read, and whether the server is being told. */
  #mark = 0;
  /** @type {Promise<void> | null | undefined} */
  #marking;
  /** One's own typing: when it was last announced, 0 for not; and when it ends. */
  #typingAt = 0;
  /** @type {unknown} */
  #typingEnds;

  /**
   * @internal
   * @param {string} id
   * @param {Core} core
   */
  constructor(id, core) {
    this.id = id;
    this.#core = core;
  }

  /** Whether there are older messages than those in `messages`. */
  get hasOlder() {
    return this.#log.hasOlder;
  }

  /** A page of older messages, one at a time. @param {number} [limit] 1 to 200. @returns {Promise<boolean>} `hasOlder` */
  loadOlder(limit = 50) {
    const load = async () => {
      const oldest = this.#log.oldest();
      const { messages, hasMore } = await this.#ask('load_messages', { before: oldest, limit });
      // Unless everything was replaced meanwhile.
      if (oldest === this.#log.oldest()) this.#log.older(messages, hasMore);
      this._changed();
      return this.hasOlder;
    };
    return (this.#loading ??= load().finally(() => (this.#loading = null)));
  }

  /** Ascending, then those not sent yet in the order of sending. A new array whenever it changes. @returns {readonly Entry[]} */
  get messages() {
    return (this.#messages ??= [...this.#log.entries(), ...this.#core.entries(this.id)]);
  }

  /** The other one of a direct conversation, once it was open. @returns {Member | undefined} */
  get partner() {
    return this.kind === 'direct' ? this.readBy(0)[0] : undefined;
  }

  /** Others who have read this far. @param {number} seq @returns {readonly Member[]} */
  readBy(seq) {
    return this.members.filter((member) => member.userId !== this.#core.self() && member.readSeq >= seq);
  }

  /**
   * Lets live events come, from now on and after every reconnect. Rejects while not connected, and opens nevertheless as soon as
   * the client is.
   *
   * @param {{ limit?: number }} [options] How many of the newest entries to begin with: 1 to 200, by default 50.
   * @returns {Promise<void>}
   */
  open({ limit } = {}) {
    this.#wanted = true;
    return this.state === 'open' ? Promise.resolve() : this._join(limit);
  }

  /** @param {number} head @param {Message} [lastMessage] */
  #reached(head, lastMessage = this.lastMessage) {
    if (head > this.head) this.#set({ head, lastMessage });
  }

  /** No live events any more. What was loaded is kept. @returns {Promise<void>} */
  async close() {
    if (!this.#wanted) return;
    this._end('closed');
    await this.#ask('leave_conversation').catch(NOTHING);
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
    return this.#core.send({
      conversationId: this.id,
      clientMessageId: this.#core.randomId(),
      createdAt: new Date(this.#core.now()).toISOString(),
      senderId: this.#core.self() ?? '',
      senderName: this.#core.user()?.name ?? '',
      content,
      replyTo,
    });
  }

  /** Sends a failed one again, with the same id. @param {string} clientMessageId @returns {Promise<Message>} */
  retry(clientMessageId) {
    return this.#core.send({ clientMessageId });
  }

  /** Takes off one that failed, or is not sent yet. @param {string} clientMessageId */
  discard(clientMessageId) {
    this.#core.discard(clientMessageId);
  }

  /** To be called on each key: tells the others, and by itself when it is over. @param {boolean} [active] */
  typing(active = true) {
    const { now, limits } = this.#core;
    this.#core.cancel(this.#typingEnds);
    if (active && this.#core.usable()) {
      this.#typingEnds = this.#core.after(TYPING_ENDS_MS, () => this.typing(false));
      if (now() < this.#typingAt + Math.min(TYPING_EVERY_MS, limits().typingLeaseMs / 2)) return;
    } else if (!this.#typingAt) return;
    this.#typingAt = active ? now() : 0;
    // Hints: what is lost is not missed.
    this.#ask(active ? 'typing_start' : 'typing_stop').catch(NOTHING);
  }

  /** The server ends it by itself. */
  #typingOver() {
    this.#core.cancel(this.#typingEnds);
    this.#typingAt = 0;
  }

  /**
   * Marks as read, up to the newest or to `seq`. While not connected it rejects, and is told later nevertheless.
   *
   * @param {number} [seq]
   * @returns {Promise<void>}
   */
  async markRead(seq = this.head) {
    this.#mark = Math.max(this.#mark, seq);
    if (this.#mark > this.readSeq) {
      this.#read(0);
      await (this.#marking ??= this.#tellMark().finally(() => (this.#marking = null)));
    }
  }

  async #tellMark() {
    while (this.#mark > this.readSeq) {
      const mark = this.#mark;
      const { seq, unreadCount } = await this.#core.turn(() => this.#ask('mark_read', { seq: mark }));
      if (mark === this.#mark) this.#mark = seq;
      // What came meanwhile is in the log, but perhaps not in the answer.
      this.#read(seq, unreadCount);
    }
  }

  /** Read up to there. @param {number} seq @param {number} [unreadCount] Where the log does not tell. */
  #read(seq, unreadCount = this.unreadCount) {
    const readSeq = Math.max(seq, this.readSeq);
    const mark = Math.max(this.#mark, readSeq);
    if (mark >= this.head) unreadCount = 0;
    else if (this.state === 'open') unreadCount = this.#log.unreadCount(mark, this.#core.self()) ?? unreadCount;
    this.#set({ readSeq, unreadCount });
  }

  /** Ends the membership of a group. @returns {Promise<void>} */
  async leave() {
    await this.#ask('leave_group');
    this._end('left');
  }

  /**
   * @template {keyof Replies} A
   * @param {A} action
   * @param {Payload} [payload]
   * @param {(reply: Replies[A]) => void} [handle]
   * @param {AbortSignal} [signal]
   */
  #ask(action, payload, handle, signal) {
    return this.#core.ask(action, { conversationId: this.id, ...payload }, handle, signal);
  }

  /** @internal By what the list is sorted. @returns {string} */
  get _activity() {
    return (this.lastMessage?.createdAt ?? this.createdAt ?? ' ') + this.id;
  }

  /** @internal @param {number} [limit] @returns {Promise<void>} */
  _join(limit) {
    if (this.#joining) return this.#joining.promise;
    const joining = (this.#joining = Object.assign(new AbortController(), /** @type {Deferred<void>} */ (defer())));
    if (this.state !== 'open') this.#set({ state: 'opening' });
    /** @param {JoinReply} reply */
    const handle = ({ conversation, epoch, head, recovered, events, members, typing }) => {
      // Not after the events: whoever hears of them may close.
      Object.assign(this, { state: 'open' });
      if (recovered) for (const event of events) this.#logged(event);
      else {
        this.#log.reset(epoch, head, events);
        for (const { type, payload } of events) if (type === 'message_created') this.#core.stored(payload);
      }
      this._changed();
      this.#set({ members: members.map(({ status, ...member }) => ({ ...member, online: status === 'online' })) });
      typing.forEach((userId) => this.#lease(userId, this.#core.limits().typingLeaseMs));
      this._set(conversation);
      // A head that is behind what is known is so because of one's own messages, which do not count.
      this.#read(0, conversation.unreadCount);
      if (joining !== this.#joining) return;
      this.#joining = null;
      joining.resolve();
      if (this.#log.gap()) this._join();
    };
    const ask = () => this.#ask('join_conversation', { since: this.#log.since(), limit }, handle, joining.signal);
    this.#core.turn(ask).catch((/** @type {ChatError} */ error) => {
      if (joining !== this.#joining) return;
      this._end(error.retryable ? 'opening' : error.code === 'not_found' ? 'left' : 'closed', error);
    });
    return joining.promise;
  }

  /** @internal @param {string} type @param {Payload} payload */
  _event(type, payload) {
    const { userId, seq, expiresInMs } = /** @type {EventFields} */ (payload);
    if (type === 'conversation_activity') this._set({ ...this, .../** @type {Summary} */ (payload) }, true);
    // The rest is about open ones; what comes late of one that was closed comes again when it is opened.
    else if (!this.#wanted) return;
    // Without a time it is `typing_stopped`.
    else if (/typing/.test(type)) this.#lease(userId, expiresInMs);
    else if (type === 'message_read') {
      this._member(userId, (member) => ({ readSeq: Math.max(seq, member.readSeq) }));
      // On another device, or answered already.
      if (userId === this.#core.self()) this.#read(seq);
    } else {
      this.#logged(/** @type {LogEvent} */ (/** @type {unknown} */ ({ type, payload })));
      if (this.#log.gap()) this._join();
    }
  }

  /** @param {LogEvent} event */
  #logged(event) {
    if (!this.#log.event(event)) return;
    const { type, payload } = event;
    this._changed();
    if (type === 'message_created') {
      this.#lease(payload.senderId);
      this.#core.stored(payload);
      this.#reached(payload.seq, payload);
      this.#set({ unreadCount: this.unreadCount + (payload.senderId === this.#core.self() ? 0 : 1) });
      this.#core.message(this, entryOf(payload));
    } else {
      const { userId, name } = payload;
      const members = this.members.filter((member) => member.userId !== userId);
      const joined = type === 'member_joined';
      if (joined) members.push({ userId, name, role: 'member', online: true, readSeq: payload.seq });
      this.#lease(userId);
      this.#reached(payload.seq);
      this.#set({ members, memberCount: this.memberCount + (joined ? 1 : -1) });
      // Unless it is told of the past.
      if (!joined && userId === this.#core.self() && !this.#joining) this._end('left');
    }
  }

  /** @internal @param {string} userId @param {(member: Member) => Partial<Member>} change */
  _member(userId, change) {
    const known = this.members.find((member) => member.userId === userId);
    if (known) this.#set({ members: this.members.map((member) => (member === known ? { ...member, ...change(member) } : member)) });
  }

  /** Somebody types, for so long unless more is heard of it, or no longer. @param {string} userId @param {number} [ms] */
  #lease(userId, ms) {
    this.#core.cancel(this.#leases.get(userId));
    if (!ms && !this.#leases.delete(userId)) return;
    if (ms && userId !== this.#core.self()) this.#leases.set(userId, this.#core.after(ms, () => this.#lease(userId)));
    this.#set({ typists: [...this.#leases.keys()] });
  }

  /** @internal What the server says of it. @param {Summary} summary @param {boolean} [member] Also if one had left. */
  _set({ kind, title, memberCount, createdAt, inviteCode, head, lastMessage, readSeq, unreadCount }, member) {
    const newer = head >= this.head;
    this.#set({
      ...{ kind, title, memberCount, createdAt, inviteCode },
      ...(newer && { head, lastMessage }),
      ...(newer && this.#mark <= readSeq && { unreadCount }),
      readSeq: Math.max(readSeq, this.readSeq),
      state: member && this.state === 'left' ? 'closed' : this.state,
    });
  }

  /** @internal What is pending, or was loaded, has changed. @param {Message} [message] One's own that the server has stored. */
  _changed(message) {
    this.#messages = null;
    if (message) {
      this.#log.stored(message);
      this.#reached(message.seq, message);
    }
    this.#core.changed(this);
  }

  /** @internal Connected: catches up with what is to be known. */
  _up() {
    this.markRead(this.#mark).catch(NOTHING);
    if (this.#wanted) this._join();
  }

  /** @internal Not connected any more. */
  _down() {
    const wanted = this.#wanted;
    this._end(!wanted ? this.state : this.#core.ended() ? 'closed' : 'opening', passing('DISCONNECTED'));
    // It is opened again also after `connect`.
    this.#wanted = wanted;
  }

  /** @internal The server's history is another one: its numbers begin again, and it may not know this one. */
  _reset() {
    this.#mark = 0;
    this.#set({ kind: undefined, head: 0, readSeq: 0 });
  }

  /** @internal Nothing goes on: whoever waits for the join hears of it. @param {Conversation['state']} state @param {ChatError} [error] */
  _end(state, error = new ChatError('CLOSED')) {
    const joining = this.#joining;
    this.#joining = null;
    this.#wanted = state === 'opening';
    this.#typingOver();
    this.#leases.forEach(this.#core.cancel);
    this.#leases.clear();
    this.#set({ state, typists: [] });
    joining?.abort();
    joining?.reject(error);
  }

  /** @param {Partial<Conversation>} changes */
  #set(changes) {
    Object.assign(this, changes);
    this.#core.changed(this);
  }
}
