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
 * @param {Pick<Connection, 'usable' | 'call' | 'ended'>} connection
 * @param {(conversationId: string, stored?: Message) => void} changed
 */
export declare const createOutbox: ({ storage, storageKey, maxQueue }: Pick<Options, 'storage' | 'storageKey' | 'maxQueue'>, { usable, call, ended }: Pick<Connection, 'usable' | 'call' | 'ended'>, changed: (conversationId: string, stored?: Message) => void) => {
    pump: () => void;
    stored: (message: Message) => void;
    discard: (clientMessageId: string) => void;
    /** @param {string} conversationId */
    entries: (conversationId: string) => LogMessage[];
    /** The user is known: takes over what was kept for them, before what is here already. @param {string} userId */
    ready(userId: string): void;
    /** Nobody waits any more. What is here is sent when it is connected again. */
    end: () => void;
    /**
     * @param {Partial<LogMessage>} entry A new one, or the id of one that failed: that is sent again in its place.
     * @returns {Promise<Message>}
     */
    send(entry: Partial<LogMessage>): Promise<Message>;
};
