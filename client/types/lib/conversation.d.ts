/** One conversation: what is known of it, kept live while it is open. */
import type { Entry, Member, Message } from './types.js';
export type EventFields = {
    userId: string;
    seq: number;
    expiresInMs: number;
};
/** @typedef {{ userId: string, seq: number, expiresInMs: number }} EventFields */
export declare class Conversation {
    #private;
    /** @readonly */
    readonly id: string;
    /** @readonly @type {'direct' | 'group' | undefined} Unknown until the server has told. */
    readonly kind: 'direct' | 'group' | undefined;
    /** @readonly */
    readonly title: string;
    /** @readonly */
    readonly memberCount: number;
    /** @readonly @type {string | undefined} */
    readonly createdAt: string | undefined;
    /** @readonly The newest `seq`. */
    readonly head: number;
    /** @readonly How far one has read oneself. */
    readonly readSeq: number;
    /** @readonly */
    readonly unreadCount: number;
    /** @readonly @type {Message | undefined} */
    readonly lastMessage: Message | undefined;
    /** @readonly @type {string | undefined} For the owner of a group. */
    readonly inviteCode: string | undefined;
    /**
     * @readonly
     * @type {'closed' | 'opening' | 'open' | 'left'} Whether its live events come. It stays open over reconnects: it is `opening` then,
     *   until it has caught up.
     */
    readonly state: 'closed' | 'opening' | 'open' | 'left';
    /** @readonly @type {readonly Member[]} Up to 200, in the order in which they joined. A new array whenever it changes. */
    readonly members: readonly Member[];
    /** @readonly @type {readonly string[]} The ids of others who are typing. A new array whenever it changes. */
    readonly typists: readonly string[];
    /** Whether there are older messages than those in `messages`. */
    get hasOlder(): boolean;
    /** A page of older messages, one at a time. @param {number} [limit] 1 to 200. @returns {Promise<boolean>} `hasOlder` */
    loadOlder(limit?: number): Promise<boolean>;
    /** Ascending, then those not sent yet in the order of sending. A new array whenever it changes. @returns {readonly Entry[]} */
    get messages(): readonly Entry[];
    /** The other one of a direct conversation, once it was open. @returns {Member | undefined} */
    get partner(): Member | undefined;
    /** Others who have read this far. @param {number} seq @returns {readonly Member[]} */
    readBy(seq: number): readonly Member[];
    /**
     * Lets live events come, from now on and after every reconnect. Rejects while not connected, and opens nevertheless as soon as
     * the client is.
     *
     * @param {{ limit?: number }} [options] How many of the newest entries to begin with: 1 to 200, by default 50.
     * @returns {Promise<void>}
     */
    open({ limit }?: {
        limit?: number;
    }): Promise<void>;
    /** No live events any more. What was loaded is kept. @returns {Promise<void>} */
    close(): Promise<void>;
    /**
     * Shows it at once as `pending`, and sends it as soon as it can be.
     *
     * @param {string} content
     * @param {{ replyTo?: string }} [options] A message's id.
     * @returns {Promise<Message>} When the server has stored it. Rejects when it never will; nobody has to look at that.
     */
    send(content: string, { replyTo }?: {
        replyTo?: string;
    }): Promise<Message>;
    /** Sends a failed one again, with the same id. @param {string} clientMessageId @returns {Promise<Message>} */
    retry(clientMessageId: string): Promise<Message>;
    /** Takes off one that failed, or is not sent yet. @param {string} clientMessageId */
    discard(clientMessageId: string): void;
    /** To be called on each key: tells the others, and by itself when it is over. @param {boolean} [active] */
    typing(active?: boolean): void;
    /**
     * Marks as read, up to the newest or to `seq`. While not connected it rejects, and is told later nevertheless.
     *
     * @param {number} [seq]
     * @returns {Promise<void>}
     */
    markRead(seq?: number): Promise<void>;
    /** Ends the membership of a group. @returns {Promise<void>} */
    leave(): Promise<void>;
}
