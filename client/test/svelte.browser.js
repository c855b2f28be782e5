/** The Svelte entry as a browser gets it: `$chat` and runes. Run by svelte.test.js, with Svelte's browser build. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { derived, fromStore, get } from 'svelte/store';
import { createChat } from '../svelte.js';
import { load } from './support/compiled.js';
import { fakePage, setup } from './support/harness.js';

const RUNES = `
import { flushSync } from 'svelte';
export function watch(read) {
  const seen = [];
  const stop = $effect.root(() => {
    const value = $derived(read());
    $effect(() => { seen.push(value); });
  });
  flushSync();
  return { seen, stop, flushSync };
}
`;

function store(user, options = {}) {
  const world = setup();
  const page = fakePage();
  const chat = createChat({
    url: 'ws://chat.example/ws',
    getToken: () => user,
    WebSocket: world.server.WebSocket,
    timers: world.timers,
    environment: page,
    ...options,
  });
  return { ...world, chat };
}

test('the first subscriber connects, the last one to go hangs up, and a new one connects again', async () => {
  const { chat, timers, server } = store('alice');
  assert.equal(chat.client.state, 'idle');
  let calls = 0;
  const first = chat.subscribe(() => calls++);
  const second = chat.subscribe(() => {});
  await timers.advance(0);
  assert.equal(chat.client.state, 'connected');
  assert.ok(calls > 1);
  first();
  first();
  assert.equal(server.sockets.length, 1);
  second();
  await timers.advance(999);
  const third = chat.subscribe(() => {});
  await timers.advance(5000);
  assert.deepEqual([chat.client.state, server.sockets.length], ['connected', 1], 'one page gives way to the next');
  third();
  await timers.advance(999);
  assert.equal(chat.client.state, 'connected');
  await timers.advance(1);
  assert.equal(chat.client.state, 'closed');
  assert.equal(timers.pending, 0);
  const fourth = chat.subscribe(() => {});
  await timers.advance(0);
  assert.deepEqual([chat.client.state, server.sockets.length], ['connected', 2]);
  fourth();
  chat.client.close();
});

test('after a first connection that was refused, the next one brings the list', async () => {
  let token = 'bad';
  const { chat, timers, server } = store('alice', { getToken: () => token });
  server.create('x', ['alice', 'bob']);
  const off = chat.subscribe(() => {});
  await timers.advance(1000);
  assert.deepEqual([chat.status.state, chat.conversations.length], ['failed', 0]);
  token = 'alice';
  chat.client.connect();
  await timers.advance(10);
  assert.deepEqual([chat.status.state, chat.conversations.map(({ id }) => id)], ['connected', ['x']]);
  off();
  chat.client.close();
});

test('a first list that was refused, or lost with the connection, is asked for again until it is there', async () => {
  const { chat, timers, server } = store('alice');
  server.create('x', ['alice', 'bob']);
  let refusals = 2;
  server.intercept = (socket, type, _payload, requestId) => {
    if (type !== 'load_conversations' || !refusals) return false;
    refusals--;
    socket.refuse(requestId, 'forbidden');
    return true;
  };
  const off = chat.subscribe(() => {});
  await timers.advance(4000);
  assert.deepEqual([server.asked('load_conversations').length, chat.conversations.length], [1, 0]);
  await timers.advance(20_000);
  assert.deepEqual([server.asked('load_conversations').length, chat.conversations.length], [3, 1]);

  // The connection breaks while it is asked for: the new one brings it.
  const other = store('alice');
  other.server.create('x', ['alice', 'bob']);
  let isFirst = true;
  other.server.intercept = (socket, type) => {
    if (type !== 'load_conversations' || !isFirst) return false;
    isFirst = false;
    socket.lost(1006);
    return true;
  };
  const stop = other.chat.subscribe(() => {});
  await other.timers.advance(20_000);
  assert.deepEqual([other.chat.status.state, other.chat.conversations.length], ['connected', 1]);
  for (const end of [off, stop]) end();
  for (const { client } of [chat, other.chat]) client.close();
  await timers.advance(1000);
  assert.equal(timers.pending, 0);
});

test('who comes just after it has failed starts afresh', async () => {
  let token = 'bad';
  const { chat, timers } = store('alice', { getToken: () => token });
  const first = chat.subscribe(() => {});
  await timers.advance(1000);
  assert.equal(chat.status.state, 'failed');
  first();
  await timers.advance(500);
  token = 'alice';
  const second = chat.subscribe(() => {});
  await timers.advance(10);
  assert.equal(chat.status.state, 'connected');
  second();
  chat.client.close();
});

test('it is a store', async () => {
  const { chat, timers, server } = store('alice');
  server.create('x', ['alice', 'bob']);
  server.write('x', 'bob', 'a');
  const unread = derived(chat, ($chat) => $chat.unread);
  const values = [];
  const off = unread.subscribe((value) => values.push(value));
  await timers.advance(10);
  server.write('x', 'bob', 'b');
  await timers.advance(10);
  assert.deepEqual([values[0], values.at(-1), get(unread)], [0, 2, 2]);
  assert.equal(get(chat), chat);
  assert.equal(fromStore(chat).current, chat);
  off();
  chat.client.close();
});

test('runes follow it: state, list, unread counts of the same objects, messages, typing, presence', async () => {
  const { watch } = await load('runes.svelte.js', RUNES, 'client');
  const { chat, timers, server } = store('alice');
  server.create('x', ['alice', 'bob']);
  const state = watch(() => chat.status.state);
  const list = watch(() => chat.conversations.map((c) => `${c.id} ${c.unreadCount}`).join());
  await timers.advance(10);
  state.flushSync();
  assert.deepEqual([state.seen[0], state.seen.at(-1), list.seen.at(-1)], ['idle', 'connected', 'x 0']);

  // One conversation, held on to, as a component in a keyed list does.
  const [conversation] = chat.conversations;
  const count = watch(() => conversation.unreadCount);
  chat.select('x');
  await timers.advance(10);
  const shown = watch(() => chat.messages.map((m) => m.content).join());
  const typing = watch(() => chat.typing.join());
  const online = watch(() => chat.online('bob'));
  server.write('x', 'bob', 'hello');
  server.socket.emit('typing_started', { conversationId: 'x', userId: 'bob', expiresInMs: 6000 });
  server.socket.emit('presence_changed', { userId: 'bob', status: 'online' });
  await timers.advance(10);
  state.flushSync();
  assert.deepEqual([count.seen, shown.seen, typing.seen, online.seen].map((seen) => seen.at(-1)), [1, 'hello', 'bob', true]);
  chat.send('hi');
  chat.markRead();
  state.flushSync();
  await timers.advance(10);
  state.flushSync();
  assert.deepEqual([shown.seen.at(-1), count.seen.at(-1), chat.unread, chat.current.id], ['hello,hi', 0, 0, 'x']);
  for (const watched of [state, list, count, shown, typing, online]) watched.stop();
  await timers.advance(1000);
  assert.equal(chat.client.state, 'closed');
});

test('the newest conversations are open, those far behind are not, the selected one always', async () => {
  const { chat, timers, server } = store('alice', { autoOpen: 2 });
  for (let i = 0; i < 8; i++) {
    server.create(`c${i}`, ['alice', 'bob']);
    await timers.advance(10);
  }
  const off = chat.subscribe(() => {});
  await timers.advance(10);
  const open = () => chat.conversations.filter((c) => c.state === 'open').map((c) => c.id);
  assert.deepEqual(open(), ['c7', 'c6']);
  chat.select('c0');
  await timers.advance(10);
  for (const id of ['c1', 'c2', 'c3', 'c4']) {
    server.write(id, 'bob', 'news');
    await timers.advance(10);
  }
  assert.deepEqual(open(), ['c4', 'c3', 'c2', 'c1', 'c0']);
  off();
  chat.client.close();
});

test('a selected conversation shows a screenful, also where it was open for its presence only', async () => {
  const { chat, timers, server } = store('alice');
  server.create('x', ['alice', 'bob']);
  for (let i = 0; i < 100; i++) server.write('x', 'bob', `n${i}`);
  const off = chat.subscribe(() => {});
  await timers.advance(10);
  assert.equal(chat.conversations[0].messages.length, 1);
  chat.select('x');
  await timers.advance(10);
  assert.deepEqual([chat.messages.length, chat.hasOlder], [51, true]);
  chat.select(null);
  assert.deepEqual([chat.current, chat.messages], [null, []]);
  assert.throws(() => chat.send('to nobody'), /no conversation is selected/);
  off();
  chat.client.close();
});

test('what is selected before it is connected opens when it is', async () => {
  const { chat, timers, server } = store('alice');
  server.create('x', ['alice', 'bob']);
  server.write('x', 'bob', 'a');
  await chat.select('x');
  assert.equal(chat.current.state, 'opening');
  const off = chat.subscribe(() => {});
  await timers.advance(10);
  assert.deepEqual([chat.current.state, chat.messages.length], ['open', 1]);
  off();
  chat.client.close();
});
