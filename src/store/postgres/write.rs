//! Writes that wait for their turn, and how each is answered exactly once.

use std::sync::Arc;

use super::super::{Appended, Created, Done, InviteHash, Joined, Left, NewConversation, NewMessage, ReadMark, StoreError};
use crate::protocol::{ConversationId, Seq, UnixMillis, UserId};

/// A callback that is called exactly once: with [`StoreError::Unavailable`] if it is dropped before.
pub(super) struct Reply<T>(Option<Done<T>>);

impl<T> Reply<T> {
    pub(super) fn new(done: Done<T>) -> Self {
        Self(Some(done))
    }

    pub(super) fn send(mut self, outcome: Result<T, StoreError>) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(StoreError::Unavailable));
        }
    }
}

/// A write to one conversation. Dropping it answers that the store is not available.
pub(super) enum Write {
    Append(NewMessage, Reply<Appended>),
    MarkRead(ConversationId, UserId, Seq, Reply<ReadMark>),
    Create(NewConversation, Reply<Created>),
    Join(ConversationId, Joining),
    Leave(ConversationId, UserId, UnixMillis, Reply<Left>),
}

impl Write {
    /// The conversation.
    pub(super) fn conversation(&self) -> ConversationId {
        match self {
            Self::Append(new, _) => new.conversation,
            Self::MarkRead(id, ..) | Self::Leave(id, ..) | Self::Join(id, _) => *id,
            Self::Create(new, _) => new.id,
        }
    }

    /// About how much memory it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Append(new, _) => new.content.len() + new.sender_name.len(),
                Self::Create(new, _) => new.members.len() * 2 * size_of::<UserId>(),
                Self::MarkRead(..) | Self::Join(..) | Self::Leave(..) => 0,
            }
    }
}

/// A joining by code, whose conversation, and so whose lane, is to be looked up first. It takes its place in the lane's queue then,
/// behind everything that was called before it. Dropping it answers that the store is not available.
pub(super) struct Joining {
    pub(super) invite: InviteHash,
    pub(super) user: UserId,
    pub(super) name: Arc<str>,
    pub(super) at: UnixMillis,
    pub(super) reply: Reply<Joined>,
}

/// What came of a write that was carried out.
pub(super) enum Outcome {
    Append(Result<Appended, StoreError>),
    MarkRead(Result<ReadMark, StoreError>),
    Create(Result<Created, StoreError>),
    Join(Result<Joined, StoreError>),
    Leave(Result<Left, StoreError>),
}

impl Write {
    /// Answers with what came of it.
    pub(super) fn answer(self, outcome: Outcome) {
        match (self, outcome) {
            (Self::Append(_, reply), Outcome::Append(outcome)) => reply.send(outcome),
            (Self::MarkRead(.., reply), Outcome::MarkRead(outcome)) => reply.send(outcome),
            (Self::Create(_, reply), Outcome::Create(outcome)) => reply.send(outcome),
            (Self::Join(_, joining), Outcome::Join(outcome)) => joining.reply.send(outcome),
            (Self::Leave(.., reply), Outcome::Leave(outcome)) => reply.send(outcome),
            // A phase gives outcomes of its own kind only. Dropping the write answers it all the same.
            (write, _) => {
                debug_assert!(false, "an outcome of another kind");
                drop(write);
            }
        }
    }
}
