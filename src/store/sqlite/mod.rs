//! The default store: one SQLite file, one thread that writes, a few that read.
//!
//! A commit appends one row to the journal, whatever and however many conversations it is about: that is what makes a message
//! cheap. The overlay keeps in memory what the journal holds, and reads look there and in the tables. Folding brings it into
//! the tables later, many messages of one conversation at a time. Opening a database reads the journal back into the overlay.
//!
//! Writes to conversations, members and users are rare and go to their tables at once.

#[doc(hidden)]
pub mod bench;
mod export;
mod fold;
mod journal;
mod open;
mod overlay;
mod queue;
mod read;
mod rows;
mod staged;
mod write;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use self::export::SqliteExport;
pub use self::open::SqliteOpenError;
use self::overlay::Overlay;
use self::queue::{Queue, Taken};
use self::read::{Missing, Reader};
use self::writer::{Write, Writer};
use super::{
    Appended, ConversationCursor, ConversationPage, ConversationView, Created, Done, InviteHash, Joined, Left, MessagePage,
    MessageRange, Migrated, NewConversation, NewMessage, ReadMark, RoomSnapshot, Store, StoreError, StoreLimits,
};
use crate::metrics::Histogram;
use crate::protocol::{ConversationId, LogEvent, Seq, UnixMillis, UserId};

/// Most writes in one transaction: bounds how long the first of them waits for the last.
const MAX_BATCH: usize = 1_024;
/// Most writes that wait: about a second's worth.
const MAX_QUEUED_WRITES: usize = 65_536;
/// Most memory of the writes that wait.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// Threads that read, each with its connection.
const READERS: usize = 2;
/// Most reads that wait.
const MAX_QUEUED_READS: usize = 4_096;

/// How much waits in the overlay, and how it is folded.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// Folding starts when the overlay or the journal is larger than this.
    fold_above_bytes: usize,
    /// Nothing new is taken while either is larger than this.
    hold_above_bytes: usize,
    /// Rows in a transaction that folds: few enough that appends do not wait long for it.
    fold_rows: usize,
    /// The same when writes come in large batches, and so wait longer anyway.
    max_fold_rows: usize,
    /// Silence after which everything is folded.
    idle: Duration,
    /// How long a statement waits for somebody else's look at the file, such as the `sqlite3` shell's.
    busy_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            fold_above_bytes: 16 * 1024 * 1024,
            hold_above_bytes: 64 * 1024 * 1024,
            fold_rows: 512,
            max_fold_rows: 2_048,
            idle: Duration::from_millis(500),
            busy_timeout: Duration::from_secs(1),
        }
    }
}

fn read_lock(overlay: &RwLock<Overlay>) -> RwLockReadGuard<'_, Overlay> {
    // A panic under the lock is a bug that has ended the writer, so that nothing half done is written.
    overlay.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock(overlay: &RwLock<Overlay>) -> RwLockWriteGuard<'_, Overlay> {
    overlay.write().unwrap_or_else(PoisonError::into_inner)
}

/// A read that waits for a reader; gets none when there is no room in the queue.
type Read = Box<dyn FnOnce(Option<&Reader>) + Send>;

/// Keeps everything in one SQLite database. Dropping it finishes what is queued.
pub struct SqliteStore {
    epoch: Arc<str>,
    writes: Arc<Queue<Write>>,
    reads: Arc<Queue<Read>>,
    commit_times: Arc<Histogram>,
    threads: Vec<JoinHandle<()>>,
    /// Given up last, after the threads and their connections are gone.
    _lock: File,
}

impl SqliteStore {
    /// Opens the database at `path`, or creates it.
    ///
    /// # Errors
    /// When the file cannot be used, another server uses it, or its schema is not this version's.
    pub fn open(path: &Path, limits: StoreLimits) -> Result<Self, SqliteOpenError> {
        Self::open_tuned(path, limits, Tuning::default())
    }

    /// Opens the database at `path`, or creates it, and brings its schema up to date, which opening the store does too.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn migrate(path: &Path) -> Result<Migrated, SqliteOpenError> {
        Ok(open::open(path, Tuning::default().busy_timeout)?.migrated)
    }

    fn open_tuned(path: &Path, limits: StoreLimits, tuning: Tuning) -> Result<Self, SqliteOpenError> {
        let database = open::open(path, tuning.busy_timeout)?;
        let writer = Writer::new(database.writer, limits, tuning)?;
        let reader = |_| Ok(Reader::new(open::open_reader(path, tuning.busy_timeout)?, writer.overlay()));
        let readers: Vec<Reader> = (0..READERS).map(reader).collect::<Result<_, SqliteOpenError>>()?;
        let writes = Arc::new(Queue::new(MAX_QUEUED_WRITES, MAX_QUEUED_BYTES));
        let reads = Arc::new(Queue::new(MAX_QUEUED_READS, usize::MAX));
        let mut store = Self {
            epoch: database.epoch,
            writes: Arc::clone(&writes),
            reads: Arc::clone(&reads),
            commit_times: writer.commit_times(),
            threads: Vec::new(),
            _lock: database.lock,
        };
        store.spawn(path, "store-writer".into(), move || {
            let _refusing = Refusing(&writes, Write::refuse);
            writer.run(&writes);
        })?;
        for (number, reader) in readers.into_iter().enumerate() {
            let reads = Arc::clone(&reads);
            store.spawn(path, format!("store-reader-{number}"), move || {
                let _refusing = Refusing(&reads, |read: Read| read(None));
                let mut batch = Vec::with_capacity(1);
                while reads.take(&mut batch, 1, None) == Taken::Items {
                    batch.drain(..).for_each(|read| read(Some(&reader)));
                }
            })?;
        }
        Ok(store)
    }

    fn spawn(&mut self, path: &Path, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), SqliteOpenError> {
        let thread = std::thread::Builder::new().name(name).spawn(run);
        self.threads.push(thread.map_err(|source| SqliteOpenError::File { path: path.to_owned(), source })?);
        Ok(())
    }

    fn write(&self, write: Write) {
        let bytes = write.bytes();
        if let Err(write) = self.writes.push(write, bytes) {
            write.refuse();
        }
    }

    fn read<T: 'static>(&self, done: Done<T>, read: impl FnOnce(&Reader) -> Result<T, Missing> + Send + 'static) {
        let read: Read = Box::new(move |reader| {
            done(match reader {
                Some(reader) => read(reader).map_err(Missing::into_store_error),
                None => Err(StoreError::Unavailable),
            });
        });
        if let Err(read) = self.reads.push(read, 0) {
            read(None);
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
        let this_thread = std::thread::current().id();
        // A callback may drop the last reference; a thread cannot wait for itself.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != this_thread) {
            // It panicked, which its own message says.
            drop(thread.join());
        }
    }
}

/// Refuses what is queued when its thread ends, be it by a panic, so that every callback is called.
struct Refusing<'a, T>(&'a Queue<T>, fn(T));

impl<T> Drop for Refusing<'_, T> {
    fn drop(&mut self) {
        self.0.close();
        let mut left = Vec::new();
        while self.0.take(&mut left, usize::MAX, None) == Taken::Items {
            left.drain(..).for_each(self.1);
        }
    }
}

impl Store for SqliteStore {
    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.epoch)
    }

    fn append_message(&self, message: NewMessage, done: Done<Appended>) {
        self.write(Write::Append(message, done));
    }

    fn mark_read(&self, conversation: ConversationId, user: UserId, seq: Seq, done: Done<ReadMark>) {
        self.write(Write::MarkRead(conversation, user, seq, done));
    }

    fn create_conversation(&self, new: NewConversation, done: Done<Created>) {
        self.write(Write::Create(new, done));
    }

    fn join_by_invite(&self, invite: InviteHash, user: UserId, name: Arc<str>, at: UnixMillis, done: Done<Joined>) {
        self.write(Write::Join(invite, user, name, at, done));
    }

    fn leave(&self, conversation: ConversationId, user: UserId, at: UnixMillis, done: Done<Left>) {
        self.write(Write::Leave(conversation, user, at, done));
    }

    fn put_user(&self, user: UserId, name: Arc<str>, done: Done<()>) {
        self.write(Write::PutUser(user, name, done));
    }

    fn put_last_seen(&self, users: Vec<(UserId, UnixMillis)>, done: Done<()>) {
        self.write(Write::PutLastSeen(users, done));
    }

    fn open_room(&self, conversation: ConversationId, recent: usize, done: Done<RoomSnapshot>) {
        self.read(done, move |reader| reader.room(conversation, recent));
    }

    fn load_events(&self, conversation: ConversationId, after: Seq, limit: usize, done: Done<Vec<LogEvent>>) {
        self.read(done, move |reader| reader.events(conversation, after, limit));
    }

    fn load_messages(
        &self,
        conversation: ConversationId,
        user: UserId,
        range: MessageRange,
        limit: usize,
        done: Done<MessagePage>,
    ) {
        self.read(done, move |reader| reader.messages(conversation, &user, range, limit));
    }

    fn load_conversation(&self, conversation: ConversationId, user: UserId, done: Done<ConversationView>) {
        self.read(done, move |reader| reader.view(conversation, &user));
    }

    fn load_conversations(&self, user: UserId, cursor: Option<ConversationCursor>, limit: usize, done: Done<ConversationPage>) {
        self.read(done, move |reader| reader.page(&user, cursor, limit));
    }

    fn commit_times(&self) -> Option<&Histogram> {
        Some(&self.commit_times)
    }

    fn check(&self, done: Done<()>) {
        let writes = Arc::clone(&self.writes);
        // Answers when a reader and, after it, the writer had their turn.
        self.read(
            Box::new(move |read: Result<(), StoreError>| match read {
                Ok(()) => {
                    if let Err(write) = writes.push(Write::Check(done), 0) {
                        write.refuse();
                    }
                }
                Err(error) => done(Err(error)),
            }),
            |reader| reader.check(),
        );
    }
}

#[cfg(test)]
mod statements;
#[cfg(test)]
mod tests;
