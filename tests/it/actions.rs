//! What each action replies, field by field: connecting, reading and writing. Groups are in `actions_groups`.

use serde_json::{Value, json};

use crate::support::{
    Client, Frame, Opcode, Raw, Server, assert_fields, assert_timestamp, direct, fence, group, join, list, number, say, text,
    token,
};

pub(crate) const CONVERSATION: [&str; 8] = ["id", "kind", "title", "memberCount", "head", "readSeq", "unreadCount", "createdAt"];
pub(crate) const MESSAGE: [&str; 7] = ["id", "conversationId", "seq", "senderId", "senderName", "content", "createdAt"];

/// Checks an object `conversation` as somebody sees it who does not own it.
#[track_caller]
pub(crate) fn assert_conversation(conversation: &Value, id: &str, kind: &str, title: &str, members: u64) {
    assert_fields(conversation, &CONVERSATION, &["lastMessage"]);
    assert_eq!(conversation["id"], json!(id));
    assert_eq!(conversation["kind"], json!(kind));
    assert_eq!(conversation["title"], json!(title));
    assert_eq!(conversation["memberCount"], json!(members));
    assert_timestamp(&conversation["createdAt"]);
}

#[track_caller]
fn assert_uuid_v7(value: &Value) {
    let text = value.as_str().expect("an id is a string");
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{text}");
    assert_eq!(text.as_bytes()[14], b'7', "{text}");
}

#[tokio::test]
async fn auth_replies_with_user_connection_expiry_and_limits() {
    let server = Server::start(&[]).await;
    let mut client = Client::connect(&server).await;
    let exp = token::now() + 3600;
    let reply = client.ok("auth", json!({"token": token::mint_until("ada", exp)})).await;
    assert_fields(&reply, &["user", "connectionId", "expiresAt", "protocol", "epoch", "limits"], &[]);
    assert_eq!(reply["user"], json!({"id": "ada", "name": token::name("ada")}));
    assert!(!text(&reply, "connectionId").is_empty() && !text(&reply, "epoch").is_empty());
    assert_timestamp(&reply["expiresAt"]);
    assert!(text(&reply, "expiresAt").ends_with(".000Z"), "exp is in whole seconds: {reply}");
    assert_eq!(reply["protocol"], json!(1));
    let limits = json!({
        "maxMessageBytes": 65536, "maxContentChars": 4000, "pingIntervalMs": 25000, "pongTimeoutMs": 8000,
        "typingLeaseMs": 6000, "maxJoined": 256, "recoveryLimit": 500,
    });
    assert_eq!(reply["limits"], limits);
}

#[tokio::test]
async fn auth_replies_with_the_limits_that_were_set() {
    let flags = [("--max-content-chars", "10"), ("--typing-lease", "1500ms"), ("--max-joined", "3"), ("--ping-interval", "7s")];
    let server = Server::start(&flags).await;
    let mut client = Client::connect(&server).await;
    let reply = client.ok("auth", json!({"token": token::mint("ada")})).await;
    let limits = &reply["limits"];
    assert_eq!((number(limits, "maxContentChars"), number(limits, "typingLeaseMs")), (10, 1500));
    assert_eq!((number(limits, "maxJoined"), number(limits, "pingIntervalMs")), (3, 7000));
}

#[tokio::test]
async fn a_token_in_the_upgrade_request_is_answered_unasked() {
    let server = Server::start(&[]).await;
    let bearer = format!("Bearer {}", token::mint("ada"));
    let (raw, _) = Raw::upgrade(&server, &[("Authorization", &bearer)]).await.expect("a good token");
    let mut client = Client::over(raw);
    let reply = client.next_event("auth").await;
    assert_eq!(reply["user"]["id"], json!("ada"));
    group(&mut client, &[]).await;
}

#[tokio::test]
async fn a_later_auth_refreshes_the_token() {
    let server = Server::start(&[]).await;
    let mut client = Client::connect(&server).await;
    let first = client.ok("auth", json!({"token": token::mint_until("ada", token::now() + 600)})).await;
    let second = client.ok("auth", json!({"token": token::mint_until("ada", token::now() + 6000)})).await;
    assert_eq!(first["connectionId"], second["connectionId"]);
    assert!(text(&first, "expiresAt") < text(&second, "expiresAt"));
}

#[tokio::test]
async fn ping_returns_the_object_it_was_given() {
    let server = Server::start(&[]).await;
    let mut client = Client::connect(&server).await;
    // Once as a stranger, once as a user: ping is one of the two actions that need no token.
    for _ in 0..2 {
        for payload in [json!({}), json!({"n": 1, "deep": {"list": [1, "two", null, true, -1.5]}, "text": "\"\\\n\u{1F600}"})] {
            assert_eq!(client.ok("ping", payload.clone()).await, payload);
        }
        client.ok("auth", json!({"token": token::mint("ada")})).await;
    }
    client.raw().text(r#"{"type":"ping","requestId":"raw"}"#).await;
    assert_eq!(client.raw().receive().await["payload"], json!({}));
}

#[tokio::test]
async fn a_request_without_an_id_is_done_without_a_reply() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let quiet = json!({"type": "send_message", "payload": {"conversationId": room, "content": "quiet"}});
    ada.raw().text(&quiet.to_string()).await;
    let wrong = json!({"type": "send_message", "payload": {"conversationId": room, "content": ""}});
    ada.raw().text(&wrong.to_string()).await;
    say(&mut ada, &room, "loud").await;
    // Errors are the exception: they come without an id, as events do.
    ada.next_event("error").await;
    ada.assert_none(&["send_message"]);
    let page = ada.ok("load_messages", json!({"conversationId": room})).await;
    let contents: Vec<&str> = list(&page, "messages").iter().filter_map(|m| m["content"].as_str()).collect();
    assert_eq!(contents, ["quiet", "loud"]);
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_the_clients_clock_is_not_trusted() {
    let server = Server::start(&[]).await;
    let mut ada = Raw::login(&server, "ada").await;
    let envelope = json!({
        "type": "create_group", "requestId": "x".repeat(64), "timestamp": "1999-01-01T00:00:00.000Z", "future": [1, {"a": 2}],
        "payload": {"name": "Room", "future": {"id": 1}},
    });
    ada.text(&envelope.to_string()).await;
    let mut reply = ada.receive().await;
    if reply["type"] == "conversation_created" {
        reply = ada.receive().await;
    }
    assert_eq!((&reply["type"], &reply["requestId"]), (&json!("create_group"), &json!("x".repeat(64))));
    assert!(text(&reply, "timestamp").as_str() > "2020");
    assert!(text(&reply["payload"]["conversation"], "createdAt").as_str() > "2020");
}

#[tokio::test]
async fn join_replies_with_conversation_position_events_members_and_typing() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob", "cyd"]).await;
    let sent = say(&mut ada, &room, "hello").await;
    let reply = join(&mut bob, &room).await;
    assert_fields(&reply, &["conversation", "epoch", "head", "recovered", "events", "members", "typing"], &[]);
    assert_conversation(&reply["conversation"], &room, "group", "Room", 3);
    assert_eq!((number(&reply, "head"), &reply["recovered"]), (1, &json!(false)));
    assert_eq!(reply["events"], json!([{"type": "message_created", "payload": sent}]));
    assert_eq!(reply["typing"], json!([]));
    assert_eq!(reply["conversation"]["lastMessage"], sent);
    assert_eq!((number(&reply["conversation"], "head"), number(&reply["conversation"], "unreadCount")), (1, 1));
    let mut members: Vec<Value> = list(&reply, "members").clone();
    members.sort_by_key(|m| text(m, "userId"));
    for (member, user) in members.iter().zip(["ada", "bob", "cyd"]) {
        assert_fields(member, &["userId", "name", "role", "status", "readSeq"], &["lastSeenAt"]);
        assert_eq!(member["userId"], json!(user));
        assert_eq!(member["role"], json!(if user == "ada" { "owner" } else { "member" }));
        assert_eq!(member["status"], json!(if user == "cyd" { "offline" } else { "online" }));
    }
    assert_eq!(members.len(), 3);
    assert_eq!(members[1]["name"], json!(token::name("bob")));
}

#[tokio::test]
async fn join_without_since_delivers_as_many_latest_events_as_asked() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    for i in 0..60 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    for (limit, expected) in [(json!(null), 50), (json!(1), 1), (json!(7), 7), (json!(200), 60)] {
        let mut request = json!({"conversationId": room});
        if !limit.is_null() {
            request["limit"] = limit;
        }
        let reply = ada.ok("join_conversation", request).await;
        assert_eq!(list(&reply, "events").len(), expected);
        assert_eq!(number(&reply, "head"), 60);
    }
}

#[tokio::test]
async fn leaving_a_conversation_stops_live_events_and_keeps_the_membership() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut bob, &room).await;
    let reply = bob.ok("leave_conversation", json!({"conversationId": room})).await;
    assert_eq!(reply, json!({"conversationId": room}));
    say(&mut ada, &room, "unheard").await;
    fence(&mut ada, &mut bob).await;
    bob.assert_none(&["message_created"]);
    say(&mut bob, &room, "still a member").await;
    // Not joined any more: leaving again changes nothing, and is no fault of a member.
    bob.ok("leave_conversation", json!({"conversationId": room})).await;
}

#[tokio::test]
async fn send_message_replies_with_the_message_as_stored() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let plain = ada.ok("send_message", json!({"conversationId": room, "content": "a"})).await;
    assert_fields(&plain, &["message"], &["duplicate"]);
    assert_ne!(plain["duplicate"], json!(true));
    assert_fields(&plain["message"], &MESSAGE, &[]);
    assert_uuid_v7(&plain["message"]["id"]);
    assert_uuid_v7(&plain["message"]["conversationId"]);
    assert_timestamp(&plain["message"]["createdAt"]);
    assert_eq!(plain["message"]["seq"], json!(1));
    assert_eq!(plain["message"]["senderId"], json!("ada"));
    assert_eq!(plain["message"]["senderName"], json!(token::name("ada")));

    let id = plain["message"]["id"].clone();
    // The content comes back byte for byte, whatever JSON has to escape in it.
    let content = "\"quoted\" \\ </script> \u{1} \u{7f} \u{2028} é 漢字 👩‍👩‍👧";
    let request = json!({"conversationId": room, "content": content, "clientMessageId": "x".repeat(64), "replyTo": id});
    let full = ada.ok("send_message", request).await["message"].clone();
    assert_fields(&full, &MESSAGE, &["clientMessageId", "replyTo"]);
    assert_eq!(full["content"], json!(content));
    assert_eq!(full["clientMessageId"], json!("x".repeat(64)));
    assert_eq!(full["replyTo"], id);
    assert_eq!(full["seq"], json!(2));
}

#[tokio::test]
async fn content_may_have_as_many_characters_as_the_limit_however_many_bytes_they_are() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let longest = "😀".repeat(4000);
    assert_eq!(say(&mut ada, &room, &longest).await["content"], json!(longest));
    let over = json!({"conversationId": room, "content": "😀".repeat(4001)});
    ada.fails("send_message", over, "too_large").await;
}

#[tokio::test]
async fn load_messages_pages_in_both_directions() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    for i in 1..=12 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    let cases = [
        (json!({"limit": 5}), 8..=12, true),
        (json!({"limit": 5, "before": 8}), 3..=7, true),
        (json!({"limit": 5, "before": 3}), 1..=2, false),
        (json!({"limit": 5, "before": 6}), 1..=5, false),
        (json!({"limit": 5, "after": 0}), 1..=5, true),
        (json!({"limit": 5, "after": 7}), 8..=12, false),
        (json!({"limit": 5, "after": 10}), 11..=12, false),
        (json!({}), 1..=12, false),
    ];
    for (mut request, expected, more) in cases {
        request["conversationId"] = json!(room);
        let page = ada.ok("load_messages", request.clone()).await;
        assert_fields(&page, &["messages", "hasMore"], &[]);
        let seqs: Vec<u64> = list(&page, "messages").iter().map(|m| number(m, "seq")).collect();
        assert_eq!(seqs, expected.collect::<Vec<u64>>(), "{request}");
        assert_eq!(page["hasMore"], json!(more), "{request}");
        assert_fields(&page["messages"][0], &MESSAGE, &[]);
    }
    for empty in [json!({"conversationId": room, "after": 12}), json!({"conversationId": room, "before": 1})] {
        assert_eq!(ada.ok("load_messages", empty).await, json!({"messages": [], "hasMore": false}));
    }
}

#[tokio::test]
async fn mark_read_moves_forward_only_and_ends_at_the_head() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let room = direct(&mut ada, "bob").await;
    for i in 0..4 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    say(&mut bob, &room, "mine is not unread").await;
    for (seq, watermark, unread) in [(0, 0, 4), (2, 2, 2), (1, 2, 2), (2, 2, 2), (4, 4, 0), (1_000_000, 5, 0), (3, 5, 0)] {
        let reply = bob.ok("mark_read", json!({"conversationId": room, "seq": seq})).await;
        assert_eq!(reply, json!({"conversationId": room, "seq": watermark, "unreadCount": unread}), "mark_read {seq}");
    }
    let other = ada.ok("mark_read", json!({"conversationId": room, "seq": 0})).await;
    assert_eq!(other["unreadCount"], json!(1), "marks are each member's own");
}

#[tokio::test]
async fn typing_actions_reply_with_the_conversation() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    // Not joined: membership is enough.
    for action in ["typing_start", "typing_start", "typing_stop", "typing_stop"] {
        assert_eq!(ada.ok(action, json!({"conversationId": room})).await, json!({"conversationId": room}));
    }
}

#[tokio::test]
async fn the_memory_store_serves_the_same_actions() {
    let server = Server::start(&[("--database", "memory:")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, code) = group(&mut ada, &[]).await;
    join(&mut ada, &room).await;
    bob.ok("join_group", json!({"inviteCode": code})).await;
    let sent = say(&mut bob, &room, "hello").await;
    assert_eq!(ada.next_event("message_created").await, sent);
    assert_eq!(ada.ok("mark_read", json!({"conversationId": room, "seq": 2})).await["unreadCount"], json!(0));
    assert_eq!(list(&ada.ok("load_conversations", json!({})).await, "conversations").len(), 1);
    bob.ok("leave_group", json!({"conversationId": room})).await;
    assert_eq!(ada.next_event("member_left").await["seq"], json!(3));
}

#[tokio::test]
async fn what_came_before_auth_is_answered_before_it_wherever_the_user_is_at_home() {
    let server = Server::start(&[]).await;
    // With two workers about half of these connections move to the other one with their login.
    for user in ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"] {
        let mut raw = Raw::connect(&server).await;
        let request = |id: &str, kind: &str, payload: Value| {
            let envelope = json!({"type": kind, "requestId": id, "payload": payload});
            Frame::new(Opcode::TEXT, envelope.to_string()).encode()
        };
        // In one write: nothing of it has been answered when the login is read.
        let storm = [
            request("1", "ping", json!({"n": 1})),
            request("2", "ping", json!({"n": 2})),
            request("3", "auth", json!({"token": token::mint(user)})),
            request("4", "ping", json!({"n": 4})),
        ];
        raw.write(&storm.concat()).await.expect("a fresh connection");
        for id in ["1", "2", "3", "4"] {
            assert_eq!(raw.receive().await["requestId"], json!(id), "{user}");
        }
    }
}
