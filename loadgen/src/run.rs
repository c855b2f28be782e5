//! `loadgen run`: one run, its results in every form, and what they come to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::fault::Fault;
use crate::interrupt::{Interrupt, Signal};
use crate::outcome::{Compact, Gate, Outcome, Verdict};
use crate::people::cli::{LoadOptions, command_line, parse_rate, parse_time};
use crate::people::conduct::{Conducted, End, Run, conduct};
use crate::people::live::Live;
use crate::results::gates::Threshold;
use crate::results::{annotations, baseline, files, json, terminal, units};
use crate::{say, tokens};

/// How many values a metric needs before a threshold on it can end a run early: the first few say little.
const ENOUGH_TO_GIVE_UP: u64 = 1_000;

/// Load a server with people who chat, time it, and verify that nothing is lost, doubled or out of order
///
/// Everybody connects and joins first; then the traffic goes on for the warm-up, which is not measured, and for the duration. Messages
/// are sent when they are due, whatever the server does, and timed from then (open loop); --closed-loop waits for each reply instead.
///
/// Exit status: 0 passed, 99 a threshold was not met, 3 void (the tester was the bottleneck), 4 a promise of PROTOCOL.md was broken,
/// 2 the run could not take place, 130 or 143 SIGINT or SIGTERM ended it: what was measured up to then is reported all the same.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// Messages a second of all people; beginnings of typing in `typing`, connects in storms [default: by scenario]
    #[arg(long, value_name = "N", value_parser = parse_rate, conflicts_with = "closed_loop")]
    pub(crate) rate: Option<f64>,
    /// Length of the measured window; storms end when everybody is back
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) gates: GateOptions,
    /// Directory for the results: report.html, run.json, CSV, .hgrm and .hlog files
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub(crate) out: Option<PathBuf>,
    /// Print the results as JSON instead of a summary
    #[arg(long, help_heading = "Results")]
    pub(crate) json: bool,
}

/// What the run has to meet.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gates")]
pub(crate) struct GateOptions {
    /// A condition such as ack:p99<25ms or errors:rate<0.001; may be repeated
    #[arg(long, value_name = "CONDITION")]
    threshold: Vec<Threshold>,
    /// run.json of an earlier run of the same setup, to be no worse than
    #[arg(long, value_name = "BASE.json")]
    baseline: Option<PathBuf>,
    /// How much worse than the baseline a figure may be
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = baseline::parse_share, requires = "baseline")]
    max_regression: f64,
    /// End as soon as a threshold is not met or a promise is broken
    #[arg(long)]
    abort_on_fail: bool,
}

impl GateOptions {
    /// Whether a run that stands so need not go on.
    fn give_up(&self, so_far: &Outcome) -> bool {
        let enough = so_far.metrics.values().any(|summary| summary.count >= ENOUGH_TO_GIVE_UP);
        so_far.verifier.breaches > 0 || enough && self.threshold.iter().any(|threshold| threshold.is_lost(so_far))
    }
}

/// Runs it.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode, Fault> {
    let load = &options.load;
    // Before anything starts: a baseline that cannot be read or compared with would be a pity after an hour.
    let base = options.gates.baseline.as_deref().map(json::read).transpose()?;
    let give_up = |so_far: &Outcome| options.gates.give_up(so_far);
    let run = Run {
        plan: load.plan(options.rate, options.duration),
        tokens: &[],
        spread: load.spread(),
        server_pid: load.server_pid,
        void: load.void_limits(),
        command: command_line(std::env::args()),
        url: load.url(),
        give_up: options.gates.abort_on_fail.then_some(&give_up),
        interrupt: None,
        keep_seconds: options.out.is_some(),
    };
    if let Some(base) = &base {
        baseline::check(base, &run.setup(), load.server_pid.is_some())?;
    }
    load.check_limits()?;
    load.check_server()?;
    let mut live = Live::new(load.quiet);
    let tokens = tokens::obtain(&load.identity, load.url.address, load.clients as usize)?;
    let interrupt = Interrupt::listen()?;
    let run = Run { tokens: &tokens, interrupt: Some(&interrupt), ..run };
    if let Some(directory) = &options.out {
        files::directory(directory)?;
    }
    let conducted = conduct(&run, &mut live);
    live.finish();
    let conducted = conducted?;
    let told = interrupt.told().filter(|_| conducted.end == End::CutShort);
    let mut outcome = conducted.outcome;
    if let Some(signal) = told
        && outcome.seconds == 0.0
        && outcome.verdict() != Verdict::Broken
    {
        eprintln!("loadgen: {} came before anything was measured", signal.name());
        return Ok(ExitCode::from(signal.exit_code()));
    }
    outcome.gates = options.gates.threshold.iter().map(|threshold| threshold.check(&outcome)).collect();
    outcome.gates.extend(unanswered(&outcome));
    outcome.gates.extend(early_end(conducted.end, told, outcome.seconds));
    let mut comparable = Ok(());
    if let Some(base) = &base {
        match baseline::gates(base, &outcome, options.gates.max_regression) {
            Ok(gates) => outcome.gates.extend(gates),
            Err(fault) => comparable = Err(fault),
        }
        baseline::remarks(base, &outcome).iter().for_each(|remark| eprintln!("loadgen: {remark}"));
    }
    report(options, &outcome, &conducted.seconds, comparable)?;
    let verdict = outcome.verdict();
    let told = told.filter(|_| verdict != Verdict::Broken);
    Ok(ExitCode::from(told.map_or(verdict.exit_code(), Signal::exit_code)))
}

/// Prints and writes what came of it. `comparable`: whether it could be compared with the baseline.
fn report(options: &RunOptions, outcome: &Outcome, seconds: &[Compact], comparable: Result<(), Fault>) -> Result<(), Fault> {
    // First what cannot fail, so that nothing that was measured is lost.
    if options.json {
        say::line(&json::text(outcome))?;
    } else {
        terminal::print(outcome)?;
    }
    annotations::emit(outcome)?;
    if let Some(directory) = &options.out {
        files::write(directory, outcome, seconds)?;
    }
    if outcome.verdict() != Verdict::Broken {
        comparable?;
    }
    if let Some(directory) = &options.out {
        eprintln!("loadgen: the results are in {0}; open {0}/report.html in a browser", directory.display());
    }
    Ok(())
}

/// What says in the results that the run did not go on to its end: it is not one that has passed.
fn early_end(end: End, told: Option<Signal>, seconds: f64) -> Option<Gate> {
    let condition = match end {
        End::Whole => return None,
        End::GivenUp => "not given up (--abort-on-fail)".to_owned(),
        End::CutShort => format!("not cut short by {}", told.map_or("a signal", Signal::name)),
    };
    Some(Gate { condition, measured: format!("after {seconds:.0} s"), passed: false })
}

/// The condition of [`unanswered`].
pub(crate) const ANSWERED: &str = "everything was answered and everybody came back by the end of --drain";

/// Who asked and got no answer by the end, or could not come back: no promise has a deadline, but a run with that has not passed.
pub(crate) fn unanswered(outcome: &Outcome) -> Option<Gate> {
    let of = |name: &str| outcome.counts.errors.get(name).copied().unwrap_or(0);
    let (no_reply, never_returned) = (of("no_reply"), of("never_returned"));
    let requests = units::counted(no_reply, "request", "requests");
    let people = units::counted(never_returned, "person", "people");
    let measured = format!("{requests} without an answer, {people} who did not come back");
    (no_reply + never_returned > 0).then_some(Gate { condition: ANSWERED.to_owned(), measured, passed: false })
}

/// A run for `find-max`: at that rate, judged by these thresholds, and ended when it is told to.
pub(crate) fn run_at(
    load: &LoadOptions,
    tokens: &[tokens::Token],
    thresholds: &[Threshold],
    (rate, duration): (f64, Duration),
    interrupt: &Interrupt,
    live: &mut Live,
) -> Result<Conducted, Fault> {
    // Only what decides by itself ends the step: a threshold that is not met so far may still be met over the whole of it.
    let run = Run {
        plan: load.plan(Some(rate), duration),
        tokens,
        spread: load.spread(),
        server_pid: load.server_pid,
        void: load.void_limits(),
        command: command_line(std::env::args()),
        url: load.url(),
        give_up: Some(&|so_far: &Outcome| so_far.verdict() == Verdict::Broken || so_far.refused_as_too_fast() > 0),
        interrupt: Some(interrupt),
        keep_seconds: false,
    };
    let mut conducted = conduct(&run, live)?;
    let outcome = &mut conducted.outcome;
    outcome.gates = thresholds.iter().map(|threshold| threshold.check(outcome)).collect();
    outcome.gates.extend(unanswered(outcome));
    Ok(conducted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn a_run_with_what_was_never_answered_has_failed() {
        let mut outcome = fixture::outcome();
        outcome.counts.errors.clear();
        assert_eq!(unanswered(&outcome), None);
        for name in ["no_reply", "never_returned"] {
            let mut outcome = outcome.clone();
            outcome.counts.errors.insert(name.to_owned(), 1);
            outcome.gates.extend(unanswered(&outcome));
            assert_eq!((outcome.verdict(), outcome.verdict().exit_code()), (Verdict::Failed, 99), "{name}");
            let gate = outcome.gates.last().unwrap();
            assert!(gate.condition == ANSWERED && gate.measured.contains('1'), "{gate:?}");
        }
    }
}
