//! What is timed, and the histograms it is counted in.

use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shortest time that a histogram tells from zero, in microseconds.
pub(crate) const LOWEST_US: u64 = 1;
/// Longest: 60 s. What takes longer is counted as this.
pub(crate) const HIGHEST_US: u64 = 60_000_000;
/// Decimal digits that are kept of each value.
pub(crate) const DIGITS: u8 = 3;

/// Something whose time is measured. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// From connecting the socket to the end of the WebSocket handshake.
    Connect,
    /// From sending `auth` to its reply.
    Auth,
    /// From sending `join_conversation` to its reply, without `since`.
    Join,
    /// From when a message was due to its durable reply.
    Ack,
    /// The same from when it was handed to the socket: what a closed-loop tester would have called latency.
    AckService,
    /// From when a message was due to its arrival at each receiver.
    Delivery,
    /// The same from when it was handed to the socket.
    DeliveryService,
    /// From when a first `typing_start` was due to the `typing_started` of each receiver.
    Typing,
    /// From starting to reconnect to the last missed event: connecting, `auth`, `join_conversation` with `since`.
    Recovery,
    /// From sending `mark_read` to its reply.
    MarkRead,
    /// From sending `load_messages` or `load_conversations` to its page.
    Page,
    /// How late the tester itself was: from when something was due to when it was done.
    Lag,
}

impl Metric {
    /// All, in the order of a client's life.
    pub(crate) const ALL: [Self; 12] = [
        Self::Connect,
        Self::Auth,
        Self::Join,
        Self::Ack,
        Self::AckService,
        Self::Delivery,
        Self::DeliveryService,
        Self::Typing,
        Self::Recovery,
        Self::MarkRead,
        Self::Page,
        Self::Lag,
    ];

    /// As in thresholds, file names and JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::Join => "join",
            Self::Ack => "ack",
            Self::AckService => "ack_service",
            Self::Delivery => "delivery",
            Self::DeliveryService => "delivery_service",
            Self::Typing => "typing",
            Self::Recovery => "recovery",
            Self::MarkRead => "mark_read",
            Self::Page => "page",
            Self::Lag => "lag",
        }
    }

    /// A sentence for people, without a full stop.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Connect => "opening a connection, up to the end of the WebSocket handshake",
            Self::Auth => "logging in with a token",
            Self::Join => "joining a conversation, without catching up",
            Self::Ack => "from when a message was due to its durable reply",
            Self::AckService => "from when it was really sent to its durable reply",
            Self::Delivery => "from when a message was due to its arrival at each receiver",
            Self::DeliveryService => "from when it was really sent to its arrival at each receiver",
            Self::Typing => "from when typing was due to start to each receiver's notice of it",
            Self::Recovery => "from starting to reconnect to the last event missed",
            Self::MarkRead => "marking as read, up to the reply",
            Self::Page => "loading a page of history or of conversations",
            Self::Lag => "how late the tester itself was",
        }
    }

    /// The metric of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A histogram for each metric.
#[derive(Clone, Debug)]
pub(crate) struct Histograms([Histogram<u64>; Metric::ALL.len()]);

impl Histograms {
    /// All empty.
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| empty()))
    }

    /// Counts one value, in microseconds; what is past [`HIGHEST_US`] as that.
    pub(crate) fn record(&mut self, metric: Metric, microseconds: u64) {
        self.0[metric as usize].saturating_record(microseconds);
    }

    /// Of one metric.
    pub(crate) fn of(&self, metric: Metric) -> &Histogram<u64> {
        &self.0[metric as usize]
    }

    /// Of one metric, to be filled from elsewhere.
    pub(crate) fn of_mut(&mut self, metric: Metric) -> &mut Histogram<u64> {
        &mut self.0[metric as usize]
    }

    /// Adds what `other` has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, others) in self.0.iter_mut().zip(&other.0) {
            if !others.is_empty() {
                own.add(others).expect("all have the same bounds");
            }
        }
    }
}

/// An empty histogram with the bounds that all have.
pub(crate) fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS).expect("the bounds are constants that hdrhistogram takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!((Metric::parse(metric.name()), metric as usize), (Some(metric), index));
        }
        assert_eq!(Metric::parse("latency"), None);
    }

    #[test]
    fn what_is_past_the_range_counts_as_its_end() {
        let mut histograms = Histograms::new();
        histograms.record(Metric::Ack, u64::MAX);
        histograms.record(Metric::Ack, 0);
        assert_eq!(histograms.of(Metric::Ack).len(), 2);
        assert!(histograms.of(Metric::Ack).equivalent(histograms.of(Metric::Ack).max(), HIGHEST_US));
    }

    #[test]
    fn merging_adds_up() {
        let (mut one, mut other) = (Histograms::new(), Histograms::new());
        one.record(Metric::Ack, 10);
        other.record(Metric::Ack, 20);
        one.merge(&other);
        assert_eq!((one.of(Metric::Ack).len(), one.of(Metric::Ack).max()), (2, 20));
    }
}
