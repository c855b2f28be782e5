//! The outcome of a run: named figures in order, warnings, and broken promises.

use crate::procfs::Share;
use crate::raw::histogram::Histogram;

/// The outcome of a run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<(&'static str, Option<f64>)>,
    warnings: Vec<String>,
    violations: Vec<String>,
}

impl Report {
    /// Adds a figure; the name carries its unit. `None` and what is not finite is written as `null`.
    pub(crate) fn figure(&mut self, name: &'static str, value: impl Into<Option<f64>>) {
        self.figures.push((name, value.into().filter(|value| value.is_finite())));
    }

    /// Adds a reason to doubt the figures.
    pub(crate) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Adds how the two cores were shared out: what server and generator used, and how long they were kept waiting.
    pub(crate) fn shares(&mut self, own: Share, server: Share) {
        self.figure("server_cpu_share", server.cpu);
        self.figure("server_waiting_share", server.waiting);
        self.figure("generator_cpu_share", own.cpu);
        self.figure("generator_waiting_share", own.waiting);
    }

    /// Adds the quantiles of a histogram in microseconds.
    pub(crate) fn latencies(&mut self, names: [&'static str; 2], histogram: &Histogram) {
        let micros = |share: f64| histogram.quantile(share).map(|nanos| nanos as f64 / 1e3);
        self.figure(names[0], micros(0.5));
        self.figure(names[1], micros(0.99));
    }

    /// Warns when the figures say more about the generator or about other programs than about the server.
    pub(crate) fn judge_cores(&mut self, own: Share, server: Share) {
        if own.demand() > 0.95 {
            let (cpu, waiting) = (own.cpu * 100.0, own.waiting * 100.0);
            self.warn(format!(
                "the generator used {cpu:.0} % of its core and waited for it {waiting:.0} % of the time: it, not the server, set the pace"
            ));
        }
        if server.waiting > 0.1 {
            self.warn(format!(
                "other processes had the server's core {:.0} % of the time: latencies and rates are theirs too",
                server.waiting * 100.0
            ));
        }
    }

    /// Adds a broken promise.
    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Whether every promise held.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Figures on standard output, warnings and broken promises on standard error.
    pub(crate) fn print(&self, json: bool) {
        if json {
            println!("{}", self.to_json());
        } else {
            for (name, value) in &self.figures {
                println!("{name:<30} {:>14}", value.map_or_else(|| "-".to_owned(), shown));
            }
        }
        for warning in &self.warnings {
            eprintln!("loadgen: warning: {warning}");
        }
        for violation in &self.violations {
            eprintln!("loadgen: FAILED: {violation}");
        }
    }

    /// One flat object of numbers, then the number of warnings and of broken promises.
    fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.figures {
            text.push_str(&format!("\"{name}\":{},", value.map_or_else(|| "null".to_owned(), shown)));
        }
        text.push_str(&format!("\"warnings\":{},\"violations\":{}}}", self.warnings.len(), self.violations.len()));
        text
    }
}

/// Whole numbers whole, others with three decimals.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_flat_object() {
        let mut report = Report::default();
        report.figure("sends", 3.0);
        report.figure("share", 0.25);
        report.figure("p99", None);
        report.figure("ratio", f64::NAN);
        report.warn("slow".to_owned());
        assert_eq!(report.to_json(), r#"{"sends":3,"share":0.250,"p99":null,"ratio":null,"warnings":1,"violations":0}"#);
        assert!(report.is_clean());
        report.violation("lost".to_owned());
        assert!(!report.is_clean());
    }
}
