//! What a person sees while a run goes on: a line that changes on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::outcome::{Brief, Metric, Second};

/// Seconds between plain lines.
const PLAIN_EVERY: u64 = 5;
/// How often the line on a terminal moves on.
const TICK: Duration = Duration::from_millis(120);

/// See the module. Everything goes to standard error, so that standard output has the results alone.
pub(crate) struct Live {
    bar: Option<ProgressBar>,
    quiet: bool,
    seconds: u64,
}

impl Live {
    /// Shows nothing at all when `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, quiet, seconds: 0 }
    }

    /// Something new begins.
    pub(crate) fn phase(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None if self.quiet => {}
            None => eprintln!("loadgen: {what}"),
        }
    }

    /// Another second is over.
    pub(crate) fn second(&mut self, second: &Second, asked: Option<f64>, so_far: &Progress) {
        self.seconds += 1;
        let line = line(second, asked, so_far);
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if self.quiet || !self.seconds.is_multiple_of(PLAIN_EVERY) => {}
            None => eprintln!("loadgen: {line}"),
        }
    }

    /// Makes room for the results.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The run so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) ack: Brief,
    pub(crate) delivery: Brief,
    pub(crate) errors: u64,
    pub(crate) breaches: u64,
}

fn line(second: &Second, asked: Option<f64>, so_far: &Progress) -> String {
    let asked = asked.map_or_else(String::new, |rate| format!(" of {rate:.0}"));
    let mut line = format!(
        "{:>4.0} s  {} connections  {}{asked} sent/s  {} delivered/s",
        second.at, second.connections, second.counts.sent, second.counts.delivered
    );
    for (metric, brief) in [(Metric::Ack, so_far.ack), (Metric::Delivery, so_far.delivery)] {
        if brief.count > 0 {
            line += &format!("  {metric} p50 {} p99 {}", milliseconds(brief.p50), milliseconds(brief.p99));
        }
    }
    line += &format!("  {} errors", so_far.errors);
    if so_far.breaches > 0 {
        line += &format!("  {} BROKEN PROMISES", so_far.breaches);
    }
    line
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.1} ms", microseconds as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rates_latencies_and_errors() {
        let mut second = Second { at: 12.0, connections: 100, ..Second::default() };
        (second.counts.sent, second.counts.delivered) = (499, 9_980);
        let ack = Brief { count: 5, p50: 900, p99: 2_340, max: 9_000 };
        let text = line(&second, Some(500.0), &Progress { ack, errors: 3, breaches: 1, ..Progress::default() });
        assert_eq!(
            text,
            "  12 s  100 connections  499 of 500 sent/s  9980 delivered/s  ack p50 0.9 ms p99 2.3 ms  3 errors  1 BROKEN PROMISES"
        );
    }
}
