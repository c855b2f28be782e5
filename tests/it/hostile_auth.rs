//! Forged tokens and guessed codes: all refused, all alike.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Client, Raw, Server, group, token, within};

/// Tokens that this server must not take. All but the expired one look the same from outside.
fn forgeries() -> Vec<(&'static str, String)> {
    let hour = token::now() + 3600;
    let good = json!({"sub": "ada", "exp": hour});
    let [header, claims, signature] = token::parts(&token::sign(&good));
    let [_, other_claims, _] = token::parts(&token::sign(&json!({"sub": "root", "exp": hour})));
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let ec = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a key").as_ref());
    let with_kid = Header { kid: Some("../../dev/null".to_owned()), ..Header::new(Algorithm::HS256) };
    let with_jku = Header { jku: Some("http://127.0.0.1:1/keys".to_owned()), ..Header::new(Algorithm::HS256) };
    let wrong = EncodingKey::from_secret(b"wrong-secret-wrong-secret-wrong-secret-wrong-secret-wrong");
    vec![
        ("no token", "nonsense".to_owned()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{header}.{claims}.{signature}.{signature}")),
        ("no signature", format!("{header}.{claims}.")),
        ("alg none", format!("{}.{claims}.", token::ALG_NONE)),
        ("alg none with a signature", format!("{}.{claims}.{signature}", token::ALG_NONE)),
        ("other claims", format!("{header}.{other_claims}.{signature}")),
        ("a changed signature", format!("{header}.{claims}.{}", signature.chars().rev().collect::<String>())),
        ("a padded signature", format!("{header}.{claims}.{signature}=")),
        ("wrong secret", token::encode(&Header::new(Algorithm::HS256), &good, &wrong)),
        ("empty secret", token::sign_as(Algorithm::HS256, b"", &good)),
        ("HS384 with the right secret", token::sign_as(Algorithm::HS384, token::SECRET.as_bytes(), &good)),
        ("HS512 with the right secret", token::sign_as(Algorithm::HS512, token::SECRET.as_bytes(), &good)),
        ("a key of the attacker's own", token::encode(&Header::new(Algorithm::ES256), &good, &ec)),
        ("a kid that is a path", token::encode(&with_kid, &good, &wrong)),
        ("a jku of the attacker's own", token::encode(&with_jku, &good, &wrong)),
        ("no sub", token::sign(&json!({"exp": hour}))),
        ("empty sub", token::sign(&json!({"sub": "", "exp": hour}))),
        ("sub with a space", token::sign(&json!({"sub": "a b", "exp": hour}))),
        ("sub with a NUL", token::sign(&json!({"sub": "a\0b", "exp": hour}))),
        ("sub with 129 bytes", token::sign(&json!({"sub": "x".repeat(129), "exp": hour}))),
        ("sub as a number", token::sign(&json!({"sub": 1, "exp": hour}))),
        ("no exp", token::sign(&json!({"sub": "ada"}))),
        ("exp as a text", token::sign(&json!({"sub": "ada", "exp": "tomorrow"}))),
        ("not yet valid", token::sign(&json!({"sub": "ada", "exp": hour, "nbf": hour - 60}))),
    ]
}

#[tokio::test]
async fn forged_tokens_are_refused_and_all_alike() {
    let server = Server::start(&[]).await;
    let mut answers = Vec::new();
    for (name, forged) in forgeries() {
        let mut raw = Raw::connect(&server).await;
        raw.request("auth", json!({"token": forged})).await;
        let answer = raw.receive().await;
        assert_eq!(answer["payload"]["code"], "unauthorized", "{name}: {answer}");
        assert_eq!(raw.expect_close().await, (4501, "unauthorized".to_owned()), "{name}");
        answers.push(answer["payload"].clone());
    }
    assert!(answers.iter().all(|a| *a == answers[0]), "the reason is the same for every kind of bad token: {answers:?}");
}

#[tokio::test]
async fn forged_tokens_in_the_upgrade_request_are_401() {
    let server = Server::start(&[]).await;
    for (name, forged) in forgeries() {
        let header = format!("Bearer {forged}");
        let refused = Raw::upgrade(&server, &[("Authorization", &header)]).await.err();
        assert_eq!(refused.map(|r| r.status), Some(401), "{name}");
    }
    for header in ["Basic YWRhOnNlY3JldA==", "Bearer", "Bearer  "] {
        let refused = Raw::upgrade(&server, &[("Authorization", header)]).await.err();
        assert_eq!(refused.map(|r| r.status), Some(401), "{header}");
    }
}

#[tokio::test]
async fn a_token_in_the_url_authenticates_nobody() {
    let server = Server::start(&[]).await;
    let mut raw = Raw::tcp(server.address()).await;
    let head = format!(
        "GET /ws?token={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        token::mint("ada")
    );
    raw.write(head.as_bytes()).await.expect("a fresh connection");
    raw.request("load_conversations", json!({})).await;
    let (mut stream, mut buffer) = raw.into_parts();
    let response = within("a response", crate::support::http::read_response(&mut stream, &mut buffer)).await;
    if response.expect("a response").status != 101 {
        return;
    }
    let mut text = String::from_utf8_lossy(&buffer).into_owned();
    while !text.contains('}') {
        within("a reply", tokio::io::AsyncReadExt::read_buf(&mut stream, &mut buffer)).await.expect("stays open");
        text = String::from_utf8_lossy(&buffer).into_owned();
    }
    assert!(text.contains("unauthorized"), "{text}");
}

#[tokio::test]
async fn issuer_and_audience_must_be_the_configured_ones() {
    let server = Server::start(&[("--jwt-issuer", "https://issuer.test"), ("--jwt-audience", "chat")]).await;
    let hour = token::now() + 3600;
    let claims = |issuer: Value, audience: Value| json!({"sub": "ada", "exp": hour, "iss": issuer, "aud": audience});
    let good =
        [claims(json!("https://issuer.test"), json!("chat")), claims(json!("https://issuer.test"), json!(["other", "chat"]))];
    for claims in good {
        Client::connect(&server).await.ok("auth", json!({"token": token::sign(&claims)})).await;
    }
    let bad = [
        json!({"sub": "ada", "exp": hour}),
        json!({"sub": "ada", "exp": hour, "iss": "https://issuer.test"}),
        json!({"sub": "ada", "exp": hour, "aud": "chat"}),
        claims(json!("https://issuer.test.evil"), json!("chat")),
        claims(json!("https://issuer.test"), json!("chatter")),
        claims(json!("https://issuer.test"), json!([])),
    ];
    for claims in bad {
        Client::connect(&server).await.fails("auth", json!({"token": token::sign(&claims)}), "unauthorized").await;
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let der = pair.public_key().as_der().expect("a key").as_ref().to_vec();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("public.pem");
    std::fs::write(&path, &pem).expect("the key can be written");
    let server = Server::start(&[("--jwt-public-key", path.to_str().expect("UTF-8"))]).await;
    let claims = json!({"sub": "ada", "exp": token::now() + 3600});
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a key").as_ref());
    let good = token::encode(&Header::new(Algorithm::ES256), &claims, &key);
    Client::connect(&server).await.ok("auth", json!({"token": good})).await;
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der] {
        let forged = token::sign_as(Algorithm::HS256, secret, &claims);
        Client::connect(&server).await.fails("auth", json!({"token": forged}), "unauthorized").await;
    }
}

#[tokio::test]
async fn a_key_set_takes_each_key_by_its_kid_and_no_other() {
    let pairs =
        ["old", "new", "stranger"].map(|kid| (kid, EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")));
    let jwk = |(kid, pair): &(&str, EcdsaKeyPair)| {
        // An uncompressed point: a byte that says so, then both coordinates.
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y})
    };
    let set = json!({"keys": [jwk(&pairs[0]), jwk(&pairs[1])]});
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("jwks.json");
    std::fs::write(&path, set.to_string()).expect("the key set can be written");
    let server = Server::start(&[("--jwks", path.to_str().expect("UTF-8"))]).await;
    let claims = json!({"sub": "ada", "exp": token::now() + 3600});
    let signed = |kid: Option<&str>, pair: &EcdsaKeyPair| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        token::encode(&header, &claims, &EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a key").as_ref()))
    };
    for (kid, pair) in &pairs[..2] {
        Client::connect(&server).await.ok("auth", json!({"token": signed(Some(kid), pair)})).await;
    }
    let [old, new, stranger] = &pairs;
    for (kid, pair) in [(Some("new"), &old.1), (Some("old"), &new.1), (Some("old"), &stranger.1), (Some("stranger"), &stranger.1)]
    {
        let mut client = Client::connect(&server).await;
        client.fails("auth", json!({"token": signed(kid, pair)}), "unauthorized").await;
        assert_eq!(client.expect_close().await.0, 4501);
    }
}

#[tokio::test]
async fn a_bad_refresh_is_refused_and_the_token_before_it_stays_in_force() {
    let server = Server::start(&[("--token-grace", "1s"), ("--token-warning", "0s")]).await;
    let mut ada = Client::connect(&server).await;
    ada.ok("auth", json!({"token": token::mint_until("ada", token::now() + 2)})).await;
    ada.fails("auth", json!({"token": "bad"}), "unauthorized").await;
    ada.fails("auth", json!({"token": token::mint_until("ada", token::now() - 60)}), "token_expired").await;
    ada.ok("load_conversations", json!({})).await;
    assert_eq!(ada.expect_close().await.0, 4001, "neither ended sooner nor prolonged");
}

#[tokio::test]
async fn guessing_invite_codes_is_stopped_without_stopping_the_rest() {
    let server = Server::start(&[("--invite-attempts-per-minute", "5")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (_, code) = group(&mut ada, &[]).await;
    let mut eve = Client::login(&server, "eve").await;
    for i in 0..5 {
        eve.fails("join_group", json!({"inviteCode": format!("{code}{i}")}), "not_found").await;
    }
    let failure = eve.fails("join_group", json!({"inviteCode": "one-more-guess"}), "rate_limited").await;
    assert!(Duration::from_millis(failure.retry_after_ms.expect("says when")) <= Duration::from_secs(60));
    // A right code is not tried either, else the limit would be none; and another connection changes nothing.
    eve.fails("join_group", json!({"inviteCode": code}), "rate_limited").await;
    let mut again = Client::login(&server, "eve").await;
    again.fails("join_group", json!({"inviteCode": code}), "rate_limited").await;
    again.ok("load_conversations", json!({})).await;
    // The address has used up its attempts too: another user from there guesses no further.
    let mut mallory = Client::login(&server, "mallory").await;
    mallory.fails("join_group", json!({"inviteCode": "one-more-guess"}), "rate_limited").await;
}

#[tokio::test]
async fn right_invite_codes_are_no_attempts() {
    let server = Server::start(&[("--invite-attempts-per-minute", "2")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    for _ in 0..6 {
        let (_, code) = group(&mut ada, &[]).await;
        bob.ok("join_group", json!({"inviteCode": code})).await;
    }
}

/// A user who comes through a proxy that tells of `address`.
async fn login_from(server: &Server, user: &str, address: &str) -> Client {
    let (raw, _) = Raw::upgrade(server, &[("X-Forwarded-For", address)]).await.expect("the upgrade is accepted");
    let mut client = Client::over(raw);
    client.ok("auth", json!({"token": token::mint(user)})).await;
    client
}

/// Uses up what one address may guess.
async fn guess_thrice(client: &mut Client) {
    for _ in 0..3 {
        client.fails("join_group", json!({"inviteCode": "a-guess"}), "not_found").await;
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_address_has_its_own_guesses() {
    let server = Server::start(&[("--invite-attempts-per-minute", "3"), ("--trusted-proxies", "1")]).await;
    guess_thrice(&mut login_from(&server, "ada", "198.51.100.1").await).await;
    // What a client writes itself stands before what the proxy appends.
    let mut same = login_from(&server, "bob", "203.0.113.9, 198.51.100.1").await;
    same.fails("join_group", json!({"inviteCode": "a-guess"}), "rate_limited").await;
    guess_thrice(&mut login_from(&server, "cyd", "198.51.100.2").await).await;
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_gets_guesses_by_naming_another_address() {
    let server = Server::start(&[("--invite-attempts-per-minute", "3")]).await;
    guess_thrice(&mut login_from(&server, "ada", "198.51.100.1").await).await;
    let mut other = login_from(&server, "bob", "198.51.100.2").await;
    other.fails("join_group", json!({"inviteCode": "a-guess"}), "rate_limited").await;
}
