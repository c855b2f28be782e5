/** Requests: matched, bounded, ended. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcome, setup } from './support/harness.js';

test('a request gets its own answer, whatever their order', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  const held = [];
  server.intercept = (socket, type, payload, id) => held.push(() => socket.reply(type, id, payload));
  const [first, second] = [1, 2].map((n) => outcome(alice.request('ping', { n })));
  await timers.advance(0);
  held.reverse().forEach((answer) => answer());
  await timers.advance(0);
  assert.deepEqual([first.value, second.value], [{ n: 1 }, { n: 2 }]);
});

test('an error is a ChatError with what the server said', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  server.intercept = (socket, _type, _payload, id) => (socket.refuse(id, 'rate_limited', { retryAfterMs: 23, message: 'too fast' }), true);
  const result = outcome(alice.request('join_group', { inviteCode: 'x' }));
  await timers.advance(0);
  const { name, code, message, retryable, retryAfterMs } = result.error;
  assert.deepEqual({ name, code, message, retryable, retryAfterMs }, { name: 'ChatError', code: 'rate_limited', message: 'too fast', retryable: true, retryAfterMs: 23 });
  assert.ok(result.error instanceof Error);
});

test('nothing hangs: offline, cut off, and without an answer it rejects', async () => {
  const { timers, server, client } = setup();
  for (const id of ['x', 'y']) server.create(id, ['alice', 'bob']);
  const alice = client('alice');
  let conversation = alice.conversation('x');
  const reads = () => [alice.request('ping'), alice.conversations(), conversation.loadOlder(), conversation.open(), conversation.markRead(5), alice.createGroup('g'), alice.joinGroup('c'), conversation.leave()].map(outcome);
  const idle = reads();
  await timers.advance(0);
  assert.deepEqual([...new Set(idle.map((r) => r.error?.code))], ['DISCONNECTED']);
  alice.connect();
  await timers.advance(0);
  server.intercept = () => true;
  conversation = alice.conversation('y');
  const cut = reads();
  await timers.advance(1000);
  assert.deepEqual([...new Set(cut.map((r) => r.state))], ['pending']);
  server.socket.lost();
  await timers.advance(0);
  assert.deepEqual([...new Set(cut.map((r) => r.error?.code))], ['DISCONNECTED']);
  server.intercept = (_socket, type) => type === 'load_messages';
  await timers.advance(2000);
  assert.equal(alice.state, 'connected');
  const late = outcome(alice.request('load_messages', { conversationId: 'x' }));
  await timers.advance(30_000);
  assert.deepEqual([late.error?.code, late.error?.retryable, alice.state], ['TIMEOUT', true, 'connected']);
});

test('a signal ends the wait', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  const gone = outcome(alice.request('ping', {}, { signal: AbortSignal.abort() }));
  server.intercept = () => true;
  const abort = new AbortController();
  const sent = outcome(alice.request('ping', {}, { signal: abort.signal }));
  await timers.advance(0);
  abort.abort();
  await timers.advance(0);
  assert.deepEqual([gone, sent].map((r) => r.error?.name), ['AbortError', 'AbortError']);
  assert.equal(server.asked('ping').length, 1, 'what was aborted before is not sent');
  const reason = new Error('mine');
  const own = outcome(alice.request('ping', {}, { signal: AbortSignal.abort(reason) }));
  await timers.advance(0);
  assert.equal(own.error, reason);
});

test('many requests at once are all answered', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  const held = [];
  server.intercept = (socket, type, payload, id) => held.push(() => socket.reply(type, id, payload));
  const results = Array.from({ length: 100 }, () => outcome(alice.request('ping')));
  await timers.advance(0);
  assert.equal(held.length, 100);
  held.forEach((answer) => answer());
  await timers.advance(0);
  assert.equal(results.filter((r) => r.state === 'resolved').length, 100);
});

test('what is refused for now is asked again where it is a join, a mark or the list, and told otherwise', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  const refused = new Set();
  server.intercept = (socket, type, _payload, id) => {
    if (refused.has(type)) return false;
    refused.add(type);
    socket.refuse(id, 'rate_limited', { retryAfterMs: 400 });
    return true;
  };
  const conversation = alice.conversation('x');
  const results = [alice.conversations(), conversation.open(), alice.request('load_messages', { conversationId: 'x' }), alice.createGroup('g')].map(outcome);
  await timers.advance(10_000);
  assert.deepEqual(results.map((r) => [r.state, r.error?.code]), [['resolved', undefined], ['resolved', undefined], ['rejected', 'rate_limited'], ['rejected', 'rate_limited']]);
});

test('frames that are no JSON, no objects or of an unknown kind do no harm', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice, conversation } = await opened('alice', 'x');
  const errors = [];
  alice.on('error', (error) => errors.push(error.code));
  const event = (type, payload, more) => JSON.stringify({ type, payload, ...more });
  for (const frame of [
    '', '{', 'null', '7', '"x"', '[]', '[1]', '{}', '{"type":5}', '{"type":"message_created"}', '{"type":"message_created","payload":null}',
    '{"type":"message_created","payload":"x"}', event('message_created', {}), event('message_created', { conversationId: 'x' }),
    event('message_created', { conversationId: 'x', seq: 'one' }), event('message_created', { conversationId: 5, seq: 1 }),
    event('reaction_added', { conversationId: 'x' }), event('constructor', {}), event('conversation_created', {}), event('conversation_created', { conversation: null }),
    event('connection_status', { status: 'unheard of' }), event('presence_changed', {}), event('typing_started', {}), event('message_read', {}),
    event('send_message', { message: {} }, { requestId: 'nobody asked' }), event('conversation_activity', {}), event('error', { code: 'invalid_json', message: 'm' }),
    new ArrayBuffer(8),
  ]) {
    server.socket.onmessage({ data: frame });
    await timers.advance(0);
  }
  assert.equal(alice.state, 'connected');
  assert.ok(errors.includes('invalid_json'), 'an error that nobody asked for is told');
  server.write('x', 'bob', 'still here');
  await timers.advance(0);
  assert.deepEqual(conversation.messages.map((m) => m.content), ['still here']);
});

test('a reply that is not what it must be rejects, and nothing waits for ever', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  server.intercept = (socket, type, _payload, id) => (socket.reply(type, id, {}), true);
  const conversation = alice.conversation('x');
  const results = [alice.conversations(), conversation.open(), conversation.loadOlder(), conversation.send('Hello'), alice.createGroup('g')].map(outcome);
  await timers.advance(0);
  assert.deepEqual(results.map((r) => r.state), results.map(() => 'rejected'));
  assert.equal(alice.state, 'connected');
});

test('a listener that throws stops nobody else', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice } = await opened('alice', 'x');
  const thrown = [];
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', (error) => thrown.push(error.message));
  const heard = [];
  const off = alice.on('message', () => {
    throw new Error('the app’s');
  });
  alice.on('message', ({ message }) => heard.push(message.content));
  server.write('x', 'bob', 'a');
  await timers.advance(0);
  off();
  off();
  server.write('x', 'bob', 'b');
  await timers.advance(0);
  // Node tells after the microtasks.
  await new Promise(setImmediate);
  process.removeAllListeners('unhandledRejection');
  for (const other of others) process.on('unhandledRejection', other);
  assert.deepEqual([heard, thrown], [['a', 'b'], ['the app’s']]);
});
