//! The summary on standard output: what passed and failed first, the conclusion last, so that both are on the screen.

use std::io::{self, IsTerminal};

use super::conclusion::{self, Rates};
use super::table::Table;
use super::units;
use crate::fault::Fault;
use crate::outcome::{Breach, Metric, Outcome, Verdict};
use crate::say;

/// Width at which sentences are broken.
const WIDTH: usize = 100;

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Escape sequences of terminals.
    Ansi,
    /// Text only.
    Plain,
}

impl Colour {
    /// Colours on a terminal, unless `NO_COLOR` says otherwise.
    fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !refused { Self::Ansi } else { Self::Plain }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn doubtful(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    fn head(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// Prints the summary.
///
/// # Errors
///
/// When standard output takes no more.
pub(crate) fn print(outcome: &Outcome) -> Result<(), Fault> {
    say::line(summary(outcome, Colour::of_stdout()).trim_end())
}

/// The whole summary.
pub(crate) fn summary(outcome: &Outcome, colour: Colour) -> String {
    let mut lines = Vec::new();
    let sections = [judgement, metrics, rates, errors, server, tester, promises];
    for section in sections {
        let section = section(outcome, colour);
        if !section.is_empty() {
            lines.extend(section);
            lines.push(String::new());
        }
    }
    lines.extend(wrapped("", &conclusion::sentence(outcome)).into_iter().map(|line| colour.head(&visible(&line))));
    lines.join("\n") + "\n"
}

/// The verdict, the gates, why the run is void, and the promises that were broken.
fn judgement(outcome: &Outcome, colour: Colour) -> Vec<String> {
    let verdict = conclusion::verdict(outcome);
    let painted = match outcome.verdict() {
        Verdict::Broken | Verdict::Failed => colour.bad(&verdict),
        Verdict::Void => colour.doubtful(&verdict),
        Verdict::Passed => colour.good(&verdict),
    };
    let mut lines = vec![painted, format!("  {}", visible(&conclusion::asked(outcome)))];
    let mut table = Table::default();
    for gate in &outcome.gates {
        table.row([visible(&gate.condition), visible(&gate.measured)]);
    }
    for (gate, line) in outcome.gates.iter().zip(table.lines("  ")) {
        lines.push(format!("  {}{line}", if gate.passed { colour.good("  ok") } else { colour.bad("FAIL") }));
    }
    for reason in &outcome.generator.void {
        lines.extend(wrapped("  void: ", &visible(reason)));
    }
    for breach in &outcome.verifier.details {
        lines.extend(shown_breach(breach, colour));
    }
    let hidden = outcome.verifier.breaches.saturating_sub(outcome.verifier.details.len() as u64);
    if hidden > 0 && !outcome.verifier.details.is_empty() {
        lines.push(format!("  and {} more", units::whole(hidden)));
    }
    lines
}

fn shown_breach(breach: &Breach, colour: Colour) -> Vec<String> {
    let seq = breach.seq.map(|seq| format!(" seq {seq}")).unwrap_or_default();
    let at = breach.at_ms as f64 / 1e3;
    let place = format!("{at:.3} s, conversation {}{seq}, seen by {}", breach.conversation, breach.user);
    let mut lines = vec![format!("  {} {}", colour.bad(&visible(&breach.kind)), visible(&place))];
    lines.extend(wrapped("    ", &visible(&breach.what)));
    if !breach.around.is_empty() {
        lines.push("    the last events there, oldest first:".to_owned());
        lines.extend(breach.around.iter().map(|event| format!("      {}", visible(event))));
    }
    lines
}

fn metrics(outcome: &Outcome, colour: Colour) -> Vec<String> {
    let present: Vec<_> = outcome.metrics.iter().filter(|(_, summary)| summary.count > 0).collect();
    if present.is_empty() {
        return Vec::new();
    }
    let mut table = Table::with_head(&["times", "count", "p50", "p90", "p99", "p99.9", "max"]);
    for (metric, summary) in &present {
        let times = [summary.p50, summary.p90, summary.p99, summary.p999, summary.max];
        let cells = [metric.name().to_owned(), units::whole(summary.count)];
        table.row(cells.into_iter().chain(times.into_iter().map(|time| units::time(time as f64))));
    }
    let mut lines = table.lines("  ");
    lines[0] = colour.head(&lines[0]);
    if outcome.setup.closed_loop {
        lines.push(format!("  {}", colour.doubtful(conclusion::CLOSED_LOOP)));
    } else if [Metric::AckService, Metric::DeliveryService]
        .iter()
        .any(|service| present.iter().any(|(metric, _)| *metric == service))
    {
        lines.extend(wrapped("  ", conclusion::COORDINATED_OMISSION));
    }
    lines
}

fn rates(outcome: &Outcome, colour: Colour) -> Vec<String> {
    let (rates, counts) = (Rates::of(outcome), &outcome.counts);
    let mut table = Table::with_head(&["rates", "a second", "in all"]);
    if let Some(asked) = outcome.setup.rate {
        let due = if counts.due > 0 { units::whole(counts.due) } else { "-".to_owned() };
        table.row([format!("{} asked for", conclusion::rated(&outcome.setup)), units::rate(asked), due]);
    }
    let mut row = |name: &str, rate: f64, count: u64| table.row([name.to_owned(), units::rate(rate), units::whole(count)]);
    if counts.sent > 0 || counts.due > 0 {
        row("messages sent", rates.sent, counts.sent);
        row("acknowledged", rates.acked, counts.acked);
        row("deliveries", rates.delivered, counts.delivered);
    }
    let others = [
        ("typing sent", counts.typing_sent),
        ("typing delivered", counts.typing_delivered),
        ("marked as read", counts.reads),
        ("pages", counts.pages),
        ("returns", counts.recoveries),
        ("returns that had to load history", counts.reloads),
    ];
    for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        row(name, rates.each(count), count);
    }
    let mut lines = table.lines("  ");
    lines[0] = colour.head(&lines[0]);
    let (window, warmup) = (shown(outcome.seconds), shown(outcome.setup.warmup_seconds));
    lines.push(format!("  measured for {window}, after {warmup} that do not count"));
    lines
}

/// A length of time: whole seconds without digits that say nothing.
fn shown(seconds: f64) -> String {
    if seconds.fract() == 0.0 { format!("{seconds:.0} s") } else { units::time(seconds * 1e6) }
}

fn errors(outcome: &Outcome, colour: Colour) -> Vec<String> {
    if outcome.counts.errors.is_empty() {
        return vec![format!("  {}  none", colour.head("errors"))];
    }
    let requests = outcome.counts.requests();
    let mut table = Table::with_head(&["errors", "count", "of all requests"]);
    for (name, &count) in &outcome.counts.errors {
        let share = if requests > 0 { units::share(count as f64 / requests as f64) } else { "-".to_owned() };
        table.row([visible(name), units::whole(count), share]);
    }
    let mut lines = table.lines("  ");
    lines[0] = colour.bad(&lines[0]);
    lines
}

fn server(outcome: &Outcome, colour: Colour) -> Vec<String> {
    let Some(server) = &outcome.server else {
        return vec![format!("  {}  not watched: --server-pid PID shows its processor time and memory", colour.head("server"))];
    };
    let mut table = Table::with_head(&["server"]);
    table.row(["cores used".to_owned(), format!("{} of {}", units::three_digits(server.cpu), outcome.machine.cores)]);
    let each = server.us_per_delivery.map_or_else(|| "-".to_owned(), |us| format!("{} µs", units::three_digits(us)));
    table.row(["processor time for each delivery".to_owned(), each]);
    table.row([
        "memory before, after".to_owned(),
        format!("{}, {}", units::bytes(server.rss_before as f64), units::bytes(server.rss_after as f64)),
    ]);
    table.row(["memory at most".to_owned(), units::bytes(server.rss_peak as f64)]);
    table.row(["memory for each connection".to_owned(), units::bytes(server.bytes_per_connection)]);
    let mut lines = table.lines("  ");
    lines[0] = colour.head(&lines[0]);
    lines
}

fn tester(outcome: &Outcome, colour: Colour) -> Vec<String> {
    let generator = &outcome.generator;
    let used = match outcome.timeline.iter().any(|second| second.measured) {
        true => format!(
            "busiest thread {} of a core, all {} cores",
            units::share(generator.busiest_thread),
            units::three_digits(generator.cpu)
        ),
        false => "processor not measured in less than a second".to_owned(),
    };
    let mut line = format!("  {}  {used}", colour.head("tester"));
    if let Some(lag) = outcome.metrics.get(&Metric::Lag).filter(|lag| lag.count > 0) {
        line.push_str(&format!(", late by {} (p99) and {} at most", units::time(lag.p99 as f64), units::time(lag.max as f64)));
    }
    vec![line]
}

fn promises(outcome: &Outcome, colour: Colour) -> Vec<String> {
    let v = &outcome.verifier;
    let checked = format!(
        "checked {} in {}, {} that every member had to see, {} that had to be whole, {} that had to end",
        units::counted(v.events, "event", "events"),
        units::counted(v.conversations, "conversation", "conversations"),
        units::counted(v.acked, "acknowledged message", "acknowledged messages"),
        units::counted(v.recoveries, "return", "returns"),
        units::counted(v.typing, "typing indicator", "typing indicators"),
    );
    let mut lines = wrapped("  promises  ", &checked);
    lines[0] = lines[0].replacen("promises", &colour.head("promises"), 1);
    lines
}

/// Text of others for a terminal: control characters are shown, not obeyed.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Lines of at most [`WIDTH`] characters, where the words allow; the first after `indent`, the others below it.
fn wrapped(indent: &str, text: &str) -> Vec<String> {
    let hanging = " ".repeat(indent.chars().count());
    let (mut lines, mut line, mut empty) = (Vec::new(), indent.to_owned(), true);
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, hanging.clone()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Gate;
    use crate::results::fixture;

    fn at(text: &str, what: &str) -> usize {
        text.find(what).unwrap_or_else(|| panic!("{what} is in {text}"))
    }

    #[test]
    fn gates_come_first_and_the_conclusion_last() {
        let mut outcome = fixture::outcome();
        outcome.gates.push(Gate { condition: "ack:p99<1us".to_owned(), measured: "2 µs".to_owned(), passed: false });
        let text = summary(&outcome, Colour::Plain);
        assert!(text.starts_with("FAILED: 1 of 3 gates were not met\n"), "{text}");
        assert!(at(&text, "  FAIL  ack:p99<1us") < at(&text, "  times"));
        assert!(at(&text, "coordinated") < at(&text, "  rates"));
        assert!(text.trim_end().ends_with("of all requests."), "{text}");
    }

    #[test]
    fn plain_text_has_no_escapes_and_colour_has() {
        let mut outcome = fixture::broken();
        outcome.verifier.details[0].what = "a\x1b[2Jb".to_owned();
        let text = summary(&outcome, Colour::Plain);
        assert!(!text.contains('\x1b'), "{text}");
        assert!(text.contains(r"a\u{1b}[2Jb"), "{text}");
        assert!(summary(&outcome, Colour::Ansi).starts_with("\x1b[1;31mBROKEN"));
    }

    #[test]
    fn a_breach_is_shown_with_what_was_around_it() {
        let text = summary(&fixture::broken(), Colour::Plain);
        assert!(text.starts_with("BROKEN: 3 promises were broken by the server\n"), "{text}");
        assert!(
            text.contains("gap 12.345 s, conversation 0197c0de-0000-7000-8000-000000000007 seq 42, seen by user-17"),
            "{text}"
        );
        assert!(text.contains("      seq 41 message_created by user-3"), "{text}");
        assert!(text.contains("  and 2 more"), "{text}");
    }

    #[test]
    fn void_and_closed_loop_are_said() {
        let mut outcome = fixture::outcome();
        outcome.setup.closed_loop = true;
        outcome.generator.void.push("the busiest thread used 98 % of a core".to_owned());
        let text = summary(&outcome, Colour::Plain);
        assert!(text.starts_with("VOID: "), "{text}");
        assert!(text.contains("  void: the busiest thread used 98 % of a core"));
        assert_eq!(text.matches(conclusion::CLOSED_LOOP).count(), 2, "{text}");
        assert!(!text.contains("coordinated omission"), "{text}");
    }

    #[test]
    fn a_tester_that_was_not_measured_is_not_said_to_be_idle() {
        let mut outcome = fixture::outcome();
        assert!(summary(&outcome, Colour::Plain).contains("  tester  busiest thread "));
        outcome.timeline.iter_mut().for_each(|second| second.measured = false);
        assert!(summary(&outcome, Colour::Plain).contains("  tester  processor not measured in less than a second"));
    }

    #[test]
    fn errors_are_named_and_shared_out() {
        let mut outcome = fixture::outcome();
        outcome.counts.errors.clear();
        assert!(summary(&outcome, Colour::Plain).contains("errors  none"));
        outcome.counts.errors.insert("no_reply".to_owned(), 3);
        assert!(summary(&outcome, Colour::Plain).contains("no_reply"));
    }
}
