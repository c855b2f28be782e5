//! A run as it could have been, for tests: the same at each call, and large enough that its percentiles look like a server's.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use hdrhistogram::Histogram;

use crate::outcome::{
    Breach, Brief, Compact, Counts, FORMAT, Gate, Generator, Histograms, Machine, Metric, Outcome, Second, Server, Setup,
    Summary, Verified,
};

/// Warm-up, then the window.
const WARMUP_SECONDS: u64 = 5;
const SECONDS: u64 = 60;
const RATE: u64 = 500;

/// Numbers that look like chance (xorshift64*).
struct Chance(u64);

impl Chance {
    /// From 0 to 1, neither included.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A time in microseconds: log-normal, with a rare slow tail, as servers have.
    fn time(&mut self, median: f64, spread: f64) -> u64 {
        let normal = (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        let slow = if self.share() < 0.002 { 6.0 * self.share() + 1.0 } else { 1.0 };
        (median * (spread * normal).exp() * slow) as u64 + 1
    }
}

/// What one second measured.
fn second(at: u64, chance: &mut Chance) -> Histograms {
    let mut h = Histograms::new();
    if at == 1 {
        for _ in 0..1_000 {
            h.record(Metric::Connect, chance.time(700.0, 0.5));
            h.record(Metric::Auth, chance.time(400.0, 0.4));
            h.record(Metric::Join, chance.time(300.0, 0.4));
        }
        return h;
    }
    let load = if (30..33).contains(&at) { 3.0 } else { 1.0 };
    for _ in 0..RATE {
        let (lag, service) = (chance.time(30.0, 0.6), chance.time(640.0 * load, 0.35));
        h.record(Metric::Lag, lag);
        h.record(Metric::AckService, service);
        h.record(Metric::Ack, service + lag);
        for _ in 0..2 {
            let delivery = service + chance.time(220.0 * load, 0.5);
            h.of_mut(Metric::DeliveryService).saturating_record_n(delivery, 10);
            h.of_mut(Metric::Delivery).saturating_record_n(delivery + lag, 10);
        }
    }
    for _ in 0..40 {
        h.record(Metric::Typing, chance.time(350.0, 0.5));
        h.record(Metric::MarkRead, chance.time(420.0, 0.4));
    }
    for _ in 0..10 {
        h.record(Metric::Recovery, chance.time(1_900.0, 0.5));
        h.record(Metric::Page, chance.time(800.0, 0.5));
    }
    h
}

/// All seconds of it.
pub(crate) fn seconds() -> Vec<Histograms> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    (1..=WARMUP_SECONDS + SECONDS).map(|at| second(at, &mut chance)).collect()
}

/// The same as text.
pub(crate) fn compact_seconds() -> Vec<Compact> {
    seconds().iter().map(Histograms::compact).collect()
}

fn counts(at: u64, histograms: &Histograms) -> Counts {
    let of = |metric| histograms.of(metric).len();
    let mut counts = Counts {
        due: of(Metric::Ack),
        sent: of(Metric::Ack),
        acked: of(Metric::Ack),
        delivered: of(Metric::Ack) * 20,
        typing_sent: of(Metric::Typing) * 2,
        typing_delivered: of(Metric::Typing) * 38,
        reads: of(Metric::MarkRead),
        pages: of(Metric::Page),
        connects: of(Metric::Connect) + of(Metric::Recovery),
        recoveries: of(Metric::Recovery),
        reloads: 0,
        received_bytes: of(Metric::Ack) * 20 * 310,
        errors: BTreeMap::new(),
    };
    if at == 31 {
        counts.errors.insert("rate_limited".to_owned(), 3);
        counts.errors.insert("no_reply".to_owned(), 1);
    }
    counts
}

fn timeline(seconds: &[Histograms]) -> Vec<Second> {
    let mut chance = Chance(7);
    let one = |(index, histograms): (usize, &Histograms)| {
        let at = index as u64 + 1;
        let present = Metric::ALL.into_iter().filter(|metric| !histograms.of(*metric).is_empty());
        Second {
            at: at as f64,
            measured: at > WARMUP_SECONDS,
            connections: 1_000 - u64::from(at > 1) * (at % 7),
            counts: counts(at, histograms),
            latencies: present.map(|metric| (metric, Brief::of(histograms.of(metric)))).collect(),
            generator_cpu: 0.3 + 0.05 * chance.share(),
            server_cpu: Some(0.38 + 0.05 * chance.share() + if (30..33).contains(&at) { 0.4 } else { 0.0 }),
            server_rss: Some(12_000_000 + at * 100_000),
        }
    };
    seconds.iter().enumerate().map(one).collect()
}

fn setup() -> Setup {
    Setup {
        url: "ws://127.0.0.1:9000/ws".to_owned(),
        scenario: "chat".to_owned(),
        clients: 1_000,
        group_size: "20".to_owned(),
        rate: Some(RATE as f64),
        closed_loop: false,
        seed: 1,
        warmup_seconds: WARMUP_SECONDS as f64,
        processes: 1,
        workers: 1,
        command: "loadgen run --url ws://127.0.0.1:9000/ws --scenario chat --clients 1000 --rate 500 --duration 60s".to_owned(),
    }
}

/// A run that passed.
pub(crate) fn outcome() -> Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    OUTCOME.get_or_init(made).clone()
}

fn made() -> Outcome {
    let seconds = seconds();
    let timeline = timeline(&seconds);
    let (mut merged, mut total) = (Histograms::new(), Counts::default());
    for (second, histograms) in timeline.iter().zip(&seconds) {
        if second.measured {
            merged.merge(histograms);
            total.merge(&second.counts);
        }
        for metric in [Metric::Connect, Metric::Auth, Metric::Join] {
            let of_warmup = histograms.of(metric);
            if !of_warmup.is_empty() {
                merged.of_mut(metric).add(of_warmup).unwrap();
            }
        }
    }
    let summaries = Metric::ALL.into_iter().map(|metric| (metric, Summary::of(merged.of(metric)))).filter(|(_, s)| s.count > 0);
    Outcome {
        format: FORMAT,
        loadgen: "0.1.0".to_owned(),
        started_at: "2026-01-02T03:04:05.250Z".to_owned(),
        setup: setup(),
        machine: Machine { cpu: "Example CPU at 2.50 GHz".to_owned(), cores: 2, kernel: "Linux 6.1.0".to_owned() },
        seconds: SECONDS as f64,
        metrics: summaries.collect(),
        verifier: Verified {
            events: total.delivered,
            conversations: 50,
            acked: total.acked,
            recoveries: total.recoveries,
            typing: total.typing_sent / 2,
            breaches: 0,
            details: Vec::new(),
        },
        counts: total,
        timeline,
        generator: Generator { busiest_thread: 0.34, cpu: 0.36, void: Vec::new() },
        server: Some(Server {
            cpu: 0.41,
            us_per_delivery: Some(41.0),
            rss_before: 8_400_000,
            rss_after: 18_500_000,
            rss_peak: 18_700_000,
            bytes_per_connection: 3_612.0,
        }),
        gates: vec![
            Gate { condition: "ack:p99<25ms".to_owned(), measured: "2.1 ms".to_owned(), passed: true },
            Gate { condition: "errors:rate<0.001".to_owned(), measured: "0.0095 %".to_owned(), passed: true },
        ],
    }
}

/// A run in which a message was lost.
pub(crate) fn broken() -> Outcome {
    let mut outcome = outcome();
    outcome.verifier.breaches = 3;
    outcome.verifier.details = vec![Breach {
        kind: "gap".to_owned(),
        at_ms: 12_345,
        conversation: "0197c0de-0000-7000-8000-000000000007".to_owned(),
        seq: Some(42),
        user: "user-17".to_owned(),
        what: "seq 42 was expected and 43 came".to_owned(),
        around: vec!["seq 40 message_created by user-9".to_owned(), "seq 41 message_created by user-3".to_owned()],
    }];
    outcome
}

/// A histogram of these values.
pub(crate) fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = crate::outcome::metric::empty();
    values.into_iter().for_each(|value| histogram.saturating_record(value));
    histogram
}

/// The same run as `tests/fixtures/run.json` has it, for the tests of the program as a whole. After a change of the format:
/// `WRITE_FIXTURES=1 cargo test -p loadgen fixture`.
#[test]
fn the_committed_run_is_this_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run.json");
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::write(&path, super::json::text(&outcome())).unwrap();
    }
    let committed = super::json::read(&path).unwrap();
    assert_eq!((committed.counts, committed.setup, committed.server), (outcome().counts, outcome().setup, outcome().server));
    for (metric, summary) in &outcome().metrics {
        assert!(committed.metrics[metric].decode().unwrap() == summary.decode().unwrap(), "{metric}");
    }
}
