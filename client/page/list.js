/**
 * The list of conversations, latest activity first: who, the newest message or the draft, when, how much is unread.
 */

import { avatar } from './avatar.js';
import { byId, h, place, spoken } from './dom.js';
import { matches, preview, shortTime, signOf, titleOf, typingText } from './format.js';

/** @import { ChatClient, Conversation } from '../chat.js' */
/** @import { Drafts } from './drafts.js' */

const MOST_SHOWN = 99;

export class List {
  #client;
  #drafts;
  #list = byId('list');
  #search = /** @type {HTMLInputElement} */ (byId('search'));
  #empty = byId('list-empty');
  #more = /** @type {HTMLButtonElement} */ (byId('list-more'));
  /** @type {Map<string, { item: HTMLElement, link: HTMLAnchorElement, look: string }>} */
  #kept = new Map();
  /** The link that Tab goes to. */
  #focusable = '';

  /** @param {ChatClient} client @param {Drafts} drafts */
  constructor(client, drafts) {
    this.#client = client;
    this.#drafts = drafts;
    this.#search.oninput = () => this.render();
    this.#search.onkeydown = (event) => this.#onSearchKey(event);
    this.#list.onkeydown = (event) => this.#onKey(event);
    this.#list.addEventListener('focusin', (event) => this.#rove(event.target));
    this.#more.onclick = () => {
      this.#more.disabled = true;
      client.conversations({ more: true }).catch((error) => console.debug('no more conversations came', error)).finally(() => {
        this.#more.disabled = false;
      });
    };
  }

  /** @type {string} the id of the open conversation, or '' */
  current = '';
  /** Whether the server has said what there is. */
  isLoaded = false;

  render() {
    const me = this.#client.user?.id;
    const now = new Date();
    const all = this.#client.list;
    const shown = all.filter((conversation) => matches(titleOf(conversation, me), this.#search.value));
    if (!shown.some(({ id }) => id === this.#focusable)) this.#focusable = shown.find(({ id }) => id === this.current)?.id ?? shown[0]?.id ?? '';
    const before = this.#kept;
    this.#kept = new Map();
    const focused = document.activeElement;
    place(this.#list, shown.map((conversation) => {
      const kept = before.get(conversation.id) ?? newItem(conversation.id);
      this.#kept.set(conversation.id, kept);
      this.#fill(kept, conversation, me, now);
      return kept.item;
    }));
    // An element that was moved has lost it.
    if (focused instanceof HTMLElement && focused !== document.activeElement && this.#list.contains(focused)) focused.focus({ preventScroll: true });
    this.#empty.hidden = shown.length > 0 || !this.isLoaded;
    this.#empty.textContent = all.length > 0 ? 'No conversation is called that.' : 'No conversations yet.';
    this.#more.hidden = !this.#client.hasMoreConversations;
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  /** Moves the focus to the open conversation, or the first, or the search where there is none. */
  focusCurrent() {
    const kept = this.#kept.get(this.current) ?? this.#kept.get(this.#focusable);
    (kept?.link ?? this.#search).focus();
  }

  /** The id of the conversation so many places below the open one; negative: above. @param {number} step */
  neighbour(step) {
    const ids = [...this.#kept.keys()];
    const at = ids.indexOf(this.current);
    return at < 0 ? ids[0] : ids[Math.min(ids.length - 1, Math.max(0, at + step))];
  }

  /** @param {{ link: HTMLAnchorElement, look: string }} kept @param {Conversation} conversation @param {string | undefined} me @param {Date} now */
  #fill(kept, conversation, me, now) {
    const { link } = kept;
    const isCurrent = conversation.id === this.current;
    link.tabIndex = conversation.id === this.#focusable ? 0 : -1;
    if (isCurrent) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    const title = titleOf(conversation, me);
    const typing = typingText(conversation, conversation.typists);
    const draft = isCurrent ? '' : this.#drafts.get(conversation.id).trim();
    const at = conversation.lastMessage?.createdAt ?? conversation.createdAt;
    const time = at ? shortTime(new Date(at), now) : '';
    const sign = signOf(conversation, conversation.partner);
    const unread = conversation.unreadCount;
    const text = typing ? `${typing}…` : draft || preview(conversation, me) || 'No messages yet';
    const isDirect = conversation.kind === 'direct';
    const id = (isDirect && conversation.partner?.userId) || conversation.id;
    const look = JSON.stringify([id, title, typing, draft, text, time, sign, unread]);
    if (kept.look === look) return;
    kept.look = look;
    link.replaceChildren(
      avatar(id, title, { sign, isGroup: !isDirect }),
      h('span', { class: 'item-title', text: title }), ...sign === 'online' ? [spoken(', online')] : [],
      h('span', { class: 'item-time', text: time }),
      h('span', { class: `item-text ${typing ? 'typing-now' : ''}` }, !typing && draft !== '' && h('span', { class: 'draft', text: 'Draft: ' }), text),
      ...unread > 0 ? [h('span', { class: 'badge' }, unread > MOST_SHOWN ? `${MOST_SHOWN}+` : String(unread), spoken(' unread'))] : []);
    link.classList.toggle('unread', unread > 0);
  }

  /** @param {EventTarget | null} target */
  #rove(target) {
    const found = [...this.#kept].find(([, { link }]) => link === target);
    if (!found || found[0] === this.#focusable) return;
    const before = this.#kept.get(this.#focusable);
    if (before) before.link.tabIndex = -1;
    this.#focusable = found[0];
    found[1].link.tabIndex = 0;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const links = [...this.#kept.values()].map(({ link }) => link);
    const at = links.findIndex((link) => link === event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    if (to < 0) this.#search.focus();
    else links[Math.min(to, links.length - 1)].focus();
  }

  /** @param {KeyboardEvent} event */
  #onSearchKey(event) {
    if (event.key === 'Escape' && this.#search.value !== '') {
      event.preventDefault();
      event.stopPropagation();
      this.#search.value = '';
      this.render();
    } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
      event.preventDefault();
      this.#list.querySelector('a')?.focus();
    }
  }
}

/** @param {string} id */
function newItem(id) {
  const link = h('a', { class: 'item', href: `#${id}` });
  return { item: h('li', {}, link), link, look: '' };
}
