/** A promise that is settled from outside, and what is done where nobody has to look at how one ends. */

export const NOTHING = () => {};

/** @typedef {{ promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void }} Deferred */

/** @returns {Deferred} */
export function defer() {
  /** @type {Partial<Deferred>} */
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  deferred.promise.catch(NOTHING);
  return /** @type {Deferred} */ (deferred);
}
