/**
 * Dialogs: starting a conversation or joining a group, the members, the keys; and the toast.
 */

import { avatar } from './avatar.js';
import { byId, h, icon, place, setText } from './dom.js';
import { groupSubtitle, isUserId, presence, signOf, titleOf } from './format.js';
import { forgetInvite, inviteLink, noteAsked, parseHash } from './session.js';

/** @import { ChatClient, Conversation } from '../chat.js' */
/** @import { Person } from './session.js' */

const TOAST_MS = 4_000;
const MOST_PEOPLE = 60;
/** Of what somebody wrote, in a sentence about it. */
const QUOTED_CHARS = 40;
/** What the server says of a code that can be none. */
const NO_CODE = ['invalid_payload', 'invalid_text'];

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

/** Copies an invite link, or says where it can be copied by hand. @param {string} link */
export async function copyInvite(link) {
  const isCopied = await copy(link);
  toast(isCopied ? 'The invite link is copied.' : 'The browser did not let it be copied. It stands in the group’s members and details.');
}

/** Whether the browser has copied it: it does not everywhere. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    console.debug('nothing was copied', error);
    return false;
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
  #submitButton = /** @type {HTMLButtonElement} */ (byId('new-submit'));
  #error = byId('new-error');
  /** Counts the times that it was opened: what was asked before is not answered here any more. */
  #showing = 0;
  /** What it asks about now, or did last. @type {string | null} */
  #invite = null;

  /** @param {ChatClient} client @param {readonly Person[]} users @param {(conversation: Conversation) => void} onOpen */
  constructor(client, users, onOpen) {
    this.#client = client;
    this.#users = users;
    this.#onOpen = onOpen;
    this.#form.onchange = ({ target }) => {
      // A message goes to one person: the one who was chosen or written last.
      if (this.#what === 'direct' && target instanceof HTMLInputElement && target.name === 'person') inputOf('new-ids').value = '';
      this.#choose();
    };
    inputOf('new-ids').oninput = () => this.#choose();
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      void this.#submit();
    };
    // The event for it would come with the next frame, and a reload may come before.
    new MutationObserver(() => {
      if (!this.#dialog.open && this.#invite !== null) forgetInvite();
    }).observe(this.#dialog, { attributeFilter: ['open'] });
  }

  /** Whether somebody is being asked about this invite. @param {string} invite */
  asks(invite) {
    return this.#dialog.open && this.#invite === invite;
  }

  /** @param {string | null} [invite] a code that came with an address: it joins nobody to anything before they say so */
  show(invite = null) {
    this.#showing += 1;
    this.#invite = invite;
    if (invite !== null && this.#client.user) noteAsked(this.#client.user.id);
    this.#form.reset();
    this.#submitButton.disabled = false;
    this.#error.textContent = '';
    inputOf('new-code').value = invite ?? '';
    const note = invite === null ? '' : 'The address that was opened is an invite to a group. If you did not mean to join one, close this.';
    byId('new-code-note').textContent = note;
    const what = invite === null ? 'direct' : 'join';
    for (const radio of this.#form.querySelectorAll('input')) if (radio.name === 'what') radio.checked = radio.value === what;
    place(byId('new-people'), this.#people().map(({ id, name }) => h('li', {},
      h('label', { class: 'choice' }, h('input', { name: 'person', value: id }), avatar(id, name, { isSmall: true }), h('span', { text: name })))));
    this.#choose();
    if (!this.#dialog.open) this.#dialog.showModal();
    // Enter, pressed without looking, closes it.
    const close = this.#dialog.querySelector('[data-close]');
    if (invite !== null && close instanceof HTMLElement) close.focus();
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

  /** The user ids that were written, or what stands in their place. */
  get #typed() {
    return [...new Set(inputOf('new-ids').value.split(/[\s,;]+/u).filter(Boolean))];
  }

  get #chosen() {
    return new FormData(this.#form).getAll('person').map(String);
  }

  #choose() {
    const what = this.#what;
    for (const part of this.#form.querySelectorAll('[data-for]')) {
      if (part instanceof HTMLElement) part.hidden = !part.dataset.for?.split(' ').includes(what);
    }
    const isWritten = what === 'direct' && this.#typed.length > 0;
    for (const input of byId('new-people').querySelectorAll('input')) {
      input.type = what === 'group' ? 'checkbox' : 'radio';
      if (isWritten) input.checked = false;
    }
    setText(byId('new-people-legend'), what === 'group' ? 'Who is in it?' : 'With whom?');
    setText(byId('new-ids-label'), what === 'group' ? 'Others, by user id (commas between)' : 'Somebody else, by user id');
    this.#label({ group: 'Create the group', join: 'Join' }[what] ?? 'Start', what === 'direct' ? this.#whom() : '');
  }

  /** Says on the button what it does. @param {string} does @param {string} whom or '' */
  #label(does, whom) {
    const button = this.#submitButton;
    const label = whom ? `${does} with ${whom}` : does;
    // A click on something that is taken away in its middle would be none.
    if (button.textContent !== label) button.replaceChildren(...whom ? [`${does} with `, h('bdi', { text: whom })] : [does]);
  }

  /** The name or the id of the one to whom a message would go; '' as long as that is nobody. */
  #whom() {
    const [typed, chosen] = [this.#typed, this.#chosen];
    if (typed.length > 0) return typed.length === 1 && isUserId(typed[0]) ? typed[0] : '';
    return this.#people().find(({ id }) => id === chosen[0])?.name ?? chosen[0] ?? '';
  }

  async #submit() {
    const showing = this.#showing;
    const isOver = () => showing !== this.#showing || !this.#dialog.open;
    this.#submitButton.disabled = true;
    this.#error.textContent = '';
    try {
      const conversation = await this.#start();
      // The list shows it.
      if (isOver()) return;
      this.#dialog.close();
      this.#onOpen(conversation);
    } catch (error) {
      if (isOver()) return console.debug('refused, when nobody waited for it any more', error);
      this.#error.textContent = this.#explain(error);
    } finally {
      if (!isOver()) this.#submitButton.disabled = false;
    }
  }

  /** @param {unknown} error */
  #explain(error) {
    if (error instanceof Missing) return error.message;
    const noGroup = 'No group has this code.';
    const isNoCode = this.#what === 'join' && NO_CODE.includes(/** @type {{ code: string }} */ (error).code);
    return isNoCode ? noGroup : words(error, noGroup);
  }

  async #start() {
    const [typed, chosen] = [this.#typed, this.#chosen];
    const name = inputOf('new-name').value.trim();
    const text = inputOf('new-code').value.trim();
    const code = text.includes('#') ? parseHash(text.slice(text.indexOf('#'))).join ?? '' : text;
    const malformed = typed.find((id) => !isUserId(id));
    if (this.#what !== 'join' && malformed !== undefined) throw new Missing('new-ids', notAnId(malformed));
    switch (this.#what) {
      case 'group':
        if (!name) throw new Missing('new-name', 'Give the group a name.');
        return this.#client.createGroup(name, [...new Set([...chosen, ...typed])]);
      case 'join':
        if (!code) throw new Missing('new-code', 'Paste the code that you were given.');
        return this.#client.joinGroup(code);
      default: {
        if (typed.length > 1) throw new Missing('new-ids', 'A message goes to one person. To write to several, choose Group.');
        const whom = typed[0] ?? chosen[0];
        if (!whom) throw new Missing('new-ids', 'Choose somebody, or write their user id.');
        if (whom === this.#client.user?.id) throw new Missing('new-ids', 'That is you. Whom do you want to write to?');
        return this.#client.createConversation([whom]);
      }
    }
  }
}

/** @param {string} text */
function notAnId(text) {
  const quoted = text.length > QUOTED_CHARS ? `${text.slice(0, QUOTED_CHARS)}…` : text;
  return `“${quoted}” is no user id. An id has only the letters A to Z and a to z, digits and . _ : @ | -, at most 128 of them.`;
}

/** A field that has to be filled in, or otherwise; it gets the focus. */
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
  /** The toast is behind a dialog. */
  #copied = byId('details-copied');
  /** @type {Conversation | null} */
  #conversation = null;
  #isSure = false;

  /** @param {ChatClient} client @param {() => void} onLeft */
  constructor(client, onLeft) {
    this.#client = client;
    this.#onLeft = onLeft;
    byId('details-copy-link').onclick = () => void this.#copy('details-link', 'link');
    byId('details-copy-code').onclick = () => void this.#copy('details-code', 'code');
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
    this.#copied.textContent = '';
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
    inputOf('details-link').value = inviteCode === undefined ? '' : inviteLink(inviteCode);
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

  /** Copies what a field shows; where a page may not, it is selected for doing so by hand. @param {string} id @param {string} what */
  async #copy(id, what) {
    const field = inputOf(id);
    const isCopied = await copy(field.value);
    if (!isCopied) {
      field.focus();
      field.select();
    }
    this.#copied.textContent = isCopied ? `The ${what} is copied.` : `The browser did not let the ${what} be copied. It is selected: copy it yourself.`;
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
