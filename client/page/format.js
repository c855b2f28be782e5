/**
 * What things are called, and what goes with what: pure functions of conversations, entries and times.
 */

/** @import { Conversation, Entry, Member } from '../chat.js' */

/** Messages of one person within this time stand close together. */
const GROUP_MS = 5 * 60_000;
const DAY_MS = 24 * 60 * 60_000;
const HUES = 12;
const PREVIEW_CHARS = 120;
/** Longest text that is looked through for addresses; more than a message may have. */
const MAX_LINKED_CHARS = 20_000;

/** Whether it can be a user id, as PROTOCOL.md has them. @param {string} text */
export const isUserId = (text) => /^[A-Za-z0-9._:@|-]{1,128}$/u.test(text);

/** One or two letters that stand for a name. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/[\s._@|:-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words.slice(0, 1);
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join('') || '?';
}

/** One of twelve colours, the same for an id wherever it is shown. @param {string} id */
export function hue(id) {
  let hash = 0x811c9dc5;
  for (const character of id) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return ((hash ^ (hash >>> 17)) >>> 0) % HUES;
}

/** Days from one date's to another's, by the local calendar. @param {Date} from @param {Date} to */
function daysBetween(from, to) {
  const midnight = (/** @type {Date} */ date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.round((midnight(to) - midnight(from)) / DAY_MS);
}

/** @param {Date} date */
export const clock = (date) => date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

/** Above a day's messages. @param {Date} date @param {Date} now */
export function dayLabel(date, now) {
  const days = daysBetween(date, now);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days > 1 && days < 7) return date.toLocaleDateString([], { weekday: 'long' });
  const year = date.getFullYear() === now.getFullYear() ? undefined : 'numeric';
  return date.toLocaleDateString([], { weekday: 'short', day: 'numeric', month: 'long', year });
}

/** In the list, where there is little room. @param {Date} date @param {Date} now */
export function shortTime(date, now) {
  const days = daysBetween(date, now);
  if (days <= 0) return clock(date);
  if (days === 1) return 'Yesterday';
  if (days < 7) return date.toLocaleDateString([], { weekday: 'short' });
  return date.toLocaleDateString([], { day: 'numeric', month: 'short', year: days < 300 ? undefined : '2-digit' });
}

/**
 * Whether somebody is online, as far as a conversation tells: what it said last is nothing to go by while its events do not come.
 * @param {Conversation} conversation @param {{ online: boolean } | undefined} status
 * @returns {'online' | 'offline' | 'unknown'}
 */
export function signOf({ state }, status) {
  if (!status?.online) return 'offline';
  return state === 'open' ? 'online' : 'unknown';
}

/**
 * @param {{ online: boolean, lastSeenAt?: string } | undefined} status @param {Date} now
 * @param {boolean} [isKnown] whether it is what the server says now
 */
export function presence(status, now, isKnown = true) {
  if (!status) return '';
  if (!isKnown) return 'Status unknown';
  if (status.online) return 'Online';
  if (!status.lastSeenAt) return 'Offline';
  const seen = new Date(status.lastSeenAt);
  const minutes = Math.floor((now.getTime() - seen.getTime()) / 60_000);
  if (minutes < 1) return 'Last seen just now';
  if (minutes < 60) return `Last seen ${minutes} min ago`;
  const days = daysBetween(seen, now);
  if (days <= 0) return `Last seen at ${clock(seen)}`;
  return `Last seen ${days === 1 ? 'yesterday' : shortTime(seen, now)}`;
}

/** `Alice`, `Alice and Bob`, `Alice, Bob and 3 others`. @param {readonly string[]} names */
export function enumerate(names) {
  if (names.length <= 1) return names[0] ?? '';
  if (names.length === 2) return `${names[0]} and ${names[1]}`;
  if (names.length === 3) return `${names[0]}, ${names[1]} and ${names[2]}`;
  return `${names[0]}, ${names[1]} and ${names.length - 2} others`;
}

/** @param {Conversation} conversation @param {string | undefined} me */
export function titleOf(conversation, me) {
  if (conversation.title) return conversation.title;
  if (conversation.kind === undefined) return 'Opening…';
  const others = conversation.members.filter((member) => member.userId !== me);
  return enumerate(others.map((member) => member.name)) || 'Unnamed group';
}

/** @param {Conversation} conversation @param {readonly string[]} typists */
export function typingText(conversation, typists) {
  if (typists.length === 0) return '';
  const nameOf = (/** @type {string} */ id) => conversation.members.find((member) => member.userId === id)?.name ?? id;
  if (typists.length > 3) return `${typists.length} people are typing`;
  return `${enumerate(typists.map(nameOf))} ${typists.length === 1 ? 'is' : 'are'} typing`;
}

/** The newest message in a line. @param {Conversation} conversation @param {string | undefined} me */
export function preview(conversation, me) {
  const unsent = conversation.messages[conversation.messages.length - 1];
  const message = unsent && unsent.kind === 'message' && unsent.status !== 'sent' ? unsent : conversation.lastMessage;
  if (!message) return '';
  const text = message.content.slice(0, PREVIEW_CHARS * 2).replace(/\s+/gu, ' ').trim();
  const short = [...text].slice(0, PREVIEW_CHARS).join('');
  if (message.senderId === me) return `You: ${short}`;
  return conversation.kind === 'group' ? `${message.senderName}: ${short}` : short;
}

/** Up to three emoji and nothing else, which are shown large. @param {string} text */
export function isEmoji(text) {
  if (text.length > 40 || !/^[\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f]+$/u.test(text)) return false;
  return [...text.replace(/\u200d\p{Extended_Pictographic}/gu, '').matchAll(/\p{Extended_Pictographic}/gu)].length <= 3;
}

/**
 * Text cut where web addresses begin and end; only those of http and https become links.
 * @param {string} text
 * @returns {{ text: string, href?: string }[]}
 */
export function linkified(text) {
  if (text.length > MAX_LINKED_CHARS) return [{ text }];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/giu)) {
    const shown = withoutEnd(match[0]);
    if (!URL.canParse(shown)) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: shown, href: shown });
    end = match.index + shown.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** An address without what ends the sentence around it: punctuation, and brackets that it did not open. @param {string} address */
function withoutEnd(address) {
  const count = (/** @type {string} */ text, /** @type {string} */ what) => text.split(what).length;
  let end = address;
  while (/[.,;:!?*]$/u.test(end) || (end.endsWith(')') && count(end, '(') < count(end, ')')) || /[\]}]$/u.test(end)) end = end.slice(0, -1);
  return end;
}

/** A name for an entry that it keeps when it is sent. @param {Entry} entry @param {string | undefined} me */
export function keyOf(entry, me) {
  const isOwn = entry.kind === 'message' && entry.senderId === me && entry.clientMessageId;
  return isOwn ? `own ${entry.clientMessageId}` : `seq ${entry.seq}`;
}

/**
 * @typedef {{ key: string, kind: 'day' | 'new' | 'event', text: string }
 *   | { key: string, kind: 'message', entry: Extract<Entry, { kind: 'message' }>, isFirst: boolean, isLast: boolean }} Row
 */

/**
 * What a thread shows for these entries: dividers between days, a line above the first entry after `newAfter`, and which messages
 * begin and end a group.
 * @param {readonly Entry[]} entries
 * @param {{ me: string | undefined, now: Date, newAfter: number | null }} view
 * @returns {Row[]}
 */
export function rowsOf(entries, { me, now, newAfter }) {
  /** @type {Row[]} */
  const rows = [];
  let day = '';
  let isLineDue = newAfter !== null;
  /** The message before, if the next may stand close to it. @type {Extract<Row, { kind: 'message' }> | null} */
  let before = null;
  for (const entry of entries) {
    const at = 'createdAt' in entry && entry.createdAt ? new Date(entry.createdAt) : null;
    const label = at ? dayLabel(at, now) : day;
    if (label !== day) {
      day = label;
      before = null;
      rows.push({ key: `day before ${keyOf(entry, me)}`, kind: 'day', text: label });
    }
    if (isLineDue && entry.seq !== undefined && entry.seq > (newAfter ?? 0)) {
      isLineDue = false;
      before = null;
      rows.push({ key: 'new', kind: 'new', text: 'New messages' });
    }
    if (entry.kind !== 'message') {
      before = null;
      const who = entry.userId === me ? 'You' : entry.name;
      rows.push({ key: keyOf(entry, me), kind: 'event', text: `${who} ${entry.kind === 'joined' ? 'joined' : 'left'}` });
      continue;
    }
    /** @type {boolean} */
    const isClose = before !== null && before.entry.senderId === entry.senderId
      && at !== null && at.getTime() - new Date(before.entry.createdAt).getTime() < GROUP_MS;
    if (isClose && before) before.isLast = false;
    before = { key: keyOf(entry, me), kind: 'message', entry, isFirst: !isClose, isLast: true };
    rows.push(before);
  }
  return rows;
}

/**
 * How far an own message has come, as a mark and in words.
 * @param {Conversation} conversation @param {Extract<Entry, { kind: 'message' }>} entry
 * @returns {{ mark: 'clock' | 'alert' | 'tick' | 'ticks', state: 'pending' | 'failed' | 'sent' | 'seen' | 'read', words: string }}
 */
export function progress(conversation, entry) {
  if (entry.status === 'pending') return { mark: 'clock', state: 'pending', words: 'Sending' };
  if (entry.status === 'failed') return { mark: 'alert', state: 'failed', words: 'Not sent' };
  const readers = entry.seq === undefined ? [] : conversation.readBy(entry.seq);
  const others = conversation.memberCount - 1;
  if (readers.length === 0) return { mark: 'tick', state: 'sent', words: 'Sent' };
  if (conversation.kind !== 'group') return { mark: 'ticks', state: 'read', words: 'Read' };
  if (readers.length >= others) return { mark: 'ticks', state: 'read', words: 'Read by everybody' };
  return { mark: 'ticks', state: 'seen', words: `Read by ${readers.length} of ${others}` };
}

/** Why a message was not sent, for whoever wrote it. @param {{ code: string, message: string } | undefined} error */
export function reasonOf(error) {
  switch (error?.code) {
    case 'too_large': return 'It is longer than this server takes.';
    case 'not_found': return 'You are not a member here any more.';
    case 'rate_limited': return 'That was too fast.';
    case 'unavailable': return 'The server cannot store it now.';
    default: return error?.message ? `${error.message[0].toUpperCase()}${error.message.slice(1)}.`.replace(/\.+$/u, '.') : 'It was not sent.';
  }
}

/** Whole seconds until a time, at least 1. @param {number} at @param {number} now */
export const secondsUntil = (at, now) => Math.max(1, Math.ceil((at - now) / 1000));

/** What stands in the search field, in a title. @param {string} title @param {string} query */
export const matches = (title, query) => title.toLocaleLowerCase().includes(query.trim().toLocaleLowerCase());

/**
 * The members that a group's subtitle counts.
 * @param {readonly Member[]} members @param {number} count @param {boolean} [isKnown] whether it is what the server says now
 */
export function groupSubtitle(members, count, isKnown = true) {
  const online = isKnown ? members.filter((member) => member.online).length : 0;
  const all = `${count} ${count === 1 ? 'member' : 'members'}`;
  return online > 0 ? `${all}, ${online} online` : all;
}
