/**
 * All that the client does later. One platform timer runs at a time, for what is due first; while the page is hidden a worker's
 * timer runs beside it, because the page's own may be a minute late then.
 */

/** @import { Timers, Ticker } from './types.js' */

/** Longer waits overflow a platform timer. */
const LONGEST_MS = 2 ** 31 - 1;

/** @typedef {{ due: number, run: () => void }} Task */

/** @type {Timers} */
export const PLATFORM = {
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(/** @type {number} */ (timer)),
  now: () => Date.now(),
};

/** @returns {Ticker} */
export const startTicker = () => new Worker(new URL('./ticker.js', import.meta.url), { type: 'module' });

export class Clock {
  #timers;
  #startTicker;
  /** @type {Set<Task>} */
  #tasks = new Set();
  /** @type {unknown} */
  #timer;
  /** What the timer runs for; `Infinity`: none runs. */
  #armed = Infinity;
  /** @type {Ticker | null} */
  #ticker = null;

  /**
   * @param {Timers} timers
   * @param {() => Ticker} start
   */
  constructor(timers, start) {
    this.#timers = timers;
    this.#startTicker = start;
  }

  now() {
    return this.#timers.now();
  }

  /**
   * @param {number} ms
   * @param {() => void} run
   * @returns {Task} For `cancel`.
   */
  after(ms, run) {
    const task = { due: this.now() + ms, run };
    this.#tasks.add(task);
    this.#arm();
    return task;
  }

  /** @param {Task | null | undefined} task One that has run, too. */
  cancel(task) {
    if (task) this.#tasks.delete(task);
  }

  /** Whether the page is hidden, and its timers not to be relied on. @param {boolean} hidden */
  background(hidden) {
    this.#ticker?.terminate();
    this.#ticker = null;
    if (!hidden) return;
    try {
      const ticker = (this.#ticker = this.#startTicker());
      ticker.onmessage = () => this.wake();
      // It may not be allowed here, or not be found: then the page's timers must do.
      ticker.onerror = () => ticker === this.#ticker && this.background(false);
      this.wake();
    } catch {
      this.#ticker = null;
    }
  }

  /** Does what is due by the clock. */
  wake() {
    this.#fire(this.now());
  }

  /** Forgets everything. */
  stop() {
    this.background(false);
    this.#tasks.clear();
    this.#timers.clearTimeout(this.#timer);
    this.#armed = Infinity;
  }

  #arm() {
    let first = Infinity;
    for (const task of this.#tasks) first = Math.min(first, task.due);
    if (first >= this.#armed) return;
    const now = this.now();
    const ms = Math.min(LONGEST_MS, Math.max(0, first - now));
    const due = (this.#armed = now + ms);
    this.#timers.clearTimeout(this.#timer);
    // When it ends that much time has passed, even if the clock was set back meanwhile.
    this.#timer = this.#timers.setTimeout(() => this.#fire(Math.max(due, this.now())), ms);
    this.#ticker?.postMessage(ms);
  }

  /** @param {number} until */
  #fire(until) {
    this.#armed = Infinity;
    try {
      for (const task of [...this.#tasks]) if (task.due <= until && this.#tasks.delete(task)) task.run();
    } finally {
      this.#arm();
    }
  }
}
