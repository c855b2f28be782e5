//! The report: one page with everything in it, that fetches nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{baseline, conclusion, percentiles};
use crate::fault::Fault;
use crate::outcome::{Brief, Counts, Metric, Outcome, Second};

const TEMPLATE: &str = include_str!("report.html");
const STYLE: &str = include_str!("report.css");
const CHART: &str = include_str!("chart.js");
const SCRIPT: &str = include_str!("report.js");

/// Most points of a chart over time; longer runs show several seconds as one.
const MAX_POINTS: usize = 1_200;

/// The page, with an earlier run beside this one where `base` is given.
///
/// # Errors
///
/// When a histogram cannot be read.
pub(crate) fn page(outcome: &Outcome, base: Option<&Outcome>) -> Result<String, Fault> {
    let data = embedded(&data(outcome, base)?);
    // The pieces are put in from the last to the first place, so that nothing looks for a mark within them.
    let (head, rest) = split(TEMPLATE, "{{style}}");
    let (body, rest) = split(rest, "{{data}}");
    let (between, tail) = split(rest, "{{script}}");
    Ok([head, STYLE, body, &data, between, CHART, SCRIPT, tail].concat())
}

fn split<'a>(text: &'a str, mark: &str) -> (&'a str, &'a str) {
    text.split_once(mark).expect("the template is part of this program and has the mark")
}

/// JSON that cannot end the element it stands in: `<` is written as its escape.
fn embedded(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

fn data(outcome: &Outcome, base: Option<&Outcome>) -> Result<Value, Fault> {
    let metrics: Vec<Value> = metrics(outcome)?;
    Ok(json!({
        "verdict": outcome.verdict().name(),
        "headline": conclusion::verdict(outcome),
        "asked": conclusion::asked(outcome),
        "rooms": conclusion::rooms(&outcome.setup),
        "rated": conclusion::rated(&outcome.setup),
        "sentence": conclusion::sentence(outcome),
        "loadgen": outcome.loadgen,
        "started_at": outcome.started_at,
        "seconds": outcome.seconds,
        "setup": outcome.setup,
        "machine": outcome.machine,
        "counts": outcome.counts,
        "requests": outcome.counts.requests(),
        "metrics": metrics,
        "timeline": timeline(&outcome.timeline),
        "generator": outcome.generator,
        "server": outcome.server,
        "verifier": outcome.verifier,
        "gates": outcome.gates,
        "omission": conclusion::COORDINATED_OMISSION,
        "closed_loop": conclusion::CLOSED_LOOP,
        "base": base.map(|base| earlier(base, outcome)).transpose()?,
    }))
}

fn metrics(outcome: &Outcome) -> Result<Vec<Value>, Fault> {
    let present = outcome.metrics.iter().filter(|(_, summary)| summary.count > 0);
    let one = |(metric, summary): (&Metric, &crate::outcome::Summary)| {
        let points = percentiles::points(&summary.decode()?);
        let curve: Vec<(f64, u64)> = points.into_iter().map(|point| (point.quantile, point.value)).collect();
        Ok(json!({
            "name": metric.name(),
            "meaning": metric.meaning(),
            "count": summary.count,
            "min": summary.min,
            "mean": summary.mean,
            "p50": summary.p50,
            "p90": summary.p90,
            "p99": summary.p99,
            "p999": summary.p999,
            "max": summary.max,
            "curve": curve,
        }))
    };
    present.map(one).collect()
}

/// What is shown of the run that this one is compared with.
fn earlier(base: &Outcome, outcome: &Outcome) -> Result<Value, Fault> {
    Ok(json!({ "started_at": base.started_at, "metrics": metrics(base)?, "remarks": baseline::remarks(base, outcome) }))
}

/// Columns over time: rates a second, times in microseconds, the worst of each stretch.
fn timeline(seconds: &[Second]) -> Value {
    let stretch = seconds.len().div_ceil(MAX_POINTS).max(1);
    let mut start = 0.0;
    let mut points = Vec::new();
    for part in seconds.chunks(stretch) {
        let end = part.last().map_or(start, |second| second.at);
        points.push(point(part, end - start));
        start = end;
    }
    json!({ "seconds_each": stretch, "points": points })
}

fn point(part: &[Second], length: f64) -> Value {
    let mut counts = Counts::default();
    let mut latencies: BTreeMap<Metric, Brief> = BTreeMap::new();
    for second in part {
        counts.merge(&second.counts);
        for (metric, brief) in &second.latencies {
            let worst = latencies.entry(*metric).or_default();
            worst.count += brief.count;
            worst.p50 = worst.p50.max(brief.p50);
            worst.p99 = worst.p99.max(brief.p99);
            worst.max = worst.max.max(brief.max);
        }
    }
    let rate = |count: u64| if length > 0.0 { count as f64 / length } else { 0.0 };
    let largest = |values: &mut dyn Iterator<Item = f64>| values.reduce(f64::max);
    let last = part.last();
    json!({
        "at": last.map(|second| second.at),
        "measured": last.is_some_and(|second| second.measured),
        "connections": last.map(|second| second.connections),
        "due": rate(counts.due),
        "sent": rate(counts.sent),
        "acked": rate(counts.acked),
        "delivered": rate(counts.delivered),
        "typing": rate(counts.typing_delivered),
        "connects": rate(counts.connects),
        "errors": counts.error_count(),
        "latencies": latencies,
        "generator_cpu": largest(&mut part.iter().map(|second| second.generator_cpu)),
        "server_cpu": largest(&mut part.iter().filter_map(|second| second.server_cpu)),
        "server_rss": part.iter().filter_map(|second| second.server_rss).max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    /// What stands between the marks of the data in a page.
    fn data_of(page: &str) -> &str {
        let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
        rest.split_once("</script>").unwrap().0
    }

    #[test]
    fn text_of_others_cannot_leave_the_data() {
        let mut outcome = fixture::broken();
        let hostile = "</script><script>alert(1)</script><!-- {{script}} \u{2028}";
        outcome.setup.url = hostile.to_owned();
        outcome.verifier.details[0].what = hostile.to_owned();
        let page = page(&outcome, None).unwrap();
        assert!(!page.contains("<script>alert"), "the text is data");
        assert_eq!(page.matches("<script").count(), 2, "the data and the program");
        let data: Value = serde_json::from_str(data_of(&page)).unwrap();
        assert_eq!(data["setup"]["url"], hostile);
        assert_eq!(data["verifier"]["details"][0]["what"], hostile);
    }

    #[test]
    fn the_page_fetches_nothing() {
        let page = page(&fixture::outcome(), None).unwrap();
        assert!(page.contains("default-src 'none'"));
        for remote in ["http://www", "https://", "@import", "url(", " src=", "fetch(", "XMLHttpRequest", "import("] {
            let allowed = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!allowed.contains(remote), "{remote}");
        }
        for mark in ["{{style}}", "{{data}}", "{{script}}"] {
            assert!(!page.contains(mark), "{mark}");
        }
    }

    #[test]
    fn the_program_inserts_text_only() {
        for script in [CHART, SCRIPT] {
            for dangerous in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!script.contains(dangerous), "{dangerous}");
            }
        }
    }

    #[test]
    fn long_runs_are_drawn_with_bounded_points() {
        let one = fixture::outcome().timeline[30].clone();
        let seconds: Vec<Second> = (1..=3_000).map(|at| Second { at: f64::from(at), ..one.clone() }).collect();
        let value = timeline(&seconds);
        assert_eq!(value["seconds_each"], 3);
        assert_eq!(value["points"].as_array().unwrap().len(), 1_000);
        assert_eq!(value["points"][10]["sent"], 500.0);
        assert_eq!(value["points"][10]["latencies"]["ack"]["count"], 1_500);
        assert_eq!(timeline(&[])["points"], json!([]));
    }

    #[test]
    fn an_earlier_run_is_beside_it() {
        let outcome = fixture::outcome();
        let data: Value = serde_json::from_str(data_of(&page(&outcome, Some(&outcome)).unwrap())).unwrap();
        assert_eq!(data["base"]["metrics"][0]["name"], "connect");
        assert!(data["metrics"][3]["curve"].as_array().unwrap().len() > 20);
    }
}
