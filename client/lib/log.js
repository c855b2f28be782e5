/**
 * What is known of one conversation's log: the entries up to a position, each once and by `seq`, and one's own messages that were
 * acknowledged ahead of it. Pure.
 */

/** @import { LogEvent, LogMessage, Membership, Message, Position } from './types.js' */

/** Entries that are kept. */
const MOST = 5000;

/** @typedef {(LogMessage & { seq: number, status: 'sent' }) | Membership} Kept */

/** @param {Message} message @returns {LogMessage & { seq: number, status: 'sent' }} */
export const entryOf = (message) => ({ ...message, kind: 'message', status: 'sent' });

/** @param {LogEvent} event @returns {Kept} */
const entryOfEvent = ({ type, payload }) =>
  type === 'message_created' ? entryOf(payload) : { ...payload, kind: /** @type {'joined' | 'left'} */ (type.slice(7)), status: 'sent' };

export function createLog() {
  let epoch = '';
  /** The position: the newest that is held, with all before it down to the oldest. */
  let seq = 0;
  /** The newest that came live since it was last asked where to resume from, perhaps past a gap. */
  let seen = 0;
  let hasOlder = false;
  /** @type {Kept[]} */
  let entries = [];
  /** @type {Kept[]} */
  let ahead = [];

  /** @param {number} to */
  const advance = (to) => {
    seq = to;
    // Of a conversation that is not open nothing comes that would take them over, so these are bounded too.
    ahead = ahead.filter((entry) => entry.seq > to).slice(-MOST);
    hasOlder ||= entries.length > MOST;
    entries = entries.slice(-MOST);
  };

  const oldest = () => entries[0]?.seq ?? 1;

  return {
    /** What to page back from. */
    oldest,
    get hasOlder() {
      return hasOlder;
    },

    /** Where to resume from; nothing before the first `reset`. @returns {Position | undefined} */
    since() {
      seen = 0;
      if (epoch) return { epoch, seq };
    },

    /** Whether something is missing, as of what came live since the position was asked for. */
    gap: () => seen > seq,

    /**
     * Begins anew, with the newest of the log.
     *
     * @param {string} newEpoch
     * @param {number} head
     * @param {LogEvent[]} events
     */
    reset(newEpoch, head, events) {
      // In another history a `seq` is another message's.
      if (epoch !== newEpoch) ahead = [];
      epoch = newEpoch;
      entries = events.map(entryOfEvent);
      hasOlder = oldest() > 1;
      advance(head);
    },

    /**
     * @param {LogEvent} event
     * @returns {boolean} Whether it is what comes next. If not, nothing is taken.
     */
    event(event) {
      const entry = entryOfEvent(event);
      if (entry.seq > seen) seen = entry.seq;
      if (!epoch || entry.seq !== seq + 1) return false;
      entries.push(entry);
      advance(entry.seq);
      return true;
    },

    /**
     * One's own message, from the reply: that may come before the events of smaller `seq`, so it moves no position.
     *
     * @param {Message} message
     */
    stored(message) {
      ahead = [...ahead.filter((entry) => entry.seq !== message.seq), entryOf(message)].sort((a, b) => a.seq - b.seq);
      advance(seq);
    },

    /** Ascending by `seq`. */
    entries: () => [...entries, ...ahead],

    /**
     * An older page.
     *
     * @param {Message[]} messages Ascending.
     * @param {boolean} hasMore
     */
    older(messages, hasMore) {
      const older = messages.filter((message) => message.seq < oldest());
      entries = [...older.map(entryOf), ...entries];
      hasOlder = hasMore && older.length > 0;
    },

    /**
     * How many messages of others came after `mark`, if that is known.
     *
     * @param {number} mark
     * @param {string} [self]
     * @returns {number | undefined}
     */
    unreadCount: (mark, self) =>
      mark + 1 < oldest() ? undefined : entries.filter((e) => e.seq > mark && e.kind === 'message' && e.senderId !== self).length,
  };
}
