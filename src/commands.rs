//! The commands that are done when they have printed something: `parlor token`, `parlor migrate`, `parlor import` and `parlor config check`.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::auth::Minter;
use crate::cli::{ImportArgs, MigrateArgs, ServeArgs, TokenArgs};
use crate::config::{Config, ConfigFaults, database_to_migrate, databases_of_import, secret_for_tokens};
use crate::import::{self, ImportConfig, ImportError, Outcome, Progress};
use crate::protocol::{UnixMillis, UserId};
use crate::server::{self, StartError};

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Why a command printed nothing, or not everything.
#[derive(Debug)]
pub enum CommandError {
    /// The configuration is wrong.
    Config(ConfigFaults),
    /// A user id made by `--count` is too long.
    Sub(String),
    /// The database cannot be opened or changed.
    Database(StartError),
    /// An import failed. Its text says what to do.
    Import(Box<dyn std::error::Error>),
    /// The output could not be written.
    Output(io::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) => faults.fmt(f),
            Self::Sub(sub) => write!(f, "--sub: {sub} is too long for a user id; give a shorter one"),
            Self::Database(error) => error.fmt(f),
            Self::Import(error) => error.fmt(f),
            Self::Output(error) => write!(f, "the output could not be written: {error}"),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<ConfigFaults> for CommandError {
    fn from(faults: ConfigFaults) -> Self {
        Self::Config(faults)
    }
}

impl From<ImportError> for CommandError {
    fn from(error: ImportError) -> Self {
        Self::Import(Box::new(error))
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints tokens, one on each line.
///
/// # Errors
/// When there is no secret to sign with, `--count` makes an id too long, or `out` takes no more.
pub fn token(args: &TokenArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let minter = Minter::new(&secret_for_tokens(args)?);
    let now = now();
    let (issuer, audience) = (args.claims.jwt_issuer.as_deref(), args.claims.jwt_audience.as_deref());
    if args.count == 1 {
        writeln!(out, "{}", minter.mint(&args.sub, args.name.as_deref(), args.ttl, now, issuer, audience))?;
        return Ok(out.flush()?);
    }
    for number in 1..=args.count {
        let sub = format!("{}-{number}", args.sub);
        let sub = UserId::parse(&sub).map_err(|_| CommandError::Sub(sub))?;
        let name = args.name.as_ref().map(|name| format!("{name} {number}"));
        writeln!(out, "{}", minter.mint(&sub, name.as_deref(), args.ttl, now, issuer, audience))?;
    }
    Ok(out.flush()?)
}

/// Brings the database's schema up to date and prints what that took.
///
/// # Errors
/// When the configuration has faults, the database cannot be opened or changed, or `out` takes no more.
pub fn migrate(args: &MigrateArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let database = database_to_migrate(args)?;
    let migrated = server::migrate(&database).map_err(CommandError::Database)?;
    for migration in &migrated.applied {
        writeln!(out, "applied {migration}")?;
    }
    writeln!(out, "{database}: the schema has version {}", migrated.version)?;
    Ok(out.flush()?)
}

/// Moves a SQLite database into PostgreSQL, or only compares the two, and prints what came of it.
///
/// # Errors
/// When the configuration has faults, a database cannot be used, the two differ, or `out` takes no more.
pub fn import(args: &ImportArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let (source, target) = databases_of_import(args)?;
    let config = ImportConfig { source, target };
    let (from, to) = (config.source.display(), &config.target);
    let to = format!("{}, schema {}", to.url, to.schema);
    let mut progress = Progress::new();
    if args.check_only {
        let totals = import::check(&config, &mut progress)?;
        writeln!(out, "{to}: has all that sqlite:{from} has, and nothing else: {totals}")?;
        return Ok(out.flush()?);
    }
    match import::run(&config, &mut progress)? {
        Outcome::Imported(totals) => {
            writeln!(out, "{to}: has all that sqlite:{from} has: {totals}; everything was read back and compared")?;
            writeln!(
                out,
                "The invite codes follow from the file invite.key in --data: the server goes on needing that very file"
            )?;
        }
        Outcome::WasImported => writeln!(out, "{to}: sqlite:{from} was imported before; there is nothing to do")?,
    }
    Ok(out.flush()?)
}

/// Prints the configuration that `serve` would have, without secrets. Makes nothing.
///
/// # Errors
/// When the configuration has faults, or `out` takes no more.
pub fn config_check(args: &ServeArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let config = Config::check(args)?;
    write!(out, "{config}")?;
    Ok(out.flush()?)
}

/// Tells standard error what went wrong, and the shell by the exit code: 78 for the configuration, 1 for the rest. A reader
/// that has seen enough, such as `head`, is nothing wrong.
pub fn finish(outcome: Result<(), CommandError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let code = match &error {
        CommandError::Output(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        CommandError::Config(_) | CommandError::Sub(_) => ExitCode::from(EXIT_CONFIG),
        CommandError::Database(_) | CommandError::Import(_) | CommandError::Output(_) => ExitCode::FAILURE,
    };
    // With standard error gone there is no one left to tell.
    let _ = writeln!(io::stderr(), "parlor: {error}");
    code
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::auth::{AuthConfig, Secret, Verifier};
    use crate::cli::{Cli, Command};

    const SECRET: &str = "a secret of more than thirty-two bytes";

    fn token_args(args: &[&str]) -> TokenArgs {
        match Cli::parse_from(["parlor", "token"].iter().chain(args)).command {
            Command::Token(args) => *args,
            Command::Serve(_) | Command::Migrate(_) | Command::Import(_) | Command::Config(_) => panic!("not token"),
        }
    }

    fn tokens(args: &[&str]) -> Vec<(String, String)> {
        let mut out = Vec::new();
        token(&token_args(args), &mut out).unwrap();
        let config = AuthConfig { secret: Some(Secret::new(SECRET.as_bytes()).unwrap()), ..AuthConfig::default() };
        let verifier = Verifier::new(&config).unwrap();
        let identities = String::from_utf8(out).unwrap();
        let identities = identities.lines().map(|line| verifier.verify(line, now()).unwrap());
        identities.map(|identity| (identity.user.to_string(), identity.name.to_string())).collect()
    }

    #[test]
    fn several_tokens_are_numbered() {
        let one = tokens(&["--sub=alice", "--jwt-secret", SECRET]);
        assert_eq!(one, [("alice".to_owned(), "alice".to_owned())]);
        let two = tokens(&["--sub=load", "--name=Load", "--count=2", "--jwt-secret", SECRET]);
        assert_eq!(two, [("load-1".to_owned(), "Load 1".to_owned()), ("load-2".to_owned(), "Load 2".to_owned())]);
    }

    #[test]
    fn a_numbered_id_that_is_too_long_is_a_fault() {
        let args = token_args(&["--sub", &"x".repeat(127), "--count=10", "--jwt-secret", SECRET]);
        assert!(matches!(token(&args, &mut Vec::new()), Err(CommandError::Sub(_))));
    }

    #[test]
    fn tokens_are_signed_with_the_secret_that_dev_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        let args = token_args(&["--sub=alice", "--data", &data]);
        assert!(matches!(token(&args, &mut Vec::new()), Err(CommandError::Config(_))));

        let Command::Serve(serve) = Cli::parse_from(["parlor", "serve", "--dev", "--data", &data]).command else {
            panic!("not serve")
        };
        let verifier = Verifier::new(&Config::from_args(&serve).unwrap().auth).unwrap();
        let mut out = Vec::new();
        token(&args, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(verifier.verify(text.trim_end(), now()).unwrap().user.as_str(), "alice");
    }

    #[test]
    fn a_full_disk_is_noticed_although_the_output_is_buffered() {
        let full = || io::BufWriter::new(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        for count in ["--count=1", "--count=2"] {
            let args = token_args(&["--sub=alice", "--jwt-secret", SECRET, count]);
            assert!(matches!(token(&args, &mut full()), Err(CommandError::Output(_))));
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_nothing_wrong() {
        let closed = io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(format!("{:?}", finish(Err(closed.into()))), format!("{:?}", ExitCode::SUCCESS));
    }
}
