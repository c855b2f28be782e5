/**
 * A server in the same process, with as much of PROTOCOL.md as the client relies on: logs, joins with `since`, retries by
 * `clientMessageId`, read marks, hints. Tests make it fail: frames late, lost, connections cut, answers repeated.
 */

export const LIMITS = {
  maxMessageBytes: 65536,
  maxContentChars: 4000,
  pingIntervalMs: 25000,
  pongTimeoutMs: 8000,
  typingLeaseMs: 6000,
  maxJoined: 256,
  recoveryLimit: 500,
};

export class FakeServer {
  epoch = 'e1';
  limits = { ...LIMITS };
  tokenMs = 3_600_000;
  /** All sockets that were ever made, the newest last. */
  sockets = [];
  conversations = new Map();
  /** Every request that came, as `{ socket, type, payload }`. */
  requests = [];
  /** Instead of the answer: (socket, type, payload, requestId) => true if it was handled. */
  intercept = () => false;
  /** Milliseconds that a frame takes. */
  delay = () => 0;
  /** Whether sockets open. */
  up = true;
  #timers;
  #lastId = 0;

  constructor(timers) {
    this.#timers = timers;
    const server = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url) {
        super(server, timers, url);
        server.sockets.push(this);
        if (server.up) this.later(() => this.opened());
        else this.later(() => this.lost(1006));
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** The requests of a type, payloads only. */
  asked(type) {
    return this.requests.filter((request) => request.type === type).map((request) => request.payload);
  }

  create(id, members, { kind = members.length === 2 ? 'direct' : 'group', title = '' } = {}) {
    const conversation = { id, kind, title, members: new Map(members.map((user) => [user, { readSeq: 0 }])), log: [], typing: new Set() };
    conversation.createdAt = this.time();
    this.conversations.set(id, conversation);
    return conversation;
  }

  time() {
    return new Date(this.#timers.now()).toISOString();
  }

  /** Somebody writes, from wherever. */
  write(id, senderId, content, clientMessageId, replyTo) {
    const conversation = this.conversations.get(id);
    const known = clientMessageId && conversation.log.find((event) => event.payload.clientMessageId === clientMessageId && event.payload.senderId === senderId);
    if (known) return { message: known.payload, duplicate: true };
    const message = { id: `m${++this.#lastId}`, conversationId: id, senderId, senderName: senderId, content, createdAt: this.time() };
    if (clientMessageId) message.clientMessageId = clientMessageId;
    if (replyTo) message.replyTo = replyTo;
    this.append(conversation, 'message_created', message);
    for (const socket of this.sockets) {
      if (conversation.members.has(socket.user) && !socket.joined.has(id)) {
        socket.emit('conversation_activity', { conversationId: id, head: conversation.log.length, lastMessage: message, unreadCount: this.unread(conversation, socket.user) });
      }
    }
    return { message };
  }

  append(conversation, type, payload) {
    payload.seq = conversation.log.length + 1;
    payload.conversationId = conversation.id;
    conversation.log.push({ type, payload });
    this.tell(conversation, type, payload);
  }

  tell(conversation, type, payload, but) {
    for (const socket of this.sockets) if (socket.joined.has(conversation.id) && socket.user !== but) socket.emit(type, payload);
  }

  unread(conversation, user) {
    const { readSeq } = conversation.members.get(user);
    return conversation.log.filter((e) => e.type === 'message_created' && e.payload.seq > readSeq && e.payload.senderId !== user).length;
  }

  summary(conversation, user) {
    const { id, kind, title, members, log, createdAt } = conversation;
    const lastMessage = log.findLast((event) => event.type === 'message_created')?.payload;
    return {
      id, kind, title, createdAt,
      memberCount: members.size,
      head: log.length,
      ...(lastMessage && { lastMessage }),
      readSeq: members.get(user).readSeq,
      unreadCount: this.unread(conversation, user),
    };
  }

  online(user) {
    return this.sockets.some((socket) => socket.user === user && socket.readyState === 1);
  }

  /** A frame of a client's. */
  handle(socket, text) {
    const { type, requestId, payload = {} } = JSON.parse(text);
    this.requests.push({ socket, type, payload });
    if (this.intercept(socket, type, payload, requestId)) return;
    const refuse = (code, more) => socket.refuse(requestId, code, more);
    if (type !== 'ping' && type !== 'auth' && !socket.user) return refuse('unauthorized');
    const answer = ACTIONS[type];
    if (!answer) return refuse('unknown_type');
    const conversation = this.conversations.get(payload.conversationId);
    if ('conversationId' in payload && !conversation?.members.has(socket.user)) return refuse('not_found');
    answer(this, socket, payload, (reply) => socket.reply(type, requestId, reply), refuse, conversation);
  }
}

const ACTIONS = {
  ping: (_server, _socket, payload, reply) => reply(payload),

  auth(server, socket, { token }, reply, refuse) {
    const [user, name = user] = String(token).split(':');
    if (!user || user === 'bad') {
      refuse('unauthorized');
      return socket.closeBy(4501, 'unauthorized');
    }
    socket.user = user;
    const expiresAt = new Date(Date.parse(server.time()) + server.tokenMs).toISOString();
    reply({ user: { id: user, name }, connectionId: 'c', expiresAt, protocol: 1, epoch: server.epoch, limits: server.limits });
  },

  load_conversations(server, socket, { limit = 30, cursor = '0' }, reply) {
    const own = [...server.conversations.values()].filter((c) => c.members.has(socket.user)).map((c) => server.summary(c, socket.user));
    const activity = (summary) => summary.lastMessage?.createdAt ?? summary.createdAt;
    own.sort((a, b) => activity(b).localeCompare(activity(a)));
    const from = Number(cursor);
    reply({ conversations: own.slice(from, from + limit), ...(own.length > from + limit && { nextCursor: String(from + limit) }) });
  },

  load_messages(_server, _socket, { before = Infinity, limit = 50 }, reply, _refuse, conversation) {
    const all = conversation.log.filter((event) => event.type === 'message_created' && event.payload.seq < before).map((event) => event.payload);
    reply({ messages: all.slice(-limit), hasMore: all.length > limit });
  },

  join_conversation(server, socket, { since, limit = 50 }, reply, _refuse, conversation) {
    const head = conversation.log.length;
    const recovered = since?.epoch === server.epoch && since.seq <= head && head - since.seq <= server.limits.recoveryLimit;
    const members = [...conversation.members].map(([userId, { readSeq }]) => ({
      userId, name: userId, role: 'member', status: server.online(userId) ? 'online' : 'offline', readSeq,
    }));
    reply({
      conversation: server.summary(conversation, socket.user),
      epoch: server.epoch, head, recovered, members,
      events: recovered ? conversation.log.slice(since.seq) : conversation.log.slice(-limit),
      typing: [...conversation.typing],
    });
    socket.joined.add(conversation.id);
  },

  leave_conversation(_server, socket, { conversationId }, reply) {
    socket.joined.delete(conversationId);
    reply({ conversationId });
  },

  send_message(server, socket, { conversationId, content, clientMessageId, replyTo }, reply) {
    reply(server.write(conversationId, socket.user, content, clientMessageId, replyTo));
  },

  mark_read(server, socket, { conversationId, seq }, reply, _refuse, conversation) {
    const member = conversation.members.get(socket.user);
    const moved = Math.max(member.readSeq, Math.min(seq, conversation.log.length));
    if (moved > member.readSeq) {
      member.readSeq = moved;
      server.tell(conversation, 'message_read', { conversationId, userId: socket.user, seq: moved });
    }
    reply({ conversationId, seq: moved, unreadCount: server.unread(conversation, socket.user) });
  },

  typing_start(server, socket, { conversationId }, reply, _refuse, conversation) {
    server.tell(conversation, 'typing_started', { conversationId, userId: socket.user, expiresInMs: server.limits.typingLeaseMs }, socket.user);
    reply({ conversationId });
  },

  typing_stop(server, socket, { conversationId }, reply, _refuse, conversation) {
    server.tell(conversation, 'typing_stopped', { conversationId, userId: socket.user }, socket.user);
    reply({ conversationId });
  },

  create_conversation(server, socket, { memberIds, title = '' }, reply) {
    const members = [...new Set([socket.user, ...memberIds])];
    const known = !title && members.length === 2 && [...server.conversations.values()].find((c) => c.kind === 'direct' && members.every((m) => c.members.has(m)));
    const conversation = known || server.create(`c${server.conversations.size + 1}`, members, { title });
    for (const other of server.sockets) {
      if (!known && members.includes(other.user)) other.emit('conversation_created', { conversation: server.summary(conversation, other.user) });
    }
    reply({ conversation: server.summary(conversation, socket.user) });
  },

  create_group(server, socket, { name, memberIds = [] }, reply) {
    const conversation = server.create(`c${server.conversations.size + 1}`, [...new Set([socket.user, ...memberIds])], { kind: 'group', title: name });
    conversation.code = `code-${conversation.id}`;
    reply({ conversation: { ...server.summary(conversation, socket.user), inviteCode: conversation.code }, inviteCode: conversation.code });
  },

  join_group(server, socket, { inviteCode }, reply, refuse) {
    const conversation = [...server.conversations.values()].find((c) => c.code === inviteCode);
    if (!conversation) return refuse('not_found');
    if (!conversation.members.has(socket.user)) {
      conversation.members.set(socket.user, { readSeq: conversation.log.length + 1 });
      server.append(conversation, 'member_joined', { userId: socket.user, name: socket.user });
    }
    reply({ conversation: server.summary(conversation, socket.user) });
  },

  leave_group(server, socket, { conversationId }, reply, refuse, conversation) {
    if (conversation.kind === 'direct') return refuse('forbidden');
    server.append(conversation, 'member_left', { userId: socket.user, name: socket.user });
    conversation.members.delete(socket.user);
    for (const other of server.sockets) if (other.user === socket.user) other.joined.delete(conversationId);
    reply({ conversationId });
  },
};

/** Both ends of a connection: the client's is the `WebSocket`, the server's are the methods below the line. */
class FakeSocket {
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  user = '';
  joined = new Set();
  /** Nothing arrives any more, in either direction, and nobody is told. */
  dead = false;
  #server;
  #timers;
  #busyUntil = { up: 0, down: 0 };

  constructor(server, timers, url) {
    this.#server = server;
    this.#timers = timers;
    this.url = url;
  }

  send(text) {
    if (this.readyState === 0) throw new Error('sent before it was open');
    if (this.readyState !== 1) return;
    this.#travel('up', () => this.#server.handle(this, text));
  }

  close(code = 1005) {
    if (this.readyState > 1) return;
    this.readyState = 3;
    this.closedWith = code;
    this.user = '';
    this.joined.clear();
  }

  // -- what the server does --

  opened() {
    this.readyState = 1;
    this.onopen?.({});
  }

  emit(type, payload) {
    this.raw(JSON.stringify({ type, timestamp: this.#server.time(), payload }));
  }

  reply(type, requestId, payload) {
    if (requestId) this.raw(JSON.stringify({ type, requestId, timestamp: this.#server.time(), payload }));
  }

  refuse(requestId, code, more) {
    const payload = { code, message: code, retryable: ['unavailable', 'internal', 'rate_limited'].includes(code), ...more };
    this.raw(JSON.stringify({ type: 'error', ...(requestId && { requestId }), timestamp: this.#server.time(), payload }));
  }

  raw(text) {
    this.#travel('down', () => this.onmessage?.({ data: text }));
  }

  /** After what is on its way. */
  closeBy(code, reason = '') {
    this.#travel('down', () => this.lost(code, reason));
  }

  /** At once; what is on its way is lost. */
  lost(code = 1006, reason = '') {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.user = '';
    this.joined.clear();
    this.onclose?.({ code, reason });
  }

  later(run, ms = this.#server.delay()) {
    this.#timers.setTimeout(() => this.readyState !== 3 && !this.dead && run(), ms);
  }

  /** Frames of one direction keep their order. */
  #travel(direction, run) {
    const now = this.#timers.now();
    const due = Math.max(this.#busyUntil[direction], now + this.#server.delay());
    this.#busyUntil[direction] = due;
    this.later(run, due - now);
  }
}
