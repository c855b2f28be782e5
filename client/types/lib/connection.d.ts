/**
 * The connection: opens it, logs in, matches answers, notices when it is dead, comes back. It knows nothing of conversations. The
 * one place that changes the client's state.
 */
import type { AuthReply, Limits, Options, Payload, Reason, Replies, State } from './types.js';
import type { Timing } from './timing.js';
import { ChatError } from './error.js';
export type Settle<T> = (error: ChatError | null, reply?: T) => void;
export type Status = {
    state: State;
    reason: Reason;
    retryAt: number | null;
};
export type Handlers = {
    state: (status: Status) => void;
    /**
     * Connected. Throws where that is as somebody else.
     */
    ready: (reply: AuthReply) => void;
    /**
     * No longer.
     */
    down: () => void;
    event: (type: string, payload: Payload) => void;
    /**
     * One that nobody asked for.
     */
    error: (error: ChatError) => void;
};
export type Connection = ReturnType<typeof createConnection>;
/**
 * @template T
 * @typedef {(error: ChatError | null, reply?: T) => void} Settle Without an error there is a reply.
 */
/** @typedef {{ state: State, reason: Reason, retryAt: number | null }} Status */
/**
 * @typedef {object} Handlers
 * @property {(status: Status) => void} state
 * @property {(reply: AuthReply) => void} ready Connected. Throws where that is as somebody else.
 * @property {() => void} down No longer.
 * @property {(type: string, payload: Payload) => void} event
 * @property {(error: ChatError) => void} error One that nobody asked for.
 */
/** @typedef {ReturnType<typeof createConnection>} Connection */
/**
 * @param {Options} options
 * @param {Timing} timing
 * @param {Handlers} on
 */
export declare const createConnection: (options: Options, { now, after, cancel, random }: Timing, on: Handlers) => {
    /** Whether requests are taken now. */
    usable: () => boolean;
    limits: () => Limits;
    /** Whether it ended, and was not begun again. */
    ended: () => boolean;
    connect(): Promise<void>;
    retry(): void;
    close: () => void;
    call: <A extends keyof Replies>(action: A, payload: Payload, settle: Settle<Replies[A]>) => (error: ChatError) => void;
    /**
     * Asks for something.
     *
     * @template {keyof Replies} A
     * @param {A} action
     * @param {Payload} payload
     * @param {((reply: Replies[A]) => void) | null} [handle] Gets the reply before anything that comes after it.
     * @param {AbortSignal} [signal]
     * @returns {Promise<Replies[A]>}
     */
    ask: <A extends keyof Replies>(action: A, payload: Payload, handle?: ((reply: Replies[A]) => void) | null, signal?: AbortSignal) => Promise<Replies[A]>;
};
