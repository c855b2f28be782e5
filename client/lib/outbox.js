/**
 * Messages that are not answered yet, in the order of sending: one of each conversation is on its way at a time, so that none
 * overtakes another. Kept in a storage, if there is one. Knows no sockets and no clock.
 */

/** @import { LogMessage, Message, Options } from './types.js' */
/** @import { Connection } from './connection.js' */
/** @import { Deferred } from './defer.js' */
import { defer } from './defer.js';
import { ChatError, passing } from './error.js';

/** Conversations in which something is on its way. */
const MOST_AT_ONCE = 4;

/**
 * @typedef {Deferred<Message> & { entry: LogMessage, stop?: ((error: ChatError) => void) | null }} Item `stop`: while it is on its
 *   way, calls it back.
 */

/** @param {LogMessage} entry @returns {Item} Who wants to know looks at the promise or at the entry; nobody has to. */
const itemOf = (entry) => ({ stop: undefined, entry, ...defer() });

/** @typedef {ReturnType<typeof createOutbox>} Outbox */

/**
 * @param {Pick<Options, 'storage' | 'storageKey' | 'maxQueue'>} options
 * @param {Pick<Connection, 'usable' | 'call' | 'ended'>} connection
 * @param {(conversationId: string, stored?: Message) => void} changed
 */
export const createOutbox = ({ storage, storageKey = 'parlor:outbox', maxQueue = 100 }, { usable, call, ended }, changed) => {
  /** @type {Item[]} */
  let items = [];
  let key = '';

  /** Sends what can be sent. */
  const pump = () => {
    const busy = new Set();
    if (!usable()) return;
    for (const item of items) {
      const { conversationId, clientMessageId, content, replyTo, status } = item.entry;
      if (status === 'failed' || busy.has(conversationId) || busy.size >= MOST_AT_ONCE) continue;
      busy.add(conversationId);
      item.stop ??= call('send_message', { conversationId, clientMessageId, content, replyTo }, (error, reply) => {
        item.stop = null;
        if (reply) {
          changed(conversationId, reply.message);
          stored(reply.message);
        } else if (!error?.retryable && items.includes(item)) {
          item.entry = { ...item.entry, status: 'failed', error: /** @type {ChatError} */ (error) };
          keep(item);
          item.reject(error);
        }
        pump();
      });
    }
  };

  /** @returns {LogMessage[]} */
  const read = () => {
    try {
      const kept = /** @type {LogMessage[]} */ (JSON.parse(/** @type {string} */ (storage?.getItem(key))));
      return kept.filter((entry) => entry.clientMessageId && entry.content);
    } catch {
      return [];
    }
  };

  /** @param {Item} item */
  const remove = (item) => {
    items = items.filter((other) => other !== item);
    keep(item);
  };

  /** @param {string} [clientMessageId] */
  const find = (clientMessageId) => items.find(({ entry }) => entry.clientMessageId === clientMessageId);

  /** Brings the storage up to date with one item. Others' there are left alone: they may be another tab's. @param {Item} item */
  const keep = (item) => {
    const { entry } = item;
    changed(entry.conversationId);
    const kept = read().filter((other) => other.clientMessageId !== entry.clientMessageId);
    if (items.includes(item)) kept.push(entry);
    try {
      if (key) storage?.setItem(key, JSON.stringify(kept));
    } catch {
      // It is full, or not allowed: what is unsent does not survive a reload then, and is sent all the same.
    }
  };

  /** As the reply or the event says, whichever is first. @param {Message} message Perhaps one's own. */
  const stored = (message) => {
    const item = find(message.clientMessageId);
    if (item?.entry.senderId !== message.senderId) return;
    remove(item);
    item.resolve(message);
    pump();
  };

  /** Takes one off. @param {string} clientMessageId */
  const discard = (clientMessageId) => {
    const item = find(clientMessageId);
    if (item) {
      const error = new ChatError('DISCARDED');
      remove(item);
      item.stop?.(error);
      item.reject(error);
    }
  };

  return {
    pump,
    stored,
    discard,

    /** @param {string} conversationId */
    entries: (conversationId) => items.map(({ entry }) => entry).filter((entry) => entry.conversationId === conversationId),

    /** The user is known: takes over what was kept for them, before what is here already. @param {string} userId */
    ready(userId) {
      if (key) return;
      key = `${storageKey}:${userId}`;
      items = [...read().map(itemOf), ...items];
      for (const item of items) {
        const { entry } = item;
        entry.senderId = userId;
        if (entry.error) entry.error = new ChatError(entry.error.code);
        keep(item);
      }
    },

    /** Nobody waits any more. What is here is sent when it is connected again. */
    end: () => items.forEach((item) => item.reject(new ChatError('CLOSED'))),

    /**
     * @param {Partial<LogMessage>} entry A new one, or the id of one that failed: that is sent again in its place.
     * @returns {Promise<Message>}
     */
    send(entry) {
      const old = find(entry.clientMessageId);
      const fresh = itemOf(/** @type {LogMessage} */ ({ ...entry, ...old?.entry, kind: 'message', status: 'pending', error: undefined }));
      if (ended()) fresh.reject(new ChatError('CLOSED'));
      else if (old?.entry.status === 'pending') return old.promise;
      else if (!fresh.entry.content) fresh.reject(new ChatError('INVALID'));
      else if (!old && items.length >= maxQueue) fresh.reject(passing('QUEUE_FULL'));
      else {
        if (!old) items.push(fresh);
        keep(Object.assign(old ?? fresh, fresh));
        pump();
      }
      return fresh.promise;
    },
  };
}
