//! What one worker counts: for the measured window, and for each second.

use std::mem;
use std::ops::Range;

use crate::outcome::{Counts, Histograms, Metric};

/// What was counted in a span of time.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) histograms: Histograms,
    pub(crate) counts: Counts,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { histograms: Histograms::new(), counts: Counts::default() }
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histograms.merge(&other.histograms);
        self.counts.merge(&other.counts);
    }
}

/// Counts everything twice: by the time when it was due for the whole window, so that what a stall delayed past its end is in it;
/// and by the time when it happened for the running second.
#[derive(Debug)]
pub(crate) struct Meters {
    window: Range<u64>,
    total: Tally,
    second: Tally,
}

impl Meters {
    /// Before the window is known, only what everybody does once is counted for it.
    pub(crate) fn new() -> Self {
        Self { window: u64::MAX..u64::MAX, total: Tally::new(), second: Tally::new() }
    }

    /// The window is known; `afresh` forgets the connects so far.
    pub(crate) fn open(&mut self, window: Range<u64>, afresh: bool) {
        self.window = window;
        if afresh {
            let errors = mem::take(&mut self.total.counts.errors);
            self.total = Tally::new();
            self.total.counts.errors = errors;
        }
    }

    /// Something that was due at `due` has just been done, `took_ns` later.
    pub(crate) fn record(&mut self, metric: Metric, due: u64, took_ns: u64) {
        let microseconds = took_ns.div_ceil(1_000).max(1);
        self.second.histograms.record(metric, microseconds);
        // Everybody connects, logs in and joins once, before the window as a rule.
        let once = matches!(metric, Metric::Connect | Metric::Auth | Metric::Join);
        if once || self.window.contains(&due) {
            self.total.histograms.record(metric, microseconds);
        }
    }

    /// The window ends at `at`, if it has not ended before.
    pub(crate) fn end_window(&mut self, at: u64) {
        self.window.end = self.window.end.min(at);
    }

    /// Counts something that belongs to `at`.
    pub(crate) fn count(&mut self, at: u64, change: impl Fn(&mut Counts)) {
        change(&mut self.second.counts);
        if self.window.contains(&at) {
            change(&mut self.total.counts);
        }
    }

    /// Counts something that everybody does once.
    pub(crate) fn count_once(&mut self, change: impl Fn(&mut Counts)) {
        change(&mut self.second.counts);
        change(&mut self.total.counts);
    }

    /// Something went wrong. Counted for the window whenever it happens: an error before or after it is no better.
    pub(crate) fn error(&mut self, name: &str) {
        self.count_once(|counts| *counts.errors.entry(name.to_owned()).or_default() += 1);
    }

    /// Takes what was counted since the last time.
    pub(crate) fn take_second(&mut self) -> Tally {
        mem::replace(&mut self.second, Tally::new())
    }

    /// Takes what was counted for the window.
    pub(crate) fn take_total(&mut self) -> Tally {
        mem::replace(&mut self.total, Tally::new())
    }

    /// The window that is counted for.
    pub(crate) fn window(&self) -> Range<u64> {
        self.window.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_counts_by_when_things_were_due() {
        let mut meters = Meters::new();
        meters.record(Metric::Join, 0, 1_000);
        meters.open(100..200, false);
        meters.record(Metric::Ack, 99, 5_000);
        meters.record(Metric::Ack, 199, 9_000_000);
        meters.count(150, |counts| counts.sent += 1);
        meters.count(250, |counts| counts.sent += 1);
        assert_eq!(meters.take_second().counts.sent, 2);
        assert_eq!(meters.take_second().counts.sent, 0);
        let total = meters.take_total();
        let count = |metric| total.histograms.of(metric).len();
        assert_eq!((count(Metric::Join), count(Metric::Ack), total.counts.sent), (1, 1, 1));
        assert!(total.histograms.of(Metric::Ack).max() >= 9_000);
    }

    #[test]
    fn what_comes_after_a_window_was_cut_short_is_not_counted() {
        let mut meters = Meters::new();
        meters.open(100..200, false);
        meters.count(140, |counts| counts.delivered += 1);
        meters.end_window(150);
        meters.count(160, |counts| counts.delivered += 1);
        meters.record(Metric::Ack, 149, 5_000);
        meters.end_window(400);
        meters.count(250, |counts| counts.delivered += 1);
        let total = meters.take_total();
        assert_eq!((total.counts.delivered, total.histograms.of(Metric::Ack).len()), (1, 1));
    }
}
