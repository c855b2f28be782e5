/** A promise that is settled from outside, and what is done where nobody has to look at how one ends. */

export const NOTHING = () => {};

/**
 * @template T
 * @typedef {{ promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void }} Deferred
 */

/** @template T @returns {Deferred<T>} */
export const defer = () => {
  /** @type {Partial<Deferred<T>>} */
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  deferred.promise.catch(NOTHING);
  return /** @type {Deferred<T>} */ (deferred);
}
