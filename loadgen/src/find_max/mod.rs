//! `loadgen find-max`: raises the rate until a threshold breaks, and narrows down where.

mod report;
mod search;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::fault::Fault;
use crate::interrupt::{Interrupt, Signal};
use crate::outcome::{Metric, Outcome, Verdict};
use crate::people::cli::{LoadOptions, parse_rate, parse_time};
use crate::people::conduct::{Conducted, End};
use crate::people::live::Live;
use crate::people::scenario::Scenario;
use crate::results::gates::Threshold;
use crate::results::{files, units};
use crate::run::run_at;
use crate::tokens::{self, Token};
use search::{MAX_STEPS, Search};

/// Share of the asked rate that must be sent and answered for a step to count as held.
const ACHIEVED: f64 = 0.98;

/// Raise the rate until a threshold breaks, and report the highest that held: the knee
///
/// Each step is a run of its own at a steady rate. A rate counts as too high when it broke twice, and the highest that held is run once
/// more at the end; where two steps at a rate disagree, a third decides.
///
/// A step in which the server refuses requests as too fast has met a limit that it has for each user, and not its knee: the search ends
/// there and says so. Have more --clients, or run the server with a higher --messages-per-second.
///
/// SIGINT (Ctrl-C) or SIGTERM ends the step under way and writes what was found up to then. A second one does so without waiting for what
/// has no answer yet; a third one ends at once, and writes nothing more.
///
/// Exit status: 0 when a rate held, 99 when not even the first did, 3 when the tester or a limit for each user was met before the knee, 4
/// when a promise was broken, 2 when it could not take place, 130 or 143 when SIGINT or SIGTERM cut it short.
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
    /// The server refused so much as too fast: a limit for each user was met, which says nothing about what the machine carries.
    Limited(String),
    /// It was told to end before it was over.
    CutShort,
    /// A promise was broken.
    Broken,
}

impl Ending {
    /// Tells the search.
    fn note(&self, rate: f64, search: &mut Search) {
        match self {
            Self::Held => search.note(rate, true),
            Self::Broke(_) => search.note(rate, false),
            Self::Void(_) => search.note_void(rate),
            Self::Limited(_) | Self::Broken => search.end(),
            Self::CutShort => {}
        }
    }
}

/// A run at one rate.
struct Step {
    rate: f64,
    ending: Ending,
    outcome: Outcome,
}

/// All that was found.
struct Found {
    steps: Vec<Step>,
    search: Search,
    /// What told it to end before it was over.
    cut_short: Option<Signal>,
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
    let interrupt = Interrupt::listen()?;
    let mut found = Found { steps: Vec::new(), search: Search::new(options.start_rate, options.max_rate), cut_short: None };
    let searched = found.look(options, &tokens, &interrupt, &mut live);
    live.finish();
    report::print(&found)?;
    if let Some(directory) = &options.out {
        report::write(directory, &found)?;
    }
    searched?;
    Ok(ExitCode::from(found.status()))
}

impl Found {
    /// Takes step after step, until nothing more is to be tried or it is told to end.
    fn look(&mut self, options: &FindMaxOptions, tokens: &[Token], interrupt: &Interrupt, live: &mut Live) -> Result<(), Fault> {
        while let Some(rate) = self.search.next().filter(|_| self.steps.len() < MAX_STEPS) {
            let again = if self.steps.last().is_some_and(|last| last.rate == rate) { ", once more" } else { "" };
            live.phase(&format!("step {}: {} a second{again}", self.steps.len() + 1, units::rate(rate)));
            let load = &options.load;
            let conducted = match run_at(load, tokens, &options.threshold, (rate, options.step), interrupt, live) {
                Ok(conducted) => conducted,
                Err(fault) => {
                    // What is known was found before it was told to end, if it was.
                    self.cut_short = interrupt.told();
                    return Err(fault);
                }
            };
            let ending = judge(&conducted, rate);
            ending.note(rate, &mut self.search);
            // What was ended before anything was measured is no step.
            if ending != Ending::CutShort || conducted.outcome.seconds > 0.0 {
                self.steps.push(Step { rate, ending, outcome: conducted.outcome });
            }
            // Whoever is told to end when nothing more is to be tried has found it all.
            self.cut_short = self.search.next().and_then(|_| interrupt.told());
            if self.cut_short.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn status(&self) -> u8 {
        let last = self.steps.last().map(|step| &step.ending);
        match (last, self.cut_short) {
            (Some(Ending::Broken), _) => 4,
            (_, Some(signal)) => signal.exit_code(),
            (Some(Ending::Limited(_)), None) => 3,
            _ if self.search.void().is_some() => 3,
            _ if self.search.held().is_some() => 0,
            _ => 99,
        }
    }
}

fn judge(conducted: &Conducted, rate: f64) -> Ending {
    let outcome = &conducted.outcome;
    let verdict = outcome.verdict();
    let refused = outcome.refused_as_too_fast();
    match verdict {
        Verdict::Broken => return Ending::Broken,
        _ if conducted.end == End::CutShort => return Ending::CutShort,
        // A tester that is late catches up in bursts, which a limit may refuse where the rate itself would have been let through.
        Verdict::Void => return Ending::Void(outcome.generator.void.join("; ")),
        _ if refused > 0 => {
            let refused = units::counted(refused, "request", "requests");
            return Ending::Limited(format!("the server refused {refused} as too fast (rate_limited)"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Gate;
    use crate::results::fixture;

    /// A step of which the fixture's refusals are left, or nothing was refused.
    fn conducted(refused: bool) -> Conducted {
        let mut outcome = fixture::outcome();
        if !refused {
            outcome.timeline.iter_mut().for_each(|second| second.counts.errors.clear());
        }
        Conducted { outcome, seconds: Vec::new(), end: End::Whole }
    }

    #[test]
    fn a_step_with_refusals_met_a_limit_whether_or_not_its_thresholds_held() {
        assert_eq!(judge(&conducted(false), 500.0), Ending::Held);
        let limited = Ending::Limited("the server refused 3 requests as too fast (rate_limited)".to_owned());
        assert_eq!(judge(&conducted(true), 500.0), limited);
        let mut failed = conducted(true);
        failed.outcome.gates.push(Gate { condition: "ack:p99<1us".to_owned(), measured: "2 µs".to_owned(), passed: false });
        assert_eq!(judge(&failed, 500.0), limited);
        let mut search = Search::new(100.0, 1_000.0);
        limited.note(100.0, &mut search);
        assert_eq!((search.next(), search.held(), search.broke()), (None, None, None), "it decides nothing about the rate");
    }

    #[test]
    fn what_was_refused_before_the_traffic_is_no_limit_of_the_rate() {
        let mut arriving = conducted(false);
        let first = &mut arriving.outcome.timeline[0].counts;
        assert_eq!((first.due, first.typing_sent), (0, 0), "everybody arrives in the first second of the fixture");
        first.errors.insert("rate_limited".to_owned(), 7);
        assert_eq!(judge(&arriving, 500.0), Ending::Held);
        // The second in which the traffic begins has the end of the arrival, too.
        arriving.outcome.timeline[1].counts.errors.insert("rate_limited".to_owned(), 1);
        assert!(arriving.outcome.timeline[1].counts.due > 0);
        assert_eq!(judge(&arriving, 500.0), Ending::Held);
        arriving.outcome.timeline[2].counts.errors.insert("rate_limited".to_owned(), 1);
        assert_eq!(
            judge(&arriving, 500.0),
            Ending::Limited("the server refused 1 request as too fast (rate_limited)".to_owned())
        );
    }

    #[test]
    fn a_broken_promise_and_a_late_tester_weigh_more_than_refusals() {
        let mut step = conducted(true);
        step.outcome.generator.void.push("it was late".to_owned());
        assert_eq!(judge(&step, 500.0), Ending::Void("it was late".to_owned()));
        step.end = End::CutShort;
        assert_eq!(judge(&step, 500.0), Ending::CutShort);
        step.outcome.verifier.breaches = 1;
        assert_eq!(judge(&step, 500.0), Ending::Broken);
    }
}
