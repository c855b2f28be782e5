//! Releases a conversation's events in the order of their `seq`, whatever the order in which commits are heard of.

use std::collections::BTreeMap;

use crate::protocol::{LogEvent, Seq};

use super::Moment;

/// Most events kept back. Past it the newest is dropped: the gap is read from the store anyway, and with it what was dropped.
const MAX_EARLY: usize = 1_024;

/// Keeps back what came early and says from where the store must be read when something does not come.
///
/// Invariant: `early` holds only events after `head + 1`.
#[derive(Debug)]
pub struct Sequencer {
    head: Seq,
    early: BTreeMap<Seq, LogEvent>,
    waiting_since: Option<Moment>,
}

impl Sequencer {
    /// Starts after `head`: the next event released is the one after it.
    pub fn new(head: Seq) -> Self {
        Self { head, early: BTreeMap::new(), waiting_since: None }
    }

    /// The newest seq released.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Takes an event that was committed. Released events go to `release`, in order. What is old is ignored.
    pub fn handle_event(&mut self, event: LogEvent, now: Moment, mut release: impl FnMut(LogEvent)) {
        if event.seq() <= self.head {
            return;
        }
        if event.seq() > self.head.next() {
            self.early.insert(event.seq(), event);
            if self.early.len() > MAX_EARLY {
                self.early.pop_last();
            }
            self.waiting_since.get_or_insert(now);
            return;
        }
        self.head = event.seq();
        release(event);
        while let Some(next) = self.early.remove(&self.head.next()) {
            self.head = next.seq();
            release(next);
        }
        self.waiting_since = if self.early.is_empty() { None } else { Some(now) };
    }

    /// Since when events have been kept back for one that does not come; `None` when nothing is missing.
    pub fn waiting_since(&self) -> Option<Moment> {
        self.waiting_since
    }

    /// The store has been asked for what is missing: do not ask again at once.
    pub fn restart_waiting(&mut self, now: Moment) {
        if self.waiting_since.is_some() {
            self.waiting_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{ConversationId, UnixMillis, UserId};

    fn event(seq: u64) -> LogEvent {
        LogEvent::MemberJoined {
            conversation: ConversationId::from_bytes([1; 16]),
            seq: Seq::new(seq).expect("small"),
            user: UserId::parse("a").expect("valid"),
            name: Arc::from("a"),
            at: UnixMillis::new(0),
        }
    }

    proptest! {
        #[test]
        fn any_order_with_repeats_is_released_once_and_in_order(order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(), again in prop::collection::vec(1..=40_u64, 0..40)) {
            let mut sequencer = Sequencer::new(Seq::ZERO);
            let mut released = Vec::new();
            for seq in order.into_iter().chain(again) {
                sequencer.handle_event(event(seq), Moment::default(), |event| released.push(event.seq().get()));
            }
            prop_assert_eq!(released, (1..=40).collect::<Vec<_>>());
            prop_assert_eq!(sequencer.waiting_since(), None);
        }
    }

    #[test]
    fn a_gap_is_waited_for_and_what_is_early_stays_bounded() {
        let mut sequencer = Sequencer::new(Seq::ZERO);
        let now = Moment::from_millis(7);
        for seq in 2..(MAX_EARLY as u64 + 100) {
            sequencer.handle_event(event(seq), now, |_| panic!("released over a gap"));
        }
        assert_eq!(sequencer.waiting_since(), Some(now));
        assert_eq!(sequencer.early.len(), MAX_EARLY);
        let mut released = 0;
        sequencer.handle_event(event(1), now, |_| released += 1);
        assert_eq!(released, MAX_EARLY + 1);
    }
}
