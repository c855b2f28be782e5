/**
 * Messages that are not answered yet, in the order of sending: one of each conversation is on its way at a time, so that none
 * overtakes another. Kept in a storage, if there is one. Knows no sockets and no clock.
 */
import type { LogMessage, Message, Options } from './types.js';
import type { Connection } from './connection.js';
import type { Deferred } from './defer.js';
import { ChatError } from './error.js';
export type Item = Deferred<Message> & {
    entry: LogMessage;
    stop?: ((error: ChatError) => void) | null;
};
export type Outbox = ReturnType<typeof createOutbox>;
/** @typedef {ReturnType<typeof createOutbox>} Outbox */
/**
 * @param {Pick<Options, 'storage' | 'storageKey' | 'maxQueue'>} options
 * @param {Pick<Connection, 'usable' | 'call'>} connection
 * @param {(conversationId: string, stored?: Message) => void} changed
 */
export declare function createOutbox({ storage, storageKey, maxQueue }: Pick<Options, 'storage' | 'storageKey' | 'maxQueue'>, { usable, call }: Pick<Connection, 'usable' | 'call'>, changed: (conversationId: string, stored?: Message) => void): {
    pump: () => void;
    stored: (message: Message) => void;
    discard: (clientMessageId: string) => LogMessage | undefined;
    /** @param {string} conversationId */
    entries: (conversationId: string) => LogMessage[];
    /** The user is known: takes over what was kept for them, before what is here already. @param {string} userId */
    adopt(userId: string): void;
    /** @param {Omit<LogMessage, 'kind' | 'status'> | undefined} entry A new one, or one that failed. @returns {Promise<Message>} */
    send(entry: Omit<LogMessage, 'kind' | 'status'> | undefined): Promise<Message>;
};
