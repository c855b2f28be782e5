//! What one reply and one connection may cost: bytes as they are encoded, memory, writes.

use serde_json::{Value, json};

use crate::hostile_load::{flood, more_than_the_kernel_holds};
use crate::support::{Client, Frame, Opcode, Raw, Server, group, history, http, join, list, number, say, text, token, within};

/// What PROTOCOL.md calls about 512 KiB.
const PAGE_BYTES: usize = 512 * 1024;

/// The longest content by its encoding: 4,000 characters, each of which becomes six bytes.
fn escaped() -> String {
    "\u{1}".repeat(4000)
}

/// Checks that a reply was ended by its bytes: close to what it may have, and not past it.
#[track_caller]
fn assert_full(reply: &Value) {
    // The server escapes as this does.
    let bytes = reply.to_string().len();
    assert!((PAGE_BYTES * 9 / 10..PAGE_BYTES + 4096).contains(&bytes), "{bytes} bytes");
}

/// A conversation with forty messages that are long only on the wire: almost two pages' worth.
async fn long_conversation(ada: &mut Client) -> String {
    let (room, _) = group(ada, &["bob"]).await;
    for _ in 0..40 {
        say(ada, &room, &escaped()).await;
    }
    room
}

fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| number(message, "seq")).collect()
}

#[tokio::test]
async fn a_page_of_messages_ends_by_its_encoded_bytes_and_goes_on_without_a_gap() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let room = long_conversation(&mut ada).await;
    for page in [json!({}), json!({"after": 0}), json!({"before": 41})] {
        let mut request = json!({"conversationId": room, "limit": 200});
        request.as_object_mut().expect("an object").extend(page.as_object().expect("an object").clone());
        let reply = ada.ok("load_messages", request).await;
        assert_full(&reply);
        assert_eq!(reply["hasMore"], json!(true));
    }
    let all: Vec<u64> = (1..=40).collect();
    assert_eq!(seqs(&history(&mut ada, &room).await), all, "forwards");
    let (mut before, mut backwards) = (41, Vec::new());
    loop {
        let page = ada.ok("load_messages", json!({"conversationId": room, "before": before, "limit": 200})).await;
        let messages = list(&page, "messages");
        before = number(&messages[0], "seq");
        backwards.splice(0..0, seqs(messages));
        if page["hasMore"] == json!(false) {
            break;
        }
    }
    assert_eq!(backwards, all, "backwards");
}

#[tokio::test]
async fn a_page_of_conversations_ends_by_its_encoded_bytes_and_goes_on_at_its_cursor() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut expected = Vec::new();
    for _ in 0..50 {
        let (room, _) = group(&mut ada, &[]).await;
        say(&mut ada, &room, &escaped()).await;
        expected.insert(0, room);
    }
    let (mut seen, mut pages, mut request) = (Vec::new(), 0, json!({"limit": 100}));
    loop {
        pages += 1;
        let reply = ada.ok("load_conversations", request.clone()).await;
        seen.extend(list(&reply, "conversations").iter().map(|conversation| text(conversation, "id")));
        let Some(next) = reply.get("nextCursor") else { break };
        assert_full(&reply);
        request["cursor"] = next.clone();
    }
    assert_eq!((seen, pages), (expected, 3), "1.2 MB in pages of half a MiB");
}

#[tokio::test]
async fn a_recovery_of_too_many_bytes_is_said_to_be_none_and_gives_the_latest() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let room = long_conversation(&mut ada).await;
    let fresh = join(&mut ada, &room).await;
    assert_full(&json!(fresh["events"]));
    let since = |seq: u64| json!({"conversationId": room, "since": {"epoch": fresh["epoch"], "seq": seq}});
    for seq in [0, 10] {
        // That the events end at the head, without a gap, is checked for every join.
        let reply = ada.ok("join_conversation", since(seq)).await;
        assert_eq!(reply["recovered"], json!(false), "since {seq}");
        assert_full(&json!(reply["events"]));
    }
    let reply = ada.ok("join_conversation", since(25)).await;
    assert_eq!((&reply["recovered"], list(&reply, "events").len()), (&json!(true), 15));
}

#[tokio::test]
async fn one_that_is_longer_than_a_page_comes_all_the_same() {
    let server = Server::start(&[("--max-content-chars", "0"), ("--max-message-bytes", "1m")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let huge = "x".repeat(PAGE_BYTES + 1);
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let (room, _) = group(&mut ada, &[]).await;
        for _ in 0..2 {
            say(&mut ada, &room, &huge).await;
        }
        rooms.push(room);
    }
    let room = &rooms[0];
    assert_eq!(seqs(&history(&mut ada, room).await), [1, 2]);
    let latest = ada.ok("load_messages", json!({"conversationId": room})).await;
    assert_eq!((seqs(list(&latest, "messages")), &latest["hasMore"]), (vec![2], &json!(true)));
    let first = ada.ok("load_conversations", json!({})).await;
    assert_eq!(list(&first, "conversations").len(), 1);
    let second = ada.ok("load_conversations", json!({"cursor": first["nextCursor"]})).await;
    assert_eq!((&second["conversations"][0]["id"], second.get("nextCursor")), (&json!(room), None));
    let fresh = join(&mut ada, room).await;
    assert_eq!(list(&fresh, "events").len(), 1, "the latest");
    let since = json!({"conversationId": room, "since": {"epoch": fresh["epoch"], "seq": 1}});
    let recovered = ada.ok("join_conversation", since).await;
    assert_eq!((&recovered["recovered"], list(&recovered, "events").len()), (&json!(true), 1));
}

/// The frame that asks for the newest page of a conversation.
fn page_request(room: &str) -> Vec<u8> {
    let page = json!({"type": "load_messages", "requestId": "raw", "payload": {"conversationId": room, "limit": 25}});
    Frame::new(Opcode::TEXT, page.to_string()).encode()
}

/// A narrow connection of `user`, logged in.
async fn login_narrow(server: &Server, user: &str) -> Raw {
    let mut raw = Raw::connect_narrow(server).await;
    raw.request("auth", json!({"token": token::mint(user)})).await;
    assert_eq!(raw.receive().await["type"], "auth");
    raw
}

#[tokio::test]
async fn answers_that_nobody_reads_cost_bounded_memory_and_delay_nobody() {
    const GREEDY: u64 = 4;
    let server = Server::start(&[("--max-outbox-age", "10m")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let room = long_conversation(&mut ada).await;
    // What is kept for good is there before it is measured: one of everything, eight at a time.
    for _ in 0..3 {
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(ada.send("load_messages", json!({"conversationId": room, "limit": 25})).await);
        }
        for id in ids {
            ada.reply(&id).await.expect("a member may read");
        }
    }
    let before = server.resident_kib();
    // More than may be in flight, so that each connection is paused whatever a request counts for.
    let storm = page_request(&room).repeat(100);
    let mut greedy = Vec::new();
    for _ in 0..GREEDY {
        let mut raw = login_narrow(&server, "bob").await;
        raw.write(&storm).await.expect("the kernel takes it");
        greedy.push(raw);
    }
    within("the pauses", async { while http::metric(server.address(), "parlor_pauses_total").await < GREEDY {} }).await;
    // What was taken in before the pauses is answered behind what others ask for later.
    let mut most = 0;
    for _ in 0..40 {
        ada.ok("load_messages", json!({"conversationId": room, "limit": 25})).await;
        say(&mut ada, &room, "still served").await;
        most = most.max(server.resident_kib());
    }
    let grown = most.saturating_sub(before);
    println!("{grown} KiB more for {GREEDY} connections, from {before} KiB");
    // A page counts for eight of 64 requests in flight: eight pages of half a MiB for each connection, and half as much again.
    assert!(grown < GREEDY * 8 * 512 * 3 / 2, "grew by {grown} KiB from {before} KiB");
}

#[tokio::test]
async fn answers_that_were_read_are_no_credit_for_events_that_are_not() {
    const PAGES: u64 = 40;
    const CLOSES: &str = r#"parlor_closes_total{code="4003"}"#;
    let server = Server::start(&[("--max-outbox-bytes", "128k"), ("--max-outbox-age", "10m"), ("--max-in-flight", "0")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let room = long_conversation(&mut ada).await;
    // Both of one user, so of one worker: what this one gets, the slow one has been given.
    let mut watch = Client::login(&server, "bob").await;
    let mut slow = login_narrow(&server, "bob").await;
    join(&mut watch, &room).await;
    slow.request("join_conversation", json!({"conversationId": room, "limit": 1})).await;
    assert_eq!(slow.receive().await["type"], "join_conversation");
    let asked = http::metric(server.address(), "parlor_requests_total").await;
    slow.write(&page_request(&room).repeat(PAGES as usize)).await.expect("the kernel takes it");
    let reads = async { while http::metric(server.address(), "parlor_requests_total").await < asked + PAGES {} };
    within("the requests to be read", reads).await;
    // Answered last, so that all of them are. Twenty megabytes, of which all but eight are read: more than the kernel takes, so
    // that something always waits.
    watch.ok("load_messages", json!({"conversationId": room, "limit": 25})).await;
    for _ in 0..PAGES - 16 {
        assert_eq!(slow.receive().await["type"], "load_messages");
    }
    let content = "x".repeat(4000);
    let mut closes = Vec::new();
    for messages in [16, 32] {
        for _ in 0..messages {
            say(&mut ada, &room, &content).await;
            watch.next_event("message_created").await;
        }
        // What this asks is written in a later turn than the last event.
        watch.ping().await;
        closes.push(http::metric(server.address(), CLOSES).await);
    }
    assert_eq!(closes, [0, 1], "after half of what may wait, and after half as much again as may");
    assert_eq!(slow.expect_close().await, (4003, "slow_consumer".to_owned()));
}

#[tokio::test]
async fn a_reader_that_is_stuck_costs_no_write_for_each_message() {
    const MESSAGES: u64 = 200;
    const WRITES: &str = "parlor_writes_total";
    let flags = [("--max-outbox-bytes", "64m"), ("--max-outbox-age", "10m"), ("--workers", "1"), ("--database", "memory:")];
    let server = Server::start(&flags).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let mut stuck = login_narrow(&server, "bob").await;
    stuck.request("join_conversation", json!({"conversationId": room})).await;
    assert_eq!(stuck.receive().await["type"], "join_conversation");
    flood(&mut ada, &room, more_than_the_kernel_holds()).await;
    join(&mut ada, &room).await;
    let before = http::metric(server.address(), WRITES).await;
    for _ in 0..MESSAGES {
        say(&mut ada, &room, "x").await;
    }
    let writes = http::metric(server.address(), WRITES).await - before;
    // One for each message, with the reply and the event in it.
    assert!(writes < MESSAGES * 5 / 4, "{writes} writes for {MESSAGES} messages and one who reads them");
}

#[tokio::test]
async fn nobody_waits_while_the_kernel_clears_a_huge_page() {
    assert!(!Server::start(&[]).await.may_have_huge_pages());
}
