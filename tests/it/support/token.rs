//! Tokens, good and forged.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// What the server under test is given as its HS256 secret.
pub(crate) const SECRET: &str = "integration-secret-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEF";

/// `{"alg":"none","typ":"JWT"}` as the first part of a token.
pub(crate) const ALG_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

/// Seconds since 1970, the unit of `exp` (RFC 7519, section 2).
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// A good token for an hour.
pub(crate) fn mint(user: &str) -> String {
    mint_until(user, now() + 3600)
}

/// A good token until `exp`.
pub(crate) fn mint_until(user: &str, exp: u64) -> String {
    sign(&json!({"sub": user, "name": name(user), "exp": exp}))
}

/// The display name in the tokens of `user`.
pub(crate) fn name(user: &str) -> String {
    format!("Name of {user}")
}

/// Any claims, signed as the server expects.
pub(crate) fn sign(claims: &Value) -> String {
    sign_as(Algorithm::HS256, SECRET.as_bytes(), claims)
}

/// Any claims, with another algorithm of the HMAC family or another secret.
pub(crate) fn sign_as(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret))
}

/// Any header, claims and key.
pub(crate) fn encode(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).expect("claims that can be encoded")
}

/// The three parts of a token.
pub(crate) fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("a token has three parts")
}
