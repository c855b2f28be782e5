import { fail, redirect } from '@sveltejs/kit';
import { allPeople, findPerson } from '$lib/server/people.js';
import { SESSION_COOKIE, cookieOptions, writeSession } from '$lib/server/session.js';

/** Where to go after logging in: a path of this app and nothing else. @param {URL} url */
function destination(url) {
  const next = url.searchParams.get('next') ?? '/';
  if (!next.startsWith('/') || !URL.canParse(next, url)) return '/';
  // As it is encoded: not every character may stand in a header.
  const { origin, pathname, search, hash } = new URL(next, url);
  return origin === url.origin && !pathname.startsWith('//') ? pathname + search + hash : '/';
}

/** @type {import('./$types').PageServerLoad} */
export function load({ locals, url }) {
  if (locals.user) redirect(303, destination(url));
  return { people: allPeople() };
}

/** A stub: whoever says that they are Alice is. Put your app's own login in its place. @satisfies {import('./$types').Actions} */
export const actions = {
  default: async ({ request, cookies, url }) => {
    const form = await request.formData();
    const person = findPerson(form.get('user'));
    if (!person) return fail(400, { problem: 'Choose one of the names.' });
    cookies.set(SESSION_COOKIE, writeSession(person), cookieOptions(url));
    redirect(303, destination(url));
  },
};
