//! Bytes that no good client sends: each ends with its close code, and costs nobody else anything.

use serde_json::json;

use crate::support::{Frame, Opcode, Raw, Server, within};

/// Sends each of `attacks` on a fresh authenticated connection and expects `code`.
async fn assert_closes(attacks: Vec<(&str, Vec<u8>)>, code: u16) {
    let server = Server::start(&[]).await;
    let mut bystander = Raw::login(&server, "bystander").await;
    for (name, bytes) in attacks {
        let mut raw = Raw::login(&server, "eve").await;
        raw.write(&bytes).await.expect("the connection is open");
        assert_eq!(raw.expect_close().await.0, code, "{name}");
    }
    bystander.request("ping", json!({})).await;
    assert_eq!(bystander.receive().await["type"], "ping");
}

fn frame(first: u8, payload: impl Into<Vec<u8>>) -> Vec<u8> {
    Frame { first, payload: payload.into() }.encode()
}

fn both(one: Vec<u8>, other: Vec<u8>) -> Vec<u8> {
    [one, other].concat()
}

const HELLO: &str = r#"{"type":"ping","requestId":"raw"}"#;

#[tokio::test]
async fn frames_that_rfc_6455_forbids_are_protocol_errors() {
    let unfinished = || Frame::unfinished(Opcode::TEXT, r#"{"type":"#).encode();
    let attacks = vec![
        ("unmasked text", Frame::new(Opcode::TEXT, HELLO).encode_unmasked()),
        ("unmasked ping", Frame::new(Opcode::PING, "").encode_unmasked()),
        ("unmasked close", Frame::new(Opcode::CLOSE, 1000u16.to_be_bytes()).encode_unmasked()),
        ("reserved bit 1, as of compression", frame(0xc1, HELLO)),
        ("reserved bit 2", frame(0xa1, HELLO)),
        ("reserved bit 3", frame(0x91, HELLO)),
        ("reserved bit on a ping", frame(0xc9, "")),
        ("reserved data opcode", frame(0x83, HELLO)),
        ("reserved control opcode", frame(0x8b, "")),
        ("long ping", frame(0x89, vec![b'x'; 126])),
        ("long pong", frame(0x8a, vec![b'x'; 126])),
        ("long close", frame(0x88, [&1000u16.to_be_bytes()[..], &[b'x'; 124]].concat())),
        ("fragmented ping", frame(0x09, "")),
        ("fragmented close", frame(0x08, 1000u16.to_be_bytes())),
        ("continuation of nothing", frame(0x80, HELLO)),
        ("text inside a text", both(unfinished(), frame(0x81, HELLO))),
        ("length of 64 bits with the top bit set", both(vec![0x81, 0xff, 0x80], vec![0; 11])),
        ("short length in 16 bits", both(vec![0x81, 0x80 | 126, 0, 5, 0, 0, 0, 0], b"hello".to_vec())),
        ("short length in 64 bits", both(vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0], b"hello".to_vec())),
    ];
    assert_closes(attacks, 1002).await;
}

#[tokio::test]
async fn closes_that_rfc_6455_forbids_are_protocol_errors() {
    let mut attacks = vec![("one byte", frame(0x88, [3]))];
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        attacks.push(("an illegal code", frame(0x88, code.to_be_bytes())));
    }
    assert_closes(attacks, 1002).await;
}

#[tokio::test]
async fn a_close_reason_must_be_utf8() {
    assert_closes(vec![("a bad reason", frame(0x88, *b"\x03\xe8\xff\xfe"))], 1007).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_1007() {
    let split = |first: &[u8], second: &[u8]| {
        both(Frame::unfinished(Opcode::TEXT, first).encode(), Frame::new(Opcode::CONTINUATION, second).encode())
    };
    let attacks = vec![
        ("a stray byte", frame(0x81, *b"{\"type\":\"\xff\"}")),
        ("overlong", frame(0x81, *b"\"\xc0\xaf\"")),
        ("a surrogate", frame(0x81, *b"\"\xed\xa0\x80\"")),
        ("beyond Unicode", frame(0x81, *b"\"\xf4\x90\x80\x80\"")),
        ("cut off", frame(0x81, *b"\"\xe2\x82")),
        ("cut off by the last fragment", split(b"\"\xe2", b"\x82")),
    ];
    assert_closes(attacks, 1007).await;
}

#[tokio::test]
async fn a_character_split_between_fragments_is_whole_again() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    let text = r#"{"type":"ping","requestId":"raw","payload":{"a":"€"}}"#.as_bytes();
    // Byte by byte, with a ping between, and an empty fragment at the end.
    for (i, byte) in text.iter().enumerate() {
        let opcode = if i == 0 { Opcode::TEXT } else { Opcode::CONTINUATION };
        raw.send(Frame::unfinished(opcode, [*byte])).await;
    }
    raw.send(Frame::new(Opcode::PING, "between")).await;
    raw.send(Frame::new(Opcode::CONTINUATION, "")).await;
    let pong = within("a pong", raw.frame()).await.expect("stays open");
    assert_eq!((pong.opcode(), &pong.payload[..]), (Opcode::PONG, &b"between"[..]));
    assert_eq!(raw.receive().await["payload"], json!({"a": "€"}));
}

#[tokio::test]
async fn frames_may_arrive_in_any_pieces() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    let long = json!({"type": "ping", "requestId": "raw", "payload": {"a": "x".repeat(300)}}).to_string();
    let bytes = both(Frame::new(Opcode::TEXT, &*long).encode(), frame(0x81, HELLO));
    for byte in bytes {
        raw.write(&[byte]).await.expect("the connection is open");
    }
    for _ in 0..2 {
        assert_eq!(raw.receive().await["type"], "ping");
    }
    // And a hundred frames may arrive in one piece.
    raw.write(&frame(0x81, HELLO).repeat(100)).await.expect("the connection is open");
    for _ in 0..100 {
        assert_eq!(raw.receive().await["type"], "ping");
    }
}

#[tokio::test]
async fn frames_sent_with_the_handshake_are_not_lost() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::tcp(server.address()).await;
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address()
    );
    raw.write(&both(head.into_bytes(), frame(0x81, HELLO))).await.expect("a fresh connection");
    let (mut stream, mut buffer) = raw.into_parts();
    let response = within("101", crate::support::http::read_response(&mut stream, &mut buffer)).await.expect("a response");
    assert_eq!(response.status, 101);
    let reply = within("the reply", async {
        loop {
            if let Some(frame) = Frame::decode(&mut buffer) {
                return frame;
            }
            tokio::io::AsyncReadExt::read_buf(&mut stream, &mut buffer).await.expect("stays open");
        }
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&reply.await.payload).expect("JSON")["type"], "ping");
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_1009_before_a_byte_of_it_comes() {
    let server = Server::start(&[]).await;
    for length in [64 * 1024 + 1, 1 << 30, (1 << 63) - 1] {
        let mut raw = Raw::login(&server, "eve").await;
        raw.declare(Opcode::TEXT, length).await;
        assert_eq!(raw.expect_close().await.0, 1009, "{length}");
    }
    let mut stranger = Raw::connect(&server).await;
    stranger.declare(Opcode::TEXT, 8 * 1024 + 1).await;
    assert_eq!(stranger.expect_close().await.0, 1009, "a stranger gets less");
}

#[tokio::test]
async fn messages_up_to_the_limit_are_taken() {
    let server = Server::start(&[]).await;
    for (mut raw, limit) in [(Raw::connect(&server).await, 8 * 1024), (Raw::login(&server, "ada").await, 64 * 1024)] {
        let mut text = HELLO.to_owned();
        text.push_str(&" ".repeat(limit - text.len()));
        raw.text(&text).await;
        assert_eq!(raw.receive().await["type"], "ping");
        // The limit is the reassembled message's too.
        raw.send(Frame::unfinished(Opcode::TEXT, &*text)).await;
        raw.send(Frame::new(Opcode::CONTINUATION, " ")).await;
        assert_eq!(raw.expect_close().await.0, 1009);
    }
}

#[tokio::test]
async fn too_many_fragments_are_1009_even_when_they_are_empty() {
    let server = Server::start(&[("--max-fragments", "8")]).await;
    for payload in ["", " "] {
        let mut raw = Raw::login(&server, "eve").await;
        raw.send(Frame::unfinished(Opcode::TEXT, HELLO)).await;
        for _ in 0..6 {
            raw.send(Frame::unfinished(Opcode::CONTINUATION, payload)).await;
        }
        raw.send(Frame::new(Opcode::CONTINUATION, payload)).await;
        assert_eq!(raw.receive().await["type"], "ping", "eight are within the limit");
        raw.send(Frame::unfinished(Opcode::TEXT, HELLO)).await;
        for _ in 0..8 {
            raw.send(Frame::unfinished(Opcode::CONTINUATION, payload)).await;
        }
        assert_eq!(raw.expect_close().await.0, 1009);
    }
}

#[tokio::test]
async fn pings_are_answered_with_their_own_payload() {
    let server = Server::start(&[]).await;
    for mut raw in [Raw::connect(&server).await, Raw::login(&server, "ada").await] {
        for payload in [vec![], vec![0, 255, 7], vec![b'x'; 125]] {
            raw.send(Frame::new(Opcode::PING, payload.clone())).await;
            let pong = within("a pong", raw.frame()).await.expect("stays open");
            assert_eq!((pong.opcode(), pong.payload), (Opcode::PONG, payload));
        }
        // A pong that nobody asked for is legal and unanswered.
        raw.send(Frame::new(Opcode::PONG, "unasked")).await;
        raw.request("ping", json!({})).await;
        assert_eq!(raw.receive().await["type"], "ping");
    }
}

#[tokio::test]
async fn what_follows_a_close_is_not_done() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    let close = Frame::new(Opcode::CLOSE, 1000u16.to_be_bytes()).encode();
    let late = Frame::new(Opcode::TEXT, r#"{"type":"create_group","payload":{"name":"late"}}"#).encode();
    raw.write(&both(close, late)).await.expect("the connection is open");
    assert_eq!(raw.expect_close().await.0, 1000);
    let mut again = crate::support::Client::login(&server, "ada").await;
    assert_eq!(again.ok("load_conversations", json!({})).await, json!({"conversations": []}));
}

#[tokio::test]
async fn arbitrary_bytes_end_one_connection_and_nothing_else() {
    let mut random = fastrand::Rng::with_seed(crate::support::seed());
    let server = Server::start(&[]).await;
    let mut bystander = Raw::login(&server, "bystander").await;
    for _ in 0..60 {
        let mut raw = Raw::login(&server, "eve").await;
        let bytes: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        raw.write(&bytes).await.ok();
        // Some of it is a frame that never ends: an end of ours must then do.
        raw.write(&Frame::new(Opcode::CLOSE, "").encode()).await.ok();
        drop(raw);
    }
    bystander.request("ping", json!({})).await;
    assert_eq!(bystander.receive().await["type"], "ping");
}
