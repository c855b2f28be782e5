/**
 * The elements of a thread's rows. An element lasts as long as its row does; what it shows is made anew only where it differs.
 */

import { avatar } from './avatar.js';
import { h, icon, spoken } from './dom.js';
import { clock, isEmoji, linkified, progress, reasonOf } from './format.js';

/** @import { Conversation } from '../chat.js' */
/** @import { Row } from './format.js' */
/** @typedef {Extract<Row, { kind: 'message' }>} MessageRow */
/** @typedef {{ retry(id: string): void, edit(id: string, content: string): void, discard(id: string): void }} Actions */

export class Rows {
  /** @type {Map<string, { element: HTMLElement, look: string }>} */
  #kept = new Map();
  #actions;

  /** @param {Actions} actions what can be done with a message that was not sent */
  constructor(actions) {
    this.#actions = actions;
  }

  /** Forgets every element, for another conversation. */
  clear() {
    this.#kept.clear();
  }

  /**
   * The elements of these rows, in their order; those of rows that are gone are forgotten.
   * @param {readonly Row[]} rows @param {Conversation} conversation @param {string | undefined} me
   */
  elements(rows, conversation, me) {
    const before = this.#kept;
    this.#kept = new Map();
    return rows.map((row) => {
      const look = lookOf(row, conversation, me);
      const kept = before.get(row.key) ?? { element: h('div', {}), look: '' };
      if (kept.look !== look) {
        kept.look = look;
        this.#fill(kept.element, row, conversation, me);
      }
      this.#kept.set(row.key, kept);
      return kept.element;
    });
  }

  /** @param {HTMLElement} element @param {Row} row @param {Conversation} conversation @param {string | undefined} me */
  #fill(element, row, conversation, me) {
    if (row.kind !== 'message') {
      element.className = `divider ${row.kind}`;
      element.replaceChildren(h('span', { text: row.text }));
      return;
    }
    const { entry, isFirst, isLast } = row;
    const isOwn = entry.senderId === me;
    const names = ['message', isOwn ? 'own' : 'other', isFirst && 'first', isLast && 'last', entry.status];
    element.className = names.filter(Boolean).join(' ');
    const isNamed = !isOwn && isFirst && conversation.kind === 'group';
    element.replaceChildren(
      ...isOwn ? [] : [isLast ? avatar(entry.senderId, entry.senderName, { isSmall: true }) : h('span', { class: 'avatar-space' })],
      h('div', { class: isEmoji(entry.content) ? 'bubble emoji' : 'bubble' },
        isNamed ? h('span', { class: 'sender', text: entry.senderName }) : spoken(`${isOwn ? 'You' : entry.senderName}:`),
        content(entry.content),
        meta(row, conversation, isOwn)),
      ...entry.status === 'failed' ? [this.#failure(row)] : [],
    );
  }

  /** @param {MessageRow} row */
  #failure({ entry }) {
    const id = entry.clientMessageId ?? '';
    const button = (/** @type {string} */ text, /** @type {() => void} */ onclick) => h('button', { type: 'button', class: 'link-button', text, onclick });
    return h('div', { class: 'failure', role: 'alert' },
      h('span', { text: `Not sent. ${reasonOf(entry.error)}` }),
      button('Try again', () => this.#actions.retry(id)),
      button('Edit', () => this.#actions.edit(id, entry.content)),
      button('Discard', () => this.#actions.discard(id)));
  }
}

/** All that a row's element depends on. @param {Row} row @param {Conversation} conversation @param {string | undefined} me */
function lookOf(row, conversation, me) {
  if (row.kind !== 'message') return `${row.kind} ${row.text}`;
  const { entry, isFirst, isLast } = row;
  const words = entry.senderId === me ? progress(conversation, entry).words : '';
  return [entry.status, entry.error?.code, isFirst, isLast, words, entry.createdAt, entry.senderName, conversation.kind, entry.content].join('\n');
}

/** @param {string} text */
function content(text) {
  const parts = linkified(text).map((part) =>
    part.href === undefined ? part.text : h('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer', text: part.text }));
  return h('span', { class: 'content' }, ...parts);
}

/** @param {MessageRow} row @param {Conversation} conversation @param {boolean} isOwn */
function meta({ entry }, conversation, isOwn) {
  const at = new Date(entry.createdAt);
  const time = h('time', { datetime: entry.createdAt, title: at.toLocaleString(), text: clock(at) });
  if (!isOwn) return h('span', { class: 'meta' }, time);
  const { mark, state, words } = progress(conversation, entry);
  return h('span', { class: 'meta' }, time, h('span', { class: `mark ${state}`, title: words }, icon(mark), spoken(words)));
}
