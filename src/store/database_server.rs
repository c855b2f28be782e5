//! Where a database server is and how it is spoken to: read and checked before anything is connected. Passwords show nowhere.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Longest name that PostgreSQL does not cut.
const MAX_NAME_BYTES: usize = 63;

/// A database server, and what of it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// Where it is and how to log in.
    pub url: ServerUrl,
    /// The schema that holds everything.
    pub schema: SchemaName,
    /// Whether to run where `fsync` or `synchronous_commit` is off.
    pub allow_unsafe: bool,
    /// Connections that read; at least one.
    pub connections: usize,
    /// Connections that write to conversations; at least one.
    pub writers: usize,
    /// How long connecting may take, a statement, and the wait for a connection that reads.
    pub timeout: Duration,
}

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// Encrypted where the server can; whoever it is.
    Prefer,
    /// Encrypted, whoever the server is.
    Require,
    /// Encrypted, and the server's certificate must be for its name and come from a trusted authority: from those in the file or,
    /// without one, from the system's.
    VerifyFull(Option<PathBuf>),
}

/// Where a PostgreSQL server is and how to log in there, from a `postgres://` URL.
#[derive(Clone)]
pub struct ServerUrl {
    config: Config,
    tls: TlsMode,
}

/// Why a URL is not one. The text shows nothing of it but the names of options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrlError(String);

impl fmt::Display for ServerUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerUrlError {}

impl ServerUrl {
    /// Whether `text` is meant as one.
    pub fn has_scheme(text: &str) -> bool {
        ["postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads `postgres://user:password@host:port/database?sslmode=…`, with the options of libpq that tokio-postgres knows.
    ///
    /// # Errors
    /// [`ServerUrlError`]; its text fits behind "the URL".
    pub fn parse(text: &str) -> Result<Self, ServerUrlError> {
        let error = |problem: &str| ServerUrlError(problem.to_owned());
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(error("does not begin with postgres:// or postgresql://"));
        }
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        // The library ends the password at the first @, wherever the first ? is: it would see other options than we do.
        if query.contains(['?', '@']) {
            return Err(error("has a ? or @ behind its first ?; in the password and other values write ? as %3F and @ as %40"));
        }
        // Of a password with a raw @ or / the rest would be taken for a host or a database, and shown as that.
        let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        if address.matches('@').count() > 1 || path.contains(['/', '@']) {
            return Err(error("has an @ or / too many; in the password and other values write @ as %40 and / as %2F"));
        }
        let (mut mode, mut root, mut kept) = (None, None, Vec::new());
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let name = option.split_once('=').map_or(option, |(name, _)| name);
            // Written otherwise, such as sslmod%65, the library would know it and we would not.
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return Err(error("has an option whose name is not of a-z and _ alone"));
            }
            match option.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => {
                    root = Some(decode(value).ok_or_else(|| error("has an sslrootcert that cannot be decoded"))?);
                }
                _ => kept.push(option),
            }
        }
        let separator = if kept.is_empty() { "" } else { "?" };
        let config: Result<Config, _> = format!("{address}{separator}{}", kept.join("&")).parse();
        // The library's own error may repeat a part of the URL.
        let mut config = config.map_err(|_| error("cannot be read: check its form and its options"))?;
        let tls = tls_mode(mode.as_deref(), root.map(PathBuf::from))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(error("names no host"));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(error("names no user"));
        }
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyFull(_) => SslMode::Require,
        });
        Ok(Self { config, tls })
    }

    /// What tokio-postgres connects with. It holds the password.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// How connections are protected.
    pub(crate) fn tls(&self) -> &TlsMode {
        &self.tls
    }
}

fn tls_mode(mode: Option<&str>, root: Option<PathBuf>) -> Result<TlsMode, ServerUrlError> {
    let mode = match mode {
        None | Some("prefer") => TlsMode::Prefer,
        Some("disable") => TlsMode::Disable,
        Some("require") => TlsMode::Require,
        Some("verify-full") => return Ok(TlsMode::VerifyFull(root)),
        Some(_) => return Err(ServerUrlError("has an sslmode that is not disable, prefer, require or verify-full".to_owned())),
    };
    // Taking the file and not looking at it would feel safer than it is.
    if root.is_some() {
        return Err(ServerUrlError("has an sslrootcert, which only sslmode=verify-full looks at".to_owned()));
    }
    Ok(mode)
}

/// Replaces `%41` by `A`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (rest.next()?, rest.next()?);
            let digit = |digit: u8| char::from(digit).to_digit(16);
            bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for ServerUrl {
    /// Who, where and which database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.config.get_user().unwrap_or_default())?;
        let hosts: Vec<String> = self.config.get_hosts().iter().map(host_text).collect();
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let hosts = if hosts.is_empty() { addresses.collect() } else { hosts };
        let ports = self.config.get_ports();
        for (index, host) in hosts.iter().enumerate() {
            let port = ports.get(index).or(ports.first());
            let separator = if index == 0 { "" } else { "," };
            match port {
                Some(port) => write!(f, "{separator}{host}:{port}")?,
                None => write!(f, "{separator}{host}")?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self}, {:?})", self.tls)
    }
}

impl PartialEq for ServerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.tls == other.tls
    }
}

impl Eq for ServerUrl {}

/// The name of a schema: a lower-case letter or `_`, then also digits, at most 63 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// Checks `text`; `None` for what is no such name, or one of PostgreSQL's own.
    pub fn parse(text: &str) -> Option<Self> {
        let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let mut bytes = text.bytes();
        let is_name = bytes.next().is_some_and(is_first) && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit());
        let is_theirs = text.starts_with("pg_") || text == "information_schema";
        (is_name && !is_theirs && text.len() <= MAX_NAME_BYTES).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "hunter2";

    fn fault(text: &str) -> String {
        let text = ServerUrl::parse(text).expect_err("not a URL").to_string();
        assert!(!text.contains(PASSWORD), "{text}");
        text
    }

    #[test]
    fn neither_form_of_output_shows_the_password() {
        for url in [
            "postgres://me:hunter2@db.example.com:6432/chat?sslmode=require",
            "postgresql://me@db.example.com:6432/chat?sslmode=require&password=hunter2",
        ] {
            let url = ServerUrl::parse(url).unwrap();
            assert_eq!(url.to_string(), "postgres://me@db.example.com:6432/chat");
            assert!(!format!("{url:?}").contains(PASSWORD));
            assert_eq!(url.config().get_password(), Some(PASSWORD.as_bytes()));
            assert_eq!(url.tls(), &TlsMode::Require);
        }
    }

    #[test]
    fn sockets_and_several_hosts_are_shown() {
        let shown = |url: &str| ServerUrl::parse(url).unwrap().to_string();
        assert_eq!(shown("postgres://me@%2Fvar%2Frun%2Fpostgresql/chat"), "postgres://me@/var/run/postgresql:5432/chat");
        assert_eq!(shown("postgres://me@a:1,b:2/chat"), "postgres://me@a:1,b:2/chat");
    }

    #[test]
    fn tls_is_asked_for_by_sslmode() {
        let tls = |query: &str| ServerUrl::parse(&format!("postgres://me@db/chat{query}")).unwrap().tls;
        assert_eq!(tls(""), TlsMode::Prefer);
        assert_eq!(tls("?sslmode=disable"), TlsMode::Disable);
        assert_eq!(tls("?sslmode=verify-full"), TlsMode::VerifyFull(None));
        let root = Some(PathBuf::from("/etc/my ca.pem"));
        assert_eq!(tls("?sslrootcert=/etc/my%20ca.pem&sslmode=verify-full&connect_timeout=3"), TlsMode::VerifyFull(root));
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for (url, problem) in [
            ("postgres:me:hunter2@db/chat", "does not begin with"),
            ("postgres://me:hunter2@db:port/chat", "cannot be read"),
            ("postgres://me:hunter2@db/chat?hunter2=1", "has an option whose name"),
            ("postgres://me:hunter2@db/chat?sslmod%65=require", "has an option whose name"),
            ("postgres://me:hunter2@db/chat?hunter=hunter2", "cannot be read"),
            ("postgres://me:hunter2?@db/chat?sslmode=require", "has a ? or @ behind"),
            ("postgres://me:hunter2?sslmode=disable@db/chat", "has a ? or @ behind"),
            ("postgres://me:hunter2?@db/chat", "has a ? or @ behind"),
            ("postgres://me:hunter2@db/chat?sslmode=prefer?sslmode=require", "has a ? or @ behind"),
            ("postgres://me:hunt@er2@db/chat", "has an @ or / too many"),
            ("postgres://me:hunt@x/er2@db/chat", "has an @ or / too many"),
            ("postgres://me:hunt/er2@db/chat", "has an @ or / too many"),
            ("postgres://me:hunter2@db/chat/more", "has an @ or / too many"),
            ("postgres://:hunter2@db/chat", "names no user"),
            ("postgres://me:hunter2@/chat", "names no host"),
            ("postgres://me:hunter2@db/chat?sslmode=hunter2", "has an sslmode"),
            ("postgres://me:hunter2@db/chat?sslmode=verify-ca", "has an sslmode"),
            ("postgres://me:hunter2@db/chat?sslmode=require&sslrootcert=ca.pem", "has an sslrootcert, which only"),
            ("postgres://me:hunter2@db/chat?sslmode=verify-full&sslrootcert=%zz", "has an sslrootcert that"),
        ] {
            let found = fault(url);
            assert!(found.starts_with(problem), "{url}: {found}");
        }
    }

    #[test]
    fn schemas_have_plain_names() {
        for good in ["parlor", "_a", "chat_2", &"x".repeat(63)] {
            assert_eq!(SchemaName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "2a", "Parlor", "a b", "a\"b", "a;b", "ä", "pg_parlor", "information_schema", &"x".repeat(64)] {
            assert_eq!(SchemaName::parse(bad), None, "{bad:?}");
        }
    }
}
