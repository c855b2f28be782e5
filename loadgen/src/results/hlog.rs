//! The interval log: every second's histogram of every metric, readable by HdrHistogram's own tools. Tags are the metrics' names,
//! values are microseconds, the column of largest values is in milliseconds.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::fault::Fault;
use crate::outcome::{Compact, Metric, Outcome, decode};

/// Largest values are shown in milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1e3;

/// A histogram of one stretch of the run, as text: each is decoded when it is written, so that a long run needs no more memory.
struct Interval<'a> {
    start: Duration,
    length: Duration,
    metric: Metric,
    encoded: &'a str,
}

/// The log of a run: an interval for each second, or, without `seconds`, one for the measured window of each metric.
///
/// # Errors
///
/// When there are not as many `seconds` as in the outcome's timeline, a histogram cannot be read, or the start is no date.
pub(crate) fn text(outcome: &Outcome, seconds: &[Compact]) -> Result<Vec<u8>, Fault> {
    let intervals = if seconds.is_empty() { window(outcome) } else { each_second(outcome, seconds)? };
    let mut bytes = Vec::new();
    write(outcome, &intervals, &mut bytes).map_err(|error| Fault::new(format!("the interval log: {error}")))?;
    Ok(bytes)
}

fn window(outcome: &Outcome) -> Vec<Interval<'_>> {
    let start = seconds_or_zero(outcome.setup.warmup_seconds);
    let length = seconds_or_zero(outcome.seconds);
    outcome
        .metrics
        .iter()
        .map(|(metric, summary)| Interval { start, length, metric: *metric, encoded: &summary.histogram })
        .collect()
}

fn each_second<'a>(outcome: &Outcome, seconds: &'a [Compact]) -> Result<Vec<Interval<'a>>, Fault> {
    if seconds.len() != outcome.timeline.len() {
        let (histograms, timeline) = (seconds.len(), outcome.timeline.len());
        return Err(Fault::new(format!("the interval log: {histograms} seconds of histograms for a timeline of {timeline}")));
    }
    let mut intervals = Vec::new();
    let mut start = Duration::ZERO;
    for (second, histograms) in outcome.timeline.iter().zip(seconds) {
        let end = seconds_or_zero(second.at);
        let length = end.saturating_sub(start);
        intervals.extend(histograms.iter().map(|(metric, encoded)| Interval { start, length, metric: *metric, encoded }));
        start = end;
    }
    Ok(intervals)
}

fn write(outcome: &Outcome, intervals: &[Interval<'_>], bytes: &mut Vec<u8>) -> Result<(), String> {
    let started = parse_rfc3339(&outcome.started_at)
        .ok_or_else(|| format!("{:?} is not a time in UTC such as 2026-01-02T03:04:05Z", outcome.started_at))?;
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Values are in microseconds: for milliseconds give HistogramLogProcessor -outputValueUnitRatio 1000]")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(bytes, &mut serializer)
        .map_err(|error| error.to_string())?;
    for interval in intervals {
        let tag = Tag::new(interval.metric.name());
        let histogram = decode(interval.encoded).map_err(|fault| fault.to_string())?;
        log.write_histogram(&histogram, interval.start, interval.length, tag).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn seconds_or_zero(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Reads `2026-01-02T03:04:05Z`, with or without a fraction of the second; other offsets than `Z` are not written.
fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = whole_numbers(date.split('-'))?;
    let [hour, minute, second] = whole_numbers(time.split(':'))?;
    let in_range = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole = Duration::from_secs(days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second);
    let fraction = Duration::try_from_secs_f64(format!("0.{fraction}").parse().ok()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(whole + fraction)
}

fn whole_numbers<'a>(parts: impl Iterator<Item = &'a str>) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = parts.map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// Days from 1970-01-01 to a date from then on, in the Gregorian calendar; years begin in March, so that leap days come last.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::results::fixture;

    #[test]
    fn the_log_is_read_back_second_for_second() {
        let (outcome, seconds) = (fixture::outcome(), fixture::compact_seconds());
        let bytes = text(&outcome, &seconds).unwrap();
        let mut acks = 0;
        let mut starts = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            match entry.unwrap() {
                LogEntry::StartTime(time) | LogEntry::BaseTime(time) => starts.push(time),
                LogEntry::Interval(interval) if interval.tag().unwrap().as_str() == "ack" => {
                    let at = interval.start_timestamp().as_secs() as usize;
                    let decoded = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
                    let read: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut decoded.as_slice()).unwrap();
                    let (_, encoded) = seconds[at].iter().find(|(metric, _)| *metric == Metric::Ack).unwrap();
                    assert!(read == decode(encoded).unwrap(), "second {at}");
                    assert_eq!(interval.duration(), Duration::from_secs(1));
                    assert!((interval.max() - read.max() as f64 / 1e3).abs() < 0.001);
                    acks += 1;
                }
                LogEntry::Interval(_) => {}
            }
        }
        assert_eq!(acks, 64);
        assert_eq!(starts, [Duration::from_millis(1_767_323_045_250); 2]);
    }

    #[test]
    fn without_seconds_there_is_the_window() {
        let outcome = fixture::outcome();
        let bytes = text(&outcome, &[]).unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(&bytes).map(Result::unwrap).collect();
        let interval = |entry: &LogEntry<'_>| match entry {
            LogEntry::Interval(interval) => Some((interval.start_timestamp().as_secs(), interval.duration().as_secs())),
            _ => None,
        };
        let intervals: Vec<_> = entries.iter().filter_map(interval).collect();
        assert_eq!(intervals, vec![(5, 60); outcome.metrics.len()]);
    }

    #[test]
    fn a_timeline_of_another_length_is_refused() {
        let fault = text(&fixture::outcome(), &fixture::compact_seconds()[1..]).unwrap_err().to_string();
        assert!(fault.contains("64 seconds of histograms for a timeline of 65"), "{fault}");
    }

    #[test]
    fn dates_are_read() {
        let at = |text| parse_rfc3339(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(at("2000-02-29T12:00:00Z"), Some(951_825_600_000));
        assert_eq!(at("2024-03-01T00:00:00.5Z"), Some(1_709_251_200_500));
        assert_eq!(at("2026-01-02T03:04:05.250Z"), Some(1_767_323_045_250));
        for wrong in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-13-02T03:04:05Z",
            "1969-12-31T00:00:00Z",
            "2026-01-02T03:04Z",
            "2026-01-02T03:04:05.xZ",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
