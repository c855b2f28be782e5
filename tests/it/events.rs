//! The events of the log and of membership: what they carry, who gets them, and who must not.

use serde_json::{Value, json};

use crate::actions::{MESSAGE, assert_conversation};
use crate::support::{Client, Server, assert_fields, direct, fence, group, join, list, number, say, text, token};

const ABOUT_A_ROOM: [&str; 9] = [
    "message_created",
    "member_joined",
    "member_left",
    "message_read",
    "typing_started",
    "typing_stopped",
    "presence_changed",
    "conversation_activity",
    "conversation_created",
];

#[tokio::test]
async fn a_message_reaches_every_joined_connection_once_the_senders_included() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut ada_phone = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    for client in [&mut ada, &mut ada_phone, &mut bob] {
        join(client, &room).await;
    }
    let request = json!({"conversationId": room, "content": "hello", "clientMessageId": "c-1"});
    let sent = ada.ok("send_message", request).await["message"].clone();
    assert_fields(&sent, &MESSAGE, &["clientMessageId"]);
    for client in [&mut ada, &mut ada_phone, &mut bob] {
        assert_eq!(client.next_event("message_created").await, sent);
    }
    fence(&mut ada, &mut ada_phone).await;
    fence(&mut ada, &mut bob).await;
    for client in [&ada, &ada_phone, &bob] {
        client.assert_none(&["message_created", "conversation_activity"]);
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_a_room() {
    let server = Server::start(&[("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut eve = Client::login(&server, "eve").await;
    let (room, code) = group(&mut ada, &["bob"]).await;
    eve.fails("join_conversation", json!({"conversationId": room}), "not_found").await;
    join(&mut ada, &room).await;
    join(&mut bob, &room).await;
    say(&mut ada, &room, "secret").await;
    bob.ok("typing_start", json!({"conversationId": room})).await;
    bob.ok("mark_read", json!({"conversationId": room, "seq": 1})).await;
    Client::login(&server, "cyd").await.ok("join_group", json!({"inviteCode": code})).await;
    bob.ok("leave_group", json!({"conversationId": room})).await;
    bob.close().await;
    ada.next_event("member_left").await;
    fence(&mut ada, &mut eve).await;
    eve.assert_none(&ABOUT_A_ROOM);
}

#[tokio::test]
async fn members_who_come_and_go_are_announced_to_the_joined() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut idle = Client::login(&server, "idle").await;
    let (room, code) = group(&mut ada, &["idle"]).await;
    join(&mut ada, &room).await;
    bob.ok("join_group", json!({"inviteCode": code})).await;
    bob.ok("join_group", json!({"inviteCode": code})).await;
    let expected = json!({"conversationId": room, "seq": 1, "userId": "bob", "name": token::name("bob")});
    assert_eq!(ada.next_event("member_joined").await, expected);
    bob.ok("leave_group", json!({"conversationId": room})).await;
    let expected = json!({"conversationId": room, "seq": 2, "userId": "bob", "name": token::name("bob")});
    assert_eq!(ada.next_event("member_left").await, expected);
    fence(&mut ada, &mut idle).await;
    fence(&mut bob, &mut ada).await;
    ada.assert_none(&["member_joined", "member_left"]);
    idle.assert_none(&["member_joined", "member_left"]);
}

#[tokio::test]
async fn whoever_left_hears_no_more_on_any_connection() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut bob_phone = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut bob, &room).await;
    join(&mut bob_phone, &room).await;
    bob.ok("leave_group", json!({"conversationId": room})).await;
    say(&mut ada, &room, "behind their back").await;
    for client in [&mut bob, &mut bob_phone] {
        fence(&mut ada, client).await;
        client.assert_none(&["message_created", "conversation_activity"]);
    }
}

#[tokio::test]
async fn a_read_mark_is_announced_to_the_joined_the_reader_included() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut bob_phone = Client::login(&server, "bob").await;
    let mut idle = Client::login(&server, "idle").await;
    let (room, _) = group(&mut ada, &["bob", "idle"]).await;
    for client in [&mut ada, &mut bob, &mut bob_phone] {
        join(client, &room).await;
    }
    for i in 0..3 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    bob.ok("mark_read", json!({"conversationId": room, "seq": 2})).await;
    let expected = json!({"conversationId": room, "userId": "bob", "seq": 2});
    for client in [&mut ada, &mut bob, &mut bob_phone] {
        assert_eq!(client.next_event("message_read").await, expected);
    }
    // A mark that does not move is no news.
    bob.ok("mark_read", json!({"conversationId": room, "seq": 1})).await;
    fence(&mut bob, &mut ada).await;
    fence(&mut bob, &mut idle).await;
    ada.assert_none(&["message_read"]);
    idle.assert_none(&["message_read"]);
}

#[tokio::test]
async fn a_burst_of_read_marks_ends_with_the_newest_and_never_goes_back() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let room = direct(&mut ada, "bob").await;
    join(&mut ada, &room).await;
    for i in 0..40 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    let mut ids = Vec::new();
    for seq in 1..=40 {
        ids.push(bob.send("mark_read", json!({"conversationId": room, "seq": seq})).await);
    }
    for id in ids {
        bob.reply(&id).await.expect("a member may mark");
    }
    let mut last = 0;
    while last < 40 {
        let seq = number(&ada.next_event("message_read").await, "seq");
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
}

#[tokio::test]
async fn a_new_conversation_is_announced_to_every_connection_as_that_member_sees_it() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut ada_phone = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut bob_phone = Client::login(&server, "bob").await;
    let mut eve = Client::login(&server, "eve").await;
    let id = direct(&mut ada, "bob").await;
    for (client, other) in [(&mut ada, "bob"), (&mut ada_phone, "bob"), (&mut bob, "ada"), (&mut bob_phone, "ada")] {
        let made = client.next_event("conversation_created").await;
        assert_fields(&made, &["conversation"], &[]);
        assert_conversation(&made["conversation"], &id, "direct", &token::name(other), 2);
    }
    // Existing already: nobody is told again.
    direct(&mut bob, "ada").await;
    let (room, code) = group(&mut ada, &["bob"]).await;
    let made = bob.next_event("conversation_created").await["conversation"].clone();
    assert_conversation(&made, &room, "group", "Room", 2);
    for owner in [&mut ada, &mut ada_phone] {
        let made = owner.next_event("conversation_created").await["conversation"].clone();
        assert_eq!((&made["id"], &made["inviteCode"]), (&json!(room), &json!(code)));
    }
    bob_phone.next_event("conversation_created").await;
    bob_phone.ping().await;
    bob_phone.assert_none(&["conversation_created"]);
    let mut witness = Client::login(&server, "witness").await;
    fence(&mut witness, &mut eve).await;
    eve.assert_none(&ABOUT_A_ROOM);
}

#[tokio::test]
async fn all_joined_see_concurrent_messages_in_one_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 50;
    let server = Server::start(&[]).await;
    let users: Vec<String> = (0..SENDERS).map(|i| format!("user-{i}")).collect();
    let mut clients = Vec::new();
    for user in &users {
        clients.push(Client::login(&server, user).await);
    }
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let (room, _) = group(&mut clients[0], &members).await;
    for client in &mut clients {
        join(client, &room).await;
    }
    let tasks: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(send_and_collect(client, room.clone(), EACH, SENDERS))).collect();
    let mut logs = Vec::new();
    for task in tasks {
        logs.push(task.await.expect("a client without a complaint"));
    }
    assert_eq!(logs[0].len(), SENDERS * EACH);
    assert!(logs.iter().all(|log| *log == logs[0]), "everybody sees the same log");
    for user in &users {
        let own: Vec<String> = logs[0].iter().filter(|m| m["senderId"] == json!(user)).map(|m| text(m, "content")).collect();
        let expected: Vec<String> = (0..EACH).map(|i| i.to_string()).collect();
        assert_eq!(own, expected, "one connection's messages stay in its order");
    }
}

async fn send_and_collect(mut client: Client, room: String, each: usize, senders: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for i in 0..each {
        ids.push(client.send("send_message", json!({"conversationId": room, "content": i.to_string()})).await);
    }
    for id in ids {
        client.reply(&id).await.expect("a member may send");
    }
    let mut log = Vec::new();
    while log.len() < senders * each {
        log.push(client.next_event("message_created").await);
    }
    log
}

#[tokio::test]
async fn events_of_a_join_and_live_events_are_the_same_objects() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, code) = group(&mut ada, &[]).await;
    join(&mut ada, &room).await;
    bob.ok("join_group", json!({"inviteCode": code})).await;
    say(&mut bob, &room, "hello").await;
    bob.ok("leave_group", json!({"conversationId": room})).await;
    let mut live = Vec::new();
    for kind in ["member_joined", "message_created", "member_left"] {
        live.push(json!({"type": kind, "payload": ada.next_event(kind).await}));
    }
    let mut ada_phone = Client::login(&server, "ada").await;
    assert_eq!(list(&join(&mut ada_phone, &room).await, "events"), &live);
}
