//! Latencies of each tenth of a second by itself. A machine that stops for some milliseconds a few times a second, because something
//! else runs, has those stops as its 99th percentile over a whole run; in the median tenth it has the server's own.

use crate::raw::histogram::Histogram;

const TENTH_NANOS: u64 = 100_000_000;
/// How many are kept, of 30 KB each: the first minute.
const MAX_TENTHS: usize = 600;
/// Fewer values say nothing about a 99th percentile.
const MIN_VALUES: u64 = 500;

/// A histogram for each tenth of a second, up to [`MAX_TENTHS`].
pub(crate) struct Tenths(Vec<Histogram>);

impl Tenths {
    /// Without any value.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Counts a latency of what was sent `since_begin` nanoseconds after the window began.
    pub(crate) fn record(&mut self, since_begin: u64, nanos: u64) {
        let tenth = (since_begin / TENTH_NANOS) as usize;
        if tenth >= MAX_TENTHS {
            return;
        }
        if tenth >= self.0.len() {
            self.0.resize_with(tenth + 1, Histogram::new);
        }
        self.0[tenth].record(nanos);
    }

    /// Of the tenths with enough values the median one's quantile; `None` if there are none.
    pub(crate) fn median_quantile(&self, share: f64) -> Option<u64> {
        let mut quantiles: Vec<u64> =
            self.0.iter().filter(|tenth| tenth.total() >= MIN_VALUES).filter_map(|tenth| tenth.quantile(share)).collect();
        quantiles.sort_unstable();
        quantiles.get(quantiles.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_in_some_tenths_is_not_in_the_median_one() {
        let mut tenths = Tenths::new();
        for tenth in 0..10 {
            let stopped = tenth % 3 == 0;
            for value in 1..=1_000 {
                tenths.record(tenth * TENTH_NANOS + value, if stopped { 1_000_000 } else { value });
            }
        }
        let median = tenths.median_quantile(0.99).expect("enough values");
        assert!((990..=1_000).contains(&median), "{median}");
    }

    #[test]
    fn a_tenth_with_few_values_does_not_count() {
        let mut tenths = Tenths::new();
        for _ in 0..MIN_VALUES - 1 {
            tenths.record(0, 1);
        }
        assert_eq!(tenths.median_quantile(0.99), None);
        tenths.record(TENTH_NANOS - 1, 1);
        assert_eq!(tenths.median_quantile(0.99), Some(1));
    }
}
