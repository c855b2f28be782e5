//! The target of an import: an empty schema that takes another store's rows, batch by batch, each with its place in one
//! transaction. So an import that was interrupted goes on behind the last batch, and none is there twice.
//!
//! `meta` has three rows about it: `import`, what is imported, or has been; `import_position`, how far it is; and
//! `import_checked`, once the comparison at its end found no difference. Without that no server opens the schema.

mod compare;
mod copy;

use std::time::Duration;

use tokio::runtime::LocalRuntime;
use tokio_postgres::Client;

pub(crate) use self::compare::Compare;

use super::super::DatabaseServer;
use super::super::transfer::{Position, Source};
use super::connect::{Connector, Link};
use super::error::{PostgresError, PostgresOpenError, ReadError};
use super::{migrate, runtime};

/// The first half of the advisory lock's key: the bytes of "pari". The second half is a hash of the schema's name.
const LOCK_CLASS: i32 = 0x7061_7269;
/// How long a statement may take: a batch, a count of the whole log, statistics.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where an import into a schema stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) source: Source,
    pub(crate) position: Position,
    /// Whether it is over.
    pub(crate) is_checked: bool,
}

/// Whether the schema may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is made, and brought up to date.
    Write,
    /// Nothing is changed.
    Read,
}

/// Why an import came to its end too early.
#[derive(Debug)]
pub(crate) enum PostgresImportError {
    /// The database could not be opened.
    Open(PostgresOpenError),
    /// A statement failed, or the connection.
    Statement(PostgresError),
    /// A row holds something that the server did not write.
    Corrupt(&'static str),
    /// There is nothing to compare with.
    NoSchema,
    /// Another import into the schema is going on.
    Locked,
}

impl From<PostgresOpenError> for PostgresImportError {
    fn from(error: PostgresOpenError) -> Self {
        Self::Open(error)
    }
}

impl From<tokio_postgres::Error> for PostgresImportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Statement(error.into())
    }
}

impl From<PostgresError> for PostgresImportError {
    fn from(error: PostgresError) -> Self {
        Self::Statement(error)
    }
}

impl From<ReadError> for PostgresImportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Postgres(error) => Self::Statement(error),
            ReadError::Corrupt(what) => Self::Corrupt(what),
            ReadError::Refused(_) => Self::Corrupt("answer"),
        }
    }
}

impl std::fmt::Display for PostgresImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Statement(error) => {
                write!(f, "PostgreSQL failed: {error}; see that it runs and has room, then run the same command again")
            }
            Self::Corrupt(what) => write!(f, "the target holds no valid {what}; drop the schema and import again"),
            Self::NoSchema => f.write_str("nothing was imported into the schema, or by another version; leave out --check-only"),
            Self::Locked => f.write_str("another import into this schema is going on; wait for its end"),
        }
    }
}

/// A schema that is imported into, on one connection, which also holds the lock that keeps other imports out.
pub(crate) struct PostgresImport {
    // In this order, so that what is left of the connection ends inside its runtime.
    link: Link,
    runtime: LocalRuntime,
}

impl PostgresImport {
    /// Connects, and with [`Access::Write`] makes the schema if need be. Blocks meanwhile, as everything here does.
    ///
    /// # Errors
    /// When the store would not open either, or another import is going on.
    pub(crate) fn open(server: &DatabaseServer, access: Access) -> Result<Self, PostgresImportError> {
        let runtime = runtime()?;
        let link = runtime.block_on(async {
            let connector = Connector::new(server)?;
            if access == Access::Write {
                migrate::migrate(&connector, &server.schema).await?;
            }
            let link = connector.connect().await?;
            if !migrate::is_current(&link.client, &server.schema).await? {
                return Err(PostgresImportError::NoSchema);
            }
            link.client.batch_execute(&format!("SET lock_timeout = 0; SET statement_timeout = {}", PATIENCE.as_millis())).await?;
            let lock = "SELECT pg_try_advisory_lock($1, hashtext($2))";
            let row = link.client.query_one(lock, &[&LOCK_CLASS, &server.schema.as_str()]).await?;
            if row.get(0) { Ok(link) } else { Err(PostgresImportError::Locked) }
        })?;
        Ok(Self { link, runtime })
    }

    /// Where an import into this schema stands; `None` when none was begun.
    pub(crate) fn progress(&self) -> Result<Option<Progress>, PostgresImportError> {
        let client = &self.link.client;
        self.runtime.block_on(async {
            let Some(source) = meta(client, "import").await? else { return Ok(None) };
            let source = Source::parse(&source).ok_or(PostgresImportError::Corrupt("note about the import"))?;
            let position = meta(client, "import_position").await?.as_deref().and_then(Position::parse);
            let position = position.ok_or(PostgresImportError::Corrupt("position of the import"))?;
            let is_checked = meta(client, "import_checked").await?.is_some();
            Ok(Some(Progress { source, position, is_checked }))
        })
    }

    /// Whether nobody and no conversation is in the schema.
    pub(crate) fn is_empty(&self) -> Result<bool, PostgresImportError> {
        let sql = "SELECT NOT EXISTS (SELECT FROM conversations) AND NOT EXISTS (SELECT FROM users)";
        Ok(self.runtime.block_on(self.link.client.query_one(sql, &[]))?.get(0))
    }

    /// Begins the import, and gives the schema the history's name.
    pub(crate) fn begin(&self, source: &Source) -> Result<(), PostgresImportError> {
        let values: [(&str, &str); 3] =
            [("epoch", &source.epoch), ("import", &source.to_string()), ("import_position", &Position::START.to_string())];
        let (keys, values): (Vec<&str>, Vec<&str>) = values.into_iter().unzip();
        let sql = "INSERT INTO meta (key, value) SELECT * FROM unnest($1::text[], $2::text[])
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.runtime.block_on(self.link.client.execute(sql, &[&keys, &values]))?;
        Ok(())
    }

    /// Ends the import: from now on servers open the schema.
    pub(crate) fn finish(&self) -> Result<(), PostgresImportError> {
        self.runtime.block_on(async {
            // Nobody has looked at these tables yet; a role that does not own them only gets a warning.
            self.link.client.batch_execute("ANALYZE users, conversations, members, log").await?;
            self.link.client.execute("INSERT INTO meta (key, value) VALUES ('import_checked', '')", &[]).await?;
            Ok(())
        })
    }
}

async fn meta(client: &Client, key: &str) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(client.query_opt("SELECT value FROM meta WHERE key = $1", &[&key]).await?.map(|row| row.get(0)))
}

/// Refuses a schema into which something is being imported.
pub(super) async fn expect_finished(client: &Client) -> Result<(), PostgresOpenError> {
    let sql =
        "SELECT EXISTS (SELECT FROM meta WHERE key = 'import') AND NOT EXISTS (SELECT FROM meta WHERE key = 'import_checked')";
    let row = client.query_one(sql, &[]).await.map_err(|error| PostgresOpenError::Schema(error.into()))?;
    if row.get(0) { Err(PostgresOpenError::Importing) } else { Ok(()) }
}
