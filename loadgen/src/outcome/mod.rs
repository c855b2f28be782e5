//! What a run found out: plain data that is written as JSON, read back by `compare`, `report` and `--baseline`, and shown in every
//! other form. Knows nothing of how it was measured.

pub(crate) mod metric;
mod summary;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use metric::{Histograms, Metric};

/// The histograms of one second as text: a few hundred bytes, where the histograms themselves take over a megabyte. Metrics without values
/// are left out.
pub(crate) type Compact = Vec<(Metric, String)>;
pub(crate) use summary::{decode, encode};
pub(crate) use verdict::Verdict;

/// The version of the JSON that [`Outcome`] becomes; another one is not read.
pub(crate) const FORMAT: u32 = 1;

/// The protocol error code of a request that a rate limit has refused.
const TOO_FAST: &str = "rate_limited";

/// Everything about one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// Version of the tester.
    pub(crate) loadgen: String,
    /// RFC 3339, UTC.
    pub(crate) started_at: String,
    /// What was asked for.
    pub(crate) setup: Setup,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// Length of the measured window in seconds: what [`Self::counts`] is divided by.
    pub(crate) seconds: f64,
    /// In the measured window; times of metrics in [`Metric`]'s names.
    pub(crate) metrics: BTreeMap<Metric, Summary>,
    /// In the measured window.
    pub(crate) counts: Counts,
    /// One entry for each second from the first connect to the end, warm-up included.
    pub(crate) timeline: Vec<Second>,
    /// What the tester found about itself.
    pub(crate) generator: Generator,
    /// What was seen of the server's process, with `--server-pid`.
    pub(crate) server: Option<Server>,
    /// What the verifier says.
    pub(crate) verifier: Verified,
    /// Thresholds and comparisons, in the order in which they were given.
    pub(crate) gates: Vec<Gate>,
}

impl Outcome {
    /// How many requests a rate limit of the server has refused since the traffic began, but for the second in which it did. What was
    /// refused before, while everybody founded their conversations, says nothing about the rate.
    pub(crate) fn refused_as_too_fast(&self) -> u64 {
        let quiet = |second: &&Second| second.counts.due + second.counts.typing_sent == 0;
        let traffic = self.timeline.iter().skip_while(quiet).skip(1);
        traffic.filter_map(|second| second.counts.errors.get(TOO_FAST)).sum()
    }
}

/// What was asked for, as a person would say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Where the server is.
    pub(crate) url: String,
    /// Name of the scenario.
    pub(crate) scenario: String,
    /// People, each with one connection.
    pub(crate) clients: u32,
    /// Sizes of conversations, as on the command line (`20`, or `2:60,8:30,50:10`).
    pub(crate) group_size: String,
    /// Messages a second in all; `None` in a closed loop or a scenario without messages.
    pub(crate) rate: Option<f64>,
    /// Whether each sender waits for the reply before sending again. Its latencies leave out the time in which it would have sent.
    pub(crate) closed_loop: bool,
    /// What everything random follows from.
    pub(crate) seed: u64,
    /// Seconds that were not measured.
    pub(crate) warmup_seconds: f64,
    /// Processes and threads that the tester used.
    pub(crate) processes: u32,
    /// Threads of each.
    pub(crate) workers: u32,
    /// The command line, without secrets.
    pub(crate) command: String,
}

/// Where it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// As the processor calls itself.
    pub(crate) cpu: String,
    /// How many of them this process may use.
    pub(crate) cores: u32,
    /// Name and version of the kernel.
    pub(crate) kernel: String,
}

/// A metric in figures, all in microseconds but `count`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// How many values.
    pub(crate) count: u64,
    /// Smallest.
    pub(crate) min: u64,
    /// Their mean.
    pub(crate) mean: f64,
    /// Half of all took no longer.
    pub(crate) p50: u64,
    /// Nine of ten took no longer, and so on.
    pub(crate) p90: u64,
    /// 99 of 100.
    pub(crate) p99: u64,
    /// 999 of 1,000.
    pub(crate) p999: u64,
    /// Largest.
    pub(crate) max: u64,
    /// The whole histogram: HdrHistogram's V2 encoding, deflated, in base64, as in `.hlog` files.
    pub(crate) histogram: String,
}

/// How often things happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Messages that were due.
    pub(crate) due: u64,
    /// Messages handed to a socket.
    pub(crate) sent: u64,
    /// Durable replies to them.
    pub(crate) acked: u64,
    /// Arrivals of messages, each receiver counted, the sender too.
    pub(crate) delivered: u64,
    /// `typing_start` and `typing_stop` sent.
    pub(crate) typing_sent: u64,
    /// `typing_started` and `typing_stopped` that arrived.
    pub(crate) typing_delivered: u64,
    /// `mark_read` that were answered.
    pub(crate) reads: u64,
    /// Pages that came.
    pub(crate) pages: u64,
    /// Connections that were opened and logged in.
    pub(crate) connects: u64,
    /// Returns after a drop that caught up.
    pub(crate) recoveries: u64,
    /// Of these, those that the server answered with `recovered: false`, so that history had to be loaded.
    pub(crate) reloads: u64,
    /// Bytes of frames that arrived, without their headers.
    pub(crate) received_bytes: u64,
    /// What went wrong, by name: a protocol error code, `close_4003`, `connect_failed`, `no_reply`.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Counts {
    /// Everything that went wrong.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Everything that was asked of the server and counted: what an error rate is a share of.
    pub(crate) fn requests(&self) -> u64 {
        self.sent + self.typing_sent + self.reads + self.pages + self.connects
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.due += other.due;
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.typing_sent += other.typing_sent;
        self.typing_delivered += other.typing_delivered;
        self.reads += other.reads;
        self.pages += other.pages;
        self.connects += other.connects;
        self.recoveries += other.recoveries;
        self.reloads += other.reloads;
        self.received_bytes += other.received_bytes;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
    }
}

/// One second of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Seconds since the start of the run, at the end of this one.
    pub(crate) at: f64,
    /// Whether it belongs to the measured window.
    pub(crate) measured: bool,
    /// Connections that are logged in at its end.
    pub(crate) connections: u64,
    /// What happened in it.
    pub(crate) counts: Counts,
    /// Times of what ended in it, by metric; those without any are left out.
    pub(crate) latencies: BTreeMap<Metric, Brief>,
    /// Share of one core that the busiest thread of the tester used.
    pub(crate) generator_cpu: f64,
    /// Cores that the server used, with `--server-pid`.
    pub(crate) server_cpu: Option<f64>,
    /// The server's resident memory in bytes, with `--server-pid`.
    pub(crate) server_rss: Option<u64>,
}

/// A metric within one second, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Brief {
    /// How many values.
    pub(crate) count: u64,
    /// Median.
    pub(crate) p50: u64,
    /// 99th percentile.
    pub(crate) p99: u64,
    /// Largest.
    pub(crate) max: u64,
}

/// What the tester found about itself in the measured window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Share of one core that its busiest thread used.
    pub(crate) busiest_thread: f64,
    /// Cores that all its threads used.
    pub(crate) cpu: f64,
    /// Why the run says nothing about the server; empty when it does.
    pub(crate) void: Vec<String>,
}

/// The server's process in the measured window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// Cores used, on average.
    pub(crate) cpu: f64,
    /// Processor time for each delivery, in microseconds; `None` without deliveries.
    pub(crate) us_per_delivery: Option<f64>,
    /// Resident memory before the first connection, in bytes.
    pub(crate) rss_before: u64,
    /// At the end of the window.
    pub(crate) rss_after: u64,
    /// Largest seen.
    pub(crate) rss_peak: u64,
    /// Growth from before the first connection to when all had joined, for each connection.
    pub(crate) bytes_per_connection: f64,
}

/// What the verifier says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// Log events that were checked, each receiver counted.
    pub(crate) events: u64,
    /// Conversations with any.
    pub(crate) conversations: u64,
    /// Acknowledged messages, each of which every member had to see.
    pub(crate) acked: u64,
    /// Returns that had to be whole.
    pub(crate) recoveries: u64,
    /// Typing indicators whose end was awaited.
    pub(crate) typing: u64,
    /// How many promises were broken.
    pub(crate) breaches: u64,
    /// The first of them.
    pub(crate) details: Vec<Breach>,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breach {
    /// Which promise.
    pub(crate) kind: String,
    /// Seconds since the start of the run, in milliseconds.
    pub(crate) at_ms: u64,
    /// The conversation's id.
    pub(crate) conversation: String,
    /// Where in its log, if that is known.
    pub(crate) seq: Option<u64>,
    /// Who saw it.
    pub(crate) user: String,
    /// What was expected and what came, in a sentence.
    pub(crate) what: String,
    /// The last events before it that this user saw in this conversation, oldest first.
    pub(crate) around: Vec<String>,
}

/// A condition that the run had to meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    /// The condition, as it was given.
    pub(crate) condition: String,
    /// What was measured, as text with its unit.
    pub(crate) measured: String,
    /// Whether it was met.
    pub(crate) passed: bool,
}
