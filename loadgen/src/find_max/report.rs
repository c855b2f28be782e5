//! What `find-max` says: its steps, the knee, and the files.

use std::path::Path;

use serde_json::{Value, json};

use super::search::{Search, Trial};
use super::{Ending, Step};
use crate::fault::Fault;
use crate::outcome::{Metric, Outcome, Summary};
use crate::results::table::Table;
use crate::results::{files, terminal, units};
use crate::say;

/// All steps, for other programs.
const STEPS: &str = "find-max.json";
/// Which form that file has.
const FORMAT: u32 = 1;

/// Prints the steps and the knee.
pub(super) fn print(steps: &[Step], search: &Search) -> Result<(), Fault> {
    for line in table(steps).lines("") {
        say::line(&line)?;
    }
    say::line(&format!("\n{}", conclusion(steps, search)))?;
    match steps.last().filter(|step| step.ending == Ending::Broken) {
        Some(broken) => terminal::print(&broken.outcome),
        None => Ok(()),
    }
}

/// Writes all steps, and the files of a run for the one that tells most.
pub(super) fn write(directory: &Path, steps: &[Step], search: &Search) -> Result<(), Fault> {
    files::write_file(directory, STEPS, format!("{}\n", document(steps, search)).as_bytes())?;
    let shown = directory.display();
    let Some(step) = telling(steps, search) else {
        eprintln!("loadgen: {shown}/{STEPS} has the steps so far: none came to its end");
        return Ok(());
    };
    files::write(directory, &step.outcome, &[])?;
    let (rate, word) = (units::rate(step.rate), step.ending.word());
    eprintln!("loadgen: {shown}/{STEPS} has all steps, {shown}/{} the one at {rate} a second, which {word}", files::REPORT);
    Ok(())
}

/// The step whose report is written: the broken promise, else the last at the highest rate that held, else the last of all.
fn telling<'a>(steps: &'a [Step], search: &Search) -> Option<&'a Step> {
    let held = search.held().map(|trial| trial.rate);
    let last = steps.last()?;
    let best = steps.iter().rev().find(|step| Some(step.rate) == held && step.ending == Ending::Held);
    Some(if last.ending == Ending::Broken { last } else { best.unwrap_or(last) })
}

impl Ending {
    const fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broke(_) => "broke",
            Self::Void(_) => "was void",
            Self::Broken => "broke a promise",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Held | Self::Broken => "",
            Self::Broke(why) | Self::Void(why) => why,
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

fn document(steps: &[Step], search: &Search) -> Value {
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
        "conclusion": conclusion(steps, search),
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

/// The knee in a sentence, and how often each of its sides was seen.
fn conclusion(steps: &[Step], search: &Search) -> String {
    let rate = |trial: Trial| format!("{} a second", units::rate(trial.rate));
    let held_in = |trial: Trial| format!("{} held {}", rate(trial), times(trial));
    if let Some(broken) = steps.last().filter(|step| step.ending == Ending::Broken) {
        return format!(
            "A promise was broken at {} a second. Mend that first: then ask how much it carries.",
            units::rate(broken.rate)
        );
    }
    let so_far = search.held().map_or_else(|| "No rate held so far".to_owned(), held_in);
    if let Some(void) = search.void() {
        let why = steps.last().map_or("", |step| step.ending.why());
        return format!(
            "{so_far}. At {} the tester was the bottleneck, so what the server carries at most is not known: {why}",
            rate(void)
        );
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

    /// Steps as a search has them when each goes as it says.
    fn searched(max_rate: f64, mut goes: impl FnMut(f64) -> Ending) -> (Vec<Step>, Search) {
        let mut search = Search::new(100.0, max_rate);
        let mut steps = Vec::new();
        while let Some(rate) = search.next() {
            let ending = goes(rate);
            match &ending {
                Ending::Held => search.note(rate, true),
                Ending::Broke(_) => search.note(rate, false),
                Ending::Void(_) => search.note_void(rate),
                Ending::Broken => search.end(),
            }
            steps.push(Step { rate, ending, outcome: fixture::outcome() });
        }
        (steps, search)
    }

    fn broke() -> Ending {
        Ending::Broke("ack:p99<1ms: 2.00 ms".to_owned())
    }

    #[test]
    fn the_knee_is_told_with_how_often_it_was_seen() {
        let (steps, search) = searched(1_000.0, |rate| if rate <= 200.0 { Ending::Held } else { broke() });
        assert_eq!(conclusion(&steps, &search), "The knee: 197 a second held 2 of 2 times, 206 a second 0 of 2 times.");
        let document = document(&steps, &search);
        assert_eq!((&document["held"]["rate"], &document["broke"]["broke"]), (&196.875.into(), &2.into()));
        assert_eq!(document["steps"].as_array().map(Vec::len), Some(steps.len()));
        assert_eq!(
            (&document["steps"][2]["ending"], &document["steps"][2]["why"]),
            (&"broke".into(), &"ack:p99<1ms: 2.00 ms".into())
        );
        assert_eq!(telling(&steps, &search).map(|step| step.rate), Some(196.875));
        assert!(table(&steps).lines("")[3].contains("broke"), "{:#?}", table(&steps).lines(""));
    }

    #[test]
    fn what_ended_the_search_is_told() {
        let (steps, search) = searched(150.0, |_| Ending::Held);
        assert_eq!(
            conclusion(&steps, &search),
            "150 a second held 2 of 2 times, the highest rate that was asked for (--max-rate)."
        );
        let (steps, search) = searched(150.0, |_| broke());
        assert_eq!(conclusion(&steps, &search), "Not even 100 a second held; try a lower --start-rate.");
        assert_eq!((super::super::status(&steps, &search), telling(&steps, &search).map(|step| step.rate)), (99, Some(100.0)));
        let (steps, search) =
            searched(1_000.0, |rate| if rate < 200.0 { Ending::Held } else { Ending::Void("it was late".to_owned()) });
        let text = conclusion(&steps, &search);
        assert!(text.starts_with("150 a second held once. At 225 a second the tester was"), "{text}");
        assert!(text.ends_with("not known: it was late"), "{text}");
        assert_eq!((super::super::status(&steps, &search), steps.len()), (3, 4));
        let (steps, search) = searched(1_000.0, |rate| if rate < 200.0 { Ending::Held } else { Ending::Broken });
        assert!(conclusion(&steps, &search).starts_with("A promise was broken at 225 a second."));
        assert_eq!((super::super::status(&steps, &search), telling(&steps, &search).map(|step| step.rate)), (4, Some(225.0)));
    }

    #[test]
    fn a_search_that_was_interrupted_names_no_knee() {
        let (mut steps, mut search) = (Vec::new(), Search::new(100.0, 1_000.0));
        assert!(conclusion(&steps, &search).starts_with("No rate held so far. The search did not come to its end"));
        search.note(100.0, true);
        steps.push(Step { rate: 100.0, ending: Ending::Held, outcome: fixture::outcome() });
        assert!(conclusion(&steps, &search).starts_with("100 a second held once. The search did not"));
    }
}
