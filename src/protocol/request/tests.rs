//! What a client may send, and what it is told otherwise.

mod envelope;
mod hostile;
mod json;
mod model;
mod payload;

use super::*;

const CONVERSATION: &str = "0190f0d8-0000-7000-8000-00000000000a";

fn parser() -> Parser {
    Parser::new(RequestLimits { max_content_chars: 20 })
}

/// The code of the error that `text` gets, and the request it answers.
fn refused(text: &str) -> (ErrorCode, Option<String>) {
    let mut bytes = text.as_bytes().to_vec();
    let mut parser = parser();
    let error = parser.parse(&mut bytes).expect_err(text);
    (error.code, error.request_id.map(str::to_owned))
}

/// The whole error that a `payload` gets, as code and message.
fn refused_payload(action: &str, payload: &str) -> (ErrorCode, String) {
    let mut text = format!(r#"{{"type":"{action}","requestId":"r","payload":{payload}}}"#).into_bytes();
    let mut parser = parser();
    let error = parser.parse(&mut text).expect_err(payload);
    assert_eq!(error.request_id, Some("r"), "{payload}");
    (error.code, error.message.into_owned())
}

/// Calls `check` with what a good `payload` becomes.
fn accepted(action: &str, payload: &str, check: impl FnOnce(Action<'_>)) {
    let mut text = format!(r#"{{"type":"{action}","payload":{payload}}}"#).into_bytes();
    let mut parser = parser();
    check(parser.parse(&mut text).unwrap_or_else(|error| panic!("{payload}: {error:?}")).action);
}

#[test]
fn names_are_parsed_back() {
    for &name in ActionName::ALL {
        assert_eq!(ActionName::parse(name.as_str()), Some(name));
    }
    assert_eq!(ActionName::ALL.len(), 14);
    assert_eq!(ActionName::parse("Auth"), None);
}

#[test]
fn a_parser_can_move_to_a_worker() {
    fn assert_send<T: Send>() {}
    assert_send::<Parser>();
}

#[test]
fn tokens_and_texts_are_not_in_debug_output() {
    accepted("auth", r#"{"token":"secret"}"#, |action| assert_eq!(format!("{action:?}"), "Action(Auth)"));
}
