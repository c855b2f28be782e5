/** The states of a client. Only `Connection` changes it, in one place. */
/** @type {readonly ['idle', 'connecting', 'connected', 'reconnecting', 'closed', 'failed']} */
export declare const STATES: readonly ['idle', 'connecting', 'connected', 'reconnecting', 'closed', 'failed'];
