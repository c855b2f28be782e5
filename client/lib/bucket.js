/**
 * An allowance of requests, a little below what a server grants a user as it comes, so that what is sent is not refused: too many
 * refusals would close the connection. Where a server grants less it learns from refusals, and goes up again slowly. Pure.
 */

const SLOWER = 0.8;
const FASTER_PER_SECOND = 0.02;
const LEAST_PER_SECOND = 0.2;

export class Bucket {
  #burst;
  #most;
  #perSecond;
  #left;
  #at = 0;
  #blockedUntil = 0;

  /**
   * @param {number} burst
   * @param {number} perSecond
   */
  constructor(burst, perSecond) {
    this.#burst = this.#left = burst;
    this.#perSecond = this.#most = perSecond;
  }

  /**
   * Takes one, or says how long to wait for it.
   *
   * @param {number} now
   * @returns {number} Milliseconds to wait; 0: taken.
   */
  take(now) {
    // A clock that was set back brings nothing, and takes nothing away.
    const gained = (Math.max(0, now - this.#at) * this.#perSecond) / 1000;
    this.#left = Math.min(this.#burst, this.#left + gained);
    this.#at = now;
    if (this.#left < 1) return Math.ceil(((1 - this.#left) * 1000) / this.#perSecond);
    this.#left -= 1;
    this.#perSecond = Math.min(this.#most, this.#perSecond + FASTER_PER_SECOND);
    return 0;
  }

  /**
   * The server refused one: the allowance is used up, and grows again only after a pause.
   *
   * @param {number} now
   * @param {number} pauseMs
   */
  block(now, pauseMs) {
    this.#at = now;
    // Those that were on their way together are refused together.
    if (now >= this.#blockedUntil) this.#perSecond = Math.max(LEAST_PER_SECOND, this.#perSecond * SLOWER);
    this.#blockedUntil = now + pauseMs;
    this.#left = Math.min(this.#left, 0, 1 - (pauseMs * this.#perSecond) / 1000);
  }
}
