/**
 * A client on the `ws` package that trusts nothing: the form of every envelope and the order of every logged event are
 * checked as they come, whatever the test is about.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import WebSocket from 'ws';

/** @typedef {Record<string, any>} Payload what a test asserts about field by field */
/** @typedef {{ type: string, requestId?: string, timestamp: string, payload: Payload }} Envelope */

const DEADLINE_MS = 10_000;
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const LOGGED = ['message_created', 'member_joined', 'member_left'];

/** An error that the server answered with. */
export class Refusal extends Error {
  /** @param {Payload} payload */
  constructor(payload) {
    super(`${payload.code}: ${payload.message}`);
    this.code = payload.code;
    this.retryable = payload.retryable;
  }
}

export class Client {
  #socket;
  #nextRequest = 1;
  /** @type {Map<string, { type: string, resolve: (payload: Payload) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** @type {Envelope[]} events that no test has taken yet */
  #events = [];
  /** @type {Map<string, number>} the last `seq` seen in each joined conversation */
  #heads = new Map();
  /** @type {Error | undefined} the first thing that was wrong with what came */
  #fault;
  /** @type {Promise<[number, Buffer]>} */
  #closed;
  /** @type {() => void} */
  #wake = () => {};

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.#socket = socket;
    this.#closed = /** @type {Promise<[number, Buffer]>} */ (once(socket, 'close'));
    socket.on('message', (data, isBinary) => {
      try {
        assert.equal(isBinary, false, 'text frames only');
        this.#receive(JSON.parse(data.toString()));
      } catch (error) {
        this.#fault ??= /** @type {Error} */ (error);
      }
      this.#wake();
    });
    socket.on('error', () => {}); // A server that is killed resets its connections; what was lost shows in the requests.
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the connection closed without an answer'));
      this.#waiting.clear();
      this.#wake();
    });
  }

  /** Connects without logging in. @param {string} url */
  static async connect(url) {
    const socket = new WebSocket(url, 'parlor.v1', { handshakeTimeout: DEADLINE_MS });
    const client = new Client(socket);
    await once(socket, 'open');
    assert.equal(socket.protocol, 'parlor.v1');
    return client;
  }

  /** Connects and logs in. @param {string} url @param {string} token */
  static async login(url, token) {
    const client = await Client.connect(url);
    const session = await client.request('auth', { token });
    return { client, session };
  }

  /** @param {Envelope} envelope */
  #receive(envelope) {
    const { type, requestId, timestamp, payload, ...rest } = envelope;
    assert.deepEqual(rest, {}, 'an envelope has no other field');
    assert.match(timestamp, TIMESTAMP);
    assert.ok(payload !== null && typeof payload === 'object' && !Array.isArray(payload));
    if (requestId !== undefined) {
      const request = this.#waiting.get(requestId);
      assert.ok(request, `an answer to ${requestId}, which was not asked or answered before`);
      this.#waiting.delete(requestId);
      if (type === 'error') return request.reject(new Refusal(payload));
      assert.equal(type, request.type, 'a reply has the type of its request');
      if (type === 'join_conversation') this.#follow(payload);
      return request.resolve(payload);
    }
    if (LOGGED.includes(type)) this.#step(payload);
    this.#events.push(envelope);
  }

  /** The events of a join are without a gap and end at the head. @param {Payload} joined */
  #follow({ conversation, head, events }) {
    const seqs = events.map((/** @type {Envelope} */ event) => event.payload.seq);
    assert.deepEqual(seqs, seqs.map((/** @type {number} */ _, /** @type {number} */ i) => head - seqs.length + 1 + i));
    this.#heads.set(conversation.id, head);
  }

  /** A live event is the next one of its conversation. @param {Payload} payload */
  #step({ conversationId, seq }) {
    const head = this.#heads.get(conversationId);
    assert.ok(head !== undefined, 'events of joined conversations only');
    assert.equal(seq, head + 1, 'no gap and no repeat');
    this.#heads.set(conversationId, seq);
  }

  /** Sends an action and waits for its reply. @param {string} type @param {Payload} [payload] @returns {Promise<Payload>} */
  request(type, payload) {
    const requestId = `r-${this.#nextRequest++}`;
    const reply = new Promise((resolve, reject) => this.#waiting.set(requestId, { type, resolve, reject }));
    this.#socket.send(JSON.stringify({ type, requestId, ...(payload && { payload }) }));
    return this.#within(`the reply to ${type}`, /** @type {Promise<Payload>} */ (reply));
  }

  /** The oldest event of this type that no one has taken. @param {string} type @returns {Promise<Payload>} */
  async event(type) {
    const arrival = async () => {
      for (;;) {
        if (this.#fault) throw this.#fault;
        const at = this.#events.findIndex((event) => event.type === type);
        if (at >= 0) return this.#events.splice(at, 1)[0].payload;
        assert.equal(this.#socket.readyState, WebSocket.OPEN, `still open while waiting for ${type}`);
        await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
      }
    };
    return this.#within(`the event ${type}`, arrival());
  }

  /** Everything that came before the answer to a ping was taken, and nothing was wrong with it. @param {string[]} [ignored] */
  async expectNothingElse(ignored = []) {
    await this.request('ping', {});
    if (this.#fault) throw this.#fault;
    assert.deepEqual(this.#events.filter((event) => !ignored.includes(event.type)), []);
    this.#events = [];
  }

  /** The code that the connection is closed with. */
  async closed() {
    const [code] = await this.#within('the close', this.#closed);
    if (this.#fault) throw this.#fault;
    return code;
  }

  /** Closes it as a browser would, and waits until the server has answered. */
  async close() {
    this.#socket.close(1000);
    assert.equal(await this.closed(), 1000);
  }

  /** @template T @param {string} what @param {Promise<T>} promise @returns {Promise<T>} */
  async #within(what, promise) {
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(this.#fault ?? new Error(`${what} did not come within ${DEADLINE_MS} ms`)), DEADLINE_MS);
    });
    try {
      return /** @type {T} */ (await Promise.race([promise, late]));
    } finally {
      clearTimeout(timer);
    }
  }
}
