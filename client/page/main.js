/**
 * The start of the page: who is it, then the chat.
 */

import { App } from './app.js';
import { prepareDialogs } from './dialogs.js';
import { byId } from './dom.js';
import { askSwitch, askWho } from './people.js';
import { demoUsers, forgetInvite, isSame, keepInvite, parseHash, personNamed, remember, remembered, replaceHash, storage } from './session.js';

/** @import { Identity, Person } from './session.js' */

/** What the first screen has to say after a reload. */
const PROBLEM = 'parlor:problem';
/** That this tab has become somebody else's, with the reload that follows. */
const SWITCHED = 'parlor:switched';

prepareDialogs();
await begin();

async function begin() {
  const users = await loadUsers();
  const verdict = await readAddress(users);
  // Of an address that was declined, nothing is followed.
  if (verdict === 'kept') replaceHash(null);
  keepInvite();
  const isSwitched = verdict === 'switched' || storage.getItem(SWITCHED) !== null;
  storage.removeItem(SWITCHED);
  const problem = storage.getItem(PROBLEM) ?? '';
  storage.removeItem(PROBLEM);
  const kept = remembered();
  window.addEventListener('hashchange', beginAnew);
  const identity = kept ?? await askWho(users, problem);
  window.removeEventListener('hashchange', beginAnew);
  remember(identity);
  const isFirst = kept === null || isSwitched;
  const become = async () => {
    const verdict = await readAddress(users);
    if (verdict !== 'switched') return verdict;
    storage.setItem(SWITCHED, '1');
    location.reload();
    return verdict;
  };
  new App(identity, users, { logout, become }).start({ isFirst, isDemo: users.length > 0 });
}

/** @returns {Promise<Person[]>} */
async function loadUsers() {
  try {
    return await demoUsers();
  } catch (error) {
    console.debug('the server does not say for whom it has tokens', error);
    byId('welcome-error').textContent = 'The server cannot be reached. Reload the page to try again.';
    return [];
  }
}

/** Who the address says that this tab is. It says so once: neither history nor a copied address keeps it. @param {readonly Person[]} users */
function fromAddress(users) {
  const { as, token, conversation, join } = parseHash(location.hash);
  if (as === null && token === null) return null;
  const rest = join === null ? conversation : String(new URLSearchParams({ ...conversation !== null && { c: conversation }, join }));
  replaceHash(rest);
  if (token !== null) return { token };
  const person = users.find(({ id }) => id === as) ?? (users.length > 0 ? personNamed(as ?? '') : null);
  return person && { person };
}

/**
 * Makes this tab whoever's the address says, unless somebody is in who declines.
 * @param {readonly Person[]} users
 * @returns {Promise<'same' | 'switched' | 'kept'>}
 */
async function readAddress(users) {
  const named = fromAddress(users);
  const current = remembered();
  if (named === null || (current !== null && isSame(current, named))) return 'same';
  if (current !== null && !await askSwitch(current, named)) return 'kept';
  // Whoever comes next has not opened it.
  if (current !== null) forgetInvite();
  remember(named);
  return 'switched';
}

/** On the first screen, an address with a name is as good as an answer; an invite waits for one. */
function beginAnew() {
  const { as, token } = parseHash(location.hash);
  if (as !== null || token !== null) location.reload();
  else keepInvite();
}

/** Forgets who this tab is, and asks anew. @param {string} [problem] */
function logout(problem = '') {
  remember(null);
  if (problem) storage.setItem(PROBLEM, problem);
  // Whoever comes next has not opened it.
  else forgetInvite();
  replaceHash(null);
  location.reload();
}
