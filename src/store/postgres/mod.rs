//! The store on a PostgreSQL server, which several nodes may share.
//!
//! One thread drives all connections: a few lanes that write to conversations, one beside them for names and lookups, and a pool
//! that reads. A lane takes what has arrived, at most so many writes, and commits it in one round trip. The rows of the
//! conversations concerned are locked first, so that `seq` is dense whoever else writes. Nothing is kept here that another node
//! could make stale: PostgreSQL is asked for everything.

mod append;
mod batch;
mod connect;
mod error;
mod import;
mod lane;
mod members;
mod migrate;
mod pipeline;
mod plan;
mod reads;
mod rows;
mod side;
mod tls;
mod write;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::error::{PostgresError, PostgresOpenError};
pub(crate) use self::import::{Access, Compare, PostgresImport, PostgresImportError};

use self::batch::WriterLink;
use self::connect::Connector;
use self::lane::{Lane, LaneQueue, lane_of};
use self::reads::Reads;
use self::side::{Side, SideLink};
use self::write::{Joining, Reply, Write};
use super::{
    Appended, ConversationCursor, ConversationPage, ConversationView, Created, DatabaseServer, Done, InviteHash, Joined, Left,
    MessagePage, MessageRange, Migrated, NewConversation, NewMessage, ReadMark, RoomSnapshot, Store, StoreError, StoreLimits,
};
use crate::metrics::Histogram;
use crate::protocol::{ConversationId, LogEvent, Seq, UnixMillis, UserId};

/// Keeps everything in one schema of a PostgreSQL database. Dropping it finishes what is queued.
pub struct PostgresStore {
    epoch: Arc<str>,
    lanes: Vec<LaneQueue>,
    commit_times: Arc<Histogram>,
    side: Option<mpsc::Sender<Side>>,
    reads: Reads,
    thread: Option<JoinHandle<()>>,
}

/// What the store's thread has opened.
struct Opened {
    epoch: Arc<str>,
    lanes: Vec<LaneQueue>,
    commit_times: Arc<Histogram>,
    side: mpsc::Sender<Side>,
    reads: Reads,
}

impl PostgresStore {
    /// Connects and brings the schema up to date. Blocks meanwhile.
    ///
    /// # Errors
    /// When no connection comes about, the server would lose messages, or the schema is not this version's.
    pub fn open(server: DatabaseServer, limits: StoreLimits) -> Result<Self, PostgresOpenError> {
        let (report, opened) = sync_channel(1);
        let thread = std::thread::Builder::new().name("store-postgres".into()).spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(report.send(Err(error))),
            };
            runtime.block_on(run(&server, limits, &report));
        });
        let thread = thread.map_err(PostgresOpenError::Thread)?;
        let opened = opened.recv().unwrap_or(Err(PostgresOpenError::Timeout("starting")));
        match opened {
            Ok(Opened { epoch, lanes, commit_times, side, reads }) => {
                Ok(Self { epoch, lanes, commit_times, side: Some(side), reads, thread: Some(thread) })
            }
            Err(error) => {
                // It has reported, so it is ending.
                drop(thread.join());
                Err(error)
            }
        }
    }

    /// Makes the schema, or brings it up to date, and nothing else. Blocks meanwhile.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn migrate(server: &DatabaseServer) -> Result<Migrated, PostgresOpenError> {
        runtime()?.block_on(async { migrate::migrate(&Connector::new(server)?, &server.schema).await })
    }

    fn write(&self, conversation: ConversationId, write: Write) {
        self.lanes[lane_of(conversation, self.lanes.len())].push(write);
    }

    fn beside(&self, side: Side) {
        if let Some(queue) = &self.side {
            // What does not fit is dropped, and so refused.
            drop(queue.try_send(side));
        }
    }
}

fn runtime() -> Result<tokio::runtime::LocalRuntime, PostgresOpenError> {
    let builder = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    builder.map_err(PostgresOpenError::Thread)
}

/// Opens everything, reports, and then works until all queues are closed and empty.
async fn run(server: &DatabaseServer, limits: StoreLimits, report: &SyncSender<Result<Opened, PostgresOpenError>>) {
    let mut tasks = JoinSet::new();
    match open(server, limits, &mut tasks).await {
        Ok(opened) => {
            let reads = opened.reads.clone();
            drop(report.send(Ok(opened)));
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a part of the store has ended");
                }
            }
            reads.finished().await;
        }
        Err(error) => drop(report.send(Err(error))),
    }
}

async fn open(server: &DatabaseServer, limits: StoreLimits, tasks: &mut JoinSet<()>) -> Result<Opened, PostgresOpenError> {
    let connector = Connector::new(server)?;
    migrate::migrate(&connector, &server.schema).await?;
    // A batch is several statements, each of which may take that long.
    let patience = 2 * server.timeout + Duration::from_secs(1);
    let (mut lanes, commit_times) = (Vec::with_capacity(server.writers), Arc::default());
    for index in 0..server.writers {
        let link = WriterLink::open(&connector).await?;
        let (lane, queue) = Lane::new(index, connector.clone(), limits, Arc::clone(&commit_times), patience);
        tasks.spawn_local(lane.run(link));
        lanes.push(queue);
    }
    let (side, queue) = side::queue();
    let link = SideLink::open(&connector).await?;
    let epoch = connector.within("reading the epoch", link.epoch()).await?;
    tasks.spawn_local(side::run(connector.clone(), link, queue, lanes.clone(), patience));
    let reads = Reads::new(&connector, server.connections, server.timeout);
    Ok(Opened { epoch, lanes, commit_times, side, reads })
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.lanes.clear();
        self.side = None;
        // A callback may drop the last reference; a thread cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // It panicked, which its own message says.
            drop(thread.join());
        }
    }
}

impl Store for PostgresStore {
    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.epoch)
    }

    fn append_message(&self, message: NewMessage, done: Done<Appended>) {
        self.write(message.conversation, Write::Append(message, Reply::new(done)));
    }

    fn mark_read(&self, conversation: ConversationId, user: UserId, seq: Seq, done: Done<ReadMark>) {
        self.write(conversation, Write::MarkRead(conversation, user, seq, Reply::new(done)));
    }

    fn create_conversation(&self, new: NewConversation, done: Done<Created>) {
        self.write(new.id, Write::Create(new, Reply::new(done)));
    }

    fn join_by_invite(&self, invite: InviteHash, user: UserId, name: Arc<str>, at: UnixMillis, done: Done<Joined>) {
        self.beside(Side::Join(Joining { invite, user, name, at, reply: Reply::new(done) }));
    }

    fn leave(&self, conversation: ConversationId, user: UserId, at: UnixMillis, done: Done<Left>) {
        self.write(conversation, Write::Leave(conversation, user, at, Reply::new(done)));
    }

    fn put_user(&self, user: UserId, name: Arc<str>, done: Done<()>) {
        self.beside(Side::PutUser(user, name, Reply::new(done)));
    }

    fn put_last_seen(&self, users: Vec<(UserId, UnixMillis)>, done: Done<()>) {
        self.beside(Side::PutLastSeen(users, Reply::new(done)));
    }

    fn open_room(&self, conversation: ConversationId, recent: usize, done: Done<RoomSnapshot>) {
        self.reads.start(done, move |client| reads::open_room(client, conversation, recent));
    }

    fn load_events(&self, conversation: ConversationId, after: Seq, limit: usize, done: Done<Vec<LogEvent>>) {
        self.reads.start(done, move |client| reads::load_events(client, conversation, after, limit));
    }

    fn load_messages(
        &self,
        conversation: ConversationId,
        user: UserId,
        range: MessageRange,
        limit: usize,
        done: Done<MessagePage>,
    ) {
        self.reads.start(done, move |client| reads::load_messages(client, conversation, user, range, limit));
    }

    fn load_conversation(&self, conversation: ConversationId, user: UserId, done: Done<ConversationView>) {
        self.reads.start(done, move |client| reads::load_view(client, conversation, user));
    }

    fn load_conversations(&self, user: UserId, cursor: Option<ConversationCursor>, limit: usize, done: Done<ConversationPage>) {
        self.reads.start(done, move |client| reads::load_page(client, user, cursor, limit));
    }

    fn commit_times(&self) -> Option<&Histogram> {
        Some(&self.commit_times)
    }

    fn check(&self, done: Done<()>) {
        // Answers when a reader and, after it, a writer had their turn, and every lane has its connection.
        let (side, lanes) = (self.side.clone(), self.lanes.clone());
        let checked = Box::new(move |read: Result<(), StoreError>| match (read, side) {
            (Ok(()), Some(side)) if lanes.iter().all(LaneQueue::is_up) => drop(side.try_send(Side::Check(Reply::new(done)))),
            (Ok(()), _) => done(Err(StoreError::Unavailable)),
            (Err(error), _) => done(Err(error)),
        });
        self.reads.start(checked, reads::check);
    }
}

#[cfg(test)]
pub(crate) mod tests;
