//! What is JSON at all: RFC 8259, with `serde_json` as the second opinion.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn is_request(text: &str) -> bool {
    parser().parse(&mut text.as_bytes().to_vec()).is_ok()
}

/// Whether `value` may stand where any value may.
fn is_json(value: &str) -> bool {
    let mut bytes = format!(r#"{{"type":"ping","x":{value}}}"#).into_bytes();
    match parser().parse(&mut bytes) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::InvalidJson, "{value}");
            false
        }
    }
}

#[test]
fn messages_that_rfc_8259_does_not_allow_are_refused() {
    for text in [
        "",
        " ",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"ping\"}\u{feff}",
        "{\"type\":\"ping\"}x",
        "{\"type\":\"ping\"}{}",
        "{\"type\":\"ping\"},",
        "{\"type\":\"ping\"}\0",
        "{\"type\":\"ping\",}",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping}",
        "{\"type\" \"ping\"}",
        "{\"type\":}",
        "{type:\"ping\"}",
        "{'type':'ping'}",
        "{1:2}",
        "{\"type\":\"ping\"]",
        "{\"type\":\"ping\" /* no */}",
        "{,\"type\":\"ping\"}",
        "{\"type\":\"ping\"\u{c}}",
        "{\"type\":\"ping\"\u{a0}}",
    ] {
        assert_eq!(refused(text), (ErrorCode::InvalidJson, None), "{text:?}");
    }
}

#[test]
fn values_that_rfc_8259_does_not_allow_are_refused() {
    for value in [
        "[1,]",
        "[,1]",
        "[1 2]",
        "[}",
        "{]",
        "01",
        "-01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "0x1",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "tru",
        "True",
        "truefalse",
        "nulll",
        "undefined",
        "\"\u{1}\"",
        "\"\t\"",
        "\"\n\"",
        "\"\0\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800x\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\\ud800\"",
        "\"\\u+123\"",
        "\"\\\"",
        "\\\"a\"",
        "\"a\"\"b\"",
        "\"a\"b",
        "1\"a\"",
        "1\0",
    ] {
        assert!(!is_json(value), "{value:?}");
        assert!(serde_json::from_str::<Value>(&format!("[{value}]")).is_err(), "{value:?}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    for bytes in [
        &b"\xff"[..],
        b"{\"type\":\"ping\",\"x\":\"\xc0\x80\"}",
        b"{\"type\":\"ping\",\"x\":\"\xed\xa0\x80\"}",
        b"{\"type\":\"ping\xe2\x82",
    ] {
        let mut text = bytes.to_vec();
        assert_eq!(parser().parse(&mut text).map_err(|error| error.code), Err(ErrorCode::InvalidJson));
    }
}

/// Deliberately narrower than RFC 8259, section 6, allows: the alternative is to round an integer without saying so.
#[test]
fn an_integer_past_64_bits_is_refused() {
    for (value, fits) in [
        ("18446744073709551615", true),
        ("18446744073709551616", false),
        ("-9223372036854775808", true),
        ("-9223372036854775809", false),
        ("100000000000000000000", false),
        ("1e20", true),
        ("18446744073709551616.0", true),
    ] {
        assert_eq!(is_json(value), fits, "{value}");
    }
}

#[test]
fn every_byte_next_to_every_token_is_judged_as_serde_json_does() {
    for token in
        ["1", "-0", "0.5", "1e5", "true", "false", "null", "\"a\"", "[]", "{}", "\"a", "\"\\", "\"\\u00e", "-", "1.", "1e"]
    {
        for byte in 0..=0x7f_u8 {
            for value in [
                format!("{token}{}", char::from(byte)),
                format!("{}{token}", char::from(byte)),
                format!("[{token}{}]", char::from(byte)),
            ] {
                // A byte can close the envelope early; the two then still have to agree.
                let text = format!(r#"{{"type":"ping","x":{value}}}"#);
                assert_eq!(is_request(&text), serde_json::from_str::<Value>(&text).is_ok(), "{text:?}");
            }
        }
    }
}

#[test]
fn faults_at_the_seams_of_64_byte_blocks_are_found() {
    for pad in 0..130 {
        for tail in [
            "\"}",
            "\"x\"}",
            "\\\"}",
            "\\\\\"}",
            "\\u00e4\"}",
            "\\ud83d\\ude00\"}",
            "\\ud83d\"}",
            "\u{1}\"}",
            "ä\"}",
            "\"} x",
            "\",}",
        ] {
            let text = format!(r#"{{"type":"ping","x":"{}{tail}"#, "y".repeat(pad));
            assert_eq!(is_request(&text), serde_json::from_str::<Value>(&text).is_ok(), "{text:?}");
        }
    }
}

/// Any document, sometimes deeper than a message may be.
pub(super) fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("ping")),
    ];
    let key = || {
        prop_oneof![any::<String>(), proptest::sample::select(&["type", "requestId", "payload", "a"][..]).prop_map(str::to_owned)]
    };
    leaf.prop_recursive(10, 64, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key(), inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn documents_are_judged_as_serde_json_does(document in document(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let text = document.to_string();
        harness::run(text.as_bytes());
        harness::run(format!(r#"{{"type":"ping","requestId":"r","payload":{text}}}"#).as_bytes());
        let mut damaged = text.into_bytes();
        let at = cut.index(damaged.len());
        damaged[at] = byte;
        harness::run(&damaged);
        damaged.truncate(at);
        harness::run(&damaged);
    }
}
