/** Time: what the client does later, and how long it waits. Without a clock of its own. */
import type { Options } from './types.js';
export type Timing = ReturnType<typeof createTiming>;
/** @typedef {ReturnType<typeof createTiming>} Timing */
/** @param {Options} options */
export declare function createTiming({ timers, random }: Options): {
    random: () => number;
    now: () => number;
    /** @param {number} ms @param {() => void} run @returns {unknown} For `cancel`. */
    after: (ms: number, run: () => void) => unknown;
    /** @param {unknown} timer */
    cancel: (timer: unknown) => void;
};
/**
 * Growing pauses with full jitter, so that many clients that lost one server do not come back together: anything from 0 to a bound
 * that doubles from 0.5 s up to 20 s.
 *
 * @param {number} failures Before this one.
 * @param {() => number} random From 0 up to, not including, 1.
 */
export declare const pauseAfter: (failures: number, random: () => number) => number;
