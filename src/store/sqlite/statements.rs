//! How many SQL statements a commit takes: they are counted where SQLite begins one, on the writer's connection.

use std::cell::RefCell;
use std::sync::mpsc::channel;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tempfile::TempDir;

use super::super::contract::{group, text, text_as};
use super::super::{Appended, NewMessage};
use super::bench::LoneWriter;
use crate::protocol::ConversationId;

thread_local! {
    /// What this thread, which is that of one test, has made SQLite do: the first two words of each statement.
    static STATEMENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(_, sql) = event {
        let words: Vec<&str> = sql.split_whitespace().collect();
        let table = words.iter().position(|word| ["FROM", "INTO", "UPDATE"].contains(word)).map_or("", |at| words[at + 1]);
        STATEMENTS.with_borrow_mut(|statements| statements.push(format!("{} {table}", words[0]).trim_end().to_owned()));
    }
}

/// A writer with one conversation of two, in which both have written.
struct Subject {
    writer: LoneWriter,
    conversation: ConversationId,
    sent: usize,
    _directory: TempDir,
}

impl Subject {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut writer = LoneWriter::open(&directory.path().join("parlor.db")).expect("opens");
        let (done, created) = channel();
        writer.create_conversation(group(&["ann", "bob"], None), Box::new(move |outcome| done.send(outcome).expect("waits")));
        writer.commit();
        let conversation = created.try_recv().expect("answered").expect("created").conversation;
        let mut subject = Self { writer, conversation, sent: 0, _directory: directory };
        subject.commit(vec![text(conversation, "ann", "x"), text(conversation, "bob", "x")]);
        subject.writer.connection().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note));
        subject
    }

    /// The statements of one commit with these messages.
    fn commit(&mut self, messages: Vec<NewMessage>) -> Vec<String> {
        let (done, answers) = channel();
        let count = messages.len();
        for message in messages {
            let done = done.clone();
            self.writer.append_message(message, Box::new(move |outcome| done.send(outcome).expect("waits")));
        }
        STATEMENTS.take();
        self.writer.commit();
        let stored: Vec<Appended> = answers.try_iter().map(|outcome| outcome.expect("stored")).collect();
        assert_eq!(stored.iter().filter(|stored| !stored.duplicate).count(), count);
        STATEMENTS.take()
    }

    fn plain(&mut self, count: usize) -> Vec<String> {
        self.commit(vec![text(self.conversation, "ann", "x"); count])
    }

    /// Messages with ids of their own.
    fn named(&mut self, count: usize) -> Vec<String> {
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        self.commit(numbers.map(|number| text_as(self.conversation, "ann", &format!("c-{number}"), "x")).collect())
    }
}

#[test]
fn a_commit_is_three_statements_however_many_messages_it_has() {
    let mut subject = Subject::new();
    for count in [1, 10, 100] {
        assert_eq!(subject.plain(count), ["BEGIN", "INSERT journal", "COMMIT"], "{count} messages, one row");
    }
}

#[test]
fn a_message_with_an_id_is_looked_for_once() {
    let mut subject = Subject::new();
    for count in [1, 10, 100] {
        let statements = subject.named(count);
        let (lookups, rest): (Vec<_>, Vec<_>) = statements.into_iter().partition(|statement| statement.starts_with("SELECT"));
        assert_eq!(rest, ["BEGIN", "INSERT journal", "COMMIT"], "{count} messages, one row");
        assert_eq!(lookups, vec!["SELECT client_ids"; count], "the one index that may know the id");
    }
}
