/**
 * Requests and their answers on one connection: numbered, matched, each with an end, and no faster than the server takes them.
 */

/** @import { Limits, Payload, Replies } from './types.js' */
/** @import { Clock, Task } from './clock.js' */
import { Bucket } from './bucket.js';
import { ChatError, disconnected } from './error.js';

/** An answer has to come within this. */
const TIMEOUT_MS = 30_000;
/** Of the 64 that a server takes unanswered; the rest is for messages, `auth` and `ping`, which do not wait here. */
const MOST_IN_FLIGHT = 48;
const MOST_WAITING = 500;
/** Asked again after a pause, where the server cannot answer now: they change nothing but what this client knows or shows. */
const REPEATED = new Set(['join_conversation', 'load_conversations', 'load_messages', 'mark_read']);
const PAUSE_MS = 2000;
/** A longer pause is for the one who asked to decide about. */
const LONGEST_PAUSE_MS = 10_000;
/** What counts as several. */
const WEIGHTS = /** @type {Record<string, number>} */ ({ join_conversation: 8, load_conversations: 8, load_messages: 8 });
const ACTIONS_AT_ONCE = 80;
const ACTIONS_PER_SECOND = 25;

/**
 * @template T
 * @typedef {(...answer: [error: ChatError, reply?: undefined] | [error: null, reply: T]) => void} Settle
 */

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} action
 * @property {string} text
 * @property {number} weight
 * @property {Settle<Payload>} settle
 * @property {Task} timeout
 */

export class Requests {
  /** Whether new ones are taken. */
  usable = false;
  /** @type {Limits} Taken from the server as soon as it has told them. */
  limits = /** @type {Limits} */ ({ maxMessageBytes: 8192 });
  /** The server's time, as of the last thing that came. */
  timestamp = '';
  #clock;
  #transmit;
  #bucket = new Bucket(ACTIONS_AT_ONCE, ACTIONS_PER_SECOND);
  #lastId = 0;
  #inFlight = 0;
  /** @type {Map<string, Job>} */
  #sent = new Map();
  /** @type {Job[]} */
  #waiting = [];
  /** @type {Task | null} */
  #pumping = null;

  /**
   * @param {Clock} clock
   * @param {(text: string) => void} transmit
   */
  constructor(clock, transmit) {
    this.#clock = clock;
    this.#transmit = transmit;
  }

  /** @param {Limits} limits */
  open(limits) {
    this.limits = limits;
    this.usable = true;
  }

  /** The connection is gone: everybody who waits hears of it. */
  close() {
    this.usable = false;
    for (const job of [...this.#sent.values(), ...this.#waiting]) this.#settle(job, disconnected());
  }

  /**
   * Sends at once, also before the login.
   *
   * @template {keyof Replies} A
   * @param {A} action
   * @param {Payload} payload
   * @param {Settle<Replies[A]>} settle
   */
  send(action, payload, settle) {
    const job = this.#job(action, payload, settle);
    if (job) this.#go(job);
  }

  /**
   * Sends as soon as the server will take it.
   *
   * @template {keyof Replies} A
   * @param {A} action
   * @param {Payload} payload
   * @param {Settle<Replies[A]>} settle
   * @param {AbortSignal} [signal]
   */
  request(action, payload, settle, signal) {
    if (!this.usable) return settle(disconnected());
    if (this.#waiting.length >= MOST_WAITING) return settle(new ChatError('QUEUE_FULL', 'too many requests wait', { retryable: true }));
    const job = this.#job(action, payload, settle);
    if (!job) return;
    signal?.addEventListener('abort', () => this.#settle(job, signal.reason), { once: true });
    this.#waiting.push(job);
    this.#pump();
  }

  /** Asks for a sign of life. */
  ping() {
    this.#transmit('{"type":"ping","requestId":"p"}');
  }

  /**
   * @param {unknown} data
   * @returns {{ type: string, payload: Payload } | undefined} An event.
   */
  receive(data) {
    let envelope;
    try {
      envelope = JSON.parse(String(data));
    } catch {
      return;
    }
    const { type, requestId, timestamp, payload } = envelope ?? {};
    if (typeof type !== 'string' || typeof (payload ?? 0) !== 'object') return;
    this.timestamp = timestamp;
    if (requestId === undefined) return { type, payload };
    const job = this.#sent.get(requestId);
    if (!job) return;
    if (type !== 'error') return this.#settle(job, null, payload);
    const error = errorOf(payload);
    const { retryAfterMs = PAUSE_MS } = error;
    if (!error.retryable || retryAfterMs > LONGEST_PAUSE_MS || !REPEATED.has(job.action)) return this.#settle(job, error);
    // Others would be refused as well, so that all wait.
    this.#bucket.block(this.#clock.now(), retryAfterMs);
    this.#sent.delete(job.id);
    this.#inFlight -= job.weight;
    this.#waiting.unshift(job);
    this.#pump();
  }

  /**
   * @template {keyof Replies} A
   * @param {A} action
   * @param {Payload} payload
   * @param {Settle<Replies[A]>} settle
   * @returns {Job | undefined}
   */
  #job(action, payload, settle) {
    const id = String(++this.#lastId);
    const text = JSON.stringify({ type: action, requestId: id, payload });
    // The server would close the connection for it, and for good.
    if (new TextEncoder().encode(text).length > this.limits.maxMessageBytes) {
      settle(new ChatError('INVALID', `${action} is longer than ${this.limits.maxMessageBytes} bytes`));
      return;
    }
    /** @type {Job} */
    const job = {
      id,
      action,
      text,
      weight: WEIGHTS[action] ?? 1,
      // What a server answers is taken to have the shape of the protocol; see `#settle` for when it has not.
      settle: /** @type {Settle<Payload>} */ (/** @type {unknown} */ (settle)),
      timeout: this.#clock.after(TIMEOUT_MS, () => this.#settle(job, new ChatError('TIMEOUT', `no answer to ${action}`, { retryable: true }))),
    };
    return job;
  }

  /** @param {Job} job */
  #go(job) {
    this.#inFlight += job.weight;
    this.#sent.set(job.id, job);
    this.#transmit(job.text);
  }

  /** Once for each job; more often does nothing. @param {Job} job @param {ChatError | null} error @param {Payload} [reply] */
  #settle(job, error, reply) {
    this.#clock.cancel(job.timeout);
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
    else if (this.#sent.delete(job.id)) this.#inFlight -= job.weight;
    else return;
    if (error) job.settle(error);
    else {
      try {
        job.settle(null, reply ?? {});
      } catch (fault) {
        // The reply is not what it must be: to whoever waits that is a failure like others.
        job.settle(new ChatError('INVALID', `reply to ${job.action}: ${fault}`));
      }
    }
    this.#pump();
  }

  #pump() {
    this.#clock.cancel(this.#pumping);
    for (let job; (job = this.#waiting[0]); ) {
      if (this.#inFlight && this.#inFlight + job.weight > MOST_IN_FLIGHT) return;
      const wait = this.#bucket.take(this.#clock.now());
      if (wait) {
        this.#pumping = this.#clock.after(wait, () => this.#pump());
        return;
      }
      this.#waiting.shift();
      this.#go(job);
    }
  }
}

/** @param {Payload} payload */
export const errorOf = ({ code, message, retryable, retryAfterMs }) =>
  new ChatError(String(code), String(message), { retryable: retryable === true, retryAfterMs: Number(retryAfterMs) || undefined });
