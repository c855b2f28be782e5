/** One conversation, live: catching up, who is there, who types, who has read what. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcome, setup, shown } from './support/harness.js';

test('opening gives what is there, and then what comes', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  for (let i = 1; i <= 60; i++) server.write('x', 'bob', `n${i}`);
  const { client: alice, conversation } = await opened('alice', 'x');
  assert.deepEqual([conversation.state, conversation.kind, conversation.head, conversation.unreadCount], ['open', 'direct', 60, 60]);
  assert.deepEqual([conversation.messages.length, conversation.messages[0].seq, conversation.hasOlder], [50, 11, true]);
  assert.deepEqual(conversation.members.map((m) => [m.userId, m.online]), [['alice', true], ['bob', false]]);
  assert.equal(conversation.partner.userId, 'bob');
  const heard = [];
  alice.on('message', ({ conversation: where, message }) => heard.push([where.id, message.content]));
  const before = conversation.messages;
  server.write('x', 'bob', 'live');
  await timers.advance(0);
  assert.notEqual(conversation.messages, before);
  assert.deepEqual([heard, conversation.unreadCount, conversation.lastMessage.content, conversation.head], [[['x', 'live']], 61, 'live', 61]);
  await conversation.open();
  assert.equal(server.asked('join_conversation').length, 1, 'opening twice is opening once');
});

test('older pages come one at a time, until there are none', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  for (let i = 1; i <= 120; i++) server.write('x', 'bob', `n${i}`);
  const { conversation } = await opened('alice', 'x');
  const [first, second] = [conversation.loadOlder(), conversation.loadOlder()];
  assert.equal(first, second);
  await timers.advance(0);
  assert.deepEqual([await first, conversation.messages.length], [true, 100]);
  const last = outcome(conversation.loadOlder());
  await timers.advance(0);
  assert.deepEqual([last.value, conversation.hasOlder, conversation.messages.length], [false, false, 120]);
  assert.deepEqual(conversation.messages.map((m) => m.seq), Array.from({ length: 120 }, (_, i) => i + 1));
});

test('after a break it resumes where it was, and what was missed is told like what is live', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  server.write('x', 'bob', 'a');
  const { client: alice, conversation } = await opened('alice', 'x');
  const heard = [];
  alice.on('message', ({ message }) => heard.push(message.content));
  server.socket.lost();
  assert.equal(conversation.state, 'opening');
  server.write('x', 'bob', 'b');
  server.write('x', 'bob', 'c');
  await timers.advance(1000);
  assert.deepEqual(server.asked('join_conversation').at(-1).since, { epoch: 'e1', seq: 1 });
  assert.deepEqual([conversation.state, shown(conversation), heard, conversation.unreadCount], ['open', ['1 a sent', '2 b sent', '3 c sent'], ['b', 'c'], 3]);
});

test('where too much was missed it begins anew, and keeps what is not sent', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  server.limits.recoveryLimit = 3;
  server.write('x', 'bob', 'old');
  const { conversation } = await opened('alice', 'x');
  server.intercept = (socket, type) => type === 'send_message' && (socket.lost(), true);
  conversation.send('mine');
  await timers.advance(0);
  for (let i = 0; i < 60; i++) server.write('x', 'bob', `n${i}`);
  server.intercept = (_socket, type) => type === 'send_message';
  await timers.advance(1000);
  assert.deepEqual([conversation.messages.length, conversation.messages[0].content, shown(conversation).at(-1), conversation.hasOlder], [51, 'n10', '- mine pending', true]);
});

test('another history replaces everything, also what was acknowledged in the old one', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice, conversation } = await opened('alice', 'x');
  alice.conversations();
  for (const text of ['a', 'b', 'c']) server.write('x', 'bob', text);
  await timers.advance(0);
  conversation.markRead();
  await timers.advance(0);
  server.epoch = 'e2';
  server.conversations.clear();
  server.create('x', ['alice', 'bob']);
  server.write('x', 'bob', 'anew');
  server.socket.lost();
  await timers.advance(1000);
  assert.deepEqual([shown(conversation), conversation.head, conversation.unreadCount, conversation.readSeq], [['1 anew sent'], 1, 1, 0]);
  server.write('x', 'bob', 'more');
  await timers.advance(0);
  assert.deepEqual(shown(conversation), ['1 anew sent', '2 more sent']);
});

test('a gap makes it resume, and nothing is lost or doubled by that', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  server.delay = () => 10;
  const { conversation } = await opened('alice', 'x');
  await timers.advance(100);
  const { socket } = server;
  const { emit } = socket;
  // The event of the second message is lost.
  server.write('x', 'bob', '1');
  socket.emit = () => {};
  server.write('x', 'bob', '2');
  socket.emit = emit;
  server.write('x', 'bob', '3');
  await timers.advance(10);
  server.write('x', 'bob', '4');
  await timers.advance(5);
  server.write('x', 'bob', '5');
  await timers.advance(100);
  assert.deepEqual(shown(conversation), ['1 1 sent', '2 2 sent', '3 3 sent', '4 4 sent', '5 5 sent']);
  assert.deepEqual(server.asked('join_conversation').map((p) => p.since?.seq), [undefined, 1]);
});

test('an event past a gap that the resume does not cover makes it resume again, and an event of nowhere not for ever', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  server.write('x', 'bob', '1');
  server.socket.emit('message_created', { ...server.write('x', 'bob', '2').message, seq: 1e9, id: 'odd' });
  await timers.advance(1000);
  assert.deepEqual(shown(conversation), ['1 1 sent', '2 2 sent']);
  assert.ok(server.asked('join_conversation').length <= 3);
});

test('what came past the end of a resume is resumed as well', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const { socket } = server;
  const { emit } = socket;
  socket.emit = () => {};
  server.write('x', 'bob', '1');
  socket.emit = emit;
  // The join is answered with what there is, but later than an event that it does not have.
  server.intercept = (from, type, payload, id) => {
    if (type !== 'join_conversation') return false;
    server.intercept = () => false;
    const { reply } = from;
    from.reply = (...answer) => {
      from.reply = reply;
      server.write('x', 'bob', '3');
      reply.apply(from, answer);
    };
    server.handle(from, JSON.stringify({ type, requestId: id, payload }));
    return true;
  };
  server.write('x', 'bob', '2');
  await timers.advance(10);
  assert.deepEqual(shown(conversation), ['1 1 sent', '2 2 sent', '3 3 sent']);
});

test('what is known is ignored', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const { message } = server.write('x', 'bob', 'once');
  for (let i = 0; i < 3; i++) server.socket.emit('message_created', message);
  await timers.advance(0);
  assert.deepEqual([shown(conversation), conversation.unreadCount, server.asked('join_conversation').length], [['1 once sent'], 1, 1]);
});

test('many conversations are joined again newest first, a few at a time', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  for (let i = 0; i < 250; i++) {
    server.create(`c${i}`, ['alice', 'bob']);
    alice.conversation(`c${i}`).open();
    await timers.advance(50);
  }
  await timers.advance(20_000);
  server.requests.length = 0;
  const tokens = { left: 100, at: timers.now() };
  let refused = 0;
  const unanswered = new Set();
  server.delay = () => 1;
  server.intercept = (socket, type, payload, id) => {
    tokens.left = Math.min(100, tokens.left + ((timers.now() - tokens.at) * 30) / 1000);
    tokens.at = timers.now();
    if (type !== 'join_conversation') return false;
    unanswered.add(id);
    assert.ok(unanswered.size <= 8, 'a join counts as eight of sixty-four');
    const { reply } = socket;
    socket.reply = (...answer) => (unanswered.delete(answer[1]), reply.apply(socket, answer));
    if (tokens.left >= 1) return void tokens.left--;
    refused++;
    unanswered.delete(id);
    socket.refuse(id, 'rate_limited', { retryAfterMs: 40 });
    return true;
  };
  server.socket.lost();
  await timers.advance(20_000);
  const joined = server.asked('join_conversation').map((p) => p.conversationId);
  assert.equal(new Set(joined).size, 250);
  assert.ok(refused < 100, `${refused} refusals`);
  assert.equal(joined[0], 'c249');
  assert.ok([...Array(250).keys()].every((i) => alice.conversation(`c${i}`).state === 'open'));
});

test('a join that is refused for now is tried again, one that is refused for good says so', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  let refusals = 2;
  server.intercept = (socket, type, _payload, id) => type === 'join_conversation' && refusals-- > 0 && (socket.refuse(id, 'unavailable'), true);
  const open = outcome(alice.conversation('x').open());
  await timers.advance(0);
  assert.equal(alice.conversation('x').state, 'opening');
  await timers.advance(10_000);
  assert.deepEqual([open.state, alice.conversation('x').state], ['resolved', 'open']);
  const none = outcome(alice.conversation('none').open());
  await timers.advance(0);
  assert.deepEqual([none.error.code, alice.conversation('none').state], ['not_found', 'left']);
  server.intercept = (socket, type, _payload, id) => type === 'join_conversation' && (socket.refuse(id, 'limit_exceeded'), true);
  server.create('y', ['alice', 'bob']);
  const full = outcome(alice.conversation('y').open());
  await timers.advance(0);
  assert.deepEqual([full.error.code, alice.conversation('y').state], ['limit_exceeded', 'closed']);
});

test('a join that is not answered is asked for again', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = await connected('alice');
  let swallowed = 0;
  server.intercept = (_socket, type) => type === 'join_conversation' && swallowed++ === 0;
  const open = outcome(alice.conversation('x').open());
  await timers.advance(40_000);
  assert.deepEqual([open.state, alice.conversation('x').state], ['resolved', 'open']);
});

test('opening while offline rejects, and happens once it is connected', async () => {
  const { timers, server, client } = setup();
  server.create('x', ['alice', 'bob']);
  const alice = client('alice');
  const conversation = alice.conversation('x');
  const open = outcome(conversation.open());
  await timers.advance(0);
  assert.deepEqual([open.error.code, conversation.state], ['DISCONNECTED', 'opening']);
  alice.connect();
  await timers.advance(0);
  assert.equal(conversation.state, 'open');
});

test('a closed one stays closed, keeps what it has, and catches up when it is opened again', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  server.write('x', 'bob', 'a');
  const { client: alice, conversation } = await opened('alice', 'x');
  conversation.close();
  await timers.advance(0);
  server.write('x', 'bob', 'b');
  server.socket.lost();
  await timers.advance(1000);
  assert.deepEqual([conversation.state, shown(conversation), alice.status('bob')], ['closed', ['1 a sent'], undefined]);
  conversation.open();
  await timers.advance(0);
  assert.deepEqual(shown(conversation), ['1 a sent', '2 b sent']);
  // Closed and opened before either is answered.
  server.delay = () => 10;
  conversation.close();
  conversation.open();
  server.write('x', 'bob', 'c');
  await timers.advance(100);
  assert.deepEqual([conversation.state, shown(conversation).at(-1)], ['open', '3 c sent']);
  // And the other way round.
  conversation.close();
  await timers.advance(100);
  conversation.open();
  conversation.close();
  await timers.advance(100);
  assert.equal(conversation.state, 'closed');
});

test('a first open that is closed before its answer ends closed', async () => {
  const { timers, server, connected } = setup();
  server.create('x', ['alice', 'bob']);
  server.delay = () => 10;
  const alice = await connected('alice');
  await timers.advance(100);
  const open = outcome(alice.conversation('x').open());
  alice.conversation('x').close();
  await timers.advance(100);
  assert.deepEqual([open.error?.code, alice.conversation('x').state], ['CLOSED', 'closed']);
  server.write('x', 'bob', 'a');
  await timers.advance(100);
  assert.equal(alice.conversation('x').messages.length, 0);
});

test('others who type are shown until they stop, write, leave, or are silent for as long as the server says', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob', 'carol']);
  const { conversation } = await opened('alice', 'x');
  const { socket } = server;
  const start = (userId, expiresInMs = 6000) => socket.emit('typing_started', { conversationId: 'x', userId, expiresInMs });
  start('bob');
  start('carol', 3000);
  start('alice');
  await timers.advance(0);
  assert.deepEqual(conversation.typists, ['bob', 'carol']);
  await timers.advance(3000);
  assert.deepEqual(conversation.typists, ['bob']);
  start('bob');
  await timers.advance(5999);
  assert.deepEqual(conversation.typists, ['bob'], 'each one counts anew');
  await timers.advance(1);
  assert.deepEqual(conversation.typists, []);
  start('bob');
  server.write('x', 'bob', 'done');
  await timers.advance(0);
  assert.deepEqual(conversation.typists, []);
  start('bob');
  socket.emit('typing_stopped', { conversationId: 'x', userId: 'bob' });
  await timers.advance(0);
  assert.deepEqual(conversation.typists, []);
  start('bob');
  await timers.advance(0);
  server.socket.lost();
  assert.deepEqual(conversation.typists, [], 'nobody is known to type while it is not connected');
  server.conversations.get('x').typing.add('carol').add('alice');
  await timers.advance(1000);
  assert.deepEqual(conversation.typists, ['carol']);
});

test('one’s own typing is told at most every 3 s, and ended by itself, by an empty field, or by sending', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const told = () => [server.asked('typing_start').length, server.asked('typing_stop').length];
  for (let i = 0; i < 70; i++) {
    conversation.typing();
    await timers.advance(100);
  }
  assert.deepEqual(told(), [3, 0]);
  await timers.advance(5000);
  assert.deepEqual(told(), [3, 1]);
  conversation.typing();
  conversation.typing(false);
  conversation.typing(false);
  await timers.advance(10_000);
  assert.deepEqual(told(), [4, 2]);
  conversation.typing();
  conversation.send('Hello');
  await timers.advance(10_000);
  assert.deepEqual(told(), [5, 2], 'the server ends it when it gets the message');
  server.up = false;
  server.socket.lost();
  conversation.typing();
  await timers.advance(10_000);
  assert.deepEqual(told(), [5, 2]);
});

test('members’ presence, marks, comings and goings are kept live', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob'], { kind: 'group' });
  const { client: alice, conversation } = await opened('alice', 'x');
  const { socket } = server;
  const presence = [];
  alice.on('presence', (event) => presence.push(event));
  socket.emit('presence_changed', { userId: 'bob', status: 'online' });
  await timers.advance(0);
  assert.deepEqual([alice.status('bob').online, alice.status('nobody')], [true, undefined]);
  socket.emit('presence_changed', { userId: 'bob', status: 'offline', lastSeenAt: 't' });
  await timers.advance(0);
  assert.deepEqual([alice.status('bob').online, alice.status('bob').lastSeenAt], [false, 't']);
  assert.equal(presence.length, 2);
  server.write('x', 'alice', 'a');
  server.write('x', 'alice', 'b');
  socket.emit('message_read', { conversationId: 'x', userId: 'bob', seq: 1 });
  await timers.advance(0);
  assert.deepEqual([1, 2].map((seq) => conversation.readBy(seq).map((m) => m.userId)), [['bob'], []]);
  const members = server.conversations.get('x');
  members.members.set('carol', { readSeq: 3 });
  server.append(members, 'member_joined', { userId: 'carol', name: 'Carol' });
  await timers.advance(0);
  assert.deepEqual([conversation.members.map((m) => m.userId), conversation.memberCount], [['alice', 'bob', 'carol'], 3]);
  assert.equal(shown(conversation).at(-1), '3 carol joined sent');
  server.append(members, 'member_left', { userId: 'bob', name: 'Bob' });
  await timers.advance(0);
  assert.deepEqual([conversation.members.map((m) => m.userId), conversation.memberCount, shown(conversation).at(-1)], [['alice', 'carol'], 2, '4 bob left sent']);
  assert.equal(conversation.unreadCount, 0, 'comings and goings do not count');
});

test('marking is shown at once, told once for many, and corrected by the answer', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  for (let i = 0; i < 5; i++) server.write('x', 'bob', `n${i}`);
  const { conversation } = await opened('alice', 'x');
  server.delay = () => 10;
  const all = [1, 2, 3, 5, 4].map((seq) => outcome(conversation.markRead(seq)));
  assert.equal(conversation.unreadCount, 0);
  server.write('x', 'bob', 'meanwhile');
  await timers.advance(100);
  assert.deepEqual(server.asked('mark_read').map((p) => p.seq), [1, 5]);
  assert.deepEqual(all.map((r) => r.state), all.map(() => 'resolved'));
  assert.deepEqual([conversation.readSeq, conversation.unreadCount], [5, 1]);
  await conversation.markRead(3);
  assert.equal(server.asked('mark_read').length, 2, 'what is read is read');
  const newest = outcome(conversation.markRead());
  await timers.advance(100);
  assert.deepEqual([newest.state, conversation.unreadCount, conversation.readSeq], ['resolved', 0, 6]);
});

test('a mark made offline is told when it is back', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  server.write('x', 'bob', 'a');
  const { conversation } = await opened('alice', 'x');
  server.socket.lost();
  const mark = outcome(conversation.markRead());
  assert.equal(conversation.unreadCount, 0);
  await timers.advance(1000);
  assert.deepEqual([mark.error.code, server.conversations.get('x').members.get('alice').readSeq, conversation.unreadCount], ['DISCONNECTED', 1, 0]);
});

test('what is read on another device counts here', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  for (let i = 0; i < 5; i++) server.write('x', 'bob', `n${i}`);
  const { conversation } = await opened('alice', 'x');
  server.socket.emit('message_read', { conversationId: 'x', userId: 'alice', seq: 3 });
  await timers.advance(0);
  assert.deepEqual([conversation.readSeq, conversation.unreadCount], [3, 2]);
  server.socket.emit('message_read', { conversationId: 'x', userId: 'alice', seq: 5 });
  await timers.advance(0);
  assert.equal(conversation.unreadCount, 0);
});

test('leaving takes it off the list, here and on other devices', async () => {
  const { timers, server, opened } = setup();
  const group = server.create('g', ['alice', 'bob'], { kind: 'group', title: 'Lunch' });
  const { client: alice, conversation } = await opened('alice', 'g');
  const { conversation: elsewhere, client: other } = await opened('alice', 'g');
  assert.equal(alice.list.length, 1);
  const left = outcome(conversation.leave());
  await timers.advance(0);
  assert.deepEqual([left.state, conversation.state, alice.list, elsewhere.state, other.list], ['resolved', 'left', [], 'left', []]);
  group.code = 'code';
  const back = outcome(alice.joinGroup('code'));
  await timers.advance(0);
  assert.deepEqual([back.value, alice.list, conversation.state], [conversation, [conversation], 'closed']);
});
