//! One connection: how it is opened, set up and looked at before anything relies on it.

use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{DatabaseServer, SchemaName};
use super::error::PostgresOpenError;
use super::tls;

/// How long a connection is silent before the system asks whether the other end is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// How many times shorter than a statement the wait for one row may be, so that it is known what a batch failed for, and there is
/// time to try its other writes without it.
const LOCK_WAIT_SHARE: u128 = 5;
/// PostgreSQL 13 has `FETCH FIRST … WITH TIES` and `gen_random_uuid`.
const OLDEST_SERVER: i32 = 130_000;

/// Opens connections, all alike.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    setup: String,
    schema: SchemaName,
    allow_unsafe: bool,
    timeout: Duration,
}

/// An open connection with the task that moves its bytes. Dropping it closes the connection.
pub(super) struct Link {
    pub(super) client: Client,
    task: JoinHandle<()>,
    closed: oneshot::Receiver<()>,
}

impl Connector {
    pub(super) fn new(server: &DatabaseServer) -> Result<Self, PostgresOpenError> {
        let mut config = server.url.config().clone();
        config.connect_timeout(server.timeout).keepalives(true).keepalives_idle(KEEPALIVE_IDLE).tcp_user_timeout(server.timeout);
        if config.get_application_name().is_none() {
            config.application_name("parlor");
        }
        Ok(Self {
            config,
            tls: tls::connector(server.url.tls())?,
            setup: setup(server),
            schema: server.schema.clone(),
            allow_unsafe: server.allow_unsafe,
            timeout: server.timeout,
        })
    }

    /// Opens a connection on which statements run in our schema, and refuses a server that would lose messages.
    pub(super) async fn connect(&self) -> Result<Link, PostgresOpenError> {
        let opened = timeout(self.timeout, self.open()).await;
        opened.unwrap_or(Err(PostgresOpenError::Timeout("connecting")))
    }

    async fn open(&self) -> Result<Link, PostgresOpenError> {
        let failed = |error: tokio_postgres::Error| PostgresOpenError::Connect(error.into());
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(failed)?;
        let (closing, closed) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %super::error::PostgresError::from(error), "a connection to PostgreSQL ended");
            }
            drop(closing);
        });
        let link = Link { client, task, closed };
        self.set_up(&link.client).await?;
        Ok(link)
    }

    /// Has statements run in our schema, and looks whether the server is one to rely on.
    pub(super) async fn set_up(&self, client: &Client) -> Result<(), PostgresOpenError> {
        client.batch_execute(&self.setup).await.map_err(|error| PostgresOpenError::Connect(error.into()))?;
        self.look(client).await
    }

    /// The schema in which statements run.
    pub(super) fn schema(&self) -> &SchemaName {
        &self.schema
    }

    /// Waits for what comes after connecting, on a server that may have fallen silent: for longer than it takes PostgreSQL itself to
    /// end a statement.
    pub(super) async fn within<T, E: From<PostgresOpenError>>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(2 * self.timeout, work).await.unwrap_or_else(|_| Err(PostgresOpenError::Timeout(what).into()))
    }

    /// How long an attempt to connect again may take that follows one of so long: a slow network gets as much time as at the start.
    pub(super) fn more_patience(&self, patience: Duration) -> Duration {
        (2 * patience).min(self.timeout).max(patience)
    }

    /// What [`Self::connect`] connects with, for the pool, which does that itself and then calls [`Self::set_up`].
    pub(super) fn pool_parts(&self) -> (Config, MakeRustlsConnect) {
        (self.config.clone(), self.tls.clone())
    }

    /// What must be so of the server, also after it was restarted with other settings. What `synchronous_commit` was found to be, it
    /// stays on this connection, whatever the server is told later.
    async fn look(&self, client: &Client) -> Result<(), PostgresOpenError> {
        let row = client
            .query_one(
                "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), pg_is_in_recovery(),
                        current_setting('fsync'),
                        set_config('synchronous_commit', current_setting('synchronous_commit'), false)",
                &[],
            )
            .await;
        let row = row.map_err(|error| PostgresOpenError::Connect(error.into()))?;
        let (version, encoding, is_standby): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
        if version < OLDEST_SERVER {
            return Err(PostgresOpenError::Unfit("the server is older than PostgreSQL 13; upgrade it"));
        }
        if encoding != "UTF8" {
            let problem =
                "the database's encoding is not UTF8, so that it cannot hold every message; create one with ENCODING 'UTF8'";
            return Err(PostgresOpenError::Unfit(problem));
        }
        if is_standby {
            return Err(PostgresOpenError::Unfit("the server is a standby, which only reads; name the primary"));
        }
        for (setting, column) in [("fsync", 3), ("synchronous_commit", 4)] {
            let found: String = row.get(column);
            if found == "off" && !self.allow_unsafe {
                return Err(PostgresOpenError::Unsafe { setting, found });
            }
        }
        Ok(())
    }
}

/// What every connection begins with.
fn setup(server: &DatabaseServer) -> String {
    let millis = server.timeout.as_millis();
    // 0 would be for ever.
    let lock_millis = (millis / LOCK_WAIT_SHARE).max(1);
    // Every statement finds its rows by an index, and its plan must neither depend on how large the tables were when it was made
    // nor be made anew for each batch. So the planner gets no other choice, and no second look.
    format!(
        "SET search_path TO \"{}\", pg_temp; SET statement_timeout = {millis}; SET lock_timeout = {lock_millis};
         SET idle_in_transaction_session_timeout = {millis}; SET default_transaction_isolation = 'read committed';
         SET default_transaction_read_only = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off; SET work_mem = '16MB'",
        server.schema
    )
}

impl Link {
    /// Returns when the connection has ended. To be awaited to its end once.
    pub(super) async fn closed(&mut self) {
        // Nothing is ever sent: the other half goes with the connection.
        let _ = (&mut self.closed).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
