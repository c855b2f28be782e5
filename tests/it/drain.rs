//! SIGTERM: everybody is told, what was asked is answered, and the process ends in time.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, Raw, Server, assert_fields, group, history, http, number, within};

#[tokio::test]
async fn connections_are_told_when_to_come_back_and_closed_and_the_exit_code_is_zero() {
    let mut server = Server::start(&[]).await;
    let mut clients = Vec::new();
    for user in ["ada", "bob", "ada"] {
        clients.push(Client::login(&server, user).await);
    }
    let start = Instant::now();
    server.terminate();
    for client in &mut clients {
        let status = client.next_event("connection_status").await;
        assert_fields(&status, &["status", "reconnectAfterMs"], &[]);
        assert_eq!(status["status"], json!("draining"));
        assert!(number(&status, "reconnectAfterMs") <= 60_000, "{status}");
        assert_eq!(client.expect_close().await.0, 4000);
    }
    assert_eq!(server.wait().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "drained in {:?}", start.elapsed());
}

#[tokio::test]
async fn whatever_is_done_during_the_drain_is_answered_and_kept() {
    const REQUESTS: usize = 40;
    let mut server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let mut ids = Vec::new();
    for i in 0..REQUESTS {
        ids.push(ada.send("send_message", json!({"conversationId": room, "content": format!("{i}")})).await);
    }
    ada.reply(&ids[0]).await.expect("a member may send");
    server.terminate();
    let mut answered = 1;
    for id in &ids[1..] {
        // What the server had not read yet may go undone; then the connection ends without an answer.
        let Some(reply) = ada.try_reply(id).await else { break };
        reply.expect("a member may send");
        answered += 1;
    }
    assert_eq!(server.wait().await, Some(0));
    server.restart().await;
    let mut ada = Client::login(&server, "ada").await;
    assert_eq!(history(&mut ada, &room).await.len(), answered, "nothing was done without an answer");
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready_and_takes_no_new_connections() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    // Never reads and never answers the close, so that the drain has somebody to wait for.
    let _stubborn = Raw::login(&server, "stubborn").await;
    assert_eq!(http::get(server.address(), "/readyz").await.status, 200);
    server.terminate();
    ada.next_event("connection_status").await;
    assert_eq!(http::get(server.address(), "/readyz").await.status, 503);
    assert_eq!(http::get(server.address(), "/healthz").await.status, 200);
    let refused = Raw::upgrade(&server, &[]).await.err().expect("no new connections");
    assert_eq!(refused.status, 503);
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn a_peer_that_answers_nothing_does_not_hold_up_the_end() {
    let mut server = Server::start(&[("--drain-time", "2s")]).await;
    let _stubborn = Raw::login(&server, "stubborn").await;
    let _silent = Raw::connect(&server).await;
    let _tcp = Raw::tcp(server.address()).await;
    let start = Instant::now();
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "drained in {:?}", start.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&[("--drain-time", "10m")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let _stubborn = Raw::login(&server, "stubborn").await;
    server.terminate();
    ada.next_event("connection_status").await;
    server.terminate();
    within("the end after a second signal", server.wait()).await;
}

#[tokio::test]
async fn an_idle_server_ends_without_waiting() {
    let mut server = Server::start(&[("--drain-time", "10m")]).await;
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}
