// The comfortable peer: Socket.IO with its own rooms and acknowledgements, over WebSocket only. In memory, no store, no authentication.
// Run: node socketio.mjs [PORT]; 0 or nothing picks a free one. Prints the URL.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const seqs = new Map();
const http = createServer();
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, serveClient: false });

io.on('connection', (socket) => {
  const user = socket.handshake.auth.token;
  socket.on('join_conversation', ({ conversationId }, reply) => {
    socket.join(conversationId);
    reply({ conversationId });
  });
  socket.on('send_message', ({ conversationId, content }, reply) => {
    const seq = (seqs.get(conversationId) ?? 0) + 1;
    seqs.set(conversationId, seq);
    const createdAt = new Date().toISOString();
    const message = { id: randomUUID(), seq, conversationId, senderId: user, content, createdAt };
    reply({ id: message.id, seq, createdAt });
    io.to(conversationId).emit('message_created', message);
  });
  // To the others, and without a reply.
  const typing = (event) => ({ conversationId }) => socket.to(conversationId).emit(event, { conversationId, userId: user });
  socket.on('typing_start', typing('typing_started'));
  socket.on('typing_stop', typing('typing_stopped'));
});

http.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () =>
  console.log(`ws://127.0.0.1:${http.address().port}/socket.io/?EIO=4&transport=websocket`),
);
