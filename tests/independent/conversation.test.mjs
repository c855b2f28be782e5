/**
 * One conversation from the first login to the last goodbye, with a crash in the middle. The chapters build on each other.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, Refusal } from './client.mjs';
import { Server } from './server.mjs';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** How many messages are on their way when the server is killed. */
const BURST = 20;

const server = new Server();
let isBroken = false;
before(() => server.start());
after(async () => {
  await server.remove();
  if (isBroken) console.error(`--- what the server said ---\n${server.log}`);
});

/** @param {string} code @returns {(error: unknown) => boolean} */
const refusedWith = (code) => (error) => error instanceof Refusal && error.code === code;

test('a conversation survives the death of its server', { timeout: 120_000 }, async (t) => {
  /** @param {string} name @param {() => Promise<void>} run */
  const chapter = (name, run) =>
    t.test(name, { skip: isBroken && 'an earlier chapter failed' }, async () => {
      isBroken = true;
      await run();
      isBroken = false;
    });
  const tokens = {
    alice: server.signToken('alice', 'Alice'),
    bob: server.printToken('bob', 'Bob'),
    carol: server.signToken('carol', 'Carol'),
  };
  /** @param {string} clientMessageId @param {string} content */
  const sendAsAlice = (clientMessageId, content) => alice.request('send_message', { conversationId, content, clientMessageId });
  /** @type {Client} */
  let alice;
  /** @type {Client} */
  let bob;
  let epoch = '';
  let conversationId = '';
  let head = 0;

  await chapter('a token is what lets a client in', async () => {
    const stranger = await Client.connect(server.url);
    await assert.rejects(stranger.request('auth', { token: `${tokens.alice.slice(0, -4)}AAAA` }), refusedWith('unauthorized'));
    assert.equal(await stranger.closed(), 4501);

    const { client, session } = await Client.login(server.url, tokens.alice);
    alice = client;
    assert.deepEqual(session.user, { id: 'alice', name: 'Alice' });
    assert.equal(session.protocol, 1);
    assert.equal(session.limits.maxMessageBytes, 65_536);
    assert.ok(session.epoch.length > 0 && session.connectionId.length > 0);
    assert.ok(Date.parse(session.expiresAt) > Date.now());
    epoch = session.epoch;
    ({ client: bob } = await Client.login(server.url, tokens.bob));
    assert.deepEqual(await alice.request('ping', { n: 1 }), { n: 1 });
  });

  await chapter('a new conversation is announced to its members', async () => {
    const { conversation } = await alice.request('create_conversation', { memberIds: ['bob'] });
    conversationId = conversation.id;
    assert.match(conversationId, UUID_V7);
    assert.equal(conversation.kind, 'direct');
    assert.equal(conversation.memberCount, 2);
    assert.equal((await bob.event('conversation_created')).conversation.id, conversationId);
    assert.equal((await alice.event('conversation_created')).conversation.id, conversationId);
    const again = await bob.request('create_conversation', { memberIds: ['alice'] });
    assert.equal(again.conversation.id, conversationId, 'two users have one direct conversation');
  });

  await chapter('joining tells the state of things', async () => {
    const joined = await alice.request('join_conversation', { conversationId });
    assert.equal(joined.epoch, epoch);
    head = joined.head;
    const statuses = joined.members.map((/** @type {any} */ m) => [m.userId, m.status]).sort();
    assert.deepEqual(statuses, [['alice', 'online'], ['bob', 'online']]);
    assert.deepEqual(joined.typing, []);
    await bob.request('join_conversation', { conversationId });

    const { client: carol } = await Client.login(server.url, tokens.carol);
    await assert.rejects(carol.request('join_conversation', { conversationId }), refusedWith('not_found'));
    await carol.close();
  });

  await chapter('typing shows to the other until the message is there', async () => {
    await alice.request('typing_start', { conversationId });
    const started = await bob.event('typing_started');
    assert.deepEqual({ ...started, expiresInMs: 0 }, { conversationId, userId: 'alice', expiresInMs: 0 });
    assert.ok(started.expiresInMs > 0 && started.expiresInMs <= 6_000);
    await alice.request('typing_stop', { conversationId });
    assert.deepEqual(await bob.event('typing_stopped'), { conversationId, userId: 'alice' });
    await alice.request('typing_start', { conversationId });
    await bob.event('typing_started');

    const { message, duplicate } = await sendAsAlice('a-1', 'Hello, Bob 👋');
    head += 1;
    assert.equal(duplicate, undefined);
    assert.match(message.id, UUID_V7);
    const { seq, senderId, senderName, content, clientMessageId } = message;
    assert.deepEqual(
      { seq, senderId, senderName, content, clientMessageId },
      { seq: head, senderId: 'alice', senderName: 'Alice', content: 'Hello, Bob 👋', clientMessageId: 'a-1' },
    );
    assert.deepEqual(await bob.event('typing_stopped'), { conversationId, userId: 'alice' });
    assert.deepEqual(await bob.event('message_created'), message);
    assert.deepEqual(await alice.event('message_created'), message, 'the sender sees it in the log too');
  });

  await chapter('an answer names what it answers', async () => {
    const { messages } = await bob.request('load_messages', { conversationId });
    const replyTo = messages.at(-1).id;
    const { message } = await bob.request('send_message', { conversationId, content: 'Hello yourself', replyTo });
    head += 1;
    assert.equal(message.replyTo, replyTo);
    assert.equal(message.seq, head);
    assert.deepEqual(await alice.event('message_created'), message);
    await bob.event('message_created');
  });

  await chapter('a receipt is seen by the other, and never moves back', async () => {
    assert.deepEqual(await alice.request('mark_read', { conversationId, seq: head }), {
      conversationId,
      seq: head,
      unreadCount: 0,
    });
    assert.deepEqual(await bob.event('message_read'), { conversationId, userId: 'alice', seq: head });
    const back = await alice.request('mark_read', { conversationId, seq: head - 1 });
    assert.equal(back.seq, head);
    const { conversations } = await bob.request('load_conversations');
    assert.equal(conversations.length, 1);
    assert.equal(conversations[0].head, head);
    assert.equal(conversations[0].unreadCount, 1, 'one message of Alice that Bob has not marked');
  });

  await chapter('who leaves for longer than a reload is offline, and online when back', async () => {
    await bob.close();
    const gone = await alice.event('presence_changed');
    assert.deepEqual([gone.userId, gone.status], ['bob', 'offline']);
    assert.ok(Math.abs(Date.parse(gone.lastSeenAt) - Date.now()) < 60_000);
    ({ client: bob } = await Client.login(server.url, tokens.bob));
    const back = await alice.event('presence_changed');
    assert.deepEqual([back.userId, back.status], ['bob', 'online']);
    const rejoined = await bob.request('join_conversation', { conversationId, since: { epoch, seq: head } });
    assert.deepEqual([rejoined.recovered, rejoined.events, rejoined.head], [true, [], head]);
  });

  /** The last position that Bob has seen when the server dies. */
  let seen = 0;
  /** @type {Map<string, number>} what was acknowledged before the server died, by its clientMessageId */
  const acknowledged = new Map();

  await chapter('the server is killed in mid-conversation', async () => {
    await alice.expectNothingElse(['message_read', 'typing_stopped', 'presence_changed']);
    await bob.expectNothingElse();
    seen = head;
    const { message } = await sendAsAlice('b-0', 'before');
    acknowledged.set('b-0', message.seq);
    const sends = Array.from({ length: BURST }, (_, i) => `b-${i + 1}`).map(async (clientMessageId) => {
      const reply = await sendAsAlice(clientMessageId, `burst ${clientMessageId}`);
      acknowledged.set(clientMessageId, reply.message.seq);
    });
    const settled = Promise.allSettled(sends);
    await Promise.race(sends);
    await server.kill();
    await settled;
    assert.equal(await alice.closed(), 1006, 'no farewell');
    assert.equal(await bob.closed(), 1006, 'no farewell');
    t.diagnostic(`${acknowledged.size - 1} of ${BURST} messages were acknowledged before the kill`);
  });

  await chapter('after the restart, what was acknowledged is there, and Bob resumes where he was', async () => {
    await server.start();
    const login = await Client.login(server.url, tokens.bob);
    bob = login.client;
    assert.equal(login.session.epoch, epoch, 'no history was lost');
    const joined = await bob.request('join_conversation', { conversationId, since: { epoch, seq: seen } });
    assert.equal(joined.recovered, true);
    const recovered = new Map(joined.events.map((/** @type {any} */ e) => [e.payload.clientMessageId, e.payload.seq]));
    assert.equal(recovered.size, joined.events.length, 'each once');
    for (const [id, seq] of acknowledged) assert.equal(recovered.get(id), seq, `${id} was acknowledged`);
    assert.equal(joined.events[0].payload.seq, seen + 1);
    head = joined.head;
    const other = await bob.request('join_conversation', { conversationId, since: { epoch: 'another', seq: seen } });
    assert.equal(other.recovered, false, 'a position of another history is none');
  });

  await chapter('whatever is retried is there once', async () => {
    ({ client: alice } = await Client.login(server.url, tokens.alice));
    await alice.request('join_conversation', { conversationId, since: { epoch, seq: seen } });
    for (let i = 1; i <= BURST; i += 1) {
      const clientMessageId = `b-${i}`;
      const reply = await sendAsAlice(clientMessageId, `burst ${clientMessageId}`);
      if (acknowledged.has(clientMessageId)) {
        assert.equal(reply.duplicate, true);
        assert.equal(reply.message.seq, acknowledged.get(clientMessageId));
      } else if (!reply.duplicate) {
        head += 1;
        assert.equal(reply.message.seq, head);
        assert.equal((await bob.event('message_created')).clientMessageId, clientMessageId);
      }
    }
    const { messages, hasMore } = await bob.request('load_messages', { conversationId, after: seen });
    assert.equal(hasMore, false);
    const ids = messages.map((/** @type {any} */ m) => m.clientMessageId).sort();
    assert.deepEqual(ids, Array.from({ length: BURST + 1 }, (_, i) => `b-${i}`).sort());
    await assert.rejects(sendAsAlice('b-1', 'something else'), refusedWith('conflict'));
  });

  await chapter('a message whose reply was lost is not stored again', async () => {
    const lost = sendAsAlice('c-1', 'was it stored?');
    const settled = Promise.allSettled([lost]);
    const created = await bob.event('message_created'); // Stored for certain; whether Alice has heard of it does not matter.
    assert.equal(created.clientMessageId, 'c-1');
    await server.kill();
    await settled;
    await server.start();
    ({ client: alice } = await Client.login(server.url, tokens.alice));
    ({ client: bob } = await Client.login(server.url, tokens.bob));
    const joined = await bob.request('join_conversation', { conversationId, since: { epoch, seq: created.seq } });
    assert.deepEqual([joined.recovered, joined.events], [true, []]);
    const retry = await sendAsAlice('c-1', 'was it stored?');
    assert.equal(retry.duplicate, true);
    assert.deepEqual(retry.message, created);
    await bob.expectNothingElse(['presence_changed']);
  });

  await chapter('a server that is asked to stop says so', async () => {
    const draining = bob.event('connection_status');
    const stopped = server.terminate();
    const { status, reconnectAfterMs } = await draining;
    assert.equal(status, 'draining');
    assert.ok(reconnectAfterMs > 0);
    assert.deepEqual(await Promise.all([alice.closed(), bob.closed()]), [4000, 4000]);
    await stopped;
  });
});
