/**
 * A timer in a worker. Browsers slow the timers of pages in the background down to one a minute, but not those of workers. It is
 * told how long to wait, and says when that is over; a later word replaces an earlier one.
 */
export {};
