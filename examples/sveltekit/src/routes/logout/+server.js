import { redirect } from '@sveltejs/kit';
import { SESSION_COOKIE } from '$lib/server/session.js';

/** Ends the session. A form without JavaScript posts here: the page it leads to is a new one, and the chat store is gone with the old. */
export function POST({ cookies }) {
  cookies.delete(SESSION_COOKIE, { path: '/' });
  redirect(303, '/login');
}
