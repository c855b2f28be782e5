/** What happens at the same time as something else: closed before its turn, refused while it breaks, asked for while it runs. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeStorage, fakePage, outcome, settled, setup } from './support/harness.js';

test('a join that is not wanted any more is not sent, before its turn nor after a refusal', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  const x = alice.conversation('x');
  const opening = outcome(x.open());
  x.close();
  await timers.advance(5000);
  assert.deepEqual([opening.error?.code, server.asked('join_conversation').length, x.state], ['CLOSED', 0, 'closed']);
  server.intercept = (socket, type, payload, id) => type === 'join_conversation' && (socket.refuse(id, 'unavailable'), true);
  x.open().catch(() => {});
  await timers.advance(10);
  x.close();
  server.intercept = () => false;
  await timers.advance(60_000);
  assert.deepEqual([server.asked('join_conversation').length, [...server.socket.joined]], [1, []]);
});

test('a join that is refused for now while the server stops happens at the next connection', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  const held = [];
  server.intercept = (socket, type, payload, id) => type === 'join_conversation' && held.push(() => socket.refuse(id, 'unavailable'));
  const opening = outcome(alice.conversation('x').open());
  await timers.advance(0);
  server.socket.emit('connection_status', { status: 'draining', reconnectAfterMs: 100 });
  held[0]();
  await timers.advance(0);
  assert.deepEqual([opening.error?.code, alice.conversation('x').state], ['unavailable', 'opening']);
  server.intercept = () => false;
  server.socket.closeBy(4000, 'draining');
  await timers.advance(20_000);
  assert.equal(alice.conversation('x').state, 'open');
});

test('150 conversations that were read offline are open and marked after a reconnect', async () => {
  const { timers, server, connected } = setup();
  const all = Array.from({ length: 150 }, (_, i) => `c${i}`);
  for (const id of all) {
    server.create(id, ['alice', 'bob']);
    server.write(id, 'bob', 'x');
  }
  const alice = await connected('alice');
  for (const id of all) alice.conversation(id).open().catch(() => {});
  await timers.advance(1000);
  server.up = false;
  server.socket.lost(1006);
  await timers.advance(0);
  for (const id of all) alice.conversation(id).markRead().catch(() => {});
  server.up = true;
  let most = 0;
  let waiting = 0;
  server.intercept = (socket, type, payload, id) => {
    if (type !== 'mark_read') return false;
    most = Math.max(most, ++waiting);
    timers.setTimeout(() => {
      waiting--;
      server.conversations.get(payload.conversationId).members.get('alice').readSeq = payload.seq;
      socket.reply(type, id, { seq: payload.seq, unreadCount: 0 });
    }, 10);
    return true;
  };
  await timers.advance(60_000);
  assert.deepEqual(all.filter((id) => alice.conversation(id).state !== 'open'), []);
  assert.deepEqual(all.filter((id) => server.conversations.get(id).members.get('alice').readSeq !== 1), []);
  assert.ok(most <= 4, `${most} at once`);
});

test('the network that is back within a second of an attempt is not forgotten', async () => {
  const { timers, server, client } = setup();
  const page = fakePage();
  server.up = false;
  const alice = client('alice', { environment: page, random: () => 0.95 });
  alice.connect().catch(() => {});
  await timers.advance(30_000);
  const { length } = server.sockets;
  while (server.sockets.length === length) await timers.advance(100);
  const attempted = timers.now();
  await timers.advance(200);
  server.up = true;
  page.window.speak('online');
  assert.ok(alice.retryAt > timers.now() && alice.retryAt <= attempted + 1000, `${alice.retryAt - attempted} ms`);
  await timers.advance(1000);
  assert.equal(alice.state, 'connected');
});

for (const event of ['conversation', 'list', 'state', 'message']) {
  for (const when of event === 'message' ? ['resumes'] : ['breaks', 'gets ready']) {
    test(`closed by a listener of ${event} while it ${when} it stays closed`, async () => {
      const { timers, server, client } = setup();
      server.create('x', ['alice', 'bob']);
      server.create('y', ['alice', 'bob']);
      const alice = client('alice');
      for (const id of ['x', 'y']) alice.conversation(id).open().catch(() => {});
      alice.connect().catch(() => {});
      let due = when === 'gets ready';
      alice.on(event, () => {
        if (!due || !alice.user) return;
        due = false;
        alice.close();
      });
      await timers.advance(due ? 0 : 5000);
      due = when !== 'gets ready';
      server.socket.lost(1006);
      server.write('x', 'bob', 'missed');
      await timers.advance(60_000);
      assert.deepEqual([alice.state, alice.conversation('x').state, alice.conversation('y').state], ['closed', 'closed', 'closed']);
      assert.deepEqual([server.sockets.length, timers.pending], [when === 'resumes' ? 2 : 1, 0]);
    });
  }
}

test('the worker’s word that comes early makes it wait for the rest', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  await connected('alice', { environment: page });
  const [ticker] = page.tickers;
  timers.jump(-3000);
  await timers.advance(24_000);
  ticker.onmessage({});
  assert.deepEqual([ticker.asked.at(-1), server.asked('ping').length], [4000, 0]);
});

test('a failed message that is sent again keeps its place, and is not lost to a full queue', async () => {
  const { timers, server, client } = setup();
  server.create('x', ['alice', 'bob']);
  const storage = new FakeStorage();
  const kept = Array.from({ length: 3 }, (_, i) => ({ kind: 'message', status: 'failed', error: { code: 'forbidden' }, clientMessageId: `k${i}`, createdAt: 't', senderId: 'alice', senderName: 'alice', conversationId: 'x', content: `kept ${i}` }));
  storage.setItem('parlor:outbox:alice', JSON.stringify(kept));
  const alice = client('alice', { storage, maxQueue: 2 });
  alice.connect();
  await timers.advance(0);
  const x = alice.conversation('x');
  server.intercept = (_socket, type) => type === 'send_message';
  const again = outcome(x.retry('k1'));
  await timers.advance(0);
  assert.deepEqual(x.messages.map((m) => `${m.content} ${m.status}`), ['kept 0 failed', 'kept 1 pending', 'kept 2 failed']);
  assert.equal(server.asked('send_message').length, 1);
  server.intercept = () => false;
  server.socket.lost(1006);
  await timers.advance(5000);
  assert.equal(again.value?.content, 'kept 1');
});

test('a list that is asked for again while it is loaded is loaded once more', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  alice.conversations();
  await timers.advance(0);
  const held = [];
  server.intercept = (socket, type, payload, id) => {
    if (type !== 'load_conversations' || held.length) return false;
    const conversations = [...server.conversations.values()].map((one) => server.summary(one, 'alice'));
    return held.push(() => socket.reply(type, id, { conversations }));
  };
  for (const id of ['x', 'y']) {
    server.create(id, ['alice', 'bob']);
    server.write(id, 'bob', 'hey');
    await timers.advance(0);
  }
  held[0]();
  await timers.advance(1000);
  assert.deepEqual(alice.list.map(({ id }) => id).sort(), ['x', 'y']);
});

test('a list of before one left does not bring it back, joining does', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob', 'carol']).code = 'code';
  const alice = await connected('alice');
  alice.conversations();
  await timers.advance(0);
  const held = [];
  server.intercept = (socket, type, payload, id) => {
    if (type !== 'load_conversations') return false;
    const conversations = [server.summary(server.conversations.get('x'), 'alice')];
    return held.push(() => socket.reply(type, id, { conversations }));
  };
  alice.conversations();
  alice.conversation('x').leave();
  await timers.advance(0);
  held[0]();
  await timers.advance(0);
  assert.deepEqual([alice.conversation('x').state, alice.list.length], ['left', 0]);
  await alice.joinGroup('code').catch(() => {}, await timers.advance(0));
  assert.deepEqual([alice.conversation('x').state, alice.list.length], ['closed', 1]);
});

test('a signal that outlives its requests keeps nothing of them', async () => {
  const { timers, connected } = setup();
  const alice = await connected('alice');
  const { signal } = new AbortController();
  let listeners = 0;
  for (const [name, change] of [['addEventListener', 1], ['removeEventListener', -1]]) {
    const native = signal[name].bind(signal);
    signal[name] = (...all) => ((listeners += change), native(...all));
  }
  for (const content of ['short', 'x'.repeat(70_000)]) {
    const asked = outcome(alice.request('ping', { content }, { signal }));
    await timers.advance(0);
    assert.notEqual(asked.state, 'pending');
  }
  assert.equal(listeners, 0);
});

for (const end of ['close', 'failed']) {
  test(`after ${end} nobody waits for a message, and no conversation is opening`, async () => {
    const { timers, server, opened } = setup();
    server.create('x', ['alice', 'bob']);
    server.create('y', ['alice', 'bob']);
    const { client: alice, conversation: x } = await opened('alice', 'x');
    server.intercept = (_socket, type) => type === 'send_message' || type === 'join_conversation';
    const before = outcome(x.send('before'));
    alice.conversation('y').open().catch(() => {});
    await timers.advance(0);
    if (end === 'close') alice.close();
    else server.socket.closeBy(4503, 'removed');
    await timers.advance(0);
    const after = outcome(x.send('after'));
    await settled();
    assert.deepEqual([before.error?.code, after.error?.code], ['CLOSED', 'CLOSED']);
    assert.deepEqual([x.state, alice.conversation('y').state, timers.pending], ['closed', 'closed', 0]);
    server.intercept = () => false;
    alice.connect();
    await timers.advance(0);
    assert.deepEqual([x.state, alice.conversation('y').state], ['open', 'open'], 'and again after connect');
    assert.deepEqual(x.messages.map((m) => `${m.content} ${m.status}`), ['before sent']);
  });
}

test('closed while it waits to come back, a conversation is closed too', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice, conversation: x } = await opened('alice', 'x');
  server.up = false;
  server.socket.lost(1006);
  await timers.advance(5000);
  assert.equal(x.state, 'opening');
  alice.close();
  assert.equal(x.state, 'closed');
});

test('the newest does not turn back when a reply is before the events', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice, conversation: x } = await opened('alice', 'x');
  const seen = [];
  alice.on('conversation', () => seen.push([x.head, x.lastMessage?.seq ?? 0]));
  const { socket } = server;
  const { raw } = socket;
  const late = [];
  socket.raw = (text) => (text.includes('"message_created"') ? late.push(text) : raw.call(socket, text));
  server.write('x', 'bob', 'one');
  x.send('two');
  await timers.advance(10);
  late.forEach((text) => raw.call(socket, text));
  await timers.advance(10);
  for (const [i, pair] of seen.entries()) assert.ok(!i || (pair[0] >= seen[i - 1][0] && pair[1] >= seen[i - 1][1]), `${seen}`);
  assert.equal(x.head, 2);
});

test('conversations of the same time have one order', async () => {
  const orders = new Set();
  for (const turned of [false, true]) {
    const { timers, server, connected } = setup();
    const all = ['a', 'b', 'c'];
    for (const id of turned ? all.reverse() : all) server.create(id, ['alice', 'bob']);
    const alice = await connected('alice');
    alice.conversations();
    await timers.advance(0);
    orders.add(alice.list.map(({ id }) => id).join());
  }
  assert.equal(orders.size, 1);
});
