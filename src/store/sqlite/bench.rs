//! For the benches in `benches/` and for counting statements: the writer without its thread, so that what one commit costs can be
//! counted exactly. The store itself uses nothing of this.

use std::fs::File;
use std::path::Path;

use super::super::{Appended, Created, Done, NewConversation, NewMessage, StoreLimits};
use super::Tuning;
use super::open::{self, SqliteOpenError};
use super::writer::{Answer, Write, Writer};

/// A writer that commits when it is told to.
pub struct LoneWriter {
    writer: Writer,
    writes: Vec<Write>,
    answers: Vec<Answer>,
    /// Given up last.
    _lock: File,
}

impl LoneWriter {
    /// Opens the database at `path`, or creates it.
    ///
    /// # Errors
    /// As [`super::SqliteStore::open`].
    pub fn open(path: &Path) -> Result<Self, SqliteOpenError> {
        let tuning = Tuning::default();
        let database = open::open(path, tuning.busy_timeout)?;
        let writer = Writer::new(database.writer, StoreLimits::default(), tuning)?;
        Ok(Self { writer, writes: Vec::new(), answers: Vec::new(), _lock: database.lock })
    }

    /// Adds a message to the next batch.
    pub fn append_message(&mut self, message: NewMessage, done: Done<Appended>) {
        self.writes.push(Write::Append(message, done));
    }

    /// Adds a conversation to the next batch.
    pub fn create_conversation(&mut self, new: NewConversation, done: Done<Created>) {
        self.writes.push(Write::Create(new, done));
    }

    /// Commits the batch and answers it.
    pub fn commit(&mut self) {
        self.writer.drive(&mut self.writes, &mut self.answers);
    }

    /// The connection that it writes with.
    #[cfg(test)]
    pub(super) fn connection(&self) -> &rusqlite::Connection {
        self.writer.connection()
    }
}
