import { SESSION_COOKIE, readSession } from '$lib/server/session.js';

/** Who asks, from the signed cookie: pages and endpoints find it in `event.locals.user`. @type {import('@sveltejs/kit').Handle} */
export async function handle({ event, resolve }) {
  event.locals.user = readSession(event.cookies.get(SESSION_COOKIE));
  return resolve(event);
}
