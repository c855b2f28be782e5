//! The zoo of bad tokens, each by name, and the good ones they resemble.

use std::time::Duration;

use super::*;
use crate::auth::{MAX_TOKEN_BYTES, Minter};
use crate::protocol::UserId;

fn all_pairs() -> [&'static Pair; 3] {
    [&RSA, &EC, &ED]
}

#[test]
fn each_type_of_key_takes_its_own_tokens() {
    assert_good(&with_secret(), &hs256(SECRET, &good_claims()));
    for pair in all_pairs() {
        assert_good(&with_keys(vec![pair.public()]), &pair.token(&good_claims()));
        let set = with_keys(jwks(&[pair.jwk_with(json!({"kid": "a"}))]));
        assert_good(&set, &pair.token_with_kid("a", &good_claims()));
    }
}

#[test]
fn a_minted_token_is_taken_until_it_expires() {
    let config = AuthConfig { issuer: Some("me".into()), audience: Some("chat".into()), ..with_secret() };
    let sub = UserId::parse("alice").unwrap();
    let minter = Minter::new(config.secret.as_ref().unwrap());
    let token = minter.mint(&sub, Some("Alice"), Duration::from_millis(1_500), NOW, Some("me"), Some("chat"));
    let verifier = Verifier::new(&config).unwrap();
    let identity = verifier.verify(&token, NOW).unwrap();
    assert_eq!((identity.user, &*identity.name), (sub, "Alice"));
    assert_eq!(identity.expires_at, UnixMillis::new(NOW.get() + 2_000));
    assert!(verifier.verify(&token, UnixMillis::new(NOW.get() + 1_999)).is_ok());
    assert_eq!(verifier.verify(&token, identity.expires_at), Err(AuthError::Expired));
}

#[test]
fn alg_none_is_refused() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!("{}.{}.", encode(json!({ "alg": alg }).to_string()), encode(good_claims().to_string()));
        for config in [with_secret(), with_keys(vec![RSA.public()]), with_keys(vec![EC.public()])] {
            assert_invalid(&config, &unsigned);
            assert_invalid(&config, unsigned.trim_end_matches('.'));
            assert_invalid(&config, &format!("{unsigned}AAAA"));
        }
    }
}

#[test]
fn hs256_signed_with_a_public_key_is_refused() {
    for pair in all_pairs() {
        let secrets = [pair.public_pem.as_bytes(), pair.public_pem.trim_end().as_bytes(), &pair.public_der];
        for secret in secrets {
            let token = hs256(secret, &good_claims());
            assert_invalid(&with_keys(vec![pair.public()]), &token);
            assert_invalid(&AuthConfig { public_keys: vec![pair.public()], ..with_secret() }, &token);
            let key = EncodingKey::from_secret(secret);
            let named = sign(&json!({"alg": "HS256", "kid": "a"}), &good_claims(), &key, Algorithm::HS256);
            assert_invalid(&with_keys(jwks(&[pair.jwk_with(json!({"kid": "a"}))])), &named);
        }
    }
}

#[test]
fn another_algorithm_of_the_same_family_is_refused() {
    let secret = EncodingKey::from_secret(SECRET);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert_invalid(&with_secret(), &sign(&json!({"alg": algorithm}), &good_claims(), &secret, algorithm));
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
        let token = sign(&json!({"alg": algorithm}), &good_claims(), &RSA.signing, algorithm);
        assert_invalid(&with_keys(vec![RSA.public()]), &token);
    }
}

#[test]
fn an_algorithm_that_is_not_that_of_the_signature_is_refused() {
    let all = AuthConfig { public_keys: all_pairs().map(Pair::public).to_vec(), ..with_secret() };
    for pair in all_pairs() {
        for alg in ["HS256", "RS256", "ES256", "EdDSA"] {
            let token = sign(&json!({"alg": alg}), &good_claims(), &pair.signing, pair.algorithm);
            if json!(pair.algorithm) == alg { assert_good(&all, &token) } else { assert_invalid(&all, &token) }
        }
    }
}

#[test]
fn a_tampered_token_is_refused() {
    for (config, token) in [
        (with_secret(), hs256(SECRET, &good_claims())),
        (with_keys(vec![RSA.public()]), RSA.token(&good_claims())),
        (with_keys(vec![EC.public()]), EC.token(&good_claims())),
        (with_keys(vec![ED.public()]), ED.token(&good_claims())),
    ] {
        let parts: Vec<_> = token.split('.').collect();
        let mallory = encode(claims_with(json!({"sub": "mallory"})).to_string());
        assert_invalid(&config, &format!("{}.{mallory}.{}", parts[0], parts[2]));
        let header = encode(r#"{"alg":"HS256","typ":"jwt"}"#);
        assert_invalid(&config, &format!("{header}.{}.{}", parts[1], parts[2]));
        let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        for at in [0, signature.len() / 2, signature.len() - 1] {
            signature[at] ^= 1;
            assert_invalid(&config, &format!("{}.{}.{}", parts[0], parts[1], encode(&signature)));
            signature[at] ^= 1;
        }
        for length in [0, 1, signature.len() - 1] {
            assert_invalid(&config, &format!("{}.{}.{}", parts[0], parts[1], encode(&signature[..length])));
        }
        assert_invalid(&config, &format!("{}.{}.{}", parts[0], parts[1], encode(vec![0; signature.len()])));
        assert_good(&config, &token);
    }
}

#[test]
fn a_token_of_the_wrong_shape_is_refused() {
    let config = with_secret();
    let token = hs256(SECRET, &good_claims());
    let two_parts = token.rsplit_once('.').unwrap().0;
    for bad in ["", ".", "..", "...", "....", "null", "{}", "\0", two_parts, &format!("Bearer {token}")] {
        assert_invalid(&config, bad);
    }
    for (before, after) in [("", "."), ("", ".."), (".", ""), ("", ".AAAA"), ("", ".a.b"), (" ", ""), ("", "\n"), ("AAAA.", "")] {
        assert_invalid(&config, &format!("{before}{token}{after}"));
    }
    let deep = sign_text(r#"{"alg":"HS256"}"#, &"[".repeat(4_000), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    assert_invalid(&config, &deep);
}

#[test]
fn base64_that_is_not_canonical_is_refused() {
    // 32 bytes of signature leave two bits of the last digit unused: four digits would decode to the same bytes.
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let config = with_secret();
    let token = hs256(SECRET, &good_claims());
    let (rest, last) = token.split_at(token.len() - 1);
    let digit = ALPHABET.iter().position(|&c| c == last.as_bytes()[0]).unwrap();
    for unused in 1..4 {
        assert_invalid(&config, &format!("{rest}{}", ALPHABET[digit | unused] as char));
    }
    assert_invalid(&config, &format!("{token}="));
    let padded = token.replacen('.', "=.", 1);
    assert_invalid(&config, &padded);
    // The alphabet of base64url, not that of base64: this payload encodes to both digits in which they differ.
    let claims = format!("{}{}", good_claims().to_string().trim_end_matches('}'), r#","a":">>>???~~~"}"#);
    let token = sign_text(r#"{"alg":"HS256"}"#, &claims, &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    let standard = token.replace('-', "+").replace('_', "/");
    assert_ne!(standard, token);
    assert_good(&config, &token);
    assert_invalid(&config, &standard);
}

#[test]
fn a_token_is_at_most_8192_bytes() {
    let config = with_secret();
    let of_padding = |n: usize| hs256(SECRET, &claims_with(json!({"padding": "x".repeat(n)})));
    let fits = (5_000..7_000).map(of_padding).take_while(|token| token.len() <= MAX_TOKEN_BYTES).last().unwrap();
    assert!(fits.len() > MAX_TOKEN_BYTES - 4);
    assert_good(&config, &fits);
    assert_invalid(&config, &of_padding(7_000));
}

#[test]
fn a_key_in_the_header_is_never_used() {
    let config = with_keys(jwks(&[EC.jwk_with(json!({"kid": "a"}))]));
    let attacker = &OTHER_EC;
    for header in [
        json!({"alg": "ES256", "jwk": attacker.jwk}),
        json!({"alg": "ES256", "kid": "a", "jwk": attacker.jwk_with(json!({"kid": "a"}))}),
        json!({"alg": "ES256", "kid": "a", "jku": "https://evil.test/jwks.json"}),
        json!({"alg": "ES256", "kid": "a", "x5u": "https://evil.test/cert.pem"}),
        json!({"alg": "ES256", "kid": "a", "x5c": [STANDARD.encode(&attacker.public_der)]}),
    ] {
        assert_invalid(&config, &sign(&header, &good_claims(), &attacker.signing, Algorithm::ES256));
    }
}

#[test]
fn a_header_with_crit_is_refused() {
    let key = EncodingKey::from_secret(SECRET);
    for header in [json!({"alg": "HS256", "crit": ["b64"], "b64": true}), json!({"alg": "HS256", "crit": []})] {
        assert_invalid(&with_secret(), &sign(&header, &good_claims(), &key, Algorithm::HS256));
    }
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let set = with_keys(jwks(&[EC.jwk_with(json!({"kid": "a"})), ED.jwk_with(json!({"kid": "b"}))]));
    let with_both = AuthConfig { public_keys: set.public_keys.clone(), ..with_secret() };
    let long = "x".repeat(1_000);
    let tricks =
        ["../../dev/null", "/dev/null", "a' OR '1'='1", "a; rm -rf /", "", " ", "A", "a\0", "unknown", "http://evil.test", &long];
    for kid in tricks {
        assert_invalid(&set, &EC.token_with_kid(kid, &good_claims()));
        assert_invalid(&set, &OTHER_EC.token_with_kid(kid, &good_claims()));
        // What /dev/null holds, and what the attacker can guess.
        for secret in ["", "\0", "a", kid] {
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = sign(&json!({"alg": "HS256", "kid": kid}), &good_claims(), &key, Algorithm::HS256);
            assert_invalid(&set, &token);
            assert_invalid(&with_both, &token);
        }
    }
    let key = EncodingKey::from_secret(SECRET);
    for kid in [json!(1), json!(["a"]), json!({"a": 1})] {
        let token = sign(&json!({"alg": "HS256", "kid": kid}), &good_claims(), &key, Algorithm::HS256);
        assert_invalid(&with_both, &token);
    }
}

#[test]
fn a_known_kid_chooses_that_key_only() {
    let set = with_keys(jwks(&[EC.jwk_with(json!({"kid": "a"})), OTHER_EC.jwk_with(json!({"kid": "b"}))]));
    assert_good(&set, &EC.token_with_kid("a", &good_claims()));
    assert_invalid(&set, &EC.token_with_kid("b", &good_claims()));
    let with_both = AuthConfig { public_keys: set.public_keys, ..with_secret() };
    let named = json!({"alg": "HS256", "kid": "a"});
    assert_invalid(&with_both, &sign(&named, &good_claims(), &EncodingKey::from_secret(SECRET), Algorithm::HS256));
}

#[test]
fn a_token_without_kid_needs_a_key_without_kid_or_the_only_one() {
    let token = EC.token(&good_claims());
    let named = EC.jwk_with(json!({"kid": "a"}));
    assert_good(&with_keys(jwks(std::slice::from_ref(&named))), &token);
    assert_invalid(&with_keys(jwks(&[named.clone(), OTHER_EC.jwk_with(json!({"kid": "b"}))])), &token);
    assert_good(&with_keys(jwks(&[EC.jwk.clone(), OTHER_EC.jwk_with(json!({"kid": "b"}))])), &token);
    assert_good(&with_keys(jwks(&[OTHER_EC.jwk.clone(), EC.jwk.clone()])), &token);
    assert_invalid(&AuthConfig { public_keys: jwks(&[named]), ..with_secret() }, &token);
}

#[test]
fn a_kid_that_nobody_configured_is_tried_with_the_keys_that_have_none() {
    assert_good(&with_keys(vec![EC.public()]), &EC.token_with_kid("from the issuer", &good_claims()));
    assert_invalid(&with_keys(vec![EC.public()]), &OTHER_EC.token_with_kid("from the issuer", &good_claims()));
}

#[test]
fn a_secret_and_a_key_set_are_both_trusted_during_a_rotation() {
    let config = AuthConfig { public_keys: jwks(&[EC.jwk_with(json!({"kid": "new"}))]), ..with_secret() };
    assert_good(&config, &hs256(SECRET, &good_claims()));
    assert_good(&config, &EC.token_with_kid("new", &good_claims()));
}

#[test]
fn supabase_users_are_taken_and_its_api_keys_are_not() {
    let issuer = "https://project.supabase.co/auth/v1";
    let config = AuthConfig { issuer: Some(issuer.into()), audience: Some("authenticated".into()), ..with_secret() };
    let key = EncodingKey::from_secret(SECRET);
    let header = json!({"alg": "HS256", "kid": "KwK0oN1EVi1ZFYxC", "typ": "JWT"});
    let user = json!({
        "iss": issuer, "sub": "alice", "aud": "authenticated", "iat": NOW_SECS, "exp": NOW_SECS + 3_600, "email": "a@example.com",
        "app_metadata": {"provider": "email"}, "user_metadata": {"full_name": "Alice A."}, "role": "authenticated",
    });
    let identity = verify(&config, &sign(&header, &user, &key, Algorithm::HS256)).unwrap();
    assert_eq!(&*identity.name, "Alice A.");
    for role in ["anon", "service_role"] {
        let api_key = json!({"iss": "supabase", "ref": "project", "role": role, "iat": NOW_SECS, "exp": NOW_SECS + 3_600});
        assert_invalid(&config, &hs256(SECRET, &api_key));
        assert_invalid(&with_secret(), &hs256(SECRET, &api_key));
    }
}

#[test]
fn iss_and_aud_must_be_there_and_right_when_they_are_configured() {
    let config = AuthConfig { issuer: Some("me".into()), audience: Some("chat".into()), ..with_secret() };
    let token = |iss: Value, aud: Value| hs256(SECRET, &claims_with(json!({"iss": iss, "aud": aud})));
    for aud in [json!("chat"), json!(["shop", "chat"])] {
        assert_good(&config, &token(json!("me"), aud));
    }
    for (iss, aud) in [
        (json!("you"), json!("chat")),
        (json!("me/"), json!("chat")),
        (json!(null), json!("chat")),
        (json!(1), json!("chat")),
        (json!("me"), json!("shop")),
        (json!("me"), json!("chat2")),
        (json!("me"), json!(["shop"])),
        (json!("me"), json!([])),
        (json!("me"), json!({"chat": true})),
        (json!("me"), json!(null)),
    ] {
        assert_invalid(&config, &token(iss, aud));
    }
    assert_good(&with_secret(), &token(json!("anyone"), json!("anything")));
}

#[test]
fn sub_must_be_a_user_id() {
    assert_invalid(&with_secret(), &hs256(SECRET, &claims_with(json!({"sub": null}))));
    let long = "x".repeat(129);
    for sub in
        [json!(""), json!("a\0"), json!("a b"), json!(long), json!("ä"), json!(7), json!(["alice"]), json!({"id": "alice"})]
    {
        assert_invalid(&with_secret(), &hs256(SECRET, &claims_with(json!({"sub": sub}))));
    }
}

#[test]
fn a_claim_given_twice_is_refused() {
    let exp = NOW_SECS + 3_600;
    for claims in [
        format!(r#"{{"sub":"alice","sub":"mallory","exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":1,"exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"\u0073ub":"mallory"}}"#),
    ] {
        let token = sign_text(r#"{"alg":"HS256"}"#, &claims, &EncodingKey::from_secret(SECRET), Algorithm::HS256);
        assert_invalid(&with_secret(), &token);
    }
}

#[test]
fn exp_must_be_a_number_and_in_the_future() {
    let expires = |exp: Value| {
        let verified = verify(&with_secret(), &hs256(SECRET, &claims_with(json!({ "exp": exp }))));
        verified.map(|identity| identity.expires_at.get())
    };
    for bad in [json!(null), json!("1900000000"), json!(true), json!([NOW_SECS + 1]), json!({})] {
        assert_eq!(expires(bad), Err(AuthError::Invalid));
    }
    for over in [json!(NOW_SECS), json!(NOW_SECS - 1), json!(NOW_SECS as f64 - 0.5), json!(0), json!(-1), json!(-1e300)] {
        assert_eq!(expires(over), Err(AuthError::Expired));
    }
    assert_eq!(expires(json!(NOW_SECS + 1)), Ok(NOW.get() + 1_000));
    assert_eq!(expires(json!(NOW_SECS as f64 + 0.5)), Ok(NOW.get() + 500));
    for absurd in [json!(u64::MAX), json!(1e300), json!(1e17)] {
        assert_eq!(expires(absurd), Ok(253_402_300_799_999));
    }
}

#[test]
fn expired_is_said_only_of_a_token_that_was_good() {
    let config = AuthConfig { audience: Some("chat".into()), ..with_secret() };
    let over = |changes: Value| {
        let mut claims = claims_with(changes);
        claims["exp"] = json!(NOW_SECS - 1);
        claims
    };
    let good = over(json!({"aud": "chat"}));
    assert_eq!(verify(&config, &hs256(SECRET, &good)), Err(AuthError::Expired));
    assert_invalid(&config, &hs256(b"another secret of thirty-two bytes or so", &good));
    assert_invalid(&config, &hs256(SECRET, &over(json!({"aud": "shop"}))));
    assert_invalid(&config, &hs256(SECRET, &over(json!({"aud": "chat", "sub": null}))));
    assert_invalid(&config, &hs256(SECRET, &over(json!({"aud": "chat", "sub": "a b"}))));
    assert_invalid(&config, &hs256(SECRET, &over(json!({"aud": "chat", "nbf": NOW_SECS + 60}))));
}

#[test]
fn nbf_is_kept_to_with_five_seconds_for_the_issuers_clock() {
    let token = |nbf: Value| hs256(SECRET, &claims_with(json!({ "nbf": nbf })));
    for good in [json!(null), json!(0), json!(-5), json!(NOW_SECS), json!(NOW_SECS + 5), json!(NOW_SECS as f64 + 4.9)] {
        assert_good(&with_secret(), &token(good));
    }
    for bad in [json!(NOW_SECS + 6), json!(NOW_SECS as f64 + 5.1), json!(1e300), json!("0"), json!([0])] {
        assert_invalid(&with_secret(), &token(bad));
    }
}

#[test]
fn names_are_short_and_do_not_disturb_the_text_around_them() {
    let name = |changes: Value| verify(&with_secret(), &hs256(SECRET, &claims_with(changes))).unwrap().name.to_string();
    let of = |text: &str| name(json!({ "name": text }));
    assert_eq!(of("  Ally \n"), "Ally");
    assert_eq!(of("Al\0\u{7}ly\u{202E}\u{2028}"), "Ally");
    assert_eq!(of("Zoë 🦀"), "Zoë 🦀");
    assert_eq!(of(&"ä".repeat(101)), "ä".repeat(100));
    assert_eq!(of(&format!("{} b", "a".repeat(99))), "a".repeat(99));
    assert_eq!(name(json!({"name": null, "user_metadata": {"name": "N", "full_name": "F"}})), "N");
    assert_eq!(name(json!({"name": " \0", "user_metadata": {"name": 7, "full_name": "F"}})), "F");
    for nameless in [json!({"name": null}), json!({"name": 7}), json!({"name": null, "user_metadata": "x"}), json!({"name": ""})]
    {
        assert_eq!(name(nameless), "alice");
    }
    assert_eq!(name(json!({"name": null, "sub": "x".repeat(128)})), "x".repeat(100));
}
