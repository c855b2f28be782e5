//! `loadgen find-max`: raises the rate until a threshold breaks, and narrows down where.

mod report;
mod search;

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
use crate::results::{files, units};
use crate::run::run_at;
use crate::tokens;
use search::{MAX_STEPS, Search};

/// Share of the asked rate that must be sent and answered for a step to count as held.
const ACHIEVED: f64 = 0.98;

/// Raise the rate until a threshold breaks, and report the highest that held: the knee
///
/// Each step is a run of its own at a steady rate. A rate counts as too high when it broke twice, and the highest that held is run once
/// more at the end; where two steps at a rate disagree, a third decides.
///
/// Exit status: 0 when a rate held, 99 when not even the first did, 3 when the tester was the bottleneck before the server was, 4 when a
/// promise was broken, 2 when it could not take place.
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
    /// Directory for the results: find-max.json with all steps, and report.html, run.json and the others of `run --out` of the highest
    /// rate that held
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq)]
enum Ending {
    /// Every threshold held.
    Held,
    /// This did not.
    Broke(String),
    /// The tester was the bottleneck.
    Void(String),
    /// A promise was broken.
    Broken,
}

/// A run at one rate.
struct Step {
    rate: f64,
    ending: Ending,
    outcome: Outcome,
}

/// Runs it.
pub(crate) fn run(options: &FindMaxOptions) -> Result<ExitCode, Fault> {
    let load = &options.load;
    if !load.scenario.writes() && load.scenario != Scenario::Typing || load.closed_loop {
        return Err(Fault::new("find-max raises a rate: use the scenario chat, fanout, mixed or typing, in an open loop"));
    }
    load.check_limits()?;
    load.check_server()?;
    if let Some(directory) = &options.out {
        files::directory(directory)?;
    }
    let mut live = Live::new(load.quiet);
    let tokens = tokens::obtain(&load.identity, load.url.address, load.clients as usize)?;
    let mut search = Search::new(options.start_rate, options.max_rate);
    let mut steps: Vec<Step> = Vec::new();
    let mut stopped = Ok(());
    while let Some(rate) = search.next().filter(|_| steps.len() < MAX_STEPS) {
        let again = if steps.last().is_some_and(|last| last.rate == rate) { ", once more" } else { "" };
        live.phase(&format!("step {}: {} a second{again}", steps.len() + 1, units::rate(rate)));
        let outcome = match run_at(load, &tokens, &options.threshold, (rate, options.step), &mut live) {
            Ok(outcome) => outcome,
            Err(fault) => {
                stopped = Err(fault);
                break;
            }
        };
        let ending = judge(&outcome, rate);
        match &ending {
            Ending::Held => search.note(rate, true),
            Ending::Broke(_) => search.note(rate, false),
            Ending::Void(_) => search.note_void(rate),
            Ending::Broken => search.end(),
        }
        steps.push(Step { rate, ending, outcome });
    }
    live.finish();
    report::print(&steps, &search)?;
    if let Some(directory) = &options.out {
        report::write(directory, &steps, &search)?;
    }
    stopped?;
    Ok(ExitCode::from(status(&steps, &search)))
}

fn judge(outcome: &Outcome, rate: f64) -> Ending {
    match outcome.verdict() {
        Verdict::Broken => return Ending::Broken,
        Verdict::Void => return Ending::Void(outcome.generator.void.join("; ")),
        Verdict::Failed => {
            let failed = outcome.gates.iter().find(|gate| !gate.passed);
            return Ending::Broke(failed.map_or_else(String::new, |gate| format!("{}: {}", gate.condition, gate.measured)));
        }
        Verdict::Passed => {}
    }
    // Both of the messages that were due in the window, whenever they were answered.
    let answered = outcome.metrics.get(&Metric::Ack).map_or(0, |summary| summary.count) as f64;
    if answered < outcome.counts.due as f64 * ACHIEVED {
        let answered = answered / outcome.seconds.max(f64::MIN_POSITIVE);
        return Ending::Broke(format!("only {} of {} a second were answered", units::rate(answered), units::rate(rate)));
    }
    Ending::Held
}

fn status(steps: &[Step], search: &Search) -> u8 {
    match steps.last().map(|step| &step.ending) {
        Some(Ending::Broken) => 4,
        _ if search.void().is_some() => 3,
        _ if search.held().is_some() => 0,
        _ => 99,
    }
}
