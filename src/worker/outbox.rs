//! What waits to be written to one connection, in order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::pace::Pace;

/// Places for chunks that an empty outbox keeps.
const KEPT_CHUNKS: usize = 4;

/// Shared buffers, each a run of whole frames, of which the first may have been written in part.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Rc<[u8]>>,
    written: usize,
    bytes: usize,
    /// Bytes of answers since the outbox was last empty: asked for, so that they do not count against a slow reader.
    owed: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes not yet taken by the kernel.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends whole frames.
    pub(super) fn push(&mut self, chunk: Rc<[u8]>) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Appends an answer to what the client asked.
    pub(super) fn push_owed(&mut self, chunk: Rc<[u8]>) {
        self.owed += chunk.len();
        self.push(chunk);
    }

    /// The bytes to write next, in as many slices as there are chunks.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().enumerate().map(|(index, chunk)| if index == 0 { &chunk[self.written..] } else { &chunk[..] })
    }

    /// Number of chunks.
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Takes `written` bytes off the front.
    pub(super) fn handle_written(&mut self, written: usize) {
        self.bytes -= written;
        self.written += written;
        // What is left cannot be owed more than it is: answers that were read give no credit for events.
        self.owed = self.owed.min(self.bytes);
        while let Some(front) = self.chunks.front() {
            if self.written < front.len() {
                return;
            }
            self.written -= front.len();
            self.chunks.pop_front();
        }
        // A burst leaves no room behind that an idle connection would keep.
        self.chunks.shrink_to(KEPT_CHUNKS);
    }

    /// Drops all that may be dropped without breaking a frame in two: everything but a first chunk of which part was written.
    pub(super) fn discard_unsent(&mut self) {
        let keep = usize::from(self.written > 0);
        self.chunks.truncate(keep);
        self.bytes = self.chunks.front().map_or(0, |chunk| chunk.len() - self.written);
    }

    /// Whether the connection is behind with what it did not ask for.
    pub(super) fn pace(&self, max_outbox_bytes: usize) -> Pace {
        let unasked = self.bytes.saturating_sub(self.owed);
        if unasked > max_outbox_bytes {
            Pace::Slow
        } else if unasked > max_outbox_bytes / 4 {
            Pace::Behind
        } else {
            Pace::Keeping
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push(Rc::from(*b"abc"));
        outbox.push(Rc::from(*b"defg"));
        outbox
    }

    #[test]
    fn what_was_written_in_part_goes_on_where_it_stopped() {
        let mut outbox = outbox();
        outbox.handle_written(4);
        assert_eq!(outbox.slices().collect::<Vec<_>>(), [b"efg"]);
        assert_eq!(outbox.bytes(), 3);
        outbox.handle_written(3);
        assert!(outbox.is_empty());
    }

    #[test]
    fn discarding_keeps_the_rest_of_a_frame_that_is_under_way() {
        let mut outbox = outbox();
        outbox.handle_written(1);
        outbox.discard_unsent();
        assert_eq!(outbox.slices().collect::<Vec<_>>(), [b"bc"]);
        assert_eq!(outbox.bytes(), 2);
    }

    #[test]
    fn an_answer_however_long_makes_no_slow_reader() {
        let mut outbox = outbox();
        outbox.push_owed(Rc::from([0; 1_000]));
        assert_eq!(outbox.pace(100), Pace::Keeping);
        outbox.handle_written(1_007);
        outbox.push(Rc::from([0; 1_000]));
        assert_eq!(outbox.pace(100), Pace::Slow, "what was owed has been paid");
    }

    #[test]
    fn answers_that_were_read_give_no_credit_for_events() {
        let mut outbox = Outbox::default();
        for _ in 0..10 {
            outbox.push_owed(Rc::from([0; 1_000]));
        }
        outbox.handle_written(9_900);
        outbox.push(Rc::from([0; 101]));
        assert_eq!(outbox.pace(100), Pace::Slow, "never empty, yet nine answers of ten are read");
    }

    #[test]
    fn pace_follows_the_bytes_that_wait() {
        let outbox = outbox();
        assert_eq!(outbox.pace(100), Pace::Keeping);
        assert_eq!(outbox.pace(16), Pace::Behind);
        assert_eq!(outbox.pace(6), Pace::Slow);
    }
}
