/** Sends what is in the outbox, again and again until it is answered. */

/** @import { Message, Options } from './types.js' */
/** @import { Clock, Task } from './clock.js' */
/** @import { Connection } from './connection.js' */
/** @import { Item } from './outbox.js' */
import { Backoff } from './backoff.js';
import { Bucket } from './bucket.js';
import { ChatError } from './error.js';
import { Outbox } from './outbox.js';

const MESSAGES_AT_ONCE = 25;
const MESSAGES_PER_SECOND = 9;
/** Of different conversations. */
const MOST_IN_FLIGHT = 8;

export class Sender {
  outbox;
  #clock;
  #connection;
  #changed;
  #sent;
  #bucket = new Bucket(MESSAGES_AT_ONCE, MESSAGES_PER_SECOND);
  #backoff;
  #inFlight = 0;
  /** The server asked to be left alone until then. */
  #pausedUntil = 0;
  /** @type {Task | null} */
  #pumping = null;

  /**
   * @param {Options} options
   * @param {Clock} clock
   * @param {Connection} connection
   * @param {(conversationId: string) => void} changed What is pending in this conversation did.
   * @param {(message: Message) => void} sent It is stored.
   */
  constructor(options, clock, connection, changed, sent) {
    this.outbox = new Outbox(options.storage, options.storageKey ?? 'parlor:outbox', options.maxQueue ?? 100);
    this.#clock = clock;
    this.#connection = connection;
    this.#backoff = new Backoff(options.random ?? Math.random);
    this.#changed = changed;
    this.#sent = sent;
  }

  /**
   * Queues a message, a failed one again.
   *
   * @param {Item['unsent']} unsent
   * @returns {Promise<Message>}
   */
  send(unsent) {
    const promise = new Promise((/** @type {(message: Message) => void} */ resolve, reject) => {
      this.outbox.add({ unsent, stage: 'queued', resolve, reject });
      this.#changed(unsent.conversationId);
      this.pump();
    });
    // Who wants to know looks at the promise or at the entry; nobody has to.
    promise.catch(() => {});
    return promise;
  }

  pump() {
    this.#clock.cancel(this.#pumping);
    while (this.#connection.usable && this.#inFlight < MOST_IN_FLIGHT) {
      const item = this.outbox.next();
      if (!item) return;
      const now = this.#clock.now();
      const wait = this.#pausedUntil > now ? this.#pausedUntil - now : this.#bucket.take(now);
      if (wait) {
        this.#pumping = this.#clock.after(wait, () => this.pump());
        return;
      }
      this.#go(item);
    }
  }

  /** @param {Item} item */
  #go(item) {
    const { conversationId, clientMessageId, content, replyTo } = item.unsent;
    item.stage = 'sending';
    this.#inFlight++;
    let counted = true;
    this.#connection.requests.send('send_message', { conversationId, clientMessageId, content, replyTo }, (error, reply) => {
      if (counted) this.#inFlight--;
      counted = false;
      if (!error) {
        this.#backoff.reset();
        this.#sent(reply.message);
        this.stored(conversationId, reply.message);
      } else if (!this.outbox.items.includes(item)) {
        // The event was here first.
      } else if (error.code === 'DISCONNECTED') {
        item.stage = 'queued';
        return;
      } else if (error.retryable) {
        item.stage = 'queued';
        const pause = error.retryAfterMs ?? this.#backoff.next();
        if (error.code === 'rate_limited') this.#bucket.block(this.#clock.now(), pause);
        else this.#pausedUntil = this.#clock.now() + pause;
      } else {
        this.#fail(item, error);
      }
      this.pump();
    });
  }

  /**
   * A message of one's own is stored, as the reply or its event says, whichever is first.
   *
   * @param {string} conversationId
   * @param {Message} message
   */
  stored(conversationId, message) {
    const item = this.outbox.find(conversationId, message.clientMessageId);
    if (!item) return;
    this.outbox.remove(item);
    this.#changed(conversationId);
    item.resolve?.(message);
    this.pump();
  }

  /**
   * Takes off what is not on its way.
   *
   * @param {string} conversationId
   * @param {string} clientMessageId
   * @returns {Item['unsent'] | undefined}
   */
  discard(conversationId, clientMessageId) {
    const item = this.outbox.find(conversationId, clientMessageId);
    if (!item || item.stage === 'sending') return undefined;
    this.outbox.remove(item);
    this.#changed(conversationId);
    item.reject?.(new ChatError('DISCARDED', 'the message was discarded'));
    return item.unsent;
  }

  /**
   * @param {Item} item
   * @param {ChatError} error
   */
  #fail(item, error) {
    item.stage = 'failed';
    item.error = error;
    this.outbox.keep(item);
    this.#changed(item.unsent.conversationId);
    item.reject?.(error);
  }
}
