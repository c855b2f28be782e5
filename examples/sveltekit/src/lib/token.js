// Where the chat client gets its tokens: from this app's own endpoint, or from a Supabase session. One of the two is given to
// `createChat` as `getToken`. A rejection counts as a failed attempt: the client waits and tries again.

/**
 * @typedef {{ reason: 'connect' | 'reconnect' | 'expiring' | 'rejected', signal?: AbortSignal }} Ask
 * @typedef {(ask: Ask) => Promise<string>} GetToken
 */

/**
 * Tokens from the app's endpoint.
 * @param {{ path?: string, fetch?: typeof fetch, onSignedOut?: () => void }} [options] onSignedOut: the session is over
 * @returns {GetToken}
 */
export function fromApp({ path = '/api/chat-token', fetch = (...request) => globalThis.fetch(...request), onSignedOut } = {}) {
  return async ({ signal }) => {
    const response = await fetch(path, { method: 'POST', signal });
    if (response.status === 401) onSignedOut?.();
    if (!response.ok) throw new Error(`no chat token: ${path} answered ${response.status}`);
    const { token } = await response.json();
    return token;
  };
}

/**
 * Access tokens of a Supabase session. Parlor verifies them with the project's key set or its legacy secret.
 * @param {{ auth: SupabaseAuth }} supabase the client that the app signs in with
 * @returns {GetToken}
 */
export function fromSupabase({ auth }) {
  return async ({ reason }) => {
    // getSession answers with the token that is there as long as it is good. One that is refused or about to end is no use.
    const isStale = reason === 'rejected' || reason === 'expiring';
    const { data, error } = isStale ? await auth.refreshSession() : await auth.getSession();
    if (error) throw error;
    if (!data.session) throw new Error('nobody is signed in');
    return data.session.access_token;
  };
}

/**
 * The part of `supabase.auth` that is used here.
 * @typedef {{ data: { session: { access_token: string } | null }, error: Error | null }} SessionAnswer
 * @typedef {{ getSession(): Promise<SessionAnswer>, refreshSession(): Promise<SessionAnswer> }} SupabaseAuth
 */
