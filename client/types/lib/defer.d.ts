/** A promise that is settled from outside, and what is done where nobody has to look at how one ends. */
export declare const NOTHING: () => void;
export type Deferred = {
    promise: Promise<void>;
    resolve: () => void;
    reject: (error: unknown) => void;
};
/** @typedef {{ promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void }} Deferred */
/** @returns {Deferred} */
export declare function defer(): Deferred;
