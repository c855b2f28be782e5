//! How connections are set up, how long that may take, and what is known of them.

use super::super::super::contract::{at_seq, call, group, outcome, start, text};
use super::super::connect::Connector;
use super::super::lane::RECONNECT_PATIENCE;
use super::faults::{behind_a_proxy_for, until};
use super::*;

#[test]
fn a_connection_whose_setting_up_is_not_answered_costs_a_read_no_more_than_the_timeout() {
    // Nobody has read yet, so that the pool is empty.
    let (proxy, store, _beside) = behind_a_proxy_for(Duration::from_secs(1));
    let conversation = call(|done| store.create_conversation(group(&["ann"], None), done)).unwrap().conversation;
    // Logging in is answered, and what comes after it is not.
    proxy.swallow_after("SET statement_timeout");
    let answers: Vec<_> = (0..6).map(|_| start(|done| store.open_room(conversation, 1, done))).collect();
    for answer in &answers {
        assert_eq!(outcome(answer).err(), Some(StoreError::Unavailable));
    }
    proxy.pass();
    until("reads work again", || call(|done| store.open_room(conversation, 1, done)).is_ok());
}

#[test]
fn patience_grows_up_to_the_timeout_and_never_shrinks() {
    let patience_after = |timeout, failures: usize| {
        let connector = Connector::new(&DatabaseServer { timeout, ..server_at(shared_url()) }).unwrap();
        (0..failures).fold(RECONNECT_PATIENCE, |patience, _| connector.more_patience(patience))
    };
    let seconds = Duration::from_secs;
    assert_eq!([0, 1, 2, 3, 9].map(|failures| patience_after(seconds(20), failures)), [3, 6, 12, 20, 20].map(seconds));
    assert_eq!([1, 2].map(|failures| patience_after(seconds(5), failures)), [5, 5].map(seconds));
    assert_eq!(patience_after(seconds(1), 5), RECONNECT_PATIENCE, "connecting itself is bounded by the timeout");
}

#[test]
fn a_network_that_is_too_slow_for_the_first_attempt_is_not_for_those_after_it() {
    let (proxy, store, _beside) = behind_a_proxy_for(Duration::from_secs(30));
    let conversation = call(|done| store.create_conversation(group(&["ann"], None), done)).unwrap().conversation;
    proxy.delay(RECONNECT_PATIENCE + Duration::from_millis(500));
    proxy.cut();
    until("the loss is noticed", || call(|done| store.check(done)).is_err());
    // Every attempt takes that long, also those of the connection beside the lanes.
    until("everything works again", || call(|done| store.check(done)).is_ok());
    assert_eq!(call(|done| store.append_message(text(conversation, "ann", "x"), done)).map(|it| it.message.seq), Ok(at_seq(1)));
}

#[test]
fn what_a_connection_found_its_commits_to_be_they_stay() {
    let cluster = Cluster::start();
    let server = server_at(cluster.url());
    let runtime = runtime().unwrap();
    let link = runtime.block_on(Connector::new(&server).unwrap().connect()).unwrap();
    let setting = |client: &tokio_postgres::Client, name: &str| -> String {
        runtime.block_on(client.query_one("SELECT current_setting($1)", &[&name])).unwrap().get(0)
    };
    let (client, connection) = runtime.block_on(server.url.config().connect(tokio_postgres::NoTls)).expect("a plain connection");
    runtime.spawn_local(connection);
    for change in
        ["ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM SET vacuum_cost_limit = 4711", "SELECT pg_reload_conf()"]
    {
        runtime.block_on(client.batch_execute(change)).unwrap();
    }
    // The one shows that both connections have read the other.
    until("the settings are read again", || {
        [&client, &link.client].iter().all(|client| setting(client, "vacuum_cost_limit") == "4711")
    });
    assert_eq!([&client, &link.client].map(|client| setting(client, "synchronous_commit")), ["off", "on"]);
}

#[test]
fn a_lane_that_has_ended_counts_as_down() {
    let server = server_at(shared_url());
    let (lane, queue) = Lane::new(0, Connector::new(&server).unwrap(), LIMITS, Arc::default(), Duration::from_secs(1));
    assert!(queue.is_up());
    // As a panic in it would do.
    drop(lane);
    assert!(!queue.is_up());
}
