//! The schema: made and brought up to date, by one server at a time.

use std::time::Duration;

use refinery::Runner;
use tokio_postgres::Client;

use super::super::{Migrated, SchemaName};
use super::connect::Connector;
use super::error::{PostgresError, PostgresOpenError};

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// The first half of the advisory lock's key: the bytes of "parl". The second half is a hash of the schema's name.
const LOCK_CLASS: i32 = 0x7061_726c;
/// How long another server's migration is waited for, and how long one may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Brings the schema up to date. Looks before it changes anything, so that a role that may not change the schema can start a
/// server on one that is up to date.
pub(super) async fn migrate(connector: &Connector, schema: &SchemaName) -> Result<Migrated, PostgresOpenError> {
    let mut link = connector.connect().await?;
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0);
    let found = connector.within("reading the schema's version", version(&link.client, schema)).await?;
    if found > known {
        return Err(PostgresOpenError::Newer { found, known });
    }
    if found == known {
        return Ok(Migrated { applied: Vec::new(), version: known });
    }
    let migrated = tokio::time::timeout(PATIENCE, migrate_locked(&mut link.client, schema, runner)).await;
    // The lock goes with the connection, however this ends.
    let applied = migrated.unwrap_or(Err(PostgresOpenError::Timeout("migrating the schema")))?;
    Ok(Migrated { applied, version: known })
}

async fn migrate_locked(client: &mut Client, schema: &SchemaName, runner: Runner) -> Result<Vec<String>, PostgresOpenError> {
    let failed = |error: tokio_postgres::Error| PostgresOpenError::Schema(error.into());
    // Another server may be at it, for which is waited.
    client
        .batch_execute(&format!("SET lock_timeout = 0; SET statement_timeout = {}", PATIENCE.as_millis()))
        .await
        .map_err(failed)?;
    let lock = "SELECT pg_advisory_lock($1, hashtext($2))";
    client.query_one(lock, &[&LOCK_CLASS, &schema.as_str()]).await.map_err(failed)?;
    // Not `IF NOT EXISTS`, for which one must be allowed to create schemas even if this one is there.
    let exists = client.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema.as_str()]).await.map_err(failed)?;
    if exists.is_none() {
        client.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await.map_err(failed)?;
    }
    let report = runner.run_async(client).await.map_err(|error| PostgresOpenError::Migration(text_of(&error)))?;
    let name = |migration: &refinery::Migration| format!("V{} {}", migration.version(), migration.name());
    Ok(report.applied_migrations().iter().map(name).collect())
}

/// Whether the schema is there and of the version that is known here.
pub(super) async fn is_current(client: &Client, schema: &SchemaName) -> Result<bool, PostgresOpenError> {
    let known = embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    Ok(known == Some(version(client, schema).await?))
}

/// The version that the schema has; 0 for one that is empty or not there.
async fn version(client: &Client, schema: &SchemaName) -> Result<i32, PostgresOpenError> {
    let failed = |error: tokio_postgres::Error| PostgresOpenError::Schema(PostgresError::from(error));
    let table = format!("\"{schema}\".refinery_schema_history");
    let exists = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await.map_err(failed)?;
    if !exists.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM refinery_schema_history", &[]).await.map_err(failed)?;
    Ok(row.get(0))
}

/// What refinery says, and what PostgreSQL said to it.
fn text_of(error: &refinery::Error) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    match source.and_then(tokio_postgres::Error::as_db_error) {
        Some(source) => format!("{error}: {} ({})", source.message(), source.code().code()),
        None => error.to_string(),
    }
}
