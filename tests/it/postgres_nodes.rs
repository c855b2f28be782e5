//! Two servers on one database: what the rooms of one know of what the other stored. Events are not carried between them yet; what a
//! member who left on one may still see on the other is held here.

use serde_json::{Value, json};

use crate::support::cluster::{fresh_schema, shared_url};
use crate::support::{Client, Server, fence, group, join, list, number, say, text};

struct Nodes {
    here: Server,
    there: Server,
    room: String,
    /// On the other server.
    ada: Client,
    /// They have joined here, on the server whose room does not know what happens there.
    bob: Client,
    cyd: Client,
}

/// What must not reach somebody who has left.
const SECRET: &str = "not for those who left";

/// Bob leaves there, and then something is said there.
async fn after_a_leaving() -> Nodes {
    let schema = fresh_schema();
    let flags = [("--database", shared_url()), ("--database-schema", schema.as_str())];
    let (here, there) = (Server::start(&flags).await, Server::start(&flags).await);
    let mut ada = Client::login(&there, "ada").await;
    let (room, _) = group(&mut ada, &["bob", "cyd"]).await;
    say(&mut ada, &room, "before").await;
    let (mut bob, mut cyd) = (Client::login(&here, "bob").await, Client::login(&here, "cyd").await);
    join(&mut bob, &room).await;
    join(&mut cyd, &room).await;
    let mut bob_there = Client::login(&there, "bob").await;
    bob_there.ok("leave_group", json!({"conversationId": room})).await;
    assert_eq!(number(&say(&mut ada, &room, SECRET).await, "seq"), 3);
    Nodes { here, there, room, ada, bob, cyd }
}

fn has_secret(value: &Value) -> bool {
    value.to_string().contains(SECRET)
}

#[tokio::test]
async fn nothing_that_was_stored_after_a_leaving_reaches_who_left() {
    let Nodes { here, there: _there, room, ada: _ada, mut bob, mut cyd } = after_a_leaving().await;
    let of_room = json!({"conversationId": room});
    // The room does not know of it yet: a join is answered from its memory, and with nothing newer.
    let mut again = Client::login(&here, "bob").await;
    let state = again.ok("join_conversation", of_room.clone()).await;
    assert_eq!((number(&state, "head"), has_secret(&state)), (1, false), "{state}");
    // What asks the database knows.
    again.fails("load_messages", of_room.clone(), "not_found").await;
    let listed = again.ok("load_conversations", json!({})).await;
    assert!(list(&listed, "conversations").is_empty(), "{listed}");

    // The next message here: the leaving is told before it.
    assert_eq!(number(&say(&mut cyd, &room, SECRET).await, "seq"), 4);
    for client in [&mut bob, &mut again] {
        assert_eq!(client.next_event("member_left").await["userId"], json!("bob"));
    }
    for (kind, seq) in [("member_left", 2), ("message_created", 3), ("message_created", 4)] {
        assert_eq!(number(&cyd.next_event(kind).await, "seq"), seq);
    }
    for client in [&mut bob, &mut again] {
        // A client fails when it gets an event of a log that it is not part of.
        fence(&mut cyd, client).await;
        client.assert_none(&["message_created", "conversation_activity"]);
        for kind in ["join_conversation", "typing_start", "send_message", "mark_read"] {
            client.fails(kind, json!({"conversationId": room, "content": "x", "seq": 1}), "not_found").await;
        }
    }
}

#[tokio::test]
async fn a_mark_tells_a_room_of_what_another_server_stored() {
    let Nodes { here: _here, there: _there, room, mut ada, mut bob, mut cyd } = after_a_leaving().await;
    let marked = cyd.ok("mark_read", json!({"conversationId": room, "seq": 1})).await;
    assert_eq!(number(&marked, "unreadCount"), 1, "counted by the database");
    assert_eq!(bob.next_event("member_left").await["userId"], json!("bob"));
    assert_eq!(text(&cyd.next_event("message_created").await, "content"), SECRET);
    fence(&mut cyd, &mut bob).await;
    bob.assert_none(&["message_created", "conversation_activity"]);
    say(&mut ada, &room, SECRET).await;
    cyd.ok("mark_read", json!({"conversationId": room, "seq": 3})).await;
    assert_eq!(number(&cyd.next_event("message_created").await, "seq"), 4);
}

#[tokio::test]
async fn a_mark_of_who_left_tells_the_room_that_they_did() {
    let Nodes { here: _here, there: _there, room, ada: _ada, mut bob, mut cyd } = after_a_leaving().await;
    bob.fails("mark_read", json!({"conversationId": room, "seq": 1}), "not_found").await;
    assert_eq!(bob.next_event("member_left").await["userId"], json!("bob"));
    assert_eq!(text(&cyd.next_event("message_created").await, "content"), SECRET);
    fence(&mut cyd, &mut bob).await;
    bob.assert_none(&["message_created", "conversation_activity"]);
}
