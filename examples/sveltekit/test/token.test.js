import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromApp, fromSupabase } from '../src/lib/token.js';

/** A stand-in for `supabase.auth`, which notes what was called. */
function fakeSupabase({ session = { access_token: 'kept' }, refreshed = { access_token: 'fresh' }, error = null } = {}) {
  const calls = [];
  const answer = (name, session) => async () => {
    calls.push(name);
    return { data: { session: error ? null : session }, error };
  };
  return { calls, auth: { getSession: answer('getSession', session), refreshSession: answer('refreshSession', refreshed) } };
}

test('a session that is there is used to connect and to reconnect', async () => {
  for (const reason of ['connect', 'reconnect']) {
    const supabase = fakeSupabase();
    assert.equal(await fromSupabase(supabase)({ reason }), 'kept');
    assert.deepEqual(supabase.calls, ['getSession']);
  }
});

test('a token that was refused or ends is replaced by a new one', async () => {
  for (const reason of ['rejected', 'expiring']) {
    const supabase = fakeSupabase();
    assert.equal(await fromSupabase(supabase)({ reason }), 'fresh');
    assert.deepEqual(supabase.calls, ['refreshSession']);
  }
});

test('without a session, or when Supabase fails, there is no token', async () => {
  await assert.rejects(fromSupabase(fakeSupabase({ session: null }))({ reason: 'connect' }), /nobody is signed in/);
  const error = new Error('refresh token not found');
  await assert.rejects(fromSupabase(fakeSupabase({ error }))({ reason: 'rejected' }), error);
});

test('the app is asked by POST, with the signal that ends the wait', async () => {
  const requests = [];
  const fetch = async (path, options) => {
    requests.push([path, options]);
    return Response.json({ token: 'abc' });
  };
  const { signal } = new AbortController();
  assert.equal(await fromApp({ fetch })({ reason: 'connect', signal }), 'abc');
  assert.deepEqual(requests, [['/api/chat-token', { method: 'POST', signal }]]);
});

test('a session that is over is told, an app that fails is not taken for one', async () => {
  const outcomes = [];
  for (const status of [401, 500]) {
    const fetch = async () => new Response('', { status });
    const getToken = fromApp({ fetch, onSignedOut: () => outcomes.push(status) });
    await assert.rejects(getToken({ reason: 'reconnect' }), new RegExp(`answered ${status}`));
  }
  assert.deepEqual(outcomes, [401]);
});
