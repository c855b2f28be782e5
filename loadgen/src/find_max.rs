//! `loadgen find-max`: raises the rate until a threshold breaks, and narrows down where.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::fault::Fault;
use crate::outcome::{Metric, Outcome, Verdict};
use crate::people::cli::{LoadOptions, parse_rate, parse_time};
use crate::people::live::Live;
use crate::people::scenario::Scenario;
use crate::results::gates::Threshold;
use crate::results::table::Table;
use crate::results::{json, units};
use crate::run::run_at;
use crate::say;
use crate::tokens;

/// How fast the rate grows until something breaks.
const GROWTH: f64 = 1.5;
/// How often the gap between the last rate that held and the first that did not is halved.
const HALVINGS: u32 = 3;
/// Most steps in all.
const MAX_STEPS: usize = 40;
/// Share of the asked rate that must be sent and answered for a step to count as held.
const ACHIEVED: f64 = 0.98;

/// Raise the rate until a threshold breaks, and report the highest that held: the knee
///
/// Each step is a run of its own at a steady rate. Exit status: 0 when a rate held, 99 when not even the first did, 3 when the tester
/// was the bottleneck before the server was, 4 when a promise was broken, 2 when it could not take place.
#[derive(Debug, Args)]
pub(crate) struct FindMaxOptions {
    #[command(flatten)]
    load: LoadOptions,
    /// What must hold, such as ack:p99<25ms; may be repeated
    #[arg(long, value_name = "CONDITION", required = true)]
    threshold: Vec<Threshold>,
    /// Messages a second of all people in the first step
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_rate)]
    start_rate: f64,
    /// Where to stop if nothing breaks
    #[arg(long, value_name = "N", default_value = "100000", value_parser = parse_rate)]
    max_rate: f64,
    /// Measured time of each step
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    step: Duration,
    /// Write the run.json of the highest rate that held here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Every threshold held.
    Held,
    /// This did not.
    Broke(String),
    /// The tester was the bottleneck.
    Void(String),
    /// A promise was broken.
    Broken,
}

/// Which rate to try next: pure, so that it can be tested.
#[derive(Clone, Debug)]
struct Search {
    held: Option<f64>,
    broke: Option<f64>,
    halvings: u32,
    next: Option<f64>,
    max_rate: f64,
}

impl Search {
    fn new(start: f64, max_rate: f64) -> Self {
        Self { held: None, broke: None, halvings: 0, next: Some(start.min(max_rate)), max_rate }
    }

    /// Notes how `rate` went and picks the next.
    fn note(&mut self, rate: f64, held: bool) {
        if held {
            self.held = Some(rate);
        } else {
            self.broke = Some(rate);
        }
        self.next = match (self.held, self.broke) {
            (Some(held), None) if held < self.max_rate => Some((held * GROWTH).min(self.max_rate)),
            (Some(held), Some(broke)) if self.halvings < HALVINGS => {
                self.halvings += 1;
                Some((held + broke) / 2.0)
            }
            _ => None,
        };
    }
}

/// Runs it.
pub(crate) fn run(options: &FindMaxOptions) -> Result<ExitCode, Fault> {
    let load = &options.load;
    if !load.scenario.writes() && load.scenario != Scenario::Typing || load.closed_loop {
        return Err(Fault::new("find-max raises a rate: use the scenario chat, fanout, mixed or typing, in an open loop"));
    }
    load.check_limits()?;
    let mut live = Live::new(load.quiet);
    let tokens = tokens::obtain(&load.identity, load.url.address, load.clients as usize)?;
    let mut search = Search::new(options.start_rate, options.max_rate);
    let mut steps: Vec<(f64, Step, Outcome)> = Vec::new();
    while let Some(rate) = search.next.filter(|_| steps.len() < MAX_STEPS) {
        live.phase(&format!("step {}: {} a second", steps.len() + 1, units::rate(rate)));
        let outcome = match run_at(load, &tokens, &options.threshold, (rate, options.step), &mut live) {
            Ok(outcome) => outcome,
            Err(fault) => {
                live.finish();
                report(&steps, &search)?;
                return Err(fault);
            }
        };
        let step = judge(&outcome, rate);
        let ends = matches!(step, Step::Void(_) | Step::Broken);
        search.note(rate, step == Step::Held);
        steps.push((rate, step, outcome));
        if ends {
            break;
        }
    }
    live.finish();
    report(&steps, &search)?;
    if let (Some(path), Some((.., outcome))) = (&options.out, best(&steps)) {
        std::fs::write(path, json::text(outcome)).map_err(Fault::while_doing(&path.display().to_string()))?;
    }
    Ok(ExitCode::from(status(&steps)))
}

fn judge(outcome: &Outcome, rate: f64) -> Step {
    match outcome.verdict() {
        Verdict::Broken => return Step::Broken,
        Verdict::Void => return Step::Void(outcome.generator.void.join("; ")),
        Verdict::Failed => {
            let failed = outcome.gates.iter().find(|gate| !gate.passed);
            return Step::Broke(failed.map_or_else(String::new, |gate| format!("{}: {}", gate.condition, gate.measured)));
        }
        Verdict::Passed => {}
    }
    // Both of the messages that were due in the window, whenever they were answered.
    let answered = outcome.metrics.get(&Metric::Ack).map_or(0, |summary| summary.count) as f64;
    if answered < outcome.counts.due as f64 * ACHIEVED {
        let answered = answered / outcome.seconds.max(f64::MIN_POSITIVE);
        return Step::Broke(format!("only {} of {} a second were answered", units::rate(answered), units::rate(rate)));
    }
    Step::Held
}

fn best(steps: &[(f64, Step, Outcome)]) -> Option<&(f64, Step, Outcome)> {
    steps.iter().filter(|(_, step, _)| *step == Step::Held).max_by(|one, other| one.0.total_cmp(&other.0))
}

fn status(steps: &[(f64, Step, Outcome)]) -> u8 {
    let last = steps.last().map(|(_, step, _)| step);
    match (last, best(steps)) {
        (Some(Step::Broken), _) => 4,
        (Some(Step::Void(_)), _) => 3,
        (_, Some(_)) => 0,
        (_, None) => 99,
    }
}

fn report(steps: &[(f64, Step, Outcome)], search: &Search) -> Result<(), Fault> {
    let mut table = Table::with_head(&["asked", "answered", "ack p50", "ack p99", "delivery p99", "server cores", "", ""]);
    for (rate, step, outcome) in steps {
        let time = |metric, of: fn(&crate::outcome::Summary) -> u64| {
            outcome.metrics.get(&metric).map_or_else(|| "-".to_owned(), |summary| units::time(of(summary) as f64))
        };
        let (word, why) = match step {
            Step::Held => ("held", ""),
            Step::Broke(why) => ("broke", why.as_str()),
            Step::Void(why) => ("void", why.as_str()),
            Step::Broken => ("a promise was broken", ""),
        };
        table.row([
            units::rate(*rate),
            units::rate(outcome.counts.acked as f64 / outcome.seconds.max(f64::MIN_POSITIVE)),
            time(Metric::Ack, |summary| summary.p50),
            time(Metric::Ack, |summary| summary.p99),
            time(Metric::Delivery, |summary| summary.p99),
            outcome.server.as_ref().map_or_else(|| "-".to_owned(), |server| units::three_digits(server.cpu)),
            word.to_owned(),
            why.to_owned(),
        ]);
    }
    for line in table.lines("") {
        say::line(&line)?;
    }
    say::line(&format!("\n{}", conclusion(steps, search)))?;
    if let Some((.., outcome)) = steps.iter().find(|(_, step, _)| *step == Step::Broken) {
        crate::results::terminal::print(outcome)?;
    }
    Ok(())
}

fn conclusion(steps: &[(f64, Step, Outcome)], search: &Search) -> String {
    let void = steps.iter().find_map(|(rate, step, _)| match step {
        Step::Void(why) => Some((rate, why)),
        Step::Held | Step::Broke(_) | Step::Broken => None,
    });
    match (best(steps), search.broke, void) {
        (Some((held, ..)), _, Some((rate, why))) => format!(
            "The server held {} a second. At {} a second the tester was the bottleneck, so what it carries at most is not known: {why}",
            units::rate(*held),
            units::rate(*rate)
        ),
        (Some((held, ..)), Some(broke), None) => {
            format!("The knee: {} a second held, {} a second did not.", units::rate(*held), units::rate(broke))
        }
        (Some((held, ..)), None, None) => {
            format!("{} a second held, the highest rate that was asked for (--max-rate).", units::rate(*held))
        }
        (None, ..) => "Not even the first rate held; try a lower --start-rate.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried when everything up to `limit` holds.
    fn tried(limit: f64, max_rate: f64) -> (Vec<f64>, Search) {
        let mut search = Search::new(100.0, max_rate);
        let mut rates = Vec::new();
        while let Some(rate) = search.next {
            assert!(rates.len() < MAX_STEPS);
            rates.push(rate);
            search.note(rate, rate <= limit);
        }
        (rates, search)
    }

    #[test]
    fn the_gap_around_the_knee_is_halved() {
        let (rates, search) = tried(200.0, 10_000.0);
        assert_eq!(rates, [100.0, 150.0, 225.0, 187.5, 206.25, 196.875]);
        assert_eq!((search.held, search.broke), (Some(196.875), Some(206.25)));
    }

    #[test]
    fn it_ends_at_the_highest_rate_or_at_once() {
        assert_eq!(tried(1e9, 250.0).0, [100.0, 150.0, 225.0, 250.0]);
        assert_eq!(tried(1.0, 250.0).0, [100.0]);
    }
}
