//! The commands that are done when they have printed something: `parlor token` and `parlor config check`.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::auth::Minter;
use crate::cli::{ServeArgs, TokenArgs};
use crate::config::{Config, ConfigFaults, secret_for_tokens};
use crate::protocol::{UnixMillis, UserId};

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Why a command printed nothing, or not everything.
#[derive(Debug)]
pub enum CommandError {
    /// The configuration is wrong.
    Config(ConfigFaults),
    /// A user id made by `--count` is too long.
    Sub(String),
    /// The output could not be written.
    Output(io::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) => faults.fmt(f),
            Self::Sub(sub) => write!(f, "--sub: {sub} is too long for a user id; give a shorter one"),
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
        return Ok(());
    }
    for number in 1..=args.count {
        let sub = format!("{}-{number}", args.sub);
        let sub = UserId::parse(&sub).map_err(|_| CommandError::Sub(sub))?;
        let name = args.name.as_ref().map(|name| format!("{name} {number}"));
        writeln!(out, "{}", minter.mint(&sub, name.as_deref(), args.ttl, now, issuer, audience))?;
    }
    Ok(())
}

/// Prints the configuration that `serve` would have, without secrets. Makes nothing.
///
/// # Errors
/// When the configuration has faults, or `out` takes no more.
pub fn config_check(args: &ServeArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let config = Config::check(args)?;
    write!(out, "{config}")?;
    Ok(())
}

/// Tells standard error what went wrong, and the shell by the exit code: 78 for the configuration, 1 for the rest. A reader
/// that has seen enough, such as `head`, is nothing wrong.
pub fn finish(outcome: Result<(), CommandError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let code = match &error {
        CommandError::Output(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        CommandError::Config(_) | CommandError::Sub(_) => ExitCode::from(EXIT_CONFIG),
        CommandError::Output(_) => ExitCode::FAILURE,
    };
    // With standard error gone there is no one left to tell.
    let _ = writeln!(io::stderr(), "parlor: {error}");
    code
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
