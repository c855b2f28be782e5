import assert from 'node:assert/strict';
import { test } from 'node:test';
import { threadRows } from '../src/lib/thread.js';
import { ago, initials, inWords } from '../src/lib/format.js';

const noon = new Date(2026, 10, 24, 12).getTime();

function message(seq, senderId, minutes, more = {}) {
  const createdAt = new Date(noon + minutes * 60_000).toISOString();
  return { kind: 'message', seq, id: `id ${seq}`, senderId, senderName: senderId, content: `${seq}`, createdAt, status: 'sent', ...more };
}

const shape = (rows) => rows.map((row) => (row.type === 'message' ? `${row.content}${row.isFirst ? '^' : ''}${row.isLast ? '$' : ''}` : row.type));

test('messages of one sender are together for five minutes', () => {
  const entries = [message(1, 'bob', 0), message(2, 'bob', 4), message(3, 'bob', 10), message(4, 'ann', 11)];
  assert.deepEqual(shape(threadRows(entries, { me: 'ann', newAfter: null, now: noon })), ['day', '1^', '2$', '3^$', '4^$']);
});

test('days and the new line part what would be together', () => {
  const entries = [message(1, 'bob', -24 * 60), message(2, 'bob', 0), message(3, 'bob', 1), message(4, 'bob', 2)];
  const rows = threadRows(entries, { me: 'ann', newAfter: 2, now: noon });
  assert.deepEqual(shape(rows), ['day', '1^$', 'day', '2^$', 'new', '3^', '4$']);
  assert.deepEqual([rows[0].text, rows[2].text], ['Yesterday', 'Today']);
});

test('the new line is not for what one wrote oneself', () => {
  const entries = [message(1, 'ann', 0), message(2, 'bob', 1)];
  assert.deepEqual(shape(threadRows(entries, { me: 'ann', newAfter: 0, now: noon })), ['day', '1^$', 'new', '2^$']);
});

test('a message keeps its key when the server has taken it', () => {
  const before = message(undefined, 'ann', 0, { id: undefined, status: 'pending', clientMessageId: 'c-1' });
  const after = message(7, 'ann', 0, { clientMessageId: 'c-1' });
  const key = (entry) => threadRows([entry], { me: 'ann', newAfter: null, now: noon })[1].key;
  assert.equal(key(before), key(after));
});

test('comings and goings are told, and part messages', () => {
  const left = { kind: 'left', seq: 2, userId: 'cyd', name: 'Cyd', status: 'sent' };
  const rows = threadRows([message(1, 'bob', 0), left, message(3, 'bob', 1)], { me: 'ann', newAfter: null, now: noon });
  assert.deepEqual(shape(rows), ['day', '1^$', 'event', '3^$']);
  assert.equal(rows[2].text, 'Cyd left');
});

test('words for times and people', () => {
  assert.equal(ago(new Date(noon - 30_000).toISOString(), noon), 'just now');
  assert.equal(ago(new Date(noon - 3 * 3_600_000).toISOString(), noon), '3 h ago');
  assert.deepEqual(['Ann', 'Ann van Dam', ''].map(initials), ['A', 'AD', '#']);
  assert.deepEqual([['Ann'], ['Ann', 'Bob'], ['Ann', 'Bob', 'Cyd'], ['A', 'B', 'C', 'D']].map(inWords), [
    'Ann', 'Ann and Bob', 'Ann, Bob and Cyd', 'A, B and 2 others',
  ]);
});
