//! The contract's suite on SQLite, and what only SQLite has: files, locks and settings.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;

use tempfile::TempDir;

use rusqlite::Connection;

use super::super::contract::model::Model;
use super::super::contract::random::{Random, compare_all, run_burst, with_seeds};
use super::super::contract::{LIMITS, Subject, at_seq, call, contract_tests, group, outcome, start, text, text_as, user};
use super::super::transfer::{Position, Row, Source};
use super::*;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, LIMITS).expect("opens")
}

fn directory() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("parlor.db");
    (directory, path)
}

fn subject(tuning: Tuning) -> Subject {
    let (directory, path) = directory();
    Subject::durable(move || {
        let _kept = &directory;
        SqliteStore::open_tuned(&path, LIMITS, tuning).expect("opens")
    })
}

/// Folds a few rows after each batch, so that every conversation is partly in the tables and partly in the overlay.
const ALWAYS_FOLDING: Tuning = Tuning {
    fold_above_bytes: 0,
    hold_above_bytes: usize::MAX,
    fold_rows: 2,
    max_fold_rows: 5,
    idle: Duration::from_secs(3_600),
    busy_timeout: Duration::from_millis(1),
};
/// Folds everything after each batch.
const FOLDED: Tuning = Tuning { hold_above_bytes: 0, ..ALWAYS_FOLDING };
/// Leaves everything in the overlay.
const NEVER_FOLDING: Tuning = Tuning { fold_above_bytes: usize::MAX, ..ALWAYS_FOLDING };

mod by_default {
    super::contract_tests!(|| super::subject(super::Tuning::default()));
}

mod never_folding {
    super::contract_tests!(|| super::subject(super::NEVER_FOLDING));
}

mod always_folding {
    super::contract_tests!(|| super::subject(super::ALWAYS_FOLDING));
}

mod folded {
    super::contract_tests!(|| super::subject(super::FOLDED));
}

mod folding_in_silence {
    super::contract_tests!(|| super::subject(super::Tuning { idle: super::Duration::ZERO, ..super::NEVER_FOLDING }));
}

/// Stops the writer between two transactions, while `meanwhile` runs.
fn with_the_writer_stopped(store: &dyn Store, meanwhile: impl FnOnce()) {
    let (stopped, is_stopped) = channel();
    let (resume, may_resume) = channel::<()>();
    store.check(Box::new(move |checked| {
        stopped.send(checked).expect("waits");
        // Ends when the other end is dropped.
        may_resume.recv().ok();
    }));
    is_stopped.recv().expect("answers").expect("works");
    meanwhile();
    drop(resume);
}

/// What a crash at this moment would leave: all that was synced, and nothing of the process.
fn crash_copy(store: &dyn Store, path: &Path) -> (TempDir, PathBuf) {
    let (copies, copy) = directory();
    with_the_writer_stopped(store, || {
        std::fs::copy(path, &copy).expect("copied");
        let (log, log_copy) = (path.with_extension("db-wal"), copy.with_extension("db-wal"));
        std::fs::copy(log, log_copy).expect("copied");
    });
    (copies, copy)
}

/// Runs random writes and goes on from a copy of the files, as a crash leaves them, again and again.
fn survives_crashes(tuning: Tuning) {
    with_seeds(4, |seed| {
        let open = |path: &Path| SqliteStore::open_tuned(path, LIMITS, tuning).expect("opens");
        let (mut random, mut model) = (Random::new(seed), Model::default());
        let (mut kept, mut path) = directory();
        let mut subject = Subject::volatile(open(&path));
        for _ in 0..60 {
            run_burst(&mut random, subject.store(), &mut model, 12);
            if random.below(3) == 0 {
                let copy = crash_copy(subject.store(), &path);
                subject = Subject::volatile(open(&copy.1));
                // Only now the crashed one's files may go.
                (kept, path) = copy;
                compare_all(&mut random, &subject, &model);
            }
        }
        drop((subject, kept));
    });
}

#[test]
fn a_crash_while_nothing_is_folded_loses_and_repeats_nothing() {
    survives_crashes(NEVER_FOLDING);
}

#[test]
fn a_crash_between_folds_loses_and_repeats_nothing() {
    survives_crashes(ALWAYS_FOLDING);
}

#[test]
fn a_crash_after_folding_loses_and_repeats_nothing() {
    survives_crashes(FOLDED);
}

/// Everything that an export gives, in pages of so many rows.
fn exported(path: &Path, page_rows: usize) -> (Source, Vec<Row>) {
    let export = SqliteExport::open(path).expect("opens");
    let (mut all, mut position) = (Vec::new(), Position::START);
    while position != Position::End {
        assert_eq!(export.rows_until(&position).expect("counted"), all.len() as u64, "{position}");
        let (rows, next) = export.page(position, page_rows, usize::MAX).expect("a page");
        assert!(rows.len() <= page_rows);
        all.extend(rows);
        position = next;
    }
    let source = export.source().expect("counted");
    assert_eq!((export.rows_until(&position).expect("counted"), source.totals.rows()), (all.len() as u64, all.len() as u64));
    (source, all)
}

#[test]
fn an_export_is_the_same_however_much_is_folded() {
    with_seeds(4, |seed| {
        for tuning in [NEVER_FOLDING, ALWAYS_FOLDING] {
            let (mut random, mut model) = (Random::new(seed), Model::default());
            let (_directory, path) = directory();
            let store = SqliteStore::open_tuned(&path, LIMITS, tuning).expect("opens");
            for _ in 0..60 {
                run_burst(&mut random, &store, &mut model, 12);
            }
            drop(store);
            let journaled = |path: &Path| -> i64 {
                let database = Connection::open(path).expect("opens");
                database.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).expect("counted")
            };
            assert!(journaled(&path) > 0 || tuning.fold_above_bytes == 0, "nothing was folded");
            let unfolded = exported(&path, 7);
            assert_eq!(exported(&path, 1), unfolded);
            let store = SqliteStore::open_tuned(&path, LIMITS, FOLDED).expect("opens");
            // A write to no conversation, after which everything is folded.
            call(|done| store.put_last_seen(Vec::new(), done)).expect("written");
            drop(store);
            assert_eq!(journaled(&path), 0);
            assert_eq!(exported(&path, 1_000), unfolded);
        }
    });
}

#[test]
fn an_export_leaves_nothing_behind_and_refuses_what_it_cannot_read() {
    let (directory, path) = directory();
    let files = || {
        let names = std::fs::read_dir(directory.path()).expect("listed").map(|entry| entry.expect("listed").file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert!(matches!(SqliteExport::open(&path).err(), Some(SqliteOpenError::Missing { .. })));
    assert!(files().is_empty());
    let other = |name: &str| directory.path().join(name);
    std::fs::create_dir(other("directory")).expect("made");
    for (name, content) in [("empty", ""), ("short", "SQLite"), ("text", "SQLite format 2, or whatever it is")] {
        std::fs::write(other(name), content).expect("written");
    }
    for mode in ["delete", "wal"] {
        let foreign = Connection::open(other(mode)).expect("opens");
        foreign.pragma_update(None, "journal_mode", mode).expect("changed");
        foreign.execute_batch("CREATE TABLE meta (key)").expect("made");
    }
    let before = files();
    for name in ["directory", "empty", "short", "text"] {
        assert!(matches!(SqliteExport::open(&other(name)).err(), Some(SqliteOpenError::NoDatabase { .. })), "{name}");
    }
    for mode in ["delete", "wal"] {
        assert!(matches!(SqliteExport::open(&other(mode)).err(), Some(SqliteOpenError::Foreign { .. })), "{mode}");
    }
    assert_eq!(files(), before, "nothing is left beside them");
    let store = open(&path);
    assert!(matches!(SqliteExport::open(&path).err(), Some(SqliteOpenError::Locked { .. })));
    drop(store);
    for version in [1, 99] {
        let database = Connection::open(&path).expect("opens");
        let sql = "DELETE FROM refinery_schema_history WHERE version > 1 AND ?1 = 1 OR version = 99";
        database.execute(sql, [version]).expect("changed");
        if version == 99 {
            let sql = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'x', '', '0')";
            database.execute(sql, []).expect("changed");
        }
        drop(database);
        let refusal = SqliteExport::open(&path).err();
        assert!(matches!(refusal, Some(SqliteOpenError::Version { found, .. }) if found == version), "{refusal:?}");
    }
}

#[test]
fn a_second_server_is_kept_out() {
    let (_directory, path) = directory();
    let first = open(&path);
    let second = SqliteStore::open(&path, LIMITS).err();
    assert!(matches!(second, Some(SqliteOpenError::Locked { .. })), "{second:?}");
    drop(first);
    open(&path);
}

#[test]
fn only_the_owner_can_read_the_files() {
    let (directory, path) = directory();
    let _store = open(&path);
    for file in directory.path().read_dir().expect("listed") {
        let file = file.expect("listed");
        let mode = file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", file.path());
    }
}

/// How many file descriptors of this process are open on files below `directory`.
fn descriptors(directory: &Path) -> usize {
    let open = Path::new("/proc/self/fd").read_dir().expect("Linux");
    // One that is closed meanwhile is another test's.
    open.filter_map(|entry| entry.ok()?.path().read_link().ok()).filter(|file| file.starts_with(directory)).count()
}

#[test]
fn every_file_descriptor_is_held_from_the_start() {
    let (directory, path) = directory();
    let subject = Subject::volatile(SqliteStore::open_tuned(&path, LIMITS, FOLDED).expect("opens"));
    let at_first = descriptors(directory.path());
    let conversation = subject.group(&["ann", "bob"]);
    let store = subject.store();
    with_the_writer_stopped(store, || {
        let view = |_| start(|done| store.load_conversation(conversation, user("ann"), done));
        let started: Vec<_> = (0..100).map(view).collect();
        assert!(started.iter().all(|view| outcome(view).is_ok()));
    });
    for _ in 0..50 {
        subject.say(conversation, "ann", "x");
        subject.page("bob", None, 9);
    }
    assert_eq!(descriptors(directory.path()), at_first);
}

#[test]
fn no_connection_needs_a_temporary_file() {
    let (_directory, path) = directory();
    let database = open::open(&path, Duration::ZERO).expect("opens");
    let reader = open::open_reader(&path, Duration::ZERO).expect("opens");
    for connection in [&database.writer, &reader] {
        let in_memory = connection.pragma_query_value(None, "temp_store", |row| row.get::<_, i64>(0));
        assert_eq!(in_memory, Ok(2));
    }
}

#[test]
fn a_missing_directory_is_named() {
    let (directory, _) = directory();
    let path = directory.path().join("missing").join("parlor.db");
    let error = SqliteStore::open(&path, LIMITS).err().expect("refused").to_string();
    assert!(error.contains("missing") && error.contains("directory must exist"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_directory, path) = directory();
    let bytes = b"this is not a database".repeat(100);
    std::fs::write(&path, &bytes).expect("written");
    assert!(matches!(SqliteStore::open(&path, LIMITS).err(), Some(SqliteOpenError::Sqlite(_))));
    assert_eq!(std::fs::read(&path).expect("read"), bytes);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let (_directory, path) = directory();
    drop(open(&path));
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let insert = "INSERT INTO refinery_schema_history SELECT 999, 'newer', applied_on, '1' FROM refinery_schema_history LIMIT 1";
    connection.execute(insert, []).expect("inserted");
    drop(connection);
    let error = SqliteStore::open(&path, LIMITS).err().expect("refused");
    assert!(matches!(error, SqliteOpenError::Schema(_)), "{error:?}");
    assert!(error.to_string().contains("newer server"), "{error}");
}

fn count(path: &Path, table: &str) -> u64 {
    let connection = rusqlite::Connection::open(path).expect("opens");
    let count = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| rows::number(row, 0));
    count.expect("counted")
}

#[test]
fn folding_empties_the_journal_and_fills_the_tables() {
    let (_directory, path) = directory();
    let tuned = |tuning| {
        let path = path.clone();
        Subject::durable(move || SqliteStore::open_tuned(&path, LIMITS, tuning).expect("opens"))
    };
    let subject = tuned(NEVER_FOLDING);
    let conversation = subject.group(&["ann", "bob"]);
    for number in 0..10 {
        subject.send(text_as(conversation, "ann", &number.to_string(), "x")).expect("stored");
    }
    assert_eq!((count(&path, "journal"), count(&path, "log"), count(&path, "client_ids")), (10, 0, 0));
    drop(subject);
    let subject = tuned(FOLDED);
    subject.say(conversation, "bob", "y");
    with_the_writer_stopped(subject.store(), || {
        assert_eq!((count(&path, "journal"), count(&path, "log"), count(&path, "client_ids")), (0, 11, 10));
    });
}

#[test]
fn a_users_conversations_are_counted_in_their_index() {
    let (_directory, path) = directory();
    drop(open(&path));
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let explain = format!("EXPLAIN QUERY PLAN {}", write::LAST_CONVERSATION);
    let plan: String = connection.query_row(&explain, ("ann", 4_999), |row| row.get("detail")).expect("explained");
    assert!(plan.contains("COVERING INDEX members_by_user (user=?)"), "{plan}");
}

#[test]
fn a_damaged_journal_is_refused() {
    let (_directory, path) = directory();
    drop(open(&path));
    let connection = rusqlite::Connection::open(&path).expect("opens");
    connection.execute("INSERT INTO journal (body) VALUES (x'01020304')", []).expect("inserted");
    drop(connection);
    assert!(matches!(SqliteStore::open(&path, LIMITS).err(), Some(SqliteOpenError::Journal)));
}

#[test]
fn a_failed_commit_stores_nothing_and_the_next_one_works() {
    let (_directory, path) = directory();
    let subject = Subject::volatile(SqliteStore::open_tuned(&path, LIMITS, NEVER_FOLDING).expect("opens"));
    let conversation = subject.group(&["ann", "bob"]);
    subject.say(conversation, "ann", "1");
    let other = rusqlite::Connection::open(&path).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("the writer waits");
    let unavailable = Some(StoreError::Unavailable);
    assert_eq!(subject.send(text_as(conversation, "ann", "c-2", "2")).err(), unavailable);
    assert_eq!(call(|done| subject.store().check(done)).err(), unavailable);
    assert_eq!(subject.room(conversation, 9).head, at_seq(1), "what is live can still be read");
    other.execute_batch("ROLLBACK").expect("rolled back");
    let sent = subject.send(text_as(conversation, "ann", "c-2", "2")).expect("stored");
    assert_eq!((sent.message.seq, sent.duplicate), (at_seq(2), false));
    assert_eq!(call(|done| subject.store().check(done)), Ok(()));
}

#[test]
fn a_write_that_fails_alone_leaves_the_others_of_its_batch() {
    let (_directory, path) = directory();
    let subject = Subject::volatile(SqliteStore::open_tuned(&path, LIMITS, NEVER_FOLDING).expect("opens"));
    let first = group(&["ann", "bob"], Some([1; 32]));
    let conversation = subject.create(first).conversation;
    let store = subject.store();
    let mut answers = None;
    with_the_writer_stopped(store, || {
        // All three wait, and so are one batch.
        let before = start(|done| store.append_message(text_as(conversation, "ann", "c-1", "x"), done));
        // The invite is taken, which the table does not allow.
        let failing = start(|done| store.create_conversation(group(&["cyd"], Some([1; 32])), done));
        let after = start(|done| store.append_message(text_as(conversation, "bob", "c-1", "y"), done));
        answers = Some((before, failing, after));
    });
    let (before, failing, after) = answers.expect("started");
    assert_eq!(outcome(&before).map(|sent| sent.message.seq), Ok(at_seq(1)));
    assert_eq!(outcome(&failing).err(), Some(StoreError::Unavailable));
    assert_eq!(outcome(&after).map(|sent| sent.message.seq), Ok(at_seq(2)));
    assert!(subject.page("cyd", None, 9).conversations.is_empty());
}

#[test]
fn a_failing_fold_holds_writes_back_before_memory_grows_and_recovers() {
    let (_directory, path) = directory();
    let tuning = Tuning { hold_above_bytes: 10_000, ..ALWAYS_FOLDING };
    let subject = Subject::volatile(SqliteStore::open_tuned(&path, LIMITS, tuning).expect("opens"));
    let conversation = subject.group(&["ann"]);
    let other = rusqlite::Connection::open(&path).expect("opens");
    // A row in the way of the one that folding brings.
    let intruder = "INSERT INTO log (conversation, seq, kind, messages, user, name, at) VALUES (1, 1, 1, 0, 'x', 'x', 0)";
    other.execute(intruder, []).expect("inserted");
    let mut stored = 0;
    while subject.send(text(conversation, "ann", "x")).is_ok() {
        stored += 1;
        assert!(stored < 1_000, "held back");
    }
    assert!(stored > 10);
    other.execute("DELETE FROM log WHERE user = 'x'", []).expect("deleted");
    assert_eq!(subject.say(conversation, "ann", "x").seq, at_seq(stored + 1));
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (_directory, path) = directory();
    let subject = Subject::volatile(open(&path));
    let conversation = subject.group(&["ann"]);
    let store = subject.store();
    let mut waiting = Vec::new();
    with_the_writer_stopped(store, || {
        let megabyte = "x".repeat(1 << 20);
        let send = |_| start(|done| store.append_message(text(conversation, "ann", &megabyte), done));
        waiting.extend((0..=MAX_QUEUED_BYTES >> 20).map(send));
        let last = waiting.pop().expect("some");
        assert_eq!(outcome(&last).err(), Some(StoreError::Unavailable), "answered while the writer stands still");
    });
    assert!(waiting.iter().filter(|answer| outcome(answer).is_ok()).count() >= 63);
}

#[test]
fn readers_see_no_gap_and_nothing_twice_while_messages_are_folded() {
    for tuning in [ALWAYS_FOLDING, FOLDED] {
        let (_directory, path) = directory();
        let subject = Subject::volatile(SqliteStore::open_tuned(&path, LIMITS, tuning).expect("opens"));
        let conversation = subject.create(group(&["ann", "bob"], Some([1; 32]))).conversation;
        let acknowledged = Arc::new(AtomicU64::new(0));
        let store = subject.store();
        for _ in 0..400 {
            let acknowledged = Arc::clone(&acknowledged);
            let note = move |sent: Result<Appended, _>| acknowledged.store(sent.expect("stored").message.seq.get(), SeqCst);
            store.append_message(text(conversation, "ann", "x"), Box::new(note));
        }
        let mut seen = 0;
        while seen < 400 {
            let least = acknowledged.load(SeqCst);
            let events = subject.events(conversation, 0, 999);
            seen = events.len() as u64;
            assert!(seen >= least, "{seen} of {least}");
            assert!(events.iter().map(|event| event.seq().get()).eq(1..=seen));
            let view = subject.view(conversation, "bob").expect("a view");
            assert!(view.head.get() >= seen);
            assert_eq!(view.unread, view.head.get());
            assert_eq!(view.last_message.map_or(0, |message| message.seq.get()), view.head.get());
            let page = subject.messages(conversation, "bob", MessageRange::Latest, 50).messages;
            let first = page.first().map_or(1, |message| message.seq.get());
            assert!(page.iter().map(|message| message.seq.get()).eq(first..first + page.len() as u64));
            let room = subject.room(conversation, 10);
            assert_eq!(room.recent.last().map_or(0, |event| event.seq().get()), room.head.get());
            let listed = subject.page("bob", None, 9).conversations.remove(0);
            assert_eq!(listed.unread, listed.head.get());
        }
    }
}

#[test]
fn members_and_their_events_change_together_for_readers() {
    let (_directory, path) = directory();
    let subject = Subject::volatile(SqliteStore::open_tuned(&path, LIMITS, ALWAYS_FOLDING).expect("opens"));
    let conversation = subject.create(group(&["ann"], Some([1; 32]))).conversation;
    let (store, done) = (subject.store(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let room = call(|done| store.open_room(conversation, 1, done)).expect("a room");
                // Each joining is odd and each leaving even.
                assert_eq!(room.members.len() as u64, 1 + room.head.get() % 2);
            }
        });
        let at = UnixMillis::new(1);
        for _ in 0..400 {
            call(|done| store.join_by_invite([1; 32], user("bob"), Arc::from("Bob"), at, done)).expect("joined");
            call(|done| store.leave(conversation, user("bob"), at, done)).expect("left");
        }
        done.store(true, SeqCst);
    });
}
