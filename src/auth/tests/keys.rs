//! Keys that are refused before any token is seen.

use super::*;

#[track_caller]
fn assert_pem_fault(pem: &str, part: &str) {
    let fault = PublicKey::from_pem(pem.as_bytes()).unwrap_err();
    assert!(fault.problem().contains(part), "{fault}");
    assert!(!fault.remedy().is_empty());
}

#[track_caller]
fn assert_set_fault(set: &Value, part: &str) {
    let fault = PublicKey::from_jwks(set.to_string().as_bytes()).unwrap_err();
    assert!(fault.problem().contains(part), "{fault}");
}

#[test]
fn a_short_secret_is_refused() {
    assert!(Secret::new(&[b'x'; 31]).unwrap_err().problem().contains("31 bytes"));
    assert!(Secret::new(&[b'x'; 32]).is_ok());
}

#[test]
fn a_pem_file_holds_exactly_one_public_key() {
    for pair in [&RSA, &EC, &ED] {
        assert_pem_fault(&pair.private_pem, "private key");
        assert_pem_fault(&format!("{}{}", pair.public_pem, pair.private_pem), "private key");
        assert_pem_fault(&format!("{0}{0}", pair.public_pem), "exactly one");
        assert_pem_fault(&pem("CERTIFICATE", &pair.public_der), "certificate");
        assert_pem_fault(&pair.public_pem[..pair.public_pem.len() / 2], "no public key");
    }
    for bad in ["", "not a key", &encode(&EC.public_der)] {
        assert_pem_fault(bad, "exactly one");
    }
    assert_pem_fault(&pem("PUBLIC KEY", &P384.public_der), "well-formed");
    assert_pem_fault(&pem("PUBLIC KEY", b"\x30\x00"), "no public key");
}

#[test]
fn a_pem_key_may_be_in_the_older_form_of_rsa() {
    let set = with_keys(vec![PublicKey::from_pem(RSA.public_pem.as_bytes()).unwrap()]);
    assert_good(&set, &RSA.token(&good_claims()));
    // A SubjectPublicKeyInfo of a 2048-bit RSA key is 24 bytes of header around the RSAPublicKey of PKCS #1.
    let pkcs1 = pem("RSA PUBLIC KEY", &RSA.public_der[24..]);
    assert_good(&with_keys(vec![PublicKey::from_pem(pkcs1.as_bytes()).unwrap()]), &RSA.token(&good_claims()));
}

#[test]
fn a_key_set_holds_no_secret_and_no_private_key() {
    let secret = json!({"kty": "oct", "kid": "s", "k": encode(SECRET)});
    assert_set_fault(&json!({"keys": [EC.jwk, secret]}), "key 2 is a shared secret");
    assert_set_fault(&json!({"keys": [EC.jwk_with(json!({"d": encode([1; 32])}))]}), "private key");
}

#[test]
fn a_weak_or_broken_key_of_a_set_is_refused() {
    let rsa = |n: &[u8]| json!({"keys": [{"kty": "RSA", "n": encode(n), "e": "AQAB"}]});
    assert_set_fault(&rsa(&[0xFF; 128]), "1024 bits");
    let mut just_below = [0xFF; 256];
    just_below[0] = 0x7F;
    assert_set_fault(&rsa(&just_below), "2047 bits");
    assert_set_fault(&rsa(&[]), "well-formed");
    let off_curve = json!({"kty": "EC", "crv": "P-256", "x": encode([1; 32]), "y": encode([1; 32])});
    assert_set_fault(&json!({"keys": [off_curve]}), "well-formed");
    let short = json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 31])});
    assert_set_fault(&json!({"keys": [short]}), "well-formed");
    assert_set_fault(&json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "!"}]}), "well-formed");
}

#[test]
fn one_kid_names_one_key() {
    let (one, other) = (EC.jwk_with(json!({"kid": "a"})), OTHER_EC.jwk_with(json!({"kid": "a"})));
    assert_set_fault(&json!({"keys": [one, other]}), "`kid` of another");
    let twice = [jwks(&[one]), jwks(&[other])].concat();
    assert!(Verifier::new(&with_keys(twice)).unwrap_err().problem().contains("same `kid`"));
}

#[test]
fn keys_for_other_uses_are_left_out_and_one_must_remain() {
    let others = [
        RSA.jwk_with(json!({"use": "enc", "alg": "RSA-OAEP"})),
        RSA.jwk_with(json!({"alg": "RS512"})),
        EC.jwk_with(json!({"key_ops": ["sign"]})),
        P384.jwk.clone(),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": encode([1; 32])}),
        json!({}),
    ];
    assert_set_fault(&json!({"keys": others}), "no key for");
    let used = [EC.jwk_with(json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]}))];
    assert_eq!(jwks(&[&others[..], &used[..]].concat()).len(), 1);
    assert_eq!(jwks(&[ED.jwk_with(json!({"alg": "Ed25519"}))]).len(), 1);
}

#[test]
fn what_is_no_key_set_is_refused() {
    for bad in ["", "[]", "null", r#"{"keys":{}}"#, r#"{"key":[]}"#, "-----BEGIN PUBLIC KEY-----"] {
        assert!(PublicKey::from_jwks(bad.as_bytes()).unwrap_err().problem().contains("not a JSON Web Key Set"), "{bad}");
    }
    assert_set_fault(&json!({"keys": []}), "no key for");
    assert_set_fault(&json!({"keys": vec![&EC.jwk; 65]}), "more than 64");
}

#[test]
fn without_a_key_there_is_no_verifier() {
    assert!(Verifier::new(&AuthConfig::default()).unwrap_err().problem().contains("no key"));
}

#[test]
fn nothing_secret_is_printed() {
    let config = AuthConfig { public_keys: vec![EC.public()], ..with_secret() };
    let verifier = Verifier::new(&config).unwrap();
    let minter = crate::auth::Minter::new(config.secret.as_ref().unwrap());
    let printed = format!("{config:?} {verifier:?} {minter:?}");
    assert!(!printed.contains("thirty-two") && !printed.contains("97, 32"), "{printed}");
    assert!(printed.contains("PublicKey(ES256)"));
}

#[test]
fn a_verifier_can_be_shared_by_all_workers() {
    fn shared<T: Send + Sync>() {}
    shared::<Verifier>();
}
