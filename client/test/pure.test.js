/** The parts without a socket or a clock: close codes, pauses, allowances, the log, the outbox. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../lib/backoff.js';
import { Bucket } from '../lib/bucket.js';
import { Clock } from '../lib/clock.js';
import { judge } from '../lib/closing.js';
import { ChatError } from '../lib/error.js';
import { Log } from '../lib/log.js';
import { Outbox } from '../lib/outbox.js';
import { FakeStorage } from './support/harness.js';
import { ManualTimers } from './support/timers.js';

test('pauses double from half a second to twenty, and are anything below', () => {
  const bounds = [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000];
  const most = new Backoff(() => 1 - Number.EPSILON);
  assert.deepEqual(bounds.map(() => Math.round(most.next())), bounds);
  const least = new Backoff(() => 0);
  assert.deepEqual(bounds.map(() => least.next()), bounds.map(() => 0));
  const half = new Backoff(() => 0.5);
  bounds.forEach(() => half.next());
  half.reset();
  assert.equal(half.next(), 250);
  // A thousand failures later nothing has become infinite.
  for (let i = 0; i < 2000; i++) assert.ok(half.next() <= 20000);
});

test('a close code from 4500 on, or of a broken protocol, ends it; others do not', () => {
  for (const code of [1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4503, 4999]) assert.ok(judge(code).terminal, String(code));
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4000, 4001, 4002, 4003, 4008, 4100]) {
    assert.ok(!judge(code).terminal, String(code));
  }
  assert.equal(judge(4008).pauseMs, 10000);
  assert.equal(judge(4003).code, 'slow_consumer');
  assert.equal(judge(1006).code, 'network');
});

test('an allowance is used up, grows again, and is blocked for as long as the server says', () => {
  const bucket = new Bucket(2, 10);
  assert.deepEqual([bucket.take(1000), bucket.take(1000), bucket.take(1000)], [0, 0, 100]);
  assert.equal(bucket.take(1100), 0);
  bucket.block(1100, 500);
  assert.equal(bucket.take(1599), 2);
  assert.equal(bucket.take(1600), 0);
  assert.ok(bucket.take(1600) > 0);
  // A clock that is set back does not give or take.
  const wait = bucket.take(100);
  assert.ok(wait > 0 && wait <= 125, `${wait} ms`);
  assert.equal(bucket.take(100 + wait), 0);
});

test('one timer runs for all tasks, each runs once, and none after stop', async () => {
  const timers = new ManualTimers();
  const clock = new Clock(timers, () => assert.fail('no page, no ticker'));
  const ran = [];
  clock.after(300, () => ran.push('c'));
  clock.after(100, () => ran.push('a'));
  const cancelled = clock.after(200, () => ran.push('b'));
  assert.equal(timers.pending, 1);
  clock.cancel(cancelled);
  await timers.advance(300);
  assert.deepEqual(ran, ['a', 'c']);
  clock.after(50, () => ran.push('never'));
  // What is off on a server counts some 136 years: no timer takes that.
  clock.after(4294967295000, () => ran.push('never'));
  clock.stop();
  assert.equal(timers.pending, 0);
  await timers.advance(1000);
  assert.deepEqual(ran, ['a', 'c']);
});

test('a task is not put off by a clock that is set back', async () => {
  const timers = new ManualTimers();
  const clock = new Clock({ ...timers, setTimeout: timers.setTimeout, now: timers.now }, () => assert.fail());
  let ran = false;
  clock.after(100, () => (ran = true));
  // The platform's timer counts time that passes, whatever the clock says.
  const { now } = timers;
  clock.now = () => now() - 3_600_000;
  await timers.advance(100);
  assert.ok(ran);
});

const created = (seq, more = {}) => ({
  type: 'message_created',
  payload: { id: `m${seq}`, conversationId: 'x', seq, senderId: 'bob', senderName: 'Bob', content: `n${seq}`, createdAt: '', ...more },
});
const seqs = (log) => log.entries.map((entry) => entry.seq);

test('the log takes each event once and in order, and tells a gap', () => {
  const log = new Log();
  assert.equal(log.position, undefined);
  assert.equal(log.apply(created(1)), 'gap', 'nothing is known yet');
  log.reset('e', 2, [created(1), created(2)]);
  assert.deepEqual([log.apply(created(2)), log.apply(created(3)), log.apply(created(3)), log.apply(created(5))], ['known', 'new', 'known', 'gap']);
  assert.deepEqual(seqs(log), [1, 2, 3]);
  assert.deepEqual(log.position, { epoch: 'e', seq: 3 });
  assert.equal(log.seen, 5);
  assert.equal(log.apply(created(4)), 'new');
  assert.equal(log.apply({ type: 'message_created', payload: {} }), 'known', 'what has no number is nothing');
});

test('an acknowledged message stands ahead of the position, moves it not, and is there once', () => {
  const log = new Log();
  log.reset('e', 1, [created(1)]);
  log.acknowledge(created(4, { senderId: 'me' }).payload);
  log.acknowledge(created(3, { senderId: 'me' }).payload);
  log.acknowledge(created(3, { senderId: 'me' }).payload);
  assert.deepEqual([seqs(log), log.position.seq], [[1, 3, 4], 1]);
  log.apply(created(2));
  log.apply(created(3));
  assert.deepEqual([seqs(log), log.position.seq], [[1, 2, 3, 4], 3]);
  log.acknowledge(created(2).payload);
  assert.deepEqual(seqs(log), [1, 2, 3, 4]);
  log.reset('e', 3, [created(2), created(3)]);
  assert.deepEqual(seqs(log), [2, 3, 4], 'acknowledged and newer than what was loaded');
  log.reset('another', 3, [created(2), created(3)]);
  assert.deepEqual(seqs(log), [2, 3], 'of another history');
});

test('older pages go in front, without what is there already', () => {
  const log = new Log();
  log.reset('e', 9, [created(8), created(9)]);
  assert.deepEqual([log.hasOlder, log.before], [true, 8]);
  log.prepend([5, 6, 7, 8].map((seq) => created(seq).payload), true);
  assert.deepEqual([seqs(log), log.hasOlder, log.before], [[5, 6, 7, 8, 9], true, 5]);
  log.prepend([created(2).payload], false);
  assert.deepEqual([seqs(log), log.hasOlder], [[2, 5, 6, 7, 8, 9], false]);
  const empty = new Log();
  empty.reset('e', 0, []);
  assert.deepEqual([empty.hasOlder, empty.entries], [false, []]);
});

test('the log does not grow for ever by what comes live', () => {
  const log = new Log();
  log.reset('e', 0, []);
  for (let seq = 1; seq <= 5000; seq++) log.apply(created(seq));
  assert.equal(log.entries.length, 2000);
  assert.deepEqual([log.hasOlder, log.before, log.position.seq], [true, 3001, 5000]);
  log.prepend([created(3000).payload], true);
  log.apply(created(5001));
  assert.equal(log.entries[0].seq, 3001);
  assert.equal(log.entries.length, 2001, 'what was asked for counts beside');
});

const item = (conversationId, id, stage = 'queued') => ({
  unsent: { conversationId, clientMessageId: id, content: id, createdAt: 't' },
  stage,
});
const ids = (outbox) => outbox.items.map(({ unsent }) => unsent.clientMessageId);

test('the outbox gives one of each conversation at a time, in order, past failed ones', () => {
  const outbox = new Outbox(undefined, 'p', 10);
  const all = [item('x', 'a', 'failed'), item('x', 'b'), item('x', 'c'), item('y', 'd')];
  all.forEach((one) => outbox.add(one));
  assert.equal(outbox.next(), all[1]);
  all[1].stage = 'sending';
  assert.equal(outbox.next(), all[3]);
  all[3].stage = 'sending';
  assert.equal(outbox.next(), undefined);
  outbox.remove(all[1]);
  assert.equal(outbox.next(), all[2]);
});

test('the outbox is bounded', () => {
  const outbox = new Outbox(undefined, 'p', 2);
  outbox.add(item('x', 'a'));
  outbox.add(item('x', 'b'));
  assert.throws(() => outbox.add(item('x', 'c')), { code: 'QUEUE_FULL', retryable: true });
});

test('what is unsent is kept for its user only, and taken over before what is new', () => {
  const storage = new FakeStorage();
  const first = new Outbox(storage, 'p', 10);
  first.add(item('x', 'early'));
  assert.equal(storage.items.size, 0, 'whose it is, is not known yet');
  first.adopt('alice');
  const failed = item('x', 'bad', 'failed');
  first.add(failed);
  failed.error = new ChatError('too_large', 'long');
  first.keep(failed);

  const bob = new Outbox(storage, 'p', 10);
  bob.adopt('bob');
  assert.deepEqual(ids(bob), []);

  const second = new Outbox(storage, 'p', 10);
  second.add(item('x', 'new'));
  second.adopt('alice');
  assert.deepEqual(ids(second), ['early', 'bad', 'new']);
  assert.deepEqual(second.items.map(({ stage, error }) => [stage, error?.code]), [['queued', undefined], ['failed', 'too_large'], ['queued', undefined]]);
  for (const one of [...second.items]) second.remove(one);
  assert.equal(storage.items.size, 0, 'nothing is left behind');
});

test('two tabs with one storage do not take away what is the other one’s', () => {
  const storage = new FakeStorage();
  const [left, right] = [new Outbox(storage, 'p', 10), new Outbox(storage, 'p', 10)];
  left.adopt('alice');
  right.adopt('alice');
  left.add(item('x', 'l'));
  const sent = item('x', 'r');
  right.add(sent);
  right.remove(sent);
  const later = new Outbox(storage, 'p', 10);
  later.adopt('alice');
  assert.deepEqual(ids(later), ['l']);
});

test('a storage that is corrupt, full or too long does no harm', () => {
  for (const text of ['{', '7', 'null', '"x"', '[null, 5, {}, {"conversationId":1}]', '[{"conversationId":"x","clientMessageId":"a","content":"c","createdAt":"t","replyTo":5}]']) {
    const storage = new FakeStorage();
    storage.setItem('p:alice', text);
    const outbox = new Outbox(storage, 'p', 10);
    outbox.adopt('alice');
    assert.deepEqual(ids(outbox), [], text);
  }
  const full = new FakeStorage();
  full.setItem = () => {
    throw new Error('QuotaExceededError');
  };
  const outbox = new Outbox(full, 'p', 10);
  outbox.adopt('alice');
  outbox.add(item('x', 'a'));
  assert.deepEqual(ids(outbox), ['a']);

  const long = new FakeStorage();
  long.setItem('p:alice', JSON.stringify(Array.from({ length: 50 }, (_, i) => item('x', `i${i}`).unsent)));
  const short = new Outbox(long, 'p', 10);
  short.adopt('alice');
  assert.equal(short.items.length, 10);
});
