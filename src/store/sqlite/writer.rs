//! The writer's thread: takes what has arrived, writes it in one transaction, syncs once, and answers.
//!
//! The next batch is whatever arrived while the last was being synced; no timer delays anything.

use std::sync::Arc;

use rusqlite::Connection;

use super::super::{Appended, Created, Done, InviteHash, Joined, Left, NewConversation, NewMessage, ReadMark, StoreError};
use super::MAX_BATCH;
use super::queue::Queue;
use super::write::{Failure, Transaction};
use crate::protocol::{ConversationId, Seq, UnixMillis, UserId};

/// A write that waits for its turn.
pub(super) enum Write {
    Append(NewMessage, Done<Appended>),
    MarkRead(ConversationId, UserId, Seq, Done<ReadMark>),
    Create(NewConversation, Done<Created>),
    Join(InviteHash, UserId, Arc<str>, UnixMillis, Done<Joined>),
    Leave(ConversationId, UserId, UnixMillis, Done<Left>),
    PutUser(UserId, Arc<str>, Done<()>),
    PutLastSeen(Vec<(UserId, UnixMillis)>, Done<()>),
    Check(Done<()>),
}

impl Write {
    /// About how much memory it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        let fixed = size_of::<Self>();
        match self {
            Self::Append(message, _) => fixed + message.content.len(),
            Self::Create(new, _) => fixed + new.members.len() * 2 * size_of::<UserId>(),
            Self::PutLastSeen(users, _) => fixed + users.len() * 2 * size_of::<UserId>(),
            Self::MarkRead(..) | Self::Join(..) | Self::Leave(..) | Self::PutUser(..) | Self::Check(_) => fixed,
        }
    }

    /// Answers that the store is not available.
    pub(super) fn refuse(self) {
        let error = StoreError::Unavailable;
        match self {
            Self::Append(_, done) => done(Err(error)),
            Self::MarkRead(.., done) => done(Err(error)),
            Self::Create(_, done) => done(Err(error)),
            Self::Join(.., done) => done(Err(error)),
            Self::Leave(.., done) => done(Err(error)),
            Self::PutUser(.., done) | Self::PutLastSeen(_, done) | Self::Check(done) => done(Err(error)),
        }
    }
}

/// An answer that waits for the commit.
enum Answer {
    Append(Done<Appended>, Result<Appended, StoreError>),
    MarkRead(Done<ReadMark>, Result<ReadMark, StoreError>),
    Create(Done<Created>, Result<Created, StoreError>),
    Join(Done<Joined>, Result<Joined, StoreError>),
    Leave(Done<Left>, Result<Left, StoreError>),
    Put(Done<()>, Result<(), StoreError>),
}

impl Answer {
    fn give(self, committed: Result<(), StoreError>) {
        match self {
            Self::Append(done, result) => done(committed.and(result)),
            Self::MarkRead(done, result) => done(committed.and(result)),
            Self::Create(done, result) => done(committed.and(result)),
            Self::Join(done, result) => done(committed.and(result)),
            Self::Leave(done, result) => done(committed.and(result)),
            Self::Put(done, result) => done(committed.and(result)),
        }
    }
}

/// Owns the writing connection.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) max_members: usize,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue<Write>) {
        let mut batch = Vec::new();
        let mut answers = Vec::new();
        while queue.take(&mut batch, MAX_BATCH) {
            let committed = self.commit(&mut batch, &mut answers);
            // What a failed batch did not come to is refused like the rest of it.
            batch.drain(..).for_each(Write::refuse);
            answers.drain(..).for_each(|answer| answer.give(committed));
        }
    }

    fn commit(&mut self, batch: &mut Vec<Write>, answers: &mut Vec<Answer>) -> Result<(), StoreError> {
        self.try_commit(batch, answers).map_err(|error| {
            tracing::error!(%error, writes = answers.len() + batch.len(), "cannot commit");
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "cannot roll back");
            }
            StoreError::Unavailable
        })
    }

    fn try_commit(&mut self, batch: &mut Vec<Write>, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let transaction = Transaction { connection, max_members: self.max_members };
        for write in batch.drain(..) {
            answers.push(transaction.apply(write));
            if connection.is_autocommit() {
                // The failure was grave enough for SQLite to roll everything back.
                return Err(rusqlite::Error::ExecuteReturnedResults);
            }
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Transaction<'_> {
    fn apply(&self, write: Write) -> Answer {
        match write {
            Write::Append(new, done) => Answer::Append(done, self.guard(|| self.append(new))),
            Write::MarkRead(id, user, seq, done) => Answer::MarkRead(done, self.guard(|| self.mark_read(id, &user, seq))),
            Write::Create(new, done) => Answer::Create(done, self.guard(|| self.create(&new))),
            Write::Join(invite, user, name, at, done) => Answer::Join(done, self.guard(|| self.join(&invite, user, name, at))),
            Write::Leave(id, user, at, done) => Answer::Leave(done, self.guard(|| self.leave(id, user, at))),
            Write::PutUser(user, name, done) => Answer::Put(done, self.guard(|| self.put_user(&user, &name))),
            Write::PutLastSeen(users, done) => Answer::Put(done, self.guard(|| self.put_last_seen(&users))),
            Write::Check(done) => Answer::Put(done, Ok(())),
        }
    }

    /// Runs one write so that its failure leaves nothing of it and all of the others.
    fn guard<T>(&self, write: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
        let guarded = || {
            self.connection.prepare_cached("SAVEPOINT one_write")?.execute([])?;
            let result = write();
            if let Err(Failure::Sqlite(_)) = result {
                self.connection.prepare_cached("ROLLBACK TO one_write")?.execute([])?;
            }
            self.connection.prepare_cached("RELEASE one_write")?.execute([])?;
            result
        };
        guarded().map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Sqlite(error) => {
                tracing::error!(%error, "cannot write");
                StoreError::Unavailable
            }
        })
    }
}
