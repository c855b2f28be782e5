//! Every close code by its name and number. 4000 has more in `drain`, 4501 in `hostile_auth`, frames in `hostile_frames`.

use serde_json::json;

use crate::hostile_load::{flood, more_than_the_kernel_holds};
use crate::support::{Client, Frame, Opcode, Raw, Server, fence, group, join, token};

fn close(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn a_normal_close_is_answered_with_the_same_code() {
    let server = Server::start(&[]).await;
    for payload in [&[][..], &1000u16.to_be_bytes(), b"\x03\xe8bye", &4321u16.to_be_bytes()] {
        let mut raw = Raw::login(&server, "ada").await;
        raw.send(Frame::new(Opcode::CLOSE, payload)).await;
        let answer = crate::support::within("the answer to a close", raw.frame()).await.expect("a close is answered");
        assert_eq!(answer.opcode(), Opcode::CLOSE);
        assert!(answer.payload.len() < 2 || answer.payload[..2] == payload[..2], "{:?}", answer.payload);
        raw.expect_end().await;
    }
}

#[tokio::test]
async fn protocol_error_1002() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    raw.write(&Frame::new(Opcode::TEXT, "{}").encode_unmasked()).await.expect("the connection is open");
    assert_eq!(raw.expect_close().await.0, 1002);
}

#[tokio::test]
async fn unsupported_data_1003() {
    let server = Server::start(&[]).await;
    for mut raw in [Raw::connect(&server).await, Raw::login(&server, "ada").await] {
        raw.send(Frame::new(Opcode::BINARY, "{}")).await;
        assert_eq!(raw.expect_close().await.0, 1003);
    }
    // By its first byte: nothing else about the message matters, also when it is unfinished.
    let mut raw = Raw::login(&server, "ada").await;
    raw.send(Frame::unfinished(Opcode::BINARY, "")).await;
    assert_eq!(raw.expect_close().await.0, 1003);
}

#[tokio::test]
async fn invalid_utf8_1007() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    raw.send(Frame::new(Opcode::TEXT, &b"{\"type\":\"ping\xff\"}"[..])).await;
    assert_eq!(raw.expect_close().await.0, 1007);
}

#[tokio::test]
async fn message_too_big_1009() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::login(&server, "ada").await;
    raw.declare(Opcode::TEXT, 64 * 1024 + 1).await;
    assert_eq!(raw.expect_close().await.0, 1009);
}

#[tokio::test]
async fn draining_4000() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    server.terminate();
    assert_eq!(ada.expect_close().await, close(4000, "draining"));
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn token_expired_4001_after_its_grace() {
    let server = Server::start(&[("--token-grace", "1s"), ("--token-warning", "1s")]).await;
    let mut ada = Client::connect(&server).await;
    let exp = token::now() + 2;
    ada.ok("auth", json!({"token": token::mint_until("ada", exp)})).await;
    assert_eq!(ada.expect_close().await, close(4001, "token_expired"));
    assert!(token::now() >= exp, "not before the token is over");
}

#[tokio::test]
async fn a_refreshed_token_is_not_closed_when_the_first_one_ends() {
    let server = Server::start(&[("--token-grace", "1s"), ("--token-warning", "1s")]).await;
    let mut refreshed = Client::connect(&server).await;
    let mut left = Client::connect(&server).await;
    let exp = token::now() + 2;
    refreshed.ok("auth", json!({"token": token::mint_until("ada", exp)})).await;
    left.ok("auth", json!({"token": token::mint_until("ada", exp)})).await;
    refreshed.ok("auth", json!({"token": token::mint("ada")})).await;
    // The connection that kept the same token tells when the time has come.
    assert_eq!(left.expect_close().await.0, 4001);
    refreshed.ping().await;
}

#[tokio::test]
async fn ping_timeout_4002_for_a_peer_that_answers_nothing() {
    let server = Server::start(&[("--ping-interval", "300ms"), ("--pong-timeout", "300ms")]).await;
    let mut raw = Raw::login(&server, "ada").await;
    assert_eq!(raw.expect_close().await, close(4002, "ping_timeout"));
}

#[tokio::test]
async fn any_traffic_keeps_a_connection_alive() {
    let server = Server::start(&[("--ping-interval", "300ms"), ("--pong-timeout", "2s")]).await;
    let mut silent = Raw::login(&server, "silent").await;
    let mut pongs = Raw::login(&server, "pongs").await;
    let mut talks = Raw::login(&server, "talks").await;
    // Several times the life of the silent one, counted in the server's own pings.
    for _ in 0..12 {
        for (raw, pong) in [(&mut pongs, true), (&mut talks, false)] {
            let frame = crate::support::within("a ping", raw.frame()).await.expect("stays open");
            if frame.opcode() != Opcode::PING {
                continue;
            }
            if pong {
                raw.send(Frame::new(Opcode::PONG, frame.payload)).await;
            } else {
                raw.request("ping", json!({})).await;
            }
        }
    }
    assert_eq!(silent.expect_close().await.0, 4002);
    pongs.request("ping", json!({})).await;
    talks.request("ping", json!({})).await;
}

/// Somebody in a room who does not read while it is flooded; the other joined it too.
async fn flooded(server: &Server) -> (Client, Client) {
    let mut ada = Client::login(server, "ada").await;
    let mut slow = Client::over(Raw::connect_narrow(server).await);
    slow.ok("auth", json!({"token": token::mint("slow")})).await;
    let (room, _) = group(&mut ada, &["slow"]).await;
    join(&mut ada, &room).await;
    join(&mut slow, &room).await;
    flood(&mut ada, &room, more_than_the_kernel_holds()).await;
    (ada, slow)
}

#[tokio::test]
async fn slow_consumer_4003_by_bytes() {
    let server = Server::start(&[("--max-outbox-bytes", "65536")]).await;
    let (_ada, mut slow) = flooded(&server).await;
    assert_eq!(slow.expect_close().await, close(4003, "slow_consumer"));
}

#[tokio::test]
async fn slow_consumer_4003_by_age() {
    let flags = [("--max-outbox-bytes", "0"), ("--max-outbox-age", "1s"), ("--presence-grace", "100ms")];
    let server = Server::start(&flags).await;
    let (mut ada, mut slow) = flooded(&server).await;
    // That the slow one is gone shows in its presence, without reading its socket.
    ada.next_event_where("presence_changed", |p| p["userId"] == json!("slow") && p["status"] == json!("offline")).await;
    // Whether a peer that took nothing lives to read the close frame is up to the kernel; the end it must see.
    slow.raw().expect_end().await;
}

#[tokio::test]
async fn rate_limited_4008_for_who_does_not_slow_down() {
    let flags = [("--messages-per-second", "1"), ("--message-burst", "1"), ("--max-rate-limited-per-minute", "5")];
    let server = Server::start(&flags).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    for _ in 0..12 {
        ada.send("send_message", json!({"conversationId": room, "content": "x"})).await;
    }
    assert_eq!(ada.expect_close().await, close(4008, "rate_limited"));
}

#[tokio::test]
async fn who_waits_as_long_as_they_are_told_is_not_closed_however_often_they_are_refused() {
    let flags = [("--actions-per-second", "20"), ("--action-burst", "1"), ("--max-rate-limited-per-minute", "3")];
    let server = Server::start(&flags).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut refusals = 0;
    while refusals < 10 {
        // Two at once, of which the second is too early unless the machine made it late.
        let ids = [ada.send("ping", json!({})).await, ada.send("ping", json!({})).await];
        for id in ids {
            if let Err(failure) = ada.reply(&id).await {
                assert_eq!(failure.code, "rate_limited");
                refusals += 1;
                // This wait is what the protocol asks of a client, and what is tested.
                tokio::time::sleep(std::time::Duration::from_millis(failure.retry_after_ms.expect("says when"))).await;
            }
        }
    }
}

#[tokio::test]
async fn rate_limited_4008_for_a_flood_of_pings() {
    let server = Server::start(&[("--max-pings-per-minute", "20")]).await;
    let mut raw = Raw::login(&server, "ada").await;
    for _ in 0..21 {
        raw.send(Frame::new(Opcode::PING, "p")).await;
    }
    assert_eq!(raw.expect_close().await, close(4008, "rate_limited"));
}

#[tokio::test]
async fn rate_limited_4008_for_a_flood_of_the_action_ping_before_a_token() {
    let server = Server::start(&[("--max-pings-per-minute", "20")]).await;
    let mut raw = Raw::connect(&server).await;
    // Frames and actions are counted together.
    raw.send(Frame::new(Opcode::PING, "p")).await;
    for _ in 0..19 {
        raw.request("ping", json!({})).await;
        assert_eq!(raw.receive().await["type"], "ping");
    }
    raw.request("ping", json!({})).await;
    assert_eq!(raw.expect_close().await, close(4008, "rate_limited"));
    // With a token it is the user's allowance for actions that pays.
    let mut ada = Client::login(&server, "ada").await;
    for _ in 0..40 {
        ada.ping().await;
    }
}

#[tokio::test]
async fn bad_request_4500_for_too_many_errors() {
    let server = Server::start(&[("--max-errors-per-minute", "5")]).await;
    let mut raw = Raw::login(&server, "ada").await;
    for _ in 0..5 {
        raw.text("nonsense").await;
        assert_eq!(raw.receive().await["type"], "error");
    }
    raw.text("nonsense").await;
    assert_eq!(raw.expect_close().await, close(4500, "bad_request"));
}

#[tokio::test]
async fn unauthorized_4501_for_a_bad_token_and_for_none_in_time() {
    let server = Server::start(&[("--auth-timeout", "300ms")]).await;
    let mut silent = Raw::connect(&server).await;
    assert_eq!(silent.expect_close().await, close(4501, "unauthorized"));
    // Pings do not buy time.
    let mut pinging = Client::connect(&server).await;
    while let Some(reply) = pinging_reply(&mut pinging).await {
        reply.expect("ping needs no token");
    }
    let mut bad = Client::connect(&server).await;
    bad.fails("auth", json!({"token": "bad"}), "unauthorized").await;
    assert_eq!(bad.expect_close().await, close(4501, "unauthorized"));
}

async fn pinging_reply(client: &mut Client) -> Option<Result<serde_json::Value, crate::support::Failure>> {
    let id = client.send("ping", json!({})).await;
    client.try_reply(&id).await
}

#[tokio::test]
async fn connection_replaced_4502_closes_the_oldest_of_too_many() {
    let server = Server::start(&[("--max-connections-per-user", "2")]).await;
    let mut first = Client::login(&server, "ada").await;
    let mut second = Client::login(&server, "ada").await;
    let mut other = Client::login(&server, "bob").await;
    let mut third = Client::login(&server, "ada").await;
    assert_eq!(first.expect_close().await, close(4502, "connection_replaced"));
    for client in [&mut second, &mut third, &mut other] {
        client.ping().await;
    }
    // A fourth one moves the line on by one.
    let mut fourth = Client::login(&server, "ada").await;
    assert_eq!(second.expect_close().await.0, 4502);
    fence(&mut fourth, &mut third).await;
}

#[tokio::test]
async fn removed_4503_by_the_operator_alone() {
    const TOKEN: &str = "the operator's token, long enough";
    let server = Server::start(&[("--operator-token", TOKEN)]).await;
    let mut here = Client::login(&server, "ada").await;
    let mut there = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let ask = |method: &str, user: &str, token: &str| {
        let address = server.address();
        let head = format!(
            "{method} /operator/remove?user={user} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        async move { crate::support::http::request(address, &head).await.status }
    };
    assert_eq!(ask("POST", "ada", "not the token").await, 401);
    assert_eq!(ask("GET", "ada", TOKEN).await, 405);
    assert_eq!(ask("POST", "a/b", TOKEN).await, 400);
    here.ping().await;
    assert_eq!(ask("POST", "ada", TOKEN).await, 202);
    assert_eq!(here.expect_close().await, close(4503, "removed"));
    assert_eq!(there.expect_close().await, close(4503, "removed"));
    bob.ping().await;
}

#[tokio::test]
async fn without_an_operator_token_there_are_no_operator_requests() {
    let server = Server::start(&[]).await;
    let address = server.address();
    let head = format!(
        "POST /operator/remove?user=ada HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer \r\nConnection: close\r\n\r\n"
    );
    assert_eq!(crate::support::http::request(address, &head).await.status, 404);
}
