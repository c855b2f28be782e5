/**
 * The field to write in: drafts, typing, the length that the server takes, Enter.
 */

import { byId, icon, setText } from './dom.js';

/** @import { ChatClient, Conversation } from '../chat.js' */
/** @import { Drafts } from './drafts.js' */

/** What is left is shown from here on. */
const SHOWN_LEFT = 200;
/** When the server has not told its limit yet. */
const USUAL_MAX_CHARS = 4_000;

export class Composer {
  #client;
  #drafts;
  #onSent;
  #form = /** @type {HTMLFormElement} */ (byId('composer'));
  #field = /** @type {HTMLTextAreaElement} */ (byId('message'));
  #send = /** @type {HTMLButtonElement} */ (byId('send'));
  #note = byId('message-note');
  /** Why the text in the field was not taken, if it was not. */
  #problem = '';
  #isSizing = !CSS.supports('field-sizing', 'content');
  /** @type {Conversation | null} */
  #conversation = null;

  /** @param {ChatClient} client @param {Drafts} drafts @param {() => void} onSent */
  constructor(client, drafts, onSent) {
    this.#client = client;
    this.#drafts = drafts;
    this.#onSent = onSent;
    this.#send.replaceChildren(icon('send'));
    this.#field.oninput = () => this.#changed();
    this.#field.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    };
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
  }

  /** @param {Conversation | null} conversation */
  show(conversation) {
    this.#problem = '';
    this.#conversation = conversation;
    this.#field.value = conversation ? this.#drafts.get(conversation.id) : '';
    this.render();
  }

  render() {
    const isLeft = this.#conversation?.state === 'left';
    this.#field.disabled = isLeft;
    this.#field.placeholder = isLeft ? 'You are not in this conversation any more' : 'Write a message';
    const left = this.#left;
    const isOver = left < 0;
    this.#send.disabled = isLeft || isOver || this.#field.value.trim() === '';
    this.#field.setAttribute('aria-invalid', String(isOver));
    this.#note.classList.toggle('over', isOver);
    const room = left <= SHOWN_LEFT && this.#field.value !== '' ? `${left} left` : '';
    setText(this.#note, isOver ? `${-left} character${left === -1 ? '' : 's'} too many` : this.#problem || room);
    if (this.#isSizing) {
      this.#field.style.height = 'auto';
      this.#field.style.height = `${this.#field.scrollHeight}px`;
    }
  }

  focus() {
    this.#field.focus();
  }

  /** Puts a text into the field, in front of what is there. @param {string} text */
  edit(text) {
    this.#field.value = this.#field.value ? `${text}\n${this.#field.value}` : text;
    this.#changed();
    this.#field.focus();
    this.#field.setSelectionRange(text.length, text.length);
  }

  /** How many characters there is room for. */
  get #left() {
    const most = this.#client.limits?.maxContentChars ?? USUAL_MAX_CHARS;
    const { value } = this.#field;
    // Unicode scalar values count; there are never more of them than UTF-16 units.
    return value.length + SHOWN_LEFT < most ? most - value.length : most - [...value].length;
  }

  #changed() {
    const conversation = this.#conversation;
    if (!conversation) return;
    this.#problem = '';
    this.#drafts.set(conversation.id, this.#field.value);
    conversation.typing(this.#field.value !== '');
    this.render();
  }

  #submit() {
    const conversation = this.#conversation;
    const content = this.#field.value;
    if (!conversation || this.#send.disabled || content.trim() === '') return;
    this.#field.value = '';
    this.#changed();
    const isEnded = /^(closed|failed)$/u.test(this.#client.state);
    conversation.send(content).catch((error) => {
      // Whatever else goes wrong shows at the message itself; of these there is none.
      if (error.code !== 'QUEUE_FULL' && !isEnded) return;
      if (conversation !== this.#conversation) {
        this.#drafts.set(conversation.id, [content, this.#drafts.get(conversation.id)].filter(Boolean).join('\n'));
        return;
      }
      this.edit(content);
      this.#problem = isEnded ? 'There is no connection: it was not taken.' : 'Too many messages wait to be sent.';
      this.render();
    });
    this.#onSent();
  }
}
