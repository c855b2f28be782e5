/**
 * The connection: opens it, logs in, notices when it is dead, comes back. It knows nothing of conversations. The one place that
 * changes the client's state.
 */

/** @import { AuthReply, Environment, Options, Payload, Reason, Replies, Socket, State } from './types.js' */
/** @import { Clock, Task } from './clock.js' */
import { Backoff } from './backoff.js';
import { judge } from './closing.js';
import { ChatError } from './error.js';
import { Requests } from './requests.js';
import { Tokens } from './token.js';

/** For a socket to open, and again for the answer to `auth`. */
const CONNECT_MS = 10_000;
/** A connection that held for so long was a good one: the next pause is a short one again. */
const STEADY_MS = 5000;
/** Between attempts that `online` or coming into view cause. */
const WAKE_MS = 1000;
/** Before a token is asked for again that did not come in time for one that expires, and as much again at random. */
const REFRESH_MS = 4000;

/**
 * @typedef {object} Handlers
 * @property {() => void} changed The state did.
 * @property {(reply: AuthReply) => string | void} ready Logged in; a text refuses.
 * @property {() => void} up Connected.
 * @property {() => void} down No longer connected.
 * @property {(type: string, payload: Payload) => void} event
 * @property {(error: ChatError) => void} error One that nobody asked for.
 */

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

export class Connection {
  /** @type {State} */
  state = 'idle';
  /** @type {Reason} */
  reason = null;
  /** @type {number | null} */
  retryAt = null;
  requests;
  #options;
  #clock;
  #handlers;
  #tokens;
  #backoff;
  /** @type {Environment} */
  #environment;
  /** @type {Socket | null} */
  #socket = null;
  /** Of the attempt that is under way: an older one's answers do not count. */
  #attempts = 0;
  #attemptAt = 0;
  /** When `auth` was answered; 0: it is not. */
  #readyAt = 0;
  /** Not before then, whatever else happens. */
  #notBefore = 0;
  #draining = false;
  /** The last token was refused. */
  #rejected = false;
  /** When something came last, and when a ping went that nothing has come after. */
  #heardAt = 0;
  #pingedAt = 0;
  /** @type {Task | null} The next step: to give up waiting, to look for signs of life, to try again. */
  #step = null;
  /** @type {Task | null} */
  #refreshing = null;
  /** @type {{ promise: Promise<void>, resolve: () => void, reject: (error: ChatError) => void } | null} */
  #running = null;

  /**
   * @param {Options} options
   * @param {Clock} clock
   * @param {Environment} environment
   * @param {Handlers} handlers
   */
  constructor(options, clock, environment, handlers) {
    this.#options = options;
    this.#clock = clock;
    this.#environment = environment;
    this.#handlers = handlers;
    this.#tokens = new Tokens(options.getToken, clock);
    this.#backoff = new Backoff(options.random ?? Math.random);
    this.requests = new Requests(clock, (text) => this.#socket?.send(text));
  }

  /** @returns {Promise<void>} */
  connect() {
    if (!this.#running) {
      let resolve = () => {};
      /** @type {(error: ChatError) => void} */
      let reject = () => {};
      const promise = new Promise((/** @type {(value: void) => void} */ yes, no) => {
        resolve = yes;
        reject = no;
      });
      promise.catch(() => {});
      this.#running = { promise, resolve, reject };
      this.#backoff.reset();
      this.#notBefore = 0;
      this.#rejected = false;
      this.#environment.window?.addEventListener('online', this.#wake);
      this.#environment.document?.addEventListener('visibilitychange', this.#wake);
      this.#background();
      this.#enter('connecting');
      this.#attempt('connect');
      return promise;
    }
    return this.#running.promise;
  }

  retry() {
    if (this.retryAt !== null) this.#attempt();
  }

  close() {
    this.#end('closed', null, new ChatError('CLOSED', 'the client was closed'));
  }

  /** Whether requests are taken now. */
  get usable() {
    return this.requests.usable;
  }

  /**
   * @param {State} state
   * @param {Reason} [reason]
   * @param {number | null} [retryAt]
   */
  #enter(state, reason = null, retryAt = null) {
    this.state = state;
    this.reason = reason;
    this.retryAt = retryAt;
    this.#handlers.changed();
  }

  /** @param {'connect' | 'reconnect'} [reason] */
  async #attempt(reason = 'reconnect') {
    const attempt = ++this.#attempts;
    this.#clock.cancel(this.#step);
    this.#attemptAt = this.#clock.now();
    if (reason === 'reconnect') this.#enter('reconnecting', this.reason);
    let token;
    try {
      token = await this.#tokens.need(this.#rejected ? 'rejected' : reason);
    } catch (error) {
      if (attempt === this.#attempts) this.#lost('token', messageOf(error));
      return;
    }
    if (attempt === this.#attempts && this.#running) this.#open(token);
  }

  /** @param {string} token */
  #open(token) {
    let socket;
    try {
      const Platform = this.#options.WebSocket ?? globalThis.WebSocket;
      if (!Platform) throw new Error('there is no WebSocket here: give one in the options');
      const url = new URL(this.#options.url, this.#environment.window?.location?.href);
      url.protocol = url.protocol.replace('http', 'ws');
      socket = /** @type {Socket} */ (new Platform(url.href));
    } catch (error) {
      this.#fail('INVALID', messageOf(error));
      return;
    }
    this.#socket = socket;
    const late = () => this.#lost('network', 'no answer in time');
    this.#step = this.#clock.after(CONNECT_MS, late);
    socket.onopen = () => {
      this.#clock.cancel(this.#step);
      this.#step = this.#clock.after(CONNECT_MS, late);
      this.#authenticate(token);
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    socket.onerror = () => {};
  }

  /** @param {string} token */
  #authenticate(token) {
    const socket = this.#socket;
    this.requests.send('auth', { token }, (error, reply) => {
      if (socket !== this.#socket) return;
      if (!error) this.#ready(token, reply);
      else if (error.retryable) this.#lost('network', error.message, undefined, error.retryAfterMs);
      else this.#refused(error.message);
    });
  }

  /**
   * @param {string} token
   * @param {AuthReply} reply
   */
  #ready(token, reply) {
    const refusal = this.#handlers.ready(reply);
    if (refusal) {
      this.#fail('unauthorized', refusal);
      return;
    }
    this.#accepted(token, reply);
    this.#rejected = false;
    this.#readyAt = this.#clock.now();
    this.requests.open(reply.limits);
    this.#clock.cancel(this.#step);
    this.#look();
    this.#enter('connected');
    this.#handlers.up();
    this.#running?.resolve();
  }

  /**
   * @param {string} token
   * @param {AuthReply} reply
   */
  #accepted(token, reply) {
    // By the server's clock on both sides, whatever the time is here.
    this.#tokens.accepted(token, Date.parse(reply.expiresAt) - Date.parse(this.requests.timestamp));
  }

  /** A token comes from the app in place of one that was refused; but not again and again. @param {string} message @param {number} [closeCode] */
  #refused(message, closeCode) {
    if (this.#rejected) {
      this.#fail('unauthorized', message, closeCode);
      return;
    }
    this.#drop();
    this.#rejected = true;
    this.#tokens.forget();
    this.#enter('reconnecting', { code: 'unauthorized', message, closeCode });
    if (this.#running) this.#attempt();
  }

  /** The app has a new token for the connection that goes on. @param {'expiring' | 'rejected'} reason */
  async #refresh(reason) {
    const socket = this.#socket;
    this.#clock.cancel(this.#refreshing);
    this.#tokens.forget();
    /** @param {'expiring' | 'rejected'} next @param {string} message */
    const again = (next, message) => {
      if (socket !== this.#socket) return;
      const pause = REFRESH_MS * (1 + (this.#options.random ?? Math.random)());
      this.#refreshing = this.#clock.after(pause, () => this.#refresh(next));
      this.#handlers.error(new ChatError('token', message, { retryable: true, retryAfterMs: pause }));
    };
    try {
      const token = await this.#tokens.need(reason);
      if (socket !== this.#socket) return;
      this.requests.send('auth', { token }, (error, reply) => {
        if (!error) this.#accepted(token, reply);
        else again(error.retryable ? reason : 'rejected', error.message);
      });
    } catch (error) {
      again(reason, messageOf(error));
    }
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heardAt = this.#clock.now();
    this.#pingedAt = 0;
    const event = this.requests.receive(data);
    if (!event) return;
    const { type, payload } = event;
    if (type === 'connection_status') this.#status(payload);
    else if (this.#readyAt) {
      try {
        this.#handlers.event(type, payload);
      } catch (error) {
        this.#handlers.error(new ChatError('INVALID', `${type}: ${messageOf(error)}`));
      }
    }
  }

  /** @param {Payload} payload */
  #status({ status, reconnectAfterMs }) {
    if (status === 'token_expiring') this.#refresh('expiring');
    if (status === 'draining') {
      this.#draining = true;
      this.#notBefore = this.#clock.now() + (Number(reconnectAfterMs) || 0);
      // It reads nothing more.
      this.requests.usable = false;
    }
  }

  /**
   * @param {number} closeCode
   * @param {string} text
   */
  #closed(closeCode, text) {
    const { code, terminal, pauseMs } = judge(closeCode);
    const message = text || `closed with ${closeCode}`;
    if (code === 'unauthorized') this.#refused(message, closeCode);
    else if (terminal) this.#fail(code, message, closeCode);
    else {
      if (code === 'token_expired') this.#tokens.forget();
      if (pauseMs) this.#notBefore = this.#clock.now() + pauseMs;
      this.#lost(this.#draining ? 'draining' : code, message, closeCode);
    }
  }

  /** The connection is gone, or did not come about: again after a pause. @param {string} code @param {string} message @param {number} [closeCode] @param {number} [pauseMs] */
  #lost(code, message, closeCode, pauseMs = 0) {
    const now = this.#clock.now();
    if (this.#readyAt && now - this.#readyAt >= STEADY_MS) this.#backoff.reset();
    const wait = Math.max(this.#backoff.next(), this.#notBefore - now, pauseMs);
    this.#drop();
    this.#step = this.#clock.after(wait, () => this.#attempt());
    this.#enter('reconnecting', { code, message, closeCode }, now + wait);
  }

  /** @param {string} code @param {string} message @param {number} [closeCode] */
  #fail(code, message, closeCode) {
    this.#end('failed', { code, message, closeCode }, new ChatError(code, message));
  }

  /**
   * @param {State} state
   * @param {Reason} reason
   * @param {ChatError} error
   */
  #end(state, reason, error) {
    const running = this.#running;
    this.#running = null;
    this.#attempts++;
    this.#drop();
    this.#tokens.stop();
    this.#clock.stop();
    this.#environment.window?.removeEventListener('online', this.#wake);
    this.#environment.document?.removeEventListener('visibilitychange', this.#wake);
    this.#enter(state, reason);
    running?.reject(error);
  }

  /** Lets go of the socket, and of whoever waits for an answer. */
  #drop() {
    const socket = this.#socket;
    const wasReady = this.#readyAt > 0;
    this.#socket = null;
    this.#readyAt = 0;
    this.#draining = false;
    this.#clock.cancel(this.#step);
    this.#clock.cancel(this.#refreshing);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    this.requests.close();
    if (wasReady) this.#handlers.down();
  }

  get #hidden() {
    return this.#environment.document?.visibilityState === 'hidden';
  }

  #background() {
    this.#clock.background(this.#hidden);
  }

  /** The network is back, or the page has come into view or gone out of it. */
  #wake = () => {
    this.#background();
    if (this.#hidden) return;
    this.#clock.wake();
    if (this.#readyAt) this.#look(true);
    else if (this.retryAt !== null) {
      const now = this.#clock.now();
      const wait = Math.max(0, this.#notBefore - now, this.#attemptAt + WAKE_MS - now);
      if (!wait) this.#attempt();
      else if (now + wait < this.retryAt) {
        this.#clock.cancel(this.#step);
        this.#step = this.#clock.after(wait, () => this.#attempt());
        this.#enter('reconnecting', this.reason, now + wait);
      }
    }
  };

  /** Looks for signs of life, and when to look again. @param {boolean} [doubt] Do not wait for a silence before asking. */
  #look(doubt = false) {
    const { pingIntervalMs, pongTimeoutMs } = this.requests.limits;
    const now = this.#clock.now();
    this.#heardAt = Math.min(this.#heardAt, now);
    this.#pingedAt = Math.min(this.#pingedAt, now);
    const silent = now - this.#heardAt;
    let wait = pingIntervalMs - silent;
    // The timers of a page in view are not late: so the machine slept, and the server has given up by now.
    const slept = !this.#pingedAt && !this.#hidden && silent >= pingIntervalMs + pongTimeoutMs;
    if (slept || (this.#pingedAt && now - this.#pingedAt >= pongTimeoutMs)) {
      this.#lost('ping_timeout', `nothing came for ${silent} ms`);
      return;
    }
    if (!this.#pingedAt && (doubt || wait <= 0)) {
      this.#pingedAt = now;
      this.requests.ping();
    }
    if (this.#pingedAt) wait = pongTimeoutMs - (now - this.#pingedAt);
    this.#clock.cancel(this.#step);
    this.#step = this.#clock.after(wait, () => this.#look());
  }
}
