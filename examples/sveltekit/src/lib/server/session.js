// A session is a cookie that holds the user and is signed, so that nothing need be stored; nor can one be revoked before it expires.
// Put your app's own sessions in its place.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { dev } from '$app/environment';
import { env } from '$env/dynamic/private';
import { findPerson } from './people.js';

export const SESSION_COOKIE = 'session';
const SESSION_SECONDS = 8 * 60 * 60;
const MIN_SECRET_CHARS = 32;

/** @type {Buffer | undefined} */
let key;

/** Read at the first use, so that the app can be built without secrets. */
function sessionKey() {
  if (key) return key;
  const secret = env.SESSION_SECRET;
  if (secret && secret.length >= MIN_SECRET_CHARS) key = Buffer.from(secret);
  // Sessions end when the development server does.
  else if (!secret && dev) key = randomBytes(32);
  else throw new Error(`set SESSION_SECRET to at least ${MIN_SECRET_CHARS} characters, for instance from: openssl rand -hex 32`);
  return key;
}

/** @param {string} payload */
const sign = (payload) => createHmac('sha256', sessionKey()).update(payload).digest();

/** The cookie's value for a user. @param {{ id: string }} user */
export function writeSession(user) {
  const expires = Math.floor(Date.now() / 1000) + SESSION_SECONDS;
  const payload = Buffer.from(JSON.stringify({ id: user.id, expires })).toString('base64url');
  return `${payload}.${sign(payload).toString('base64url')}`;
}

/** The user of a cookie's value, or null for one that we did not write or that is over. @param {string | undefined} value */
export function readSession(value) {
  const [payload, signature, more] = (value ?? '').split('.');
  if (!payload || !signature || more !== undefined) return null;
  const given = Buffer.from(signature, 'base64url');
  const expected = sign(payload);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  const { id, expires } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return expires > Date.now() / 1000 ? findPerson(id) : null;
}

/** Who can read the cookie: no script, and no request that another site makes. @param {URL} url */
export const cookieOptions = (url) => ({
  path: '/',
  httpOnly: true,
  sameSite: /** @type {const} */ ('lax'),
  secure: url.protocol === 'https:',
  maxAge: SESSION_SECONDS,
});
