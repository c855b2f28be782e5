import { error, json } from '@sveltejs/kit';
import { mintToken } from '$lib/server/token.js';

/** A short-lived token for the chat server, for whoever is logged in. @type {import('./$types').RequestHandler} */
export async function POST({ locals }) {
  if (!locals.user) error(401, 'log in first');
  return json({ token: await mintToken(locals.user) }, { headers: { 'cache-control': 'no-store' } });
}
