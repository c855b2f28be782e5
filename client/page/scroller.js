/**
 * A scrolled element whose content changes above, below and in the middle of what is being read, without what is being read moving. It
 * is either stuck to its end, then it stays there, or it holds on to the first row that can be seen and stays.
 */

/** This near to the end counts as being there: fractions of pixels, and a hand that stopped just short. */
const STUCK_PX = 32;

export class Scroller {
  #frame;
  /** Where it stood when it last told of a movement. */
  #top = 0;
  isStuck = true;

  /** @param {HTMLElement} frame @param {() => void} onScroll after each movement */
  constructor(frame, onScroll) {
    this.#frame = frame;
    frame.addEventListener('scroll', () => {
      const top = frame.scrollTop;
      // Only who moves up leaves the end. The end itself moves away when the frame becomes smaller, which may be heard of later.
      if (this.belowPx <= STUCK_PX) this.isStuck = true;
      else if (top < this.#top) this.isStuck = false;
      this.#top = top;
      onScroll();
    }, { passive: true });
    new ResizeObserver(() => {
      if (this.isStuck) this.toEnd();
    }).observe(frame);
  }

  /** What lies above and below what is seen. */
  get abovePx() {
    return this.#frame.scrollTop;
  }

  get belowPx() {
    return this.#frame.scrollHeight - this.#frame.clientHeight - this.#frame.scrollTop;
  }

  /** Changes the content. @param {() => void} change */
  keep(change) {
    const seen = this.isStuck ? [] : this.#seen().map((row) => ({ row, top: row.getBoundingClientRect().top }));
    change();
    // The first may be a divider that belongs elsewhere now.
    const anchor = seen.find(({ row }) => row.isConnected);
    if (this.isStuck) this.toEnd();
    else if (anchor) this.#frame.scrollTop += anchor.row.getBoundingClientRect().top - anchor.top;
  }

  toEnd() {
    this.isStuck = true;
    this.#frame.scrollTop = this.#frame.scrollHeight;
    this.#top = this.#frame.scrollTop;
  }

  /** Has this row stand a little below the upper edge, or the end be seen if that comes first. @param {Element} row */
  to(row) {
    const top = row.getBoundingClientRect().top - this.#frame.getBoundingClientRect().top;
    this.#frame.scrollTop += top - this.#frame.clientHeight / 5;
    this.isStuck = this.belowPx <= STUCK_PX;
  }

  /** The rows of which something can be seen. The first is found by halving: rows lie below each other. */
  #seen() {
    const rows = [...this.#frame.children];
    const { top: edge, bottom } = this.#frame.getBoundingClientRect();
    let [low, high] = [0, rows.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].getBoundingClientRect().bottom > edge) high = middle;
      else low = middle + 1;
    }
    let end = low;
    while (end < rows.length && rows[end].getBoundingClientRect().top < bottom) end += 1;
    return rows.slice(low, end);
  }
}
