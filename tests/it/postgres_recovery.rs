//! How soon a server on PostgreSQL works again once its database is back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::{Client, Server, group, history, http, number, within};

/// What README promises under "Faults".
const PROMISED: Duration = Duration::from_secs(5);
/// Failed attempts to connect, of all connections together, after which the pauses between them are as long as they get.
const MANY_ATTEMPTS: usize = 40;

/// Starts the database, and gives when it took connections again.
async fn start(mut cluster: Cluster) -> (Cluster, Instant) {
    let url = format!("{}?sslmode=disable", cluster.url());
    let starting = tokio::task::spawn_blocking(move || {
        cluster.command("start");
        cluster
    });
    let taken_at = within("the database to take connections", async {
        loop {
            if tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok() {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let taken_at = taken_at.await;
    (starting.await.expect("the script starts it"), taken_at)
}

/// Asks until the answer is not that the store is unavailable.
async fn until_ok(client: &mut Client, kind: &str, payload: Value) -> Value {
    within(kind, async {
        loop {
            match client.request(kind, payload.clone()).await {
                Ok(reply) => return reply,
                Err(failure) => assert_eq!(failure.code, "unavailable", "{kind}"),
            }
        }
    })
    .await
}

fn attempts(server: &Server) -> usize {
    server.log().lines().filter(|line| line.contains("cannot connect")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_again_within_five_seconds_of_the_databases_return() {
    let mut cluster = Cluster::start();
    let server = Server::start(&[("--database", cluster.url()), ("--log-level", "debug")]).await;
    let mut ada = Client::login(&server, "ada").await;
    // So many that each connection which writes has some of them.
    let mut rooms = Vec::new();
    for _ in 0..12 {
        rooms.push(group(&mut ada, &[]).await);
    }
    let mut acknowledged = 0;
    for (round, least_attempts) in [1, MANY_ATTEMPTS].into_iter().enumerate() {
        let before = attempts(&server);
        cluster.command("stop");
        for (room, _) in &rooms {
            let request = json!({"conversationId": room, "content": "x"});
            ada.fails("send_message", request, "unavailable").await;
        }
        ada.fails("load_messages", json!({"conversationId": rooms[0].0}), "unavailable").await;
        within("attempts to connect", async {
            while attempts(&server) - before < least_attempts {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;

        let taken_at;
        (cluster, taken_at) = start(cluster).await;
        for (room, _) in &rooms {
            let id = format!("round {round}");
            until_ok(&mut ada, "send_message", json!({"conversationId": room, "content": id, "clientMessageId": id})).await;
        }
        let (sent, before_reads) = (taken_at.elapsed(), Instant::now());
        until_ok(&mut ada, "load_messages", json!({"conversationId": rooms[0].0})).await;
        until_ok(&mut ada, "load_conversations", json!({})).await;
        let read = before_reads.elapsed();
        let mut guest = Client::login(&server, &format!("guest-{round}")).await;
        until_ok(&mut guest, "join_group", json!({"inviteCode": rooms[0].1})).await;
        within("the server to be ready", async { while http::get(server.address(), "/readyz").await.status != 200 {} }).await;
        let all = taken_at.elapsed();
        println!("after {least_attempts} attempts: sends took {sent:?}, reads {read:?} more, everything {all:?}");
        assert!(all <= PROMISED, "sends took {sent:?}, reads {read:?} more, everything {all:?}");
        acknowledged += 1;
    }
    for (room, _) in &rooms {
        let log = history(&mut ada, room).await;
        assert_eq!(log.len(), acknowledged, "{log:?}");
        assert!(number(&log[0], "seq") >= 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_last_visits_of_an_outage_are_stored_after_it() {
    let mut cluster = Cluster::start();
    let flags = [("--database", cluster.url()), ("--database-schema", "chat"), ("--presence-grace", "0")];
    let server = Server::start(&flags).await;
    let cyd = Client::login(&server, "cyd").await;
    let count = |what: &str| format!("SELECT count(*) FROM chat.users WHERE {what}");
    until_counted(cluster.url(), &count("id = 'cyd' AND name IS NOT NULL AND last_seen_at IS NULL"), 1).await;
    cluster.command("stop");
    // Both have a name that no earlier login has brought, and one is gone before the database is back.
    let _bob = Client::login(&server, "bob").await;
    Client::login(&server, "dan").await.close().await;
    cyd.close().await;
    within("somebody to be refused", async {
        while !server.log().contains("it is offered again") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    cluster.command("start");
    until_counted(cluster.url(), &count("name IN ('Name of bob', 'Name of dan', 'Name of cyd')"), 3).await;
    until_counted(cluster.url(), &count("id IN ('cyd', 'dan') AND last_seen_at > 0"), 2).await;
    until_counted(cluster.url(), &count("id = 'bob' AND last_seen_at IS NOT NULL"), 0).await;
}

/// Polls until `sql` counts `count`.
async fn until_counted(url: &str, sql: &str, count: i64) {
    let (client, connection) =
        tokio_postgres::connect(&format!("{url}?sslmode=disable"), tokio_postgres::NoTls).await.expect("the database runs");
    tokio::spawn(connection);
    within(sql, async {
        while client.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
