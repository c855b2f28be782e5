/**
 * What is known of one conversation's log: the entries up to a position, each once and by `seq`, and one's own messages that were
 * acknowledged ahead of it. Pure.
 */
import type { LogEvent, LogMessage, Membership, Message, Position } from './types.js';
export type Kept = (LogMessage & {
    seq: number;
    status: 'sent';
}) | Membership;
/** @typedef {(LogMessage & { seq: number, status: 'sent' }) | Membership} Kept */
/** @param {Message} message @returns {LogMessage & { seq: number, status: 'sent' }} */
export declare const entryOf: (message: Message) => LogMessage & {
    seq: number;
    status: 'sent';
};
export declare function createLog(): {
    /** What to page back from. */
    oldest: () => number;
    readonly hasOlder: boolean;
    /** Where to resume from; nothing before the first `reset`. @returns {Position | undefined} */
    since(): Position | undefined;
    /** Whether something is missing, as of what came live since the position was asked for. */
    gap: () => boolean;
    /**
     * Begins anew, with the newest of the log.
     *
     * @param {string} newEpoch
     * @param {number} head
     * @param {LogEvent[]} events
     */
    reset(newEpoch: string, head: number, events: LogEvent[]): void;
    /**
     * @param {LogEvent} event
     * @returns {boolean} Whether it is what comes next. If not, nothing is taken.
     */
    event(event: LogEvent): boolean;
    /**
     * One's own message, from the reply: that may come before the events of smaller `seq`, so it moves no position.
     *
     * @param {Message} message
     */
    stored(message: Message): void;
    /** Ascending by `seq`. */
    entries: () => Kept[];
    /**
     * An older page.
     *
     * @param {Message[]} messages Ascending.
     * @param {boolean} hasMore
     */
    older(messages: Message[], hasMore: boolean): void;
    /**
     * How many messages of others came after `mark`, if that is known.
     *
     * @param {number} mark
     * @param {string} [self]
     * @returns {number | undefined}
     */
    unreadCount: (mark: number, self?: string) => number | undefined;
};
