/**
 * Which conversations are live: the one on screen and the newest others, as many as the server lets a connection have.
 */

/** @import { ChatClient, Conversation } from '../chat.js' */

/** The newest so many are opened: who types and who is online shows in the list. */
const MOST_OPENED = 20;
/** So many stay open, whatever becomes newer. */
const MOST_OPEN = 40;
/** Codes of what was not refused: it was cut off, or closed here. */
const NOT_REFUSED = ['DISCONNECTED', 'CLOSED'];

export class Live {
  #client;
  #onRefused;
  /** What was asked for on this connection and is not open: it may have been refused for good. @type {Set<Conversation>} */
  #tried = new Set();
  /** What is being closed counts until the server has answered. */
  #closing = 0;
  /** The one on screen: there is always room for it. @type {Conversation | null} */
  #current = null;

  /** @param {ChatClient} client @param {(conversation: Conversation, code: string) => void} onRefused */
  constructor(client, onRefused) {
    this.#client = client;
    this.#onRefused = onRefused;
    client.on('state', ({ state }) => {
      if (state !== 'connected') this.#tried.clear();
    });
  }

  /** Shows one: it is asked for even if it was refused before. @param {Conversation | null} conversation */
  show(conversation) {
    this.#current = conversation;
    if (conversation) this.#tried.delete(conversation);
    if (conversation?.state === 'left') void this.#open(conversation);
    this.keep();
  }

  /** Opens what should be live and is not, and closes what has no room. To be called whenever something has changed. */
  keep() {
    const current = this.#current;
    const { state, limits, list } = this.#client;
    if (state !== 'connected' || !limits) return;
    const room = limits.maxJoined - 1;
    const others = list.filter((conversation) => conversation !== current);
    const newest = others.slice(0, Math.min(MOST_OPENED, room));
    const rest = others.slice(newest.length).filter(isLive);
    for (const conversation of rest.slice(Math.min(MOST_OPEN, room) - newest.length)) {
      // One that is on its way is closed when it is there.
      if (conversation.state === 'open') void this.#close(conversation);
    }
    const isDue = (/** @type {Conversation} */ conversation) => conversation.state === 'closed' && !this.#tried.has(conversation);
    let left = room - others.filter(isLive).length - this.#closing;
    if (current && isDue(current) && left >= 0) void this.#open(current);
    for (const conversation of newest.filter(isDue)) {
      left -= 1;
      if (left >= 0) void this.#open(conversation);
    }
  }

  /** @param {Conversation} conversation */
  async #close(conversation) {
    this.#closing += 1;
    try {
      await conversation.close();
    } catch (error) {
      console.debug('a conversation was not closed', error);
    }
    this.#closing -= 1;
    this.keep();
  }

  /** @param {Conversation} conversation */
  async #open(conversation) {
    this.#tried.add(conversation);
    try {
      await conversation.open();
      this.#tried.delete(conversation);
    } catch (error) {
      console.debug('a conversation was not opened', error);
      const { code } = /** @type {{ code: string }} */ (error);
      if (NOT_REFUSED.includes(code)) this.#tried.delete(conversation);
      else this.#onRefused(conversation, code);
    }
  }
}

/** @param {Conversation} conversation */
const isLive = ({ state }) => state === 'open' || state === 'opening';
