//! The writer's thread: takes what has arrived, writes it in one transaction, syncs once, and answers; folds now and then.
//!
//! The next batch is whatever arrived while the last was being synced; no timer delays anything.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::super::{
    Appended, Created, Done, InviteHash, Joined, Left, NewConversation, NewMessage, ReadMark, StoreError, StoreLimits,
};
use super::open::SqliteOpenError;
use super::overlay::Overlay;
use super::queue::{Queue, Taken};
use super::rows::integer;
use super::write::{Batch, Failure, Transaction};
use super::{MAX_BATCH, Tuning, fold, journal, read_lock, write_lock};
use crate::metrics::Histogram;
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
pub(super) enum Answer {
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

/// Owns the writing connection and changes the overlay.
pub(super) struct Writer {
    connection: Connection,
    overlay: Arc<RwLock<Overlay>>,
    next_journal_id: u64,
    batch: Batch,
    body: Vec<u8>,
    limits: StoreLimits,
    tuning: Tuning,
    commit_times: Arc<Histogram>,
}

impl Writer {
    /// Reads the journal.
    pub(super) fn new(connection: Connection, limits: StoreLimits, tuning: Tuning) -> Result<Self, SqliteOpenError> {
        let (overlay, next_journal_id) = fold::replay(&connection)?;
        let overlay = Arc::new(RwLock::new(overlay));
        let (batch, body) = (Batch::default(), Vec::new());
        Ok(Self { connection, overlay, next_journal_id, batch, body, limits, tuning, commit_times: Arc::default() })
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is committed and not in the tables, for readers.
    pub(super) fn overlay(&self) -> Arc<RwLock<Overlay>> {
        Arc::clone(&self.overlay)
    }

    /// How long its transactions take.
    pub(super) fn commit_times(&self) -> Arc<Histogram> {
        Arc::clone(&self.commit_times)
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue<Write>) {
        let mut writes = Vec::new();
        let mut answers = Vec::new();
        // While there is something to fold, a silence is the time for it.
        let mut patience = Some(self.tuning.idle);
        loop {
            match queue.take(&mut writes, MAX_BATCH, patience) {
                Taken::Items => {
                    self.drive(&mut writes, &mut answers);
                    patience = Some(self.tuning.idle);
                }
                Taken::Nothing => {
                    let folded = self.fold(self.tuning.fold_rows);
                    let done = read_lock(&self.overlay).is_empty();
                    patience = match (folded, done) {
                        (Ok(()), false) => Some(Duration::ZERO),
                        (Err(_), false) => Some(self.tuning.idle),
                        (_, true) => None,
                    };
                }
                Taken::Closed => return,
            }
        }
    }

    /// Writes one batch, answers it, and folds if it is time.
    pub(super) fn drive(&mut self, writes: &mut Vec<Write>, answers: &mut Vec<Answer>) {
        let count = writes.len();
        let committed = self.commit(writes, answers);
        // What a failed batch did not come to is refused like the rest of it.
        writes.drain(..).for_each(Write::refuse);
        answers.drain(..).for_each(|answer| answer.give(committed));
        self.fold_after(count);
    }

    fn commit(&mut self, writes: &mut Vec<Write>, answers: &mut Vec<Answer>) -> Result<(), StoreError> {
        // When folding has failed for so long, memory must not grow with what comes in.
        self.make_room().map_err(|_| StoreError::Unavailable)?;
        let begin = Instant::now();
        let committed = self.try_commit(writes, answers);
        self.commit_times.record(begin.elapsed());
        self.batch.clear();
        committed.map_err(|error| {
            tracing::error!(%error, writes = answers.len() + writes.len(), "cannot commit");
            self.roll_back();
            StoreError::Unavailable
        })
    }

    fn try_commit(&mut self, writes: &mut Vec<Write>, answers: &mut Vec<Answer>) -> Result<(), CommitError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.apply(writes, answers)?;
        journal::encode(&self.batch.conversations, &mut self.body);
        let id = self.next_journal_id;
        if !self.body.is_empty() {
            let sql = "INSERT INTO journal (id, body) VALUES (?1, ?2)";
            self.connection.prepare_cached(sql)?.execute(params![integer(id), self.body])?;
        }
        // Readers see members in the tables and all else in the overlay: the two must change together for them.
        let held = self.batch.changed_members.then(|| write_lock(&self.overlay));
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        if !self.body.is_empty() {
            let mut overlay = held.unwrap_or_else(|| write_lock(&self.overlay));
            overlay.publish(id, self.body.len(), self.batch.conversations.drain());
            self.next_journal_id += 1;
        }
        Ok(())
    }

    fn apply(&mut self, writes: &mut Vec<Write>, answers: &mut Vec<Answer>) -> Result<(), CommitError> {
        let (connection, overlay) = (&self.connection, &*read_lock(&self.overlay));
        let (batch, limits) = (&mut self.batch, self.limits);
        let mut transaction = Transaction { connection, overlay, batch, limits };
        for write in writes.drain(..) {
            answers.push(transaction.apply(write));
            if connection.is_autocommit() {
                return Err(CommitError::RolledBack);
            }
        }
        Ok(())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
    }

    /// Folds after a batch of `count` writes: nothing while little waits, then somewhat more than came in.
    fn fold_after(&mut self, count: usize) {
        if self.waiting_bytes() > self.tuning.fold_above_bytes {
            let rows = (2 * count).clamp(self.tuning.fold_rows, self.tuning.max_fold_rows);
            // A failure is logged, and the next batch tries again.
            self.fold(rows).and_then(|()| self.make_room()).ok();
        }
    }

    /// Folds until memory is not at stake.
    fn make_room(&mut self) -> Result<(), CommitError> {
        while self.waiting_bytes() > self.tuning.hold_above_bytes {
            self.fold(self.tuning.max_fold_rows)?;
        }
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        let overlay = read_lock(&self.overlay);
        overlay.bytes().max(overlay.journal_bytes())
    }

    /// Brings some of the overlay into the tables. After a failure everything is as before, and it can be tried again.
    fn fold(&mut self, max_rows: usize) -> Result<(), CommitError> {
        let folded = self.try_fold(max_rows);
        if let Err(error) = &folded {
            tracing::error!(%error, "cannot fold the journal into the tables");
            self.roll_back();
        }
        folded
    }

    fn try_fold(&mut self, max_rows: usize) -> Result<(), CommitError> {
        let overlay = read_lock(&self.overlay);
        if overlay.is_empty() {
            return Ok(());
        }
        // Empty when nothing is left of the journal's rows but the rows: they go.
        let plan = overlay.plan(max_rows);
        let needless_before = overlay.needless_before(&plan, max_rows);
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        fold::write(&self.connection, &overlay, &plan, needless_before)?;
        drop(overlay);
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        write_lock(&self.overlay).fold(&plan, needless_before);
        Ok(())
    }
}

/// Why a transaction did not come to its end.
#[derive(Debug)]
enum CommitError {
    Sqlite(rusqlite::Error),
    /// One write's failure was grave enough for SQLite to roll all of them back.
    RolledBack,
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::RolledBack => f.write_str("SQLite rolled the transaction back"),
        }
    }
}

impl Transaction<'_> {
    fn apply(&mut self, write: Write) -> Answer {
        match write {
            // These two only read tables, so that there is nothing to undo.
            Write::Append(new, done) => Answer::Append(done, self.append(new).map_err(Failure::into_store_error)),
            Write::MarkRead(id, user, seq, done) => {
                Answer::MarkRead(done, self.mark_read(id, &user, seq).map_err(Failure::into_store_error))
            }
            Write::Create(new, done) => Answer::Create(done, self.guard(|this| this.create(&new))),
            Write::Join(invite, user, name, at, done) => {
                Answer::Join(done, self.guard(|this| this.join(&invite, user, name, at)))
            }
            Write::Leave(id, user, at, done) => Answer::Leave(done, self.guard(|this| this.leave(id, user, at))),
            Write::PutUser(user, name, done) => Answer::Put(done, self.guard(|this| this.put_user(&user, &name))),
            Write::PutLastSeen(users, done) => Answer::Put(done, self.guard(|this| this.put_last_seen(&users))),
            Write::Check(done) => Answer::Put(done, self.guard(|this| this.check())),
        }
    }

    /// Runs one write to the tables so that its failure leaves nothing of it and all of the others.
    fn guard<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, StoreError> {
        let guarded = |this: &mut Self| {
            this.connection.prepare_cached("SAVEPOINT one_write")?.execute([])?;
            let result = write(this);
            if let Err(Failure::Sqlite(_)) = result {
                this.connection.prepare_cached("ROLLBACK TO one_write")?.execute([])?;
            }
            this.connection.prepare_cached("RELEASE one_write")?.execute([])?;
            result
        };
        guarded(self).map_err(Failure::into_store_error)
    }
}
