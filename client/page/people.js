/**
 * The first screen: demo users to choose from on a development server, a form for a token elsewhere.
 */

import { avatar } from './avatar.js';
import { byId, h, place } from './dom.js';
import { personNamed } from './session.js';

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
