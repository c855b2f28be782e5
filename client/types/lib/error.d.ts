/** What goes wrong with a request, in one shape for the server's errors and the client's own. */
export declare class ChatError extends Error {
    /** @readonly */
    code: string;
    /** @readonly Whether the same request may succeed later. */
    retryable: boolean;
    /** @readonly How long to wait before that, where the server says so. */
    retryAfterMs: number | undefined;
    /** @override */
    name: string;
    /**
     * @param {string} code The server's (`not_found`, `rate_limited`, …) or, in capitals, the client's: `DISCONNECTED`, `TIMEOUT`,
     *   `QUEUE_FULL`, `DISCARDED`, `CLOSED`, `INVALID`.
     * @param {string} [message] For people; it may change.
     * @param {{ retryable?: boolean, retryAfterMs?: number }} [more]
     */
    constructor(code: string, message?: string, { retryable, retryAfterMs }?: {
        retryable?: boolean;
        retryAfterMs?: number;
    });
}
/** Of the client's own, one that may succeed later. @param {string} code */
export declare const passing: (code: string) => ChatError;
