//! What is particular to servers on PostgreSQL. That everything else is the same, the whole suite shows when it runs with
//! `PARLOR_TEST_DATABASE=postgres`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, fresh_schema, shared_url};
use crate::support::server::is_on_postgres;
use crate::support::{Client, Server, group, history, http, join, number, run_to_exit, say, text, within};

#[tokio::test]
async fn this_run_is_on_the_database_that_it_is_about() {
    let server = Server::start(&[]).await;
    assert_eq!(server.directory().join("data/parlor.db").exists(), !is_on_postgres());
}

const MESSAGES: usize = 120;
const WINDOW: usize = 8;

/// Sends to both rooms in turn, several at a time, and gives what was acknowledged.
async fn send_to_both(mut client: Client, rooms: [String; 2]) -> Vec<Value> {
    let mut acknowledged = Vec::new();
    for batch in 0..MESSAGES / WINDOW {
        let mut waiting = Vec::new();
        for place in 0..WINDOW {
            let id = format!("{}-{batch}-{place}", client.user);
            let request = json!({"conversationId": rooms[place % 2], "content": id, "clientMessageId": id});
            waiting.push(client.send("send_message", request).await);
        }
        for id in waiting {
            acknowledged.push(client.reply(&id).await.expect("a member may send")["message"].clone());
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_keep_every_log_dense_and_in_one_order() {
    let schema = fresh_schema();
    let flags = [("--database", shared_url()), ("--database-schema", schema.as_str())];
    let servers = [Server::start(&flags).await, Server::start(&flags).await];
    let users = ["ada", "bob", "cyd", "dan"];
    let mut owner = Client::login(&servers[0], "owner").await;
    let rooms = [group(&mut owner, &users).await.0, group(&mut owner, &users).await.0];
    // Somebody watches each room on each server: the client checks that events come in the order of the log, without a gap.
    let mut watchers = Vec::new();
    for server in &servers {
        let mut watcher = Client::login(server, "owner").await;
        for room in &rooms {
            join(&mut watcher, room).await;
        }
        watchers.push(watcher);
    }
    let mut senders = Vec::new();
    for (place, user) in users.iter().enumerate() {
        let client = Client::login(&servers[place % 2], user).await;
        senders.push(tokio::spawn(send_to_both(client, rooms.clone())));
    }
    let mut acknowledged: BTreeMap<(String, u64), Value> = BTreeMap::new();
    for sender in senders {
        for message in sender.await.expect("a client without a complaint") {
            let before = acknowledged.insert((text(&message, "conversationId"), number(&message, "seq")), message);
            assert!(before.is_none(), "two messages have one seq");
        }
    }
    assert_eq!(acknowledged.len(), users.len() * MESSAGES);
    // A last message on each server, so that each has one to find its gaps by.
    for watcher in &mut watchers {
        for room in &rooms {
            let last = say(watcher, room, "last").await;
            acknowledged.insert((room.clone(), number(&last, "seq")), last);
        }
    }
    for watcher in &mut watchers {
        for room in &rooms {
            let log = history(watcher, room).await;
            let expected: Vec<_> = acknowledged.iter().filter(|((id, _), _)| id == room).map(|(_, message)| message).collect();
            assert_eq!(log.iter().collect::<Vec<_>>(), expected);
            assert_eq!(number(log.last().expect("not empty"), "seq"), log.len() as u64, "the log is dense");
        }
    }
}

async fn until_ready(server: &Server) {
    within("the server to be ready again", async {
        while http::get(server.address(), "/readyz").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_down_sends_are_unavailable_and_what_is_live_goes_on() {
    let mut cluster = Cluster::start();
    let server = Server::start(&[("--database", cluster.url()), ("--log-level", "trace")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let mut bob = Client::login(&server, "bob").await;
    join(&mut bob, &room).await;
    let before = join(&mut ada, &room).await;
    let sent = say(&mut ada, &room, "before").await;
    bob.next_event("message_created").await;
    cluster.command("stop");

    let request = |id: &str| json!({"conversationId": room, "content": "while it is down", "clientMessageId": id});
    ada.fails("send_message", request("c-1"), "unavailable").await;
    ada.fails("load_messages", json!({"conversationId": room}), "unavailable").await;
    assert_eq!(http::get(server.address(), "/readyz").await.status, 503);
    assert_eq!(http::get(server.address(), "/healthz").await.status, 200);
    ada.ok("typing_start", json!({"conversationId": room})).await;
    bob.next_event("typing_started").await;
    ada.ok("leave_conversation", json!({"conversationId": room})).await;
    let since = json!({"epoch": before["epoch"], "seq": 0});
    let live = ada.ok("join_conversation", json!({"conversationId": room, "since": since})).await;
    assert_eq!(live["events"][0]["payload"], sent, "what is live is read from memory");

    cluster.command("start");
    until_ready(&server).await;
    let stored = ada.ok("send_message", request("c-1")).await;
    assert_eq!(bob.next_event("message_created").await["content"], json!("while it is down"));
    ada.ok("send_message", request("c-2")).await;
    let log = history(&mut bob, &room).await;
    assert_eq!(log.len(), 3);
    assert_eq!((&log[0], &log[1]), (&sent, &stored["message"]));
    let password = cluster.url().split([':', '@']).nth(2).expect("a password");
    assert!(!server.log().contains(password) && !server.log().contains("while it is down"), "{}", server.log());
}

#[tokio::test]
async fn a_server_can_insist_on_who_its_database_is() {
    let cluster = Cluster::start();
    let by_name = cluster.url().replace("127.0.0.1", "localhost");
    let url = format!("{by_name}?sslmode=verify-full&sslrootcert={}", cluster.authority());
    let server = Server::start(&[("--database", &url)]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    assert_eq!(number(&say(&mut ada, &room, "encrypted").await, "seq"), 1);
}

#[tokio::test]
async fn migrate_makes_the_schema_and_says_so() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let (schema, sqlite) = (fresh_schema(), format!("sqlite:{}/parlor.db", directory.path().display()));
    for arguments in [&["--database", shared_url(), "--database-schema", &schema][..], &["--database", &sqlite]] {
        let arguments = [&["migrate"], arguments].concat();
        let first = run_to_exit(&arguments).await;
        assert_eq!(first.status.code(), Some(0), "{first:?}");
        let told = String::from_utf8_lossy(&first.stdout).into_owned();
        assert!(told.starts_with("applied V1 conversations\n") && told.contains("the schema has version"), "{told}");
        let again = run_to_exit(&arguments).await;
        assert_eq!(String::from_utf8_lossy(&again.stdout).lines().count(), 1, "nothing is left to apply: {again:?}");
    }
}

#[tokio::test]
async fn what_fails_to_start_tells_why_and_no_password() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let secret = directory.path().join("secret");
    crate::support::server::write_secret(&secret, crate::support::token::SECRET);
    let (data, secret) = (directory.path().join("data"), secret.to_str().expect("UTF-8"));
    let at = shared_url().split_once('@').expect("a user and a host").1;
    for (url, problem) in [
        (format!("postgres://postgres:hunter2@{at}"), "password authentication failed"),
        ("postgres://postgres:hunter2@127.0.0.1:1/postgres".to_owned(), "cannot connect to PostgreSQL"),
    ] {
        let flags = ["--listen", "127.0.0.1:0", "--data", data.to_str().expect("UTF-8"), "--jwt-secret-file", secret];
        let output = run_to_exit(&[&["serve", "--log-level", "trace", "--database", &url][..], &flags].concat()).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(problem) && told.contains("--database") && !told.contains("hunter2"), "{told}");
        let output = run_to_exit(&[&["config", "check", "--database", &url][..], &flags].concat()).await;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("postgres://postgres@127.0.0.1") && !told.contains("hunter2"), "{told}");
    }
}
