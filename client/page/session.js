/**
 * Who this tab is, and where its tokens come from: a demo user of a development server, or a token that was pasted. Both are kept for
 * this tab only; a reload keeps them, another tab does not see them.
 */

const KEY = 'parlor:identity';
/** The invite of the newest address that was one, until somebody has answered it. */
const INVITE = 'parlor:invite';
/** Who has been asked about it. */
const ASKED = 'parlor:invite-asked';
const MAX_NAME_CHARS = 60;
/** Of an invite code in an address: more than a code can have, so that what is cut off it is none either way. */
const MAX_CODE_CHARS = 300;

/** @typedef {{ id: string, name: string }} Person */
/** @typedef {{ person: Person, token?: undefined } | { token: string, person?: undefined }} Identity */

/** A store that lasts for the tab, or as long as the page where a browser grants none. */
export const storage = tabStorage();

function tabStorage() {
  try {
    const { sessionStorage } = window;
    sessionStorage.getItem(KEY);
    return sessionStorage;
  } catch {
    /** @type {Map<string, string>} */
    const kept = new Map();
    return {
      getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
      removeItem: (/** @type {string} */ key) => void kept.delete(key),
    };
  }
}

/** The demo users of this server: none in production. @returns {Promise<Person[]>} */
export async function demoUsers() {
  const response = await fetch(new URL('./mode.json', import.meta.url));
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return (await response.json()).users;
}

/** @returns {Identity | null} */
export function remembered() {
  const kept = storage.getItem(KEY);
  return kept === null ? null : JSON.parse(kept);
}

/** @param {Identity | null} identity */
export function remember(identity) {
  if (identity === null) storage.removeItem(KEY);
  else storage.setItem(KEY, JSON.stringify(identity));
}

/** Whether they are the same user with the same token. @param {Identity} one @param {Identity} other */
export const isSame = (one, other) => one.token === other.token && one.person?.id === other.person?.id;

/** Who somebody is, for people: of a token what it says itself, which nobody has verified here. @param {Identity} identity @returns {Person} */
export function describe({ person, token }) {
  if (person) return { id: shorten(person.id), name: shorten(person.name) };
  try {
    const bytes = Uint8Array.from(atob(token.split('.')[1].replace(/-/gu, '+').replace(/_/gu, '/')), (character) => character.charCodeAt(0));
    const { sub, name } = JSON.parse(new TextDecoder().decode(bytes));
    const id = shorten(String(sub));
    return { id, name: typeof name === 'string' && name.trim() ? shorten(name) : id };
  } catch {
    return { id: 'unknown', name: 'Somebody with a token' };
  }
}

/** @param {string} text */
const shorten = (text) => [...text.slice(0, 2 * MAX_NAME_CHARS)].slice(0, MAX_NAME_CHARS).join('');

/** Somebody of this name; the same name is the same user. @param {string} text @returns {Person | null} */
export function personNamed(text) {
  const name = text.trim().slice(0, MAX_NAME_CHARS);
  const id = name.toLowerCase().normalize('NFKD').replace(/\p{Mark}/gu, '').replace(/[^a-z0-9._:@|-]+/gu, '-').replace(/^-+|-+$/gu, '');
  return id ? { id, name } : null;
}

/**
 * What the client asks for tokens.
 * @param {Identity} identity
 * @param {() => void} onRefused called when the server refuses a token for which there is no other
 */
export function tokenSource(identity, onRefused) {
  /** @param {{ reason: string, signal: AbortSignal }} ask */
  return async ({ reason, signal }) => {
    if (identity.token !== undefined) {
      if (reason !== 'rejected') return identity.token;
      onRefused();
      throw new Error('the token was refused');
    }
    const { id, name } = identity.person;
    const query = new URLSearchParams({ sub: id, name });
    const response = await fetch(new URL(`../../dev/token?${query}`, import.meta.url), { signal, cache: 'no-store' });
    if (!response.ok) throw new Error(`the server gave no token: ${response.status}`);
    return (await response.json()).token;
  };
}

/**
 * What the address asks for behind its `#`: a conversation, or any of `as=USER` or `token=TOKEN`, `c=CONVERSATION` and `join=CODE`.
 * @param {string} hash
 */
export function parseHash(hash) {
  const text = hash.replace(/^#/u, '');
  const fields = new URLSearchParams(text.includes('=') ? text : { c: text });
  const field = (/** @type {string} */ name) => fields.get(name) || null;
  return { conversation: field('c'), as: field('as'), token: field('token'), join: fields.get('join')?.slice(0, MAX_CODE_CHARS) ?? null };
}

/** The address that asks whoever opens it to join a group. @param {string} code */
export const inviteLink = (code) => `${location.origin}${location.pathname}#${new URLSearchParams({ join: code })}`;

/** Has this, or nothing, stand behind the `#`, and in the history too. @param {string | null | undefined} text */
export const replaceHash = (text) => history.replaceState(null, '', text ? `#${text}` : location.pathname);

/**
 * Takes an invite out of the address, and keeps it until it is answered, also over a reload.
 * @param {string} [current] the conversation that the address names from then on, unless it did name one
 */
export function keepInvite(current) {
  const { join, conversation } = parseHash(location.hash);
  if (join === null) return;
  replaceHash(conversation ?? current);
  forgetInvite();
  storage.setItem(INVITE, join);
}

/** The code of the invite that is not answered yet, unless somebody else has been asked. @param {string} user */
export function keptInvite(user) {
  if ((storage.getItem(ASKED) ?? user) !== user) forgetInvite();
  return storage.getItem(INVITE);
}

/** Notes who has been asked about the invite. @param {string} user */
export const noteAsked = (user) => storage.setItem(ASKED, user);

export function forgetInvite() {
  for (const key of [INVITE, ASKED]) storage.removeItem(key);
}
