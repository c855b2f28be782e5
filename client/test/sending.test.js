/** Messages: shown at once, sent until answered, never twice, never out of order. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeStorage, outcome, setup, shown } from './support/harness.js';

const contents = (server, id = 'x') => server.conversations.get(id).log.map((event) => event.payload.content);

test('a message is there at once, and settled by its reply and its event as one', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const before = conversation.messages;
  const sent = outcome(conversation.send('Hello', { replyTo: 'm0' }));
  assert.notEqual(conversation.messages, before);
  const [entry] = conversation.messages;
  assert.deepEqual([entry.kind, entry.status, entry.content, entry.replyTo, entry.senderId, entry.clientMessageId], ['message', 'pending', 'Hello', 'm0', 'alice', 'id-alice-1']);
  await timers.advance(0);
  assert.deepEqual(shown(conversation), ['1 Hello sent']);
  assert.deepEqual([sent.value.seq, sent.value.clientMessageId, conversation.messages[0].id], [1, 'id-alice-1', 'm1']);
  assert.equal(conversation.messages, conversation.messages, 'the same array until something changes');
});

test('the reply may come before earlier events: it stands behind them, and the position stays', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  // Held back: bob's message and the event of alice's own.
  const held = [];
  const { socket } = server;
  const { emit } = socket;
  socket.emit = (...event) => held.push(event);
  server.write('x', 'bob', 'first');
  const sent = outcome(conversation.send('second'));
  await timers.advance(0);
  assert.deepEqual([shown(conversation), sent.state], [['2 second sent'], 'resolved']);
  socket.emit = emit;
  for (const event of held) socket.emit(...event);
  await timers.advance(0);
  assert.deepEqual(shown(conversation), ['1 first sent', '2 second sent']);
  assert.equal(server.asked('join_conversation').length, 1, 'that was no gap');
});

test('the event alone settles it, and a late reply changes nothing', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const replies = [];
  server.intercept = (socket, type, payload, id) => {
    if (type !== 'send_message') return false;
    const reply = server.write('x', 'alice', payload.content, payload.clientMessageId);
    replies.push(() => socket.reply(type, id, reply));
    return true;
  };
  const [first, second] = [outcome(conversation.send('one')), outcome(conversation.send('two'))];
  await timers.advance(0);
  assert.deepEqual([first.state, second.state, shown(conversation)], ['resolved', 'resolved', ['1 one sent', '2 two sent']]);
  replies.forEach((reply) => reply());
  await timers.advance(60_000);
  assert.deepEqual([shown(conversation), contents(server)], [['1 one sent', '2 two sent'], ['one', 'two']]);
});

test('a message of somebody else with the same id settles nothing', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  server.intercept = (_socket, type) => type === 'send_message';
  const sent = outcome(conversation.send('mine'));
  const [{ clientMessageId }] = conversation.messages;
  server.write('x', 'bob', 'not yours', clientMessageId);
  await timers.advance(100);
  assert.deepEqual([sent.state, shown(conversation)], ['pending', ['1 not yours sent', '- mine pending']]);
});

test('several go one after the other, so that none overtakes another', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  let refusals = 3;
  let inFlight = 0;
  server.delay = () => 5;
  server.intercept = (socket, type, payload, id) => {
    if (type !== 'send_message') return false;
    assert.equal(++inFlight, 1);
    timers.setTimeout(() => {
      inFlight--;
      if (payload.content === '1' && refusals-- > 0) socket.refuse(id, 'unavailable');
      else socket.reply(type, id, server.write('x', 'alice', payload.content, payload.clientMessageId));
    }, 10);
    return true;
  };
  for (let i = 0; i < 5; i++) conversation.send(String(i));
  await timers.advance(60_000);
  assert.deepEqual(contents(server), ['0', '1', '2', '3', '4']);
  assert.equal(server.asked('send_message').length, 8);
});

test('different conversations do not wait for each other', async () => {
  const { timers, server, connected } = setup();
  for (const id of ['x', 'y']) server.create(id, ['alice', 'bob']);
  const alice = await connected('alice');
  server.intercept = (_socket, type, { conversationId }) => type === 'send_message' && conversationId === 'x';
  alice.conversation('x').send('stuck');
  const sent = outcome(alice.conversation('y').send('through'));
  await timers.advance(0);
  assert.equal(sent.state, 'resolved');
});

for (const [code, more, earliest] of [['unavailable', {}, 0], ['internal', {}, 0], ['rate_limited', { retryAfterMs: 3000 }, 3000], ['some_day', { retryable: true }, 0]]) {
  test(`${code} is tried again with the same id`, async () => {
    const { timers, server, opened } = setup();
    server.create('x', ['alice', 'bob']);
    const { conversation } = await opened('alice', 'x');
    let refusals = 2;
    const at = [];
    server.intercept = (socket, type, _payload, id) => {
      if (type !== 'send_message') return false;
      at.push(timers.now());
      return refusals-- > 0 && (socket.refuse(id, code, more), true);
    };
    const sent = outcome(conversation.send('Hello'));
    await timers.advance(1);
    assert.deepEqual(shown(conversation), ['- Hello pending']);
    await timers.advance(60_000);
    assert.equal(sent.state, 'resolved');
    assert.deepEqual([new Set(server.asked('send_message').map((p) => p.clientMessageId)).size, at.length], [1, 3]);
    assert.ok(at[1] - at[0] >= earliest, `${at}`);
  });
}

for (const code of ['not_found', 'too_large', 'conflict', 'forbidden', 'never_heard_of']) {
  test(`${code} is a failure, those behind it go on, and it can be sent again or discarded`, async () => {
    const { timers, server, opened } = setup();
    server.create('x', ['alice', 'bob']);
    const { conversation } = await opened('alice', 'x');
    server.intercept = (socket, type, { content }, id) => type === 'send_message' && content === 'bad' && (socket.refuse(id, code), true);
    const [bad, good] = [outcome(conversation.send('bad')), outcome(conversation.send('good'))];
    await timers.advance(0);
    assert.deepEqual([bad.state, bad.error.code, good.state], ['rejected', code, 'resolved']);
    assert.deepEqual(shown(conversation), ['1 good sent', '- bad failed']);
    const [, failed] = conversation.messages;
    assert.equal(failed.error.code, code);
    server.intercept = () => false;
    const again = outcome(conversation.retry(failed.clientMessageId));
    assert.deepEqual(shown(conversation), ['1 good sent', '- bad pending']);
    await timers.advance(0);
    assert.deepEqual([again.value.clientMessageId, shown(conversation)], [failed.clientMessageId, ['1 good sent', '2 bad sent']]);
  });
}

test('one that failed, waits or is on its way can be discarded; on its way it may be stored nevertheless, and shows then', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice, conversation } = await opened('alice', 'x');
  server.delay = () => 10;
  const flying = outcome(conversation.send('flying'));
  const waiting = outcome(conversation.send('waiting'));
  const last = outcome(conversation.send('last'));
  const [first, second] = conversation.messages;
  conversation.discard(second.clientMessageId);
  conversation.discard(first.clientMessageId);
  conversation.discard('unheard of');
  assert.deepEqual(shown(conversation), ['- last pending']);
  await timers.advance(100);
  assert.deepEqual([flying.error.code, waiting.error.code, last.state, shown(conversation)], ['DISCARDED', 'DISCARDED', 'resolved', ['1 flying sent', '2 last sent']]);
  conversation.discard(first.clientMessageId);
  assert.equal(shown(conversation).length, 2);
  const none = outcome(conversation.retry(first.clientMessageId));
  await timers.advance(0);
  assert.deepEqual([none.error.code, alice.state], ['INVALID', 'connected']);
});

test('what is written offline goes out when it is back, in order and once', async () => {
  const { timers, server, client } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = client('alice');
  const conversation = alice.conversation('x');
  conversation.send('before it ever connected');
  alice.connect();
  await timers.advance(0);
  server.up = false;
  server.socket.lost();
  const results = [1, 2, 3].map((n) => outcome(conversation.send(`offline ${n}`)));
  await timers.advance(30_000);
  assert.deepEqual(results.map((r) => r.state), ['pending', 'pending', 'pending']);
  server.up = true;
  await timers.advance(30_000);
  assert.deepEqual(contents(server), ['before it ever connected', 'offline 1', 'offline 2', 'offline 3']);
  assert.deepEqual(results.map((r) => r.value?.seq), [2, 3, 4]);
});

test('a message whose reply was lost is settled by what the resume brings, and stored once', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const sends = [];
  server.intercept = (socket, type, payload) => {
    if (type !== 'send_message') return false;
    sends.push(payload.clientMessageId);
    if (sends.length > 1) return false;
    // Stored, but the connection breaks before anybody hears of it.
    socket.joined.clear();
    server.write('x', 'alice', payload.content, payload.clientMessageId);
    socket.lost();
    return true;
  };
  const sent = outcome(conversation.send('Hello'));
  await timers.advance(0);
  assert.deepEqual([sent.state, shown(conversation)], ['pending', ['- Hello pending']]);
  await timers.advance(1000);
  assert.deepEqual([sent.value?.seq, shown(conversation), contents(server)], [1, ['1 Hello sent'], ['Hello']]);
  assert.ok(new Set(sends).size === 1);
});

test('the same for a conversation that is not open: the repeated send is answered as a duplicate', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  const conversation = alice.conversation('x');
  let lost = false;
  server.intercept = (socket, type, payload) => {
    if (type !== 'send_message' || lost) return false;
    lost = true;
    server.write('x', 'alice', payload.content, payload.clientMessageId);
    socket.lost();
    return true;
  };
  const sent = outcome(conversation.send('Hello'));
  await timers.advance(1000);
  assert.deepEqual([sent.value?.seq, shown(conversation), contents(server)], [1, ['1 Hello sent'], ['Hello']]);
  conversation.open();
  await timers.advance(0);
  assert.deepEqual(shown(conversation), ['1 Hello sent'], 'and is not doubled when it is opened');
});

test('a send that is not answered on a connection that lives is sent again', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  let swallowed = 0;
  server.intercept = (_socket, type) => type === 'send_message' && swallowed++ === 0;
  const sent = outcome(conversation.send('Hello'));
  await timers.advance(29_999);
  assert.equal(swallowed, 1);
  await timers.advance(5000);
  assert.deepEqual([sent.state, contents(server)], ['resolved', ['Hello']]);
});

test('a queue that is full refuses one more, and says so', async () => {
  const { server, client } = setup();
  server.create('x', ['alice', 'bob']);
  const conversation = client('alice', { maxQueue: 2 }).conversation('x');
  conversation.send('a');
  conversation.send('b');
  await assert.rejects(conversation.send('c'), { code: 'QUEUE_FULL', retryable: true });
  assert.equal(conversation.messages.length, 2);
});

test('what is no text is not queued, what is too long for a frame fails alone', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice, conversation } = await opened('alice', 'x');
  for (const content of ['', undefined]) await assert.rejects(conversation.send(content), { code: 'INVALID' });
  assert.equal(conversation.messages.length, 0);
  // Half of it would fit by the number of characters: it is bytes that count.
  const huge = outcome(conversation.send('ü'.repeat(40_000)));
  const good = outcome(conversation.send('good'));
  await timers.advance(0);
  assert.deepEqual([huge.error?.code, good.state, alice.state], ['INVALID', 'resolved', 'connected']);
  // Nor does it hold up what comes after it, when it is tried again.
  const failed = conversation.messages.find(({ status }) => status === 'failed');
  const again = outcome(conversation.retry(failed.clientMessageId));
  const next = outcome(conversation.send('next'));
  await timers.advance(0);
  assert.deepEqual([again.error?.code, next.state], ['INVALID', 'resolved']);
});

test('unsent messages survive a reload, and are sent once, after which nothing is kept', async () => {
  const { timers, server, client } = setup();
  server.create('x', ['alice', 'bob']);
  const storage = new FakeStorage();
  const before = client('alice', { storage });
  before.connect();
  await timers.advance(0);
  server.up = false;
  server.socket.lost();
  before.conversation('x').send('one');
  before.conversation('x').send('two');
  // The page goes; nobody says goodbye.
  server.up = true;
  const after = client('alice', { storage });
  after.connect();
  await timers.advance(0);
  assert.deepEqual(contents(server), ['one', 'two']);
  assert.deepEqual(shown(after.conversation('x')), ['1 one sent', '2 two sent']);
  assert.equal(storage.getItem('parlor:outbox:alice'), '[]');
  // The old one lives on in another tab: it has the same messages, with the same ids.
  await timers.advance(60_000);
  assert.equal(before.state, 'connected');
  assert.deepEqual(contents(server), ['one', 'two']);
});

test('one user’s unsent messages are not sent by the next', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const storage = new FakeStorage();
  const alice = await connected('alice', { storage });
  server.socket.lost();
  alice.conversation('x').send('alice’s');
  alice.close();
  await connected('bob', { storage });
  await timers.advance(10_000);
  assert.deepEqual(contents(server), []);
  await connected('alice', { storage });
  assert.deepEqual(contents(server), ['alice’s']);
});

test('however little a server grants, refusals stay below what would close the connection', async () => {
  for (const [perSecond, burst] of [[0.5, 1], [1, 1], [2, 1], [5, 1], [10, 30]]) {
    const { timers, server, connected } = setup();
    const tokens = { left: burst, at: timers.now() };
    const refused = [];
    server.delay = () => 3;
    server.intercept = (socket, type, _payload, id) => {
      if (type !== 'send_message') return false;
      tokens.left = Math.min(burst, tokens.left + ((timers.now() - tokens.at) * perSecond) / 1000);
      tokens.at = timers.now();
      if (tokens.left >= 1) return void tokens.left--;
      refused.push(timers.now());
      socket.refuse(id, 'rate_limited', { retryAfterMs: Math.ceil(((1 - tokens.left) * 1000) / perSecond) });
      return true;
    };
    for (let i = 0; i < 10; i++) server.create(`c${i}`, ['alice', 'bob']);
    const alice = await connected('alice', { maxQueue: 1000 });
    for (let n = 0; n < 1000; n++) alice.conversation(`c${n % 10}`).send(String(n));
    await timers.advance(60_000);
    assert.ok(refused.length < 200, `${perSecond} a second: ${refused.length} refusals in a minute`);
    const stored = [...server.conversations.values()].flatMap((c) => c.log).length;
    assert.ok(stored >= 60 * Math.min(perSecond, 1) * 0.4, `${perSecond} a second: ${stored} stored`);
  }
});
