//! A log-linear histogram of nanoseconds: 64 equal steps in each power of two, so a value is known to 1.6 %.

/// Steps in each power of two, as a power of two.
const STEP_BITS: u32 = 6;
const STEPS: u64 = 1 << STEP_BITS;
/// Enough for any `u64`.
const BUCKETS: usize = ((64 - STEP_BITS as usize) + 1) << STEP_BITS;

/// Counts of nanosecond values.
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max: 0 }
    }

    /// Counts one value.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket_of(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// The value that `share` (0 to 1) of the values do not exceed, rounded up to its bucket's end; `None` when empty.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(end_of(bucket).min(self.max));
            }
        }
        Some(self.max)
    }

    /// How many values were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The largest value; `None` when empty.
    pub(crate) fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }
}

/// Below `STEPS` a bucket for each value; above, the exponent picks the row and the bits after the leading one the step.
fn bucket_of(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - STEP_BITS;
    (((u64::from(shift) + 1) << STEP_BITS) + ((value >> shift) - STEPS)) as usize
}

/// The largest value that falls into `bucket`.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = (bucket >> STEP_BITS) - 1;
    let start = (STEPS + (bucket & (STEPS - 1))) << shift;
    start + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_the_stated_precision() {
        for value in (0..64)
            .flat_map(|bit| [1u64 << bit, (1u64 << bit) + 1, (1u64 << bit) - 1, (1u64 << bit) | (1 << (bit / 2))])
            .chain([u64::MAX])
        {
            let end = end_of(bucket_of(value));
            assert!(end >= value && end - value <= value / 64, "{value} {end}");
        }
    }

    #[test]
    fn quantiles_of_a_known_series() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for value in 1..=10_000 {
            histogram.record(value);
        }
        let median = histogram.quantile(0.5).unwrap();
        assert!((5_000..=5_080).contains(&median), "{median}");
        assert_eq!(histogram.quantile(1.0), Some(10_000));
        assert_eq!(histogram.max(), Some(10_000));
    }
}
