/**
 * What somebody has begun to write, for each conversation, kept over a reload of the tab.
 */

import { storage } from './session.js';

export class Drafts {
  #user;

  /** @param {() => string} user whose drafts they are */
  constructor(user) {
    this.#user = user;
  }

  /** @param {string} conversationId */
  get(conversationId) {
    return storage.getItem(this.#key(conversationId)) ?? '';
  }

  /** @param {string} conversationId @param {string} text */
  set(conversationId, text) {
    const key = this.#key(conversationId);
    if (text === '') return storage.removeItem(key);
    try {
      storage.setItem(key, text);
    } catch (error) {
      // No room: what is in the field is not lost by that.
      console.debug('the draft is not kept', error);
    }
  }

  /** @param {string} conversationId */
  #key(conversationId) {
    return `parlor:draft:${this.#user()}:${conversationId}`;
  }
}
