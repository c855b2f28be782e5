// What somebody has begun to write and not sent, over a reload too. For each user: in a tab one may come after the other.

/** @param {string} userId @param {string} [conversationId] */
const keyOf = (userId, conversationId = '') => `draft:${encodeURIComponent(userId)}:${conversationId}`;

/** @param {string} userId @param {string} conversationId */
export const readDraft = (userId, conversationId) => sessionStorage.getItem(keyOf(userId, conversationId)) ?? '';

/** @param {string} userId @param {string} conversationId @param {string} text */
export function keepDraft(userId, conversationId, text) {
  if (text) sessionStorage.setItem(keyOf(userId, conversationId), text);
  else sessionStorage.removeItem(keyOf(userId, conversationId));
}

/** When they log out: nobody else is to find them. @param {string} userId */
export function clearDrafts(userId) {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(keyOf(userId))) sessionStorage.removeItem(key);
}
