//! The contract suite on a real server, and what only this store has: other nodes, faults, and safety.

mod cluster;

use super::super::contract::{LIMITS, Subject, contract_tests};
use super::*;

fn open(server: &DatabaseServer) -> PostgresStore {
    PostgresStore::open(server.clone(), LIMITS).expect("the store opens")
}

fn subject() -> Subject {
    let server = cluster::shared().server();
    Subject::durable(move || open(&server))
}

contract_tests!(subject);
