//! Thresholds: conditions of the form `METRIC:STAT OP VALUE` that a run has to meet, such as `ack:p99<25ms`.
//!
//! Percentiles come from the whole histogram, which knows a value to one part in a thousand; the upper end of what it may have been
//! is what counts. What has no value fails: a run that sent nothing has not been fast.

use std::fmt;
use std::str::FromStr;

use super::conclusion::Rates;
use super::units;
use crate::outcome::{Gate, Metric, Outcome};

/// What the help of every error ends with.
const GRAMMAR: &str = "a threshold is METRIC:STAT OP VALUE, such as ack:p99<25ms, delivery:p99.9<=100ms, errors:rate<0.001, \
     errors:count==0, sends:rate>=990, server:cpu<1.5; OP is one of < <= > >= ==";

/// Statistics of times.
const TIME_STATS: &str = "min, mean, p50, p99.9 or any other percentile, max, count";

/// A condition that a run has to meet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    text: String,
    figure: Figure,
    op: Op,
    limit: f64,
}

/// A number of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    /// Of a metric's times, in microseconds.
    Time(Metric, Stat),
    /// How many values a metric has.
    Values(Metric),
    /// Errors as a share of all requests.
    ErrorRate,
    /// How often something happened.
    Count(Tally),
    /// The same a second.
    Rate(Tally),
    /// Cores that the server used.
    ServerCpu,
    /// Its processor time for each delivery, in microseconds.
    ServerUsPerDelivery,
    /// Its memory for each connection.
    ServerBytesPerConnection,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stat {
    Min,
    Mean,
    Max,
    /// The value that this share of all does not exceed.
    Quantile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tally {
    Errors,
    Sends,
    Acks,
    Deliveries,
    Connects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

impl Op {
    /// The longer ones first, so that `<=` is not read as `<`.
    const ALL: [(&'static str, Self); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("==", Self::Equal), ("<", Self::Less), (">", Self::More)];

    fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Less => measured < limit,
            Self::AtMost => measured <= limit,
            Self::More => measured > limit,
            Self::AtLeast => measured >= limit,
            Self::Equal => measured == limit,
        }
    }
}

impl Threshold {
    /// Whether the run met it, and what was measured.
    pub(crate) fn check(&self, outcome: &Outcome) -> Gate {
        let (measured, passed) = match self.figure.of(outcome) {
            Ok(value) => (self.shown(value), self.op.holds(value, self.limit)),
            Err(why) => (why, false),
        };
        Gate { condition: self.text.clone(), measured, passed }
    }

    /// Whether a run that is not over yet has failed it already: there is a value, and it is not met. A least rate is not lost while it
    /// may still be reached.
    pub(crate) fn is_lost(&self, so_far: &Outcome) -> bool {
        self.figure.of(so_far).is_ok_and(|value| match self.op {
            Op::Less | Op::AtMost => !self.op.holds(value, self.limit),
            Op::Equal => value > self.limit,
            Op::More | Op::AtLeast => false,
        })
    }

    /// The value with its unit, exact where it would read like the limit.
    fn shown(&self, value: f64) -> String {
        match self.figure {
            Figure::Time(..) if value != self.limit && units::time(value) == units::time(self.limit) => units::exact_time(value),
            Figure::Time(..) => units::time(value),
            Figure::Values(_) | Figure::Count(_) => units::whole(value as u64),
            Figure::ErrorRate => units::share(value),
            Figure::Rate(_) => format!("{} a second", units::rate(value)),
            Figure::ServerCpu => format!("{} cores", units::three_digits(value)),
            Figure::ServerUsPerDelivery => format!("{} µs", units::three_digits(value)),
            Figure::ServerBytesPerConnection => format!("{} bytes", units::whole(value.max(0.0).round() as u64)),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Figure {
    /// Its value in a run, or why there is none.
    fn of(self, outcome: &Outcome) -> Result<f64, String> {
        match self {
            Self::Time(metric, stat) => time(outcome, metric, stat),
            Self::Values(metric) => Ok(outcome.metrics.get(&metric).map_or(0, |summary| summary.count) as f64),
            Self::ErrorRate => match outcome.counts.requests() {
                0 => Err("no values: nothing was asked of the server".to_owned()),
                requests => Ok(outcome.counts.error_count() as f64 / requests as f64),
            },
            Self::Count(tally) => Ok(tally.count(outcome) as f64),
            Self::Rate(tally) => match tally.rate(outcome) {
                rate if rate > 0.0 => Ok(rate),
                _ => Err("no values: there were none".to_owned()),
            },
            Self::ServerCpu => server(outcome, |server| Some(server.cpu)),
            Self::ServerUsPerDelivery => server(outcome, |server| server.us_per_delivery),
            Self::ServerBytesPerConnection => server(outcome, |server| Some(server.bytes_per_connection)),
        }
    }

    /// A figure by its two names.
    fn parse(source: &str, stat: &str) -> Result<Self, String> {
        let unknown = |known: &str| Err(format!("{source} has no {stat:?}, but {known}; {GRAMMAR}"));
        if let Some(metric) = Metric::parse(source) {
            return match stat {
                "count" => Ok(Self::Values(metric)),
                _ => match Stat::parse(stat) {
                    Some(stat) => Ok(Self::Time(metric, stat)),
                    None => unknown(TIME_STATS),
                },
            };
        }
        if source == "server" {
            return match stat {
                "cpu" => Ok(Self::ServerCpu),
                "us_per_delivery" => Ok(Self::ServerUsPerDelivery),
                "bytes_per_connection" => Ok(Self::ServerBytesPerConnection),
                _ => unknown("cpu, us_per_delivery, bytes_per_connection"),
            };
        }
        let Some(tally) = Tally::parse(source) else {
            let metrics: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
            return Err(format!(
                "nothing is called {source:?}: there are {} and errors, sends, acks, deliveries, connects, server; {GRAMMAR}",
                metrics.join(", ")
            ));
        };
        match (tally, stat) {
            (Tally::Errors, "rate") => Ok(Self::ErrorRate),
            (tally, "rate") => Ok(Self::Rate(tally)),
            (tally, "count") => Ok(Self::Count(tally)),
            _ => unknown("rate and count"),
        }
    }

    /// Reads a limit: a time with its unit for times, a plain number for the rest.
    fn limit(self, text: &str) -> Result<f64, String> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
        let number: f64 = digits.parse().map_err(|_| format!("{text:?} is not a number; {GRAMMAR}"))?;
        match (self, unit.trim_start()) {
            (Self::Time(..), "us" | "µs" | "μs") => Ok(number),
            (Self::Time(..), "ms") => Ok(number * 1e3),
            (Self::Time(..), "s") => Ok(number * 1e6),
            (Self::Time(..), _) => Err(format!("{text:?} is no time: write its unit, us, ms or s; {GRAMMAR}")),
            (Self::ErrorRate, "") if number > 1.0 => {
                Err(format!("the error rate is a share from 0 to 1, so {text} says nothing: 0.001 is one of 1,000; {GRAMMAR}"))
            }
            (_, "") => Ok(number),
            (_, unit) => Err(format!("{unit:?} does not belong there: this is compared with a plain number; {GRAMMAR}")),
        }
    }
}

fn time(outcome: &Outcome, metric: Metric, stat: Stat) -> Result<f64, String> {
    let Some(summary) = outcome.metrics.get(&metric).filter(|summary| summary.count > 0) else {
        return Err("no values: this was not measured in the run".to_owned());
    };
    let histogram = summary.decode().map_err(|fault| fault.to_string())?;
    Ok(match stat {
        Stat::Min => histogram.min() as f64,
        Stat::Mean => histogram.mean(),
        Stat::Max => histogram.max() as f64,
        Stat::Quantile(share) => histogram.value_at_quantile(share) as f64,
    })
}

fn server(outcome: &Outcome, figure: impl Fn(&crate::outcome::Server) -> Option<f64>) -> Result<f64, String> {
    let Some(server) = &outcome.server else {
        return Err("no values: the server's process was not watched (--server-pid PID)".to_owned());
    };
    figure(server).filter(|value| value.is_finite()).ok_or_else(|| "no values: nothing was delivered".to_owned())
}

impl Stat {
    /// `min`, `mean`, `max`, or `p` and a number over 0 and below 100.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "min" => Some(Self::Min),
            "mean" => Some(Self::Mean),
            "max" => Some(Self::Max),
            _ => {
                let percent = text.strip_prefix('p').filter(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))?;
                let percent: f64 = percent.parse().ok()?;
                (percent > 0.0 && percent < 100.0).then_some(Self::Quantile(percent / 100.0))
            }
        }
    }
}

impl Tally {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "errors" => Some(Self::Errors),
            "sends" => Some(Self::Sends),
            "acks" => Some(Self::Acks),
            "deliveries" => Some(Self::Deliveries),
            "connects" => Some(Self::Connects),
            _ => None,
        }
    }

    fn count(self, outcome: &Outcome) -> u64 {
        match self {
            Self::Errors => outcome.counts.error_count(),
            Self::Sends => outcome.counts.sent,
            Self::Acks => outcome.counts.acked,
            Self::Deliveries => outcome.counts.delivered,
            Self::Connects => outcome.counts.connects,
        }
    }

    fn rate(self, outcome: &Outcome) -> f64 {
        let rates = Rates::of(outcome);
        match self {
            Self::Errors => rates.each(outcome.counts.error_count()),
            Self::Sends => rates.sent,
            Self::Acks => rates.acked,
            Self::Deliveries => rates.delivered,
            Self::Connects => rates.connects,
        }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let Some((source, rest)) = text.split_once(':') else { return Err(format!("the ':' is missing; {GRAMMAR}")) };
        let Some(at) = rest.find(['<', '>', '=']) else { return Err(format!("the comparison is missing; {GRAMMAR}")) };
        let (stat, comparison) = rest.split_at(at);
        let Some((sign, op)) = Op::ALL.into_iter().find(|(sign, _)| comparison.starts_with(sign)) else {
            return Err(format!("{comparison:?} begins with no comparison; {GRAMMAR}"));
        };
        let figure = Figure::parse(source.trim(), stat.trim())?;
        let limit = figure.limit(comparison[sign.len()..].trim())?;
        Ok(Self { text: text.to_owned(), figure, op, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Summary;
    use crate::results::fixture;

    fn gate(text: &str, outcome: &Outcome) -> Gate {
        text.parse::<Threshold>().unwrap().check(outcome)
    }

    fn with_acks(values: impl IntoIterator<Item = u64>) -> Outcome {
        let mut outcome = fixture::outcome();
        outcome.metrics.insert(Metric::Ack, Summary::of(&fixture::histogram(values)));
        outcome
    }

    #[test]
    fn all_forms_of_the_grammar_are_read() {
        for text in [
            "ack:p99<25ms",
            "delivery:p99.9<=100ms",
            "errors:rate<0.001",
            "errors:count==0",
            "sends:rate>=990",
            "acks:rate>=990",
            "deliveries:rate>1000",
            "connects:rate>5000",
            "server:cpu<1.5",
            "server:us_per_delivery<5",
            "server:bytes_per_connection<4096",
            " connect : mean <= 1.5 s ",
            "lag:max<100us",
            "typing:min>1µs",
            "recovery:count>=10",
        ] {
            let threshold = text.parse::<Threshold>().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(threshold.to_string(), text.trim());
        }
        let threshold: Threshold = "delivery:p99.9<=0.1s".parse().unwrap();
        assert_eq!((threshold.op, threshold.limit), (Op::AtMost, 100_000.0));
        assert!(
            matches!(threshold.figure, Figure::Time(Metric::Delivery, Stat::Quantile(share)) if (share - 0.999).abs() < 1e-12)
        );
    }

    #[test]
    fn every_mistake_is_named_and_the_grammar_shown() {
        for (text, named) in [
            ("ack", "':' is missing"),
            ("ack:p99", "comparison is missing"),
            ("ack:p99=25ms", "begins with no comparison"),
            ("latency:p99<1ms", "nothing is called \"latency\": there are connect, auth"),
            ("ack:p0<1ms", "ack has no \"p0\", but min, mean"),
            ("ack:p100<1ms", "ack has no \"p100\""),
            ("ack:p1e1<1ms", "ack has no \"p1e1\""),
            ("ack:pinf<1ms", "ack has no \"pinf\""),
            ("ack:<1ms", "ack has no \"\""),
            ("ack:p99<25", "write its unit, us, ms or s"),
            ("ack:p99<25m", "write its unit"),
            ("ack:p99<ms", "not a number"),
            ("ack:p99<-1ms", "not a number"),
            ("ack:p99<1.2.3ms", "not a number"),
            ("ack:p99<=", "not a number"),
            ("ack:p99<=>1ms", "not a number"),
            ("ack:count<5ms", "does not belong there"),
            ("errors:rate<1.5", "a share from 0 to 1"),
            ("errors:rate<1%", "does not belong there"),
            ("errors:p99<1", "errors has no \"p99\", but rate and count"),
            ("server:rss<1", "but cpu, us_per_delivery"),
        ] {
            let error = text.parse::<Threshold>().unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
            assert!(error.contains("METRIC:STAT OP VALUE"), "{text}: {error}");
        }
    }

    #[test]
    fn the_limit_itself_is_on_the_side_that_the_sign_says() {
        let outcome = with_acks([1_000; 100]);
        let holds = |sign: &str| gate(&format!("ack:p99{sign}1ms"), &outcome).passed;
        assert_eq!(["<", "<=", ">", ">=", "=="].map(holds), [false, true, false, true, true]);
        let holds = |sign: &str| gate(&format!("ack:p99{sign}999us"), &outcome).passed;
        assert_eq!(["<", "<=", ">", ">=", "=="].map(holds), [false, false, true, true, false]);
        assert!(gate("ack:count==100", &outcome).passed);
    }

    #[test]
    fn percentiles_come_from_the_whole_histogram() {
        let outcome = with_acks(1..=1_000);
        for (stat, value) in [("p50", 500), ("p99", 990), ("p99.5", 995), ("p25", 250), ("max", 1_000), ("min", 1)] {
            assert!(gate(&format!("ack:{stat}=={value}us"), &outcome).passed, "{stat}");
        }
        assert!(gate("ack:mean<=501us", &outcome).passed);
    }

    #[test]
    fn what_has_no_value_fails_whatever_the_sign() {
        let mut outcome = fixture::outcome();
        outcome.metrics.clear();
        outcome.server = None;
        outcome.counts = Default::default();
        for figure in ["errors:rate", "sends:rate", "connects:rate", "server:cpu", "server:us_per_delivery"] {
            for sign in ["<", "<=", ">", ">="] {
                let gate = gate(&format!("{figure}{sign}0.5"), &outcome);
                assert!(!gate.passed && gate.measured.starts_with("no values"), "{gate:?}");
            }
        }
        let time = gate("ack:p99<1s", &outcome);
        assert!(!time.passed && time.measured.starts_with("no values"), "{time:?}");
        assert!(gate("ack:count==0", &outcome).passed, "how many there were is known");
        assert!(gate("errors:count==0", &outcome).passed, "so is that nothing went wrong");
    }

    #[test]
    fn what_is_measured_has_its_unit_and_never_reads_like_a_limit_it_broke() {
        let outcome = with_acks([25_001; 10]);
        assert_eq!(gate("ack:p99<1s", &outcome).measured, "25.0 ms");
        let close = gate("ack:p99<25ms", &outcome);
        assert_eq!((close.measured.as_str(), close.passed), ("25,007 µs", false));
        assert_eq!(gate("sends:rate>=500", &outcome).measured, "500 a second");
        assert_eq!(gate("server:bytes_per_connection<4096", &outcome).measured, "3,612 bytes");
        assert!(gate("server:cpu<0.5", &outcome).passed);
    }

    #[test]
    fn a_histogram_that_cannot_be_read_fails() {
        let mut outcome = with_acks([1]);
        outcome.metrics.get_mut(&Metric::Ack).unwrap().histogram = "?".to_owned();
        let gate = gate("ack:p99<1s", &outcome);
        assert!(!gate.passed && gate.measured.contains("not base64"), "{gate:?}");
    }
}
