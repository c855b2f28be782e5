//! What people are about to do, by when it is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something due. Persons, conversations and memberships are indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Open a person's connection.
    Connect { person: u32 },
    /// The next message of the open loop falls due to somebody.
    Arrival,
    /// Say again that one types; then send at `send_at`, or stop.
    TypeOn { person: u32, membership: u32, send_at: u64, sends: bool },
    /// Write a message that was due at that time.
    Send { person: u32, membership: u32 },
    /// Send a message again under its number.
    Resend { person: u32, number: u64, attempt: u32 },
    /// Mark as read what has come.
    MarkRead { person: u32, membership: u32 },
    /// Load a page.
    Page { person: u32 },
    /// Look away.
    Idle { person: u32 },
    /// Lose the connection.
    Drop { person: u32 },
    /// Lose the connection, in a storm: when to come back has been said already.
    Leave { person: u32 },
    /// Join again what could not be joined.
    Rejoin { person: u32, membership: u32 },
    /// Load what was missed, after a pause.
    CatchUp { person: u32, membership: u32 },
    /// Look for stuck indicators.
    Sweep,
    /// Nothing: tells how late the tester is.
    Heartbeat,
}

/// Everything that is due, in order. Ties go by insertion.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u64, Action)>>,
    inserted: u64,
}

impl Timers {
    /// `action` is due at `due`, in nanoseconds of the run.
    pub(crate) fn push(&mut self, due: u64, action: Action) {
        self.inserted += 1;
        self.heap.push(Reverse((due, self.inserted, action)));
    }

    /// When the first is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes the first if it is due at `now`, with when it was.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, Action)> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((due, _, action))| (due, action))
    }

    /// Whether a message waits to be sent again.
    pub(crate) fn any_resend(&self) -> bool {
        self.heap.iter().any(|Reverse((.., action))| matches!(action, Action::Resend { .. }))
    }

    /// Forgets what `gone` says.
    pub(crate) fn forget(&mut self, mut gone: impl FnMut(&Action) -> bool) {
        self.heap.retain(|Reverse((.., action))| !gone(action));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_ones_come_in_order_and_ties_as_they_went_in() {
        let mut timers = Timers::default();
        timers.push(5, Action::Drop { person: 1 });
        timers.push(3, Action::Drop { person: 2 });
        timers.push(3, Action::Arrival);
        assert_eq!(timers.next_due(), Some(3));
        assert_eq!(timers.take_due(2), None);
        assert_eq!(timers.take_due(9), Some((3, Action::Drop { person: 2 })));
        assert_eq!(timers.take_due(9), Some((3, Action::Arrival)));
        timers.forget(|action| matches!(action, Action::Drop { .. }));
        assert_eq!(timers.take_due(9), None);
    }
}
