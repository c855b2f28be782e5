//! Opening the database: its file, its lock, its settings and its schema.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::super::Migrated;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Only the owner reads conversations; SQLite gives its log and index files the same mode.
const FILE_MODE: u32 = 0o600;
/// The commit that brings the write-ahead log to this many pages copies it into the database. SQLite's own 1,000 cost more stalls,
/// 4,000 longer ones: at saturation p99 was 21 ms with 1,000, 26 ms with 2,000 and 36 ms with 4,000, and at 6,000 messages a
/// second p99.9 was 7 to 16 ms, 5 to 6 ms and 7 to 11 ms.
const MAX_LOG_PAGES: u32 = 2_000;
/// The writer's page cache, in KiB, as SQLite takes it: the index of client message ids is read and written all over.
const WRITER_CACHE: i64 = -16 * 1024;
/// Statements kept prepared on each connection; there are fewer different ones.
const STATEMENTS: usize = 64;

/// Why a database could not be opened. The text says what to do.
#[derive(Debug)]
pub enum SqliteOpenError {
    /// The file cannot be created, read or written.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no file, where one is only to be read.
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// The file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file, or what is of that name, is no SQLite database.
    NoDatabase {
        /// Which.
        path: PathBuf,
    },
    /// It is a SQLite database, and not a server's.
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Another process has it open.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A setting that durability rests on did not take.
    Setting {
        /// The pragma.
        name: &'static str,
        /// What it is.
        found: String,
    },
    /// The schema could not be brought up to date.
    Schema(Box<refinery::Error>),
    /// The schema has another version, and the database is only to be read.
    Version {
        /// Its version.
        found: i32,
        /// The one that can be read here.
        known: i32,
    },
    /// The journal holds something that the server did not write.
    Journal,
    /// The system has no randomness for the epoch.
    Random,
    /// SQLite refused.
    Sqlite(rusqlite::Error),
}

impl fmt::Display for SqliteOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(
                f,
                "cannot open {}: {source}; the directory must exist and the server must be allowed to write in it",
                path.display()
            ),
            Self::Missing { path } => {
                write!(f, "there is no file {}; name the server's database, which is parlor.db in its --data", path.display())
            }
            Self::Unreadable { path, source } => {
                write!(f, "cannot read {}: {source}; run this as a user who may, or on a copy", path.display())
            }
            Self::NoDatabase { path } => write!(
                f,
                "{} is no SQLite database; name the server's database, which is the file parlor.db in its --data",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is a SQLite database, but not one of this server; name the server's, which is parlor.db in its --data",
                path.display()
            ),
            Self::Locked { path } => write!(
                f,
                "another server has this database open ({} is locked); stop it, or give this one a database of its own with --data",
                path.display()
            ),
            Self::Setting { name, found } => write!(
                f,
                "SQLite's {name} is {found}, without which messages could be lost; put the database on a local file system"
            ),
            Self::Schema(source) => write!(
                f,
                "cannot bring the database's schema up to date: {source}; if a newer server wrote it, run that one or restore a backup"
            ),
            Self::Version { found, known } if found > known => {
                write!(f, "the database's schema has version {found}, and this program knows {known} at most; take the newer one")
            }
            Self::Version { found, known } => write!(
                f,
                "the database's schema has version {found} and not {known}; bring it up to date with `parlor migrate --database \
                 sqlite:PATH`"
            ),
            Self::Journal => write!(f, "the database's journal is damaged; restore a backup"),
            Self::Random => write!(f, "the system's random generator does not answer; check that /dev/urandom is there"),
            Self::Sqlite(source) => {
                write!(
                    f,
                    "SQLite cannot use the database: {source}; check that the file is one, and the disk, or restore a backup"
                )
            }
        }
    }
}

impl std::error::Error for SqliteOpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } | Self::Unreadable { source, .. } => Some(source),
            Self::Schema(source) => Some(source),
            Self::Sqlite(source) => Some(source),
            Self::Missing { .. } | Self::NoDatabase { .. } | Self::Foreign { .. } | Self::Locked { .. } => None,
            Self::Setting { .. } | Self::Version { .. } | Self::Journal | Self::Random => None,
        }
    }
}

impl From<rusqlite::Error> for SqliteOpenError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

/// A database that this process alone has open.
pub(super) struct Database {
    /// The one connection that writes.
    pub(super) writer: Connection,
    /// The history's name.
    pub(super) epoch: Arc<str>,
    /// Held locked until the store is gone.
    pub(super) lock: File,
    /// What opening it did to the schema.
    pub(super) migrated: Migrated,
}

/// Opens the database, creates it if need be, and brings its schema up to date.
pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Database, SqliteOpenError> {
    let lock = lock(path)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
    file.map_err(|source| SqliteOpenError::File { path: path.to_owned(), source })?;
    let mut writer = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    configure(&writer, busy_timeout)?;
    writer.pragma_update(None, "journal_mode", "wal")?;
    writer.pragma_update(None, "synchronous", "full")?;
    expect_setting(&writer, "journal_mode", "wal")?;
    // 2 is FULL: each commit waits until the log is on the disk.
    expect_setting(&writer, "synchronous", "2")?;
    writer.pragma_update(None, "wal_autocheckpoint", MAX_LOG_PAGES)?;
    writer.pragma_update(None, "cache_size", WRITER_CACHE)?;
    let migrated = migrate(&mut writer)?;
    let epoch = epoch(&writer)?;
    Ok(Database { writer, epoch, lock, migrated })
}

fn migrate(writer: &mut Connection) -> Result<Migrated, SqliteOpenError> {
    let runner = embedded::migrations::runner();
    let version = known_version();
    let report = runner.run(writer).map_err(|source| SqliteOpenError::Schema(Box::new(source)))?;
    let name = |migration: &refinery::Migration| format!("V{} {}", migration.version(), migration.name());
    Ok(Migrated { applied: report.applied_migrations().iter().map(name).collect(), version })
}

/// The database for somebody who only reads it while no server has it open. Nothing in it is changed, not even its version.
pub(super) fn open_to_read(path: &Path, busy_timeout: Duration) -> Result<(Connection, File), SqliteOpenError> {
    // Looked at without the lock first, whose file would be left beside what is no database of ours.
    expect_database(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if with_suffix(path, "-wal").exists() {
        expect_known(&Connection::open_with_flags(path, flags)?, path)?;
    } else {
        // All of it is in this file, and SQLite makes no others for it.
        expect_known(&Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?, path)?;
    }
    let lock = lock(path)?;
    let reader = open_reader(path, busy_timeout)?;
    // A server may have had it until now, and changed it.
    expect_known(&reader, path)?;
    Ok((reader, lock))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLite's name for a file that nobody changes (<https://www.sqlite.org/uri.html>).
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(byte.into()),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Refuses what is no SQLite database by its first bytes (SQLite's file format, section 1.3), so that SQLite leaves nothing beside it.
fn expect_database(path: &Path) -> Result<(), SqliteOpenError> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let owned = || path.to_owned();
    let mut begin = [0; MAGIC.len()];
    match File::open(path).and_then(|mut file| file.read_exact(&mut begin)) {
        Ok(()) if begin == *MAGIC => Ok(()),
        Ok(()) => Err(SqliteOpenError::NoDatabase { path: owned() }),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => SqliteOpenError::Missing { path: owned() },
            io::ErrorKind::UnexpectedEof | io::ErrorKind::IsADirectory => SqliteOpenError::NoDatabase { path: owned() },
            _ => SqliteOpenError::Unreadable { path: owned(), source: error },
        }),
    }
}

/// Refuses what is not a server's database of this version.
fn expect_known(reader: &Connection, path: &Path) -> Result<(), SqliteOpenError> {
    let ours = "SELECT count(*) = 2 FROM sqlite_master WHERE type = 'table' AND name IN ('meta', 'refinery_schema_history')";
    if !reader.query_row(ours, [], |row| row.get(0))? {
        return Err(SqliteOpenError::Foreign { path: path.to_owned() });
    }
    let known = known_version();
    let found = reader.query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))?;
    if found == known { Ok(()) } else { Err(SqliteOpenError::Version { found, known }) }
}

/// The newest version of the schema.
fn known_version() -> i32 {
    embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// A connection that only reads, next to the writer's. It has read, and so holds every file descriptor that it will need: SQLite
/// opens the write-ahead log at the first read, when there may be none left for it.
pub(super) fn open_reader(path: &Path, busy_timeout: Duration) -> Result<Connection, SqliteOpenError> {
    let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    configure(&reader, busy_timeout)?;
    reader.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
    Ok(reader)
}

fn configure(connection: &Connection, busy_timeout: Duration) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // What is sorted or may have to be undone never needs a file, for which there may be no descriptor and no room.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(())
}

/// Takes the lock that keeps a second server out. The lock file stays when the server stops: removing it would let two servers
/// lock two files of the same name.
fn lock(path: &Path) -> Result<File, SqliteOpenError> {
    let path = with_suffix(path, ".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.map_err(|source| SqliteOpenError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SqliteOpenError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(SqliteOpenError::File { path, source }),
    }
}

fn expect_setting(connection: &Connection, name: &'static str, expected: &str) -> Result<(), SqliteOpenError> {
    let found: String = connection.pragma_query_value(None, name, |row| {
        let value: rusqlite::types::Value = row.get(0)?;
        Ok(match value {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        })
    })?;
    if found == expected { Ok(()) } else { Err(SqliteOpenError::Setting { name, found }) }
}

/// Reads the epoch, or makes one for a new database.
fn epoch(connection: &Connection) -> Result<Arc<str>, SqliteOpenError> {
    let stored: Option<String> =
        connection.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0)).optional()?;
    if let Some(epoch) = stored {
        return Ok(Arc::from(epoch));
    }
    let epoch = super::super::new_epoch().ok_or(SqliteOpenError::Random)?;
    connection.execute("INSERT INTO meta (key, value) VALUES ('epoch', ?1)", [&*epoch])?;
    Ok(epoch)
}
