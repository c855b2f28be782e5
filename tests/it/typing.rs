//! Typing is a lease: it ends by itself and with everything that ends typing.

use serde_json::{Value, json};

use crate::support::{Client, Server, assert_fields, fence, group, join, number, say};

/// Ada and Bob, joined to one room.
async fn scene(server: &Server) -> (Client, Client, String) {
    let mut ada = Client::login(server, "ada").await;
    let mut bob = Client::login(server, "bob").await;
    let (room, _) = group(&mut ada, &["bob", "idle"]).await;
    join(&mut ada, &room).await;
    join(&mut bob, &room).await;
    (ada, bob, room)
}

async fn start(client: &mut Client, room: &str) {
    client.ok("typing_start", json!({"conversationId": room})).await;
}

fn stopped(room: &str, user: &str) -> Value {
    json!({"conversationId": room, "userId": user})
}

#[tokio::test]
async fn typing_is_announced_to_the_joined_but_not_to_the_typists_own_connections() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    let mut bob_phone = Client::login(&server, "bob").await;
    join(&mut bob_phone, &room).await;
    let mut idle = Client::login(&server, "idle").await;
    start(&mut bob, &room).await;
    let started = ada.next_event("typing_started").await;
    assert_fields(&started, &["conversationId", "userId", "expiresInMs"], &[]);
    assert_eq!((&started["conversationId"], &started["userId"]), (&json!(room), &json!("bob")));
    assert!((1..=6000).contains(&number(&started, "expiresInMs")), "{started}");
    bob.ok("typing_stop", json!({"conversationId": room})).await;
    assert_eq!(ada.next_event("typing_stopped").await, stopped(&room, "bob"));
    for client in [&mut bob, &mut bob_phone, &mut idle] {
        fence(&mut ada, client).await;
        client.assert_none(&["typing_started", "typing_stopped"]);
    }
}

#[tokio::test]
async fn the_lease_ends_by_itself() {
    let server = Server::start(&[("--typing-lease", "300ms")]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    start(&mut bob, &room).await;
    let started = ada.next_event("typing_started").await;
    assert!(number(&started, "expiresInMs") <= 300, "{started}");
    assert_eq!(ada.next_event("typing_stopped").await, stopped(&room, "bob"));
    assert_eq!(join(&mut ada, &room).await["typing"], json!([]));
    fence(&mut bob, &mut ada).await;
    ada.assert_none(&["typing_stopped"]);
}

#[tokio::test]
async fn whoever_joins_while_somebody_types_is_told_in_the_reply() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    start(&mut bob, &room).await;
    assert_eq!(join(&mut ada, &room).await["typing"], json!(["bob"]));
}

#[tokio::test]
async fn a_message_ends_the_typing_of_its_sender() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    start(&mut bob, &room).await;
    ada.next_event("typing_started").await;
    say(&mut ada, &room, "not mine to end").await;
    fence(&mut bob, &mut ada).await;
    ada.assert_none(&["typing_stopped"]);
    say(&mut bob, &room, "done").await;
    assert_eq!(ada.next_event("typing_stopped").await, stopped(&room, "bob"));
}

#[tokio::test]
async fn leaving_in_every_way_ends_typing() {
    // So long that it is not the lease that ends.
    let server = Server::start(&[("--typing-lease", "10m")]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    for action in ["leave_conversation", "leave_group"] {
        start(&mut bob, &room).await;
        ada.next_event("typing_started").await;
        bob.ok(action, json!({"conversationId": room})).await;
        assert_eq!(ada.next_event("typing_stopped").await, stopped(&room, "bob"), "{action}");
    }
}

#[tokio::test]
async fn a_disconnect_ends_typing_at_once() {
    let server = Server::start(&[("--typing-lease", "10m")]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    start(&mut bob, &room).await;
    ada.next_event("typing_started").await;
    drop(bob);
    assert_eq!(ada.next_event("typing_stopped").await, stopped(&room, "bob"));
}

#[tokio::test]
async fn stopping_what_never_started_is_silent() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    bob.ok("typing_stop", json!({"conversationId": room})).await;
    say(&mut bob, &room, "x").await;
    fence(&mut bob, &mut ada).await;
    ada.assert_none(&["typing_started", "typing_stopped"]);
}

#[tokio::test]
async fn typing_is_suppressed_in_a_room_with_more_joined_than_its_limit() {
    let server = Server::start(&[("--typing-max-joined", "2")]).await;
    let (mut ada, mut bob, room) = scene(&server).await;
    let mut idle = Client::login(&server, "idle").await;
    start(&mut bob, &room).await;
    ada.next_event("typing_started").await;
    bob.ok("typing_stop", json!({"conversationId": room})).await;
    ada.next_event("typing_stopped").await;
    // The third one is too many; the action still succeeds.
    join(&mut idle, &room).await;
    start(&mut bob, &room).await;
    fence(&mut bob, &mut ada).await;
    fence(&mut bob, &mut idle).await;
    ada.assert_none(&["typing_started"]);
    idle.assert_none(&["typing_started"]);
}
