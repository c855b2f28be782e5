//! The contract's suite on SQLite, and what only SQLite has: files, locks and settings.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

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

contract_tests!(|| {
    let (directory, path) = directory();
    Subject::durable(move || {
        let _kept = &directory;
        open(&path)
    })
});

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
