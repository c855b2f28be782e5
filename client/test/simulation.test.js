/**
 * Two people write over connections that break in every way, for hundreds of seeds. In the end both see exactly the server's log,
 * and whatever they sent is in it once, in the order in which they sent it.
 *
 * `PARLOR_SEED=17` runs one, `PARLOR_SEEDS=5000` that many.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChatClient } from '../chat.js';
import { FakeStorage } from './support/harness.js';
import { FakeServer } from './support/server.js';
import { ManualTimers, seeded } from './support/timers.js';

const STEPS = 120;
const seeds = process.env.PARLOR_SEED ? [Number(process.env.PARLOR_SEED)] : Array.from({ length: Number(process.env.PARLOR_SEEDS ?? 200) }, (_, i) => i + 1);

/** One side: a client that may be replaced, as a page is when it is loaded again. */
class Person {
  storage = new FakeStorage();
  sent = [];
  resolved = [];
  lastId = 0;

  constructor(world, name) {
    this.world = world;
    this.name = name;
    this.load();
  }

  load() {
    const { server, timers, random } = this.world;
    this.client?.close();
    this.client = new ChatClient({
      url: 'ws://chat.example/ws',
      getToken: () => (random() < 0.1 ? Promise.reject(new Error('the app is down')) : this.name),
      WebSocket: server.WebSocket,
      timers,
      random,
      randomId: () => `${this.name}-${++this.lastId}`,
      storage: this.storage,
      maxQueue: 1000,
      environment: { window: undefined, document: undefined },
    });
    this.x = this.client.conversation('x');
    this.y = this.client.conversation('y');
    this.client.connect().catch(() => {});
    this.open(true);
    if (this.name === 'bob') this.y.open().catch(() => {});
  }

  /** Opens or closes x. */
  open(wanted) {
    this.wanted = wanted;
    (wanted ? this.x.open() : this.x.close()).catch(() => {});
  }

  /** The first words are sent when it is known whose they are, or a reload could not keep them. */
  send(conversation) {
    if (!this.client.user) return;
    const content = `${this.name} ${this.sent.length}`;
    this.sent.push({ id: conversation.id, content });
    conversation.send(content).then(
      (message) => this.resolved.push(message),
      () => {},
    );
  }
}

class World {
  timers = new ManualTimers();
  server = new FakeServer(this.timers);
  calm = false;

  constructor(seed) {
    this.random = seeded(seed);
    const { server, random } = this;
    if (random() < 0.3) server.limits.recoveryLimit = 3;
    server.create('x', ['alice', 'bob']);
    server.create('y', ['alice', 'bob']);
    const slowness = random() * 200;
    server.delay = () => random() * slowness;
    server.intercept = (...request) => this.trouble(...request);
    this.people = ['alice', 'bob'].map((name) => new Person(this, name));
  }

  chance(share) {
    return !this.calm && this.random() < share;
  }

  /** What happens to a request. */
  trouble(socket, type, payload, id) {
    if (type === 'auth') return false;
    if (this.chance(0.03)) return true;
    if (this.chance(0.03)) return void socket.refuse(id, 'unavailable') ?? true;
    if (this.chance(0.03)) return void socket.refuse(id, 'rate_limited', { retryAfterMs: Math.ceil(this.random() * 500) }) ?? true;
    if (type !== 'send_message') return false;
    const answer = this.server.write(payload.conversationId, socket.user, payload.content, payload.clientMessageId);
    // Stored; the answer comes before or after events, twice, or not at all.
    const copies = this.chance(0.05) ? 0 : this.chance(0.05) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.timers.setTimeout(() => socket.readyState === 1 && !socket.dead && socket.onmessage?.({ data: JSON.stringify({ type, requestId: id, payload: answer }) }), this.random() * 300);
    }
    return true;
  }

  step() {
    const { random, server } = this;
    const pick = (list) => list[Math.floor(random() * list.length)];
    const person = pick(this.people);
    const socket = pick(server.sockets.filter((s) => s.readyState === 1)) ?? { lost() {}, raw() {} };
    const what = random();
    if (what < 0.5) person.send(random() < 0.8 ? person.x : person.y);
    else if (what < 0.6) socket.lost(pick([1006, 4001, 4002, 4003, 4000]));
    else if (what < 0.64) socket.dead = true;
    else if (what < 0.7) this.lose(socket);
    else if (what < 0.74) person.load();
    else if (what < 0.78) person.x.markRead().catch(() => {});
    else if (what < 0.82) person.x.loadOlder().catch(() => {});
    else if (what < 0.86) server.up = !server.up;
    else if (what < 0.9) person.open(false);
    else person.open(true);
  }

  /** The next frame to a client is lost, or comes twice, as no TCP would have it. */
  lose(socket) {
    const { raw } = socket;
    const copies = this.random() < 0.5 ? 0 : 2;
    socket.raw = (text) => {
      socket.raw = raw;
      for (let i = 0; i < copies; i++) socket.raw(text);
    };
  }
}

async function run(seed) {
  const world = new World(seed);
  const { timers, server, people } = world;
  for (let i = 0; i < STEPS; i++) {
    world.step();
    await timers.advance(world.random() * 400);
  }
  world.calm = true;
  server.up = true;
  for (const person of people) {
    assert.equal(person.x.state === 'closed', !person.wanted, `x of ${person.name} is ${person.x.state}`);
    person.open(true);
    person.client.retry();
  }
  await timers.advance(120_000);
  // Something of each comes last, so that whatever was lost before shows.
  for (const id of ['x', 'y']) for (const person of people) server.write(id, person.name, 'the end');
  await timers.advance(60_000);
  for (const person of people) await verify(world, person);
  people.forEach((person) => person.client.close());
}

async function verify({ timers, server }, { name, client, x, y, sent, resolved }) {
  assert.equal(client.state, 'connected', name);
  for (const conversation of name === 'bob' ? [x, y] : [x]) {
    assert.equal(conversation.state, 'open', `${name} ${conversation.id}`);
    for (let pages = 0; conversation.hasOlder; pages++) {
      assert.ok(pages < 100, 'paging back ends');
      conversation.loadOlder().catch(() => {});
      await timers.advance(1000);
    }
    const { log } = server.conversations.get(conversation.id);
    assert.deepEqual(
      conversation.messages.map((m) => `${m.seq} ${m.content} ${m.status}`),
      log.map(({ payload: m }) => `${m.seq} ${m.content} sent`),
      `what ${name} sees of ${conversation.id}`,
    );
    assert.equal(conversation.unreadCount, server.unread(server.conversations.get(conversation.id), name), `unread of ${name} in ${conversation.id}`);
  }
  assert.ok(y.messages.every((m) => m.status === 'sent'), `${name} has nothing unsent`);
  for (const id of ['x', 'y']) {
    const log = server.conversations.get(id).log.map((event) => event.payload);
    const own = log.filter((m) => m.senderId === name && m.content !== 'the end');
    assert.deepEqual(own.map((m) => m.content), sent.filter((m) => m.id === id).map((m) => m.content), `what ${name} sent to ${id}: each once, in order`);
  }
  for (const { conversationId, seq, content } of resolved) {
    assert.equal(server.conversations.get(conversationId).log[seq - 1].payload.content, content);
  }
}

test(`two people, ${seeds.length} seeds: nothing lost, nothing doubled, nothing out of order`, async () => {
  for (const seed of seeds) {
    try {
      await run(seed);
    } catch (error) {
      error.message = `PARLOR_SEED=${seed}: ${error.message}`;
      throw error;
    }
  }
});
