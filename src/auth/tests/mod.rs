//! Keys and tokens made for the tests, good ones and the zoo of bad ones. No key is kept anywhere.

mod keys;
mod tokens;

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::{AuthConfig, AuthError, Identity, PublicKey, Secret, Verifier};
use crate::protocol::UnixMillis;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
/// When the tests take place, in seconds.
const NOW_SECS: u64 = 1_800_000_000;
const NOW: UnixMillis = UnixMillis::new(NOW_SECS * 1_000);

/// A key pair, in every form that a test needs.
struct Pair {
    algorithm: Algorithm,
    signing: EncodingKey,
    private_pem: String,
    public_pem: String,
    public_der: Vec<u8>,
    jwk: Value,
}

static RSA: LazyLock<Pair> = LazyLock::new(|| {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private_pem = pem("PRIVATE KEY", AsDer::<Pkcs8V1Der>::as_der(&pair).unwrap().as_ref());
    let public = pair.public_key();
    let (n, e) = (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
    let public_der = AsDer::<PublicKeyX509Der>::as_der(public).unwrap().as_ref().to_vec();
    Pair {
        algorithm: Algorithm::RS256,
        signing: EncodingKey::from_rsa_pem(private_pem.as_bytes()).unwrap(),
        private_pem,
        public_pem: pem("PUBLIC KEY", &public_der),
        public_der,
        jwk: json!({"kty": "RSA", "n": encode(n), "e": encode(e)}),
    }
});
static EC: LazyLock<Pair> = LazyLock::new(|| ec_pair(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256, "P-256"));
static OTHER_EC: LazyLock<Pair> = LazyLock::new(|| ec_pair(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::ES256, "P-256"));
static P384: LazyLock<Pair> = LazyLock::new(|| ec_pair(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::ES384, "P-384"));
static ED: LazyLock<Pair> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::generate().unwrap();
    let private_der = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
    let public_der = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
    Pair {
        algorithm: Algorithm::EdDSA,
        signing: EncodingKey::from_ed_der(&private_der),
        private_pem: pem("PRIVATE KEY", &private_der),
        public_pem: pem("PUBLIC KEY", &public_der),
        public_der,
        jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
    }
});

fn ec_pair(signing: &'static EcdsaSigningAlgorithm, algorithm: Algorithm, curve: &str) -> Pair {
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let private_der = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
    let public_der = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    Pair {
        algorithm,
        signing: EncodingKey::from_ec_der(&private_der),
        private_pem: pem("PRIVATE KEY", &private_der),
        public_pem: pem("PUBLIC KEY", &public_der),
        public_der,
        jwk: json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)}),
    }
}

impl Pair {
    /// The public key with more members.
    fn jwk_with(&self, more: Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_pem(self.public_pem.as_bytes()).unwrap()
    }

    /// Signs with this key, its algorithm in the header.
    fn token(&self, claims: &Value) -> String {
        sign(&json!({"alg": self.algorithm}), claims, &self.signing, self.algorithm)
    }

    fn token_with_kid(&self, kid: &str, claims: &Value) -> String {
        sign(&json!({"alg": self.algorithm, "kid": kid}), claims, &self.signing, self.algorithm)
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Signs whatever header and claims, as no well-meaning library would.
fn sign(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    sign_text(&header.to_string(), &claims.to_string(), key, algorithm)
}

fn sign_text(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// An HS256 token signed with `secret`.
fn hs256(secret: &[u8], claims: &Value) -> String {
    sign(&json!({"alg": "HS256", "typ": "JWT"}), claims, &EncodingKey::from_secret(secret), Algorithm::HS256)
}

fn good_claims() -> Value {
    json!({"sub": "alice", "exp": NOW_SECS + 3_600, "name": "Alice"})
}

/// Good claims with more or other members; `null` takes one out.
fn claims_with(changes: Value) -> Value {
    let mut claims = good_claims();
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    claims
}

fn with_secret() -> AuthConfig {
    AuthConfig { secret: Some(Secret::new(SECRET).unwrap()), ..AuthConfig::default() }
}

fn with_keys(public_keys: Vec<PublicKey>) -> AuthConfig {
    AuthConfig { public_keys, ..AuthConfig::default() }
}

fn jwks(keys: &[Value]) -> Vec<PublicKey> {
    PublicKey::from_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn verify(config: &AuthConfig, token: &str) -> Result<Identity, AuthError> {
    Verifier::new(config).unwrap().verify(token, NOW)
}

#[track_caller]
fn assert_good(config: &AuthConfig, token: &str) {
    assert_eq!(verify(config, token).map(|identity| identity.user.to_string()), Ok("alice".to_owned()));
}

#[track_caller]
fn assert_invalid(config: &AuthConfig, token: &str) {
    assert_eq!(verify(config, token), Err(AuthError::Invalid), "{token}");
}
