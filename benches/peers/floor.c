// The floor: raw epoll, no parsing beyond the frame, one send(2) for each receiver of each message. What the kernel alone costs a
// server that does not batch. It answers only the one handshake key that loadgen sends, trusts its client, and remembers nothing.
// Build: cc -O2 -o floor floor.c. Run: ./floor [PORT]; 0 or nothing picks a free one. Prints the URL.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 20000
#define MAX_ROOM 20000
#define MAX_EVENTS 512
#define MAX_PAYLOAD 3072
#define LITERAL(text) text, sizeof(text) - 1

// The longest request that is taken: a message of 1,024 bytes and its envelope.
static struct { int upgraded, room, length; char user[40], bytes[2048]; } connections[MAX_FD];
static struct { int *members, count, capacity; } rooms[MAX_ROOM];
static char frame[MAX_PAYLOAD + 4];
static char payload[MAX_PAYLOAD];

static const char HANDSHAKE[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

// Puts `length` bytes of `text` into the one frame and returns the frame's length.
static int encode(const char *text, int length) {
  int header = 0;
  frame[header++] = (char)0x81;
  if (length < 126) {
    frame[header++] = (char)length;
  } else {
    frame[header++] = 126;
    frame[header++] = (char)(length >> 8);
    frame[header++] = (char)length;
  }
  memcpy(frame + header, text, length);
  return header + length;
}

static void answer(int fd, const char *text, int length) {
  send(fd, frame, encode(text, length), MSG_NOSIGNAL);
}

// The value of `key` (with its quotation marks and colon) up to the next quotation mark; empty if it is not there.
static const char *value_of(const char *text, int length, const char *key, int key_length, int *value_length) {
  const char *at = memmem(text, length, key, key_length);
  if (!at) { *value_length = 0; return ""; }
  at += key_length;
  const char *end = memchr(at, '"', text + length - at);
  *value_length = end ? (int)(end - at) : 0;
  return at;
}

static void join(int fd, int room) {
  if (rooms[room].count == rooms[room].capacity) {
    rooms[room].capacity = rooms[room].capacity ? rooms[room].capacity * 2 : 16;
    rooms[room].members = realloc(rooms[room].members, rooms[room].capacity * sizeof(int));
  }
  connections[fd].room = room;
  rooms[room].members[rooms[room].count++] = fd;
  answer(fd, LITERAL("{\"type\":\"join_conversation\",\"requestId\":\"j\"}"));
}

static void leave(int fd) {
  int room = connections[fd].room;
  if (room < 0) return;
  for (int i = 0; i < rooms[room].count; i++)
    if (rooms[room].members[i] == fd) rooms[room].members[i--] = rooms[room].members[--rooms[room].count];
}

static void message(int fd, int room, const char *text, int length) {
  int content_length, id_length;
  const char *content = value_of(text, length, LITERAL("\"content\":\""), &content_length);
  const char *id = value_of(text, length, LITERAL("\"requestId\":\""), &id_length);
  int written = snprintf(payload, sizeof payload,
    "{\"type\":\"send_message\",\"requestId\":\"%.*s\",\"timestamp\":\"2026-11-24T00:00:00.000Z\",\"payload\":{\"id\":\"x\",\"seq\":1}}", id_length, id);
  answer(fd, payload, written);
  written = snprintf(payload, sizeof payload,
    "{\"type\":\"message_created\",\"timestamp\":\"2026-11-24T00:00:00.000Z\",\"payload\":{\"id\":\"0190f0d8-0000-7000-8000-000000000000\","
    "\"seq\":1,\"conversationId\":\"room-%d\",\"senderId\":\"%s\",\"content\":\"%.*s\","
    "\"createdAt\":\"2026-11-24T00:00:00.000Z\"}}", room, connections[fd].user, content_length, content);
  int frame_length = encode(payload, written);
  for (int i = 0; i < rooms[room].count; i++) send(rooms[room].members[i], frame, frame_length, MSG_NOSIGNAL);
}

// A hint to the others of the room, and no reply.
static void typing(int fd, int room, const char *event) {
  int written = snprintf(payload, sizeof payload,
    "{\"type\":\"%s\",\"timestamp\":\"2026-11-24T00:00:00.000Z\",\"payload\":{\"conversationId\":\"room-%d\",\"userId\":\"%s\"}}",
    event, room, connections[fd].user);
  int frame_length = encode(payload, written);
  for (int i = 0; i < rooms[room].count; i++)
    if (rooms[room].members[i] != fd) send(rooms[room].members[i], frame, frame_length, MSG_NOSIGNAL);
}

static void authenticate(int fd, const char *text, int length) {
  int token_length;
  const char *token = value_of(text, length, LITERAL("\"token\":\""), &token_length);
  snprintf(connections[fd].user, sizeof connections[fd].user, "%.*s", token_length, token);
  answer(fd, LITERAL("{\"type\":\"auth\",\"requestId\":\"a\"}"));
}

static void request(int fd, const char *text, int length) {
  const char *room = memmem(text, length, LITERAL("\"conversationId\":\"room-"));
  int number = room ? atoi(room + sizeof("\"conversationId\":\"room-") - 1) : -1;
  if (number < 0 || number >= MAX_ROOM) authenticate(fd, text, length);
  else if (memmem(text, length, LITERAL("\"send_message\""))) message(fd, number, text, length);
  else if (memmem(text, length, LITERAL("join_conv"))) join(fd, number);
  else if (memmem(text, length, LITERAL("typing_start"))) typing(fd, number, "typing_started");
  else if (memmem(text, length, LITERAL("typing_stop"))) typing(fd, number, "typing_stopped");
}

// Takes complete frames from the front of the connection's bytes; returns how many bytes that were.
static int take_frames(int fd, int at) {
  char *bytes = connections[fd].bytes;
  int total = connections[fd].length;
  while (total - at >= 2) {
    int length = bytes[at + 1] & 0x7f, header = 2;
    if (length == 126) {
      if (total - at < 4) break;
      length = (uint8_t)bytes[at + 2] << 8 | (uint8_t)bytes[at + 3];
      header = 4;
    }
    if (total - at < header + 4 + length) break;
    char *mask = bytes + at + header, *text = mask + 4;
    for (int i = 0; i < length; i++) text[i] ^= mask[i & 3];
    at += header + 4 + length;
    request(fd, text, length);
  }
  return at;
}

static void readable(int fd) {
  char *bytes = connections[fd].bytes;
  int received = recv(fd, bytes + connections[fd].length, sizeof connections[fd].bytes - connections[fd].length, 0);
  if (received < 0 && errno == EAGAIN) return;
  if (received <= 0) { leave(fd); close(fd); return; }
  connections[fd].length += received;
  int at = 0;
  if (!connections[fd].upgraded) {
    char *end = memmem(bytes, connections[fd].length, LITERAL("\r\n\r\n"));
    if (!end) return;
    send(fd, HANDSHAKE, sizeof HANDSHAKE - 1, MSG_NOSIGNAL);
    connections[fd].upgraded = 1;
    at = end + 4 - bytes;
  }
  at = take_frames(fd, at);
  memmove(bytes, bytes + at, connections[fd].length - at);
  connections[fd].length -= at;
}

static void accept_all(int epoll, int listener) {
  int fd, on = 1;
  while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
    if (fd >= MAX_FD) { close(fd); continue; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[fd].upgraded = connections[fd].length = 0;
    connections[fd].room = -1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
}

int main(int argc, char **argv) {
  int on = 1, epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&address, size) || listen(listener, 4096) || getsockname(listener, (void *)&address, &size)) {
    perror("listen");
    return 1;
  }
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[MAX_EVENTS];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  printf("ws://127.0.0.1:%d/ws\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listener) accept_all(epoll, listener);
      else readable(events[i].data.fd);
    }
  }
}
