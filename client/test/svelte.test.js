/** The Svelte entry on a server, where nothing may connect; and, in a process of its own, as a browser gets it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { render } from 'svelte/server';
import { createChat } from '../svelte.js';
import { load } from './support/compiled.js';
import { settled } from './support/timers.js';

class Forbidden {
  constructor() {
    throw new Error('a server does not connect');
  }
}

const options = {
  url: '/ws',
  getToken: () => assert.fail('a server asks for no token'),
  WebSocket: Forbidden,
};

const COMPONENT = `
<script>
  let { chat } = $props();
</script>
<p>{$chat.status.state} {$chat.unread} {chat.messages.length} {chat.conversations.length} {$chat.online('bob')}</p>
{#each $chat.conversations as conversation (conversation.id)}<b>{conversation.title}</b>{/each}
`;

test('a page that is rendered on a server shows an idle chat, and nothing connects', async () => {
  const chat = createChat(options);
  const { default: Component } = await load('Page.svelte', COMPONENT, 'server');
  const { body } = render(Component, { props: { chat } });
  assert.match(body, /idle 0 0 0 false/);
  await settled();
  assert.equal(chat.client.state, 'idle');
});

test('subscribing on a server calls once, and connects nothing', async () => {
  const chat = createChat(options);
  const calls = [];
  const off = chat.subscribe((value) => calls.push(value));
  await settled();
  off();
  assert.deepEqual([calls.length, calls[0] === chat, chat.client.state, chat.current, chat.user], [1, true, 'idle', null, null]);
});

test('as a browser gets it', () => {
  const file = fileURLToPath(new URL('./svelte.browser.js', import.meta.url));
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  try {
    execFileSync(process.execPath, ['--conditions=browser', '--test', file], { encoding: 'utf8', env });
  } catch (error) {
    assert.fail(error.stdout);
  }
});
