//! The newest events of a room, encoded, so that a join or a short recovery needs no read of the store.

use crate::protocol::{EventFrame, LogEvent, Seq, UserId};
use std::collections::VecDeque;

/// Most events kept for a room: the default page of a join and some more, for the seam of a recovery.
const MAX_EVENTS: usize = 64;
/// Most bytes kept for a room.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug)]
struct Recent {
    frame: EventFrame,
    /// Who wrote it, if it is a message.
    author: Option<UserId>,
}

/// A dense run of encoded events that ends at the room's head.
#[derive(Debug, Default)]
pub struct RecentEvents {
    events: VecDeque<Recent>,
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
    pub fn push(&mut self, event: &LogEvent, frame: EventFrame) {
        self.head = self.head.next();
        self.bytes += frame.frame.len();
        let author = match event {
            LogEvent::MessageCreated(message) => Some(message.sender.clone()),
            LogEvent::MemberJoined { .. } | LogEvent::MemberLeft { .. } => None,
        };
        self.events.push_back(Recent { frame, author });
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.frame.frame.len();
        }
    }

    /// The events after `after`, ascending, if all of them are here.
    pub fn after(&self, after: Seq) -> Option<impl Iterator<Item = &EventFrame>> {
        let wanted = usize::try_from(self.head.get().checked_sub(after.get())?).ok()?;
        let skipped = self.events.len().checked_sub(wanted)?;
        Some(self.events.iter().skip(skipped).map(|recent| &recent.frame))
    }

    /// Number of messages by others than `user` after `after`, as far as they are here.
    pub fn messages_by_others(&self, user: &UserId, after: Seq) -> u64 {
        let wanted = usize::try_from(self.head.get().saturating_sub(after.get())).unwrap_or(usize::MAX);
        let newest = self.events.iter().rev().take(wanted);
        newest.filter(|recent| recent.author.as_ref().is_some_and(|author| author != user)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::frame::FrameBuilder;
    use crate::protocol::{ConversationId, UnixMillis};

    fn push(recent: &mut RecentEvents, seq: u64, name_len: usize) {
        let event = LogEvent::MemberJoined {
            conversation: ConversationId::from_bytes([1; 16]),
            seq: Seq::new(seq).expect("small"),
            user: UserId::parse("a").expect("valid"),
            name: Arc::from("n".repeat(name_len)),
            at: UnixMillis::new(0),
        };
        let frame = EventFrame::encode(&mut FrameBuilder::default(), &event, UnixMillis::new(0));
        recent.push(&event, frame);
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
            push(&mut recent, n, 1);
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
            push(&mut recent, n, 10_000);
        }
        assert!(recent.bytes <= MAX_BYTES);
        assert_eq!(recent.events.len(), 6);
    }
}
