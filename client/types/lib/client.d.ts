/** The client: conversations and messages on a connection. */
import type { ClientEvents, Limits, LogMessage, Options, Payload, Presence, Reason, State, Summary, User } from './types.js';
import type { Connection } from './connection.js';
import type { Outbox } from './outbox.js';
import type { Timing } from './timing.js';
import { Conversation } from './conversation.js';
export type Core = Timing & Connection & Outbox & {
    randomId: () => string;
    user: () => User | null;
    self: () => string | undefined;
    turn: <T>(ask: () => Promise<T>) => Promise<T>;
    changed: (conversation: Conversation) => void;
    message: (conversation: Conversation, message: LogMessage) => void;
};
export type EventFields = {
    userId: string;
    status: string;
    lastSeenAt?: string;
    conversation: Summary;
    conversationId: string;
};
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
export declare class ChatClient {
    #private;
    /** @readonly @type {State} */
    readonly state: State;
    /** @readonly @type {Reason} Why it is not, or was last not connected. */
    readonly reason: Reason;
    /** @readonly @type {number | null} When the next attempt is due, in milliseconds since 1970; `null` while one is under way. */
    readonly retryAt: number | null;
    /** @readonly @type {User | null} Oneself, known from the first login on. */
    readonly user: User | null;
    /** @readonly @type {Limits | null} What the server told of its own. */
    readonly limits: Limits | null;
    /** @param {Options} options */
    constructor(options: Options);
    /** All conversations that are known, latest activity first. A new array whenever it changes. @returns {readonly Conversation[]} */
    get list(): readonly Conversation[];
    get hasMoreConversations(): boolean;
    /** Resolves at the first login, rejects at `failed` and `closed`. While it runs it is the same promise. @returns {Promise<void>} */
    connect(): Promise<void>;
    /** Does not wait for the next attempt. */
    retry(): void;
    /** Ends it. Messages that are not sent stay in the storage, if there is one. */
    close(): void;
    /**
     * @template {keyof ClientEvents} E
     * @param {E} event
     * @param {(payload: ClientEvents[E]) => void} listener
     * @returns {() => void} Undoes it.
     */
    on<E extends keyof ClientEvents>(event: E, listener: (payload: ClientEvents[E]) => void): () => void;
    /**
     * Any request of PROTOCOL.md §4.
     *
     * @param {string} action
     * @param {Payload} [payload]
     * @param {{ signal?: AbortSignal }} [options]
     * @returns {Promise<Payload>} The reply's payload. Rejects with a `ChatError`, or with the signal's reason.
     */
    request(action: string, payload?: Payload, { signal }?: {
        signal?: AbortSignal;
    }): Promise<Payload>;
    /**
     * Loads the newest conversations into `list`, or the next page of older ones. After a reconnect the former happens by itself.
     *
     * @param {{ limit?: number, more?: boolean }} [options] `limit`: 1 to 100, by default 30.
     * @returns {Promise<readonly Conversation[]>} `list`
     */
    conversations({ limit, more }?: {
        limit?: number;
        more?: boolean;
    }): Promise<readonly Conversation[]>;
    /**
     * With one other member and no title: the two users' direct conversation. Else a new group.
     *
     * @param {string[]} memberIds
     * @param {{ title?: string }} [options]
     * @returns {Promise<Conversation>}
     */
    createConversation(memberIds: string[], { title }?: {
        title?: string;
    }): Promise<Conversation>;
    /** @param {string} name @param {string[]} [memberIds] @returns {Promise<Conversation>} It has an `inviteCode`. */
    createGroup(name: string, memberIds?: string[]): Promise<Conversation>;
    /** @param {string} inviteCode @returns {Promise<Conversation>} */
    joinGroup(inviteCode: string): Promise<Conversation>;
    /** What is known of a user: of the members of open conversations. @param {string} userId @returns {Presence | undefined} */
    status(userId: string): Presence | undefined;
    /** Always the same object for an id. It is not opened by this. @param {string} id @returns {Conversation} */
    conversation(id: string): Conversation;
}
