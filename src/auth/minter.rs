//! Signs tokens, for `parlor token` and for development. A server in production only verifies.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use super::Secret;
use crate::protocol::{UnixMillis, UserId};

/// Signs HS256 tokens with one secret.
pub struct Minter {
    key: EncodingKey,
}

#[derive(Serialize)]
struct MintedClaims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Minter {
    /// Takes the secret that the server verifies with.
    pub fn new(secret: &Secret) -> Self {
        Self { key: EncodingKey::from_secret(secret.expose()) }
    }

    /// A token for `sub` that expires `ttl` after `now`, rounded up to the second.
    pub fn mint(
        &self,
        sub: &UserId,
        name: Option<&str>,
        ttl: Duration,
        now: UnixMillis,
        issuer: Option<&str>,
        audience: Option<&str>,
    ) -> String {
        let ttl_millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let claims = MintedClaims {
            sub: sub.as_str(),
            iat: now.get() / 1_000,
            exp: now.get().saturating_add(ttl_millis).div_ceil(1_000),
            name,
            iss: issuer,
            aud: audience,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.key).expect("strings and integers are always JSON")
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Minter(…)")
    }
}
