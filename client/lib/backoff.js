/** Growing pauses with full jitter, so that many clients that lost one server do not come back together. Pure. */

const FIRST_MS = 500;
const MOST_MS = 20_000;

export class Backoff {
  #random;
  #failures = 0;

  /** @param {() => number} random From 0 up to, not including, 1. */
  constructor(random) {
    this.#random = random;
  }

  /** The pause after one more failure: anything from 0 to a bound that doubles from 0.5 s up to 20 s. */
  next() {
    return this.#random() * Math.min(MOST_MS, FIRST_MS * 2 ** this.#failures++);
  }

  reset() {
    this.#failures = 0;
  }
}
