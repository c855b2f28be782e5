//! The figures as tables for spreadsheets: comma-separated, one line of headings, times in microseconds. Every name and number in
//! them is ours, so nothing needs quotes.

use crate::outcome::{Brief, Metric, Outcome, Second};

/// A line for each metric that has values.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let mut text = "metric,count,min_us,mean_us,p50_us,p90_us,p99_us,p999_us,max_us\n".to_owned();
    for (metric, s) in &outcome.metrics {
        let figures = format!("{},{},{:.3},{},{},{},{},{}", s.count, s.min, s.mean, s.p50, s.p90, s.p99, s.p999, s.max);
        text.push_str(&format!("{metric},{figures}\n"));
    }
    text
}

/// A line for each second, with the same columns in every run; what was not measured is empty.
pub(crate) fn timeline(outcome: &Outcome) -> String {
    let mut columns: Vec<String> = [
        "at_seconds",
        "measured",
        "connections",
        "due",
        "sent",
        "acked",
        "delivered",
        "typing_sent",
        "typing_delivered",
        "reads",
        "pages",
        "connects",
        "recoveries",
        "reloads",
        "received_bytes",
        "errors",
        "generator_cpu",
        "server_cpu",
        "server_rss_bytes",
    ]
    .map(str::to_owned)
    .into();
    for metric in Metric::ALL {
        columns.extend(["count", "p50_us", "p99_us", "max_us"].map(|figure| format!("{metric}_{figure}")));
    }
    let mut text = columns.join(",") + "\n";
    for second in &outcome.timeline {
        text.push_str(&(line(second).join(",") + "\n"));
    }
    text
}

fn line(second: &Second) -> Vec<String> {
    let c = &second.counts;
    let mut cells = vec![second.at.to_string(), u8::from(second.measured).to_string()];
    let counts = [
        second.connections,
        c.due,
        c.sent,
        c.acked,
        c.delivered,
        c.typing_sent,
        c.typing_delivered,
        c.reads,
        c.pages,
        c.connects,
        c.recoveries,
        c.reloads,
        c.received_bytes,
        c.error_count(),
    ];
    cells.extend(counts.map(|count| count.to_string()));
    cells.push(format!("{:.4}", second.generator_cpu));
    cells.push(second.server_cpu.map(|cpu| format!("{cpu:.4}")).unwrap_or_default());
    cells.push(second.server_rss.map(|bytes| bytes.to_string()).unwrap_or_default());
    for metric in Metric::ALL {
        cells.extend(match second.latencies.get(&metric) {
            Some(Brief { count, p50, p99, max }) => [count, p50, p99, max].map(u64::to_string),
            None => ["0", "", "", ""].map(str::to_owned),
        });
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn the_summary_has_a_line_for_each_metric() {
        let outcome = fixture::outcome();
        let text = summary(&outcome);
        let ack = &outcome.metrics[&Metric::Ack];
        let line = text.lines().find(|line| line.starts_with("ack,")).unwrap();
        assert_eq!(text.lines().count(), outcome.metrics.len() + 1);
        assert_eq!(
            line,
            format!("ack,30000,{},{:.3},{},{},{},{},{}", ack.min, ack.mean, ack.p50, ack.p90, ack.p99, ack.p999, ack.max)
        );
    }

    #[test]
    fn every_second_has_every_column() {
        let outcome = fixture::outcome();
        let text = timeline(&outcome);
        let columns: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        assert_eq!(columns.len(), 19 + 4 * Metric::ALL.len());
        assert_eq!(text.lines().count(), outcome.timeline.len() + 1);
        assert!(text.lines().all(|line| line.split(',').count() == columns.len()));
        let cell = |row: usize, column: &str| {
            let at = columns.iter().position(|c| *c == column).unwrap();
            text.lines().nth(row).unwrap().split(',').nth(at).unwrap()
        };
        assert_eq!(
            [cell(1, "at_seconds"), cell(1, "measured"), cell(1, "ack_count"), cell(1, "ack_p50_us")],
            ["1", "0", "0", ""]
        );
        assert_eq!([cell(31, "measured"), cell(31, "errors"), cell(31, "ack_count")], ["1", "4", "500"]);
    }
}
