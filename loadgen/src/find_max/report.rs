//! What `find-max` says: its steps, the knee, and the files.

use std::path::Path;

use serde_json::{Value, json};

use super::search::{Search, Trial};
use super::{Ending, Found, Step};
use crate::fault::Fault;
use crate::interrupt::Signal;
use crate::outcome::{Metric, Outcome, Summary};
use crate::results::table::Table;
use crate::results::{files, terminal, units};
use crate::say;

/// All steps, for other programs.
const STEPS: &str = "find-max.json";
/// Which form that file has.
const FORMAT: u32 = 1;

/// Prints the steps and the knee.
pub(super) fn print(found: &Found) -> Result<(), Fault> {
    for line in table(&found.steps).lines("") {
        say::line(&line)?;
    }
    say::line(&format!("\n{}", conclusion(found)))?;
    match found.steps.last().filter(|step| step.ending == Ending::Broken) {
        Some(broken) => terminal::print(&broken.outcome),
        None => Ok(()),
    }
}

/// Writes all steps, and the files of a run for the one that tells most.
pub(super) fn write(directory: &Path, found: &Found) -> Result<(), Fault> {
    files::write_file(directory, STEPS, format!("{}\n", document(found)).as_bytes())?;
    let shown = directory.display();
    let Some(step) = telling(found) else {
        eprintln!("loadgen: {shown}/{STEPS} has the steps so far: none came to its end");
        return Ok(());
    };
    files::write(directory, &step.outcome, &[])?;
    let (rate, word) = (units::rate(step.rate), step.ending.word());
    eprintln!("loadgen: {shown}/{STEPS} has all steps, {shown}/{} the one at {rate} a second, which {word}", files::REPORT);
    Ok(())
}

/// The step whose report is written: the broken promise, else the last at the highest rate that held, else the last that was not cut short.
fn telling(found: &Found) -> Option<&Step> {
    let held = found.search.held().map(|trial| trial.rate);
    let last = found.steps.iter().rfind(|step| step.ending != Ending::CutShort)?;
    let best = found.steps.iter().rev().find(|step| Some(step.rate) == held && step.ending == Ending::Held);
    Some(if last.ending == Ending::Broken { last } else { best.unwrap_or(last) })
}

impl Ending {
    const fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broke(_) => "broke",
            Self::Void(_) => "was void",
            Self::Limited(_) => "met a limit",
            Self::CutShort => "was cut short",
            Self::Broken => "broke a promise",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Held | Self::CutShort | Self::Broken => "",
            Self::Broke(why) | Self::Void(why) | Self::Limited(why) => why,
        }
    }
}

fn answered(outcome: &Outcome) -> f64 {
    outcome.counts.acked as f64 / outcome.seconds.max(f64::MIN_POSITIVE)
}

fn table(steps: &[Step]) -> Table {
    let mut table = Table::with_head(&["asked", "answered", "ack p50", "ack p99", "delivery p99", "server cores", "", ""]);
    for Step { rate, ending, outcome } in steps {
        let time = |metric, of: fn(&Summary) -> u64| {
            outcome.metrics.get(&metric).map_or_else(|| "-".to_owned(), |summary| units::time(of(summary) as f64))
        };
        table.row([
            units::rate(*rate),
            units::rate(answered(outcome)),
            time(Metric::Ack, |summary| summary.p50),
            time(Metric::Ack, |summary| summary.p99),
            time(Metric::Delivery, |summary| summary.p99),
            outcome.server.as_ref().map_or_else(|| "-".to_owned(), |server| units::three_digits(server.cpu)),
            ending.word().to_owned(),
            ending.why().to_owned(),
        ]);
    }
    table
}

fn document(found: &Found) -> Value {
    let Found { steps, search, cut_short } = found;
    let of = |trial: Trial| json!({ "rate": trial.rate, "held": trial.held, "broke": trial.broke });
    let step = |step: &Step| {
        let outcome = &step.outcome;
        let time = |metric, of: fn(&Summary) -> u64| outcome.metrics.get(&metric).map(of);
        json!({
            "rate": step.rate,
            "ending": step.ending.word(),
            "why": step.ending.why(),
            "started_at": outcome.started_at,
            "answered": answered(outcome),
            "ack_p50_us": time(Metric::Ack, |summary| summary.p50),
            "ack_p99_us": time(Metric::Ack, |summary| summary.p99),
            "delivery_p99_us": time(Metric::Delivery, |summary| summary.p99),
            "server_cores": outcome.server.as_ref().map(|server| server.cpu),
        })
    };
    let first = steps.first().map(|step| &step.outcome);
    json!({
        "format": FORMAT,
        "loadgen": env!("CARGO_PKG_VERSION"),
        "command": first.map(|outcome| &outcome.setup.command),
        "machine": first.map(|outcome| &outcome.machine),
        "held": search.held().map(of),
        "broke": search.broke().map(of),
        "cut_short": cut_short.map(Signal::name),
        "conclusion": conclusion(found),
        "steps": steps.iter().map(step).collect::<Vec<Value>>(),
    })
}

/// How many of the steps at a rate held.
fn times(trial: Trial) -> String {
    match (trial.held, trial.held + trial.broke) {
        (1, 1) => "once".to_owned(),
        (held, all) => format!("{held} of {all} times"),
    }
}

/// The highest rate that held before the search had come to its end, and whether a second step has confirmed it.
fn best_so_far(search: &Search) -> String {
    let held_in = |trial: Trial| format!("{} a second, which held {}", units::rate(trial.rate), times(trial));
    match (search.held(), search.confirmed()) {
        (None, _) => "No rate held so far".to_owned(),
        (Some(held), Some(confirmed)) if held == confirmed => format!("The best confirmed step so far: {}", held_in(held)),
        (Some(held), Some(confirmed)) => {
            format!("The best confirmed step so far: {}; not confirmed: {}", held_in(confirmed), held_in(held))
        }
        (Some(held), None) => format!("The best step so far: {}; no rate is confirmed by a second step yet", held_in(held)),
    }
}

/// The knee in a sentence, and how often each of its sides was seen.
fn conclusion(found: &Found) -> String {
    let Found { steps, search, cut_short } = found;
    let rate = |trial: Trial| format!("{} a second", units::rate(trial.rate));
    let held_in = |trial: Trial| format!("{} held {}", rate(trial), times(trial));
    if let Some(broken) = steps.last().filter(|step| step.ending == Ending::Broken) {
        return format!(
            "A promise was broken at {} a second. Mend that first: then ask how much it carries.",
            units::rate(broken.rate)
        );
    }
    let bound = search.broke().map_or_else(String::new, |broke| format!("; {} held {}", rate(broke), times(broke)));
    if let Some(signal) = cut_short {
        let name = signal.name();
        return format!("Cut short by {name}, so where the knee is is not known. {}{bound}.", best_so_far(search));
    }
    let so_far = search.held().map_or_else(|| "No rate held so far".to_owned(), held_in) + &bound;
    let unknown = search.broke().map_or_else(
        || "what the server carries at most is not known".to_owned(),
        |broke| format!("which rate below {} the server carries is not known", rate(broke)),
    );
    if let Some(Step { rate, ending: Ending::Limited(why), outcome }) = steps.last() {
        let (asked, each) = (units::rate(*rate), units::rate(*rate / f64::from(outcome.setup.clients.max(1))));
        return format!(
            "{so_far}. At {asked} a second, {each} of each user, {why}. That is a limit that the server has for each user \
             (--messages-per-second, or --actions-per-second for all but messages), so {unknown}: have more --clients, or run the \
             server with a higher limit (0: none)."
        );
    }
    if let Some(void) = search.void() {
        let why = steps.last().map_or("", |step| step.ending.why());
        return format!("{so_far}. At {} the tester was the bottleneck, so {unknown}: {why}", rate(void));
    }
    if search.next().is_some() {
        return format!("{so_far}. The search did not come to its end, so where the knee is is not known.");
    }
    match (search.held(), search.broke()) {
        (Some(held), Some(broke)) => {
            format!("The knee: {}, {} {}.", held_in(held), rate(broke), times(broke))
        }
        (Some(held), None) => format!("{}, the highest rate that was asked for (--max-rate).", held_in(held)),
        (None, Some(broke)) => format!("Not even {} held; try a lower --start-rate.", rate(broke)),
        (None, None) => "No rate was tried to its end.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    /// What a search finds when each step goes as `goes` says.
    fn searched(max_rate: f64, mut goes: impl FnMut(f64) -> Ending) -> Found {
        let mut found = Found { steps: Vec::new(), search: Search::new(100.0, max_rate), cut_short: None };
        while let Some(rate) = found.search.next() {
            note(&mut found, rate, goes(rate));
        }
        found
    }

    fn note(found: &mut Found, rate: f64, ending: Ending) {
        ending.note(rate, &mut found.search);
        found.steps.push(Step { rate, ending, outcome: fixture::outcome() });
    }

    fn broke() -> Ending {
        Ending::Broke("ack:p99<1ms: 2.00 ms".to_owned())
    }

    #[test]
    fn the_knee_is_told_with_how_often_it_was_seen() {
        let found = searched(1_000.0, |rate| if rate <= 200.0 { Ending::Held } else { broke() });
        assert_eq!(conclusion(&found), "The knee: 197 a second held 2 of 2 times, 206 a second 0 of 2 times.");
        let document = document(&found);
        assert_eq!((&document["held"]["rate"], &document["broke"]["broke"]), (&196.875.into(), &2.into()));
        assert_eq!(document["steps"].as_array().map(Vec::len), Some(found.steps.len()));
        assert_eq!(
            (&document["steps"][2]["ending"], &document["steps"][2]["why"]),
            (&"broke".into(), &"ack:p99<1ms: 2.00 ms".into())
        );
        assert_eq!(telling(&found).map(|step| step.rate), Some(196.875));
        assert!(table(&found.steps).lines("")[3].contains("broke"), "{:#?}", table(&found.steps).lines(""));
    }

    #[test]
    fn what_ended_the_search_is_told() {
        let found = searched(150.0, |_| Ending::Held);
        assert_eq!(conclusion(&found), "150 a second held 2 of 2 times, the highest rate that was asked for (--max-rate).");
        let found = searched(150.0, |_| broke());
        assert_eq!(conclusion(&found), "Not even 100 a second held; try a lower --start-rate.");
        assert_eq!((found.status(), telling(&found).map(|step| step.rate)), (99, Some(100.0)));
        let void = || Ending::Void("it was late".to_owned());
        let found = searched(1_000.0, |rate| if rate < 200.0 { Ending::Held } else { void() });
        let text = conclusion(&found);
        assert!(text.starts_with("150 a second held once. At 225 a second the tester was"), "{text}");
        assert!(text.ends_with("not known: it was late"), "{text}");
        assert_eq!((found.status(), found.steps.len()), (3, 4));
        let found = searched(1_000.0, |rate| if rate < 200.0 { Ending::Held } else { Ending::Broken });
        assert!(conclusion(&found).starts_with("A promise was broken at 225 a second."));
        assert_eq!((found.status(), telling(&found).map(|step| step.rate)), (4, Some(225.0)));
    }

    #[test]
    fn a_limit_for_each_user_is_no_knee_and_what_to_do_is_told() {
        let limited = || Ending::Limited("the server refused 3 requests as too fast (rate_limited)".to_owned());
        let found = searched(1_000.0, |rate| if rate < 200.0 { Ending::Held } else { limited() });
        let text = conclusion(&found);
        let told = "150 a second held once. At 225 a second, 0.23 of each user, the server refused 3 requests as too fast";
        assert!(text.starts_with(told), "{text}");
        assert!(text.contains("--messages-per-second") && text.contains("have more --clients"), "{text}");
        assert_eq!((found.status(), found.steps.len(), telling(&found).map(|step| step.rate)), (3, 3, Some(150.0)));
        assert_eq!(document(&found)["steps"][2]["ending"], "met a limit");
    }

    #[test]
    fn a_rate_that_broke_is_told_whatever_ends_the_search() {
        let limited = || Ending::Limited("the server refused 3 requests as too fast (rate_limited)".to_owned());
        let void = || Ending::Void("it was late".to_owned());
        let at = |rate: f64, last: &dyn Fn() -> Ending| match rate {
            187.5 => last(),
            _ if rate < 187.5 => Ending::Held,
            _ => broke(),
        };
        let bounds = "150 a second held once; 225 a second held 0 of 2 times.";
        for (last, why) in [(&limited as &dyn Fn() -> Ending, "too fast (rate_limited)"), (&void, "was the bottleneck")] {
            let found = searched(1_000.0, |rate| at(rate, last));
            let text = conclusion(&found);
            assert!(text.starts_with(&format!("{bounds} At 188 a second")) && text.contains(why), "{text}");
            assert!(text.contains("so which rate below 225 a second the server carries is not known"), "{text}");
            assert_eq!((found.status(), &document(&found)["broke"]["rate"]), (3, &225.0.into()));
        }
        let mut found = searched(1_000.0, |rate| at(rate, &limited));
        found.steps.pop();
        found.cut_short = Some(Signal::Interrupt);
        let text = conclusion(&found);
        assert!(text.ends_with("by a second step yet; 225 a second held 0 of 2 times."), "{text}");
    }

    #[test]
    fn a_search_that_did_not_come_to_its_end_names_no_knee() {
        let mut found = Found { steps: Vec::new(), search: Search::new(100.0, 1_000.0), cut_short: None };
        assert!(conclusion(&found).starts_with("No rate held so far. The search did not come to its end"));
        note(&mut found, 100.0, Ending::Held);
        assert!(conclusion(&found).starts_with("100 a second held once. The search did not"));
    }

    #[test]
    fn a_search_that_was_cut_short_tells_the_best_step_and_whether_it_is_confirmed() {
        let mut found = Found { steps: Vec::new(), search: Search::new(100.0, 1_000.0), cut_short: Some(Signal::Interrupt) };
        let cut = "Cut short by SIGINT, so where the knee is is not known.";
        assert_eq!(conclusion(&found), format!("{cut} No rate held so far."));
        note(&mut found, 100.0, Ending::CutShort);
        assert_eq!((conclusion(&found), telling(&found).is_none()), (format!("{cut} No rate held so far."), true));
        found.steps.clear();
        for (rate, ending) in [(100.0, Ending::Held), (150.0, Ending::CutShort)] {
            note(&mut found, rate, ending);
        }
        let best = "The best step so far: 100 a second, which held once; no rate is confirmed by a second step yet.";
        assert_eq!(conclusion(&found), format!("{cut} {best}"));
        assert_eq!(telling(&found).map(|step| step.rate), Some(100.0));
        let document = document(&found);
        assert_eq!((&document["cut_short"], &document["steps"][1]["ending"]), (&"SIGINT".into(), &"was cut short".into()));
        assert_eq!((found.status(), Found { cut_short: Some(Signal::Terminate), ..found }.status()), (130, 143));
    }

    #[test]
    fn the_best_confirmed_step_is_told_beside_a_better_one_that_is_not() {
        let mut found = Found { steps: Vec::new(), search: Search::new(100.0, 1_000.0), cut_short: Some(Signal::Interrupt) };
        for (rate, ending) in [(100.0, broke()), (100.0, Ending::Held), (100.0, Ending::Held)] {
            note(&mut found, rate, ending);
        }
        let text = conclusion(&found);
        assert!(text.ends_with("The best confirmed step so far: 100 a second, which held 2 of 3 times."), "{text}");
        note(&mut found, 150.0, Ending::Held);
        let text = conclusion(&found);
        assert!(text.ends_with("which held 2 of 3 times; not confirmed: 150 a second, which held once."), "{text}");
    }
}
