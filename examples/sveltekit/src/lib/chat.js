// The one chat store of a page, in context: the layout makes it, every component below takes it from there. Not in a module: on
// the server, modules are shared by all users.
import { createContext } from 'svelte';
import { createChat } from 'parlor-chat/svelte';

const [getChat, setChat] = createContext();

/**
 * Makes the store, for everything below the calling component. Nothing is connected on the server, nor before somebody looks.
 * @param {{ getToken: import('./token.js').GetToken, url?: string }} options
 * @returns {import('parlor-chat/svelte').ChatStore}
 */
export function provideChat({ getToken, url = '/ws' }) {
  const storage = typeof sessionStorage === 'undefined' ? undefined : sessionStorage;
  return setChat(createChat({ url, getToken, storage }));
}

/** The store that a layout above has made. @type {() => import('parlor-chat/svelte').ChatStore} */
export const useChat = getChat;
