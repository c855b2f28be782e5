//! Tokens to identities.
//!
//! **Which key.** A `kid` that names a configured key chooses that key and no other. Every other token (without `kid`, or with
//! one that nobody configured) is tried with the keys that have no `kid`: the secret, a PEM key, nameless keys of a set; an
//! issuer may put a `kid` into a token although its key was given to the operator without one. A token without `kid` is also
//! taken when exactly one key is set up in all. Whatever key is tried, it accepts its own algorithm only, so that the header's
//! `alg` can refuse a token but never choose how it is verified. `jku`, `jwk`, `x5u` and `x5c` are never looked at; a header
//! with `crit` is refused (RFC 7515, section 4.1.11), for no extension is understood here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::{AuthConfig, AuthError, AuthSetupError, Identity, Minter, Secret};
use crate::protocol::limits::MAX_NAME_CHARS;
use crate::protocol::{UnixMillis, UserId};

/// Longest token, in bytes. Longer ones are refused before any work.
pub const MAX_TOKEN_BYTES: usize = 8192;
/// How far ahead of ours an issuer's clock may be when it writes `nbf`, in milliseconds. `exp` gets no such leeway.
const CLOCK_SKEW_MILLIS: f64 = 5_000.0;
/// The last millisecond of the year 9999, which is the last that the wire can write.
const LAST_MILLIS: f64 = 253_402_300_799_999.0;

/// Verifies tokens. Immutable, and shared by all threads.
pub struct Verifier {
    keys: Box<[Key]>,
}

struct Key {
    kid: Option<Box<str>>,
    decoding: DecodingKey,
    /// One for each key: a list of algorithms of several families fails every token.
    validation: Validation,
}

/// What is read of a token's payload. A claim given twice is refused by `serde`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    name: Option<Value>,
    user_metadata: Option<Value>,
}

impl Verifier {
    /// Sets up every key and tries each one, so that what cannot work shows at start and not at the first token.
    ///
    /// # Errors
    /// When there is no key, two keys have one `kid`, or the crypto library does not do what it must.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthSetupError> {
        let validation = |algorithm| validation(algorithm, config);
        let secret = config.secret.iter().map(|secret| Key {
            kid: None,
            decoding: DecodingKey::from_secret(secret.expose()),
            validation: validation(Algorithm::HS256),
        });
        let public = config.public_keys.iter().map(|public| Key {
            kid: public.kid.clone(),
            decoding: public.key.clone(),
            validation: validation(public.algorithm),
        });
        let keys: Box<[Key]> = secret.chain(public).collect();
        if keys.is_empty() {
            let remedy = "give --jwt-secret-file, --jwt-public-key or --jwks; or --dev to try it out";
            return Err(AuthSetupError::new("there is no key to verify tokens with", remedy));
        }
        for (index, key) in keys.iter().enumerate() {
            if key.kid.is_some() && keys[..index].iter().any(|other| other.kid == key.kid) {
                return Err(AuthSetupError::new("two keys have the same `kid`", "give every key a `kid` of its own"));
            }
        }
        let verifier = Self { keys };
        verifier.self_check(config)?;
        Ok(verifier)
    }

    /// Who bears `token`, at the time `now`.
    ///
    /// # Errors
    /// [`AuthError::Expired`] for a token that is good but for its `exp`, [`AuthError::Invalid`] for every other fault.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Identity, AuthError> {
        self.check(token, now).map_err(|refusal| {
            // The peer is not told why, so that it learns nothing by trying; the operator is, and never by what the token says.
            tracing::debug!(reason = refusal.reason, "a token was refused");
            refusal.error
        })
    }

    fn check(&self, token: &str, now: UnixMillis) -> Result<Identity, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::invalid("longer than 8 KiB"));
        }
        let header = decode_header(token).map_err(|_| Refusal::invalid("not a JSON Web Token, or of an unknown algorithm"))?;
        if header.crit.is_some() {
            return Err(Refusal::invalid("`crit` in its header"));
        }
        let claims = self.decode(token, header.kid.as_deref())?;
        let user = UserId::parse(&claims.sub);
        let user = user.map_err(|_| Refusal::invalid("`sub` is not 1 to 128 of A-Z a-z 0-9 . _ : @ | -"))?;
        let now_millis = now.get() as f64;
        if claims.nbf.is_some_and(|nbf| nbf * 1_000.0 > now_millis + CLOCK_SKEW_MILLIS) {
            return Err(Refusal::invalid("not valid before a later time (`nbf`)"));
        }
        let expires_at = UnixMillis::new((claims.exp * 1_000.0).clamp(0.0, LAST_MILLIS) as u64);
        if expires_at <= now {
            return Err(Refusal { error: AuthError::Expired, reason: "expired (`exp`)" });
        }
        let name = display_name(&claims, &user);
        Ok(Identity { user, name, expires_at })
    }

    fn decode(&self, token: &str, kid: Option<&str>) -> Result<Claims, Refusal> {
        let mut refusal = Refusal::invalid("no key for its `kid`, or it has none and there are several keys");
        for key in self.candidates(kid) {
            match decode::<Claims>(token, &key.decoding, &key.validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => refusal = Refusal::invalid(explain(error.kind())),
            }
        }
        Err(refusal)
    }

    /// The keys that a token with this `kid` may have been signed with; see the head of this file.
    fn candidates<'a>(&'a self, kid: Option<&str>) -> impl Iterator<Item = &'a Key> {
        let named = kid.and_then(|kid| self.keys.iter().position(|key| key.kid.as_deref() == Some(kid)));
        let only = kid.is_none() && self.keys.len() == 1;
        self.keys.iter().enumerate().filter_map(move |(index, key)| {
            let fits = named.map_or(only || key.kid.is_none(), |named| named == index);
            fits.then_some(key)
        })
    }

    fn self_check(&self, config: &AuthConfig) -> Result<(), AuthSetupError> {
        let fault = |problem| Err(AuthSetupError::new(problem, "this build of the server is broken: install another one"));
        for key in &self.keys {
            // {"alg":…}, {} and a signature of three zero bytes: all that may be wrong with this token is its signature.
            let forged = match key.validation.algorithms.as_slice() {
                [Algorithm::HS256] => "eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
                [Algorithm::RS256] => "eyJhbGciOiJSUzI1NiJ9.e30.AAAA",
                [Algorithm::ES256] => "eyJhbGciOiJFUzI1NiJ9.e30.AAAA",
                [Algorithm::EdDSA] => "eyJhbGciOiJFZERTQSJ9.e30.AAAA",
                _ => return fault("a key has an algorithm that is not supported"),
            };
            let outcome = decode::<Claims>(forged, &key.decoding, &key.validation);
            if !outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::InvalidSignature)) {
                return fault("the crypto library does not refuse a forged signature");
            }
        }
        let Some(secret) = &config.secret else { return Ok(()) };
        match self.verify(&self_check_token(secret, config), UnixMillis::new(0)) {
            Ok(_) => Ok(()),
            Err(_) => fault("the crypto library does not accept its own signature"),
        }
    }
}

/// Why a token is not taken: what the peer hears, and what the operator's log says.
struct Refusal {
    error: AuthError,
    reason: &'static str,
}

impl Refusal {
    fn invalid(reason: &'static str) -> Self {
        Self { error: AuthError::Invalid, reason }
    }
}

fn explain(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the signature is not by this key",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "its `alg` is not the key's",
        ErrorKind::InvalidIssuer => "`iss` is not --jwt-issuer",
        ErrorKind::InvalidAudience => "`aud` is not --jwt-audience",
        ErrorKind::MissingRequiredClaim(_) => "`sub`, or `iss` or `aud` that is asked for, is missing",
        ErrorKind::Json(_) => "a claim is missing or of the wrong type (`sub`: text, `exp`: number)",
        _ => "malformed",
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} keys)", self.keys.len())
    }
}

fn self_check_token(secret: &Secret, config: &AuthConfig) -> String {
    let user = UserId::parse("self-check").expect("inside the alphabet of user ids");
    let (issuer, audience) = (config.issuer.as_deref(), config.audience.as_deref());
    Minter::new(secret).mint(&user, None, Duration::from_secs(1), UnixMillis::new(0), issuer, audience)
}

/// Signature, `iss` and `aud` are checked by the library; `exp` and `nbf` by [`Verifier::verify`], whose time is passed in.
fn validation(algorithm: Algorithm, config: &AuthConfig) -> Validation {
    let mut validation = Validation::new(algorithm);
    let mut required = vec!["sub"];
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = config.audience.is_some();
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    if let Some(audience) = &config.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn display_name(claims: &Claims, user: &UserId) -> Arc<str> {
    let metadata = |field| claims.user_metadata.as_ref().and_then(|object| object.get(field));
    let candidates = [claims.name.as_ref(), metadata("name"), metadata("full_name")];
    for candidate in candidates.into_iter().flatten().filter_map(Value::as_str) {
        let name = clean_name(candidate);
        if !name.is_empty() {
            return name.into();
        }
    }
    // A user id is ASCII, so that bytes are characters.
    user.as_str().get(..MAX_NAME_CHARS).map_or_else(|| user.shared(), Arc::from)
}

/// Leaves out what would let a name break a line, a log or the order of the text around it.
fn clean_name(name: &str) -> String {
    let unsafe_in_text =
        |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let kept: String = name.chars().filter(|c| !unsafe_in_text(*c)).collect();
    let shortened: String = kept.trim().chars().take(MAX_NAME_CHARS).collect();
    shortened.trim_end().to_owned()
}
