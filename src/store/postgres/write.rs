//! Writes that wait for their turn, and how each is answered exactly once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::SetOnce;

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
    Join(Arc<Joining>),
    Leave(ConversationId, UserId, UnixMillis, Reply<Left>),
}

impl Write {
    /// The conversation; `None` for a joining whose code has not been looked up, or belongs to none.
    pub(super) fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Append(new, _) => Some(new.conversation),
            Self::MarkRead(id, ..) | Self::Leave(id, ..) => Some(*id),
            Self::Create(new, _) => Some(new.id),
            Self::Join(joining) => joining.conversation.get().copied().flatten(),
        }
    }

    /// About how much memory it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Append(new, _) => new.content.len() + new.sender_name.len(),
                Self::Create(new, _) => new.members.len() * 2 * size_of::<UserId>(),
                Self::MarkRead(..) | Self::Join(_) | Self::Leave(..) => 0,
            }
    }
}

/// A joining by code. Its conversation, and so its lane, must be looked up first; meanwhile it holds its place in every lane's
/// queue, so that it is neither overtaken by what is written to the conversation after it nor overtakes what came before.
pub(super) struct Joining {
    pub(super) invite: InviteHash,
    pub(super) user: UserId,
    pub(super) name: Arc<str>,
    pub(super) at: UnixMillis,
    /// The conversation with the code, once that is known; `None` inside if there is none, or it could not be found out.
    pub(super) conversation: SetOnce<Option<ConversationId>>,
    reply: Mutex<Option<Reply<Joined>>>,
}

impl Joining {
    pub(super) fn new(invite: InviteHash, user: UserId, name: Arc<str>, at: UnixMillis, done: Done<Joined>) -> Self {
        let reply = Mutex::new(Some(Reply::new(done)));
        Self { invite, user, name, at, conversation: SetOnce::new(), reply }
    }

    /// Answers it, unless it was answered.
    pub(super) fn answer(&self, outcome: Result<Joined, StoreError>) {
        // No code that can panic runs under the lock.
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            reply.send(outcome);
        }
    }
}

/// The duty to find out a joining's conversation: dropped without an answer, the joining is refused and lanes pass it by.
pub(super) struct Lookup(Arc<Joining>);

impl Lookup {
    pub(super) fn new(joining: Arc<Joining>) -> Self {
        Self(joining)
    }

    pub(super) fn invite(&self) -> &InviteHash {
        &self.0.invite
    }

    pub(super) fn found(self, conversation: Option<ConversationId>) {
        if conversation.is_none() {
            self.0.answer(Err(StoreError::NotFound));
        }
        // Set twice it is by nobody: the duty goes with this.
        self.0.conversation.set(conversation).ok();
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if self.0.conversation.set(None).is_ok() {
            self.0.answer(Err(StoreError::Unavailable));
        }
    }
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
            (Self::Join(joining), Outcome::Join(outcome)) => joining.answer(outcome),
            (Self::Leave(.., reply), Outcome::Leave(outcome)) => reply.send(outcome),
            // A phase gives outcomes of its own kind only. Dropping the write answers it all the same.
            (write, _) => {
                debug_assert!(false, "an outcome of another kind");
                drop(write);
            }
        }
    }
}
