//! Histograms as text, and as figures.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::{Brief, Summary};

/// HdrHistogram's V2 encoding, deflated, in base64: what `.hlog` files hold.
pub(crate) fn encode_histogram(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a Vec takes everything, and the bounds fit the format");
    STANDARD.encode(bytes)
}

/// Reads it back. Errors: not base64, not a histogram.
pub(crate) fn decode_histogram(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("a histogram that is not base64: {error}"))?;
    Deserializer::new().deserialize(&mut Cursor::new(bytes)).map_err(|error| format!("not a histogram: {error:?}"))
}

impl Summary {
    /// A histogram in figures.
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
            histogram: encode_histogram(histogram),
        }
    }

    /// The whole histogram. Errors: the text is not one.
    pub(crate) fn decode(&self) -> Result<Histogram<u64>, String> {
        decode_histogram(&self.histogram)
    }
}

impl Brief {
    /// A histogram in a few figures.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metric;
    use super::*;

    #[test]
    fn a_histogram_survives_as_text() {
        let mut histogram = metric::empty();
        (1..=1_000).for_each(|value| histogram.record(value).unwrap());
        let summary = Summary::of(&histogram);
        assert_eq!((summary.count, summary.min, summary.p50, summary.p99), (1_000, 1, 500, 990));
        assert_eq!(summary.decode().unwrap(), histogram);
        assert!(decode_histogram("!").is_err() && decode_histogram("aGFsbG8=").is_err());
    }
}
