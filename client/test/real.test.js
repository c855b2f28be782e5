/** Against the real server: two people chat, and it is killed, drained and stalled under them. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import WebSocket from 'ws';
import { ChatClient } from '../chat.js';
import { binary, Parlor } from './support/parlor.js';

const DEADLINE_MS = 20_000;
const skip = binary() ? false : 'no server was built, and PARLOR_BINARY names none';

/** Waits until something is so, and says what was not if it never is. */
async function until(what, holds) {
  for (const end = Date.now() + DEADLINE_MS; !(await holds()); ) {
    assert.ok(Date.now() < end, `in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function setup(flags) {
  const parlor = new Parlor(flags);
  const clients = [];
  after(async () => {
    clients.forEach((client) => client.close());
    await parlor.remove();
  });
  await parlor.start();
  const connect = async (user, options) => {
    const client = new ChatClient({ url: parlor.url, getToken: () => parlor.token(user), WebSocket, maxQueue: 1000, ...options });
    clients.push(client);
    await client.connect();
    return client;
  };
  return { parlor, connect };
}

/** All messages of a conversation, as a newcomer loads them. */
async function logOf(connect, user, id) {
  const client = await connect(user);
  const conversation = client.conversation(id);
  await conversation.open({ limit: 200 });
  while (conversation.hasOlder) await conversation.loadOlder(200);
  client.close();
  return conversation.messages.map((m) => `${m.seq} ${m.content}`);
}

const shown = (conversation) => conversation.messages.map((m) => `${m.seq} ${m.content}`);

test('two people chat', { skip }, async () => {
  const { connect } = await setup();
  const [alice, bob] = [await connect('alice'), await connect('bob')];
  await Promise.all([alice.conversations(), bob.conversations()]);
  const a = await alice.createConversation(['bob']);
  await until('bob sees the conversation', () => bob.list.length === 1);
  const b = bob.list[0];
  assert.deepEqual([b.id, b.kind, b.title], [a.id, 'direct', 'ALICE']);
  await Promise.all([a.open(), b.open()]);
  assert.deepEqual([a.state, a.partner.name, alice.status('bob').online], ['open', 'BOB', true]);

  a.typing();
  await until('bob sees alice typing', () => b.typists.includes('alice'));
  const message = await a.send('Hello, Bob!');
  assert.equal(message.seq, 1);
  await until('bob gets it', () => b.messages.length === 1);
  assert.deepEqual([b.messages[0].content, b.unreadCount, bob.list[0].lastMessage.content, b.typists], ['Hello, Bob!', 1, 'Hello, Bob!', []]);
  await b.markRead();
  assert.equal(b.unreadCount, 0);
  await until('alice sees that bob has read it', () => a.readBy(1).length === 1);
  await b.send('Hi!', { replyTo: message.id });
  await until('alice gets the answer', () => a.messages.length === 2);
  assert.equal(a.messages[1].replyTo, message.id);

  const group = await alice.createGroup('Lunch');
  const joined = await bob.joinGroup(group.inviteCode);
  assert.deepEqual([joined.id, joined.title, joined.kind], [group.id, 'Lunch', 'group']);
  await group.open();
  await joined.leave();
  await until('alice sees bob leave', () => group.messages.at(-1)?.kind === 'left');
  assert.ok(!bob.list.includes(joined));

  await assert.rejects(alice.request('send_message', { conversationId: a.id, content: 'x', clientMessageId: a.messages[0].clientMessageId }), { code: 'conflict', retryable: false });
  await assert.rejects(bob.joinGroup('wrong'), { code: 'not_found' });
  const long = await a.send('x'.repeat(4001)).catch((error) => error);
  assert.equal(long.code, 'too_large');
  assert.equal(a.messages.at(-1).status, 'failed');
  bob.close();
  await until('alice sees bob go', () => alice.status('bob')?.online === false);
});

test('a server that is killed under them, again and again, loses and doubles nothing', { skip }, async () => {
  const { parlor, connect } = await setup();
  const people = [await connect('alice'), await connect('bob')];
  const { id } = await people[0].createConversation(['bob']);
  await Promise.all(people.map((person) => person.conversation(id).open()));
  const sent = people.map(() => []);
  const write = (rounds) =>
    people.forEach((person, who) => {
      for (let i = 0; i < rounds; i++) sent[who].push(person.conversation(id).send(`${who} ${sent[who].length}`));
    });
  for (let kill = 0; kill < 3; kill++) {
    write(8);
    await until('some are through', () => people[0].conversation(id).head >= kill * 16 + 3);
    await parlor.kill();
    write(4);
    await parlor.start();
    people.forEach((person) => person.retry());
    await until('they are back', () => people.every((person) => person.state === 'connected'));
  }
  const stored = (await Promise.all(sent.flat())).map((message) => message.seq);
  assert.equal(new Set(stored).size, 72, 'each has a place of its own');
  const log = await logOf(connect, 'alice', id);
  assert.equal(log.length, 72);
  for (const who of [0, 1]) {
    const own = log.map((line) => line.split(' ').slice(1).join(' ')).filter((content) => content.startsWith(`${who} `));
    assert.deepEqual(own, sent[who].map((_, i) => `${who} ${i}`), 'in the order of sending');
  }
  for (const person of people) {
    await until('everybody has everything', () => person.conversation(id).messages.length === 72);
    assert.deepEqual(shown(person.conversation(id)), log);
  }
});

test('a server that is stopped and started again is waited for as it says', { skip }, async () => {
  const { parlor, connect } = await setup({ '--drain-time': '5s' });
  const [alice, bob] = [await connect('alice'), await connect('bob')];
  const { id } = await alice.createConversation(['bob']);
  await Promise.all([alice, bob].map((person) => person.conversation(id).open()));
  const reasons = [];
  alice.on('state', ({ reason }) => reason && reasons.push(reason.code));
  const sent = Array.from({ length: 10 }, (_, i) => alice.conversation(id).send(`n${i}`));
  await parlor.terminate();
  await until('alice knows why', () => alice.state === 'reconnecting');
  assert.equal(reasons[0], 'draining');
  sent.push(alice.conversation(id).send('while it was away'));
  await parlor.start();
  await Promise.all(sent);
  await until('bob has all', () => bob.conversation(id).messages.length === 11);
  assert.deepEqual(shown(bob.conversation(id)), [...Array.from({ length: 10 }, (_, i) => `${i + 1} n${i}`), '11 while it was away']);
  await until('alice too', () => alice.conversation(id).messages.length === 11);
  assert.deepEqual(shown(alice.conversation(id)), shown(bob.conversation(id)));
});

test('a reader that was too slow is cut off, comes back and has everything', { skip }, async () => {
  const { parlor, connect } = await setup({ '--max-outbox-bytes': '64k' });
  /** The sockets of the slow one. */
  const sockets = [];
  class Slow extends WebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
    }
  }
  const [alice, bob] = [await connect('alice'), await connect('bob', { WebSocket: Slow })];
  const { id } = await alice.createConversation(['bob', 'carol']);
  const conversation = bob.conversation(id);
  await conversation.open();
  const reasons = [];
  bob.on('state', ({ reason }) => reason && reasons.push(reason.code));
  sockets[0].pause();
  // More than the kernel holds for a socket.
  const written = await flood(parlor, 'carol', id, 2400);
  sockets[0].resume();
  await until('bob is told', () => reasons.length > 0);
  assert.equal(reasons[0], 'slow_consumer');
  await until('bob is back', () => bob.state === 'connected' && conversation.state === 'open' && conversation.head === written);
  while (conversation.hasOlder) await conversation.loadOlder(200);
  assert.deepEqual(conversation.messages.map((m) => m.seq), Array.from({ length: written }, (_, i) => i + 1));
  assert.ok(conversation.messages.every((m, i) => m.content.startsWith(`${i} `)));
});

/** So many long messages, faster than a client's own allowance would have it. */
async function flood(parlor, user, conversationId, count) {
  const token = await parlor.token(user);
  const socket = new WebSocket(parlor.url);
  const content = 'x'.repeat(3900);
  let next = 0;
  const send = () => {
    if (next < count) socket.send(JSON.stringify({ type: 'send_message', requestId: 's', payload: { conversationId, content: `${next++} ${content}` } }));
  };
  socket.onopen = () => socket.send(JSON.stringify({ type: 'auth', requestId: 'a', payload: { token } }));
  await new Promise((resolve, reject) => {
    let answered = 0;
    socket.onerror = reject;
    socket.onmessage = ({ data }) => {
      const { type, requestId } = JSON.parse(data);
      if (type === 'error') reject(new Error(data));
      if (type === 'auth') for (let i = 0; i < 32; i++) send();
      if (requestId !== 's') return;
      send();
      if (++answered === count) resolve();
    };
  });
  socket.close();
  return count;
}
