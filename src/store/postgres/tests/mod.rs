//! The contract suite on a real server, and what only this store has: other nodes, faults, and safety.

#[path = "../../../../tests/it/support/cluster.rs"]
mod cluster;
mod connections;
mod explain;
mod faults;
mod nodes;
mod order;
mod pages;
mod plans;
mod proxy;
mod recovery;
mod repeats;
mod safety;

use std::time::Duration;

use super::super::contract::{LIMITS, Subject, contract_tests};
use super::super::{SchemaName, ServerUrl};
use super::*;
pub(crate) use cluster::shared_url;
use cluster::{Cluster, fresh_schema};

/// More than one, so that what belongs to different lanes meets.
const LANES: usize = 3;

/// A schema that nobody else has, on the server with this URL.
pub(crate) fn server_at(url: &str) -> DatabaseServer {
    DatabaseServer {
        url: ServerUrl::parse(&format!("{url}?sslmode=disable")).unwrap(),
        schema: SchemaName::parse(&fresh_schema()).unwrap(),
        allow_unsafe: false,
        connections: 2,
        writers: LANES,
        timeout: Duration::from_secs(60),
    }
}

fn open(server: &DatabaseServer) -> PostgresStore {
    PostgresStore::open(server.clone(), LIMITS).expect("the store opens")
}

/// A plain connection to the server, to look and meddle beside the store.
struct Beside {
    server: DatabaseServer,
    runtime: tokio::runtime::LocalRuntime,
    client: tokio_postgres::Client,
}

impl Beside {
    fn new(server: &DatabaseServer) -> Self {
        let runtime = runtime().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = server.url.config().connect(tokio_postgres::NoTls).await.unwrap();
            tokio::task::spawn_local(connection);
            client.batch_execute(&format!("SET search_path TO {}", server.schema)).await.unwrap();
            client
        });
        Self { server: server.clone(), runtime, client }
    }

    /// One more of them.
    fn another(&self) -> Self {
        Self::new(&self.server)
    }

    fn run(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }

    fn number(&self, sql: &str) -> i64 {
        self.runtime.block_on(self.client.query_one(sql, &[])).unwrap().get(0)
    }
}

contract_tests!(|| {
    let server = server_at(shared_url());
    Subject::durable(move || open(&server))
});
