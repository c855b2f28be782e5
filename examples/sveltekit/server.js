// The built app and the chat server at one address: requests go to SvelteKit, and the WebSocket at /ws is passed on to Parlor.
// In production a proxy such as Caddy or nginx does this, and TLS besides; see README.md. Run `npm run build` first.
import { createServer } from 'node:http';
import { handler } from './build/handler.js';
import { parlorAt, passWebSockets } from './proxy.js';

const port = Number(process.env.PORT ?? 3000);
const host = process.env.HOST ?? '127.0.0.1';

const server = createServer(handler);
passWebSockets(server, parlorAt(process.env.PARLOR_URL ?? 'http://127.0.0.1:8080'));

server.listen(port, host, () => {
  const address = server.address();
  const bound = typeof address === 'object' && address ? address.port : port;
  console.log(`listening on http://${host}:${bound}`);
});
