/**
 * What keys do wherever the focus is. Keys of one field or list are with that field or list.
 */

import { isDialogOpen } from './dialogs.js';

/**
 * @typedef {object} Commands
 * @property {() => void} help
 * @property {() => void} search
 * @property {() => void} start a conversation
 * @property {() => void} members
 * @property {(step: number) => void} move to the conversation so many places below
 * @property {() => void} leaveThread to the list
 */

/** @param {Commands} commands */
export function listenToKeys(commands) {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || isDialogOpen() || event.ctrlKey || event.metaKey) return;
    const run = commandOf(event, commands);
    if (!run) return;
    event.preventDefault();
    run();
  });
}

/** @param {KeyboardEvent} event @param {Commands} commands */
function commandOf({ key, altKey, target }, commands) {
  const isWriting = target instanceof HTMLElement && target.matches('input, textarea');
  if (altKey) return { ArrowUp: () => commands.move(-1), ArrowDown: () => commands.move(1) }[key];
  if (key === 'Escape' && target instanceof HTMLElement && target.closest('#thread')) return commands.leaveThread;
  if (isWriting) return undefined;
  return { '?': commands.help, '/': commands.search, n: commands.start, m: commands.members }[key];
}
