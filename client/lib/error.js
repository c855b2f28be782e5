/** What goes wrong with a request, in one shape for the server's errors and the client's own. */

export class ChatError extends Error {
  /** @override */
  name = 'ChatError';

  /**
   * @param {string} code The server's (`not_found`, `rate_limited`, …) or, in capitals, the client's: `DISCONNECTED`, `TIMEOUT`,
   *   `QUEUE_FULL`, `DISCARDED`, `CLOSED`, `INVALID`.
   * @param {string} [message] For people; it may change.
   * @param {{ retryable?: boolean, retryAfterMs?: number }} [more]
   */
  constructor(code, message = code, { retryable = false, retryAfterMs } = {}) {
    super(message);
    /** @readonly */
    this.code = code;
    /** @readonly Whether the same request may succeed later. */
    this.retryable = retryable;
    /** @readonly How long to wait before that, where the server says so. */
    this.retryAfterMs = retryAfterMs;
  }
}

/** Of the client's own, one that may succeed later. @param {string} code */
export const passing = (code) => new ChatError(code, code, { retryable: true });
