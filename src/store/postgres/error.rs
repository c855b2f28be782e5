//! What went wrong with the database: why it could not be opened, and how a failed statement is judged.

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use super::super::StoreError;

/// Why a PostgreSQL database could not be opened. The text says what to do and shows no password.
#[derive(Debug)]
pub enum PostgresOpenError {
    /// No connection came about.
    Connect(PostgresError),
    /// It took too long.
    Timeout(&'static str),
    /// A setting without which messages could be lost.
    Unsafe {
        /// Which.
        setting: &'static str,
        /// What it is.
        found: String,
    },
    /// The database cannot hold what the server stores.
    Unfit(&'static str),
    /// The schema could not be made or brought up to date.
    Schema(PostgresError),
    /// A migration failed.
    Migration(String),
    /// The schema is of a later version.
    Newer {
        /// Its version.
        found: i32,
        /// The last one that is known here.
        known: i32,
    },
    /// An import into the schema is not finished.
    Importing,
    /// One is going on.
    ImportRunning,
    /// The file with the trusted authorities cannot be used.
    Roots {
        /// Which, or the system's.
        path: Option<PathBuf>,
        /// What is wrong with it.
        problem: String,
    },
    /// No thread or runtime is to be had.
    Thread(std::io::Error),
}

impl fmt::Display for PostgresOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(
                f,
                "cannot connect to PostgreSQL: {error}; check --database (host, port, user, password, sslmode) and that the server runs"
            ),
            Self::Timeout(what) => {
                write!(f, "PostgreSQL did not answer in time while {what}; check that it runs, or raise --database-timeout")
            }
            Self::Unsafe { setting, found } => write!(
                f,
                "PostgreSQL's {setting} is {found}, without which acknowledged messages could be lost; set it to on, or accept \
                 that with --allow-unsafe-database"
            ),
            Self::Unfit(problem) => f.write_str(problem),
            Self::Schema(error) => write!(
                f,
                "cannot bring the schema up to date: {error}; the role must own the schema of --database-schema, or be allowed to \
                 create it"
            ),
            Self::Migration(error) => write!(f, "cannot bring the schema up to date: {error}"),
            Self::Newer { found, known } => write!(
                f,
                "the schema has version {found}, and this server knows {known} at most; run the newer server, or restore a backup"
            ),
            Self::Importing => f.write_str(
                "an import into this schema is not finished: run `parlor import` with the same source again, or drop the schema",
            ),
            Self::ImportRunning => f.write_str(
                "an import into this schema is going on: start the server when it has finished, or name another schema",
            ),
            Self::Roots { path: Some(path), problem } => {
                write!(f, "the certificates in {} cannot be used: {problem}; check sslrootcert", path.display())
            }
            Self::Roots { path: None, problem } => {
                write!(f, "the system's certificates cannot be used: {problem}; name a file with sslrootcert")
            }
            Self::Thread(error) => write!(f, "the store's thread did not start: {error}; check `ulimit -u` and `ulimit -n`"),
        }
    }
}

impl std::error::Error for PostgresOpenError {}

/// An error of PostgreSQL or of the connection, shown without values: details, which may quote a row, are left out.
pub struct PostgresError(tokio_postgres::Error);

impl PostgresError {
    /// How a statement's failure is to be taken.
    pub(super) fn verdict(&self) -> Verdict {
        let Some(code) = self.0.code() else { return Verdict::Lost };
        match code.code().get(..2) {
            // A value cannot be stored, or contradicts another.
            Some("22" | "23" | "54") => Verdict::Bad,
            // What one of them needs is damaged on the server's disk.
            Some("XX") if *code != SqlState::INTERNAL_ERROR => Verdict::Bad,
            Some("55") if *code == SqlState::LOCK_NOT_AVAILABLE => Verdict::Held,
            // Serialization failure, deadlock, or a statement that was prepared for tables that changed.
            Some("40") => Verdict::Again,
            Some("0A" | "26") => Verdict::Lost,
            // Somebody ends the connection or the server, or the server may only read since another one took over.
            Some("57") if *code == SqlState::QUERY_CANCELED => Verdict::Held,
            Some("57") => Verdict::Lost,
            Some("08" | "25") => Verdict::Lost,
            _ => Verdict::Failed,
        }
    }

    /// The code that PostgreSQL gave, if it was PostgreSQL.
    pub(super) fn code(&self) -> Option<&SqlState> {
        self.0.code()
    }

    /// Whether it only says that an earlier statement of the transaction failed.
    pub(super) fn is_aftermath(&self) -> bool {
        self.0.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text_of(&self.0))
    }
}

/// An error in words, without values.
pub(super) fn text_of(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl fmt::Debug for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresError({self})")
    }
}

/// What to do after a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One of the writes cannot be stored; the others can, without it.
    Bad,
    /// Nothing happened, since a row was locked, or a statement took, for too long; writes to other conversations may go through.
    Held,
    /// Nothing happened, and it may well go through now.
    Again,
    /// Nothing happened, and trying again would not help.
    Failed,
    /// The connection is of no use any more, and whether the transaction was committed is not known.
    Lost,
}

/// Why a read brought nothing.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The contract says no.
    Refused(StoreError),
    /// PostgreSQL or the connection failed.
    Postgres(PostgresError),
    /// A row holds something that the server did not write.
    Corrupt(&'static str),
}

impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "{error:?}"),
            Self::Postgres(error) => error.fmt(f),
            Self::Corrupt(what) => write!(f, "a row holds no valid {what}"),
        }
    }
}

pub(super) const NOT_FOUND: ReadError = ReadError::Refused(StoreError::NotFound);
