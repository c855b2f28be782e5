//! The target of an import: an empty schema that takes another store's rows, batch by batch, each with its place in one
//! transaction. So an import that was interrupted goes on behind the last batch, and none is there twice.
//!
//! `meta` has three rows about it: `import`, what is imported, or has been; `import_position`, how far it is; and
//! `import_checked`, once the comparison at its end found no difference. Without that no server opens the schema.

mod compare;
mod copy;

use std::future::Future;
use std::time::Duration;

use tokio::runtime::LocalRuntime;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement, ToStatement};

pub(crate) use self::compare::Compare;

use super::super::transfer::{Position, Source};
use super::super::{DatabaseServer, SchemaName};
use super::connect::{Connector, Link};
use super::error::{PostgresError, PostgresOpenError, ReadError};
use super::{migrate, pipeline, runtime};

/// The first half of the advisory lock's key: the bytes of "pari". The second half is a hash of the schema's name.
const LOCK_CLASS: i32 = 0x7061_7269;
/// How long a statement may take. None reads or writes more than a batch or a page.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long gathering statistics may take, which reads a sample of every table.
const STATISTICS_PATIENCE: Duration = Duration::from_secs(600);
/// How much longer an answer is waited for: PostgreSQL is to end what takes too long, and say so.
const GRACE: Duration = Duration::from_secs(10);

const TRY_LOCK_SHARED: &str = "SELECT pg_try_advisory_lock_shared($1, hashtext($2))";

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
    /// A server uses the schema.
    InUse,
    /// No answer came.
    Silent,
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
            Self::Statement(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => write!(
                f,
                "PostgreSQL refused: {error}; name a role in --database that owns the schema, or one with USAGE on it and SELECT, \
                 INSERT, UPDATE and DELETE on its tables"
            ),
            Self::Statement(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => write!(
                f,
                "PostgreSQL was too slow: {error}; see what it waits for, a lock or its disk, then run the same command again"
            ),
            Self::Statement(error) => {
                write!(f, "PostgreSQL failed: {error}; see that it runs and has room, then run the same command again")
            }
            Self::Corrupt(what) => write!(f, "the target holds no valid {what}; drop the schema and import again"),
            Self::NoSchema => f.write_str("nothing was imported into the schema, or by another version; leave out --check-only"),
            Self::Locked => f.write_str("another import into this schema is going on; wait for its end"),
            Self::InUse => {
                f.write_str("a server uses this schema; stop it before importing, or name another schema with --database-schema")
            }
            Self::Silent => f.write_str(
                "PostgreSQL does not answer any more; see that it and the network to it work, then run the same command again",
            ),
        }
    }
}

/// A schema that is imported into, on one connection, which also holds the lock that keeps servers and other imports out.
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
            let is_current = migrate::is_current(&link.client, &server.schema);
            if !connector.within("reading the schema's version", is_current).await? {
                return Err(PostgresImportError::NoSchema);
            }
            set_patience(&link.client, PATIENCE).await?;
            lock(&link.client, &server.schema, access).await?;
            Ok(link)
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
        self.runtime.block_on(async { Ok(query_one(&self.link.client, sql, &[]).await?.try_get(0)?) })
    }

    /// Begins the import, and gives the schema the history's name.
    pub(crate) fn begin(&self, source: &Source) -> Result<(), PostgresImportError> {
        let values: [(&str, &str); 3] =
            [("epoch", &source.epoch), ("import", &source.to_string()), ("import_position", &Position::START.to_string())];
        let (keys, values): (Vec<&str>, Vec<&str>) = values.into_iter().unzip();
        let sql = "INSERT INTO meta (key, value) SELECT * FROM unnest($1::text[], $2::text[])
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.runtime.block_on(query(&self.link.client, sql, &[&keys, &values])).map(drop)
    }

    /// Ends the import: from now on servers open the schema.
    pub(crate) fn finish(&self) -> Result<(), PostgresImportError> {
        self.runtime.block_on(async {
            let client = &self.link.client;
            // Nobody has looked at these tables yet; a role that does not own them only gets a warning.
            set_patience(client, STATISTICS_PATIENCE).await?;
            let statistics = client.batch_execute("ANALYZE users, conversations, members, memberships, log");
            answered(STATISTICS_PATIENCE, statistics).await?;
            query(client, "INSERT INTO meta (key, value) VALUES ('import_checked', '')", &[]).await.map(drop)
        })
    }
}

/// Has PostgreSQL end statements that take longer.
async fn set_patience(client: &Client, patience: Duration) -> Result<(), PostgresImportError> {
    let sql = format!("SET lock_timeout = 0; SET statement_timeout = {}", patience.as_millis());
    answered(PATIENCE, client.batch_execute(&sql)).await
}

/// Waits for the answer to a statement that may take so long.
async fn answered<T, E>(patience: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, PostgresImportError>
where
    PostgresImportError: From<E>,
{
    Ok(timeout(patience + GRACE, answer).await.map_err(|_| PostgresImportError::Silent)??)
}

async fn query<S: ?Sized + ToStatement>(
    client: &Client,
    statement: &S,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, PostgresImportError> {
    answered(PATIENCE, client.query(statement, values)).await
}

async fn query_one(client: &Client, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, PostgresImportError> {
    answered(PATIENCE, client.query_one(sql, values)).await
}

/// Prepares statements, all in one round trip.
async fn prepare(client: &Client, all: &[&str]) -> Result<Vec<Statement>, PostgresImportError> {
    let prepared = pipeline::all(all.iter().map(|sql| client.prepare(sql)));
    answered(PATIENCE, async { prepared.await.into_iter().collect::<Result<_, _>>() }).await
}

async fn meta(client: &Client, key: &str) -> Result<Option<String>, PostgresImportError> {
    let found = query(client, "SELECT value FROM meta WHERE key = $1", &[&key]).await?;
    Ok(found.first().map(|row| row.try_get(0)).transpose()?)
}

/// Keeps servers and other imports out as long as the connection lasts; whoever only reads keeps out who writes.
async fn lock(client: &Client, schema: &SchemaName, access: Access) -> Result<(), PostgresImportError> {
    let take = match access {
        Access::Write => "SELECT pg_try_advisory_lock($1, hashtext($2))",
        Access::Read => TRY_LOCK_SHARED,
    };
    if query_one(client, take, &[&LOCK_CLASS, &schema.as_str()]).await?.try_get(0)? {
        return Ok(());
    }
    let is_by_import = "SELECT coalesce(bool_or(mode = 'ExclusiveLock'), true) FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted
        AND objsubid = 2 AND classid::bigint = $1 AND objid::bigint = hashtext($2)::bigint & 4294967295";
    let is_by_import: bool = query_one(client, is_by_import, &[&i64::from(LOCK_CLASS), &schema.as_str()]).await?.try_get(0)?;
    Err(if is_by_import { PostgresImportError::Locked } else { PostgresImportError::InUse })
}

/// Keeps imports out of the schema as long as this connection of a server lasts: they would not see that there is one while nothing
/// is stored yet.
pub(super) async fn keep_out(client: &Client, schema: &SchemaName) -> Result<(), PostgresOpenError> {
    let row = client.query_one(TRY_LOCK_SHARED, &[&LOCK_CLASS, &schema.as_str()]).await;
    let row = row.map_err(|error| PostgresOpenError::Schema(error.into()))?;
    if row.get(0) { Ok(()) } else { Err(PostgresOpenError::ImportRunning) }
}

/// Refuses a schema into which something is being imported.
pub(super) async fn expect_finished(client: &Client) -> Result<(), PostgresOpenError> {
    let sql =
        "SELECT EXISTS (SELECT FROM meta WHERE key = 'import') AND NOT EXISTS (SELECT FROM meta WHERE key = 'import_checked')";
    let row = client.query_one(sql, &[]).await.map_err(|error| PostgresOpenError::Schema(error.into()))?;
    if row.get(0) { Err(PostgresOpenError::Importing) } else { Ok(()) }
}
