/** The list of conversations: loaded, kept up to date, corrected. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChatClient, STATES } from '../chat.js';
import { outcome, setup } from './support/harness.js';

const ids = (list) => list.map((conversation) => conversation.id);

test('conversations come by pages, latest activity first, with their unread counts', async () => {
  const { timers, server, connected } = setup();
  for (let i = 0; i < 5; i++) {
    server.create(`c${i}`, ['alice', 'bob']);
    await timers.advance(10);
  }
  server.write('c1', 'bob', 'news');
  const alice = await connected('alice');
  const page = outcome(alice.conversations({ limit: 2 }));
  await timers.advance(0);
  assert.deepEqual([ids(page.value), page.value === alice.list, alice.hasMoreConversations], [['c1', 'c4'], true, true]);
  assert.deepEqual([alice.list[0].unreadCount, alice.list[0].lastMessage.content], [1, 'news']);
  for (let i = 0; i < 3; i++) {
    alice.conversations({ limit: 2, more: true });
    await timers.advance(0);
  }
  assert.deepEqual([ids(alice.list), alice.hasMoreConversations, server.asked('load_conversations').length], [['c1', 'c4', 'c3', 'c2', 'c0'], false, 3]);
  assert.equal(alice.conversation('c3'), alice.list[2], 'one object for an id');
});

test('what is new shows by itself: created by others, activity of known and of unknown ones', async () => {
  const { timers, server, connected } = setup();
  server.create('old', ['alice', 'bob']);
  const alice = await connected('alice');
  const bob = await connected('bob');
  alice.conversations();
  await timers.advance(10);
  bob.createConversation(['alice'], { title: 'Plans' });
  await timers.advance(10);
  assert.deepEqual(alice.list.map((c) => [c.id, c.title]), [['c2', 'Plans'], ['old', '']]);
  server.write('old', 'bob', 'hey');
  await timers.advance(10);
  assert.deepEqual(alice.list.map((c) => [c.id, c.unreadCount]), [['old', 1], ['c2', 0]]);
  // Joined on another device: only its activity tells.
  server.create('new', ['alice', 'bob', 'carol']);
  await timers.advance(10);
  server.write('new', 'bob', 'one');
  server.write('new', 'bob', 'two');
  await timers.advance(10);
  assert.deepEqual(ids(alice.list), ['new', 'old', 'c2']);
  assert.equal(server.asked('load_conversations').length, 3, 'asked at once, and once more for all that came meanwhile');
});

test('activity that is late does not turn anything back', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { conversation } = await opened('alice', 'x');
  const { message } = server.write('x', 'bob', 'a');
  server.write('x', 'bob', 'b');
  server.socket.emit('conversation_activity', { conversationId: 'x', head: 1, lastMessage: message, unreadCount: 1 });
  await timers.advance(0);
  assert.deepEqual([conversation.head, conversation.lastMessage.content, conversation.unreadCount], [2, 'b', 2]);
});

test('after a break the list is loaded again, and what is no longer one’s own is off as soon as it is opened', async () => {
  const { timers, server, connected } = setup();
  for (const id of ['a', 'b', 'c']) {
    server.create(id, ['alice', 'bob', 'carol']);
    await timers.advance(10);
  }
  const alice = await connected('alice');
  alice.conversations();
  alice.conversation('b').open();
  await timers.advance(0);
  assert.deepEqual(ids(alice.list), ['c', 'b', 'a']);
  server.socket.lost();
  server.conversations.get('b').members.delete('alice');
  await timers.advance(10);
  server.write('a', 'bob', 'missed');
  server.create('d', ['alice', 'bob', 'carol']);
  await timers.advance(1000);
  assert.equal(alice.state, 'connected');
  assert.deepEqual([new Set(ids(alice.list)), alice.conversation('b').state], [new Set(['d', 'a', 'c']), 'left']);
  assert.equal(alice.conversation('a').unreadCount, 1);
});

test('a list that was never asked for is not loaded', async () => {
  const { timers, server, connected } = setup();
  await connected('alice');
  server.socket.lost();
  await timers.advance(1000);
  assert.equal(server.asked('load_conversations').length, 0);
});

test('creating and joining give conversations that are listed', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  const bob = await connected('bob');
  const group = outcome(alice.createGroup('Lunch', []));
  await timers.advance(0);
  assert.deepEqual([group.value.title, group.value.inviteCode, ids(alice.list)], ['Lunch', 'code-c1', ['c1']]);
  const joined = outcome(bob.joinGroup('code-c1'));
  await timers.advance(0);
  assert.deepEqual([joined.value.id, ids(bob.list)], ['c1', ['c1']]);
  const [first, second] = [alice.createConversation(['bob']), alice.createConversation(['bob'])].map(outcome);
  await timers.advance(0);
  assert.equal(first.value, second.value);
  assert.equal(server.conversations.size, 2);
});

test('changes are told one by one, and once for all of them together', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const { client: alice } = await opened('alice', 'x');
  const told = { conversation: 0, list: 0, change: 0 };
  const undo = Object.keys(told).map((event) => alice.on(event, () => told[event]++));
  const send = server.socket.onmessage;
  const frames = [];
  server.socket.onmessage = (frame) => frames.push(frame);
  for (let i = 0; i < 10; i++) server.write('x', 'bob', `n${i}`);
  await timers.advance(0);
  frames.forEach((frame) => send(frame));
  await timers.advance(0);
  assert.ok(told.conversation >= 10 && told.list >= 10);
  assert.equal(told.change, 1);
  undo.forEach((off) => off());
  server.write('x', 'bob', 'unheard');
  await timers.advance(0);
  assert.equal(told.change, 1);
});

test('it can be made where there is no page, no socket and no address, and does nothing then', () => {
  const client = new ChatClient({ url: '/ws', getToken: () => 'alice' });
  assert.equal(client.state, 'idle');
  assert.ok(Object.isFrozen(STATES) && STATES.includes('idle'));
  client.close();
});
