import { redirect } from '@sveltejs/kit';
import { SESSION_COOKIE } from '$lib/server/session.js';

/**
 * Ends the session in this browser. A form without JavaScript posts here: the page it leads to is a new one, and the chat store is
 * gone with the old. A stub: the cookie is not revoked, for nothing is stored about it; a copy of it stays good until it expires.
 */
export function POST({ cookies }) {
  cookies.delete(SESSION_COOKIE, { path: '/' });
  redirect(303, '/login');
}
