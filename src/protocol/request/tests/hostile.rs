//! Bytes that no honest client sends.

use proptest::prelude::*;

use super::*;
use crate::protocol::frame::harness::xorshift;

/// One good message for each action, in many shapes, from which bad ones are made.
const GOOD: &[&str] = &[
    r#"{"type":"auth","requestId":"1","payload":{"token":"a.b.c"}}"#,
    r#"{"type":"ping","requestId":"r-2","payload":{"t":[1,-2,3.5e-7,{"a":null,"\u00e4":"\ud83d\ude00\n"},true,[]]}}"#,
    r#"{"payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a","since":{"epoch":"e","seq":12}},"type":"join_conversation"}"#,
    r#"{"type":"leave_conversation","payload":{"conversationId":"0190F0D8-0000-7000-8000-00000000000A"},"requestId":"~ ~"}"#,
    r#"{"type":"send_message","requestId":"r-17","timestamp":"2026-11-24T09:30:00.000Z","payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a","content":"Good \"morning\"","clientMessageId":"c-1","replyTo":"0190f0d8-0000-7000-8000-00000000000b"}}"#,
    r#"{"type":"load_conversations","payload":{"limit":30,"cursor":"x"}}"#,
    r#"{"type":"load_messages","payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a","before":9007199254740991,"limit":200}}"#,
    r#"{"type":"typing_start","payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a"}}"#,
    r#"{"type":"typing_stop","payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a"}}"#,
    r#"{"type":"mark_read","payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a","seq":0}}"#,
    r#"{"type":"create_conversation","payload":{"memberIds":["auth0|5f7c","b"],"title":"Tea"}}"#,
    r#"{"type":"create_group","payload":{"name":"Tea","memberIds":["a"]}}"#,
    r#"{"type":"join_group","payload":{"inviteCode":"K7"}}"#,
    r#"{"type":"leave_group","payload":{"conversationId":"0190f0d8-0000-7000-8000-00000000000a"}}"#,
];

/// Pieces that mean something to a JSON parser or to this protocol.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\u00e4",
    "\\x",
    "null",
    "true",
    "fals",
    "-",
    "0",
    "01",
    "1.0",
    "1e400",
    "-0",
    "1e15",
    "18446744073709551616",
    "9007199254740992",
    " ",
    "\n",
    "\u{c}",
    "\u{feff}",
    "\0",
    "\u{1f}",
    "ä",
    "😀",
    "\"type\":\"ping\",",
    "\"requestId\":null,",
    "\"requestId\":\"q\",",
    "\"payload\":{},",
    "\"seq\":1,",
    "\"limit\":5,",
    "\"after\":5,",
    "[[[[[[[[[",
    "{\"a\":{\"a\":",
];

/// A good message after up to four accidents.
fn damaged(state: &mut u64) -> Vec<u8> {
    let mut pick = |count: usize| xorshift(state) as usize % count;
    let mut text = GOOD[pick(GOOD.len())].as_bytes().to_vec();
    for _ in 0..pick(5) {
        let at = pick(text.len() + 1);
        let end = (at + pick(9)).min(text.len());
        match pick(6) {
            0 => drop(text.splice(at..end, [])),
            1 => drop(text.splice(at..at, PIECES[pick(PIECES.len())].bytes())),
            2 => drop(text.splice(at..end, PIECES[pick(PIECES.len())].bytes())),
            3 => text.truncate(at),
            4 => text.insert(at, pick(256) as u8),
            _ => {
                let again = text[at..end].to_vec();
                drop(text.splice(at..at, again));
            }
        }
    }
    text
}

#[test]
fn ten_thousand_damaged_messages_keep_every_promise() {
    let mut state = 0x7061_726c_6f72_2e31;
    for good in GOOD {
        harness::run(good.as_bytes());
        let mut text = good.as_bytes().to_vec();
        assert!(Parser::new(harness::LIMITS).parse(&mut text).is_ok(), "{good}");
    }
    for _ in 0..10_000 {
        harness::run(&damaged(&mut state));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        harness::run(&bytes);
    }

    #[test]
    fn random_pieces_keep_every_promise(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        harness::run(pieces.concat().as_bytes());
    }
}

/// A message with `levels` containers in each other; the envelope is one of them.
fn nested(levels: usize, open: &str, core: &str, close: &str) -> String {
    format!(r#"{{"type":"ping","requestId":"r","x":{}{core}{}}}"#, open.repeat(levels - 1), close.repeat(levels - 1))
}

#[test]
fn nesting_ends_at_eight_levels() {
    for (open, core, close) in [("[", "", "]"), ("[", "[],1", "]"), (r#"{"a":"#, "1", "}"), (r#"{"a":"#, "{}", "}")] {
        let deeper = usize::from(core.starts_with(['[', '{']));
        let good = nested(8 - deeper, open, core, close);
        assert!(parser().parse(&mut good.clone().into_bytes()).is_ok(), "{good}");
        let bad = nested(9 - deeper, open, core, close);
        assert_eq!(refused(&bad), (ErrorCode::InvalidJson, None), "{bad}");
    }
}

#[test]
fn a_bomb_of_brackets_is_refused_at_once() {
    for bomb in ["[".repeat(100_000), r#"{"a":"#.repeat(100_000), nested(100_001, "[", "", "]"), "]".repeat(100_000)] {
        assert_eq!(refused(&bomb), (ErrorCode::InvalidJson, None));
    }
}

#[test]
fn the_memory_for_a_long_message_is_given_back() {
    let mut parser = parser();
    let mut long = format!(r#"{{"type":"ping","payload":{{"a":[{}1]}}}}"#, "1e15,".repeat(200_000)).into_bytes();
    assert!(parser.parse(&mut long).is_ok());
    assert_eq!(parser.tape.0.capacity(), 0);
    assert!(parser.parse(&mut br#"{"type":"ping"}"#.to_vec()).is_ok());
    assert!(parser.echo.capacity() < MAX_KEPT_REQUEST_BYTES);
    let kept = parser.tape.0.capacity();
    assert!(kept > 0 && kept < 1000, "{kept} nodes for a short message");
}

#[test]
fn memory_is_kept_from_message_to_message() {
    let mut parser = parser();
    let text = GOOD[4].as_bytes();
    assert!(parser.parse(&mut text.to_vec()).is_ok());
    let before = (parser.tape.0.as_ptr(), parser.tape.0.capacity());
    for _ in 0..100 {
        assert!(parser.parse(&mut text.to_vec()).is_ok());
        assert!(parser.parse(&mut b"{".to_vec()).is_err());
    }
    assert_eq!((parser.tape.0.as_ptr(), parser.tape.0.capacity()), before);
}
