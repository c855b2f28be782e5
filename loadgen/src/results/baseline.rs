//! Comparing a run with an earlier one of the same setup.
//!
//! A figure is worse when it is worse by more than the share that is allowed *and* by more than a floor. The floors are what one
//! wake-up of a thread on a busy machine costs: below them a percentage is chance. A percentile that too few values stand behind is
//! not judged for the same reason. Where only a percentage can decide, in noise, pairs of runs have to: that is `benches/`.

use super::conclusion::Rates;
use super::{table::Table, units};
use crate::fault::Fault;
use crate::outcome::{Gate, Metric, Outcome, Setup, Summary, Verdict};

/// A median that is later by less says nothing: one wake-up.
const P50_FLOOR_US: f64 = 50.0;
/// A 99th percentile that is later by less says nothing: a few wake-ups in a row.
const P99_FLOOR_US: f64 = 250.0;
/// Processor time for each delivery that differs by less is the clock's own step.
const US_PER_DELIVERY_FLOOR: f64 = 0.05;
/// A rate that is lower by less is one event at the edge of the window.
const RATE_FLOOR: f64 = 1.0;
/// What is said where a floor decided.
const FLOORS: &str =
    "A difference under its floor is what a wake-up or two cost on a busy machine: it is not held against the run.";
/// Values that a median needs.
const P50_MIN_VALUES: u64 = 100;
/// Values that a 99th percentile needs: ten of them are beyond it.
const P99_MIN_VALUES: u64 = 1_000;
/// The largest regression that can be allowed.
const MAX_ALLOWED: f64 = 10.0;

/// One figure in both runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// As in thresholds: `ack:p99`.
    pub(crate) figure: String,
    unit: Unit,
    base: f64,
    head: Option<f64>,
    /// By how much it may always be worse.
    floor: f64,
    /// What it comes to.
    pub(crate) judgement: Judgement,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Not worse than allowed.
    Kept,
    /// Worse by more than the share that is allowed, but by less than the floor.
    BelowFloor,
    /// Worse than allowed.
    Worse,
    /// The baseline had it and this run has not.
    Missing,
    /// Too few values to tell.
    TooFew,
}

impl Judgement {
    /// Of a figure that is worse by more than a share, and by more than a floor.
    const fn of(by_share: bool, by_floor: bool) -> Self {
        match (by_share, by_floor) {
            (false, _) => Self::Kept,
            (true, false) => Self::BelowFloor,
            (true, true) => Self::Worse,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Time,
    MicrosecondsEach,
    PerSecond,
}

impl Unit {
    fn shown(self, value: f64) -> String {
        match self {
            Self::Time => units::time(value),
            Self::MicrosecondsEach => format!("{} µs", units::three_digits(value)),
            Self::PerSecond => format!("{}/s", units::rate(value)),
        }
    }
}

impl Comparison {
    /// Compares a figure of which less is better.
    fn less_is_better(figure: String, unit: Unit, base: f64, head: f64, allowed: f64, floor: f64) -> Self {
        let judgement = Judgement::of(head > base * (1.0 + allowed), head - base > floor);
        Self { figure, unit, base, head: Some(head), floor, judgement }
    }

    /// Compares a rate, of which more is better.
    fn more_is_better(figure: String, base: f64, head: f64, allowed: f64) -> Self {
        let judgement = Judgement::of(head < base * (1.0 - allowed), base - head > RATE_FLOOR);
        Self { figure, unit: Unit::PerSecond, base, head: Some(head), floor: RATE_FLOOR, judgement }
    }

    /// Whether this does not fail the run.
    fn passed(&self) -> bool {
        matches!(self.judgement, Judgement::Kept | Judgement::BelowFloor | Judgement::TooFew)
    }

    /// The floor in words.
    fn floored(&self) -> String {
        format!("under the floor of {}", self.unit.shown(self.floor))
    }

    /// The change with its sign, in percent.
    fn change(&self) -> Option<String> {
        let head = self.head.filter(|_| self.base > 0.0)?;
        Some(format!("{:+.1} %", (head / self.base - 1.0) * 100.0))
    }

    fn measured(&self) -> String {
        let Some(head) = self.head else { return "no values".to_owned() };
        let change = self.change().map(|change| format!(", {change}")).unwrap_or_default();
        let floor = if self.judgement == Judgement::BelowFloor { format!(", {}", self.floored()) } else { String::new() };
        format!("{} (baseline {}{change}{floor})", self.unit.shown(head), self.unit.shown(self.base))
    }
}

/// A gate for each figure that both runs have enough values of.
///
/// # Errors
///
/// When the runs cannot be compared: see [`comparisons`].
pub(crate) fn gates(base: &Outcome, head: &Outcome, max_regression: f64) -> Result<Vec<Gate>, Fault> {
    let allowed = units::share(max_regression);
    let judged = comparisons(base, head, max_regression)?.into_iter().filter(|c| c.judgement != Judgement::TooFew);
    let gates: Vec<Gate> = judged
        .map(|c| Gate {
            condition: format!("{} within {allowed} of the baseline", c.figure),
            measured: c.measured(),
            passed: c.passed(),
        })
        .collect();
    if gates.is_empty() {
        return Err(Fault::new("nothing can be compared: the baseline has too few values of everything; let it run for longer"));
    }
    Ok(gates)
}

/// Every figure that the baseline has, in both runs.
///
/// # Errors
///
/// When the runs had different setups, or the baseline is void.
pub(crate) fn comparisons(base: &Outcome, head: &Outcome, max_regression: f64) -> Result<Vec<Comparison>, Fault> {
    same_setup(&base.setup, &head.setup)?;
    if base.verdict() == Verdict::Void {
        return Err(Fault::new("the baseline is void, because its tester was the bottleneck: measure it again"));
    }
    let mut all = Vec::new();
    for (metric, summary) in base.metrics.iter().filter(|(metric, summary)| **metric != Metric::Lag && summary.count > 0) {
        all.extend(times(*metric, summary, head.metrics.get(metric), max_regression));
    }
    let (base_rates, head_rates) = (Rates::of(base), Rates::of(head));
    for (figure, base, head) in
        [("acks:rate", base_rates.acked, head_rates.acked), ("deliveries:rate", base_rates.delivered, head_rates.delivered)]
    {
        if base > 0.0 {
            all.push(Comparison::more_is_better(figure.to_owned(), base, head, max_regression));
        }
    }
    if let Some(base) = base.server.as_ref().and_then(|server| server.us_per_delivery) {
        let (figure, unit) = ("server:us_per_delivery".to_owned(), Unit::MicrosecondsEach);
        all.push(match head.server.as_ref().and_then(|server| server.us_per_delivery) {
            Some(head) => Comparison::less_is_better(figure, unit, base, head, max_regression, US_PER_DELIVERY_FLOOR),
            None => Comparison { figure, unit, base, head: None, floor: US_PER_DELIVERY_FLOOR, judgement: Judgement::Missing },
        });
    }
    Ok(all)
}

/// Median and 99th percentile of one metric.
fn times(metric: Metric, base: &Summary, head: Option<&Summary>, allowed: f64) -> [Comparison; 2] {
    let head = head.filter(|head| head.count > 0);
    let one = |name: &str, value: fn(&Summary) -> u64, min_values: u64, floor: f64| {
        let (figure, base_value) = (format!("{metric}:{name}"), value(base) as f64);
        let with = |judgement| Comparison {
            figure: figure.clone(),
            unit: Unit::Time,
            base: base_value,
            head: head.map(|head| value(head) as f64),
            floor,
            judgement,
        };
        match head {
            _ if base.count < min_values => with(Judgement::TooFew),
            None => with(Judgement::Missing),
            Some(head) if head.count < min_values => with(Judgement::TooFew),
            Some(head) => Comparison::less_is_better(figure, Unit::Time, base_value, value(head) as f64, allowed, floor),
        }
    };
    [one("p50", |s| s.p50, P50_MIN_VALUES, P50_FLOOR_US), one("p99", |s| s.p99, P99_MIN_VALUES, P99_FLOOR_US)]
}

/// Whether two runs can be compared.
///
/// # Errors
///
/// When their setups differ; it says in what.
pub(crate) fn same_setup(base: &Setup, head: &Setup) -> Result<(), Fault> {
    let rate = |setup: &Setup| setup.rate.map_or_else(|| "none".to_owned(), units::rate);
    let closed = |setup: &Setup| if setup.closed_loop { "yes" } else { "no" }.to_owned();
    let mut different = Vec::new();
    for (name, base, head, same) in [
        ("--scenario", base.scenario.clone(), head.scenario.clone(), base.scenario == head.scenario),
        ("--clients", units::whole(base.clients.into()), units::whole(head.clients.into()), base.clients == head.clients),
        ("--group-size", base.group_size.clone(), head.group_size.clone(), base.group_size == head.group_size),
        ("--rate", rate(base), rate(head), base.rate == head.rate),
        ("--closed-loop", closed(base), closed(head), base.closed_loop == head.closed_loop),
    ] {
        if !same {
            different.push(format!("{name} was {base} and is {head}"));
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    Err(Fault::new(format!(
        "these runs cannot be compared, because their setups differ: {}; repeat one as the other was",
        different.join("; ")
    )))
}

/// Whether a run of this setup can be compared with `base` when it is over; `watches` says whether it has the server's figures.
///
/// # Errors
///
/// When it cannot, whatever comes of the run; it says what to do.
pub(crate) fn check(base: &Outcome, setup: &Setup, watches: bool) -> Result<(), Fault> {
    same_setup(&base.setup, setup)?;
    // With itself: what fails here would fail after the run, too.
    gates(base, base, 0.0)?;
    if base.server.is_some() && !watches {
        return Err(Fault::new(
            "the baseline has the server's processor time, and this run would not: add --server-pid PID, or take a baseline that was \
             measured without it",
        ));
    }
    Ok(())
}

/// What else differs, in sentences: it does not forbid the comparison but may explain it.
pub(crate) fn remarks(base: &Outcome, head: &Outcome) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut differ = |what: &str, base: &str, head: &str| {
        if base != head {
            remarks.push(format!("{what}: {base} then, {head} now"));
        }
    };
    differ("another machine, so times say little", &base.machine.cpu, &head.machine.cpu);
    differ("another number of cores, so times say little", &base.machine.cores.to_string(), &head.machine.cores.to_string());
    differ("another kernel", &base.machine.kernel, &head.machine.kernel);
    differ("another version of loadgen", &base.loadgen, &head.loadgen);
    differ("another seed", &base.setup.seed.to_string(), &head.setup.seed.to_string());
    let threads = |setup: &Setup| format!("{} × {}", setup.processes, setup.workers);
    differ("other processes and threads of the tester", &threads(&base.setup), &threads(&head.setup));
    if base.verdict() == Verdict::Broken {
        remarks.push("the server broke promises in the baseline".to_owned());
    }
    remarks
}

/// The comparisons as lines of text.
pub(crate) fn table(comparisons: &[Comparison]) -> Vec<String> {
    let mut table = Table::with_head(&["figure", "baseline", "now", "change", ""]);
    for comparison in comparisons {
        let verdict = match comparison.judgement {
            Judgement::Kept => "ok".to_owned(),
            Judgement::BelowFloor => format!("ok, {}", comparison.floored()),
            Judgement::Worse => "WORSE".to_owned(),
            Judgement::Missing => "MISSING".to_owned(),
            Judgement::TooFew => "too few values".to_owned(),
        };
        table.row([
            comparison.figure.clone(),
            comparison.unit.shown(comparison.base),
            comparison.head.map_or_else(|| "-".to_owned(), |head| comparison.unit.shown(head)),
            comparison.change().unwrap_or_else(|| "-".to_owned()),
            verdict,
        ]);
    }
    let mut lines = table.lines("  ");
    if comparisons.iter().any(|comparison| comparison.judgement == Judgement::BelowFloor) {
        lines.push(format!("  {FLOORS}"));
    }
    lines
}

/// Reads `10%`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').and_then(|digits| digits.trim().parse().ok());
    match percent.map(|percent| percent / 100.0) {
        Some(share) if (0.0..=MAX_ALLOWED).contains(&share) => Ok(share),
        _ => Err(format!("write a percentage from 0% to {:.0}%, such as 10%", MAX_ALLOWED * 100.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    const TEN_PERCENT: f64 = 0.1;

    fn with_acks(values: impl IntoIterator<Item = u64>) -> Outcome {
        let mut outcome = fixture::outcome();
        outcome.metrics.clear();
        outcome.metrics.insert(Metric::Ack, Summary::of(&fixture::histogram(values)));
        outcome
    }

    fn judged(base: &Outcome, head: &Outcome, figure: &str) -> Judgement {
        let all = comparisons(base, head, TEN_PERCENT).unwrap();
        all.into_iter().find(|c| c.figure == figure).unwrap().judgement
    }

    #[test]
    fn a_run_is_as_good_as_itself() {
        let outcome = fixture::outcome();
        let gates = gates(&outcome, &outcome, 0.0).unwrap();
        assert!(gates.len() > 10 && gates.iter().all(|gate| gate.passed), "{gates:#?}");
        assert!(gates.iter().any(|gate| gate.condition == "ack:p99 within 0 % of the baseline"), "{gates:#?}");
        assert!(!gates.iter().any(|gate| gate.condition.contains("lag")));
        assert!(remarks(&outcome, &outcome).is_empty());
    }

    #[test]
    fn worse_is_worse_by_the_share_and_by_the_floor() {
        let base = with_acks([10_000; 1_000]);
        assert_eq!(judged(&base, &with_acks([10_900; 1_000]), "ack:p50"), Judgement::Kept);
        assert_eq!(judged(&base, &with_acks([11_100; 1_000]), "ack:p50"), Judgement::Worse);
        assert_eq!(judged(&base, &with_acks([11_100; 1_000]), "ack:p99"), Judgement::Worse);
        let quick = with_acks([100; 1_000]);
        assert_eq!(
            judged(&quick, &with_acks([149; 1_000]), "ack:p50"),
            Judgement::BelowFloor,
            "half as long again, but one wake-up"
        );
        assert_eq!(judged(&quick, &with_acks([151; 1_000]), "ack:p50"), Judgement::Worse);
        assert_eq!(judged(&quick, &with_acks([349; 1_000]), "ack:p99"), Judgement::BelowFloor);
        assert_eq!(judged(&quick, &with_acks([351; 1_000]), "ack:p99"), Judgement::Worse);
    }

    #[test]
    fn few_values_are_not_judged_and_lost_ones_fail() {
        let (few, many) = (with_acks([100; 999]), with_acks([100; 1_000]));
        assert_eq!(judged(&few, &many, "ack:p99"), Judgement::TooFew);
        assert_eq!(judged(&many, &few, "ack:p99"), Judgement::TooFew);
        assert_eq!(judged(&few, &many, "ack:p50"), Judgement::Kept);
        let mut none = many.clone();
        none.metrics.clear();
        none.server = None;
        assert_eq!(judged(&many, &none, "ack:p99"), Judgement::Missing);
        assert_eq!(judged(&many, &none, "server:us_per_delivery"), Judgement::Missing);
        assert!(gates(&many, &none, TEN_PERCENT).unwrap().iter().any(|gate| !gate.passed && gate.measured == "no values"));
    }

    #[test]
    fn rates_and_processor_time_count() {
        let base = fixture::outcome();
        let mut head = base.clone();
        head.counts.acked = base.counts.acked * 89 / 100;
        head.server.as_mut().unwrap().us_per_delivery = Some(46.0);
        assert_eq!(judged(&base, &head, "acks:rate"), Judgement::Worse);
        assert_eq!(judged(&base, &head, "deliveries:rate"), Judgement::Kept);
        assert_eq!(judged(&base, &head, "server:us_per_delivery"), Judgement::Worse);
        assert_eq!(judged(&head, &base, "server:us_per_delivery"), Judgement::Kept, "better is not worse");
        let gates = gates(&base, &head, TEN_PERCENT).unwrap();
        let gate = gates.iter().find(|gate| gate.condition.starts_with("server:us")).unwrap();
        assert_eq!(gate.measured, "46.0 µs (baseline 41.0 µs, +12.2 %)");
    }

    #[test]
    fn different_setups_and_void_baselines_are_refused() {
        let base = fixture::outcome();
        let mut head = base.clone();
        head.setup.clients = 2_000;
        head.setup.rate = None;
        let fault = gates(&base, &head, TEN_PERCENT).unwrap_err().to_string();
        assert!(fault.contains("--clients was 1,000 and is 2,000; --rate was 500 and is none"), "{fault}");
        let mut void = base.clone();
        void.generator.void.push("behind".to_owned());
        assert!(gates(&void, &base, TEN_PERCENT).unwrap_err().to_string().contains("void"));
        let mut empty = base.clone();
        (empty.counts, empty.server) = (Default::default(), None);
        empty.metrics.clear();
        assert!(gates(&empty, &base, TEN_PERCENT).unwrap_err().to_string().contains("nothing can be compared"));
    }

    #[test]
    fn what_cannot_be_compared_afterwards_is_refused_before() {
        let base = fixture::outcome();
        assert!(check(&base, &base.setup, true).is_ok());
        let fault = check(&base, &base.setup, false).unwrap_err().to_string();
        assert!(fault.contains("add --server-pid PID"), "{fault}");
        let unwatched = Outcome { server: None, ..base.clone() };
        assert!(check(&unwatched, &base.setup, false).is_ok() && check(&unwatched, &base.setup, true).is_ok());
        let mut other = base.setup.clone();
        other.clients = 7;
        assert!(check(&base, &other, true).unwrap_err().to_string().contains("--clients was 1,000 and is 7"));
        let mut void = base.clone();
        void.generator.void.push("behind".to_owned());
        assert!(check(&void, &base.setup, true).unwrap_err().to_string().contains("void"));
        let mut empty = unwatched;
        empty.metrics.clear();
        empty.counts = Default::default();
        assert!(check(&empty, &base.setup, true).unwrap_err().to_string().contains("too few values"));
    }

    #[test]
    fn another_machine_is_remarked() {
        let base = fixture::outcome();
        let mut head = base.clone();
        head.machine.cores = 64;
        head.setup.seed = 2;
        assert_eq!(
            remarks(&base, &head),
            ["another number of cores, so times say little: 2 then, 64 now", "another seed: 1 then, 2 now"]
        );
    }

    #[test]
    fn the_table_has_the_change() {
        let all = comparisons(&with_acks([10_000; 1_000]), &with_acks([12_000; 1_000]), TEN_PERCENT).unwrap();
        let lines = table(&all);
        assert!(lines[1].contains("ack:p50") && lines[1].contains("+20.0 %") && lines[1].ends_with("WORSE"), "{lines:#?}");
    }

    #[test]
    fn a_floor_is_shown_where_it_decided() {
        let (base, head) = (with_acks([100; 1_000]), with_acks([149; 1_000]));
        let lines = table(&comparisons(&base, &head, TEN_PERCENT).unwrap());
        assert!(lines[1].contains("+49.0 %") && lines[1].ends_with("ok, under the floor of 50 µs"), "{lines:#?}");
        assert!(lines.last().unwrap().contains(FLOORS), "{lines:#?}");
        let gates = gates(&base, &head, TEN_PERCENT).unwrap();
        assert!(gates[0].passed, "{gates:#?}");
        assert_eq!(gates[0].measured, "149 µs (baseline 100 µs, +49.0 %, under the floor of 50 µs)");
        let same = table(&comparisons(&base, &base, TEN_PERCENT).unwrap());
        assert!(!same.iter().any(|line| line.contains("floor")), "{same:#?}");
        let mut head = base.clone();
        head.server.as_mut().unwrap().us_per_delivery = Some(0.11);
        let mut base = base;
        base.server.as_mut().unwrap().us_per_delivery = Some(0.07);
        let lines = table(&comparisons(&base, &head, TEN_PERCENT).unwrap());
        assert!(lines.iter().any(|line| line.ends_with("ok, under the floor of 0.05 µs")), "{lines:#?}");
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!((parse_share("10%"), parse_share("0%"), parse_share("2.5 %")), (Ok(0.1), Ok(0.0), Ok(0.025)));
        for wrong in ["10", "0.1", "-1%", "1001%", "nan%", "%", ""] {
            assert!(parse_share(wrong).unwrap_err().contains("such as 10%"), "{wrong}");
        }
    }
}
