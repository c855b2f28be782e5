//! The validated, immutable configuration. It is built once, before anything is bound, and names every fault at once.

mod database;
mod faults;
mod keys;
mod limits;
mod origin;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::fs::Access;

pub use crate::cli::{LogFormat, LogLevel};
pub use database::{Database, database_to_migrate, databases_of_import};
pub use faults::{ConfigFaults, Fault};
pub use keys::secret_for_tokens;
pub use origin::{OriginPolicy, is_loopback};

use crate::auth::{AuthConfig, Secret};
use crate::cli::{self, ServeArgs};
use crate::protocol::Limits;

/// Ids and names of the users that a server with `--dev` hands out tokens for.
pub const DEV_USERS: [(&str, &str); 6] =
    [("alice", "Alice"), ("bob", "Bob"), ("carol", "Carol"), ("dave", "Dave"), ("erin", "Erin"), ("frank", "Frank")];
/// Most worker threads: far more than a machine has cores, and few enough to start.
const MAX_WORKERS: usize = 1024;

/// What the server runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The directory of its files. May not exist yet.
    pub data: PathBuf,
    /// Where conversations are kept.
    pub database: Database,
    /// Threads that serve connections; at least one.
    pub workers: usize,
    /// Hands out tokens to anyone; then `listen` is a loopback address.
    pub dev: bool,
    /// Serves the built-in page; always with `dev`.
    pub page: bool,
    /// Whose tokens are trusted.
    pub auth: AuthConfig,
    /// Reverse proxies in front whose `X-Forwarded-For` is believed.
    pub trusted_proxies: usize,
    /// What the operator's requests must carry; without it none are taken.
    pub operator_token: Option<Secret>,
    /// Which web pages may connect.
    pub origins: OriginPolicy,
    /// Every limit, their relations checked.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// How much is logged.
    pub level: LogLevel,
}

/// Whether building a configuration may leave a file behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Serve,
    Check,
}

impl Config {
    /// The configuration for `serve`. With `dev` and no key, makes `dev-secret` in the data directory if it is not there.
    ///
    /// # Errors
    /// Every fault. Then nothing was made.
    pub fn from_args(args: &ServeArgs) -> Result<Self, ConfigFaults> {
        Self::build(args, Purpose::Serve)
    }

    /// The same, but makes nothing: in place of a `dev-secret` that is not there yet it has one that is not kept.
    ///
    /// # Errors
    /// Every fault.
    pub fn check(args: &ServeArgs) -> Result<Self, ConfigFaults> {
        Self::build(args, Purpose::Check)
    }

    fn build(args: &ServeArgs, purpose: Purpose) -> Result<Self, ConfigFaults> {
        let mut faults = ConfigFaults::default();
        let (dev, data) = (args.development.dev, &args.data.data);
        let listen = args.server.listen;
        if dev && !listen.ip().is_loopback() {
            let remedy = "listen on 127.0.0.1, or leave --dev out and give a key: with --dev anyone gets a token";
            faults.add("--listen", format!("{listen} can be reached from other machines, and --dev is set"), remedy);
        }
        let workers = args.server.workers.unwrap_or_else(cores);
        if !(1..=MAX_WORKERS).contains(&workers) {
            let remedy = "leave it out for one on each core";
            faults.add("--workers", format!("{workers} is not in 1 to {MAX_WORKERS}"), remedy);
        }
        if data.exists() && !data.is_dir() {
            faults.add("--data", format!("{} is not a directory", data.display()), "name a directory, or one to be made");
        }
        if let Some(parent) = data.ancestors().find(|parent| parent.exists() && !parent.as_os_str().is_empty())
            && parent.is_dir()
            && let Err(error) = rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK)
        {
            let problem = format!("{} cannot be written to: {error}", parent.display());
            faults.add("--data", problem, "name a directory that this user can write to");
        }
        let database = database::checked(&args.storage, data, &mut faults);
        let origins = origins(&args.origins.allow_origin, dev, &mut faults);
        let limits = limits::checked(args.limits.limits(), &mut faults);
        let operator_token = keys::operator_token(&args.operator, &mut faults);
        let auth = keys::auth(args, purpose, &mut faults);
        let trusted_proxies = args.server.trusted_proxies;
        let log = LogConfig { format: args.server.log_format, level: args.server.log_level };
        match (database, auth) {
            (Some(database), Some(auth)) if faults.is_empty() => Ok(Self {
                listen,
                data: data.clone(),
                database,
                workers,
                dev,
                page: dev || args.server.page,
                auth,
                trusted_proxies,
                operator_token,
                origins,
                limits,
                log,
            }),
            _ => Err(faults),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_WORKERS))
}

fn origins(given: &[String], dev: bool, faults: &mut ConfigFaults) -> OriginPolicy {
    if given.iter().any(|origin| origin == "*") {
        return OriginPolicy::Any;
    }
    if given.is_empty() {
        return if dev { OriginPolicy::Loopback } else { OriginPolicy::SameOrigin };
    }
    let mut listed = Vec::with_capacity(given.len());
    for text in given {
        match origin::parse(text.trim()) {
            Ok(origin) => listed.push(origin),
            Err(problem) => {
                let remedy = "give the origin as the browser's address bar begins: scheme, host, and port if it is shown";
                faults.add("--allow-origin", format!("{text:?} {problem}"), remedy);
            }
        }
    }
    OriginPolicy::Listed(listed)
}

impl fmt::Display for Config {
    /// One setting on each line, named as its flag. Secrets and keys are counted or named, never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |flag: &str, value: &dyn fmt::Display| writeln!(f, "{flag:<28} {value}");
        line("listen", &self.listen)?;
        line("workers", &self.workers)?;
        line("trusted-proxies", &self.trusted_proxies)?;
        line("log-format", &self.log.format.as_str())?;
        line("log-level", &self.log.level.as_str())?;
        line("data", &self.data.display())?;
        line("database", &self.database)?;
        if let Database::Postgres(server) = &self.database {
            line("database-schema", &server.schema)?;
            line("database-connections", &server.connections)?;
            line("database-timeout", &cli::Span::new(server.timeout))?;
            line("allow-unsafe-database", &server.allow_unsafe)?;
        }
        line("jwt-secret", if self.auth.secret.is_some() { &"(set) HS256" } else { &"(none)" })?;
        for key in &self.auth.public_keys {
            line("public key", key)?;
        }
        line("jwt-issuer", &self.auth.issuer.as_deref().unwrap_or("(any)"))?;
        line("jwt-audience", &self.auth.audience.as_deref().unwrap_or("(any)"))?;
        line("operator-token", if self.operator_token.is_some() { &"(set)" } else { &"(none)" })?;
        let origins = match &self.origins {
            OriginPolicy::Any => "*".to_owned(),
            OriginPolicy::Listed(list) => list.join(","),
            OriginPolicy::SameOrigin => "(the server's own)".to_owned(),
            OriginPolicy::Loopback => "(loopback)".to_owned(),
        };
        line("allow-origin", &origins)?;
        for (flag, value) in cli::listing(&self.limits) {
            line(&flag, &value)?;
        }
        line("page", &self.page)?;
        line("dev", &self.dev)
    }
}

#[cfg(test)]
mod tests;
