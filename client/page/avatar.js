/**
 * The round sign of a person or a group: initials on a colour that follows from the id.
 */

import { h } from './dom.js';
import { hue, initials } from './format.js';

/**
 * @param {string} id @param {string} name
 * @param {{ sign?: 'online' | 'offline' | 'unknown', isSmall?: boolean, isGroup?: boolean }} [look]
 */
export function avatar(id, name, { sign = 'offline', isSmall = false, isGroup = false } = {}) {
  const classes = ['avatar', `hue-${hue(id)}`, sign !== 'offline' && sign, isSmall && 'small', isGroup && 'group'];
  return h('span', { class: classes.filter(Boolean).join(' '), 'aria-hidden': 'true', text: initials(name) });
}
