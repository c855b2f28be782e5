/**
 * What is known of one conversation's log: the entries up to a position, each once and by `seq`, and one's own messages that were
 * acknowledged ahead of it. Pure.
 */

/** @import { LogEvent, LogMessage, Membership, Message, Position } from './types.js' */

/** Entries that are kept, beside those paged back to. */
const MOST = 2000;

/** @typedef {(LogMessage & { seq: number, status: 'sent' }) | Membership} Kept */

/** @param {Message} message @returns {LogMessage & { seq: number, status: 'sent' }} */
export const entryOf = (message) => ({ ...message, kind: 'message', status: 'sent' });

/** @param {LogEvent} event @returns {Kept} */
const entryOfEvent = ({ type, payload }) =>
  type === 'message_created' ? entryOf(payload) : { ...payload, kind: type === 'member_joined' ? 'joined' : 'left', status: 'sent' };

export class Log {
  /** The position: the newest of the log that is held, with all before it down to `#oldest`. */
  seq = 0;
  /** The newest `seq` that came live, perhaps past a gap. */
  seen = 0;
  hasOlder = false;
  #epoch = '';
  #oldest = 0;
  #most = MOST;
  /** @type {Kept[]} */
  #entries = [];
  /** @type {Kept[]} */
  #ahead = [];

  /** Where to resume from; nothing before the first `reset`. @returns {Position | undefined} */
  get position() {
    return this.#epoch ? { epoch: this.#epoch, seq: this.seq } : undefined;
  }

  /** Ascending by `seq`. */
  get entries() {
    return [...this.#entries, ...this.#ahead];
  }

  /**
   * Begins anew, with the newest of the log.
   *
   * @param {string} epoch
   * @param {number} head
   * @param {LogEvent[]} events
   */
  reset(epoch, head, events) {
    // In another history a `seq` is another message's.
    if (epoch !== this.#epoch) this.#ahead = [];
    this.#epoch = epoch;
    this.#entries = events.map(entryOfEvent);
    this.#most = MOST;
    this.#advance(head);
    this.#oldest = this.#entries[0]?.seq ?? head + 1;
    this.hasOlder = this.#oldest > 1;
  }

  /**
   * @param {LogEvent} event
   * @returns {'new' | 'known' | 'gap'} With a gap nothing is taken: resume from `position`.
   */
  apply(event) {
    const entry = entryOfEvent(event);
    if (!Number.isSafeInteger(entry.seq)) return 'known';
    this.seen = Math.max(this.seen, entry.seq);
    if (entry.seq <= this.seq) return 'known';
    if (!this.#epoch || entry.seq !== this.seq + 1) return 'gap';
    this.#entries.push(entry);
    this.#advance(entry.seq);
    return 'new';
  }

  /**
   * One's own message, from the reply: that may come before the events of smaller `seq`, so it moves no position.
   *
   * @param {Message} message
   */
  acknowledge(message) {
    const { seq } = message;
    if (seq <= this.seq || this.#ahead.some((entry) => entry.seq === seq)) return;
    this.#ahead.push(entryOf(message));
    this.#ahead.sort((a, b) => a.seq - b.seq);
    // Of a conversation that is not open nothing comes that would take them over.
    if (this.#ahead.length > MOST) this.#ahead.shift();
  }

  /** What to page back from. */
  get before() {
    return this.#oldest || undefined;
  }

  /**
   * An older page.
   *
   * @param {Message[]} messages Ascending.
   * @param {boolean} hasMore
   */
  prepend(messages, hasMore) {
    const older = messages.filter((message) => message.seq < this.#oldest).map(entryOf);
    this.#entries.unshift(...older);
    this.#most += older.length;
    this.hasOlder = hasMore && older.length > 0;
    this.#oldest = older[0]?.seq ?? this.#oldest;
  }

  /**
   * How many messages of others came after `seq`, if that is known.
   *
   * @param {number} seq
   * @param {string} self
   * @returns {number | undefined}
   */
  unreadAfter(seq, self) {
    if (seq + 1 < this.#oldest) return undefined;
    return this.#entries.filter((e) => e.seq > seq && e.kind === 'message' && e.senderId !== self).length;
  }

  /** @param {number} seq */
  #advance(seq) {
    this.seq = seq;
    this.#ahead = this.#ahead.filter((entry) => entry.seq > seq);
    const over = this.#entries.length - this.#most;
    if (over > 0) {
      this.#entries.splice(0, over);
      this.#oldest = this.#entries[0]?.seq ?? 0;
      this.hasOlder = true;
    }
  }
}
