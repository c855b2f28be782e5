//! What a run says, in sentences for whoever asks how many people a machine carries.

use super::units;
use crate::outcome::{Metric, Outcome, Setup, Verdict};

/// What a closed loop leaves out; shown wherever its times are.
pub(crate) const CLOSED_LOOP: &str = "closed loop: latencies leave out waiting";

/// Why there are two times for the same thing.
pub(crate) const COORDINATED_OMISSION: &str = "ack and delivery count from when a message was due, ack_service and delivery_service from when it was really \
     sent. A tester that counts only from there leaves out the time for which a slow server kept messages waiting (coordinated \
     omission). Where the two differ, messages waited: trust the longer one.";

/// Requests and rates of a run that several views show.
pub(crate) struct Rates {
    /// Messages a second that were sent,
    pub(crate) sent: f64,
    /// acknowledged,
    pub(crate) acked: f64,
    /// and arrived, each receiver counted.
    pub(crate) delivered: f64,
    /// Connections a second.
    pub(crate) connects: f64,
    seconds: f64,
}

impl Rates {
    /// Of a run; all zero for one that measured no time.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let (counts, seconds) = (&outcome.counts, outcome.seconds);
        let mut rates = Self { sent: 0.0, acked: 0.0, delivered: 0.0, connects: 0.0, seconds };
        rates.sent = rates.each(counts.sent);
        rates.acked = rates.each(counts.acked);
        rates.delivered = rates.each(counts.delivered);
        rates.connects = rates.each(counts.connects);
        rates
    }

    /// How often in each second something happened that happened so often in the run.
    pub(crate) fn each(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

/// The verdict with its reason, in one line: `FAILED: 1 of 3 gates was not met`.
pub(crate) fn verdict(outcome: &Outcome) -> String {
    let gates = outcome.gates.len() as u64;
    let failed = outcome.gates.iter().filter(|gate| !gate.passed).count() as u64;
    let name = outcome.verdict().name().to_uppercase();
    match outcome.verdict() {
        Verdict::Broken => {
            let breaches = units::counted(outcome.verifier.breaches, "promise was", "promises were");
            format!("{name}: {breaches} broken by the server")
        }
        Verdict::Void => format!("{name}: the tester was the bottleneck, so this says nothing about the server"),
        Verdict::Failed => format!("{name}: {failed} of {} not met", units::counted(gates, "gate was", "gates were")),
        Verdict::Passed if gates == 0 => format!("{name}: every promise was kept; no gates were set"),
        Verdict::Passed => format!("{name}: every promise was kept and {} met", units::counted(gates, "gate was", "gates were")),
    }
}

/// Who did what: `chat, 1,000 people in rooms of 20, 500 messages a second asked for`.
pub(crate) fn asked(outcome: &Outcome) -> String {
    let setup = &outcome.setup;
    let mut text = format!("{}, {}", setup.scenario, people(outcome));
    if let Some(rate) = setup.rate {
        text.push_str(&format!(", {} {} a second asked for", units::rate(rate), rated(&outcome.setup)));
    }
    if setup.closed_loop {
        text.push_str(&format!(" ({CLOSED_LOOP})"));
    }
    text
}

/// What a rate is of: of messages, unless the scenario is about something else.
pub(crate) fn rated(setup: &Setup) -> &'static str {
    match setup.scenario.as_str() {
        "typing" => "beginnings of typing",
        "connect-storm" | "reconnect-storm" => "connections",
        _ => "messages",
    }
}

/// One plain sentence, or two: what the machine carried, and at what latency.
pub(crate) fn sentence(outcome: &Outcome) -> String {
    match outcome.verdict() {
        Verdict::Broken => {
            let broken = units::counted(outcome.verifier.breaches, "promise", "promises");
            return format!("The server broke {broken} to {}: mend that before its figures mean anything.", people(outcome));
        }
        Verdict::Void => {
            return "Nothing can be said about the server, because the tester itself was the bottleneck: see above for what was in \
                    its way."
                .to_owned();
        }
        Verdict::Failed | Verdict::Passed => {}
    }
    let mut text = people(outcome);
    if outcome.counts.acked > 0 {
        text.push_str(&format!(", {} messages a second", units::rate(Rates::of(outcome).acked)));
    }
    let mut clauses = latencies(outcome);
    clauses.extend(server(outcome));
    if clauses.is_empty() {
        clauses.push("nothing was timed".to_owned());
    }
    text.push_str(&format!(": {}.", clauses.join("; ")));
    if outcome.setup.closed_loop {
        text.push_str(" Closed loop: each sender waited for its reply, so these latencies leave out waiting.");
    }
    text.push_str(&errors(outcome));
    text
}

fn people(outcome: &Outcome) -> String {
    let rooms = rooms(&outcome.setup);
    let people = units::counted(u64::from(outcome.setup.clients), "person", "people");
    if rooms.is_empty() { people } else { format!("{people} {rooms}") }
}

/// `in rooms of 20`, `in rooms of 2, 8 and 50`; empty where there are none.
pub(crate) fn rooms(setup: &Setup) -> String {
    let sizes: Vec<&str> = setup.group_size.split(',').filter_map(|part| part.split(':').next()).collect();
    match sizes.as_slice() {
        [] | [""] => String::new(),
        [one] => format!("in rooms of {one}"),
        [others @ .., last] => format!("in rooms of {} and {last}", others.join(", ")),
    }
}

/// What 99 of 100 had to wait for, of what this run was about.
fn latencies(outcome: &Outcome) -> Vec<String> {
    let p99 = |metric| outcome.metrics.get(&metric).filter(|s| s.count > 0).map(|s| units::time(s.p99 as f64));
    let mut clauses = Vec::new();
    match (p99(Metric::Ack), p99(Metric::Delivery)) {
        (Some(ack), Some(delivery)) => {
            clauses.push(format!("99 % of messages were stored and acknowledged within {ack} and delivered within {delivery}"));
        }
        (Some(ack), None) => clauses.push(format!("99 % of messages were stored and acknowledged within {ack}")),
        (None, Some(delivery)) => clauses.push(format!("99 % of messages were delivered within {delivery}")),
        (None, None) => {}
    }
    if clauses.is_empty()
        && let Some(typing) = p99(Metric::Typing)
    {
        clauses.push(format!("99 % of typing was seen within {typing}"));
    }
    if let Some(recovery) = p99(Metric::Recovery).filter(|_| outcome.setup.scenario == "reconnect-storm" || clauses.is_empty()) {
        let returns = units::counted(outcome.counts.recoveries, "return", "returns");
        clauses.push(format!("99 % of {returns} had caught up within {recovery}"));
    }
    if clauses.is_empty()
        && outcome.counts.connects > 0
        && let Some(connect) = p99(Metric::Connect)
    {
        let rate = units::rate(Rates::of(outcome).connects);
        clauses.push(format!("{rate} connections a second, 99 % of them open within {connect}"));
    }
    clauses
}

fn server(outcome: &Outcome) -> Option<String> {
    let server = outcome.server.as_ref()?;
    let cores = outcome.machine.cores;
    let of = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    Some(format!(
        "the server used {} of {of} and {} of memory at most, {} for each connection",
        units::three_digits(server.cpu),
        units::bytes(server.rss_peak as f64),
        units::bytes(server.bytes_per_connection),
    ))
}

fn errors(outcome: &Outcome) -> String {
    let (errors, requests) = (outcome.counts.error_count(), outcome.counts.requests());
    match (errors, requests) {
        (0, _) => String::new(),
        (errors, 0) => format!(" {} occurred.", units::counted(errors, "error", "errors")),
        (errors, requests) => {
            format!(
                " {} occurred, {} of all requests.",
                units::counted(errors, "error", "errors"),
                units::share(errors as f64 / requests as f64)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Gate;
    use crate::results::fixture;

    #[test]
    fn the_sentence_says_who_how_many_how_fast_and_for_how_much() {
        let sentence = sentence(&fixture::outcome());
        assert!(
            sentence.starts_with("1,000 people in rooms of 20, 500 messages a second: 99 % of messages were stored and"),
            "{sentence}"
        );
        assert!(sentence.contains("the server used 0.41 of 2 cores"), "{sentence}");
        assert!(!sentence.contains("Closed loop"), "{sentence}");
    }

    #[test]
    fn a_closed_loop_says_what_it_leaves_out() {
        let mut outcome = fixture::outcome();
        outcome.setup.closed_loop = true;
        outcome.setup.rate = None;
        assert!(sentence(&outcome).contains("Closed loop:"));
        assert!(asked(&outcome).ends_with("(closed loop: latencies leave out waiting)"));
    }

    #[test]
    fn void_and_broken_runs_conclude_nothing_about_latency() {
        let mut outcome = fixture::outcome();
        outcome.generator.void.push("behind".to_owned());
        assert!(sentence(&outcome).contains("Nothing can be said") && !sentence(&outcome).contains("99 %"));
        outcome.verifier.breaches = 2;
        assert!(sentence(&outcome).starts_with("The server broke 2 promises") && !sentence(&outcome).contains("99 %"));
    }

    #[test]
    fn every_verdict_has_its_reason() {
        let mut outcome = fixture::outcome();
        outcome.gates.truncate(1);
        assert_eq!(verdict(&outcome), "PASSED: every promise was kept and 1 gate was met");
        outcome.gates.push(Gate { condition: "ack:p99<1us".to_owned(), measured: "2 µs".to_owned(), passed: false });
        assert_eq!(verdict(&outcome), "FAILED: 1 of 2 gates were not met");
        outcome.gates.clear();
        assert_eq!(verdict(&outcome), "PASSED: every promise was kept; no gates were set");
    }

    #[test]
    fn a_run_without_messages_speaks_of_what_it_was_about() {
        let mut outcome = fixture::outcome();
        for metric in [Metric::Ack, Metric::AckService, Metric::Delivery, Metric::DeliveryService] {
            outcome.metrics.remove(&metric);
        }
        outcome.counts.acked = 0;
        outcome.setup.scenario = "typing".to_owned();
        assert_eq!(asked(&outcome), "typing, 1,000 people in rooms of 20, 500 beginnings of typing a second asked for");
        assert!(sentence(&outcome).contains("99 % of typing was seen within"));
        outcome.metrics.remove(&Metric::Typing);
        assert!(sentence(&outcome).contains("had caught up within"));
        outcome.metrics.clear();
        outcome.server = None;
        assert!(sentence(&outcome).contains("nothing was timed"));
        outcome.counts.errors = [("no_reply".to_owned(), 1)].into();
        assert!(sentence(&outcome).contains("1 error occurred"), "{}", sentence(&outcome));
        outcome.setup.group_size = "2:60,8:30,50:10".to_owned();
        assert!(sentence(&outcome).starts_with("1,000 people in rooms of 2, 8 and 50:"));
    }
}
