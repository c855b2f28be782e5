/** The parts without a socket or a clock: close codes, pauses, allowances, the log, the outbox. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '../lib/closing.js';
import { ChatError, passing } from '../lib/error.js';
import { createLog } from '../lib/log.js';
import { createOutbox } from '../lib/outbox.js';
import { createTiming, pauseAfter } from '../lib/timing.js';
import { FakeStorage } from './support/harness.js';
import { ManualTimers } from './support/timers.js';

test('pauses double from half a second to twenty, and are anything below', () => {
  const bounds = [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000];
  assert.deepEqual(bounds.map((_, failures) => Math.round(pauseAfter(failures, () => 1 - Number.EPSILON))), bounds);
  assert.deepEqual(bounds.map((_, failures) => pauseAfter(failures, () => 0)), bounds.map(() => 0));
  assert.equal(pauseAfter(0, () => 0.5), 250);
  // A thousand failures later nothing has become infinite.
  for (let failures = 0; failures < 2000; failures++) assert.ok(pauseAfter(failures, () => 0.5) <= 20000);
});

test('a close code from 4500 on, or of a broken protocol, ends it; others do not', () => {
  for (const code of [1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4503, 4999]) assert.ok(judge(code, '')[2], String(code));
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4000, 4001, 4002, 4003, 4008, 4100]) {
    assert.ok(!judge(code, '')[2], String(code));
  }
  assert.deepEqual(judge(4003, 'slow_consumer'), ['slow_consumer', 'slow_consumer', false, 0]);
  assert.deepEqual(judge(1006, ''), ['network', '', false, 0]);
  assert.deepEqual(judge(1009, 'message_too_big'), ['protocol', 'message_too_big', true, 0]);
  assert.deepEqual(judge(4999, ''), ['closed', '', true, 0]);
  assert.deepEqual(judge(4008, 'rate_limited'), ['rate_limited', 'rate_limited', false, 10_000]);
});

test('a wait that is too long for a timer is cut', () => {
  const timers = new ManualTimers();
  // What is off on a server counts some 136 years.
  createTiming({ timers }).after(4294967295000, () => {});
  assert.equal(timers.pending, 1);
});

const created = (seq, more = {}) => ({
  type: 'message_created',
  payload: { id: `m${seq}`, conversationId: 'x', seq, senderId: 'bob', senderName: 'Bob', content: `n${seq}`, createdAt: '', ...more },
});
const seqs = (log) => log.entries().map((entry) => entry.seq);

test('the log takes each event once and in order, and tells a gap', () => {
  const log = createLog();
  assert.equal(log.since(), undefined);
  assert.deepEqual([log.event(created(1)), log.gap()], [false, true], 'nothing is known yet');
  log.reset('e', 2, [created(1), created(2)]);
  assert.deepEqual([log.event(created(2)), log.event(created(3)), log.event(created(3)), log.event(created(5))], [false, true, false, false]);
  assert.deepEqual(seqs(log), [1, 2, 3]);
  assert.equal(log.gap(), true);
  assert.deepEqual(log.since(), { epoch: 'e', seq: 3 });
  assert.equal(log.gap(), false, 'who asks where to resume from fills it');
  assert.equal(log.event(created(4)), true);
  assert.equal(log.event({ type: 'message_created', payload: {} }), false, 'what has no number is nothing');
  assert.equal(log.gap(), false);
});

test('an acknowledged message stands ahead of the position, moves it not, and is there once', () => {
  const log = createLog();
  log.reset('e', 1, [created(1)]);
  log.stored(created(4, { senderId: 'me' }).payload);
  log.stored(created(3, { senderId: 'me' }).payload);
  log.stored(created(3, { senderId: 'me' }).payload);
  assert.deepEqual([seqs(log), log.since().seq], [[1, 3, 4], 1]);
  log.event(created(2));
  log.event(created(3));
  assert.deepEqual([seqs(log), log.since().seq], [[1, 2, 3, 4], 3]);
  log.stored(created(2).payload);
  assert.deepEqual(seqs(log), [1, 2, 3, 4]);
  log.reset('e', 3, [created(2), created(3)]);
  assert.deepEqual(seqs(log), [2, 3, 4], 'acknowledged and newer than what was loaded');
  log.reset('another', 3, [created(2), created(3)]);
  assert.deepEqual(seqs(log), [2, 3], 'of another history');
});

test('older pages go in front, without what is there already', () => {
  const log = createLog();
  log.reset('e', 9, [created(8), created(9)]);
  assert.deepEqual([log.hasOlder, log.oldest()], [true, 8]);
  log.older([5, 6, 7, 8].map((seq) => created(seq).payload), true);
  assert.deepEqual([seqs(log), log.hasOlder, log.oldest()], [[5, 6, 7, 8, 9], true, 5]);
  log.older([created(2).payload], false);
  assert.deepEqual([seqs(log), log.hasOlder], [[2, 5, 6, 7, 8, 9], false]);
  const empty = createLog();
  empty.reset('e', 0, []);
  assert.deepEqual([empty.hasOlder, empty.entries()], [false, []]);
});

test('the log does not grow for ever by what comes live', () => {
  const log = createLog();
  log.reset('e', 0, []);
  for (let seq = 1; seq <= 7000; seq++) log.event(created(seq));
  assert.equal(log.entries().length, 5000);
  assert.deepEqual([log.hasOlder, log.oldest(), log.since().seq], [true, 2001, 7000]);
});

/** An outbox, what it has on its way, and what its conversations were told. */
function outboxOf(options = {}) {
  const flying = [];
  const state = { usable: true };
  const outbox = createOutbox(
    options,
    {
      usable: () => state.usable,
      ended: () => false,
      call(action, payload, settle) {
        assert.equal(action, 'send_message');
        const one = { payload, stopped: false, settle: (...answer) => (flying.splice(flying.indexOf(one), 1), settle(...answer)) };
        flying.push(one);
        return (error) => ((one.stopped = true), one.settle(error));
      },
    },
    () => {},
  );
  const add = (conversationId, id) => {
    const promise = outbox.send({ kind: 'message', status: 'pending', conversationId, clientMessageId: id, content: id, createdAt: 't' });
    promise.catch(() => {});
    return promise;
  };
  return { outbox, flying, add, state };
}
const ids = (outbox, id = 'x') => outbox.entries(id).map((entry) => entry.clientMessageId);
const out = (flying) => flying.map((one) => one.payload.clientMessageId);

test('the outbox sends one of each conversation at a time, in order, past failed ones', async () => {
  const { outbox, flying, add } = outboxOf();
  const [a] = [add('x', 'a'), add('x', 'b'), add('y', 'c')];
  assert.deepEqual(out(flying), ['a', 'c']);
  flying[0].settle(new ChatError('too_large'));
  await assert.rejects(a, { code: 'too_large' });
  assert.deepEqual([out(flying), ids(outbox)], [['c', 'b'], ['a', 'b']]);
  flying[1].settle(null, { message: { conversationId: 'x', clientMessageId: 'b' } });
  assert.deepEqual([out(flying), ids(outbox)], [['c'], ['a']]);
  assert.equal(outbox.entries('x')[0].error.code, 'too_large');
});

test('no more than a few are on their way, of however many conversations', () => {
  const { flying, add } = outboxOf();
  for (let i = 0; i < 20; i++) add(`c${i}`, String(i));
  assert.equal(flying.length, 4);
});

test('what was on its way when the connection broke is sent again first', () => {
  const { outbox, flying, add, state } = outboxOf();
  add('x', 'a');
  add('x', 'b');
  state.usable = false;
  flying[0].settle(passing('DISCONNECTED'));
  assert.deepEqual(out(flying), []);
  state.usable = true;
  outbox.pump();
  assert.deepEqual(out(flying), ['a']);
});

test('the outbox is bounded', async () => {
  const { add } = outboxOf({ maxQueue: 2 });
  add('x', 'a');
  add('x', 'b');
  await assert.rejects(add('x', 'c'), { code: 'QUEUE_FULL', retryable: true });
});

test('what is unsent is kept for its user only, and taken over before what is new', () => {
  const storage = new FakeStorage();
  const { outbox: first, add, flying } = outboxOf({ storage });
  add('x', 'early');
  assert.equal(storage.items.size, 0, 'whose it is, is not known yet');
  first.ready('alice');
  flying[0].settle(new ChatError('too_large'));
  add('x', 'second');

  const { outbox: bob } = outboxOf({ storage });
  bob.ready('bob');
  assert.deepEqual(ids(bob), []);

  const { outbox: next, add: addNext } = outboxOf({ storage });
  addNext('x', 'new');
  next.ready('alice');
  assert.deepEqual(ids(next), ['early', 'second', 'new']);
  assert.deepEqual(next.entries('x').map(({ status, error, senderId }) => [status, error?.code, senderId]), [['failed', 'too_large', 'alice'], ['pending', undefined, 'alice'], ['pending', undefined, 'alice']]);
  assert.ok(next.entries('x')[0].error instanceof ChatError);
  for (const id of ids(next)) next.discard(id);
  assert.equal(storage.getItem('parlor:outbox:alice'), '[]', 'nothing is left behind');
});

test('two tabs with one storage do not take away what is the other one’s', () => {
  const storage = new FakeStorage();
  const [left, right] = [outboxOf({ storage }), outboxOf({ storage })];
  left.outbox.ready('alice');
  right.outbox.ready('alice');
  left.add('x', 'l');
  right.add('x', 'r');
  right.outbox.stored({ conversationId: 'x', clientMessageId: 'r' });
  const { outbox: later } = outboxOf({ storage });
  later.ready('alice');
  assert.deepEqual(ids(later), ['l']);
});

test('a storage that is corrupt or full does no harm', () => {
  for (const text of ['', '{', '7', 'null', '"x"', '{}', '[null, 5, {}, {"conversationId":"x"}]', '[{"conversationId":"x","clientMessageId":"a"}]']) {
    const storage = new FakeStorage();
    storage.setItem('p:alice', text);
    const { outbox } = outboxOf({ storage, storageKey: 'p' });
    outbox.ready('alice');
    assert.deepEqual(ids(outbox), [], text);
  }
  const full = new FakeStorage();
  full.setItem = full.getItem = () => {
    throw new Error('QuotaExceededError');
  };
  const { outbox, add } = outboxOf({ storage: full });
  outbox.ready('alice');
  add('x', 'a');
  assert.deepEqual(ids(outbox), ['a']);
});
