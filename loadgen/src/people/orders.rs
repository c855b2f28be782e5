//! What a run's leader tells its workers, and what they report: the same between threads and, as lines of JSON, between processes.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::Clock;
use super::crowd::Tally;
use super::plan::{Part, Plan};
use crate::outcome::{Counts, Histograms, Metric, Verified, decode, encode};

/// What a process needs to begin: the first line that it reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) plan: Plan,
    pub(crate) clock: Clock,
    /// A worker for each part, with the user and token of everybody in it.
    pub(crate) parts: Vec<(Part, Vec<(String, String)>)>,
}

/// To all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Everybody is there: traffic from `start`, measured from `window.0` up to `window.1`.
    Begin { start: u64, window: (u64, u64) },
    /// No new traffic.
    Stop,
    /// Report and end: what is not there by now is missing.
    Finish,
    /// The same before what is under way has had its time: what is not there by now might still have come.
    Abandon,
}

/// From one worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) worker: u32,
    pub(crate) news: News,
}

/// What a worker has to say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum News {
    /// Everybody is connected and has joined.
    Ready,
    /// What happened in the second that ended at `at` seconds.
    Second(Box<WorkerSecond>),
    /// In a storm: everybody was back at this time.
    StormOver { at: u64 },
    /// Nothing is under way any more.
    Drained,
    /// The end.
    Finished { tally: Box<Tally>, verified: Box<Verified> },
    /// The run cannot go on.
    Fatal(String),
}

/// One second of one worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerSecond {
    pub(crate) at: u64,
    pub(crate) tally: Tally,
    pub(crate) connections: u64,
    pub(crate) breaches: u64,
    /// Share of a core that the thread used.
    pub(crate) cpu: f64,
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let used = Metric::ALL.into_iter().filter(|metric| !self.histograms.of(*metric).is_empty());
        let histograms: BTreeMap<Metric, String> = used.map(|metric| (metric, encode(self.histograms.of(metric)))).collect();
        (histograms, &self.counts).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (encoded, counts): (BTreeMap<Metric, String>, Counts) = Deserialize::deserialize(deserializer)?;
        let mut histograms = Histograms::new();
        for (metric, text) in encoded {
            let decoded = decode(&text).map_err(D::Error::custom)?;
            histograms.of_mut(metric).add(decoded).map_err(D::Error::custom)?;
        }
        Ok(Self { histograms, counts })
    }
}
