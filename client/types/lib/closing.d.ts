/** What a close code means for the client: the table of PROTOCOL.md §7, pure. */
/**
 * @param {number} closeCode
 * @param {string} reason The server's word for its own codes.
 * @returns {[code: string, message: string, terminal: boolean, pauseMs: number]} `terminal`: the same would happen again, so never
 *   come back by oneself.
 */
export declare const judge: (closeCode: number, reason: string) => [code: string, message: string, terminal: boolean, pauseMs: number];
