/**
 * The connection: opens it, logs in, matches answers, notices when it is dead, comes back. It knows nothing of conversations. The
 * one place that changes the client's state.
 */

/** @import { AuthReply, Environment, Limits, Options, Payload, Reason, Replies, Socket, State, Ticker, TokenAsk } from './types.js' */
/** @import { Deferred } from './defer.js' */
/** @import { Timing } from './timing.js' */
import { judge } from './closing.js';
import { defer, NOTHING } from './defer.js';
import { ChatError, passing } from './error.js';
import { pauseAfter } from './timing.js';

/** For a socket to open and `auth` to be answered. */
const CONNECT_MS = 10_000;
/** For the app to come up with a token. */
const TOKEN_MS = 15_000;
/** For an answer. */
const ANSWER_MS = 30_000;
/** A connection that held for so long was a good one: the next pause is a short one again. */
const STEADY_MS = 5000;
/** Between attempts that `online` or coming into view cause. */
const WAKE_MS = 1000;
/** Before a token is asked for again that did not come in time for one that expires, and as much again at random. */
const REFRESH_MS = 8000;
/** What is asked again as long as the server cannot answer. */
const PATIENT = /^(join_c|load_c|mark|send)/;
/** Before something is asked again that the server could not answer, beside what it says, and as much again at random. */
const AGAIN_MS = 1000;

/**
 * @template T
 * @typedef {(error: ChatError | null, reply?: T) => void} Settle Without an error there is a reply.
 */

/** @typedef {{ state: State, reason: Reason, retryAt: number | null }} Status */

/**
 * @typedef {object} Handlers
 * @property {(status: Status) => void} state
 * @property {(reply: AuthReply) => void} ready Connected. Throws where that is as somebody else.
 * @property {() => void} down No longer.
 * @property {(type: string, payload: Payload) => void} event
 * @property {(error: ChatError) => void} error One that nobody asked for.
 */

/** @typedef {ReturnType<typeof createConnection>} Connection */

/**
 * @param {Options} options
 * @param {Timing} timing
 * @param {Handlers} on
 */
export const createConnection = (options, { now, after, cancel, random }, on) => {
  const { window, document } = /** @type {Environment} */ (options.environment ?? globalThis);
  /** In a row, for the pause. */
  let failures = 0;
  /** @type {Map<string, Settle<Payload>>} */
  const pending = new Map();
  /** @type {Deferred<void> | null | undefined} */
  let running;
  /** Of the listeners. */
  /** @type {AbortController | undefined} */
  let stop;
  /** @type {Socket | null | undefined} */
  let socket;
  let limits = /** @type {Limits} */ ({});
  let status = /** @type {Status} */ ({});
  /** Counts attempts and their ends: what an older one waited for does not matter any more. */
  let attempts = 0;
  let attemptAt = 0;
  /** Not before then, whatever else happens. */
  let notBefore = 0;
  /** When `auth` was answered; 0: it is not. */
  let readyAt = 0;
  let usable = false;
  let over = false;
  let lastId = 0;
  /** The next step: to give up waiting, to look for signs of life, to try again. */
  let step = NOTHING;
  /** @type {number} */
  let stepAt;
  /** @type {unknown} */
  let stepTimer;
  /** @type {Ticker | undefined} */
  let ticker;
  /** Why the next token is needed: nothing has failed yet, nor succeeded; something has; the last token was refused. */
  let need = /** @type {TokenAsk['reason']} */ ('connect');
  /** @type {Promise<string> | null} */
  let asking = null;
  /** @type {AbortController | undefined} */
  let asked;
  /** @type {unknown} */
  let refreshing;

  /** The only place that changes the state. @param {State} state @param {Reason} [reason] @param {number | null} [retryAt] */
  const enter = (state, reason = null, retryAt = null) => on.state((status = { state, reason, retryAt }));

  /** @param {number} ms @param {() => void} run */
  const plan = (ms, run) => {
    halt();
    stepAt = now() + ms;
    step = run;
    stepTimer = after(ms, due);
    ticker?.postMessage(ms);
  };

  const halt = () => {
    cancel(stepTimer);
    stepAt = Infinity;
  };

  const due = () => {
    halt();
    step();
  };

  /**
   * Sends a request.
   *
   * @template {keyof Replies} A
   * @param {A} action
   * @param {Payload} payload
   * @param {Settle<Replies[A]>} settle Called once.
   * @returns {(error: ChatError) => void} Waits no longer.
   */
  const call = (action, payload, settle) => {
    const requestId = `${++lastId}`;
    const text = JSON.stringify({ type: action, requestId, payload });
    /** @type {unknown} */
    let timer;
    const go = () => {
      timer = after(ANSWER_MS, () => done(passing('TIMEOUT')));
      // The server would close the connection for it, and for good.
      if (new Blob([text]).size > limits.maxMessageBytes) done(new ChatError('INVALID'));
      else socket?.send(text);
    };
    /** @type {Settle<Payload>} */
    const done = (error, reply) => {
      cancel(timer);
      if (usable && error?.retryable && PATIENT.test(action)) timer = after(AGAIN_MS * (1 + random()) + (error.retryAfterMs ?? 0), go);
      else if (pending.has(requestId)) {
        settle(error, /** @type {Replies[A]} */ (/** @type {unknown} */ (reply)));
        pending.delete(requestId);
      }
    };
    pending.set(requestId, done);
    go();
    return done;
  };

  /** @param {{ data: unknown }} event */
  const receive = ({ data }) => {
    // Whatever comes is a sign of life. To plan anew each time would be too much.
    if (readyAt && stepAt - now() < limits.pingIntervalMs * 0.9) quiet();
    /** @type {Settle<Payload> | undefined} */
    let done;
    try {
      const { type, requestId, payload } = JSON.parse(/** @type {string} */ (data));
      done = pending.get(requestId);
      // Whoever asked may have gone.
      if (type === 'error') (requestId ? done : on.error)?.(new ChatError(payload.code, payload.message, payload));
      else if (requestId) done?.(null, payload);
      else if (payload.status === 'token_expiring') refresh('expiring');
      else if (payload.status === 'draining') {
        notBefore = now() + payload.reconnectAfterMs;
        // It reads nothing more.
        usable = false;
      } else if (readyAt) on.event(type, payload);
    } catch (error) {
      // It is not what it must be: to whoever waits that is a failure like others.
      (done ?? on.error)(new ChatError('INVALID', `${error}`));
    }
  };

  /** @param {AuthReply} reply */
  const ready = (reply) => {
    limits = reply.limits;
    usable = true;
    readyAt = now();
    quiet();
    on.ready(reply);
    // Whoever heard of it may have closed.
    if (!readyAt) return;
    need = 'reconnect';
    enter('connected');
    running?.resolve();
  };

  /**
   * A token from the app, which is asked one question at a time.
   *
   * @param {TokenAsk['reason']} reason
   */
  const fetchToken = (reason) => {
    const ask = async () => {
      const { signal } = (asked = new AbortController());
      try {
        // What is no text, or has nothing in it, fails here.
        const [token] = /** @type {RegExpMatchArray} */ ((await options.getToken({ reason, signal })).match(/\S+/));
        return /** @type {string} */ (token);
      } finally {
        if (!signal.aborted) asking = null;
      }
    };
    return (asking ??= ask());
  };

  /** The app takes too long, or the token is not needed any more. */
  const forget = () => {
    asked?.abort();
    asking = null;
  };

  const attempt = async () => {
    const mine = ++attempts;
    let code = 'token';
    attemptAt = now();
    plan(TOKEN_MS, () => {
      forget();
      lost('token');
    });
    enter(need === 'connect' ? 'connecting' : 'reconnecting', status.reason);
    try {
      const token = await fetchToken(need);
      if (mine === attempts) {
        code = 'INVALID';
        open(token);
      }
    } catch (error) {
      if (mine === attempts) lost(code, `${error}`, code === 'INVALID');
    }
  };

  /** Throws where the URL is none. @param {string} token */
  const open = (token) => {
    const { href } = new URL(options.url, window?.location?.href);
    socket = new (options.WebSocket ?? /** @type {new (url: string) => Socket} */ (/** @type {unknown} */ (WebSocket)))(
      href.replace('http', 'ws'),
    );
    plan(CONNECT_MS, () => lost('network'));
    socket.onopen = () => {
      call('auth', { token }, (error, reply) => {
        if (reply) ready(reply);
        // Unless it is lost already.
        else if (error && socket) lost(error.retryable ? 'network' : 'unauthorized', error.message, !error.retryable, error.retryAfterMs);
      });
    };
    socket.onmessage = receive;
    socket.onclose = ({ code, reason }) => {
      lost(...judge(code, reason), code);
    };
    socket.onerror = NOTHING;
  };

  /** A new token for the connection that goes on: asked for until there is one. @param {'expiring' | 'rejected'} reason */
  const refresh = (reason) => {
    const mine = attempts;
    forget();
    cancel(refreshing);
    refreshing = after(REFRESH_MS * (1 + random()), () => refresh(reason));
    fetchToken(reason).then((token) => {
      if (mine !== attempts) return;
      call('auth', { token }, (error) => {
        if (!error) cancel(refreshing);
        else if (!error.retryable) reason = 'rejected';
      });
    }, NOTHING);
  };

  /**
   * The connection is gone, or did not come about: again after a pause, unless the same would happen again.
   *
   * @param {string} code
   * @param {string} [message]
   * @param {boolean} [terminal]
   * @param {number} [pauseMs]
   * @param {number} [closeCode]
   */
  const lost = (code, message = code, terminal, pauseMs = 0, closeCode) => {
    // A token comes from the app in place of one that was refused, at once; but not again and again.
    const replace = code === 'unauthorized' && need !== 'rejected';
    if (terminal && !replace) return end('failed', { code, message, closeCode }, new ChatError(code, message));
    if (replace) need = 'rejected';
    else if (need === 'connect') need = 'reconnect';
    if (readyAt && now() >= readyAt + STEADY_MS) failures = 0;
    notBefore = Math.max(notBefore, now() + pauseMs);
    const wait = replace ? 0 : Math.max(pauseAfter(failures++, random), notBefore - now());
    if (drop()) later(wait, { code, message, closeCode });
  };

  /** @param {number} wait @param {Reason} reason */
  const later = (wait, reason) => {
    plan(wait, attempt);
    enter('reconnecting', reason, now() + wait);
  };

  /** @param {'closed' | 'failed'} state @param {Reason} reason @param {ChatError} error */
  const end = (state, reason, error) => {
    over = true;
    const ended = running;
    running = null;
    ended?.reject(error);
    forget();
    ticker?.terminate();
    stop?.abort();
    if (drop(ended)) enter(state, reason);
  };

  /**
   * Lets go of the socket, and of whoever waits for an answer.
   *
   * @param {unknown} [ended]
   * @returns {boolean} Whether nobody who heard of that closed.
   */
  const drop = (ended) => {
    const was = readyAt;
    const mine = ++attempts;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    socket = null;
    readyAt = 0;
    usable = false;
    halt();
    cancel(refreshing);
    pending.forEach((done) => done(passing('DISCONNECTED')));
    if (was || ended) on.down();
    return mine === attempts;
  };

  /** After a silence the server is asked for a sign of life, and after more of it given up. */
  const quiet = () => plan(limits.pingIntervalMs, probe);

  const probe = () => {
    call('ping', {}, NOTHING);
    plan(limits.pongTimeoutMs, dead);
  };

  const dead = () => lost('ping_timeout');

  /** The network is back, or the page in view. */
  const wake = () => {
    // What slept past all that need not ask.
    if (readyAt) (now() >= stepAt + limits.pongTimeoutMs ? dead : probe)();
    else if (status.retryAt) {
      failures = 0;
      later(Math.max(0, Math.min(stepAt, Math.max(notBefore, attemptAt + WAKE_MS)) - now()), status.reason);
    }
  };

  return {
    /** Whether requests are taken now. */
    usable: () => usable,
    limits: () => limits,
    /** Whether it ended, and was not begun again. */
    ended: () => over,

    connect() {
      const mine = running ?? defer();
      if (!running) {
        running = mine;
        over = false;
        stop = new AbortController();
        window?.addEventListener('online', wake, stop);
        document?.addEventListener('visibilitychange', () => document.hidden || wake(), stop);
        try {
          // While the page is hidden its timers are slow, but not those of a worker. Its word may be early: the clock was set back.
          if (document) {
            ticker = options.environment?.ticker?.() ?? new Worker(new URL('./ticker.js', import.meta.url), { type: 'module' });
            ticker.onmessage = () => (now() < stepAt ? ticker?.postMessage(stepAt - now()) : due());
          }
        } catch {
          // Not allowed here: then the page's timers must do.
        }
        failures = notBefore = 0;
        need = 'connect';
        attempt();
      }
      return mine.promise;
    },

    retry() {
      if (status.retryAt) attempt();
    },

    close: () => end('closed', null, new ChatError('CLOSED')),

    call,

    /**
     * Asks for something.
     *
     * @template {keyof Replies} A
     * @param {A} action
     * @param {Payload} payload
     * @param {((reply: Replies[A]) => void) | null} [handle] Gets the reply before anything that comes after it.
     * @param {AbortSignal} [signal]
     * @returns {Promise<Replies[A]>}
     */
    ask: (action, payload, handle, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) throw signal.reason;
        if (!usable) throw passing('DISCONNECTED');
        const stop = () => done(signal?.reason);
        signal?.addEventListener('abort', stop);
        const done = call(action, payload, (error, reply) => {
          signal?.removeEventListener('abort', stop);
          if (error) return reject(error);
          handle?.(/** @type {Replies[A]} */ (reply));
          resolve(/** @type {Replies[A]} */ (reply));
        });
      }),
  };
}
