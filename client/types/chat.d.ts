/**
 * The client of a Parlor server: `new ChatClient({ url, getToken })`. README.md beside this file tells how to use it, PROTOCOL.md
 * what it says on the wire.
 */
export { STATES } from './lib/states.js';
export { Conversation } from './lib/conversation.js';
export { ChatError } from './lib/error.js';
export { ChatClient } from './lib/client.js';
export type Entry = import('./lib/types.js').Entry;
export type LogMessage = import('./lib/types.js').LogMessage;
export type Membership = import('./lib/types.js').Membership;
export type Message = import('./lib/types.js').Message;
export type Member = import('./lib/types.js').Member;
export type Limits = import('./lib/types.js').Limits;
export type Options = import('./lib/types.js').Options;
export type Reason = import('./lib/types.js').Reason;
export type State = import('./lib/types.js').State;
export type Presence = import('./lib/types.js').Presence;
export type User = import('./lib/types.js').User;
export type ClientEvents = import('./lib/types.js').ClientEvents;
/** @typedef {import('./lib/types.js').Entry} Entry */
/** @typedef {import('./lib/types.js').LogMessage} LogMessage */
/** @typedef {import('./lib/types.js').Membership} Membership */
/** @typedef {import('./lib/types.js').Message} Message */
/** @typedef {import('./lib/types.js').Member} Member */
/** @typedef {import('./lib/types.js').Limits} Limits */
/** @typedef {import('./lib/types.js').Options} Options */
/** @typedef {import('./lib/types.js').Reason} Reason */
/** @typedef {import('./lib/types.js').State} State */
/** @typedef {import('./lib/types.js').Presence} Presence */
/** @typedef {import('./lib/types.js').User} User */
/** @typedef {import('./lib/types.js').ClientEvents} ClientEvents */
