//! Counters in the text format of Prometheus. Each worker counts for itself; labels have few values.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::{CloseCode, ErrorCode};

/// A number with one writer, read by anybody.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, from the one thread that writes: a load and a store, no locked instruction.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Sets, from the one thread that writes.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds one, from any thread.
    pub fn add_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many bounds a [`Histogram`] has.
const BOUNDS: usize = 55;

/// In microseconds, from 50 on, each a quarter more than the one before; the last is about nine seconds.
const BOUND_MICROS: [u64; BOUNDS] = {
    let (mut bounds, mut at) = ([50; BOUNDS], 1);
    while at < BOUNDS {
        bounds[at] = bounds[at - 1] * 5 / 4;
        at += 1;
    }
    bounds
};

/// Counts how long something took. Recorded and read by anybody.
#[derive(Debug)]
pub struct Histogram {
    /// How many lay between each bound and the one before it; the last is for what was longer than all.
    counts: [AtomicU64; BOUNDS + 1],
    micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one more.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[BOUND_MICROS.partition_point(|bound| *bound < micros)].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn render(&self, out: &mut String, name: &str, help: &str) {
        describe(out, name, "histogram", help);
        let mut count = 0;
        for (at, counted) in self.counts.iter().enumerate() {
            count += counted.load(Ordering::Relaxed);
            match BOUND_MICROS.get(at) {
                Some(micros) => line(out, &format!("parlor_{name}_bucket{{le=\"{}\"}} {count}", seconds(*micros))),
                None => line(out, &format!("parlor_{name}_bucket{{le=\"+Inf\"}} {count}")),
            }
        }
        line(out, &format!("parlor_{name}_sum {}", seconds(self.micros.load(Ordering::Relaxed))));
        line(out, &format!("parlor_{name}_count {count}"));
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Connections now.
    pub connections: Counter,
    /// Users known now: connected, or with an allowance that has not filled up again.
    pub users: Counter,
    /// Rooms in memory now.
    pub rooms: Counter,
    /// Logins.
    pub logins: Counter,
    /// Requests read.
    pub requests: Counter,
    /// Messages that were acknowledged and not stored before.
    pub messages: Counter,
    /// Messages that were acknowledged again.
    pub duplicates: Counter,
    /// Log events handed to connections.
    pub deliveries: Counter,
    /// Inputs that waited in the mailbox at the last tick.
    pub mailbox_depth: Counter,
    /// Typing, presence and reading events for connections; those that were behind did not get them.
    pub hints: Counter,
    /// Calls that read from a socket.
    pub reads: Counter,
    /// Calls that wrote to a socket.
    pub writes: Counter,
    /// Bytes read from sockets.
    pub bytes_in: Counter,
    /// Bytes written to sockets.
    pub bytes_out: Counter,
    /// Joins that continued from the client's position.
    pub recoveries: Counter,
    /// Times that reading a connection was paused: too much unanswered or unread, or the server was stopping.
    pub pauses: Counter,
    errors: [Counter; ErrorCode::ALL.len()],
    closes: [Counter; CloseCode::ALL.len()],
}

impl WorkerMetrics {
    /// Counts an error sent.
    pub fn count_error(&self, code: ErrorCode) {
        if let Some(at) = ErrorCode::ALL.iter().position(|&other| other == code) {
            self.errors[at].add(1);
        }
    }

    /// Counts a close sent.
    pub fn count_close(&self, code: CloseCode) {
        if let Some(at) = CloseCode::ALL.iter().position(|&other| other == code) {
            self.closes[at].add(1);
        }
    }
}

/// What the whole server counts.
#[derive(Debug, Default)]
pub struct Metrics {
    workers: Vec<WorkerMetrics>,
    /// Sockets accepted.
    pub accepted: Counter,
    /// Times that accepting failed, for want of file descriptors or otherwise.
    pub accept_errors: Counter,
    /// Handshakes refused: wrong origin, bad upgrade, bad token, draining, too many connections.
    pub refused_upgrades: Counter,
}

impl Metrics {
    /// All zero, for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| WorkerMetrics::default()).collect(), ..Self::default() }
    }

    /// One worker's counters.
    pub fn worker(&self, index: usize) -> &WorkerMetrics {
        &self.workers[index]
    }

    /// Everything, summed over the workers, in the text format of Prometheus (version 0.0.4). `commits`: how long the store took to
    /// make batches of writes durable, if it does that.
    pub fn render(&self, commits: Option<&Histogram>) -> String {
        let mut out = String::new();
        let mut series = |name: &str, kind: &str, help: &str, value: &dyn Fn(&WorkerMetrics) -> u64| {
            let sum: u64 = self.workers.iter().map(value).sum();
            describe(&mut out, name, kind, help);
            line(&mut out, &format!("parlor_{name} {sum}"));
        };
        series("connections", "gauge", "Connections now.", &|worker| worker.connections.get());
        series("users", "gauge", "Users known now: connected, or a moment ago.", &|worker| worker.users.get());
        series("rooms", "gauge", "Rooms in memory now.", &|worker| worker.rooms.get());
        series("logins_total", "counter", "Logins.", &|worker| worker.logins.get());
        series("requests_total", "counter", "Requests read.", &|worker| worker.requests.get());
        series("messages_total", "counter", "Messages acknowledged, repeats not counted.", &|worker| worker.messages.get());
        series("duplicates_total", "counter", "Repeated messages acknowledged.", &|worker| worker.duplicates.get());
        series("deliveries_total", "counter", "Log events handed to connections.", &|worker| worker.deliveries.get());
        series("mailbox_depth", "gauge", "Inputs that wait for workers.", &|worker| worker.mailbox_depth.get());
        series("hints_total", "counter", "Best-effort events for connections.", &|worker| worker.hints.get());
        series("reads_total", "counter", "Read calls on sockets.", &|worker| worker.reads.get());
        series("writes_total", "counter", "Write calls on sockets.", &|worker| worker.writes.get());
        series("received_bytes_total", "counter", "Bytes read from sockets.", &|worker| worker.bytes_in.get());
        series("sent_bytes_total", "counter", "Bytes written to sockets.", &|worker| worker.bytes_out.get());
        series("recoveries_total", "counter", "Joins that continued from a position.", &|worker| worker.recoveries.get());
        series("pauses_total", "counter", "Times a connection was not read for what it had unanswered or unread.", &|worker| {
            worker.pauses.get()
        });
        for (name, help, value) in [
            ("accepted_total", "Sockets accepted.", self.accepted.get()),
            ("accept_errors_total", "Failures to accept a socket.", self.accept_errors.get()),
            ("refused_upgrades_total", "Handshakes refused.", self.refused_upgrades.get()),
        ] {
            describe(&mut out, name, "counter", help);
            line(&mut out, &format!("parlor_{name} {value}"));
        }
        describe(&mut out, "errors_total", "counter", "Errors sent, by code.");
        for (at, code) in ErrorCode::ALL.iter().enumerate() {
            let sum: u64 = self.workers.iter().map(|worker| worker.errors[at].get()).sum();
            line(&mut out, &format!("parlor_errors_total{{code=\"{}\"}} {sum}", code.as_str()));
        }
        describe(&mut out, "closes_total", "counter", "Close frames sent, by code.");
        for (at, code) in CloseCode::ALL.iter().enumerate() {
            let sum: u64 = self.workers.iter().map(|worker| worker.closes[at].get()).sum();
            line(&mut out, &format!("parlor_closes_total{{code=\"{}\"}} {sum}", code.number()));
        }
        if let Some(commits) = commits {
            commits.render(&mut out, "store_commit_seconds", "Time to store one batch of writes durably.");
        }
        out
    }
}

fn describe(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, &format!("# HELP parlor_{name} {help}"));
    line(out, &format!("# TYPE parlor_{name} {kind}"));
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_labels_are_there() {
        let metrics = Metrics::new(2);
        metrics.worker(0).messages.add(2);
        metrics.worker(1).messages.add(3);
        metrics.worker(1).count_error(ErrorCode::NotFound);
        let text = metrics.render(None);
        assert!(text.contains("\nparlor_messages_total 5\n"), "{text}");
        assert!(text.contains("\nparlor_errors_total{code=\"not_found\"} 1\n"), "{text}");
        assert!(text.contains("\nparlor_closes_total{code=\"4003\"} 0\n"), "{text}");
        assert!(!text.contains("store_commit_seconds"), "{text}");
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let times = Histogram::default();
        for micros in [0, 50, 51, 1_000_000, 3_600_000_000] {
            times.record(Duration::from_micros(micros));
        }
        let text = Metrics::new(1).render(Some(&times));
        for expected in [
            "# TYPE parlor_store_commit_seconds histogram",
            "parlor_store_commit_seconds_bucket{le=\"0.000050\"} 2",
            "parlor_store_commit_seconds_bucket{le=\"0.000062\"} 3",
            "parlor_store_commit_seconds_bucket{le=\"+Inf\"} 5",
            "parlor_store_commit_seconds_sum 3601.000101",
            "parlor_store_commit_seconds_count 5",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}: {text}");
        }
        assert!((8_000_000..10_000_000).contains(&BOUND_MICROS[BOUNDS - 1]), "{BOUND_MICROS:?}");
    }
}
