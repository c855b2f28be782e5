//! Who someone is: JSON Web Tokens (RFC 7519) and key sets (RFC 7517) to an [`Identity`]; invite codes.
//!
//! What holds: a key decides the algorithm, never the token; no secret is printed; time is passed in. All cryptography is
//! done by `jsonwebtoken` and `aws-lc-rs`. This module knows no socket and fetches nothing: keys come from the configuration.

mod invite;
mod key;
mod minter;
pub(crate) mod secret_file;
#[cfg(test)]
mod tests;
mod verifier;

use std::fmt;
use std::sync::Arc;

pub use invite::{InviteKey, invite_hash};
pub use key::{PublicKey, Secret};
pub use minter::Minter;
pub use verifier::{MAX_TOKEN_BYTES, Verifier};

use crate::protocol::{UnixMillis, UserId};

/// Whose tokens are trusted. Holds keys that were already checked.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// Verifies HS256, and mints tokens in development.
    pub secret: Option<Secret>,
    /// Verify RS256, ES256 or EdDSA, each only its own. May stand beside a secret while an issuer rotates.
    pub public_keys: Vec<PublicKey>,
    /// What `iss` must be; then a token must have it.
    pub issuer: Option<String>,
    /// What `aud` must be or contain; then a token must have it. Without this setting, `aud` is not looked at.
    pub audience: Option<String>,
}

/// What a good token says of its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The claim `sub`.
    pub user: UserId,
    /// For display only: the claim `name`, else `user_metadata.name` or `.full_name` (which users edit themselves), else the
    /// id; at most `MAX_NAME_CHARS` characters, without control characters.
    pub name: Arc<str>,
    /// The claim `exp`, clamped to the years 1970 to 9999.
    pub expires_at: UnixMillis,
}

/// Why a token is refused. The peer hears one reason for every kind of bad token, so that it learns nothing by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// Not a token of ours.
    Invalid,
    /// A token that would be good but for its `exp`.
    Expired,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the token is not valid",
            Self::Expired => "the token has expired",
        })
    }
}

impl std::error::Error for AuthError {}

/// A key or a set of keys that cannot be used: what is wrong, and what the operator does next. Never shows key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSetupError {
    problem: String,
    remedy: &'static str,
}

impl AuthSetupError {
    fn new(problem: impl Into<String>, remedy: &'static str) -> Self {
        Self { problem: problem.into(), remedy }
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do next.
    pub fn remedy(&self) -> &str {
        self.remedy
    }
}

impl fmt::Display for AuthSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for AuthSetupError {}
