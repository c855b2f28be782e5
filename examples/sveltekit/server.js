// The built app and the chat server at one address: requests go to SvelteKit, and the WebSocket at /ws is passed on to Parlor.
// In production a proxy such as Caddy or nginx does this, and TLS besides; see README.md. Run `npm run build` first.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { handler } from './build/handler.js';

const parlor = new URL(process.env.PARLOR_URL ?? 'http://127.0.0.1:8080');
const port = Number(process.env.PORT ?? 3000);
const host = process.env.HOST ?? '127.0.0.1';

const server = createServer(handler);

server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => socket.destroy());
  if (new URL(request.url ?? '/', 'http://app').pathname !== '/ws') {
    socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    return;
  }
  const upstream = connect(Number(parlor.port || 80), parlor.hostname, () => {
    const lines = [`GET /ws HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    lines.push(`X-Forwarded-For: ${request.socket.remoteAddress}`);
    upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
    upstream.write(head);
    // `pipe` waits for the slower side, so nothing piles up here.
    upstream.pipe(socket).pipe(upstream);
  });
  // When one side breaks, the other must hear of it at once: the client then reconnects.
  upstream.on('error', () => socket.destroy());
  upstream.on('close', () => socket.destroy());
  socket.on('close', () => upstream.destroy());
});

server.listen(port, host, () => {
  const address = server.address();
  const bound = typeof address === 'object' && address ? address.port : port;
  console.log(`listening on http://${host}:${bound}`);
});
