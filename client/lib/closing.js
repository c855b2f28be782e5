/** What a close code means for the client: the table of PROTOCOL.md §7, pure. */

/** Frames that the server would refuse again, and what it says from 4500 on. */
const TERMINAL = /^(100[23789]|4[5-9])/;

/**
 * @param {number} closeCode
 * @param {string} reason The server's word for its own codes.
 * @returns {[code: string, terminal: boolean]} `terminal`: the same would happen again, so never come back by oneself.
 */
export function judge(closeCode, reason) {
  const terminal = TERMINAL.test(`${closeCode}`);
  const own = closeCode >= 4000;
  return [(own && reason) || (!terminal ? 'network' : own ? 'closed' : 'protocol'), terminal];
}
