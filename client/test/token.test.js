/** Tokens: asked for one at a time, replaced when they are refused or about to end. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcome, setup } from './support/harness.js';

test('a refused token is replaced once; a second one refused ends it', async () => {
  const { timers, server, client } = setup();
  const asked = [];
  const alice = client('alice', { getToken: ({ reason }) => asked.push(reason) && 'bad' });
  const result = outcome(alice.connect());
  await timers.advance(60_000);
  assert.deepEqual(asked, ['connect', 'rejected']);
  assert.deepEqual([alice.state, alice.reason.code, result.state, result.error.code], ['failed', 'unauthorized', 'rejected', 'unauthorized']);
  assert.equal(server.sockets.length, 2);
});

test('a refused token that is replaced by a good one is forgotten', async () => {
  const { timers, server, client } = setup();
  const asked = [];
  const alice = client('alice', { getToken: ({ reason }) => (asked.push(reason), reason === 'rejected' ? 'alice' : 'bad') });
  alice.connect();
  await timers.advance(0);
  assert.equal(alice.state, 'connected');
  // Later, with the token that was good, the same once more.
  server.socket.closeBy(4501, 'unauthorized');
  await timers.advance(0);
  assert.deepEqual([alice.state, asked], ['connected', ['connect', 'rejected', 'rejected']]);
});

test('a token is asked for with each connection, and told why', async () => {
  const { timers, server, client } = setup();
  const asked = [];
  const alice = client('alice', { getToken: ({ reason }) => asked.push(reason) && 'alice' });
  alice.connect();
  await timers.advance(0);
  for (const code of [1006, 4001]) {
    server.socket.closeBy(code);
    await timers.advance(1500);
  }
  assert.deepEqual([alice.state, asked], ['connected', ['connect', 'reconnect', 'reconnect']]);
});

test('when a token is about to end, the connection that runs gets a new one', async () => {
  const { timers, server, connected } = setup();
  const asked = [];
  const alice = await connected('alice', { getToken: ({ reason }) => asked.push(reason) && 'alice:Renamed' });
  server.socket.emit('connection_status', { status: 'token_expiring', expiresAt: server.time() });
  await timers.advance(0);
  assert.deepEqual([asked, server.asked('auth').length, server.sockets.length, alice.state], [['connect', 'expiring'], 2, 1, 'connected']);
});

test('a new token that does not come, hangs or is refused is asked for again before the old one ends', async () => {
  const { timers, server, connected } = setup();
  const asked = [];
  const signals = [];
  const answers = ['alice', new Error('offline'), new Promise(() => {}), 'refused', 'alice'];
  const alice = await connected('alice', {
    getToken({ reason, signal }) {
      asked.push(reason);
      signals.push(signal);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  server.intercept = (socket, type, { token }, requestId) => type === 'auth' && token === 'refused' && (socket.refuse(requestId, 'unauthorized'), true);
  server.socket.emit('connection_status', { status: 'token_expiring', expiresAt: server.time() });
  await timers.advance(85_000);
  assert.deepEqual(asked, ['connect', 'expiring', 'expiring', 'expiring', 'rejected']);
  assert.ok(signals[2].aborted, 'the one that hung was given up');
  assert.deepEqual([answers.length, server.sockets.length, alice.state], [0, 1, 'connected']);
});

test('a token that cannot be had is tried for with pauses, and never by two at a time', async () => {
  const { timers, server, client } = setup();
  let running = 0;
  let most = 0;
  let failures = 0;
  const alice = client('alice', {
    async getToken() {
      most = Math.max(most, ++running);
      await new Promise((resolve) => timers.setTimeout(resolve, 100));
      running--;
      if (++failures <= 6) throw new Error('the app is down');
      return 'alice';
    },
  });
  alice.connect();
  await timers.advance(150);
  assert.deepEqual([alice.state, alice.reason], ['reconnecting', { code: 'token', message: 'Error: the app is down', closeCode: undefined }]);
  alice.retry();
  alice.retry();
  await timers.advance(60_000);
  assert.deepEqual([alice.state, most, failures, server.sockets.length], ['connected', 1, 7, 1]);
});

test('a token that never comes is given up after 15 s, and its signal says so', async () => {
  const { timers, client } = setup();
  const signals = [];
  const alice = client('alice', { getToken: ({ signal }) => (signals.push(signal), new Promise(() => {})) });
  alice.connect();
  await timers.advance(14_999);
  assert.deepEqual([alice.state, signals[0].aborted], ['connecting', false]);
  await timers.advance(1);
  assert.deepEqual([alice.state, alice.reason.code, signals[0].aborted], ['reconnecting', 'token', true]);
  await timers.advance(1000);
  assert.equal(signals.length, 2);
  alice.close();
  assert.deepEqual([signals[1].aborted, timers.pending], [true, 0]);
});

test('something that is no token is not sent', async () => {
  for (const token of ['', undefined, 5, null]) {
    const { timers, server, client } = setup();
    const alice = client('alice', { getToken: () => token });
    alice.connect();
    await timers.advance(0);
    assert.deepEqual([alice.state, alice.reason.code, server.sockets.length], ['reconnecting', 'token', 0]);
  }
});

test('a token of somebody else ends it', async () => {
  const { timers, server, client } = setup();
  let user = 'alice';
  const alice = client('alice', { getToken: () => user });
  alice.connect();
  await timers.advance(0);
  user = 'bob';
  server.socket.closeBy(4001);
  await timers.advance(1000);
  assert.deepEqual([alice.state, alice.reason.code, alice.user.id], ['failed', 'unauthorized', 'alice']);
});
