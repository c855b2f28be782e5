/**
 * The messages of one conversation: rows, what of them is in the document, the line above what is new, reading marks, and scrolling.
 */

import { byId, icon, place, setText } from './dom.js';
import { rowsOf, typingText } from './format.js';
import { Pane } from './pane.js';
import { Rows } from './rows.js';
import { Scroller } from './scroller.js';

/** @import { ChatClient, Conversation, Entry } from '../chat.js' */
/** @import { Actions } from './rows.js' */

/** Older messages are fetched when less than this is left above, newer ones shown when less is left below. */
const NEAR_PX = 600;
const PAGE = 50;

export class Thread {
  #client;
  #log = byId('log');
  #latest = byId('latest');
  #latestCount = document.createElement('span');
  #typing = byId('typing');
  #rows;
  #pane = new Pane();
  #scroller = new Scroller(this.#log, () => this.#scrolled());
  /** @type {Conversation | null} */
  #conversation = null;
  /** The seq after which everything is new, for the line. @type {number | null} */
  #newAfter = null;
  /** Whether the conversation's first rows are yet to be shown, and a place in them to be found. */
  #isFresh = false;
  #isLoading = false;
  /** Up to where this tab has told the server that it read. */
  #toldSeq = 0;

  /** @param {ChatClient} client @param {Actions} actions */
  constructor(client, actions) {
    this.#client = client;
    this.#rows = new Rows(actions);
    this.#latest.replaceChildren(icon('down'), this.#latestCount);
    this.#latest.onclick = () => this.jumpToLatest();
    this.#log.addEventListener('keydown', (event) => {
      if (event.key !== 'End' || event.target !== this.#log) return;
      event.preventDefault();
      this.jumpToLatest();
    });
    for (const event of ['focus', 'visibilitychange', 'pointerdown']) {
      window.addEventListener(event, () => this.markRead(), { capture: true, passive: true });
    }
    client.on('message', ({ conversation, message }) => {
      if (conversation !== this.#conversation) return;
      const isOwn = message.senderId === client.user?.id;
      if (isOwn) this.#newAfter = null;
      else if (!this.#isAttended && this.#newAfter === null) this.#newAfter = (message.seq ?? 1) - 1;
    });
    client.on('state', () => {
      this.#toldSeq = 0;
    });
  }

  /** Shows a conversation that has been opened, or none. @param {Conversation | null} conversation */
  show(conversation) {
    this.#conversation = conversation;
    this.#newAfter = null;
    this.#pane.reset();
    this.#rows.clear();
    this.#log.replaceChildren();
    this.#scroller.isStuck = true;
    this.#isFresh = true;
    this.#isLoading = false;
    this.#toldSeq = 0;
    this.render();
  }

  /** An own message is on its way: whoever wrote it wants to see it, and has seen the others. */
  sent() {
    this.#newAfter = null;
    this.jumpToLatest();
  }

  jumpToLatest() {
    this.#pane.reset();
    this.#scroller.isStuck = true;
    this.render();
    this.#scroller.toEnd();
    this.markRead();
  }

  render() {
    const conversation = this.#conversation;
    if (!conversation) return;
    const me = this.#client.user?.id;
    const entries = conversation.messages;
    const isLoaded = conversation.state === 'open' || entries.some(({ seq }) => seq !== undefined);
    const isFirst = this.#isFresh && isLoaded;
    if (isFirst) this.#newAfter = conversation.unreadCount > 0 ? conversation.readSeq : null;
    const shown = this.#pane.cut(entries, this.#scroller.isStuck);
    const rows = rowsOf(shown, { me, now: new Date(), newAfter: this.#lineIn(shown) });
    this.#scroller.keep(() => {
      // What rows that stay show may change too, and with that their height.
      const elements = this.#rows.elements(rows, conversation, me);
      const isPage = this.#isFresh || (this.#log.firstElementChild !== null && elements[0] !== this.#log.firstElementChild);
      // Whole pages are not read out; what comes after them is.
      if (isPage) this.#log.setAttribute('aria-busy', 'true');
      place(this.#log, elements);
      if (isPage) this.#log.setAttribute('aria-busy', 'false');
    });
    this.#log.classList.toggle('blank', isLoaded && entries.length === 0);
    if (isFirst) {
      this.#isFresh = false;
      const line = this.#log.querySelector('.divider.new');
      this.#scroller.toEnd();
      if (line) this.#scroller.to(line);
    }
    const typing = typingText(conversation, conversation.typists);
    setText(this.#typing, typing);
    this.#typing.classList.toggle('active', typing !== '');
    this.#showLatest();
    this.#fill();
    this.markRead();
  }

  /** Tells the server that the newest message was seen, when it was. */
  markRead() {
    const conversation = this.#conversation;
    if (!conversation || conversation.unreadCount === 0 || !this.#isAttended || this.#client.state !== 'connected') return;
    if (conversation.state !== 'open' || conversation.head <= this.#toldSeq) return;
    this.#toldSeq = conversation.head;
    conversation.markRead().catch((error) => console.debug('the reading mark was not moved', error));
  }

  /** Whether somebody who looks at this tab sees the newest message. */
  get #isAttended() {
    return document.visibilityState === 'visible' && document.hasFocus() && this.#scroller.isStuck && this.#pane.isAtEnd && !this.#isFresh;
  }

  /** Where the line belongs in what is shown; `null` when it is above. @param {readonly Entry[]} shown */
  #lineIn(shown) {
    const first = shown.find((entry) => entry.seq !== undefined);
    const isIn = first !== undefined && this.#newAfter !== null && ((first.seq ?? 0) <= this.#newAfter || this.#isAtStart(shown));
    return isIn ? this.#newAfter : null;
  }

  /** @param {readonly Entry[]} shown */
  #isAtStart(shown) {
    return this.#conversation?.hasOlder === false && shown[0] === this.#conversation.messages[0];
  }

  #scrolled() {
    this.#fill();
    this.#showLatest();
    this.markRead();
  }

  #showLatest() {
    const unread = this.#conversation?.unreadCount ?? 0;
    this.#latest.hidden = this.#scroller.isStuck && this.#pane.isAtEnd;
    setText(this.#latestCount, unread > 0 ? String(unread) : '');
    const label = unread > 0 ? `Jump to the latest message, ${unread} unread` : 'Jump to the latest message';
    this.#latest.setAttribute('aria-label', label);
    this.#latest.title = label;
  }

  /** Brings in what is about to be scrolled to. */
  #fill() {
    const conversation = this.#conversation;
    if (!conversation || this.#isFresh || this.#log.clientHeight === 0) return;
    if (this.#scroller.belowPx < NEAR_PX && this.#pane.growDown(conversation.messages)) return this.render();
    if (this.#scroller.abovePx >= NEAR_PX) return;
    if (this.#pane.growUp(conversation.messages)) return this.render();
    if (conversation.hasOlder && !this.#isLoading && this.#client.state === 'connected') void this.#loadOlder(conversation);
  }

  /** @param {Conversation} conversation */
  async #loadOlder(conversation) {
    this.#isLoading = true;
    this.#log.classList.add('loading');
    try {
      await conversation.loadOlder(PAGE);
    } catch (error) {
      // The next scrolling or reconnecting asks again.
      console.debug('older messages did not come', error);
      return;
    } finally {
      this.#log.classList.remove('loading');
      if (conversation === this.#conversation) this.#isLoading = false;
    }
    if (conversation === this.#conversation) this.render();
  }
}
