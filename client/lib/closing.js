/** What a close code means for the client: the table of PROTOCOL.md §7, pure. */

/** Why a connection ended, by its close code. A code that is not here is the network's. */
const CODES = Object.freeze(
  /** @type {Record<number, string>} */ ({
    1002: 'protocol',
    1003: 'protocol',
    1007: 'protocol',
    1008: 'protocol',
    1009: 'protocol',
    4000: 'draining',
    4001: 'token_expired',
    4002: 'ping_timeout',
    4003: 'slow_consumer',
    4008: 'rate_limited',
    4500: 'bad_request',
    4501: 'unauthorized',
    4502: 'connection_replaced',
    4503: 'removed',
  }),
);

/** After 4008 a client stays away for at least this long. */
const RATE_LIMITED_PAUSE_MS = 10_000;

/**
 * @param {number} closeCode
 * @returns {{ code: string, terminal: boolean, pauseMs: number }} `terminal`: the same would happen again, so never come back by
 *   oneself. `pauseMs`: stay away for at least this long.
 */
export function judge(closeCode) {
  const code = CODES[closeCode] ?? (closeCode >= 4500 ? 'closed' : 'network');
  return {
    code,
    terminal: closeCode >= 4500 || code === 'protocol',
    pauseMs: code === 'rate_limited' ? RATE_LIMITED_PAUSE_MS : 0,
  };
}
