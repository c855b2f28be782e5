//! Peers that cost much: slow ones, many, and storms. The others must not feel them, and what they took must come back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Frame, Opcode, Raw, Server, fence, group, http, join, say, token, within};

/// Sends `count` messages of 4,000 characters, a few dozen at a time. The sender need not have joined.
pub(crate) async fn flood(sender: &mut Client, room: &str, count: usize) {
    const WINDOW: usize = 50;
    let content = "x".repeat(4000);
    for _ in 0..count.div_ceil(WINDOW) {
        let mut ids = Vec::new();
        for _ in 0..WINDOW {
            ids.push(sender.send("send_message", json!({"conversationId": room, "content": content})).await);
        }
        for id in ids {
            sender.reply(&id).await.expect("a member may send");
        }
    }
}

/// How many such messages do not fit into the kernel's buffers any more, so that the server must keep what a reader does not take.
pub(crate) fn more_than_the_kernel_holds() -> usize {
    let largest = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").ok();
    let largest = largest.and_then(|text| text.split_whitespace().last()?.parse::<usize>().ok());
    largest.unwrap_or(4 << 20) / 4000 + 200
}

#[tokio::test]
async fn slow_reader_is_closed_without_delaying_the_room() {
    let server = Server::start(&[("--max-outbox-bytes", "131072"), ("--presence-grace", "100ms")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let mut slow = Client::over(Raw::connect_narrow(&server).await);
    slow.ok("auth", json!({"token": token::mint("slow")})).await;
    let (room, _) = group(&mut ada, &["bob", "slow"]).await;
    for client in [&mut ada, &mut bob, &mut slow] {
        join(client, &room).await;
    }
    let content = "x".repeat(4000);
    let mut worst = Duration::ZERO;
    for _ in 0..more_than_the_kernel_holds() {
        let start = Instant::now();
        let sent = say(&mut ada, &room, &content).await;
        let seen = bob.next_event("message_created").await;
        worst = worst.max(start.elapsed());
        assert_eq!(seen, sent);
    }
    assert!(worst < Duration::from_secs(5), "one message took {worst:?}");
    let gone = |p: &Value| p["userId"] == json!("slow") && p["status"] == json!("offline");
    ada.next_event_where("presence_changed", gone).await;
    slow.raw().expect_end().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_is_ended() {
    let server = Server::start(&[("--handshake-timeout", "300ms")]).await;
    for head in ["", "GET /ws HTTP/1.1\r\n", "GET /ws HTTP/1.1\r\nHost: x\r\nX-Endless: "] {
        let mut raw = Raw::tcp(server.address()).await;
        raw.write(head.as_bytes()).await.expect("a fresh connection");
        raw.expect_end_of_bytes().await;
    }
    // Dripping does not buy time either: the limit is the whole head's.
    let mut raw = Raw::tcp(server.address()).await;
    let (mut drips, mut ended) = (0u64, false);
    while !ended {
        raw.write(b"a").await.ok();
        drips += 1;
        // A read that waits a little paces the drips; only the end of the connection ends the loop.
        ended = tokio::time::timeout(Duration::from_millis(20), raw.expect_end_of_bytes()).await.is_ok();
        assert!(drips < 1_000, "a head of {drips} single bytes is still being waited for");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::tcp(server.address()).await;
    raw.write(format!("GET /ws HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(64 * 1024)).as_bytes()).await.ok();
    raw.expect_end_of_bytes().await;
    assert_eq!(http::get(server.address(), "/healthz").await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_refused_with_503_and_room_made_is_used() {
    let server = Server::start(&[("--max-connections", "3")]).await;
    let mut kept = Vec::new();
    for user in ["a", "b", "c"] {
        kept.push(Client::login(&server, user).await);
    }
    let refused = Raw::upgrade(&server, &[]).await.err().expect("one too many");
    assert_eq!(refused.status, 503);
    kept[0].ping().await;
    kept.remove(1).close().await;
    // The place is free once the server has put the closed one away, a moment after its socket ended.
    let newcomer = within("room for one more", async {
        loop {
            match Raw::upgrade(&server, &[]).await {
                Ok((raw, _)) => return raw,
                Err(refused) => assert_eq!(refused.status, 503),
            }
        }
    });
    Client::over(newcomer.await).ok("auth", json!({"token": token::mint("d")})).await;
}

#[tokio::test]
async fn a_burst_gets_exactly_as_many_connections_as_there_may_be() {
    const PLACES: usize = 10;
    let server = Server::start(&[("--max-connections", "10")]).await;
    let mut handshakes = Vec::new();
    for _ in 0..6 * PLACES {
        let mut raw = Raw::tcp(server.address()).await;
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address()
        );
        raw.write(head.as_bytes()).await.expect("a fresh connection takes a request");
        handshakes.push(raw.into_parts());
    }
    let mut statuses = Vec::new();
    // Kept to the end: a place that is given up is another's.
    for (stream, buffer) in &mut handshakes {
        let answer = within("the answer to a handshake", http::read_response(stream, buffer)).await;
        statuses.push(answer.expect("an answer").status);
    }
    assert_eq!(statuses.iter().filter(|&&status| status == 101).count(), PLACES);
    assert_eq!(statuses.iter().filter(|&&status| status == 503).count(), 5 * PLACES);
}

#[tokio::test]
async fn running_out_of_file_descriptors_ends_nobody_and_passes() {
    let server = Server::start_limited(&[], Some(64)).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let mut hoard = Vec::new();
    // More than the server can have open; those it cannot accept wait in the kernel's queue.
    for _ in 0..100 {
        hoard.push(Raw::tcp(server.address()).await);
    }
    for _ in 0..20 {
        say(&mut ada, &room, "still served").await;
    }
    assert!(server.is_running());
    drop(hoard);
    Client::login(&server, "bob").await.ping().await;
    ada.ping().await;
}

#[tokio::test]
async fn unanswered_requests_are_bounded_and_none_is_lost() {
    let server = Server::start(&[("--max-in-flight", "4")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let mut ids = Vec::new();
    for i in 0..200 {
        ids.push(ada.send("send_message", json!({"conversationId": room, "content": format!("{i}")})).await);
    }
    for (i, id) in ids.iter().enumerate() {
        let reply = ada.reply(id).await.expect("past the limit the server stops reading, not serving");
        assert_eq!(reply["message"]["seq"], json!(i + 1));
    }
}

#[tokio::test]
async fn a_client_that_asks_much_and_reads_nothing_ends_as_a_slow_consumer() {
    let server = Server::start(&[("--max-outbox-bytes", "65536"), ("--max-outbox-age", "1s")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["eve"]).await;
    flood(&mut ada, &room, 200).await;
    let mut eve = Raw::connect_narrow(&server).await;
    eve.request("auth", json!({"token": token::mint("eve")})).await;
    eve.receive().await;
    let page = json!({"type": "load_messages", "requestId": "raw", "payload": {"conversationId": room, "limit": 200}});
    let frame = Frame::new(Opcode::TEXT, page.to_string()).encode();
    // Each asks for most of a megabyte. Writing ends when the server has closed, or has stopped reading for good.
    let storm = async { while eve.write(&frame).await.is_ok() {} };
    let ended = tokio::time::timeout(Duration::from_secs(10), storm).await;
    say(&mut ada, &room, "the others do not feel it").await;
    drop(ended);
    eve.expect_end().await;
}

/// One connection of every kind of nuisance.
async fn nuisance(server: &Server, kind: usize) {
    match kind % 6 {
        0 => {
            let mut raw = Raw::connect(server).await;
            raw.declare(Opcode::TEXT, 1 << 40).await;
        }
        1 => {
            let mut raw = Raw::login(server, "eve").await;
            raw.declare(Opcode::TEXT, 60_000).await;
        }
        2 => {
            let mut raw = Raw::login(server, "eve").await;
            for _ in 0..60 {
                raw.send(Frame::unfinished(Opcode::TEXT, vec![b' '; 1000])).await;
            }
        }
        3 => {
            let mut raw = Raw::connect(server).await;
            raw.text(&"[".repeat(8_000)).await;
        }
        4 => {
            let mut raw = Raw::login(server, "eve").await;
            raw.text(&format!("{{\"type\":\"send_message\",\"payload\":{}", "{\"a\":".repeat(10_000))).await;
        }
        _ => drop(Raw::tcp(server.address()).await),
    }
}

#[tokio::test]
async fn memory_and_descriptors_come_back_after_a_storm() {
    const STORM: usize = 600;
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    // The first round warms up what is kept for good: buffers, tables, the allocator's arenas.
    for kind in 0..STORM {
        nuisance(&server, kind).await;
    }
    fence(&mut ada, &mut bob).await;
    let (memory, files) = (server.resident_kib(), open_files(&server));
    for _ in 0..3 {
        for kind in 0..STORM {
            nuisance(&server, kind).await;
        }
        fence(&mut ada, &mut bob).await;
    }
    let grown = server.resident_kib().saturating_sub(memory);
    assert!(grown < 16 * 1024, "grew by {grown} KiB from {memory} KiB");
    // Sockets that were dropped are noticed one by one; each look is a round trip later.
    within("the descriptors to come back", async {
        while open_files(&server) > files.min(40) + 10 {
            ada.ping().await;
        }
    })
    .await;
}

fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

#[tokio::test]
async fn silent_sockets_by_the_hundred_cost_little_and_delay_nobody() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let before = server.resident_kib();
    let mut silent = Vec::new();
    for i in 0..300 {
        silent.push(Raw::login(&server, &format!("silent-{i}")).await);
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 300 * 64, "{grown} KiB for 300 idle connections");
    let (room, _) = group(&mut ada, &[]).await;
    let start = Instant::now();
    say(&mut ada, &room, "x").await;
    assert!(start.elapsed() < Duration::from_secs(5));
}
