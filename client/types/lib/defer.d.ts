/** A promise that is settled from outside. Nobody has to look at how it ends. */
export type Deferred = {
    promise: Promise<void>;
    resolve: () => void;
    reject: (error: unknown) => void;
};
/** @typedef {{ promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void }} Deferred */
/** @returns {Deferred} */
export declare function defer(): Deferred;
