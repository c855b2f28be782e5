//! `parlor import`: moves a SQLite database into an empty schema of PostgreSQL, and compares the two at the end. Beside
//! `server.rs` the only place that names concrete stores: what is moved is more than the trait `Store` tells of a store.

mod compare;
mod progress;

use std::fmt;
use std::path::PathBuf;

pub(crate) use self::progress::Progress;

use crate::store::DatabaseServer;
use crate::store::postgres::{Access, PostgresImport, PostgresImportError};
use crate::store::sqlite::{SqliteExport, SqliteOpenError};
use crate::store::transfer::{Position, Row, Source, Totals};

/// Most rows of a batch: past this, larger ones are hardly faster.
const BATCH_ROWS: usize = 1_000;
/// Most of their memory, but for the last row.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What is imported into what.
#[derive(Clone, Debug)]
pub(crate) struct ImportConfig {
    /// The SQLite file.
    pub(crate) source: PathBuf,
    /// The schema, which is empty, or in which this import was begun.
    pub(crate) target: DatabaseServer,
}

/// How an import ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything is there now, and was compared.
    Imported(Totals),
    /// An earlier run has done it. Nothing was looked at.
    WasImported,
}

/// Why an import failed. The text says what to do.
#[derive(Debug)]
pub(crate) enum ImportError {
    /// The source cannot be read.
    Source(SqliteOpenError),
    /// The target cannot be written or read.
    Target(PostgresImportError),
    /// The schema holds something that no import has brought.
    NotEmpty,
    /// The schema holds, or is to hold, another history.
    AnotherSource,
    /// The source is not what it was when the import began.
    SourceChanged {
        /// Whether that import is over.
        was_finished: bool,
    },
    /// A row cannot be stored by PostgreSQL.
    Unstorable(String),
    /// Source and target differ: what differs, and how much more does.
    Differs(Vec<String>, u64),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(SqliteOpenError::Locked { path }) => write!(
                f,
                "another server has this database open, or another import ({} is locked); stop it, then import",
                path.display()
            ),
            Self::Source(error) => write!(f, "the source: {error}"),
            Self::Target(error) => error.fmt(f),
            Self::NotEmpty => f.write_str(
                "the schema holds users or conversations already, and nothing is mixed; name another one with --database-schema, or \
                 drop it",
            ),
            Self::AnotherSource => f.write_str(
                "another database was imported into this schema, or an import of one was begun; name another schema with \
                 --database-schema, or drop this one",
            ),
            Self::SourceChanged { was_finished: false } => f.write_str(
                "the source has changed since the import was begun; let no server open it meanwhile, drop the schema, and import again",
            ),
            Self::SourceChanged { was_finished: true } => f.write_str(
                "the import was finished before, and the source has changed since; what is new in it is not brought over. Drop the \
                 schema and import again if no server has used it",
            ),
            Self::Unstorable(what) => write!(f, "{what} has a NUL character, which PostgreSQL cannot store; remove it from the source"),
            Self::Differs(differences, more) => {
                f.write_str("source and target differ:")?;
                differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))?;
                if *more > 0 {
                    write!(f, "\n  and {more} more")?;
                }
                f.write_str("\nDrop the schema and import again, while nothing else writes to it")
            }
        }
    }
}

impl std::error::Error for ImportError {}

impl From<SqliteOpenError> for ImportError {
    fn from(error: SqliteOpenError) -> Self {
        Self::Source(error)
    }
}

impl From<PostgresImportError> for ImportError {
    fn from(error: PostgresImportError) -> Self {
        Self::Target(error)
    }
}

/// Imports everything, or what an interrupted run has left, and compares.
///
/// # Errors
/// [`ImportError`]. Run again, it goes on behind the last batch that was written.
pub(crate) fn run(config: &ImportConfig, progress: &mut Progress) -> Result<Outcome, ImportError> {
    let export = SqliteExport::open(&config.source)?;
    let source = export.source()?;
    let target = PostgresImport::open(&config.target, Access::Write)?;
    let position = match target.progress()? {
        Some(begun) if begun.source.epoch != source.epoch => return Err(ImportError::AnotherSource),
        Some(begun) if begun.source != source => return Err(ImportError::SourceChanged { was_finished: begun.is_checked }),
        Some(begun) if begun.is_checked => return Ok(Outcome::WasImported),
        Some(begun) => begun.position,
        None if target.is_empty()? => {
            target.begin(&source)?;
            Position::START
        }
        None => return Err(ImportError::NotEmpty),
    };
    copy(&export, &target, position, source.totals, progress)?;
    compare::run(&export, &source, &target, progress)?;
    target.finish()?;
    Ok(Outcome::Imported(source.totals))
}

/// Compares source and target, and changes neither.
///
/// # Errors
/// [`ImportError::Differs`], or when either cannot be read.
pub(crate) fn check(config: &ImportConfig, progress: &mut Progress) -> Result<Totals, ImportError> {
    let export = SqliteExport::open(&config.source)?;
    let source: Source = export.source()?;
    let target = PostgresImport::open(&config.target, Access::Read)?;
    compare::run(&export, &source, &target, progress)?;
    Ok(source.totals)
}

fn copy(
    export: &SqliteExport,
    target: &PostgresImport,
    mut position: Position,
    totals: Totals,
    progress: &mut Progress,
) -> Result<(), ImportError> {
    if position == Position::End {
        return Ok(());
    }
    let copy = target.prepare_copy()?;
    progress.start("copied", "rows", totals.rows());
    progress.advance(export.rows_until(&position)?);
    while position != Position::End {
        let (rows, next) = export.page(position, BATCH_ROWS, BATCH_BYTES)?;
        if let Some(row) = rows.iter().find(|row| row.has_nul()) {
            return Err(ImportError::Unstorable(name_of(row)));
        }
        target.write(&copy, &rows, &next)?;
        progress.advance(rows.len() as u64);
        position = next;
    }
    progress.finish();
    Ok(())
}

fn name_of(row: &Row) -> String {
    match row {
        Row::User(user) => format!("the name of the user {}", user.id),
        Row::Conversation(row) => format!("the title of the conversation {}", row.id),
        Row::Member(id, row) => format!("the member {} of the conversation {id}", row.user),
        Row::Event(row) => format!("the event {} of the conversation {}", row.event.seq(), row.event.conversation()),
    }
}

#[cfg(test)]
mod tests;
