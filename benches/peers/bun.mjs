// The fast peer: Bun.serve, which is uWebSockets' publish under a JavaScript handler. In memory, no store, no authentication.
// Run: bun bun.mjs [PORT]; 0 or nothing picks a free one. Prints the URL.
import { randomUUID } from 'node:crypto';

const seqs = new Map();

const reply = (socket, request, payload) => {
  const { type, requestId } = request;
  socket.send(JSON.stringify({ type, requestId, timestamp: new Date().toISOString(), payload }));
};

const typingEvent = (action, conversationId, userId) => {
  const type = action === 'typing_start' ? 'typing_started' : 'typing_stopped';
  return JSON.stringify({ type, timestamp: new Date().toISOString(), payload: { conversationId, userId } });
};

const server = Bun.serve({
  port: Number(process.argv[2] ?? 0),
  hostname: '127.0.0.1',
  fetch(request, self) {
    return self.upgrade(request, { data: {} }) ? undefined : new Response('a WebSocket upgrade is wanted', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    publishToSelf: false,
    idleTimeout: 0,
    message(socket, data) {
      const request = JSON.parse(data);
      const id = request.payload?.conversationId;
      switch (request.type) {
        case 'auth':
          socket.data.user = request.payload.token;
          return reply(socket, request, { userId: socket.data.user });
        case 'join_conversation':
          socket.subscribe(id);
          return reply(socket, request, { conversationId: id });
        case 'send_message': {
          const seq = (seqs.get(id) ?? 0) + 1;
          seqs.set(id, seq);
          const createdAt = new Date().toISOString();
          const { content } = request.payload;
          const message = { id: randomUUID(), seq, conversationId: id, senderId: socket.data.user, content, createdAt };
          reply(socket, request, { id: message.id, seq, createdAt });
          return server.publish(id, JSON.stringify({ type: 'message_created', timestamp: createdAt, payload: message }));
        }
        case 'typing_start':
        case 'typing_stop':
          // To the others, and without a reply.
          socket.publish(id, typingEvent(request.type, id, socket.data.user));
      }
    },
  },
});

console.log(`ws://127.0.0.1:${server.port}/ws`);
