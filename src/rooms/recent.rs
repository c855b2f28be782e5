//! The newest events of a room, encoded, so that a join or a short recovery needs no read of the store.

use crate::protocol::{EventFrame, Seq};
use std::collections::VecDeque;

/// Most events kept for a room: the default page of a join and some more, for the seam of a recovery.
const MAX_EVENTS: usize = 64;
/// Most bytes kept for a room.
const MAX_BYTES: usize = 64 * 1024;

/// A dense run of encoded events that ends at the room's head.
#[derive(Debug, Default)]
pub struct RecentEvents {
    events: VecDeque<EventFrame>,
    bytes: usize,
    head: Seq,
}

impl RecentEvents {
    /// Nothing is known up to `head`.
    pub fn new(head: Seq) -> Self {
        Self { events: VecDeque::new(), bytes: 0, head }
    }

    /// How many events it is worth reading when a room is opened.
    pub const fn capacity() -> usize {
        MAX_EVENTS
    }

    /// Adds the event after the present head.
    pub fn push(&mut self, event: EventFrame) {
        self.head = self.head.next();
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
    }

    /// The events after `after`, ascending, if all of them are here.
    pub fn after(&self, after: Seq) -> Option<impl Iterator<Item = &EventFrame>> {
        let wanted = usize::try_from(self.head.get().checked_sub(after.get())?).ok()?;
        let skipped = self.events.len().checked_sub(wanted)?;
        Some(self.events.iter().skip(skipped))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::frame::FrameBuilder;
    use crate::protocol::{ConversationId, LogEvent, UnixMillis, UserId};

    fn event(seq: u64, name_len: usize) -> EventFrame {
        let event = LogEvent::MemberJoined {
            conversation: ConversationId::from_bytes([1; 16]),
            seq: Seq::new(seq).expect("small"),
            user: UserId::parse("a").expect("valid"),
            name: Arc::from("n".repeat(name_len)),
            at: UnixMillis::new(0),
        };
        EventFrame::encode(&mut FrameBuilder::default(), &event, UnixMillis::new(0))
    }

    fn seqs(recent: &RecentEvents, after: u64) -> Option<Vec<u64>> {
        let seq = |event: &EventFrame| {
            let payload: serde_json::Value = serde_json::from_slice(event.payload()).expect("a JSON object");
            payload["seq"].as_u64().expect("a seq")
        };
        Some(recent.after(Seq::new(after).expect("small"))?.map(seq).collect())
    }

    #[test]
    fn it_answers_only_when_nothing_is_missing() {
        let mut recent = RecentEvents::new(Seq::new(10).expect("small"));
        assert_eq!(seqs(&recent, 10), Some(vec![]));
        assert_eq!(seqs(&recent, 9), None);
        for n in 11..=200 {
            recent.push(event(n, 1));
        }
        assert_eq!(seqs(&recent, 198), Some(vec![199, 200]));
        assert_eq!(seqs(&recent, 200 - MAX_EVENTS as u64).map(|seqs| seqs.len()), Some(MAX_EVENTS));
        assert_eq!(seqs(&recent, 200 - MAX_EVENTS as u64 - 1), None);
        assert_eq!(seqs(&recent, 201), None, "a position after the head is nothing to resume from");
    }

    #[test]
    fn its_bytes_are_bounded() {
        let mut recent = RecentEvents::new(Seq::ZERO);
        for n in 1..20 {
            recent.push(event(n, 10_000));
        }
        assert!(recent.bytes <= MAX_BYTES);
        assert_eq!(recent.events.len(), 6);
    }
}
