//! Who is online, and who is told.

use serde_json::{Value, json};

use crate::support::{Client, Frame, Opcode, Raw, Server, assert_fields, assert_timestamp, fence, group, join, list, say, token};

async fn presence_of(watcher: &mut Client, user: &str) -> Value {
    watcher.next_event_where("presence_changed", |p| p["userId"] == json!(user)).await
}

/// Somebody comes and goes, each seen by the watcher: the event of the going.
async fn visit(server: &Server, watcher: &mut Client, user: &str) -> Value {
    let visitor = Client::login(server, user).await;
    assert_eq!(presence_of(watcher, user).await["status"], json!("online"));
    visitor.close().await;
    let gone = presence_of(watcher, user).await;
    assert_eq!(gone["status"], json!("offline"));
    gone
}

async fn member(watcher: &mut Client, room: &str, user: &str) -> Value {
    let reply = join(watcher, room).await;
    list(&reply, "members").iter().find(|m| m["userId"] == json!(user)).cloned().expect("a member")
}

#[tokio::test]
async fn coming_and_going_is_announced_to_those_who_joined_a_common_room() {
    let server = Server::start(&[("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut idle = Client::login(&server, "idle").await;
    let mut eve = Client::login(&server, "eve").await;
    let (room, _) = group(&mut ada, &["bob", "idle"]).await;
    let before = member(&mut ada, &room, "bob").await;
    assert_eq!(before["status"], json!("offline"));
    assert!(before.get("lastSeenAt").is_none(), "never seen: {before}");

    let bob = Client::login(&server, "bob").await;
    let online = presence_of(&mut ada, "bob").await;
    assert_fields(&online, &["userId", "status"], &[]);
    assert_eq!(online["status"], json!("online"));
    let during = member(&mut ada, &room, "bob").await;
    assert_eq!((&during["status"], during.get("lastSeenAt")), (&json!("online"), None));

    bob.close().await;
    let offline = presence_of(&mut ada, "bob").await;
    assert_fields(&offline, &["userId", "status", "lastSeenAt"], &[]);
    assert_eq!(offline["status"], json!("offline"));
    assert_timestamp(&offline["lastSeenAt"]);
    let after = member(&mut ada, &room, "bob").await;
    assert_eq!((&after["status"], &after["lastSeenAt"]), (&json!("offline"), &offline["lastSeenAt"]));

    fence(&mut ada, &mut idle).await;
    fence(&mut ada, &mut eve).await;
    idle.assert_none(&["presence_changed"]);
    eve.assert_none(&["presence_changed"]);
}

#[tokio::test]
async fn a_connection_that_breaks_off_counts_as_gone() {
    let server = Server::start(&[("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut ada, &room).await;
    let bob = Client::login(&server, "bob").await;
    assert_eq!(presence_of(&mut ada, "bob").await["status"], json!("online"));
    drop(bob);
    assert_eq!(presence_of(&mut ada, "bob").await["status"], json!("offline"));
}

#[tokio::test]
async fn a_user_is_online_until_the_last_of_several_connections_ends() {
    let server = Server::start(&[("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob", "cyd"]).await;
    join(&mut ada, &room).await;
    // More than there are workers, so that they are spread over all of them.
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(Client::login(&server, "bob").await);
    }
    assert_eq!(presence_of(&mut ada, "bob").await["status"], json!("online"));
    let last = connections.pop();
    for connection in connections {
        connection.close().await;
    }
    // Another user who comes and goes after them tells when an absence of the first would have been announced.
    visit(&server, &mut ada, "cyd").await;
    ada.assert_none(&["presence_changed"]);
    drop(last);
    assert_eq!(presence_of(&mut ada, "bob").await["status"], json!("offline"));
}

#[tokio::test]
async fn a_reload_within_the_grace_is_no_absence() {
    let server = Server::start(&[("--presence-grace", "2s")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob", "cyd"]).await;
    join(&mut ada, &room).await;
    let bob = Client::login(&server, "bob").await;
    let cyd = Client::login(&server, "cyd").await;
    for user in ["bob", "cyd"] {
        assert_eq!(presence_of(&mut ada, user).await["status"], json!("online"));
    }
    bob.close().await;
    let _bob = Client::login(&server, "bob").await;
    cyd.close().await;
    // Went after the reload, so announced after the reload would have been.
    assert_eq!(presence_of(&mut ada, "cyd").await["status"], json!("offline"));
    ada.assert_none(&["presence_changed"]);
    assert_eq!(member(&mut ada, &room, "bob").await["status"], json!("online"));
}

#[tokio::test]
async fn a_connection_that_never_authenticated_makes_nobody_online() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let mut stranger = Client::connect(&server).await;
    stranger.fails("auth", json!({"token": "bad"}), "unauthorized").await;
    stranger.expect_close().await;
    assert_eq!(member(&mut ada, &room, "bob").await["status"], json!("offline"));
}

#[tokio::test]
async fn presence_in_several_common_rooms_is_told_once() {
    let server = Server::start(&[("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    for _ in 0..4 {
        let (room, _) = group(&mut ada, &["bob", "cyd"]).await;
        join(&mut ada, &room).await;
    }
    visit(&server, &mut ada, "bob").await;
    visit(&server, &mut ada, "cyd").await;
    ada.assert_none(&["presence_changed"]);
}

#[tokio::test]
async fn when_somebody_was_last_seen_survives_a_restart() {
    let mut server = Server::start(&[("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut ada, &room).await;
    let offline = visit(&server, &mut ada, "bob").await;
    server.terminate();
    server.restart().await;
    let mut ada = Client::login(&server, "ada").await;
    assert_eq!(member(&mut ada, &room, "bob").await["lastSeenAt"], offline["lastSeenAt"]);
}

/// Milliseconds since midnight of a server's timestamp.
fn millis_of_day(timestamp: &Value) -> i64 {
    let text = timestamp.as_str().expect("a timestamp");
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1000 + number(20..23)
}

/// What the server's clock says.
async fn server_time(raw: &mut Raw) -> Value {
    raw.request("ping", json!({})).await;
    raw.receive().await["timestamp"].clone()
}

#[tokio::test]
async fn last_seen_is_when_the_last_connection_went_and_not_when_the_grace_was_over() {
    let server = Server::start(&[("--presence-grace", "2s")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut ada, &room).await;
    let mut clock = Raw::login(&server, "clock").await;
    let mut bob = Raw::login(&server, "bob").await;
    assert_eq!(presence_of(&mut ada, "bob").await["status"], json!("online"));
    let before = server_time(&mut bob).await;
    bob.send(Frame::new(Opcode::CLOSE, 1000u16.to_be_bytes())).await;
    bob.expect_end().await;
    let after = server_time(&mut clock).await;
    let offline = presence_of(&mut ada, "bob").await;
    assert_eq!(offline["status"], json!("offline"));
    const DAY: i64 = 86_400_000;
    let since = |earlier: &Value, later: &Value| (millis_of_day(later) - millis_of_day(earlier)).rem_euclid(DAY);
    // The two clocks that it is worked out from are cut to milliseconds each.
    let (seen, went) = (since(&before, &offline["lastSeenAt"]), since(&before, &after));
    assert!((seen + 2) % DAY <= went + 4, "{offline} is not between {before} and {after}");
    let member = member(&mut ada, &room, "bob").await;
    assert_eq!(member["lastSeenAt"], offline["lastSeenAt"]);
}

#[tokio::test]
async fn a_new_name_in_a_refreshed_token_is_that_of_messages_and_member_lists() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut rooms = Vec::new();
    for _ in 0..4 {
        let (room, _) = group(&mut ada, &["bob"]).await;
        assert_eq!(member(&mut ada, &room, "bob").await["name"], json!(token::name("bob")));
        rooms.push(room);
    }
    let claims = json!({"sub": "bob", "name": "Robert", "exp": token::now() + 3600});
    let auth = bob.ok("auth", json!({"token": token::sign(&claims)})).await;
    assert_eq!(auth["user"], json!({"id": "bob", "name": "Robert"}));
    for room in &rooms {
        assert_eq!(say(&mut bob, room, "x").await["senderName"], json!("Robert"));
        // The room hears of the name before it hears of the message.
        assert_eq!(ada.next_event("message_created").await["senderName"], json!("Robert"));
        assert_eq!(member(&mut ada, room, "bob").await["name"], json!("Robert"));
    }
}
