//! Keys that verify tokens, checked when they are read, so that a bad key is a fault at start and not at the first token.
//!
//! Each key has one algorithm, from its own type: HS256 for a secret, RS256 for RSA, ES256 for EC P-256, EdDSA for Ed25519.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::AuthSetupError;

/// Smallest RSA modulus, in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus, in bits: what the crypto library verifies, and what bounds the time it takes.
const MAX_RSA_BITS: usize = 8192;
/// Most keys of a key set. Issuers publish a handful; a token without `kid` is tried with each key that has none.
const MAX_KEYS: usize = 64;

/// A shared secret for HS256, at least 32 bytes (RFC 7518, section 3.2). Its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Whether `text` is the secret, in a time that tells nothing of it but its length.
    pub fn is(&self, text: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, text.as_bytes()).is_ok()
    }

    /// Least length, in bytes.
    pub const MIN_BYTES: usize = 32;

    /// Takes the bytes as they are; text is not decoded.
    ///
    /// # Errors
    /// When there are fewer than [`Secret::MIN_BYTES`].
    pub fn new(bytes: &[u8]) -> Result<Self, AuthSetupError> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(AuthSetupError::new(
                format!("the secret has {} bytes, HS256 needs at least {}", bytes.len(), Self::MIN_BYTES),
                "make one with `openssl rand -hex 32` and give the same to whoever issues the tokens",
            ));
        }
        Ok(Self(bytes.into()))
    }

    /// The secret itself, for signing and verifying only.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A public key of whoever issues the tokens.
#[derive(Clone)]
pub struct PublicKey {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// Reads one public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`). It has no `kid`.
    ///
    /// # Errors
    /// When it is none, several, private, a certificate, of another type than RSA, EC P-256 or Ed25519, or a weak RSA key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthSetupError> {
        const REMEDY: &str = "give one PEM file with the issuer's public key, `-----BEGIN PUBLIC KEY-----`";
        let text = String::from_utf8_lossy(pem);
        if text.contains("PRIVATE KEY-----") {
            return Err(private_key("the file"));
        }
        if text.contains("BEGIN CERTIFICATE") {
            let remedy = "take the key out with `openssl x509 -pubkey -noout -in FILE`";
            return Err(AuthSetupError::new("the file is a certificate, not a public key", remedy));
        }
        if text.matches("-----BEGIN ").count() != 1 {
            return Err(AuthSetupError::new("the file does not hold exactly one PEM block", REMEDY));
        }
        let rsa = DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key));
        let ec = || DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key));
        let ed = || DecodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
        let (algorithm, key) = rsa
            .or_else(|_| ec())
            .or_else(|_| ed())
            .map_err(|_| AuthSetupError::new("the file holds no public key of the type RSA, EC P-256 or Ed25519", REMEDY))?;
        check(algorithm, &key, "the file")?;
        Ok(Self { algorithm, kid: None, key })
    }

    /// Reads the keys of a key set that can verify tokens here. Keys for other uses and of other types are left out, as RFC
    /// 7517, section 5 says; a secret or private key in the set is refused, for a key set is public.
    ///
    /// # Errors
    /// When it is no key set, holds a secret, a private, a weak or a broken key, one `kid` twice, or no usable key.
    pub fn from_jwks(json: &[u8]) -> Result<Vec<Self>, AuthSetupError> {
        const REMEDY: &str = "give a file as the issuer publishes it at its `jwks_uri`: {\"keys\":[…]}";
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<Value>,
        }
        let Ok(set) = serde_json::from_slice::<KeySet>(json) else {
            return Err(AuthSetupError::new("the file is not a JSON Web Key Set", REMEDY));
        };
        if set.keys.len() > MAX_KEYS {
            return Err(AuthSetupError::new(format!("the key set has more than {MAX_KEYS} keys"), REMEDY));
        }
        let mut keys: Vec<Self> = Vec::with_capacity(set.keys.len());
        for (index, value) in set.keys.iter().enumerate() {
            let Some(key) = Self::from_jwk(value, &format!("key {}", index + 1))? else { continue };
            if key.kid.is_some() && keys.iter().any(|other| other.kid == key.kid) {
                let remedy = "give every key a `kid` of its own, or take one of the two out";
                return Err(AuthSetupError::new(format!("key {} has the `kid` of another key", index + 1), remedy));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            let problem = "the key set has no key for RS256, ES256 or EdDSA signatures";
            return Err(AuthSetupError::new(problem, REMEDY));
        }
        Ok(keys)
    }

    fn from_jwk(value: &Value, which: &str) -> Result<Option<Self>, AuthSetupError> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let algorithm = match (text("kty"), text("crv")) {
            (Some("oct"), _) => {
                let remedy = "set the secret with --jwt-secret-file and take the `oct` key out";
                return Err(AuthSetupError::new(format!("{which} is a shared secret"), remedy));
            }
            _ if value.get("d").is_some() => return Err(private_key(which)),
            (Some("RSA"), _) => Algorithm::RS256,
            (Some("EC"), Some("P-256")) => Algorithm::ES256,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
            _ => return Ok(None),
        };
        let name = name(algorithm);
        // RFC 9864 calls EdDSA with this curve `Ed25519`.
        let algorithm_fits = text("alg").is_none_or(|alg| alg == name || (name == "EdDSA" && alg == "Ed25519"));
        let use_fits = text("use").is_none_or(|usage| usage == "sig");
        let verifies = |ops: &Vec<Value>| ops.iter().any(|op| op == "verify");
        let operations_fit = value.get("key_ops").and_then(Value::as_array).is_none_or(verifies);
        if !(algorithm_fits && use_fits && operations_fit) {
            return Ok(None);
        }
        let jwk = Jwk::deserialize(value).map_err(|_| broken(which))?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| broken(which))?;
        check(algorithm, &key, which)?;
        let kid = jwk.common.key_id.filter(|kid| !kid.is_empty()).map(Into::into);
        Ok(Some(Self { algorithm, kid, key }))
    }
}

impl fmt::Display for PublicKey {
    /// Its algorithm and `kid`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(self.algorithm))?;
        match &self.kid {
            Some(kid) => write!(f, " (kid {kid:?})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The name in a token's header of the algorithms that this module sets up.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "HS256",
    }
}

/// Parses the key as verification will, which `jsonwebtoken` leaves to the first token: the point must lie on the curve, and
/// an RSA modulus must be of a size that verification accepts.
fn check(algorithm: Algorithm, key: &DecodingKey, which: &str) -> Result<(), AuthSetupError> {
    let bits = match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
            parsed.map_err(|_| broken(which))?;
            bits(n)
        }
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
            let parsed = rsa::PublicKey::from_der(der).map_err(|_| broken(which))?;
            bits(parsed.modulus().big_endian_without_leading_zero())
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            return ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map(drop).map_err(|_| broken(which));
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) if point.len() == 32 => {
            return ParsedPublicKey::new(&ED25519, point).map(drop).map_err(|_| broken(which));
        }
        _ => return Err(broken(which)),
    };
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        let problem = format!("{which} is an RSA key of {bits} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}");
        return Err(AuthSetupError::new(problem, "have the issuer sign with a key of 2048 bits or more"));
    }
    Ok(())
}

fn bits(modulus: &[u8]) -> usize {
    modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize)
}

fn broken(which: &str) -> AuthSetupError {
    let remedy = "fetch it from the issuer again; EC keys must be P-256, OKP keys Ed25519";
    AuthSetupError::new(format!("{which} is not a well-formed public key"), remedy)
}

fn private_key(which: &str) -> AuthSetupError {
    let remedy = "keep the private key with the issuer and give its public half, `openssl pkey -pubout`";
    AuthSetupError::new(format!("{which} holds a private key"), remedy)
}
