/**
 * Dialogs: starting a conversation or joining a group, the members, the keys; and the toast.
 */

import { avatar } from './avatar.js';
import { byId, h, icon, place, setText } from './dom.js';
import { groupSubtitle, presence, signOf, titleOf } from './format.js';
import { parseHash } from './session.js';

/** @import { ChatClient, Conversation } from '../chat.js' */
/** @import { Person } from './session.js' */

const TOAST_MS = 4_000;
const MOST_PEOPLE = 60;

/** @param {string} id */
const dialogOf = (id) => /** @type {HTMLDialogElement} */ (byId(id));
/** @param {string} id */
const inputOf = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** Whether a dialog is in front of everything. */
export const isDialogOpen = () => document.querySelector('dialog[open]') !== null;

/** Gives every dialog its cross, and closes it for a click beside it. */
export function prepareDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    for (const button of dialog.querySelectorAll('[data-close]')) {
      button.replaceChildren(icon('close'));
      button.addEventListener('click', () => dialog.close());
    }
    dialog.addEventListener('pointerdown', (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
}

export const showHelp = () => dialogOf('help-dialog').showModal();

/** @type {ReturnType<typeof setTimeout> | undefined} */
let toasting;

/** Says something for some seconds. @param {string} text */
export function toast(text) {
  const element = byId('toast');
  clearTimeout(toasting);
  element.textContent = text;
  element.classList.add('shown');
  toasting = setTimeout(() => element.classList.remove('shown'), TOAST_MS);
}

/** Copies an invite code, or shows it where a page may not copy. @param {string} code */
export async function copyInvite(code) {
  try {
    await navigator.clipboard.writeText(code);
    toast('The invite code is copied.');
  } catch {
    toast(`Copy this code: ${code}`);
  }
}

/** What went wrong, in words. @param {unknown} error @param {string} notFound */
function words(error, notFound) {
  const { code, message } = /** @type {{ code?: string, message?: string }} */ (error);
  if (code === 'DISCONNECTED' || code === 'CLOSED') return 'There is no connection now. Try again when it is back.';
  if (code === 'not_found') return notFound;
  if (code === 'rate_limited') return 'That was too often. Wait a minute.';
  return `That did not work: ${message ?? 'nobody knows why'}.`;
}

export class NewDialog {
  #client;
  #users;
  #onOpen;
  #dialog = dialogOf('new-dialog');
  #form = /** @type {HTMLFormElement} */ (byId('new-form'));
  #error = byId('new-error');

  /** @param {ChatClient} client @param {readonly Person[]} users @param {(conversation: Conversation) => void} onOpen */
  constructor(client, users, onOpen) {
    this.#client = client;
    this.#users = users;
    this.#onOpen = onOpen;
    this.#form.onchange = () => this.#choose();
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      void this.#submit();
    };
  }

  /** @param {{ what?: 'direct' | 'group' | 'join', code?: string }} [how] */
  show({ what = 'direct', code = '' } = {}) {
    this.#form.reset();
    this.#error.textContent = '';
    inputOf('new-code').value = code;
    for (const radio of this.#form.querySelectorAll('input')) if (radio.name === 'what') radio.checked = radio.value === what;
    place(byId('new-people'), this.#people().map(({ id, name }) => h('li', {},
      h('label', { class: 'choice' }, h('input', { name: 'person', value: id }), avatar(id, name, { isSmall: true }), h('span', { text: name })))));
    this.#choose();
    this.#dialog.showModal();
    if (what === 'join') inputOf('new-code').focus();
  }

  /** Everybody that is known: demo users, and members of what is open. */
  #people() {
    const me = this.#client.user?.id;
    const people = new Map(this.#users.map((person) => [person.id, person]));
    for (const { members } of this.#client.list) {
      for (const { userId, name } of members) if (people.size < MOST_PEOPLE && !people.has(userId)) people.set(userId, { id: userId, name });
    }
    return [...people.values()].filter(({ id }) => id !== me);
  }

  get #what() {
    return String(new FormData(this.#form).get('what'));
  }

  #choose() {
    const what = this.#what;
    for (const part of this.#form.querySelectorAll('[data-for]')) {
      if (part instanceof HTMLElement) part.hidden = !part.dataset.for?.split(' ').includes(what);
    }
    for (const input of byId('new-people').querySelectorAll('input')) input.type = what === 'group' ? 'checkbox' : 'radio';
    setText(byId('new-people-legend'), what === 'group' ? 'Who is in it?' : 'With whom?');
    setText(byId('new-ids-label'), what === 'group' ? 'Others, by user id (commas between)' : 'Somebody else, by user id');
    setText(byId('new-submit'), { group: 'Create the group', join: 'Join' }[what] ?? 'Start');
  }

  async #submit() {
    const button = /** @type {HTMLButtonElement} */ (byId('new-submit'));
    button.disabled = true;
    this.#error.textContent = '';
    try {
      const conversation = await this.#start();
      this.#dialog.close();
      this.#onOpen(conversation);
    } catch (error) {
      this.#error.textContent = error instanceof Missing ? error.message : words(error, 'No group has this code.');
    } finally {
      button.disabled = false;
    }
  }

  async #start() {
    const typed = inputOf('new-ids').value.split(/[\s,;]+/u).filter(Boolean);
    const chosen = new FormData(this.#form).getAll('person').map(String);
    const name = inputOf('new-name').value.trim();
    const text = inputOf('new-code').value.trim();
    const code = text.includes('#') ? parseHash(text.slice(text.indexOf('#'))).join ?? '' : text;
    switch (this.#what) {
      case 'group':
        if (!name) throw new Missing('new-name', 'Give the group a name.');
        return this.#client.createGroup(name, [...new Set([...chosen, ...typed])]);
      case 'join':
        if (!code) throw new Missing('new-code', 'Paste the code that you were given.');
        return this.#client.joinGroup(code);
      default: {
        const whom = typed[0] ?? chosen[0];
        if (!whom) throw new Missing('new-ids', 'Choose somebody, or write their user id.');
        if (whom === this.#client.user?.id) throw new Missing('new-ids', 'That is you. Whom do you want to write to?');
        return this.#client.createConversation([whom]);
      }
    }
  }
}

/** A field that has to be filled in; it gets the focus. */
class Missing extends Error {
  /** @param {string} id @param {string} message */
  constructor(id, message) {
    super(message);
    byId(id).focus();
  }
}

export class DetailsDialog {
  #client;
  #onLeft;
  #dialog = dialogOf('details-dialog');
  #leave = /** @type {HTMLButtonElement} */ (byId('leave'));
  #error = byId('details-error');
  /** @type {Conversation | null} */
  #conversation = null;
  #isSure = false;

  /** @param {ChatClient} client @param {() => void} onLeft */
  constructor(client, onLeft) {
    this.#client = client;
    this.#onLeft = onLeft;
    byId('details-copy').onclick = () => void copyInvite(inputOf('details-code').value);
    this.#leave.onclick = () => void this.#clicked();
    this.#leave.onblur = () => this.#ask(false);
    this.#dialog.onclose = () => {
      this.#conversation = null;
    };
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    this.#conversation = conversation;
    this.#error.textContent = '';
    this.#ask(false);
    this.render();
    this.#dialog.showModal();
  }

  render() {
    const conversation = this.#conversation;
    if (!conversation) return;
    const { inviteCode, members, memberCount } = conversation;
    const now = new Date();
    const isKnown = conversation.state === 'open';
    setText(byId('details-title'), titleOf(conversation, this.#client.user?.id));
    byId('details-invite').hidden = inviteCode === undefined;
    inputOf('details-code').value = inviteCode ?? '';
    byId('details-leave').hidden = conversation.kind !== 'group';
    setText(byId('details-count'), groupSubtitle(members, memberCount, isKnown));
    place(byId('details-members'), members.map((member) => {
      const isMe = member.userId === this.#client.user?.id;
      const about = [isMe && 'You', member.role === 'owner' && 'Owner', presence(member, now, isKnown)].filter(Boolean).join(' · ');
      return h('li', {}, avatar(member.userId, member.name, { sign: signOf(conversation, member) }),
        h('span', { class: 'member-name', text: member.name }), h('span', { class: 'note', text: about }));
    }));
  }

  /** @param {boolean} isSure */
  #ask(isSure) {
    this.#isSure = isSure;
    setText(this.#leave, isSure ? 'Really leave? Coming back needs a code' : 'Leave the group');
  }

  async #clicked() {
    const conversation = this.#conversation;
    if (!conversation) return;
    if (!this.#isSure) return this.#ask(true);
    try {
      await conversation.leave();
      this.#dialog.close();
      toast(`You left ${titleOf(conversation, this.#client.user?.id)}.`);
      this.#onLeft();
    } catch (error) {
      this.#error.textContent = words(error, 'You are not a member any more.');
    }
  }
}
