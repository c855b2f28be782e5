/** A promise that is settled from outside. Nobody has to look at how it ends. */

/** @typedef {{ promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void }} Deferred */

/** @returns {Deferred} */
export function defer() {
  /** @type {Partial<Deferred>} */
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  deferred.promise.catch(() => {});
  return /** @type {Deferred} */ (deferred);
}
