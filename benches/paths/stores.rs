//! Messages to be appended to each store.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use parlor::protocol::{ConversationId, ConversationKind, MessageId, UnixMillis};
use parlor::store::sqlite::bench::LoneWriter;
use parlor::store::{Appended, Created, Done, MemoryStore, NewConversation, NewMessage, Store, StoreError};
use tempfile::TempDir;

use super::{APPENDS, CONTENT, START, WARM_UP, client_id, conversation, user};

/// Of the conversation. All of them write: how long it takes to find one differs with the chance of where hashes fall.
const MEMBERS: usize = 20;

/// Creates a group of so many; the store answers before `create` returns.
pub(super) fn create_group(members: usize, create: impl FnOnce(NewConversation, Done<Created>)) -> ConversationId {
    let (done, created) = channel();
    let new = NewConversation {
        id: conversation(),
        kind: ConversationKind::Group,
        title: "A group".into(),
        creator: user(0),
        members: (0..members).map(user).collect(),
        invite: None,
        created_at: UnixMillis::new(START),
    };
    create(new, Box::new(move |outcome| done.send(outcome).expect("waits")));
    created.try_recv().expect("answered").expect("created").conversation
}

fn message(number: usize) -> NewMessage {
    NewMessage {
        id: MessageId::new_v7(Duration::from_millis(START), [3; 10]),
        conversation: conversation(),
        sender: user(number % MEMBERS),
        sender_name: Arc::from("Somebody Else"),
        content: CONTENT.into(),
        client_message_id: Some(client_id(number).into()),
        reply_to: None,
        created_at: UnixMillis::new(START),
    }
}

fn done() -> Done<Appended> {
    Box::new(|outcome: Result<Appended, StoreError>| {
        assert!(!outcome.expect("stored").duplicate);
    })
}

/// [`APPENDS`] messages for the store that keeps nothing.
pub(crate) struct MemoryAppends {
    store: MemoryStore,
    messages: Vec<(NewMessage, Done<Appended>)>,
}

impl MemoryAppends {
    pub(crate) fn new() -> Self {
        let store = MemoryStore::new();
        create_group(MEMBERS, |new, done| store.create_conversation(new, done));
        let with_answer = |number| (message(number), done());
        let mut appends = Self { store, messages: (0..WARM_UP).map(with_answer).collect() };
        appends.run();
        appends.messages = (WARM_UP..WARM_UP + APPENDS).map(with_answer).collect();
        appends
    }

    pub(crate) fn run(&mut self) {
        for (message, done) in self.messages.drain(..) {
            self.store.append_message(message, done);
        }
    }
}

/// One commit of SQLite's writer, of some messages.
pub(crate) struct Commit {
    writer: LoneWriter,
    appended: usize,
    /// Removed last.
    _directory: TempDir,
}

impl Commit {
    /// Everything but the commit is done.
    pub(crate) fn new(messages: usize) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut writer = LoneWriter::open(&directory.path().join("bench.db")).expect("opens");
        create_group(MEMBERS, |new, done| {
            writer.create_conversation(new, done);
            writer.commit();
        });
        let mut commit = Self { writer, appended: 0, _directory: directory };
        for _ in 0..WARM_UP {
            commit.prepare(1);
            commit.run();
        }
        commit.prepare(messages);
        commit
    }

    /// Adds so many messages to the next batch.
    pub(crate) fn prepare(&mut self, messages: usize) {
        for number in self.appended..self.appended + messages {
            self.writer.append_message(message(number), done());
        }
        self.appended += messages;
    }

    pub(crate) fn run(&mut self) {
        self.writer.commit();
    }
}
