import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { parlorAt, passWebSockets } from '../proxy.js';

/** A server on a free port of a loopback address, which ends with the test. */
async function listening(t, server, host = '127.0.0.1') {
  server.listen(0, host);
  await once(server, 'listening');
  t.after(() => server.close());
  return server.address().port;
}

/** What comes back for the request to upgrade at this target, until the other side ends it. */
async function upgrade(port, target) {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(10_000, () => socket.destroy(new Error(`${target}: no answer`)));
  socket.write(`GET ${target} HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}

/** Stands for Parlor: answers with what it was asked, and ends it. */
const echo = () =>
  createServer().on('upgrade', (request, socket) => socket.end(`HTTP/1.1 101 Switching Protocols\r\n\r\n${request.url} from ${request.headers['x-forwarded-for']}`));

test('whatever is asked for, the process lives on', async (t) => {
  const parlor = await listening(t, echo());
  const server = createServer();
  passWebSockets(server, parlorAt(`http://127.0.0.1:${parlor}`));
  const port = await listening(t, server);
  for (const target of ['//', '/', '*', 'http://[', '/ws/', '/wsx', '//ws', '/%']) {
    assert.match(await upgrade(port, target), /^HTTP\/1\.1 40[04] /, target);
  }
  for (const target of ['/ws', '/ws?v=1']) assert.match(await upgrade(port, target), /^HTTP\/1\.1 101 [^]*\/ws from 127\.0\.0\.1$/, target);
});

test('an address of IPv6 is one, too', async (t) => {
  assert.deepEqual(parlorAt('http://[::1]:8080'), { host: '::1', port: 8080 });
  const server = createServer();
  const parlor = await listening(t, echo(), '::1').catch((error) => {
    // Only what a machine without IPv6 says.
    assert.match(error.code, /^(EADDRNOTAVAIL|EAFNOSUPPORT)$/);
  });
  if (!parlor) return t.skip('no IPv6 here');
  passWebSockets(server, parlorAt(`http://[::1]:${parlor}`));
  assert.match(await upgrade(await listening(t, server), '/ws'), /^HTTP\/1\.1 101 /);
});

test('what is not plain HTTP is refused at the start', () => {
  assert.deepEqual(parlorAt('http://chat.internal'), { host: 'chat.internal', port: 80 });
  for (const url of ['https://chat.example.com', 'ws://127.0.0.1:8080', '127.0.0.1:8080', '']) {
    assert.throws(() => parlorAt(url), /must be http:\/\/HOST:PORT/, url);
  }
});
