//! Releases a conversation's events in the order of their `seq`, whatever the order in which commits are heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::{LogEvent, Seq};

use super::Moment;

/// Most events kept back. Past it the newest is dropped: the gap is read from the store anyway, and with it what was dropped.
const MAX_EARLY: usize = 1_024;

/// Whether the log may have an event after the head of which nothing was heard, because nobody knows what became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    Raised,
    /// The read under way began after it was raised, so that it settles it.
    BeingRead,
}

/// How far a read of the store went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// There was no more.
    Head,
    /// There may be more.
    Page,
    /// The store did not answer.
    Failed,
}

/// Keeps back what came early and says from where the store must be read when something does not come.
///
/// Invariant: `early` holds only events after `head + 1`; while something is missing, `waiting_since` is set.
#[derive(Debug)]
pub struct Sequencer {
    head: Seq,
    /// The newest event that was heard of. It may not be in `early`, which is bounded.
    newest: Seq,
    early: BTreeMap<Seq, LogEvent>,
    doubt: Doubt,
    is_reading: bool,
    waiting_since: Option<Moment>,
}

impl Sequencer {
    /// Starts after `head`: the next event released is the one after it.
    pub fn new(head: Seq) -> Self {
        Self { head, newest: head, early: BTreeMap::new(), doubt: Doubt::None, is_reading: false, waiting_since: None }
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
        self.newest = self.newest.max(event.seq());
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
        // What is still missing may be on its way as well: it gets the whole time again.
        self.waiting_since = if self.newest > self.head { Some(now) } else { self.waiting_since.filter(|_| self.is_in_doubt()) };
    }

    /// The store's log reaches up to here. Of what is missing somebody may tell yet; else the store is read, as for any gap.
    pub fn handle_head(&mut self, head: Seq, now: Moment) {
        if head > self.newest {
            self.newest = head;
            self.waiting_since.get_or_insert(now);
        }
    }

    /// Something may have been committed of which nobody will tell: the store must be asked.
    pub fn handle_doubt(&mut self, now: Moment) {
        self.doubt = Doubt::Raised;
        self.waiting_since.get_or_insert(now);
    }

    /// Since when something is or may be missing; `None` when everything is known.
    pub fn waiting_since(&self) -> Option<Moment> {
        self.waiting_since
    }

    /// The position after which the store must be read now, because something has been missing for `timeout`. One read at a
    /// time: the next comes after [`Sequencer::handle_read_end`].
    pub fn next_read(&mut self, now: Moment, timeout: Duration) -> Option<Seq> {
        if self.is_reading || now.since(self.waiting_since?) < timeout {
            return None;
        }
        self.is_reading = true;
        if self.is_in_doubt() {
            self.doubt = Doubt::BeingRead;
        }
        Some(self.head)
    }

    /// The read is over; its events have been given to [`Sequencer::handle_event`].
    pub fn handle_read_end(&mut self, end: ReadEnd, now: Moment) {
        self.is_reading = false;
        self.doubt = match (self.doubt, end) {
            (Doubt::None, _) | (Doubt::BeingRead, ReadEnd::Head) => Doubt::None,
            (Doubt::Raised, _) | (Doubt::BeingRead, ReadEnd::Page | ReadEnd::Failed) => Doubt::Raised,
        };
        let is_waiting = self.newest > self.head || self.is_in_doubt();
        self.waiting_since = is_waiting.then_some(now);
    }

    fn is_in_doubt(&self) -> bool {
        self.doubt != Doubt::None
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
        assert!(sequencer.waiting_since().is_some(), "what was dropped is still missing");
    }

    #[test]
    fn a_head_that_is_not_reached_is_a_gap_until_its_events_come() {
        let timeout = Duration::from_millis(200);
        let mut sequencer = Sequencer::new(Seq::new(3).expect("small"));
        for known in 1..=3 {
            sequencer.handle_head(Seq::new(known).expect("small"), Moment::from_millis(1));
        }
        assert_eq!(sequencer.waiting_since(), None);
        sequencer.handle_head(Seq::new(5).expect("small"), Moment::from_millis(10));
        assert_eq!(sequencer.next_read(Moment::from_millis(209), timeout), None);
        sequencer.handle_event(event(4), Moment::from_millis(100), |_| ());
        assert_eq!(sequencer.next_read(Moment::from_millis(299), timeout), None, "there is progress");
        assert_eq!(sequencer.next_read(Moment::from_millis(300), timeout), Seq::new(4).ok());
        sequencer.handle_event(event(5), Moment::from_millis(301), |_| ());
        sequencer.handle_read_end(ReadEnd::Head, Moment::from_millis(302));
        assert_eq!(sequencer.waiting_since(), None);
    }

    #[test]
    fn a_doubt_is_settled_by_a_read_that_began_after_it_and_by_nothing_else() {
        let timeout = Duration::from_millis(200);
        let mut sequencer = Sequencer::new(Seq::ZERO);
        assert_eq!(sequencer.next_read(Moment::from_millis(0), timeout), None);
        sequencer.handle_doubt(Moment::from_millis(0));
        assert_eq!(sequencer.next_read(Moment::from_millis(199), timeout), None);
        assert_eq!(sequencer.next_read(Moment::from_millis(200), timeout), Some(Seq::ZERO));
        assert_eq!(sequencer.next_read(Moment::from_millis(900), timeout), None, "one at a time");
        sequencer.handle_doubt(Moment::from_millis(900));
        sequencer.handle_read_end(ReadEnd::Head, Moment::from_millis(1_000));
        assert!(sequencer.waiting_since().is_some(), "that read may have missed the second one");
        for end in [ReadEnd::Failed, ReadEnd::Page, ReadEnd::Head] {
            assert!(sequencer.next_read(Moment::from_millis(9_000), timeout).is_some());
            sequencer.handle_event(event(sequencer.head().get() + 1), Moment::from_millis(9_000), |_| ());
            sequencer.handle_read_end(end, Moment::from_millis(1_000));
        }
        assert_eq!(sequencer.waiting_since(), None);
    }
}
