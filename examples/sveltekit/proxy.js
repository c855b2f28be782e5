// Passes a WebSocket at /ws on to Parlor, byte for byte.
import { connect } from 'node:net';

/** Where Parlor is. @param {string} text a URL such as http://127.0.0.1:8080 or http://[::1]:8080 */
export function parlorAt(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== 'http:') {
    throw new Error(`PARLOR_URL is ${text}, and must be http://HOST:PORT: what is passed on to it is not encrypted here. For a Parlor elsewhere, use a proxy`);
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) };
}

/** @param {import('node:http').Server} server @param {{ host: string, port: number }} parlor */
export function passWebSockets(server, parlor) {
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    // Anybody may ask for anything here: `//` and `*` are no URLs.
    if ((request.url ?? '').split('?')[0] !== '/ws') {
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      return;
    }
    const upstream = connect(parlor.port, parlor.host, () => {
      const lines = ['GET /ws HTTP/1.1'];
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
}
