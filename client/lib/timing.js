/** Time: what the client does later, and how long it waits. Without a clock of its own. */

/** @import { Options, Timers } from './types.js' */

/** Waits that are longer by a little overflow a platform's timer. */
const LONGEST_MS = 2_000_000_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;

/** @typedef {ReturnType<typeof createTiming>} Timing */

/** @param {Options} options */
export function createTiming({ timers, random = Math.random }) {
  const { setTimeout, clearTimeout } = /** @type {Timers} */ (timers ?? globalThis);
  return {
    random,
    // Not from the globals too: an element of the page may be called so.
    now: timers?.now ?? Date.now,
    /** @param {number} ms @param {() => void} run @returns {unknown} For `cancel`. */
    after: (ms, run) => setTimeout(run, Math.min(ms, LONGEST_MS)),
    /** @param {unknown} timer */
    cancel: (timer) => clearTimeout(timer),
  };
}

/**
 * Growing pauses with full jitter, so that many clients that lost one server do not come back together: anything from 0 to a bound
 * that doubles from 0.5 s up to 20 s.
 *
 * @param {number} failures Before this one.
 * @param {() => number} random From 0 up to, not including, 1.
 */
export const pauseAfter = (failures, random) => random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
