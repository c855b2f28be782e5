//! The contract's suite on SQLite, and what only SQLite has: files, locks and settings.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::super::contract::model::Model;
use super::super::contract::random::{Random, compare_all, run_burst, with_seeds};
use super::super::contract::{MAX_MEMBERS, Subject, contract_tests};
use super::*;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, MAX_MEMBERS).expect("opens")
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
        SqliteStore::open_tuned(&path, MAX_MEMBERS, tuning).expect("opens")
    })
}

/// Folds a few rows after each batch, so that every conversation is partly in the tables and partly in the overlay.
const ALWAYS_FOLDING: Tuning = Tuning {
    fold_above_bytes: 0,
    hold_above_bytes: usize::MAX,
    fold_rows: 2,
    max_fold_rows: 5,
    idle: Duration::from_secs(3_600),
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
        let open = |path: &Path| SqliteStore::open_tuned(path, MAX_MEMBERS, tuning).expect("opens");
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

#[test]
fn a_second_server_is_kept_out() {
    let (_directory, path) = directory();
    let first = open(&path);
    let second = SqliteStore::open(&path, MAX_MEMBERS).err();
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

#[test]
fn a_missing_directory_is_named() {
    let (directory, _) = directory();
    let path = directory.path().join("missing").join("parlor.db");
    let error = SqliteStore::open(&path, MAX_MEMBERS).err().expect("refused").to_string();
    assert!(error.contains("missing") && error.contains("directory must exist"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_directory, path) = directory();
    let bytes = b"this is not a database".repeat(100);
    std::fs::write(&path, &bytes).expect("written");
    assert!(matches!(SqliteStore::open(&path, MAX_MEMBERS).err(), Some(SqliteOpenError::Sqlite(_))));
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
    let error = SqliteStore::open(&path, MAX_MEMBERS).err().expect("refused");
    assert!(matches!(error, SqliteOpenError::Schema(_)), "{error:?}");
    assert!(error.to_string().contains("newer server"), "{error}");
}
