//! The HTTP side: health, metrics, and upgrades that are refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Raw, Server, group, http, say, token, within};

#[tokio::test]
async fn health_and_readiness_answer_200() {
    let server = Server::start(&[]).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(server.address(), path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text_that_moves_with_what_happens() {
    let server = Server::start(&[]).await;
    let before = http::get(server.address(), "/metrics").await;
    assert_eq!(before.status, 200);
    assert!(before.header("content-type").is_some_and(|t| t.starts_with("text/plain")), "{:?}", before.headers);
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    say(&mut ada, &room, "not for the metrics").await;
    let after = http::get(server.address(), "/metrics").await.body;
    for line in after.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        assert!(name.starts_with("parlor_") || name.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert_ne!(before.body, after);
    for secret in ["not for the metrics", "ada", &room, token::SECRET] {
        assert!(!after.contains(secret), "labels have few values, and none of them private: {secret}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let server = Server::start(&[]).await;
    for path in ["/nowhere", "/ws/", "/WS", "/healthz/x", "/../etc/passwd"] {
        assert_eq!(http::get(server.address(), path).await.status, 404, "{path}");
    }
    let post = "POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(http::request(server.address(), post).await.status, 405);
}

/// A WebSocket upgrade with one header line put in place of another.
fn upgrade_with(replaced: &str, by: &str) -> String {
    let lines = [
        "GET /ws HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let kept = lines.iter().map(|line| if line.starts_with(replaced) { by } else { line });
    kept.filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).chain(["\r\n".to_owned()]).collect()
}

#[tokio::test]
async fn upgrades_that_are_none_are_refused_with_the_right_status() {
    let server = Server::start(&[]).await;
    let cases = [
        ("Sec-WebSocket-Key", "", 400),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: short", 400),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==", 400),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version", "", 426),
        ("Upgrade", "", 426),
    ];
    for (replaced, by, status) in cases {
        let response = http::request(server.address(), &upgrade_with(replaced, by)).await;
        assert_eq!(response.status, status, "{replaced} replaced by {by:?}");
        if replaced == "Sec-WebSocket-Version" {
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "RFC 6455 section 4.2.2");
        }
    }
    assert_eq!(http::get(server.address(), "/ws").await.status, 426);
    for (replaced, by) in [("Connection", ""), ("Connection", "Connection: close"), ("Upgrade", "Upgrade: h2c")] {
        let status = http::request(server.address(), &upgrade_with(replaced, by)).await.status;
        assert!([400, 426].contains(&status), "{replaced} replaced by {by:?}: {status}");
    }
}

#[tokio::test]
async fn the_subprotocol_is_echoed_when_it_is_offered_and_only_then() {
    let server = Server::start(&[]).await;
    for (offer, answer) in [
        (None, None),
        (Some("parlor.v1"), Some("parlor.v1")),
        (Some("chat, parlor.v1"), Some("parlor.v1")),
        (Some("chat"), None),
        (Some("parlor.v10"), None),
        // RFC 6455, section 11.3.4: names are compared as they are written.
        (Some("PARLOR.V1"), None),
        (Some("Parlor.v1, chat"), None),
    ] {
        let headers: Vec<(&str, &str)> = offer.map(|o| ("Sec-WebSocket-Protocol", o)).into_iter().collect();
        let (_, response) = Raw::upgrade(&server, &headers).await.expect("no subprotocol is needed");
        assert_eq!(response.header("sec-websocket-protocol"), answer, "{offer:?}");
    }
}

#[tokio::test]
async fn compression_is_offered_by_browsers_and_never_negotiated() {
    let server = Server::start(&[]).await;
    let offer = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let (_, response) = Raw::upgrade(&server, &[offer]).await.expect("an offer is no demand");
    assert_eq!(response.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn only_allowed_origins_may_upgrade() {
    let server = Server::start(&[("--allow-origin", "https://app.test")]).await;
    Raw::upgrade(&server, &[("Origin", "https://app.test")]).await.expect("allowed");
    // Browsers always send one; who sends none is no browser, and cross-site requests are not the danger.
    Raw::upgrade(&server, &[]).await.expect("no browser");
    let evil = ["https://app.test.evil", "http://app.test", "https://app.test:8443", "https://evil.test", "null", ""];
    for origin in evil {
        let refused = Raw::upgrade(&server, &[("Origin", origin)]).await.err();
        assert_eq!(refused.map(|r| r.status), Some(403), "{origin:?}");
    }
}

#[tokio::test]
async fn whatever_is_no_upgrade_is_the_last_on_its_socket() {
    let server = Server::start(&[("--allow-origin", "https://app.test")]).await;
    let refused = [
        upgrade_with("Host", "Host: x\r\nOrigin: https://evil.test"),
        upgrade_with("Host", "Host: x\r\nAuthorization: Bearer bad"),
        upgrade_with("Sec-WebSocket-Key", ""),
        upgrade_with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
        upgrade_with("GET", "POST /ws HTTP/1.1"),
    ];
    let plain =
        ["/healthz", "/readyz", "/metrics", "/nowhere", "/ws"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    for head in plain.iter().chain(&refused) {
        let mut raw = Raw::tcp(server.address()).await;
        raw.write(head.as_bytes()).await.expect("a fresh connection takes a request");
        let (mut stream, mut buffer) = raw.into_parts();
        let response = within("an HTTP response", http::read_response(&mut stream, &mut buffer)).await.expect("a response");
        assert_eq!(response.header("connection"), Some("close"), "{head}");
        let mut rest = Vec::new();
        within("the end", tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await.ok();
        assert!(rest.is_empty(), "{head}");
    }
}

#[tokio::test]
async fn a_socket_that_asks_on_and_on_and_reads_nothing_is_closed() {
    let server = Server::start(&[("--handshake-timeout", "1s")]).await;
    let mut raw = Raw::tcp(server.address()).await;
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    // A write fails only after the server has closed; were it merely not reading, the write would never end.
    while raw.write(many.as_bytes()).await.is_ok() {}
    assert_eq!(http::get(server.address(), "/healthz").await.status, 200);
    Client::login(&server, "ada").await.ping().await;
}

struct Spawn;

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// The other tests' frames and handshake are this suite's own; an independent implementation must get along too.
#[tokio::test]
async fn a_foreign_websocket_client_can_log_in_and_talk() {
    let server = Server::start(&[]).await;
    let stream = tokio::net::TcpStream::connect(server.address()).await.expect("the server accepts");
    let request = hyper::Request::get("/ws")
        .header("Host", server.address().to_string())
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", fastwebsockets::handshake::generate_key())
        .body(http_body_util::Empty::<hyper::body::Bytes>::new())
        .expect("a valid request");
    let (socket, _) = fastwebsockets::handshake::client(&Spawn, request, stream).await.expect("a good handshake");
    let mut socket = fastwebsockets::FragmentCollector::new(socket);
    let auth = json!({"type": "auth", "requestId": "1", "payload": {"token": token::mint("ada")}}).to_string();
    socket.write_frame(fastwebsockets::Frame::text(auth.into_bytes().into())).await.expect("open");
    let frame = within("the reply", socket.read_frame()).await.expect("a frame");
    let reply: Value = serde_json::from_slice(&frame.payload).expect("JSON");
    assert_eq!((&reply["type"], &reply["payload"]["user"]["id"]), (&json!("auth"), &json!("ada")));
    socket.write_frame(fastwebsockets::Frame::close(1000, b"")).await.expect("open");
    let frame = within("the close", socket.read_frame()).await.expect("a frame");
    assert_eq!(frame.opcode, fastwebsockets::OpCode::Close);
}

/// A crowd that reconnects at once comes faster than it is accepted. Past the backlog a client's SYN is dropped and sent again a second
/// later; here, where nothing is accepted meanwhile, it would be dropped each time.
#[tokio::test]
async fn a_crowd_that_comes_at_once_is_not_turned_away_by_the_kernel() {
    let server = Server::start(&[]).await;
    server.pause();
    let address = server.address();
    let connected = tokio::task::spawn_blocking(move || {
        let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(10));
        (0..1_000).map(connect).collect::<Result<Vec<_>, _>>().map(|sockets| sockets.len())
    });
    let connected = connected.await.unwrap();
    server.resume();
    assert_eq!(connected.expect("every connection is taken up by the kernel"), 1_000);
}
