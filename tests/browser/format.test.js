/**
 * What the page calls things and how it groups them: its pure functions, without a browser.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dayLabel, enumerate, groupSubtitle, hue, initials, isEmoji, isUserId, keyOf, linkified, presence, progress, rowsOf, secondsUntil, shortTime, signOf, typingText } from '../../client/page/format.js';
import { FIRST_ENTRIES, MAX_ENTRIES, Pane, STEP } from '../../client/page/pane.js';
import { parseHash, personNamed } from '../../client/page/session.js';

/** @import { Conversation, Entry, LogMessage } from '../../client/chat.js' */
/** @import { Row } from '../../client/page/format.js' */

const NOW = new Date(2026, 10, 24, 12, 0);
/** @param {number} days @param {number} hours */
const ago = (days, hours = 0) => new Date(2026, 10, 24 - days, 12 - hours, 0);
/** What of a conversation the functions look at. @param {object} parts */
const as = (parts) => /** @type {Conversation} */ (parts);
/** @param {number} seq @param {string} senderId @param {Date} at @param {Partial<LogMessage>} [more] @returns {LogMessage} */
const entry = (seq, senderId, at, more = {}) => ({ kind: 'message', status: 'sent', conversationId: 'c', seq, id: `m${seq}`, senderId, senderName: senderId, content: `text ${seq}`, createdAt: at.toISOString(), ...more });

test('days are named by the local calendar', () => {
  assert.equal(dayLabel(ago(0, 11), NOW), 'Today');
  assert.equal(dayLabel(ago(1, -11), NOW), 'Yesterday');
  assert.equal(dayLabel(new Date(2026, 10, 23, 0, 0), NOW), 'Yesterday');
  assert.equal(dayLabel(ago(3), NOW), ago(3).toLocaleDateString([], { weekday: 'long' }));
  assert.match(dayLabel(ago(30), NOW), /October|Oct/u);
  assert.doesNotMatch(dayLabel(ago(30), NOW), /2026/u);
  assert.match(dayLabel(new Date(2024, 1, 2), NOW), /2024/u);
  assert.equal(shortTime(ago(1), NOW), 'Yesterday');
});

test('rows have days, a line above what is new, and groups', () => {
  /** @type {Entry[]} */
  const entries = [
    entry(1, 'bob', ago(1)),
    { kind: 'joined', status: 'sent', conversationId: 'c', seq: 2, userId: 'me', name: 'Me' },
    entry(3, 'bob', ago(0, 2)),
    entry(4, 'bob', new Date(ago(0, 2).getTime() + 60_000)),
    entry(5, 'bob', new Date(ago(0, 2).getTime() + 30 * 60_000)),
    entry(6, 'carol', new Date(ago(0, 2).getTime() + 31 * 60_000)),
    entry(7, 'carol', new Date(ago(0, 2).getTime() + 32 * 60_000)),
  ];
  const rows = rowsOf(entries, { me: 'me', now: NOW, newAfter: 6 });
  assert.deepEqual(rows.map((row) => (row.kind === 'message' ? `${row.entry.seq}${row.isFirst ? ' first' : ''}${row.isLast ? ' last' : ''}` : row.text)), [
    'Yesterday', '1 first last', 'You joined', 'Today', '3 first', '4 last', '5 first last', '6 first last', 'New messages', '7 first last',
  ]);
  assert.equal(new Set(rows.map((row) => row.key)).size, rows.length, 'keys are different');
  assert.deepEqual(rowsOf([], { me: 'me', now: NOW, newAfter: 0 }), []);
});

test('a message keeps its key when it is sent, and clocks that differ make no two rows alike', () => {
  const pending = entry(0, 'me', NOW, { seq: undefined, status: 'pending', clientMessageId: 'c1' });
  assert.equal(keyOf(pending, 'me'), keyOf(entry(9, 'me', NOW, { clientMessageId: 'c1' }), 'me'));
  assert.notEqual(keyOf(entry(9, 'bob', NOW, { clientMessageId: 'c1' }), 'me'), keyOf(pending, 'me'));
  const rows = rowsOf([entry(1, 'bob', NOW), entry(2, 'bob', ago(1)), entry(3, 'bob', NOW)], { me: 'me', now: NOW, newAfter: null });
  assert.equal(new Set(rows.map((row) => row.key)).size, rows.length);
});

test('names become initials and colours', () => {
  assert.deepEqual(['Alice', 'Zoë Quinn', 'anna-maria smith', '', '🙂 x', 'user|42'].map(initials), ['A', 'ZQ', 'AS', '?', '🙂X', 'U4']);
  assert.equal(hue('alice'), hue('alice'));
  const hues = Array.from({ length: 200 }, (_, index) => hue(`user-${index}`));
  assert.equal(new Set(hues).size, 12);
  assert.ok(hues.every((one) => one >= 0 && one < 12));
});

test('names are enumerated', () => {
  assert.deepEqual([[], ['A'], ['A', 'B'], ['A', 'B', 'C'], ['A', 'B', 'C', 'D']].map(enumerate), ['', 'A', 'A and B', 'A, B and C', 'A, B and 2 others']);
  const conversation = as({ members: [{ userId: 'b', name: 'Bob' }] });
  assert.equal(typingText(conversation, ['b']), 'Bob is typing');
  assert.equal(typingText(conversation, ['b', 'x']), 'Bob and x are typing');
  assert.equal(typingText(conversation, ['1', '2', '3', '4']), '4 people are typing');
});

test('only addresses of http and https become links, without what ends a sentence', () => {
  const hrefs = (/** @type {string} */ text) => linkified(text).flatMap((part) => part.href ?? []);
  assert.deepEqual(hrefs('javascript:alert(1) data:text/html,x file:///etc/passwd ftp://x'), []);
  assert.deepEqual(hrefs('(see https://example.com/a_(b)), and http://x.test!'), ['https://example.com/a_(b)', 'http://x.test']);
  for (const text of ['', 'plain', 'https://a.test and https://b.test', 'https://']) {
    assert.equal(linkified(text).map((part) => part.text).join(''), text, 'nothing is lost');
  }
});

test('a few emoji are large', () => {
  for (const text of ['👍', '😄😄😄', '👩‍👩‍👧‍👦', '❤️', '👍🏽']) assert.equal(isEmoji(text), true, text);
  for (const text of ['', 'a', '👍 ok', '😄😄😄😄', '1', '#', '12']) assert.equal(isEmoji(text), false, text);
});

test('presence is told as people would', () => {
  assert.equal(presence(undefined, NOW), '');
  assert.equal(presence({ online: true }, NOW), 'Online');
  assert.equal(presence({ online: true }, NOW, false), 'Status unknown');
  assert.equal(presence(undefined, NOW, false), '');
  const members = ['a', 'b', 'c'].map((userId) => ({ userId, name: userId, role: /** @type {const} */ ('member'), online: userId !== 'c', readSeq: 0 }));
  assert.equal(groupSubtitle(members, 3), '3 members, 2 online');
  assert.equal(groupSubtitle(members, 3, false), '3 members');
  for (const [state, sign] of [['open', 'online'], ['opening', 'unknown'], ['closed', 'unknown'], ['left', 'unknown']]) {
    assert.equal(signOf(as({ state }), { online: true }), sign, state);
    assert.equal(signOf(as({ state }), { online: false }), 'offline', state);
  }
  assert.equal(presence({ online: false }, NOW), 'Offline');
  assert.equal(presence({ online: false, lastSeenAt: NOW.toISOString() }, NOW), 'Last seen just now');
  assert.equal(presence({ online: false, lastSeenAt: new Date(NOW.getTime() - 5 * 60_000).toISOString() }, NOW), 'Last seen 5 min ago');
  assert.equal(presence({ online: false, lastSeenAt: ago(1).toISOString() }, NOW), 'Last seen yesterday');
});

test('an own message says how far it has come', () => {
  const conversation = (/** @type {string} */ kind, /** @type {number} */ readers) =>
    as({ kind, memberCount: kind === 'group' ? 4 : 2, readBy: () => Array.from({ length: readers }) });
  const states = (/** @type {Conversation} */ of, /** @type {LogMessage} */ message) => progress(of, message).state;
  assert.equal(states(conversation('direct', 0), entry(1, 'me', NOW, { status: 'pending' })), 'pending');
  assert.equal(states(conversation('direct', 1), entry(1, 'me', NOW, { status: 'failed' })), 'failed');
  assert.equal(states(conversation('direct', 0), entry(1, 'me', NOW)), 'sent');
  assert.equal(states(conversation('direct', 1), entry(1, 'me', NOW)), 'read');
  assert.equal(progress(conversation('group', 1), entry(1, 'me', NOW)).words, 'Read by 1 of 3');
  assert.equal(states(conversation('group', 3), entry(1, 'me', NOW)), 'read');
  assert.equal(secondsUntil(1_000, 2_000), 1);
  assert.equal(secondsUntil(3_100, 1_000), 3);
});

test('a pane is bounded, grows at both ends, and leaves no gap', () => {
  const all = Array.from({ length: 1_000 }, (_, index) => entry(index + 51, 'bob', NOW));
  const pane = new Pane();
  assert.deepEqual(pane.cut(all, true), all.slice(-FIRST_ENTRIES));
  /** @type {readonly Entry[]} */
  let shown = all;
  while (pane.growUp(all)) {
    shown = pane.cut(all, false);
    assert.ok(shown.length <= MAX_ENTRIES);
    assert.deepEqual(shown, all.slice((shown[0].seq ?? 0) - 51, (shown[0].seq ?? 0) - 51 + shown.length));
  }
  assert.equal(shown[0].seq, 51);
  assert.equal(pane.isAtEnd, false);
  // A page of older ones that comes then is in at once.
  const more = [...Array.from({ length: 50 }, (_, index) => entry(index + 1, 'bob', NOW)), ...all];
  assert.equal(pane.cut(more, false)[0].seq, 1);
  while (pane.growDown(more)) assert.ok(pane.cut(more, false).length <= MAX_ENTRIES);
  assert.equal(pane.cut(more, false).at(-1)?.seq, 1_050);
  assert.equal(pane.isAtEnd, true);
  assert.ok(STEP < MAX_ENTRIES);
});

test('a pane follows what comes, and another history', () => {
  const pane = new Pane();
  /** @type {Entry[]} */
  let all = [];
  assert.deepEqual(pane.cut(all, true), []);
  for (let seq = 1; seq <= 2_000; seq += 1) {
    all = [...all, entry(seq, 'bob', NOW)];
    const shown = pane.cut(all, true);
    assert.ok(shown.length <= MAX_ENTRIES && shown.at(-1)?.seq === seq);
  }
  const pending = entry(0, 'me', NOW, { seq: undefined, status: 'pending' });
  assert.equal(pane.cut([...all, pending], true).at(-1), pending);
  assert.deepEqual(pane.cut(all.slice(0, 3), true), all.slice(0, 3));
});

test('an address names what to open, and who', () => {
  assert.deepEqual(parseHash('#01a2-b'), { conversation: '01a2-b', as: null, token: null, join: null });
  assert.deepEqual(parseHash('#as=bob&c=01a2'), { conversation: '01a2', as: 'bob', token: null, join: null });
  assert.deepEqual(parseHash('#join=abc'), { conversation: null, as: null, token: null, join: 'abc' });
  assert.deepEqual(parseHash('#join='), { conversation: null, as: null, token: null, join: '' });
  assert.equal(parseHash(`#join=${'x'.repeat(5_000)}`).join, 'x'.repeat(300));
  assert.deepEqual(parseHash(''), { conversation: null, as: null, token: null, join: null });
  assert.deepEqual(personNamed('  Zoë Quinn '), { id: 'zoe-quinn', name: 'Zoë Quinn' });
  assert.equal(personNamed('!!!'), null);
});

test('a user id is what the server takes for one', () => {
  for (const id of ['a', 'Bob', 'auth0|5f1', 'a.b_c:d@e-9', 'x'.repeat(128)]) assert.equal(isUserId(id), true, id);
  for (const id of ['', 'zoë', 'a b', 'a/b', 'bob\n', 'x'.repeat(129)]) assert.equal(isUserId(id), false, id);
});
