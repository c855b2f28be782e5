//! What GitHub shows beside a change when a run took place in one of its workflows: annotations, and a summary in Markdown.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};

use super::{conclusion, units};
use crate::fault::Fault;
use crate::outcome::{Outcome, Verdict};

/// Most annotations of one kind: GitHub shows ten of a step.
const MAX_ANNOTATIONS: usize = 10;

/// In a workflow, prints annotations and appends to the summary of the step; elsewhere nothing.
///
/// # Errors
///
/// When standard output or the file of the summary cannot be written.
pub(crate) fn emit(outcome: &Outcome) -> Result<(), Fault> {
    if env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return Ok(());
    }
    io::stdout().write_all(lines(outcome).as_bytes()).map_err(Fault::while_doing("standard output"))?;
    let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(Fault::while_doing("GITHUB_STEP_SUMMARY"))?;
    file.write_all(markdown(outcome).as_bytes()).map_err(Fault::while_doing("GITHUB_STEP_SUMMARY"))
}

/// The annotations, one a line.
fn lines(outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    for breach in outcome.verifier.details.iter().take(MAX_ANNOTATIONS) {
        let seq = breach.seq.map(|seq| format!(" seq {seq}")).unwrap_or_default();
        let place = format!("{} (conversation {}{seq}, seen by {})", breach.what, breach.conversation, breach.user);
        lines.push(annotation("error", &format!("loadgen: broken promise: {}", breach.kind), &place));
    }
    if outcome.verifier.breaches > 0 && outcome.verifier.details.is_empty() {
        lines.push(annotation("error", "loadgen: broken promise", &conclusion::verdict(outcome)));
    }
    for reason in outcome.generator.void.iter().take(MAX_ANNOTATIONS) {
        lines.push(annotation("warning", "loadgen: void", reason));
    }
    for gate in outcome.gates.iter().filter(|gate| !gate.passed).take(MAX_ANNOTATIONS) {
        lines.push(annotation("error", &format!("loadgen: {}", gate.condition), &format!("measured {}", gate.measured)));
    }
    if outcome.verdict() == Verdict::Passed {
        lines.push(annotation("notice", "loadgen: passed", &conclusion::sentence(outcome)));
    }
    lines.concat()
}

fn annotation(level: &str, title: &str, message: &str) -> String {
    format!("::{level} title={}::{}\n", property(title), data(message))
}

/// A message: the characters that end a command are escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property: those that end a property too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The summary of the step.
fn markdown(outcome: &Outcome) -> String {
    let mark = match outcome.verdict() {
        Verdict::Passed => "✅",
        Verdict::Failed | Verdict::Broken => "❌",
        Verdict::Void => "⚠️",
    };
    let mut text =
        format!("### {mark} loadgen: {}\n\n{}\n\n", cell(&conclusion::verdict(outcome)), cell(&conclusion::sentence(outcome)));
    text.push_str(&format!("{}\n\n", cell(&conclusion::asked(outcome))));
    for reason in &outcome.generator.void {
        text.push_str(&format!("- void: {}\n", cell(reason)));
    }
    for breach in &outcome.verifier.details {
        let seq = breach.seq.map(|seq| format!(" seq {seq}")).unwrap_or_default();
        let place = format!("{}{seq}, seen by {}: {}", breach.conversation, breach.user, breach.what);
        text.push_str(&format!("- **{}** {}\n", cell(&breach.kind), cell(&place)));
    }
    if !outcome.gates.is_empty() {
        text.push_str("\n| | gate | measured |\n|---|---|---:|\n");
        for gate in &outcome.gates {
            let mark = if gate.passed { "✅" } else { "❌" };
            text.push_str(&format!("| {mark} | {} | {} |\n", cell(&gate.condition), cell(&gate.measured)));
        }
    }
    text.push_str("\n| time | count | p50 | p90 | p99 | p99.9 | max |\n|---|---:|---:|---:|---:|---:|---:|\n");
    for (metric, summary) in &outcome.metrics {
        let times = [summary.p50, summary.p90, summary.p99, summary.p999, summary.max].map(|time| units::time(time as f64));
        text.push_str(&format!("| {metric} | {} | {} |\n", units::whole(summary.count), times.join(" | ")));
    }
    text.push('\n');
    text
}

/// Text of others within Markdown: on one line, and with no character that means something.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\r' | '\n' => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Gate;
    use crate::results::fixture;

    #[test]
    fn what_failed_is_an_error_and_what_passed_a_notice() {
        let mut outcome = fixture::outcome();
        assert!(lines(&outcome).starts_with("::notice title=loadgen%3A passed::1,000 people in rooms of 20"));
        outcome.gates.push(Gate {
            condition: "ack:p99<1ms".to_owned(),
            measured: "2,5 ms\r\n100 %: bad".to_owned(),
            passed: false,
        });
        assert_eq!(lines(&outcome), "::error title=loadgen%3A ack%3Ap99<1ms::measured 2,5 ms%0D%0A100 %25: bad\n");
        outcome.generator.void.push("the busiest thread used 98 % of a core".to_owned());
        assert!(lines(&outcome).starts_with("::warning title=loadgen%3A void::the busiest thread used 98 %25 of a core\n"));
    }

    #[test]
    fn broken_promises_come_first_and_are_bounded() {
        let mut outcome = fixture::broken();
        outcome.verifier.details = vec![outcome.verifier.details[0].clone(); 30];
        let text = lines(&outcome);
        assert!(text.starts_with("::error title=loadgen%3A broken promise%3A gap::seq 42 was expected and 43 came"), "{text}");
        assert_eq!(text.lines().count(), MAX_ANNOTATIONS);
        outcome.verifier.details.clear();
        assert_eq!(lines(&outcome), "::error title=loadgen%3A broken promise::BROKEN: 3 promises were broken by the server\n");
    }

    #[test]
    fn properties_escape_more_than_messages() {
        assert_eq!(property("a:b,c%\r\n"), "a%3Ab%2Cc%25%0D%0A");
        assert_eq!(data("a:b,c%\r\n"), "a:b,c%25%0D%0A");
    }

    #[test]
    fn the_summary_is_a_table_that_text_cannot_break() {
        let mut outcome = fixture::broken();
        outcome.verifier.details[0].what = "a | b\n<img src=x> `c` [d](e)".to_owned();
        let text = markdown(&outcome);
        assert!(text.starts_with("### ❌ loadgen: BROKEN: 3 promises were broken by the server\n"), "{text}");
        assert!(text.contains(r"a \| b &lt;img src=x&gt; \`c\` \[d\](e)"), "{text}");
        assert!(text.contains("| ✅ | ack:p99&lt;25ms | 2.1 ms |\n"), "{text}");
        assert!(text.contains("| ack | 30,000 | "), "{text}");
    }
}
