//! Histograms in figures, and as text and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::{Brief, Compact, Histograms, Metric, Summary};
use crate::fault::Fault;

/// Longest text of a histogram that is decoded: far more than 60 s at three digits can need.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

impl Summary {
    /// The figures of a histogram, and the histogram itself.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            histogram: encode(histogram),
        }
    }

    /// The histogram of which these are the figures.
    ///
    /// # Errors
    ///
    /// When the text is not a histogram, or one of another number of values.
    pub(crate) fn decode(&self) -> Result<Histogram<u64>, Fault> {
        let histogram = decode(&self.histogram)?;
        if histogram.len() != self.count {
            return Err(Fault::new(format!("the histogram has {} values where {} were counted", histogram.len(), self.count)));
        }
        Ok(histogram)
    }
}

impl Brief {
    /// The few figures of a histogram that one second needs.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

impl Histograms {
    /// The same as text.
    pub(crate) fn compact(&self) -> Compact {
        let used = Metric::ALL.into_iter().filter(|metric| !self.of(*metric).is_empty());
        used.map(|metric| (metric, encode(self.of(metric)))).collect()
    }
}

/// HdrHistogram's V2 encoding, deflated, in base64.
pub(crate) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("memory takes all that is written, and our bounds are within what the format holds");
    STANDARD.encode(bytes)
}

/// The reverse of [`encode`].
pub(crate) fn decode(text: &str) -> Result<Histogram<u64>, Fault> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Fault::new(format!(
            "the text of a histogram is {} bytes long: no more than {MAX_TEXT_BYTES} are read",
            text.len()
        )));
    }
    let bytes = STANDARD.decode(text).map_err(Fault::while_doing("the text of a histogram is not base64"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| Fault::new(format!("the text of a histogram is not HdrHistogram's V2 encoding: {error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::metric;

    fn hundred() -> Histogram<u64> {
        let mut histogram = metric::empty();
        for value in 1..=100 {
            histogram.record(value * 10).unwrap();
        }
        histogram
    }

    #[test]
    fn figures_are_those_of_the_histogram() {
        let summary = Summary::of(&hundred());
        assert_eq!((summary.count, summary.min, summary.p50, summary.p90), (100, 10, 500, 900));
        assert_eq!((summary.p99, summary.p999, summary.max), (990, 1_000, 1_000));
        assert!((summary.mean - 505.0).abs() < 1e-9);
        assert_eq!(Brief::of(&hundred()), Brief { count: 100, p50: 500, p99: 990, max: 1_000 });
    }

    #[test]
    fn a_histogram_is_read_back_from_its_text() {
        let histogram = hundred();
        assert_eq!(Summary::of(&histogram).decode().unwrap(), histogram);
        assert_eq!(Summary::of(&metric::empty()).decode().unwrap().len(), 0);
    }

    #[test]
    fn text_that_is_no_histogram_is_refused() {
        let summary = Summary::of(&hundred());
        let with = |text: &str| Summary { histogram: text.to_owned(), ..summary.clone() }.decode().unwrap_err().to_string();
        assert!(with("???").contains("not base64"), "{}", with("???"));
        assert!(with("AAAA").contains("not HdrHistogram's"), "{}", with("AAAA"));
        assert!(with(&"A".repeat(MAX_TEXT_BYTES + 4)).contains("no more than"));
        assert!(with(&encode(&metric::empty())).contains("0 values where 100"));
    }
}
