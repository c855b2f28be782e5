/**
 * Messages that are not answered yet, in the order of sending: one of each conversation is on its way at a time, so that none
 * overtakes another. Kept in a storage, if there is one. Knows no sockets and no clock.
 */
import type { LogMessage, Message, Options } from './types.js';
import type { Connection } from './connection.js';
import { ChatError } from './error.js';
export type Item = {
    entry: LogMessage;
    /**
     * While it is on its way: calls it back.
     */
    stop?: ((error: ChatError) => void) | null;
    resolve?: (message: Message) => void;
    reject?: (error: ChatError) => void;
};
export type Outbox = ReturnType<typeof createOutbox>;
/**
 * @typedef {object} Item
 * @property {LogMessage} entry
 * @property {((error: ChatError) => void) | null} [stop] While it is on its way: calls it back.
 * @property {(message: Message) => void} [resolve]
 * @property {(error: ChatError) => void} [reject]
 */
/** @typedef {ReturnType<typeof createOutbox>} Outbox */
/**
 * @param {Pick<Options, 'storage' | 'storageKey' | 'maxQueue'>} options
 * @param {Pick<Connection, 'usable' | 'transmit'>} connection
 * @param {(conversationId: string, stored?: Message) => void} changed
 */
export declare function createOutbox({ storage, storageKey, maxQueue }: Pick<Options, 'storage' | 'storageKey' | 'maxQueue'>, { usable, transmit }: Pick<Connection, 'usable' | 'transmit'>, changed: (conversationId: string, stored?: Message) => void): {
    pump: () => void;
    stored: (message: Message) => void;
    discard: (conversationId: string, clientMessageId: string) => LogMessage | undefined;
    /** @param {string} conversationId */
    entries: (conversationId: string) => LogMessage[];
    /** The user is known: takes over what was kept for them, before what is here already. @param {string} userId */
    adopt(userId: string): void;
    /** @param {LogMessage | undefined} entry A new one, or one that failed. @returns {Promise<Message>} */
    send(entry: LogMessage | undefined): Promise<Message>;
};
