/** Coming, staying, coming back: close codes, pauses, signs of life. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakePage, outcome, setup } from './support/harness.js';

test('it connects, logs in, and says so', async () => {
  const { timers, client } = setup();
  const alice = client('alice:Alice');
  const states = [];
  alice.on('state', ({ state }) => states.push(state));
  assert.deepEqual([alice.state, alice.user, alice.limits], ['idle', null, null]);
  const first = alice.connect();
  assert.equal(alice.connect(), first, 'while it runs it is the same promise');
  await timers.advance(0);
  await first;
  assert.deepEqual(states, ['connecting', 'connected']);
  assert.deepEqual(alice.user, { id: 'alice', name: 'Alice' });
  assert.equal(alice.limits.maxJoined, 256);
});

test('the address may be http, and relative to the page', async () => {
  for (const [url, href, expected] of [
    ['https://chat.example/ws', undefined, 'wss://chat.example/ws'],
    [new URL('http://chat.example/ws'), undefined, 'ws://chat.example/ws'],
    ['/ws', 'https://app.example/some/page?x#y', 'wss://app.example/ws'],
  ]) {
    const { server, connected } = setup();
    const page = fakePage();
    page.window.location = { href };
    await connected('alice', { url, environment: page });
    assert.equal(server.socket.url, expected);
  }
});

test('an address that is none, or a platform without sockets, is told and not tried again', async () => {
  for (const options of [{ url: '/ws' }, { WebSocket: undefined }]) {
    const { timers, client } = setup();
    const native = globalThis.WebSocket;
    globalThis.WebSocket = undefined;
    const alice = client('alice', options);
    const result = outcome(alice.connect());
    await timers.advance(60_000);
    globalThis.WebSocket = native;
    assert.deepEqual([alice.state, alice.reason.code, result.state], ['failed', 'INVALID', 'rejected']);
  }
});

for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4008, 4242]) {
  test(`after ${code} it comes back`, async () => {
    const { timers, server, connected } = setup();
    const alice = await connected('alice');
    await timers.advance(6000);
    server.socket.closeBy(code, 'why');
    await timers.advance(0);
    assert.deepEqual([alice.state, alice.reason.closeCode, alice.reason.message], ['reconnecting', code, 'why']);
    const wait = alice.retryAt - timers.now();
    if (code === 4008) assert.ok(wait >= 10_000, `${wait} ms`);
    else assert.ok(wait >= 0 && wait <= 500, `${wait} ms`);
    await timers.advance(wait);
    assert.deepEqual([alice.state, alice.reason, alice.retryAt, server.sockets.length], ['connected', null, null, 2]);
  });
}

for (const [code, reason, name] of [
  [1002, 'protocol_error', 'protocol'],
  [1003, 'text_only', 'protocol'],
  [1007, 'invalid_utf8', 'protocol'],
  [1008, '', 'protocol'],
  [1009, 'message_too_big', 'protocol'],
  [4500, 'bad_request', 'bad_request'],
  [4502, 'connection_replaced', 'connection_replaced'],
  [4503, 'removed', 'removed'],
  [4900, '', 'closed'],
]) {
  test(`after ${code} it does not come back`, async () => {
    const { timers, server, connected } = setup();
    const page = fakePage();
    const alice = await connected('alice', { environment: page });
    server.socket.closeBy(code, reason);
    await timers.advance(3_600_000);
    page.window.speak('online');
    page.show(true);
    alice.retry();
    await timers.advance(3_600_000);
    assert.deepEqual([alice.state, alice.reason.code, alice.reason.closeCode, server.sockets.length], ['failed', name, code, 1]);
    assert.deepEqual([timers.pending, page.window.listeners, page.document.listeners], [0, 0, 0], 'nothing goes on');
    // Only when the app says so.
    alice.connect();
    await timers.advance(0);
    assert.equal(alice.state, 'connected');
  });
}

test('pauses grow while it fails, also where the login succeeds and nothing after it', async () => {
  const { timers, server, connected } = setup();
  const waits = [];
  const alice = await connected('alice', { random: () => 1 });
  const round = async () => {
    server.socket.lost();
    const wait = alice.retryAt - timers.now();
    waits.push(wait);
    await timers.advance(wait);
    assert.equal(alice.state, 'connected');
  };
  for (let i = 0; i < 8; i++) await round();
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
  // It held for five seconds.
  await timers.advance(5000);
  await round();
  assert.equal(waits.at(-1), 500);
});

test('a socket that does not open, and a login that is not answered, are given up after 10 s', async () => {
  const { timers, server, client } = setup();
  server.delay = () => 1e9;
  const alice = client('alice');
  alice.connect();
  await timers.advance(9999);
  assert.deepEqual([alice.state, server.sockets.length], ['connecting', 1]);
  await timers.advance(1);
  assert.deepEqual([alice.state, alice.reason.code, server.socket.closedWith], ['reconnecting', 'network', 1000]);
  server.delay = () => 0;
  server.intercept = (_socket, type) => type === 'auth';
  await timers.advance(alice.retryAt - timers.now());
  assert.equal(server.socket.readyState, 1);
  await timers.advance(10_000);
  assert.deepEqual([alice.state, alice.retryAt !== null], ['reconnecting', true]);
  server.intercept = () => false;
  await timers.advance(20_000);
  assert.equal(alice.state, 'connected');
});

test('a login that the server cannot answer now is tried again when it says', async () => {
  const { timers, server, client } = setup();
  server.intercept = (socket, type, _payload, id) => type === 'auth' && (socket.refuse(id, 'rate_limited', { retryAfterMs: 7000 }), true);
  const alice = client('alice');
  alice.connect();
  await timers.advance(0);
  assert.deepEqual([alice.state, alice.retryAt - timers.now()], ['reconnecting', 7000]);
});

test('a server that stops is left alone until it says, also when the network comes back meanwhile', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  const alice = await connected('alice', { environment: page });
  server.socket.emit('connection_status', { status: 'draining', reconnectAfterMs: 9000 });
  await timers.advance(0);
  assert.equal(alice.state, 'connected');
  const late = outcome(alice.request('ping'));
  server.create('x', ['alice', 'bob']);
  alice.conversation('x').send('after it said so');
  await timers.advance(100);
  assert.equal(server.asked('send_message').length, 0, 'it would not be read');
  server.socket.closeBy(4000, 'draining');
  await timers.advance(0);
  assert.deepEqual([alice.state, alice.reason.code, late.error.code], ['reconnecting', 'draining', 'DISCONNECTED']);
  assert.equal(alice.retryAt - timers.now(), 8900);
  page.window.speak('online');
  page.show(true);
  await timers.advance(8899);
  assert.equal(server.sockets.length, 1);
  await timers.advance(1);
  assert.deepEqual([server.sockets.length, alice.state], [2, 'connected']);
  assert.equal(server.conversations.get('x').log.length, 1);
});

test('when the network is back, or the page in view, it does not wait; but it does not hammer either', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  const alice = await connected('alice', { environment: page, random: () => 1 });
  server.up = false;
  server.socket.lost();
  await timers.advance(40_000);
  assert.ok(alice.retryAt - timers.now() > 1000);
  for (const signal of [() => page.window.speak('online'), () => page.show(true)]) {
    const before = server.sockets.length;
    for (let i = 0; i < 20; i++) {
      signal();
      await timers.advance(0);
    }
    assert.equal(server.sockets.length, before + 1);
    assert.ok(alice.retryAt - timers.now() <= 500, 'and the pauses are short ones again');
    await timers.advance(40_000);
  }
  server.up = true;
  page.window.speak('online');
  await timers.advance(0);
  assert.equal(alice.state, 'connected');
});

test('retry does not wait', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice', { random: () => 1 });
  server.socket.closeBy(4008);
  await timers.advance(0);
  assert.equal(alice.retryAt - timers.now(), 10_000);
  alice.retry();
  await timers.advance(0);
  assert.equal(alice.state, 'connected');
  alice.retry();
  await timers.advance(60_000);
  assert.equal(server.sockets.length, 2, 'where it is connected that does nothing');
});

test('a dead connection is noticed after silence and an unanswered ping', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  await timers.advance(60_000);
  assert.deepEqual([alice.state, server.asked('ping').length], ['connected', 2], 'silence alone is no death');
  await timers.advance(15_000 - 1);
  server.socket.dead = true;
  await timers.advance(1 + 8000 - 1);
  assert.equal(alice.state, 'connected');
  await timers.advance(1);
  assert.deepEqual([alice.state, alice.reason.code], ['reconnecting', 'ping_timeout']);
  await timers.advance(1000);
  assert.equal(alice.state, 'connected');
});

test('whatever comes is a sign of life', async () => {
  const { timers, server, connected } = setup();
  const alice = await connected('alice');
  server.intercept = (_socket, type) => type === 'ping';
  for (let i = 0; i < 10; i++) {
    await timers.advance(20_000);
    server.socket.raw('{"type":"unheard_of","payload":{}}');
    await timers.advance(0);
  }
  assert.deepEqual([alice.state, server.asked('ping').length], ['connected', 0]);
  await timers.advance(25_000 + 4000);
  server.socket.raw('not even JSON');
  await timers.advance(20_000);
  assert.equal(alice.state, 'connected', 'also while a ping waits for its answer');
});

test('in the background a worker keeps the time', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  const throttled = { now: timers.now, clearTimeout: timers.clearTimeout, setTimeout: (run, ms) => timers.setTimeout(run, page.document.hidden ? Math.max(ms, 60_000) : ms) };
  page.show(false);
  const alice = await connected('alice', { environment: page, timers: throttled });
  const [ticker] = page.tickers;
  assert.equal(ticker.asked.at(-1), 25_000);
  server.socket.dead = true;
  await timers.advance(24_999);
  ticker.onmessage({});
  assert.equal(ticker.asked.at(-1), 1, 'a word too early makes it wait for the rest');
  await timers.advance(1);
  ticker.onmessage({});
  assert.equal(ticker.asked.at(-1), 8000);
  await timers.advance(8000);
  ticker.onmessage({});
  assert.deepEqual([alice.state, alice.reason.code], ['reconnecting', 'ping_timeout']);
  await timers.advance(ticker.asked.at(-1));
  ticker.onmessage({});
  await timers.advance(0);
  assert.deepEqual([alice.state, page.tickers.length], ['connected', 1], 'and brings it back');
  alice.close();
  assert.ok(ticker.ended);
});

test('where no worker may run, the page’s timers do', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  page.ticker = () => {
    throw new Error('not allowed by the policy');
  };
  const alice = await connected('alice', { environment: page });
  page.show(false);
  server.socket.dead = true;
  await timers.advance(33_000);
  assert.equal(alice.reason.code, 'ping_timeout');
});

test('coming into view after a long sleep it looks at the clock at once', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  const alice = await connected('alice', { environment: page });
  page.show(false);
  timers.jump(3_600_000);
  page.show(true);
  assert.deepEqual([alice.state, alice.reason.code], ['reconnecting', 'ping_timeout']);
  await timers.advance(1000);
  assert.deepEqual([alice.state, server.sockets.length], ['connected', 2]);
});

test('a page whose timers are late in the background asks before it gives up', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  const alice = await connected('alice', { environment: page });
  page.show(false);
  timers.jump(60_000);
  await timers.advance(0);
  assert.equal(alice.state, 'connected');
  await timers.advance(60_000);
  assert.deepEqual([alice.state, server.sockets.length], ['connected', 1]);
});

test('when the network is back a connection that seems to be alive is asked', async () => {
  const { timers, server, connected } = setup();
  const page = fakePage();
  const alice = await connected('alice', { environment: page });
  await timers.advance(1000);
  server.socket.dead = true;
  page.window.speak('online');
  page.window.speak('online');
  await timers.advance(8000);
  assert.equal(alice.reason.code, 'ping_timeout');
});

test('close ends everything, and connect begins again', async () => {
  const { timers, server, opened } = setup();
  server.create('x', ['alice', 'bob']);
  const page = fakePage();
  const { client: alice, conversation } = await opened('alice', 'x', { environment: page });
  conversation.typing();
  const request = outcome(alice.request('load_messages', { conversationId: 'x' }));
  alice.close();
  await timers.advance(0);
  assert.deepEqual([alice.state, alice.reason, request.error.code, server.socket.closedWith], ['closed', null, 'DISCONNECTED', 1000]);
  assert.deepEqual([timers.pending, page.window.listeners, page.document.listeners], [0, 0, 0]);
  alice.close();
  const again = alice.connect();
  await timers.advance(0);
  await again;
  assert.deepEqual([alice.state, conversation.state], ['connected', 'open']);
});

test('close while a new token is asked for leaves no timer', async () => {
  const { timers, server, connected } = setup();
  const answers = ['alice', new Promise(() => {})];
  const alice = await connected('alice', { getToken: () => answers.shift() });
  server.socket.emit('connection_status', { status: 'token_expiring', expiresAt: server.time() });
  await timers.advance(0);
  assert.equal(answers.length, 0);
  alice.close();
  await timers.advance(0);
  assert.equal(timers.pending, 0);
});

test('close while it connects rejects whoever waits, at every step', async () => {
  for (const step of ['token', 'socket', 'login', 'pause']) {
    const { timers, server, client } = setup();
    let give = () => {};
    const alice = client('alice', { getToken: () => (step === 'token' ? new Promise((resolve) => (give = resolve)) : 'alice') });
    if (step === 'socket') server.delay = () => 1e9;
    if (step === 'login') server.intercept = () => true;
    if (step === 'pause') server.up = false;
    const result = outcome(alice.connect());
    await timers.advance(10);
    alice.close();
    give('alice');
    await timers.advance(0);
    assert.deepEqual([alice.state, result.error?.code, alice.retryAt], ['closed', 'CLOSED', null], step);
    const sockets = server.sockets.length;
    await timers.advance(100_000);
    assert.equal(server.sockets.length, sockets, step);
    alice.connect();
    server.delay = () => 0;
    server.intercept = () => false;
    server.up = true;
    give('alice');
    await timers.advance(25_000);
    if (step !== 'token') assert.equal(alice.state, 'connected', step);
  }
});

test('it can be closed by whoever hears of its state, whichever that is', async () => {
  for (const at of ['connecting', 'connected', 'reconnecting']) {
    const { timers, server, client } = setup();
    const alice = client('alice');
    alice.on('state', ({ state }) => state === at && alice.close());
    const result = outcome(alice.connect());
    await timers.advance(1000);
    server.socket?.lost();
    await timers.advance(60_000);
    assert.deepEqual([alice.state, timers.pending], ['closed', 0], at);
    assert.equal(result.state, at === 'reconnecting' ? 'resolved' : 'rejected', at);
  }
});

test('close and connect at once is a fresh start', async () => {
  const { timers, server, connected } = setup();
  const asked = [];
  const alice = await connected('alice', { getToken: ({ reason }) => asked.push(reason) && 'alice' });
  alice.close();
  alice.connect();
  await timers.advance(0);
  assert.deepEqual([alice.state, asked, server.sockets.length], ['connected', ['connect', 'connect'], 2]);
});
