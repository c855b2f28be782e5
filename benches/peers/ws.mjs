// The usual peer: Node and the `ws` package, rooms in a Map. In memory, no store, no authentication.
// Run: node ws.mjs [PORT]; 0 or nothing picks a free one. Prints the URL.
import { randomUUID } from 'node:crypto';
import { WebSocketServer } from 'ws';

const rooms = new Map();
const seqs = new Map();

const reply = (socket, request, payload) => {
  const { type, requestId } = request;
  socket.send(JSON.stringify({ type, requestId, timestamp: new Date().toISOString(), payload }));
};

const typingEvent = (action, conversationId, userId) => {
  const type = action === 'typing_start' ? 'typing_started' : 'typing_stopped';
  return JSON.stringify({ type, timestamp: new Date().toISOString(), payload: { conversationId, userId } });
};

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2] ?? 0), perMessageDeflate: false });

server.on('connection', (socket) => {
  socket.rooms = new Set();
  socket.on('message', (data) => {
    const request = JSON.parse(data);
    const id = request.payload?.conversationId;
    switch (request.type) {
      case 'auth':
        socket.user = request.payload.token;
        return reply(socket, request, { userId: socket.user });
      case 'join_conversation':
        if (!rooms.has(id)) rooms.set(id, new Set());
        rooms.get(id).add(socket);
        socket.rooms.add(id);
        return reply(socket, request, { conversationId: id });
      case 'send_message': {
        const seq = (seqs.get(id) ?? 0) + 1;
        seqs.set(id, seq);
        const createdAt = new Date().toISOString();
        const { content } = request.payload;
        const message = { id: randomUUID(), seq, conversationId: id, senderId: socket.user, content, createdAt };
        reply(socket, request, { id: message.id, seq, createdAt });
        const event = JSON.stringify({ type: 'message_created', timestamp: createdAt, payload: message });
        for (const member of rooms.get(id)) member.send(event);
        return;
      }
      case 'typing_start':
      case 'typing_stop': {
        // To the others, and without a reply.
        const event = typingEvent(request.type, id, socket.user);
        for (const member of rooms.get(id)) if (member !== socket) member.send(event);
      }
    }
  });
  socket.on('close', () => {
    for (const id of socket.rooms) rooms.get(id).delete(socket);
  });
});

server.on('listening', () => console.log(`ws://127.0.0.1:${server.address().port}/ws`));
