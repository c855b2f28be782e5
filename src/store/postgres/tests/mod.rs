//! The contract suite on a real server, and what only this store has: other nodes, faults, and safety.

mod cluster;

use super::super::contract::{LIMITS, Subject, contract_tests};
use super::*;

fn open(options: &PostgresOptions) -> PostgresStore {
    PostgresStore::open(options.clone(), LIMITS).expect("the store opens")
}

fn subject() -> Subject {
    let options = cluster::shared().options();
    Subject::durable(move || open(&options))
}

contract_tests!(subject);
