/** A promise that is settled from outside, and what is done where nobody has to look at how one ends. */
export declare const NOTHING: () => void;
export type Deferred<T> = {
    promise: Promise<T>;
    resolve: (value: T) => void;
    reject: (error: unknown) => void;
};
/**
 * @template T
 * @typedef {{ promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void }} Deferred
 */
/** @template T @returns {Deferred<T>} */
export declare const defer: <T>() => Deferred<T>;
