//! Percentile distributions: the points of a curve, and `.hgrm` files as HdrHistogram's own tools write and plot them.

use hdrhistogram::Histogram;

/// Points each time the distance to 100 % halves, as HdrHistogram's tools have it.
const TICKS_PER_HALF_DISTANCE: f64 = 5.0;
/// What the values are divided by: the files are in milliseconds.
const MICROSECONDS_IN_MILLISECOND: f64 = 1e3;

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// In microseconds.
    pub(crate) value: u64,
    /// The share of values that are no larger, at least.
    pub(crate) quantile: f64,
    /// How many values are no larger.
    pub(crate) count: u64,
}

/// The points of a histogram, the last one at 100 %; none for an empty one.
///
/// Reckoned in percent and step by step as HdrHistogram's Java implementation does it, not with this crate's iterator: that reckons
/// in shares, where 0.1 three times over is more than 0.3, and so shows other values than everybody else's tools.
pub(crate) fn points(histogram: &Histogram<u64>) -> Vec<Point> {
    let total = histogram.len();
    let (mut points, mut count, mut percent) = (Vec::new(), 0, 0.0);
    for step in histogram.iter_recorded() {
        count += step.count_at_value();
        let reached = 100.0 * count as f64 / total as f64;
        while percent <= reached && percent < 100.0 {
            points.push(Point { value: step.value_iterated_to(), quantile: percent / 100.0, count });
            percent = next_percent(percent);
            if count == total {
                points.push(Point { value: step.value_iterated_to(), quantile: 1.0, count });
                break;
            }
        }
    }
    points
}

/// The next step, half as long each time the distance to 100 % has halved.
fn next_percent(percent: f64) -> f64 {
    let halvings = ((100.0 / (100.0 - percent)).ln() / 2_f64.ln()).floor();
    percent + 100.0 / (TICKS_PER_HALF_DISTANCE * (halvings + 1.0).exp2())
}

/// A `.hgrm` file, in milliseconds.
pub(crate) fn hgrm(histogram: &Histogram<u64>) -> String {
    let ms = |us: f64| us / MICROSECONDS_IN_MILLISECOND;
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for Point { value, quantile, count } in points(histogram) {
        text.push_str(&format!("{:12.3} {quantile:2.12} {count:10}", ms(value as f64)));
        if quantile < 1.0 {
            text.push_str(&format!(" {:14.2}", 1.0 / (1.0 - quantile)));
        }
        text.push('\n');
    }
    let sub_buckets = sub_buckets(histogram.sigfig());
    text.push_str(&format!(
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n#[Buckets = {:12}, SubBuckets     = {:12}]\n",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        ms(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        sub_buckets,
    ));
    text
}

/// How many steps the first bucket of a histogram of so many digits has: the power of two from twice ten to that many.
fn sub_buckets(digits: u8) -> u64 {
    (2 * 10_u64.pow(u32::from(digits))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn points_end_at_the_largest_value() {
        let points = points(&fixture::histogram(1..=1_000));
        assert_eq!(points.first().map(|p| (p.value, p.quantile, p.count)), Some((1, 0.0, 1)));
        assert_eq!(points.last().map(|p| (p.value, p.quantile, p.count)), Some((1_000, 1.0, 1_000)));
        assert!(points.is_sorted_by(|a, b| a.quantile <= b.quantile && a.value <= b.value && a.count <= b.count));
        assert!(super::points(&fixture::histogram([])).is_empty());
    }

    #[test]
    fn a_file_is_what_the_tools_write() {
        let text = hgrm(&fixture::histogram((1..=10).map(|n| n * 1_000)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        let last = lines.iter().rposition(|line| !line.starts_with('#')).unwrap();
        assert_eq!(lines[last], "      10.007 1.000000000000         10");
        assert_eq!(lines[last + 1], "#[Mean    =        5.502, StdDeviation   =        2.874]");
        assert_eq!(lines[last + 2], "#[Max     =       10.007, Total count    =           10]");
        assert_eq!(lines[last + 3], "#[Buckets =           16, SubBuckets     =         2048]");
        assert_eq!(lines.len(), last + 4);
    }

    #[test]
    fn an_empty_file_has_its_footer_only() {
        let text = hgrm(&fixture::histogram([]));
        assert!(text.contains("Total count    =            0]"), "{text}");
        assert_eq!(text.lines().count(), 5);
    }
}
