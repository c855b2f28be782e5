//! From `--database` and what belongs to it to the database that the store opens.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ConfigFaults;
use crate::cli::{ImportArgs, MigrateArgs, SecretText, Span, StorageArgs};
use crate::store::{DatabaseServer, SchemaName, ServerUrl};

/// Most connections that write: past that, batches are small and cost the database more than they bring.
const MAX_WRITERS: usize = 16;
/// Most of them without being asked for.
const MOST_USUAL_WRITERS: usize = 4;
/// Most connections that read: more than PostgreSQL takes unless it is told to.
const MAX_CONNECTIONS: usize = 1_000;
/// Shorter than this, a commit on a busy disk would count as a fault; longer, a client has long given up.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

/// Where conversations are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A schema on a PostgreSQL server.
    Postgres(Box<DatabaseServer>),
    /// Nowhere: all is lost when the server stops.
    Memory,
}

impl fmt::Display for Database {
    /// The URL, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(server) => server.url.fmt(f),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// The database that `parlor migrate` is about.
///
/// # Errors
/// Every fault.
pub fn database_to_migrate(args: &MigrateArgs) -> Result<Database, ConfigFaults> {
    let mut faults = ConfigFaults::default();
    match checked(&args.storage, &args.data.data, &mut faults) {
        Some(database) if faults.is_empty() => Ok(database),
        _ => Err(faults),
    }
}

/// The SQLite file that `parlor import` reads, and the schema that it fills.
///
/// # Errors
/// Every fault.
pub fn databases_of_import(args: &ImportArgs) -> Result<(PathBuf, DatabaseServer), ConfigFaults> {
    let mut faults = ConfigFaults::default();
    let source = sqlite_path(&args.source);
    if source.is_none() {
        faults.add("SOURCE", "only SQLite databases can be imported".to_owned(), "write sqlite:PATH");
    }
    let target = match args.storage.database.as_ref().map(SecretText::expose) {
        Some(url) if ServerUrl::has_scheme(url) => postgres(url, &args.storage, &mut faults),
        _ => {
            let remedy = "write postgres://USER:PASSWORD@HOST/DATABASE";
            faults.add("--database", "it is to name the PostgreSQL database to fill".to_owned(), remedy);
            None
        }
    };
    match (source, target) {
        (Some(source), Some(target)) if faults.is_empty() => Ok((source, target)),
        _ => Err(faults),
    }
}

/// The file of `sqlite:PATH`. Both that and `sqlite://PATH` are in use elsewhere.
fn sqlite_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest))?;
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(path))
}

/// The database; `None` after a fault.
pub(super) fn checked(args: &StorageArgs, data: &Path, faults: &mut ConfigFaults) -> Option<Database> {
    const REMEDY: &str = "write sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE, or memory: to keep nothing";
    let Some(url) = &args.database else { return Some(Database::Sqlite(data.join("parlor.db"))) };
    let url = url.expose();
    if url == "memory:" {
        return Some(Database::Memory);
    }
    if ServerUrl::has_scheme(url) {
        return postgres(url, args, faults).map(|server| Database::Postgres(Box::new(server)));
    }
    let Some(path) = sqlite_path(url) else {
        // It may hold a password, even before a colon; so only what looks like a URL's scheme is shown.
        let is_scheme = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'+');
        let scheme = url.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
        let what = scheme.map_or_else(|| "it".to_owned(), |scheme| format!("{scheme:?}"));
        faults.add("--database", format!("{what} is no database that this version knows, or names no file"), REMEDY);
        return None;
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        faults.add("--database", format!("{} is a directory", path.display()), "name a file in it");
    } else if parent != data && !parent.is_dir() {
        faults.add("--database", format!("there is no directory {}", parent.display()), "make it, or name another file");
    }
    Some(Database::Sqlite(path))
}

fn postgres(url: &str, args: &StorageArgs, faults: &mut ConfigFaults) -> Option<DatabaseServer> {
    let url = ServerUrl::parse(url).map_err(|error| {
        let remedy = "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with what is special in them as %XX";
        faults.add("--database", format!("the URL {error}"), remedy);
    });
    let schema = SchemaName::parse(&args.database_schema);
    if schema.is_none() {
        let remedy = "use a-z, 0-9 and _, at most 63, not beginning with a digit or pg_";
        faults.add("--database-schema", format!("{:?} is no schema for this server", args.database_schema), remedy);
    }
    let (connections, timeout) = (args.database_connections, args.database_timeout);
    if !(1..=MAX_CONNECTIONS).contains(&connections) {
        let problem = format!("{connections} is not in 1 to {MAX_CONNECTIONS}");
        faults.add("--database-connections", problem, "leave it out for four");
    }
    let writers = args.database_writers.unwrap_or_else(usual_writers);
    if !(1..=MAX_WRITERS).contains(&writers) {
        faults.add("--database-writers", format!("{writers} is not in 1 to {MAX_WRITERS}"), "leave it out for half of the cores");
    }
    if !TIMEOUTS.contains(&timeout) {
        let problem = format!("{} is not in 100ms to 5m", Span::new(timeout));
        faults.add("--database-timeout", problem, "leave it out for five seconds");
    }
    let allow_unsafe = args.allow_unsafe_database;
    Some(DatabaseServer { url: url.ok()?, schema: schema?, allow_unsafe, connections, writers, timeout })
}

/// Half of the cores: with the database on the same machine, the rest is for the workers.
fn usual_writers() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, MOST_USUAL_WRITERS)
}
