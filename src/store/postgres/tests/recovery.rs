//! How soon everything works again once the server is back. That a restart takes no longer, `tests/it/` shows with a whole server.

use std::time::Instant;

use super::super::super::contract::{call, group, outcome, start, text};
use super::super::lane::RECOVERY;
use super::faults::until;
use super::*;

/// Conversations of all lanes, one of each.
fn one_of_each_lane(store: &PostgresStore) -> [ConversationId; LANES] {
    std::array::from_fn(|lane| {
        let new = (0..1_000).map(|_| group(&["ann"], None)).find(|new| lane_of(new.id, LANES) == lane).unwrap();
        call(|done| store.create_conversation(new, done)).unwrap().conversation
    })
}

#[test]
fn a_server_that_was_frozen_is_used_again_within_five_seconds() {
    let mut cluster = Cluster::start();
    let store = open(&DatabaseServer { timeout: Duration::from_secs(2), ..server_at(cluster.url()) });
    let conversations = one_of_each_lane(&store);
    let append = |id| text(id, "ann", "x");
    cluster.command("freeze");
    // Whoever waits is refused when the connection is given up, whoever comes then at once.
    let waiting: Vec<_> = conversations.map(|id| start(|done| store.append_message(append(id), done))).into();
    for id in conversations {
        until("writes are refused at once", || {
            let answer = start(|done| store.append_message(append(id), done));
            answer.recv_timeout(Duration::from_millis(50)).is_ok_and(|outcome| outcome.is_err())
        });
    }
    for id in conversations {
        assert_eq!(call(|done| store.open_room(id, 1, done)).err(), Some(StoreError::Unavailable));
    }
    let thawed_at = Instant::now();
    cluster.command("thaw");
    for id in conversations {
        until("writes work again", || call(|done| store.append_message(append(id), done)).is_ok());
        until("reads work again", || call(|done| store.open_room(id, 1, done)).is_ok());
    }
    until("everything works again", || call(|done| store.check(done)).is_ok());
    let took = thawed_at.elapsed();
    assert!(took <= RECOVERY, "it took {took:?}");
    // A write that was under way is answered too, whatever became of it.
    waiting.iter().for_each(|answer| drop(answer.recv_timeout(RECOVERY).unwrap()));
}

#[test]
fn a_read_takes_no_longer_than_the_timeout_with_the_wait_for_its_connection() {
    let timeout = Duration::from_secs(2);
    let mut cluster = Cluster::start();
    let store = open(&DatabaseServer { timeout, connections: 1, ..server_at(cluster.url()) });
    let [id, ..] = one_of_each_lane(&store);
    call(|done| store.open_room(id, 1, done)).unwrap();
    cluster.command("freeze");
    // One of them has the connection, and the others wait for it: all are given up together, not one after the other.
    let asked_at = Instant::now();
    let answers: Vec<_> = (0..8).map(|_| start(|done| store.open_room(id, 1, done))).collect();
    for answer in &answers {
        assert_eq!(outcome(answer).err(), Some(StoreError::Unavailable));
    }
    let took = asked_at.elapsed();
    cluster.command("thaw");
    assert!(took < 2 * timeout, "{took:?} for eight reads, each of which may take {timeout:?}");
}
