//! Hints that are not in the log: activity in rooms one has not joined, and the state of one's own connection.

use std::time::Instant;

use serde_json::json;

use crate::support::{
    Client, Opcode, Raw, Server, assert_fields, assert_timestamp, fence, group, join, number, say, text, token, within,
};

#[tokio::test]
async fn activity_is_hinted_to_members_who_have_not_joined() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut eve = Client::login(&server, "eve").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut ada, &room).await;
    let sent = say(&mut ada, &room, "hello").await;
    let hint = bob.next_event("conversation_activity").await;
    assert_eq!(hint, json!({"conversationId": room, "head": 1, "lastMessage": sent, "unreadCount": 1}));
    fence(&mut ada, &mut eve).await;
    eve.assert_none(&["conversation_activity"]);
    fence(&mut bob, &mut ada).await;
    ada.assert_none(&["conversation_activity"]);
    bob.assert_none(&["message_created"]);
}

#[tokio::test]
async fn activity_is_coalesced_to_one_hint_a_second_and_ends_with_the_newest() {
    const MESSAGES: u64 = 60;
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let start = Instant::now();
    for i in 0..MESSAGES {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    let (mut hints, mut head) = (0, 0);
    while head < MESSAGES {
        let hint = bob.next_event("conversation_activity").await;
        assert!(number(&hint, "head") > head, "{hint}");
        head = number(&hint, "head");
        hints += 1;
        assert_eq!((number(&hint["lastMessage"], "seq"), number(&hint, "unreadCount")), (head, head));
    }
    // The first may come at once and the last may have waited: one more than the whole seconds, and one for the reading.
    assert!(hints <= start.elapsed().as_secs() + 2, "{hints} hints in {:?}", start.elapsed());
}

#[tokio::test]
async fn leaving_a_conversation_turns_its_events_into_hints() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut bob, &room).await;
    bob.ok("leave_conversation", json!({"conversationId": room})).await;
    say(&mut ada, &room, "hello").await;
    assert_eq!(bob.next_event("conversation_activity").await["conversationId"], json!(room));
    bob.assert_none(&["message_created"]);
}

#[tokio::test]
async fn a_connection_is_warned_before_its_token_expires() {
    let server = Server::start(&[("--token-warning", "3s")]).await;
    let mut ada = Client::connect(&server).await;
    let mut other = Client::login(&server, "ada").await;
    let exp = token::now() + 5;
    let auth = ada.ok("auth", json!({"token": token::mint_until("ada", exp)})).await;
    let warning = ada.next_event("connection_status").await;
    assert_fields(&warning, &["status", "expiresAt"], &[]);
    assert_eq!(warning["status"], json!("token_expiring"));
    assert_timestamp(&warning["expiresAt"]);
    assert_eq!(warning["expiresAt"], auth["expiresAt"]);
    assert!(token::now() + 3 >= exp, "not sooner than it was set");
    // It is about that connection, not about its user.
    other.ping().await;
    other.assert_none(&["connection_status"]);
}

#[tokio::test]
async fn a_token_that_is_short_from_the_start_is_warned_about_at_once() {
    let server = Server::start(&[]).await;
    let mut ada = Client::connect(&server).await;
    ada.ok("auth", json!({"token": token::mint_until("ada", token::now() + 30)})).await;
    assert_eq!(text(&ada.next_event("connection_status").await, "status"), "token_expiring");
}

#[tokio::test]
async fn without_a_time_for_warnings_nobody_is_warned() {
    let server = Server::start(&[("--token-warning", "0s"), ("--token-grace", "2s")]).await;
    let mut ada = Raw::connect(&server).await;
    ada.request("auth", json!({"token": token::mint_until("ada", token::now() + 1)})).await;
    assert_eq!(ada.receive().await["type"], "auth");
    // Every connection is looked at several times before this one is closed.
    let frame = within("the close", ada.frame()).await.expect("a close frame");
    assert_eq!(frame.opcode(), Opcode::CLOSE, "{:?}", String::from_utf8_lossy(&frame.payload));
}
