/**
 * The client as one Svelte object, for `$chat` as well as for runes: connection, conversations, the current one and what goes on
 * in it. It connects when somebody looks, and lets go when nobody does. On a server it does nothing.
 */
import type { Conversation, Entry, Member, Message, Options } from './chat.js';
import { ChatClient } from './chat.js';
/**
 * @param {Options & { autoOpen?: number }} options `autoOpen`: of how many listed conversations presence and typing are live, by
 *   default the newest 20.
 * @returns {ChatStore}
 */
export declare const createChat: (options: Options & {
    autoOpen?: number;
}) => ChatStore;
export declare class ChatStore {
    #private;
    /** @readonly */
    readonly client: ChatClient;
    /** @param {Options & { autoOpen?: number }} options */
    constructor({ autoOpen, ...options }: Options & {
        autoOpen?: number;
    });
    /** @param {(chat: ChatStore) => void} run @returns {() => void} */
    subscribe(run: (chat: ChatStore) => void): () => void;
    /** The connection. */
    get status(): {
        state: import("./lib/types.js").State;
        reason: import("./lib/types.js").Reason;
        retryAt: number | null;
    };
    get user(): import("./lib/types.js").User | null;
    get conversations(): Conversation[];
    /** Of all conversations. */
    get unread(): number;
    /** Whether `loadMore` would bring more conversations. */
    get hasMore(): boolean;
    get current(): Conversation | null;
    /** Of the current conversation, as are those below. @returns {readonly Entry[]} */
    get messages(): readonly Entry[];
    get hasOlder(): boolean;
    /** @returns {readonly Member[]} */
    get members(): readonly Member[];
    /** Who is typing: ids. @returns {readonly string[]} */
    get typing(): readonly string[];
    /** @param {string} userId */
    online(userId: string): boolean;
    /** Makes one the current conversation, and opens it. @param {string | null} id @returns {Promise<void>} */
    select(id: string | null): Promise<void>;
    /** @param {string} content @param {{ replyTo?: string }} [options] @returns {Promise<Message>} */
    send(content: string, options?: {
        replyTo?: string;
    }): Promise<Message>;
    /** @param {string} clientMessageId @returns {Promise<Message>} */
    retry(clientMessageId: string): Promise<Message>;
    /** @param {string} clientMessageId */
    discard(clientMessageId: string): void;
    /** @param {number} [limit] */
    loadOlder(limit?: number): Promise<boolean>;
    /** For each key stroke. @param {boolean} [active] */
    type(active?: boolean): void;
    /** @param {number} [seq] */
    markRead(seq?: number): Promise<void>;
    leave(): Promise<void>;
    /** @param {number} [limit] */
    loadConversations(limit?: number): Promise<readonly Conversation[]>;
    loadMore(): Promise<readonly Conversation[]>;
    /** @param {string[]} memberIds @param {{ title?: string }} [options] */
    createConversation(memberIds: string[], options?: {
        title?: string;
    }): Promise<Conversation>;
    /** @param {string} name @param {string[]} [memberIds] */
    createGroup(name: string, memberIds?: string[]): Promise<Conversation>;
    /** @param {string} inviteCode */
    joinGroup(inviteCode: string): Promise<Conversation>;
}
