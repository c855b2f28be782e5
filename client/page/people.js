/**
 * The first screen: demo users to choose from on a development server, a form for a token elsewhere.
 */

import { avatar } from './avatar.js';
import { byId, h, place } from './dom.js';
import { describe, personNamed } from './session.js';

/** @import { Identity, Person } from './session.js' */

/**
 * Shows the screen until somebody has been chosen.
 * @param {readonly Person[]} users @param {string} problem what went wrong before, or ''
 * @returns {Promise<Identity>}
 */
export function askWho(users, problem) {
  const screen = byId('welcome');
  const hasUsers = users.length > 0;
  byId('picker').hidden = !hasUsers;
  byId('login').hidden = hasUsers;
  byId('welcome-error').textContent = problem;
  screen.hidden = false;
  return new Promise((resolve) => {
    const done = (/** @type {Identity} */ identity) => {
      screen.hidden = true;
      resolve(identity);
    };
    place(byId('people'), users.map((person) => h('li', {}, personButton(person, () => done({ person })))));
    byId('somebody').onsubmit = (event) => {
      event.preventDefault();
      const field = /** @type {HTMLInputElement} */ (byId('somebody-name'));
      const person = personNamed(field.value);
      if (person) return done({ person });
      byId('welcome-error').textContent = 'A name needs a letter or a digit of the Latin alphabet.';
    };
    byId('login').onsubmit = (event) => {
      event.preventDefault();
      const field = /** @type {HTMLInputElement} */ (byId('login-token'));
      const token = field.value.trim();
      field.value = '';
      if (token) done({ token });
    };
    const first = hasUsers ? byId('people').querySelector('button') : byId('login-token');
    if (first instanceof HTMLElement) first.focus();
  });
}

/** Ends the question that is open. */
let withdraw = () => {};

/**
 * Asks whoever is in this tab whether it is to be somebody else's: an address alone must not decide that. Anything but a clear yes is a no.
 * @param {Identity} current @param {Identity} next
 * @returns {Promise<boolean>}
 */
export function askSwitch(current, next) {
  withdraw();
  const dialog = /** @type {HTMLDialogElement} */ (byId('switch-dialog'));
  const [from, to] = [describe(current), describe(next)];
  const named = (/** @type {Person} */ { id, name }) => h('bdi', { class: 'who', text: name === id ? name : `${name} (${id})` });
  byId('switch-text').replaceChildren('This tab is ', named(from), '. An address that was opened would make it ', named(to), '.');
  const [keep, change] = [byId('switch-keep'), byId('switch-change')];
  keep.replaceChildren('Stay ', h('bdi', { text: from.name }));
  change.replaceChildren('Become ', h('bdi', { text: to.name }));
  return new Promise((resolve) => {
    let isSure = false;
    withdraw = () => {
      dialog.onclose = null;
      dialog.close();
      resolve(false);
    };
    keep.onclick = () => dialog.close();
    change.onclick = () => {
      isSure = true;
      dialog.close();
    };
    dialog.onclose = () => {
      // This is still of the question before.
      if (dialog.open) return;
      withdraw = () => {};
      resolve(isSure);
    };
    dialog.showModal();
    keep.focus();
  });
}

/** @param {Person} person @param {() => void} onclick */
function personButton(person, onclick) {
  return h('button', { type: 'button', class: 'person', onclick }, avatar(person.id, person.name), h('span', { text: person.name }));
}

/**
 * Whom 'open as another user' means: the other one of a direct conversation, else the next demo user who is a member, else the next.
 * @param {readonly Person[]} users @param {string} me @param {readonly { userId: string }[]} members
 * @returns {Person | null}
 */
export function nextPerson(users, me, members) {
  const at = users.findIndex((person) => person.id === me);
  const others = [...users.slice(at + 1), ...users.slice(0, Math.max(at, 0))];
  const ids = new Set(members.map((member) => member.userId));
  return others.find((person) => ids.has(person.id)) ?? others[0] ?? null;
}

/** The demo user with whom somebody has a conversation from the start. @param {readonly Person[]} users @param {string} me */
export function partnerOf(users, me) {
  const at = users.findIndex((person) => person.id === me);
  return (at < 0 ? undefined : users[at ^ 1]) ?? users.find((person) => person.id !== me) ?? null;
}
