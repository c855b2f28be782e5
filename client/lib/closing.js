/** What a close code means for the client: the table of PROTOCOL.md §7, pure. */

/** Frames that the server would refuse again. */
const BROKEN = [1002, 1003, 1007, 1008, 1009];

/**
 * @param {number} closeCode
 * @param {string} reason The server's word for its own codes.
 * @returns {[code: string, terminal: boolean]} `terminal`: the same would happen again, so never come back by oneself.
 */
export function judge(closeCode, reason) {
  const broken = BROKEN.includes(closeCode);
  const terminal = broken || closeCode >= 4500;
  return [(closeCode >= 4000 && reason) || (broken ? 'protocol' : terminal ? 'closed' : 'network'), terminal];
}
