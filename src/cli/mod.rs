//! The command line: what can be given, and how it reads in `--help`. `config` makes sense of it.
//!
//! Every flag is also an environment variable, `PARLOR_` and its name; a flag wins over its variable.

mod limits;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

pub use limits::{ConnectionLimits, LimitArgs, MessageLimits, TimeLimits};
pub use values::{Bytes, Count, Deadline, LogFormat, LogLevel, Rate, SecretText, Span};

pub(crate) use limits::listing;

use crate::protocol::UserId;

/// Most tokens that `parlor token --count` makes.
const MAX_TOKENS: i64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  parlor serve --dev                       try it out: open http://127.0.0.1:8080/
  parlor serve --jwt-secret-file secret    tokens that your backend signs with HS256
  parlor serve --jwks jwks.json            tokens of an identity provider, with its published keys
  parlor token --sub alice --name Alice    a token for the server that runs with --dev
  parlor config check --listen 0.0.0.0:80  what would be wrong, before it is

`parlor COMMAND --help` tells about every flag.";

const SERVE_EXAMPLES: &str = "\
Every flag is also an environment variable, PARLOR_ and its name; the flag wins.
Times have a unit (500ms, 10s, 5m, 1h), sizes may have one (64k, 1m).

Examples:
  parlor serve --dev
  parlor serve --listen 0.0.0.0:8080 --data /var/lib/parlor --jwt-secret-file /run/secrets/jwt \\
      --allow-origin https://app.example.com --allow-origin https://admin.example.com
  PARLOR_LOG_FORMAT=json PARLOR_MAX_CONNECTIONS=50000 parlor serve --jwks jwks.json \\
      --jwt-audience authenticated

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage,
78 wrong configuration (every fault is listed).";

const TOKEN_EXAMPLES: &str = "\
Examples:
  parlor token --sub alice --name Alice            for `parlor serve --dev` with the same --data
  parlor token --sub load --count 1000 --ttl 8h    tokens of load-1 to load-1000
  parlor token --sub alice --jwt-secret-file secret --jwt-audience authenticated";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  parlor migrate --database sqlite:/var/lib/parlor/parlor.db
  PARLOR_DATABASE=postgres://owner:secret@db/chat parlor migrate --database-schema parlor";

const IMPORT_EXAMPLES: &str = "\
Stop the server, import, and start it with --database postgres://… and the same --data: the invite codes follow from the
file invite.key in it. Interrupted, it goes on when it is run again. No server may use the schema meanwhile.

Examples:
  PARLOR_DATABASE=postgres://owner:secret@db/chat parlor import sqlite:/var/lib/parlor/parlor.db
  PARLOR_DATABASE=postgres://owner:secret@db/chat parlor import sqlite:/var/lib/parlor/parlor.db --check-only

Exit codes: 0 everything is there, 1 failed, or source and target differ, 2 wrong usage, 78 wrong configuration.";

/// A chat server: one WebSocket for each client carries everything.
#[derive(Debug, Parser)]
#[command(name = "parlor", version, about, after_help = EXAMPLES, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until SIGTERM or SIGINT.
    Serve(Box<ServeArgs>),
    /// Print signed tokens, for development and load tests.
    Token(Box<TokenArgs>),
    /// Bring a database's schema up to date, as `serve` does when it starts, and stop.
    Migrate(Box<MigrateArgs>),
    /// Move a SQLite database into PostgreSQL, and compare the two.
    Import(Box<ImportArgs>),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration that `serve` would have with the same flags, without secrets, or every fault in it (exit code
    /// 78). Binds no port and makes no file.
    Check(Box<ServeArgs>),
}

/// Everything that `parlor serve` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// The server itself.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The data directory.
    #[command(flatten)]
    pub data: DataArgs,
    /// The database.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// The secret.
    #[command(flatten)]
    pub secret: SecretArgs,
    /// The public keys.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// The operator's token.
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// What tokens must say.
    #[command(flatten)]
    pub claims: ClaimArgs,
    /// Who may connect from a browser.
    #[command(flatten)]
    pub origins: OriginArgs,
    /// Every limit.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Development.
    #[command(flatten)]
    pub development: DevelopmentArgs,
}

/// The server itself.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, env = "PARLOR_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = listen_address)]
    pub listen: SocketAddr,
    /// Threads that serve connections, 1 to 1024 [default: the number of cores]
    #[arg(long, env = "PARLOR_WORKERS", value_name = "COUNT")]
    pub workers: Option<usize>,
    /// Reverse proxies in front of the server that append to `X-Forwarded-For`. With 0 the header is not looked at; with n a
    /// client's address, by which wrong invite codes are counted, is the nth from its end
    #[arg(long, env = "PARLOR_TRUSTED_PROXIES", value_name = "COUNT", default_value_t = 0)]
    pub trusted_proxies: usize,
    /// Serve the built-in chat page at `/`, to which people log in with a token. With --dev it is always there
    #[arg(long, env = "PARLOR_PAGE", value_parser = BoolishValueParser::new())]
    pub page: bool,
    /// How log lines are written
    #[arg(long, env = "PARLOR_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// How much is logged
    #[arg(long, env = "PARLOR_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}

/// Where the server keeps its files.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Storage")]
pub struct DataArgs {
    /// Directory for the database and generated secrets; made when it is missing
    #[arg(long, env = "PARLOR_DATA", value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,
}

/// Where conversations are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Storage")]
pub struct StorageArgs {
    /// `sqlite:PATH`; `postgres://USER:PASSWORD@HOST/DATABASE`, with `?sslmode=` disable, prefer, require or verify-full (and
    /// `&sslrootcert=FILE`); or `memory:` to keep nothing. Other users of the machine can see a flag: give a URL with a password as
    /// the variable [default: sqlite:parlor.db inside --data]
    #[arg(long, env = "PARLOR_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<SecretText>,
    /// PostgreSQL: the schema that holds everything; made when it is missing
    #[arg(long, env = "PARLOR_DATABASE_SCHEMA", value_name = "NAME", default_value = "parlor")]
    pub database_schema: String,
    /// PostgreSQL: connections that read, 1 to 1000; four more write
    #[arg(long, env = "PARLOR_DATABASE_CONNECTIONS", value_name = "COUNT", default_value_t = 4)]
    pub database_connections: usize,
    /// PostgreSQL: how long connecting may take, a statement, and the wait for a connection, 100ms to 5m
    #[arg(long, env = "PARLOR_DATABASE_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = values::parse_time)]
    pub database_timeout: Duration,
    /// PostgreSQL: run also where fsync or synchronous_commit is off, and acknowledged messages can be lost
    #[arg(long, env = "PARLOR_ALLOW_UNSAFE_DATABASE", value_parser = BoolishValueParser::new())]
    pub allow_unsafe_database: bool,
}

/// Everything that `parlor migrate` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = MIGRATE_EXAMPLES)]
pub struct MigrateArgs {
    /// The data directory.
    #[command(flatten)]
    pub data: DataArgs,
    /// The database.
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// Everything that `parlor import` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// The database to read: `sqlite:PATH`. No server may have it open
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Compare only, and change nothing
    #[arg(long)]
    pub check_only: bool,
    /// The database to fill.
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// The secret of HS256 tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub struct SecretArgs {
    /// Secret of HS256 tokens, at least 32 bytes. Other users of the machine can see a flag: prefer the variable or the file
    #[arg(long, env = "PARLOR_JWT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub jwt_secret: Option<SecretText>,
    /// File with the secret of HS256 tokens; a line feed at its end does not count
    #[arg(long, env = "PARLOR_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
}

/// What the operator's own requests carry.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub struct OperatorArgs {
    /// Token of the operator's requests, such as `POST /operator/remove?user=ID`; at least 32 bytes [default: none are taken]
    #[arg(long, env = "PARLOR_OPERATOR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub operator_token: Option<SecretText>,
    /// File with that token; a line feed at its end does not count
    #[arg(long, env = "PARLOR_OPERATOR_TOKEN_FILE", value_name = "FILE")]
    pub operator_token_file: Option<PathBuf>,
}

/// The public keys of whoever issues the tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub struct KeyArgs {
    /// PEM file with the issuer's public key: RSA (RS256), EC P-256 (ES256) or Ed25519 (EdDSA)
    #[arg(long, env = "PARLOR_JWT_PUBLIC_KEY", value_name = "FILE")]
    pub jwt_public_key: Option<PathBuf>,
    /// File with the issuer's key set, as published at its `jwks_uri`; a token's `kid` chooses the key. A secret, a public key
    /// and a key set may be given together while an issuer rotates its keys
    #[arg(long, env = "PARLOR_JWKS", value_name = "FILE")]
    pub jwks: Option<PathBuf>,
}

/// What tokens must say.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub struct ClaimArgs {
    /// What `iss` must be in every token [default: not looked at]
    #[arg(long, env = "PARLOR_JWT_ISSUER", value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,
    /// What `aud` must be, or contain, in every token [default: not looked at]
    #[arg(long, env = "PARLOR_JWT_AUDIENCE", value_name = "AUDIENCE")]
    pub jwt_audience: Option<String>,
}

/// Which web pages may connect.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub struct OriginArgs {
    /// Origin of web pages that may connect, such as `https://app.example.com`; `*` for any. Repeat it, or separate several
    /// with commas [default: pages of this server's own address; with --dev, pages of localhost]
    #[arg(long, env = "PARLOR_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,
}

/// Development.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Development")]
pub struct DevelopmentArgs {
    /// For trying it out on a loopback address: makes a secret in --data when no key is given, hands out tokens to anyone, lets
    /// pages of localhost connect, and serves a page to chat on at `/`
    #[arg(long, env = "PARLOR_DEV", value_parser = BoolishValueParser::new())]
    pub dev: bool,
}

/// Everything that `parlor token` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = TOKEN_EXAMPLES)]
pub struct TokenArgs {
    /// User id, the claim `sub`: 1 to 128 of A-Z a-z 0-9 . _ : @ | -
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    pub sub: UserId,
    /// Name to show, the claim `name` [default: none; the server shows the id]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How long the token is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = values::parse_time)]
    pub ttl: Duration,
    /// How many tokens. More than one: for the users ID-1 to ID-COUNT, with the names NAME 1 to NAME COUNT, one on each line
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=MAX_TOKENS))]
    pub count: u32,
    /// Where a server with --dev keeps its secret.
    #[command(flatten)]
    pub data: DataArgs,
    /// The secret.
    #[command(flatten)]
    pub secret: SecretArgs,
    /// What the token says.
    #[command(flatten)]
    pub claims: ClaimArgs,
}

/// An IP address with a port; `localhost` stands for 127.0.0.1.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let parsed = numeric.as_deref().unwrap_or(text).parse();
    parsed.map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8081, 0.0.0.0:8081 or [::1]:8081".to_owned())
}

/// Reads the command line and the environment. For wrong usage this prints what is wrong and exits with code 2, for `--help`
/// and `--version` with 0.
pub fn parse() -> Cli {
    Cli::parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn every_argument() -> Vec<clap::Arg> {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        serve.get_arguments().cloned().collect()
    }

    #[test]
    fn every_flag_of_serve_has_its_variable_a_heading_and_help() {
        for arg in every_argument() {
            let flag = arg.get_long().unwrap();
            let variable = format!("PARLOR_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()), "{flag}");
            assert!(arg.get_help_heading().is_some(), "{flag}");
            assert!(arg.get_help().is_some(), "{flag}");
        }
    }

    #[test]
    fn help_does_not_show_a_secret_from_the_environment() {
        let secrets = ["jwt-secret", "operator-token", "database"];
        let hidden = every_argument().into_iter().filter(|arg| secrets.contains(&arg.get_long().unwrap()));
        assert_eq!(hidden.filter(clap::Arg::is_hide_env_values_set).count(), secrets.len());
        let (secret, url) = ("correct horse battery staple, twice", "postgres://me:horse@db/chat");
        let cli = Cli::parse_from(["parlor", "serve", "--jwt-secret", secret, "--database", url]);
        assert!(!format!("{cli:?}").contains("horse"));
    }
}
