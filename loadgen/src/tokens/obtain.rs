//! Where the people's tokens come from: a file, a secret to sign with, or a development server.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::Token;
use crate::fault::Fault;
use crate::people::cli::IdentityOptions;

/// How long signed tokens are good: longer than any run.
const TTL: Duration = Duration::from_secs(48 * 3_600);
/// Longest wait for one token of a development server.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of it.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Tokens for `count` people.
pub(crate) fn obtain(options: &IdentityOptions, server: SocketAddrV4, count: usize) -> Result<Vec<Token>, Fault> {
    if let Some(path) = &options.tokens {
        return super::load(path, count);
    }
    let users = (0..count).map(|number| format!("{}{number}", options.user_prefix));
    let secret = match (&options.jwt_secret, &options.jwt_secret_file) {
        (Some(secret), _) => Some(secret.clone()),
        (None, Some(path)) => Some(fs::read_to_string(path).map_err(Fault::while_doing(&path.display().to_string()))?),
        (None, None) => None,
    };
    match secret {
        Some(secret) => sign(users, secret.trim_end(), options),
        None => users.map(|user| fetch(server, user)).collect(),
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

fn sign(users: impl Iterator<Item = String>, secret: &str, options: &IdentityOptions) -> Result<Vec<Token>, Fault> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let header = Header::new(Algorithm::HS256);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let exp = (now + TTL).as_secs();
    let sign_one = |user: String| {
        let claims = Claims { sub: &user, exp, iss: options.jwt_issuer.as_deref(), aud: options.jwt_audience.as_deref() };
        let text = jsonwebtoken::encode(&header, &claims, &key).map_err(Fault::while_doing("signing a token"))?;
        Ok(Token { text, user })
    };
    users.map(sign_one).collect()
}

#[derive(Deserialize)]
struct Fetched {
    token: String,
}

/// Asks `serve --dev` for a token.
fn fetch(server: SocketAddrV4, user: String) -> Result<Token, Fault> {
    let advice = |reason: String| {
        Fault::new(format!(
            "no token from http://{server}/dev/token: {reason}. Start the server with `parlor serve --dev`, or give --jwt-secret-file or --tokens"
        ))
    };
    let answer = get(server, &format!("/dev/token?sub={}", percent_encode(&user))).map_err(|error| advice(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| advice("no HTTP answer".to_owned()))?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(advice(head.lines().next().unwrap_or_default().to_owned()));
    }
    let fetched: Fetched = serde_json::from_str(body).map_err(|error| advice(error.to_string()))?;
    Ok(Token { text: fetched.token, user })
}

fn get(server: SocketAddrV4, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server.into(), FETCH_TIMEOUT)?;
    stream.set_read_timeout(Some(FETCH_TIMEOUT))?;
    stream.set_write_timeout(Some(FETCH_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// RFC 3986 section 2.1, for the characters that a user id may have.
fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_escaped_in_urls() {
        assert_eq!(percent_encode("a-1|b@c"), "a-1%7Cb%40c");
    }
}
