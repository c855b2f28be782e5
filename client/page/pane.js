/**
 * Which part of a conversation's entries is in the document: pure. The part ends with the newest entry, or higher up after somebody has
 * scrolled far; it is never longer than MAX_ENTRIES.
 */

/** @import { Entry } from '../chat.js' */

/** Most entries in the document. */
export const MAX_ENTRIES = 300;
/** How many there are at first, and are left when the newest are followed. */
export const FIRST_ENTRIES = 100;
/** How many come in when an edge is near. */
export const STEP = 50;

/** @param {Entry} entry */
const seqOf = (entry) => entry.seq ?? Infinity;

export class Pane {
  /** The seq of the first entry; null: FIRST_ENTRIES from the end. @type {number | null} */
  #from = null;
  /** The seq of the last one; null: the newest, whatever comes. @type {number | null} */
  #to = null;

  /** Whether the newest entry is in it. */
  get isAtEnd() {
    return this.#to === null;
  }

  /** Back to the newest entries. */
  reset() {
    this.#from = this.#to = null;
  }

  /**
   * The part of these entries that is to be shown. With more than MAX_ENTRIES the end that is not looked at is cut off: the older one
   * while the newest are followed, else the newer one.
   * @param {readonly Entry[]} entries @param {boolean} isFollowing
   * @returns {readonly Entry[]}
   */
  cut(entries, isFollowing) {
    if (isFollowing && this.#to === null && this.#from !== null && this.#end(entries) - this.#start(entries) > MAX_ENTRIES) this.#from = null;
    if (this.#from === null) this.#setStart(entries, this.#end(entries) - FIRST_ENTRIES);
    if (this.#end(entries) - this.#start(entries) > MAX_ENTRIES) this.#setEnd(entries, this.#start(entries) + MAX_ENTRIES);
    const part = entries.slice(this.#start(entries), this.#end(entries));
    if (part.length > 0 || entries.length === 0) return part;
    // Another history: none of what was shown is there any more.
    this.reset();
    return this.cut(entries, isFollowing);
  }

  /** Takes in older entries; false when all that are given are in. @param {readonly Entry[]} entries */
  growUp(entries) {
    const start = this.#start(entries);
    if (start === 0) return false;
    this.#setStart(entries, start - STEP);
    return true;
  }

  /** Takes in newer entries; false when all are in. @param {readonly Entry[]} entries */
  growDown(entries) {
    if (this.#to === null) return false;
    this.#setEnd(entries, this.#end(entries) + STEP);
    if (this.#end(entries) - this.#start(entries) > MAX_ENTRIES) this.#setStart(entries, this.#end(entries) - MAX_ENTRIES);
    return true;
  }

  /** @param {readonly Entry[]} entries */
  #start(entries) {
    const from = this.#from;
    const at = from === null ? 0 : entries.findIndex((entry) => seqOf(entry) >= from);
    return at < 0 ? entries.length : at;
  }

  /** @param {readonly Entry[]} entries */
  #end(entries) {
    const to = this.#to;
    const at = to === null ? -1 : entries.findIndex((entry) => seqOf(entry) > to);
    return at < 0 ? entries.length : at;
  }

  /** @param {readonly Entry[]} entries @param {number} index */
  #setStart(entries, index) {
    let at = Math.min(index, entries.length - 1);
    // What is not sent yet has no number to hold on to.
    while (at > 0 && entries[at].seq === undefined) at -= 1;
    // With everything in, what is loaded later comes in too.
    this.#from = at <= 0 ? 0 : seqOf(entries[at]);
  }

  /** @param {readonly Entry[]} entries @param {number} index */
  #setEnd(entries, index) {
    this.#to = index >= entries.length ? null : seqOf(entries[index - 1]);
  }
}
