//! Wires it all: store, workers, HTTP; and ends it in order. The only place that names a concrete store.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::auth::{AuthSetupError, InviteKey, Minter, Verifier};
use crate::config::{Config, DEV_USERS, Database};
use crate::http::{Http, accept_forever, listen};
use crate::protocol::UserId;
use crate::protocol::limits::OFF_TIME;
use crate::store::memory::MemoryStore;
use crate::store::postgres::{PostgresOpenError, PostgresStore};
use crate::store::sqlite::{SqliteOpenError, SqliteStore};
use crate::store::{Migrated, Store, StoreError};
use crate::worker::{Shared, Workers};

/// How often a drain looks whether it is over.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// Why a server did not start. The text says what to do.
#[derive(Debug)]
pub enum StartError {
    /// The data directory or a file in it cannot be used.
    Data(std::path::PathBuf, io::Error),
    /// The SQLite database cannot be opened.
    Sqlite(SqliteOpenError),
    /// The PostgreSQL database cannot be opened.
    Postgres(PostgresOpenError),
    /// A key cannot be used.
    Auth(AuthSetupError),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// No thread or descriptor is to be had.
    Workers(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(path, error) => {
                write!(f, "{} cannot be used: {error}; name another directory with --data", path.display())
            }
            Self::Sqlite(error) => error.fmt(f),
            Self::Postgres(error) => error.fmt(f),
            Self::Auth(error) => error.fmt(f),
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}; choose another address with --listen")
            }
            Self::Workers(error) => write!(f, "the workers did not start: {error}; check `ulimit -n` and `ulimit -u`"),
        }
    }
}

impl std::error::Error for StartError {}

/// Brings a database's schema up to date, which starting a server does too. There is none for [`Database::Memory`].
///
/// # Errors
/// When the database cannot be opened or changed.
pub fn migrate(database: &Database) -> Result<Migrated, StartError> {
    match database {
        Database::Memory => Ok(Migrated::default()),
        Database::Sqlite(path) => SqliteStore::migrate(path).map_err(StartError::Sqlite),
        Database::Postgres(server) => PostgresStore::migrate(server).map_err(StartError::Postgres),
    }
}

/// Demo users have their names before they have ever logged in: others see them in their lists from the start.
fn name_dev_users(store: &dyn Store) {
    for (id, name) in DEV_USERS {
        let Ok(user) = UserId::parse(id) else { continue };
        let logged = |result: Result<(), StoreError>| {
            if let Err(error) = result {
                tracing::warn!(?error, "a demo user goes by their id until they log in");
            }
        };
        store.put_user(user, name.into(), Box::new(logged));
    }
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    http: Rc<Http>,
}

impl Server {
    /// Opens the store, binds the address and starts the workers.
    ///
    /// # Errors
    /// [`StartError`], with everything that was started ended again.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let verifier = Verifier::new(&config.auth).map_err(StartError::Auth)?;
        let data_error = |error| StartError::Data(config.data.clone(), error);
        let limits = &config.limits;
        let (store, invites): (Arc<dyn Store>, InviteKey) = match &config.database {
            Database::Memory => (Arc::new(MemoryStore::with_limits(limits.into())), InviteKey::random().map_err(data_error)?),
            Database::Sqlite(path) => {
                let invites = InviteKey::load_or_create(&config.data).map_err(data_error)?;
                (Arc::new(SqliteStore::open(path, limits.into()).map_err(StartError::Sqlite)?), invites)
            }
            Database::Postgres(server) => {
                let invites = InviteKey::load_or_create(&config.data).map_err(data_error)?;
                (Arc::new(PostgresStore::open((**server).clone(), limits.into()).map_err(StartError::Postgres)?), invites)
            }
        };
        let listen_error = |error| StartError::Listen(config.listen, error);
        let listener = listen(config.listen).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let shared = Arc::new(Shared::new(limits.clone(), store, verifier, invites, config.workers));
        let workers = Workers::start(Arc::clone(&shared), config.workers).map_err(StartError::Workers)?;
        let minter = config.auth.secret.as_ref().filter(|_| config.dev).map(Minter::new);
        if minter.is_some() {
            name_dev_users(&*shared.store);
        }
        let http = Http {
            shared,
            workers: Arc::new(workers),
            origins: config.origins.clone(),
            trusted_proxies: config.trusted_proxies,
            operator_token: config.operator_token.clone(),
            minter,
            has_page: config.page,
            issuer: config.auth.issuer.clone(),
            audience: config.auth.audience.clone(),
            last_check: tokio::sync::Mutex::default(),
            is_draining: AtomicBool::new(false),
        };
        Ok(Self { listener, address, http: Rc::new(http) })
    }

    /// Where it listens: with port 0 asked for, the port it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token for a user of the development server; `None` outside development.
    pub fn dev_token(&self, sub: &UserId, name: &str) -> Option<String> {
        let Http { minter, shared, issuer, audience, .. } = &*self.http;
        let ttl = crate::http::DEV_TOKEN_TTL;
        Some(minter.as_ref()?.mint(sub, Some(name), ttl, shared.wall_clock(), issuer.as_deref(), audience.as_deref()))
    }

    /// Serves until `shutdown` is over, then drains: health goes on, `/readyz` is 503, clients are told, what was accepted is
    /// answered, connections are closed with 4000. Must run within a `LocalSet` or local runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let accepting = tokio::task::spawn_local(accept_forever(self.listener, Rc::clone(&self.http)));
        shutdown.await;
        let http = self.http;
        http.is_draining.store(true, Ordering::Relaxed);
        http.workers.drain();
        let drain_time = http.shared.limits.drain_time.min(OFF_TIME);
        let deadline = Instant::now() + drain_time;
        // A worker whose own connections are gone still owns rooms that others wait for: all of them end together.
        while http.shared.connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        match http.shared.connections() {
            0 => tracing::info!("stopped"),
            connections => tracing::warn!(connections, "the drain time is over; the connections that are left are cut"),
        }
        http.workers.stop();
        accepting.abort();
    }
}
