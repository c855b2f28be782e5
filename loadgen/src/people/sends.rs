//! The messages of one worker: when each was due and sent, and where in a log it went.

use std::collections::VecDeque;

/// How many of the newest messages are remembered. An older one that still arrives is counted without its time.
const MAX_REMEMBERED: usize = 1 << 20;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// When it should have been sent, in nanoseconds of the run.
    pub(crate) due: u64,
    /// When it was handed to its connection.
    pub(crate) sent_at: u64,
    /// Index of its conversation.
    pub(crate) conversation: u32,
    /// Index of its sender.
    pub(crate) sender: u32,
    /// Its place in the log; 0 until that is known.
    pub(crate) seq: u64,
    /// How often it was handed to a connection.
    pub(crate) attempts: u32,
}

/// The newest messages, by their number.
#[derive(Debug)]
pub(crate) struct Sends {
    /// What every `clientMessageId` of this worker begins with; no two runs have the same.
    prefix: String,
    first: u64,
    newest: VecDeque<Sent>,
}

impl Sends {
    /// Of the worker that names its messages by `prefix`.
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix, first: 0, newest: VecDeque::new() }
    }

    /// Remembers another one and returns its number.
    pub(crate) fn push(&mut self, sent: Sent) -> u64 {
        if self.newest.len() == MAX_REMEMBERED {
            self.newest.pop_front();
            self.first += 1;
        }
        self.newest.push_back(sent);
        self.first + self.newest.len() as u64 - 1
    }

    /// The message of that number, if it is remembered.
    pub(crate) fn at(&self, number: u64) -> Option<&Sent> {
        self.newest.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The same, to be changed.
    pub(crate) fn at_mut(&mut self, number: u64) -> Option<&mut Sent> {
        self.newest.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The `clientMessageId` of a number.
    pub(crate) fn client_message_id(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The number in a `clientMessageId`, if it is one of ours.
    pub(crate) fn number_of(&self, client_message_id: &str) -> Option<u64> {
        client_message_id.strip_prefix(&self.prefix)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sent = Sent { due: 1, sent_at: 2, conversation: 3, sender: 4, seq: 0, attempts: 1 };

    #[test]
    fn numbers_go_there_and_back() {
        let mut sends = Sends::new("run-0-".to_owned());
        let number = sends.push(SENT);
        let id = sends.client_message_id(number);
        assert_eq!((sends.number_of(&id), sends.number_of("other-0")), (Some(number), None));
        assert_eq!(sends.at(number), Some(&SENT));
        assert_eq!(sends.at(number + 1), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_numbers_stay() {
        let mut sends = Sends::new(String::new());
        for due in 0..MAX_REMEMBERED as u64 + 2 {
            sends.push(Sent { due, ..SENT });
        }
        assert_eq!((sends.at(1), sends.at(2).map(|sent| sent.due)), (None, Some(2)));
    }
}
