/** What a close code means for the client: the table of PROTOCOL.md §7, pure. */

/** Frames that the server would refuse again, and what it says from 4500 on. */
const TERMINAL = /^(100[23789]|4[5-9])/;

/** The close code after which to stay away for longer. */
const RATE_LIMITED = 4008;
const RATE_LIMITED_MS = 10_000;

/**
 * @param {number} closeCode
 * @param {string} reason The server's word for its own codes.
 * @returns {[code: string, message: string, terminal: boolean, pauseMs: number]} `terminal`: the same would happen again, so never
 *   come back by oneself.
 */
export const judge = (closeCode, reason) => {
  const terminal = TERMINAL.test(`${closeCode}`);
  const own = closeCode >= 4000;
  const code = (own && reason) || (!terminal ? 'network' : own ? 'closed' : 'protocol');
  return [code, reason, terminal, closeCode === RATE_LIMITED ? RATE_LIMITED_MS : 0];
}
