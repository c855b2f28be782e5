import { redirect } from '@sveltejs/kit';
import { allPeople } from '$lib/server/people.js';

/** Everything in here is for those who are logged in. @type {import('./$types').LayoutServerLoad} */
export function load({ locals, url }) {
  if (!locals.user) redirect(303, `/login?next=${encodeURIComponent(url.pathname)}`);
  return { user: locals.user, people: allPeople() };
}
