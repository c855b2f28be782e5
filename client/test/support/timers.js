/** Time that passes only when a test says so. */

export class ManualTimers {
  /** 2026-11-24T09:00:00Z, so that dates are dates. */
  #now = Date.UTC(2026, 10, 24, 9);
  #timers = new Map();
  #lastId = 0;

  now = () => this.#now;

  setTimeout = (run, ms) => {
    if (!(ms >= 0 && ms < 2 ** 31)) throw new Error(`a timer of ${ms} ms`);
    this.#timers.set(++this.#lastId, { due: this.#now + ms, run });
    return this.#lastId;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  /** How many timers run. */
  get pending() {
    return this.#timers.size;
  }

  /** Lets `ms` pass, and everything happen that is due by then, in order. */
  async advance(ms) {
    const until = this.#now + ms;
    for (;;) {
      await settled();
      const [id, timer] = this.#next() ?? [];
      if (!timer || timer.due > until) break;
      this.#now = Math.max(this.#now, timer.due);
      this.#timers.delete(id);
      timer.run();
    }
    this.#now = until;
    await settled();
  }

  /** The clock moves, but no timer runs: as for a page that was frozen, or whose clock was set. */
  jump(ms) {
    this.#now += ms;
  }

  #next() {
    let first;
    for (const entry of this.#timers) if (!first || entry[1].due < first[1].due) first = entry;
    return first;
  }
}

/** Lets promises that are resolved already be acted on, and what follows from that. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A generator of chance that gives the same for a seed. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
