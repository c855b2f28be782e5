// Times, initials and colours as people read them. Pure: the time now is passed in.

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** @param {Date} a @param {Date} b */
const isSameDay = (a, b) => a.toDateString() === b.toDateString();

/** The time of day of a message: 9:30. @param {string} at */
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' });

/** The day of a message, as a heading: Today, Yesterday, Monday, 3 March. @param {string} at @param {number} now */
export function day(at, now) {
  const date = new Date(at);
  if (isSameDay(date, new Date(now))) return 'Today';
  if (isSameDay(date, new Date(now - DAY))) return 'Yesterday';
  if (now - date.getTime() < 6 * DAY) return date.toLocaleDateString([], { weekday: 'long' });
  const isThisYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString([], { day: 'numeric', month: 'long', ...(isThisYear ? {} : { year: 'numeric' }) });
}

/** When something was, in the little room of a list: 9:30, Mon, 3 Mar. @param {string} at @param {number} now */
export function shortTime(at, now) {
  const date = new Date(at);
  if (isSameDay(date, new Date(now))) return clock(at);
  if (now - date.getTime() < 6 * DAY) return date.toLocaleDateString([], { weekday: 'short' });
  return date.toLocaleDateString([], { day: 'numeric', month: 'short' });
}

/** How long ago somebody was here. @param {string} at @param {number} now */
export function ago(at, now) {
  const minutes = Math.floor((now - Date.parse(at)) / MINUTE);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return day(at, now);
}

/** Up to two letters for an avatar. @param {string} name */
export function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const chosen = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return chosen.map((word) => [...word][0].toUpperCase()).join('') || '#';
}

/** A hue for somebody, always the same. @param {string} id */
export function hue(id) {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 3600;
  // Multiples of the golden angle lie far apart, so that ids which differ little look different.
  return Math.round((hash * 137.508) % 360);
}

/** Names in a sentence: Ann; Ann and Bob; Ann, Bob and 3 others. @param {string[]} names */
export function inWords(names) {
  if (names.length > 3) return `${names[0]}, ${names[1]} and ${names.length - 2} others`;
  return names.join(', ').replace(/, ([^,]*)$/, ' and $1');
}
