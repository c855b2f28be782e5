//! `loadgen report` and `loadgen compare`: what is done with runs that are over.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::gates::Threshold;
use super::{annotations, baseline, files, html, json, terminal};
use crate::fault::Fault;
use crate::outcome::{Outcome, Verdict};
use crate::say;

/// Views of a run from its `run.json`: the summary on the terminal, and the page
///
/// Exit status: that of the run, with the thresholds given here: 0 passed, 99 a gate was not met, 3 void, 4 a promise was broken;
/// 2 when the file cannot be read.
#[derive(Debug, Args)]
pub(crate) struct ReportCommand {
    /// run.json of a run
    #[arg(value_name = "RUN.json")]
    run: PathBuf,
    /// Where the page goes [default: report.html beside RUN.json]
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Also write summary.csv, timeline.csv, METRIC.hgrm and, unless it is there, run.hlog
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    dir: Option<PathBuf>,
    /// A condition in place of those of the run, such as ack:p99<25ms; may be repeated
    #[arg(long, value_name = "CONDITION")]
    threshold: Vec<Threshold>,
    /// run.json of an earlier run, shown beside this one
    #[arg(long, value_name = "BASE.json")]
    baseline: Option<PathBuf>,
}

/// Compare a run with an earlier one of the same setup
///
/// Exit status: 0 when nothing got worse, 99 when something did, 3 when the run is void, 4 when it broke a promise, 2 when the two
/// cannot be compared.
#[derive(Debug, Args)]
pub(crate) struct CompareCommand {
    /// run.json of the earlier run
    #[arg(value_name = "BASE.json")]
    base: PathBuf,
    /// run.json of the run that is judged
    #[arg(value_name = "HEAD.json")]
    head: PathBuf,
    /// How much worse a figure may be
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = baseline::parse_share)]
    max_regression: f64,
}

/// Runs `loadgen report`.
///
/// # Errors
///
/// When a file cannot be read or written.
pub(crate) fn report(command: &ReportCommand) -> Result<ExitCode, Fault> {
    let mut outcome = json::read(&command.run)?;
    let base = command.baseline.as_deref().map(json::read).transpose()?;
    if !command.threshold.is_empty() {
        outcome.gates = command.threshold.iter().map(|threshold| threshold.check(&outcome)).collect();
    }
    let page = match (&command.dir, &command.out) {
        (Some(dir), _) => {
            files::rewrite(dir, &outcome, base.as_ref())?;
            dir.join(files::REPORT)
        }
        (None, out) => {
            let page = out.clone().unwrap_or_else(|| command.run.with_file_name(files::REPORT));
            let (dir, name) = (page.parent().unwrap_or(Path::new("")), page.file_name().unwrap_or_default());
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            files::write_file(dir, &name.to_string_lossy(), html::page(&outcome, base.as_ref())?.as_bytes())?;
            page
        }
    };
    terminal::print(&outcome)?;
    say::line(&format!("\nthe page: {}", page.display()))?;
    Ok(ExitCode::from(outcome.verdict().exit_code()))
}

/// Runs `loadgen compare`.
///
/// # Errors
///
/// When a file cannot be read, or the runs cannot be compared.
pub(crate) fn compare(command: &CompareCommand) -> Result<ExitCode, Fault> {
    let (base, mut head) = (json::read(&command.base)?, json::read(&command.head)?);
    let comparisons = baseline::comparisons(&base, &head, command.max_regression)?;
    head.gates = baseline::gates(&base, &head, command.max_regression)?;
    say::line(&comparison(&base, &head, &comparisons))?;
    annotations::emit(&head)?;
    Ok(ExitCode::from(head.verdict().exit_code()))
}

/// What `compare` prints: the verdict first.
fn comparison(base: &Outcome, head: &Outcome, comparisons: &[baseline::Comparison]) -> String {
    let failed = head.gates.iter().filter(|gate| !gate.passed).count();
    let verdict = match head.verdict() {
        Verdict::Broken => "BROKEN: the server broke promises in this run".to_owned(),
        Verdict::Void => "VOID: the tester was the bottleneck in this run, so this says nothing about the server".to_owned(),
        Verdict::Failed => format!("FAILED: {failed} of {} figures got worse", head.gates.len()),
        Verdict::Passed => format!("PASSED: none of {} figures got worse", head.gates.len()),
    };
    let mut lines = vec![verdict, String::new()];
    lines.extend(baseline::table(comparisons));
    let remarks = baseline::remarks(base, head);
    if !remarks.is_empty() {
        lines.push(String::new());
        lines.extend(remarks.into_iter().map(|remark| format!("  note: {remark}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn the_comparison_says_what_got_worse_first() {
        let base = fixture::outcome();
        let mut head = base.clone();
        head.counts.delivered /= 2;
        head.machine.kernel = "Linux 7".to_owned();
        head.gates = baseline::gates(&base, &head, 0.1).unwrap();
        let text = comparison(&base, &head, &baseline::comparisons(&base, &head, 0.1).unwrap());
        assert!(text.starts_with("FAILED: 1 of "), "{text}");
        assert!(text.contains("-50.0 %") && text.contains("note: another kernel: Linux 6.1.0 then, Linux 7 now"), "{text}");
        head.generator.void.push("behind".to_owned());
        assert!(comparison(&base, &head, &[]).starts_with("VOID"));
    }
}
