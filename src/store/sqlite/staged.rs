//! What one commit does to a conversation and its members. Pure: knows no SQL.

use hashbrown::HashMap;

use super::super::message_of;
use crate::protocol::{LogEvent, Seq, UserId};

/// What an entry of a log holds beside its text, in bytes, about.
const ENTRY_BYTES: usize = 256;

/// A member's counters, from which unread counts follow in O(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// The mark.
    pub(super) read_seq: Seq,
    /// Messages in the log up to the mark.
    pub(super) read_messages: u64,
    /// Own messages since joining.
    pub(super) sent: u64,
    /// Those of them up to the mark.
    pub(super) read_sent: u64,
    /// The newest of them; the joining itself before the first.
    pub(super) last_sent_seq: Seq,
}

impl Counters {
    /// Messages by others after the mark, in a log of `messages` messages.
    pub(super) fn unread(&self, messages: u64) -> u64 {
        let (after, own) = (messages.checked_sub(self.read_messages), self.sent.checked_sub(self.read_sent));
        let unread = after.zip(own).and_then(|(after, own)| after.checked_sub(own));
        debug_assert!(unread.is_some(), "{self:?} in a log of {messages}");
        // Only a file that somebody else changed can say otherwise.
        unread.unwrap_or(0)
    }

    /// Takes over what `other` knows better, from whichever time it is. Both halves only grow during a membership, and a new
    /// membership starts with both ahead of all earlier ones.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.read_seq > self.read_seq {
            (self.read_seq, self.read_messages, self.read_sent) = (other.read_seq, other.read_messages, other.read_sent);
        }
        if other.last_sent_seq > self.last_sent_seq {
            (self.sent, self.last_sent_seq) = (other.sent, other.last_sent_seq);
        }
    }
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) event: LogEvent,
    /// Messages in the log up to this one.
    pub(super) messages: u64,
    /// Stands for the sender and the client message id, where there is one.
    pub(super) digest: Option<i64>,
}

impl Entry {
    /// About how much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + message_of(&self.event).map_or(0, |message| message.content.len())
    }
}

/// What one commit does to a conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Staged {
    /// Its key in the tables.
    pub(super) number: i64,
    /// Newest seq, with the entries here.
    pub(super) head: Seq,
    /// Messages in the log, with the entries here.
    pub(super) messages: u64,
    /// New entries, ascending.
    pub(super) entries: Vec<Entry>,
    /// Members with new counters; `None` where the tables alone know: the membership ended, or ended and began again.
    pub(super) members: HashMap<UserId, Option<Counters>>,
}

impl Staged {
    /// A conversation that nothing is done to yet.
    pub(super) fn new(number: i64, head: Seq, messages: u64) -> Self {
        Self { number, head, messages, entries: Vec::new(), members: HashMap::new() }
    }

    /// Adds an event, which has the seq after the head.
    pub(super) fn push(&mut self, event: LogEvent, digest: Option<i64>) {
        self.head = event.seq();
        self.messages += u64::from(message_of(&event).is_some());
        self.entries.push(Entry { event, messages: self.messages, digest });
    }

    /// The new entry at `seq`, if there is one.
    pub(super) fn at(&self, seq: Seq) -> Option<&Entry> {
        let first = self.entries.first()?.event.seq();
        self.entries.get(seq.get().checked_sub(first.get())? as usize)
    }

    /// Whether the journal must hold it.
    pub(super) fn is_journaled(&self) -> bool {
        !self.entries.is_empty() || self.members.values().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Seq {
        Seq::new(seq).expect("a seq")
    }

    #[test]
    fn counters_of_any_age_merge_to_the_newest() {
        let old = Counters { read_seq: at(1), read_messages: 1, sent: 9, read_sent: 1, last_sent_seq: at(9) };
        let new = Counters { read_seq: at(5), read_messages: 4, sent: 3, read_sent: 2, last_sent_seq: at(7) };
        let both = Counters { read_seq: at(5), read_messages: 4, sent: 9, read_sent: 2, last_sent_seq: at(9) };
        for (mut one, other) in [(old, new), (new, old)] {
            one.merge(&other);
            assert_eq!(one, both);
        }
        // Whoever joins again starts past everything of before.
        let rejoined = Counters { read_seq: at(20), read_messages: 18, sent: 0, read_sent: 0, last_sent_seq: at(20) };
        let mut merged = rejoined;
        merged.merge(&old);
        assert_eq!(merged, rejoined);
    }
}
