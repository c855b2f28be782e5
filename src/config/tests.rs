//! What a configuration is made of, and everything that can be wrong with it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::cli::{Cli, Command};
use crate::protocol::limits::{HARD_MAX_MESSAGE_BYTES, OFF, OFF_TIME};

const SECRET: &str = "a secret of more than thirty-two bytes";

/// A directory and flags that use it; nothing is read from or written to anywhere else.
struct Setup {
    dir: TempDir,
    args: Vec<String>,
}

impl Setup {
    fn new(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        let mut all = vec!["parlor".to_owned(), "serve".to_owned(), "--data".to_owned(), data];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Self { dir, args: all }
    }

    fn with_secret(args: &[&str]) -> Self {
        let mut setup = Self::new(args);
        setup.args.extend(["--jwt-secret".to_owned(), SECRET.to_owned()]);
        setup
    }

    /// Adds a flag with the path of a file of these contents.
    fn file(mut self, flag: &str, contents: &str) -> Self {
        let path = self.dir.path().join(flag.trim_start_matches('-'));
        fs::write(&path, contents).unwrap();
        self.args.extend([flag.to_owned(), path.display().to_string()]);
        self
    }

    fn serve_args(&self) -> ServeArgs {
        match Cli::parse_from(&self.args).command {
            Command::Serve(args) => *args,
            Command::Token(_) | Command::Migrate(_) | Command::Import(_) | Command::Config(_) => panic!("not serve"),
        }
    }

    fn config(&self) -> Config {
        Config::from_args(&self.serve_args()).unwrap()
    }

    /// The flags that have faults, in order.
    fn faults(&self) -> Vec<&'static str> {
        let faults = Config::from_args(&self.serve_args()).unwrap_err();
        assert!(faults.faults().iter().all(|fault| !fault.problem.is_empty() && !fault.remedy.is_empty()));
        assert!(!faults.to_string().contains("thirty-two"), "{faults}");
        faults.faults().iter().map(|fault| fault.setting).collect()
    }

    fn dev_secret(&self) -> PathBuf {
        self.dir.path().join("data").join("dev-secret")
    }
}

#[test]
fn a_secret_is_all_that_is_needed() {
    let setup = Setup::with_secret(&[]);
    let config = setup.config();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database, Database::Sqlite(config.data.join("parlor.db")));
    assert_eq!(config.origins, OriginPolicy::SameOrigin);
    assert_eq!(config.limits, Limits::default());
    assert!(config.workers >= 1 && !config.dev && config.auth.secret.is_some());
    assert!(!config.data.exists(), "nothing was made");
}

#[test]
fn every_fault_is_listed_at_once() {
    let setup = Setup::new(&[
        "--dev",
        "--listen=0.0.0.0:8080",
        "--workers=0",
        "--database=postgres://me:hunter2@db:port/parlor",
        "--allow-origin=https://a.example.com/x,https://*.example.com,null",
        "--max-message-bytes=17m",
        "--max-outbox-bytes=1k",
        "--typing-lease=0",
        "--drain-time=0s",
        "--message-burst=0",
        "--jwt-secret=short",
        "--jwt-public-key=/does/not/exist",
        "--jwks=/does/not/exist",
        "--jwt-issuer=",
        "--jwt-audience= ",
    ]);
    let mut found = setup.faults();
    found.sort_unstable();
    let mut expected = vec![
        "--listen",
        "--workers",
        "--database",
        "--allow-origin",
        "--allow-origin",
        "--allow-origin",
        "--max-message-bytes",
        "--max-outbox-bytes",
        "--typing-lease",
        "--drain-time",
        "--message-burst",
        "--jwt-secret",
        "--jwt-public-key",
        "--jwks",
        "--jwt-issuer",
        "--jwt-audience",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let text = Config::from_args(&setup.serve_args()).unwrap_err().to_string();
    assert!(text.starts_with("16 faults in the configuration:\n  --listen: 0.0.0.0:8080 can be reached"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("short"), "{text}");
    assert!(!setup.dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn without_dev_a_key_is_needed() {
    assert_eq!(Setup::new(&[]).faults(), ["--jwt-secret"]);
    assert_eq!(Setup::new(&["--jwt-issuer", "https://id.example.com/"]).faults(), ["--jwt-secret"]);
}

#[test]
fn a_secret_is_given_once() {
    assert_eq!(Setup::with_secret(&[]).file("--jwt-secret-file", SECRET).faults(), ["--jwt-secret"]);
    assert_eq!(Setup::new(&["--jwt-secret", ""]).faults(), ["--jwt-secret"]);
    assert_eq!(Setup::new(&[]).file("--jwt-secret-file", "short\n").faults(), ["--jwt-secret-file"]);
}

#[test]
fn a_line_feed_at_the_end_of_a_secret_file_does_not_count() {
    let token_of = |contents: &str| {
        let secret = Setup::new(&[]).file("--jwt-secret-file", contents).config().auth.secret.unwrap();
        let sub = crate::protocol::UserId::parse("alice").unwrap();
        let now = crate::protocol::UnixMillis::new(0);
        crate::auth::Minter::new(&secret).mint(&sub, None, Duration::ZERO, now, None, None)
    };
    assert_eq!(token_of(&format!("{SECRET}\n")), token_of(SECRET));
    assert_eq!(token_of(&format!("{SECRET}\r\n")), token_of(SECRET));
    assert_ne!(token_of(&format!("{SECRET} ")), token_of(SECRET));
    assert_ne!(token_of(&format!("{SECRET}\n\n")), token_of(SECRET));
}

#[test]
fn key_files_that_hold_something_else_are_faults() {
    assert_eq!(Setup::new(&[]).file("--jwks", "{}").file("--jwt-public-key", "x").faults(), ["--jwt-public-key", "--jwks"]);
    assert_eq!(Setup::new(&["--jwks", "/"]).faults(), ["--jwks"]);
    assert_eq!(Setup::new(&[]).file("--jwks", &" ".repeat(1024 * 1024 + 1)).faults(), ["--jwks"]);
}

#[test]
fn dev_makes_a_secret_once_for_its_owner_only() {
    let setup = Setup::new(&["--dev", "--database", "memory:"]);
    assert!(setup.config().auth.secret.is_some());
    assert_eq!(fs::metadata(setup.dev_secret()).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(setup.dir.path().join("data")).unwrap().mode() & 0o777, 0o700);
    let made = fs::read_to_string(setup.dev_secret()).unwrap();
    setup.config();
    assert_eq!(fs::read_to_string(setup.dev_secret()).unwrap(), made);

    fs::set_permissions(setup.dev_secret(), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(setup.faults(), ["--dev"]);
}

#[test]
fn dev_makes_no_secret_when_a_key_is_given() {
    let setup = Setup::with_secret(&["--dev"]);
    setup.config();
    assert!(!setup.dev_secret().exists());
}

#[test]
fn a_check_makes_nothing() {
    let setup = Setup::new(&["--dev"]);
    let config = Config::check(&setup.serve_args()).unwrap();
    assert!(config.auth.secret.is_some());
    assert!(!setup.dir.path().join("data").exists());
}

#[test]
fn dev_listens_on_loopback_only() {
    for good in ["127.0.0.1:0", "[::1]:0", "127.1.2.3:80"] {
        assert!(Setup::with_secret(&["--dev", "--listen", good]).config().dev);
    }
    for bad in ["0.0.0.0:80", "[::]:80", "192.168.1.1:80"] {
        assert_eq!(Setup::with_secret(&["--dev", "--listen", bad]).faults(), ["--listen"]);
    }
}

#[test]
fn databases_are_sqlite_or_memory() {
    let database = |url: &str| Setup::with_secret(&["--database", url]).config().database;
    assert_eq!(database("memory:"), Database::Memory);
    assert_eq!(database("sqlite:chat.db"), Database::Sqlite("chat.db".into()));
    assert_eq!(database("sqlite:///tmp/chat.db"), Database::Sqlite("/tmp/chat.db".into()));
    for bad in [
        "",
        "chat.db",
        "sqlite:",
        "sqlite::memory:",
        "mysql://db",
        "postgresql://db",
        "postgres:chat",
        "sqlite:/does/not/exist/a.db",
        "sqlite:/",
    ] {
        assert_eq!(Setup::with_secret(&["--database", bad]).faults(), ["--database"], "{bad}");
    }
}

#[test]
fn what_is_no_database_url_is_shown_only_as_far_as_it_is_a_scheme() {
    let shown = |text: &str| {
        let setup = Setup::with_secret(&["--database", text]);
        Config::from_args(&setup.serve_args()).unwrap_err().to_string()
    };
    assert!(shown("mysql+ssl://me@db").contains("\"mysql+ssl\" is no database"));
    for text in ["host=db user=me password=hunter2:x", "hunter2:x", "hunter2"] {
        let shown = shown(text);
        assert!(shown.contains("it is no database") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_postgres_database_has_a_schema_and_its_own_limits() {
    let url = "postgres://me:hunter2@db.example.com/chat?sslmode=require";
    let Database::Postgres(server) = Setup::with_secret(&["--database", url]).config().database else { panic!("not PostgreSQL") };
    assert_eq!((server.schema.as_str(), server.connections, server.timeout), ("parlor", 4, Duration::from_secs(5)));
    assert!(!server.allow_unsafe);
    let faults = |flag| Setup::with_secret(&["--database", url, flag]).faults();
    assert_eq!(faults("--database-schema=Chat"), ["--database-schema"]);
    assert_eq!(faults("--database-connections=0"), ["--database-connections"]);
    assert_eq!(faults("--database-writers=0"), ["--database-writers"]);
    assert_eq!(faults("--database-writers=17"), ["--database-writers"]);
    assert_eq!(faults("--database-timeout=0"), ["--database-timeout"]);
    assert_eq!(faults("--database-timeout=1h"), ["--database-timeout"]);
    let bad = "postgres://me:hunter2@db/chat?sslmode=maybe";
    assert_eq!(Setup::with_secret(&["--database", bad]).faults(), ["--database"]);
}

#[test]
fn data_must_be_a_directory() {
    let setup = Setup::with_secret(&[]);
    fs::write(setup.dir.path().join("data"), "").unwrap();
    assert_eq!(setup.faults(), ["--data"]);
}

#[test]
fn origins_are_listed_or_follow_from_dev() {
    let origins = |args: &[&str]| Setup::with_secret(args).config().origins;
    assert_eq!(origins(&["--dev"]), OriginPolicy::Loopback);
    assert_eq!(origins(&["--allow-origin", "*"]), OriginPolicy::Any);
    let listed = ["https://a.example.com", "http://b.example.com:8080", "https://c.example.com"].map(str::to_owned).to_vec();
    let given = ["--allow-origin=https://A.example.com:443, http://b.example.com:8080", "--allow-origin=https://c.example.com"];
    assert_eq!(origins(&given), OriginPolicy::Listed(listed));
}

#[test]
fn zero_switches_limits_off_but_memory_stays_bounded() {
    let limits = |args: &[&str]| Setup::with_secret(args).config().limits;
    let off = limits(&["--max-message-bytes=0", "--max-unauthenticated-bytes=0", "--max-outbox-bytes=0", "--max-joined=0"]);
    assert_eq!((off.max_message_bytes, off.max_unauthenticated_bytes), (HARD_MAX_MESSAGE_BYTES, HARD_MAX_MESSAGE_BYTES));
    assert_eq!((off.max_outbox_bytes, off.max_joined), (OFF, OFF));
    let off = limits(&["--auth-timeout=0", "--messages-per-second=0", "--message-burst=0", "--presence-grace=0"]);
    assert_eq!((off.auth_timeout, off.messages_per_second, off.presence_grace), (OFF_TIME, 0, Duration::ZERO));
}

#[test]
fn limits_that_contradict_each_other_are_faults() {
    let faults = |args: &[&str]| Setup::with_secret(args).faults();
    assert_eq!(faults(&["--max-unauthenticated-bytes=65k"]), ["--max-unauthenticated-bytes"]);
    assert_eq!(faults(&["--max-message-bytes=4k"]), ["--max-unauthenticated-bytes"]);
    assert_eq!(faults(&["--max-unauthenticated-bytes=1000"]), ["--max-unauthenticated-bytes"]);
    assert_eq!(faults(&["--max-message-bytes=0"]), ["--max-outbox-bytes"]);
    assert_eq!(faults(&["--action-burst=0"]), ["--action-burst"]);
}

#[test]
fn what_is_printed_shows_every_setting_and_no_secret() {
    let url = "postgres://me:hunter2@db.example.com:6432/chat?sslmode=require&application_name=chat";
    let setup = Setup::with_secret(&["--jwt-audience", "chat", "--max-joined", "0", "--database", url]);
    let config = setup.config();
    for printed in [config.to_string(), format!("{config:?} {:?}", setup.serve_args())] {
        assert!(!printed.contains("thirty-two") && !printed.contains("hunter2"), "{printed}");
    }
    let text = config.to_string();
    for line in [
        "max-joined                   off",
        "drain-time                   20s",
        "jwt-audience                 chat",
        "database                     postgres://me@db.example.com:6432/chat",
        "database-schema              parlor",
        "database-timeout             5s",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
    }
}
