// From a conversation's entries to the rows of a thread: days, the line before what is new, and messages that belong together. Pure.
import { clock, day } from './format.js';

const TOGETHER_MS = 5 * 60_000;

/**
 * @typedef {import('parlor-chat').Entry} Entry
 * @typedef {{ key: string, type: 'day' | 'new' | 'event', text: string }} Mark
 * @typedef {{
 *   key: string, type: 'message', id: string, senderId: string, name: string, content: string, time: string, at: string, seq: number,
 *   isOwn: boolean, isFirst: boolean, isLast: boolean, status: 'sent' | 'pending' | 'failed', problem: string,
 *   errorCode: string, clientMessageId: string
 * }} MessageRow
 */

/**
 * The same row has the same key before and after the server's answer, so that it stays where it is on the page.
 * @param {Entry} entry
 */
const keyOf = (entry) =>
  entry.kind === 'message' && entry.clientMessageId ? `${entry.senderId} ${entry.clientMessageId}` : `seq ${entry.seq}`;

/**
 * @param {readonly Entry[]} entries as the store has them, ascending
 * @param {{ me: string, newAfter: number | null, now: number }} view newAfter: what comes after this seq is new
 * @returns {(Mark | MessageRow)[]}
 */
export function threadRows(entries, { me, newAfter, now }) {
  /** @type {(Mark | MessageRow)[]} */
  const rows = [];
  let lastDay = '';
  let isMarked = newAfter === null;
  let previous = /** @type {MessageRow | null} */ (null);
  for (const entry of entries) {
    if (entry.kind !== 'message') {
      const text = `${entry.name} ${entry.kind === 'joined' ? 'joined' : 'left'}`;
      rows.push({ key: keyOf(entry), type: 'event', text });
      previous = null;
      continue;
    }
    const isOwn = entry.senderId === me;
    const today = day(entry.createdAt, now);
    if (today !== lastDay) {
      rows.push({ key: `day ${today}`, type: 'day', text: today });
      lastDay = today;
      previous = null;
    }
    if (!isMarked && !isOwn && Number(entry.seq) > Number(newAfter)) {
      rows.push({ key: 'new', type: 'new', text: 'New' });
      isMarked = true;
      previous = null;
    }
    const isFirst = previous?.senderId !== entry.senderId || Date.parse(entry.createdAt) - Date.parse(previous.at) > TOGETHER_MS;
    if (previous && !isFirst) previous.isLast = false;
    previous = {
      key: keyOf(entry),
      type: 'message',
      id: entry.id ?? '',
      seq: entry.seq ?? 0,
      senderId: entry.senderId,
      name: entry.senderName,
      content: entry.content,
      time: clock(entry.createdAt),
      at: entry.createdAt,
      isOwn,
      isFirst,
      isLast: true,
      status: entry.status,
      problem: entry.error?.message ?? '',
      errorCode: entry.error?.code ?? '',
      clientMessageId: entry.clientMessageId ?? '',
    };
    rows.push(previous);
  }
  return rows;
}
