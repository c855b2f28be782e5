//! How far a long command is: a bar on a terminal, a line for each hundredth elsewhere.

use std::io::{IsTerminal, Write, stderr};

use indicatif::{ProgressBar, ProgressStyle};

/// Tells standard error. What cannot be told is no reason to stop.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    is_terminal: bool,
    verb: &'static str,
    unit: &'static str,
    total: u64,
    done: u64,
    told_percent: u64,
}

impl Progress {
    /// On standard error.
    pub(crate) fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        Self { bar: None, is_terminal, verb: "", unit: "", total: 0, done: 0, told_percent: 0 }
    }

    /// Begins a part with `total` steps: so many are `verb`, such as "copied", of `unit`, such as "rows".
    pub(crate) fn start(&mut self, verb: &'static str, unit: &'static str, total: u64) {
        (self.verb, self.unit, self.total, self.done, self.told_percent) = (verb, unit, total, 0, 0);
        if self.is_terminal {
            let template = "{msg} {wide_bar} {human_pos} of {human_len} {prefix}, {eta} left";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = Some(ProgressBar::new(total).with_style(style).with_message(verb).with_prefix(unit));
        }
    }

    /// So many more are done.
    pub(crate) fn advance(&mut self, steps: u64) {
        self.done += steps;
        if let Some(bar) = &self.bar {
            return bar.inc(steps);
        }
        let percent = (self.done * 100).checked_div(self.total).unwrap_or(100);
        if percent > self.told_percent {
            self.told_percent = percent;
            let _ = writeln!(stderr(), "{} {} of {} {} ({percent} %)", self.verb, self.done, self.total, self.unit);
        }
    }

    /// The part is over.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}
