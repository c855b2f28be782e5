//! Every error code by its name, and that the connection stays open after it. `internal` is a bug and has no test.

use serde_json::{Value, json};

use crate::support::{Client, Failure, Raw, Server, direct, group, history, join, list, say, token};

/// Sends a text that is no good request and checks the code; then that the connection still works.
async fn assert_refused(raw: &mut Raw, text: &str, codes: &[&str]) -> Value {
    raw.text(text).await;
    let reply = raw.receive().await;
    assert_eq!(reply["type"], "error", "{text:.200} got {reply}");
    let failure = Failure::of_event(&reply["payload"]);
    assert!(codes.contains(&failure.code.as_str()), "{text:.200} got {failure:?} instead of {codes:?}");
    raw.request("ping", json!({"still": "here"})).await;
    assert_eq!(raw.receive().await["payload"], json!({"still": "here"}));
    reply
}

#[tokio::test]
async fn invalid_json() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    let deep = format!(r#"{{"type":"ping","payload":{{"a":{}{}}}}}"#, "[".repeat(7), "]".repeat(7));
    let cases = [
        "",
        " ",
        "{",
        "nonsense",
        r#"{"type":"ping""#,
        r#"{"type":"ping"}{"#,
        r#"{"type":"ping",}"#,
        r#"{'type':'ping'}"#,
        r#"{"type":"ping","payload":{"a":01}}"#,
        r#"{"type":"ping","payload":{"a":NaN}}"#,
        "{\"type\":\"pi\nng\"}",
        r#"{"type":"ping","payload":{"a":"\ud800"}}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"ping","requestId":"a","requestId":"b"}"#,
        r#"{"type":"ping","payload":{},"payload":{}}"#,
        &deep,
    ];
    for text in cases {
        assert_refused(&mut raw, text, &["invalid_json"]).await;
    }
    let twice = r#"{"type":"leave_conversation","requestId":"raw","payload":{"conversationId":"a","conversationId":"b"}}"#;
    assert_refused(&mut raw, twice, &["invalid_json"]).await;
}

#[tokio::test]
async fn nesting_is_taken_to_eight_levels_and_no_deeper() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    // The envelope is level 1 and the payload level 2.
    let nested = |lists: usize| {
        format!(r#"{{"type":"ping","requestId":"raw","payload":{{"a":{}{}}}}}"#, "[".repeat(lists), "]".repeat(lists))
    };
    raw.text(&nested(6)).await;
    assert_eq!(raw.receive().await["type"], "ping");
    assert_refused(&mut raw, &nested(7), &["invalid_json"]).await;
    // An unknown field is ignored, its depth is not.
    let unknown = format!(r#"{{"type":"ping","future":{}{}}}"#, "[".repeat(8), "]".repeat(8));
    assert_refused(&mut raw, &unknown, &["invalid_json"]).await;
}

#[tokio::test]
async fn invalid_envelope() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    let long = format!(r#"{{"type":"ping","requestId":"{}"}}"#, "x".repeat(65));
    let cases = [
        "[]",
        "1",
        "null",
        "true",
        r#""ping""#,
        "{}",
        r#"{"payload":{}}"#,
        r#"{"type":1}"#,
        r#"{"type":null}"#,
        r#"{"type":"ping","payload":[]}"#,
        r#"{"type":"ping","payload":"x"}"#,
        r#"{"type":"ping","payload":1}"#,
        r#"{"type":"ping","requestId":1}"#,
        r#"{"type":"ping","requestId":""}"#,
        r#"{"type":"ping","requestId":"ä"}"#,
        r#"{"type":"ping","requestId":"a\nb"}"#,
        r#"{"type":"ping","requestId":{}}"#,
        &long,
    ];
    for text in cases {
        let error = assert_refused(&mut raw, text, &["invalid_envelope"]).await;
        assert!(error.get("requestId").is_none(), "there is no usable request id to answer: {error}");
    }
}

#[tokio::test]
async fn unknown_type() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let long = "x".repeat(1000);
    for kind in ["", "Ping", "pings", "error", "message_created", "send message", &long] {
        ada.fails(kind, json!({}), "unknown_type").await;
    }
}

/// Requests that are wrong in one field, with that field's name.
fn invalid_payloads(room: &str) -> Vec<(&'static str, Value, &'static str)> {
    let send = |field: &str, value: Value| {
        let mut payload = json!({"conversationId": room, "content": "x"});
        payload[field] = value;
        payload
    };
    let with = |field: &str, value: Value| {
        let mut payload = json!({"conversationId": room});
        payload[field] = value;
        payload
    };
    vec![
        ("auth", json!({}), "token"),
        ("auth", json!({"token": 1}), "token"),
        ("join_conversation", json!({}), "conversationId"),
        ("join_conversation", json!({"conversationId": "no-uuid"}), "conversationId"),
        ("join_conversation", json!({"conversationId": 7}), "conversationId"),
        ("join_conversation", with("limit", json!(0)), "limit"),
        ("join_conversation", with("limit", json!(201)), "limit"),
        ("join_conversation", with("limit", json!(-1)), "limit"),
        ("join_conversation", with("limit", json!(1.5)), "limit"),
        ("join_conversation", with("since", json!({"seq": 1})), "epoch"),
        ("join_conversation", with("since", json!({"epoch": "e"})), "seq"),
        ("join_conversation", with("since", json!(4)), "since"),
        ("leave_conversation", json!({}), "conversationId"),
        ("send_message", json!({"conversationId": room}), "content"),
        ("send_message", send("content", json!("")), "content"),
        ("send_message", send("content", json!(5)), "content"),
        ("send_message", send("clientMessageId", json!("")), "clientMessageId"),
        ("send_message", send("clientMessageId", json!(5)), "clientMessageId"),
        ("send_message", send("replyTo", json!("no-uuid")), "replyTo"),
        ("load_conversations", json!({"limit": 101}), "limit"),
        ("load_conversations", json!({"limit": 0}), "limit"),
        ("load_conversations", json!({"cursor": "made up"}), "cursor"),
        ("load_conversations", json!({"cursor": 3}), "cursor"),
        ("load_messages", json!({}), "conversationId"),
        ("load_messages", with("limit", json!(201)), "limit"),
        ("load_messages", with("before", json!("1")), "before"),
        ("load_messages", with("after", json!(-1)), "after"),
        ("typing_start", json!({}), "conversationId"),
        ("typing_stop", json!({}), "conversationId"),
        ("mark_read", with("seq", json!(null)), "seq"),
        ("mark_read", with("seq", json!("1")), "seq"),
        ("mark_read", with("seq", json!(9_007_199_254_740_992u64)), "seq"),
        ("create_conversation", json!({}), "memberIds"),
        ("create_conversation", json!({"memberIds": []}), "memberIds"),
        ("create_conversation", json!({"memberIds": ["a b"]}), "memberIds"),
        ("create_conversation", json!({"memberIds": [1]}), "memberIds"),
        ("create_conversation", json!({"memberIds": "bob"}), "memberIds"),
        ("create_group", json!({}), "name"),
        ("create_group", json!({"name": ""}), "name"),
        ("create_group", json!({"name": "x", "memberIds": [""]}), "memberIds"),
        ("join_group", json!({}), "inviteCode"),
        ("join_group", json!({"inviteCode": 1}), "inviteCode"),
        ("leave_group", json!({}), "conversationId"),
    ]
}

#[tokio::test]
async fn invalid_payload_names_the_field() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    for (kind, payload, field) in invalid_payloads(&room) {
        let failure = ada.fails(kind, payload.clone(), "invalid_payload").await;
        assert!(failure.message.contains(field), "{kind} {payload}: {failure:?} does not name {field}");
    }
    ada.fails("load_messages", json!({"conversationId": room, "before": 3, "after": 1}), "invalid_payload").await;
    assert!(history(&mut ada, &room).await.is_empty(), "what was refused left nothing");
}

#[tokio::test]
async fn invalid_text_wherever_a_string_has_a_nul() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let cases = [
        ("send_message", json!({"conversationId": room, "content": "a\0b"})),
        ("send_message", json!({"conversationId": room, "content": "x", "clientMessageId": "\0"})),
        ("send_message", json!({"conversationId": room, "content": "x", "future": "\0"})),
        ("create_group", json!({"name": "\0"})),
        ("create_conversation", json!({"memberIds": ["bob"], "title": "a\0"})),
        ("create_conversation", json!({"memberIds": ["bob\0"]})),
        ("join_group", json!({"inviteCode": "\0"})),
        ("load_conversations", json!({"cursor": "\0"})),
        ("ping", json!({"deep": [{"a": "\0"}]})),
        ("ping", json!({"a\0key": 1})),
        ("auth", json!({"token": "\0"})),
    ];
    for (kind, payload) in cases {
        ada.fails(kind, payload, "invalid_text").await;
    }
    assert!(history(&mut ada, &room).await.is_empty());
    let mut raw = Raw::login(&server, "ada").await;
    assert_refused(&mut raw, r#"{"type":"ping","requestId":"a\u0000"}"#, &["invalid_text", "invalid_envelope"]).await;
    assert_refused(&mut raw, r#"{"type":"ping","timestamp":"\u0000"}"#, &["invalid_text"]).await;
    assert_refused(&mut raw, r#"{"type":"pi\u0000ng"}"#, &["invalid_text", "unknown_type"]).await;
    // An escaped backslash before u0000 is six innocent characters.
    raw.text(r#"{"type":"ping","requestId":"raw","payload":{"a":"\\u0000"}}"#).await;
    assert_eq!(raw.receive().await["payload"], json!({"a": "\\u0000"}));
}

#[tokio::test]
async fn too_large() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let users = |n: usize| (0..n).map(|i| format!("u{i}")).collect::<Vec<_>>();
    let cases = [
        ("send_message", json!({"conversationId": room, "content": "x".repeat(4001)})),
        ("create_group", json!({"name": "x".repeat(101)})),
        ("create_group", json!({"name": "x", "memberIds": users(101)})),
        ("create_conversation", json!({"memberIds": users(101)})),
        ("create_conversation", json!({"memberIds": ["bob"], "title": "x".repeat(101)})),
    ];
    for (kind, payload) in cases {
        ada.fails(kind, payload, "too_large").await;
    }
    let made = ada.ok("create_conversation", json!({"memberIds": users(100)})).await;
    assert_eq!(made["conversation"]["memberCount"], json!(101));
}

#[tokio::test]
async fn unauthorized_before_authentication() {
    let server = Server::start(&[]).await;
    let mut stranger = Client::connect(&server).await;
    stranger.fails("load_conversations", json!({}), "unauthorized").await;
    stranger.ok("auth", json!({"token": token::mint("ada")})).await;
    stranger.ok("load_conversations", json!({})).await;
}

#[tokio::test]
async fn token_expired() {
    let server = Server::start(&[]).await;
    let mut client = Client::connect(&server).await;
    client.fails("auth", json!({"token": token::mint_until("ada", token::now() - 3600)}), "token_expired").await;
    assert_eq!(client.expect_close().await.0, 4501);
}

#[tokio::test]
async fn not_found_is_the_same_for_what_is_not_there_and_what_is_not_yours() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut eve = Client::login(&server, "eve").await;
    let (room, _) = group(&mut ada, &[]).await;
    let nowhere = "0190f0d8-0000-7000-8000-00000000000a";
    for kind in ["join_conversation", "leave_conversation", "load_messages", "typing_start", "typing_stop", "leave_group"] {
        let theirs = eve.fails(kind, json!({"conversationId": room}), "not_found").await;
        let none = eve.fails(kind, json!({"conversationId": nowhere}), "not_found").await;
        assert_eq!(theirs.message, none.message, "{kind} tells whether a conversation exists");
    }
    eve.fails("join_group", json!({"inviteCode": "wrong-code-wrong-code"}), "not_found").await;
}

#[tokio::test]
async fn forbidden() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let room = direct(&mut ada, "bob").await;
    ada.fails("leave_group", json!({"conversationId": room}), "forbidden").await;
    // Somebody else's token, good as it is, does not turn this connection into theirs.
    ada.fails("auth", json!({"token": token::mint("bob")}), "forbidden").await;
    let reply = ada.ok("auth", json!({"token": token::mint("ada")})).await;
    assert_eq!(reply["user"]["id"], json!("ada"));
    assert_eq!(say(&mut ada, &room, "still me").await["senderId"], json!("ada"));
}

#[tokio::test]
async fn conflict() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let first = say(&mut ada, &room, "first").await;
    let body = |content: &str| json!({"conversationId": room, "content": content, "clientMessageId": "c-1"});
    ada.ok("send_message", body("one")).await;
    ada.fails("send_message", body("another"), "conflict").await;
    let mut reply = body("one");
    reply["replyTo"] = first["id"].clone();
    ada.fails("send_message", reply, "conflict").await;
    assert_eq!(history(&mut ada, &room).await.len(), 2);
}

#[tokio::test]
async fn rate_limited_says_when_to_come_back() {
    let flags =
        [("--messages-per-second", "1"), ("--message-burst", "3"), ("--actions-per-second", "1"), ("--action-burst", "8")];
    let server = Server::start(&flags).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let mut refused = 0;
    for i in 0..12 {
        let request = json!({"conversationId": room, "content": format!("{i}")});
        if let Err(failure) = ada.request("send_message", request).await {
            assert_eq!(failure.code, "rate_limited");
            let wait = failure.retry_after_ms.expect("says when");
            assert!((1..=1000).contains(&wait), "{failure:?}");
            refused += 1;
        }
    }
    assert!((1..=9).contains(&refused), "a burst of three passes, twelve do not: {refused}");
    // The limit is the user's, so that a second connection does not double it, and others have their own.
    let mut second = Client::login(&server, "ada").await;
    second.fails("send_message", json!({"conversationId": room, "content": "x"}), "rate_limited").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut bob, &[]).await;
    say(&mut bob, &room, "mine").await;
    let mut limited = false;
    for _ in 0..20 {
        match bob.request("load_messages", json!({"conversationId": room})).await {
            Ok(_) => {}
            Err(failure) => limited |= failure.code == "rate_limited",
        }
    }
    assert!(limited, "actions have a rate too");
}

#[tokio::test]
async fn limit_exceeded_by_joined_conversations() {
    let server = Server::start(&[("--max-joined", "2")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(group(&mut ada, &[]).await.0);
    }
    join(&mut ada, &rooms[0]).await;
    join(&mut ada, &rooms[1]).await;
    // Joining again takes no further place.
    join(&mut ada, &rooms[1]).await;
    ada.fails("join_conversation", json!({"conversationId": rooms[2]}), "limit_exceeded").await;
    ada.ok("leave_conversation", json!({"conversationId": rooms[0]})).await;
    join(&mut ada, &rooms[2]).await;
    let mut second = Client::login(&server, "ada").await;
    join(&mut second, &rooms[0]).await;
}

#[tokio::test]
async fn limit_exceeded_by_members() {
    let server = Server::start(&[("--max-members", "3")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, code) = group(&mut ada, &["bob"]).await;
    Client::login(&server, "cyd").await.ok("join_group", json!({"inviteCode": code})).await;
    let mut dan = Client::login(&server, "dan").await;
    dan.fails("join_group", json!({"inviteCode": code}), "limit_exceeded").await;
    dan.fails("join_conversation", json!({"conversationId": room}), "not_found").await;
    ada.fails("create_group", json!({"name": "Big", "memberIds": ["b", "c", "d"]}), "limit_exceeded").await;
    // A member again is not one more.
    Client::login(&server, "bob").await.ok("join_group", json!({"inviteCode": code})).await;
}

#[tokio::test]
async fn limit_exceeded_by_conversations_of_a_member() {
    for database in ["sqlite", "memory:"] {
        let files = tempfile::TempDir::new().expect("a temporary directory");
        let url = if database == "sqlite" { format!("sqlite:{}/parlor.db", files.path().display()) } else { database.to_owned() };
        let server = Server::start(&[("--max-conversations-per-user", "2"), ("--database", &url)]).await;
        let mut ada = Client::login(&server, "ada").await;
        let mut bob = Client::login(&server, "bob").await;
        let direct = ada.ok("create_conversation", json!({"memberIds": ["bob"]})).await;
        let (room, code) = group(&mut bob, &[]).await;
        let (_, other_code) = group(&mut ada, &[]).await;
        for (action, payload) in [
            ("create_group", json!({"name": "One more", "memberIds": ["bob"]})),
            ("create_conversation", json!({"memberIds": ["bob", "cyd"]})),
            ("join_group", json!({"inviteCode": code})),
        ] {
            ada.fails(action, payload, "limit_exceeded").await;
        }
        let found = ada.ok("create_conversation", json!({"memberIds": ["bob"]})).await;
        assert_eq!(found["conversation"]["id"], direct["conversation"]["id"]);
        bob.fails("join_group", json!({"inviteCode": other_code}), "limit_exceeded").await;
        bob.ok("leave_group", json!({"conversationId": room})).await;
        bob.ok("join_group", json!({"inviteCode": other_code})).await;
    }
}

#[tokio::test]
async fn unavailable_while_the_store_cannot_write_and_a_retry_stores_once() {
    let files = tempfile::TempDir::new().expect("a temporary directory");
    let path = files.path().join("parlor.db");
    let url = format!("sqlite:{}", path.display());
    let server = Server::start(&[("--database", &url)]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    join(&mut ada, &room).await;
    let lock = rusqlite::Connection::open(&path).expect("the database can be opened");
    lock.execute_batch("BEGIN IMMEDIATE").expect("the write lock is free between two commits");
    let request = json!({"conversationId": room, "content": "x", "clientMessageId": "c-1"});
    ada.fails("send_message", request.clone(), "unavailable").await;
    // What is live goes on meanwhile.
    ada.ok("typing_start", json!({"conversationId": room})).await;
    ada.ping().await;
    lock.execute_batch("ROLLBACK").expect("the lock can be given back");
    loop {
        // The store may need a moment to find that the lock is gone; the error says that a retry is safe.
        match ada.request("send_message", request.clone()).await {
            Ok(_) => break,
            Err(failure) => assert_eq!(failure.code, "unavailable"),
        }
    }
    ada.next_event("message_created").await;
    assert_eq!(history(&mut ada, &room).await.len(), 1);
    assert_eq!(list(&ada.ok("load_conversations", json!({})).await, "conversations").len(), 1);
}

#[tokio::test]
async fn rate_limited_says_when_one_user_may_create_again() {
    let server = Server::start(&[("--creations-per-minute", "3")]).await;
    let mut ada = Client::login(&server, "ada").await;
    for _ in 0..2 {
        group(&mut ada, &[]).await;
    }
    ada.ok("create_conversation", json!({"memberIds": ["bob"]})).await;
    for (action, payload) in [("create_group", json!({"name": "x"})), ("create_conversation", json!({"memberIds": ["cyd"]}))] {
        let failure = ada.fails(action, payload, "rate_limited").await;
        assert!((1..=20_000).contains(&failure.retry_after_ms.expect("says when")));
    }
    let mut again = Client::login(&server, "ada").await;
    again.fails("create_group", json!({"name": "x"}), "rate_limited").await;
    let mut bob = Client::login(&server, "bob").await;
    group(&mut bob, &[]).await;
}
