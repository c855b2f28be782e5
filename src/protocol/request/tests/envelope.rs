//! PROTOCOL.md section 2.

use super::*;

#[test]
fn fields_may_come_in_any_order_and_unknown_ones_are_ignored() {
    let text = r#" {"x":[{"type":"auth"}],"payload":{"y":1},"timestamp":"when","requestId":"r-17","type":"ping","Type":"auth"} "#;
    let mut bytes = text.as_bytes().to_vec();
    let mut parser = parser();
    let request = parser.parse(&mut bytes).expect("a request");
    assert_eq!(request, Request { request_id: Some("r-17"), action: Action::Ping { payload: br#"{"y":1}"# } });
}

#[test]
fn optional_fields_may_be_null() {
    let mut bytes = br#"{"type":"ping","requestId":null,"timestamp":null,"payload":null}"#.to_vec();
    let mut parser = parser();
    let request = parser.parse(&mut bytes).expect("a request");
    assert_eq!(request, Request { request_id: None, action: Action::Ping { payload: b"{}" } });
}

#[test]
fn a_message_that_is_no_object_is_refused() {
    for text in ["[]", "1", "null", "true", r#""ping""#, r#"[{"type":"ping"}]"#] {
        assert_eq!(refused(text), (ErrorCode::InvalidEnvelope, None), "{text}");
    }
}

#[test]
fn fields_of_the_wrong_kind_are_refused_and_the_request_is_named() {
    for text in [
        r#"{"requestId":"r"}"#,
        r#"{"requestId":"r","type":null}"#,
        r#"{"requestId":"r","type":1}"#,
        r#"{"requestId":"r","type":["ping"]}"#,
        r#"{"requestId":"r","type":"ping","timestamp":1}"#,
        r#"{"requestId":"r","type":"ping","payload":[]}"#,
        r#"{"requestId":"r","type":"ping","payload":"{}"}"#,
        r#"{"payload":7,"type":"ping","requestId":"r"}"#,
    ] {
        assert_eq!(refused(text), (ErrorCode::InvalidEnvelope, Some("r".to_owned())), "{text}");
    }
}

#[test]
fn a_bad_request_id_is_refused_and_not_repeated() {
    for id in ["\"\"", "7", "{}", "\"a\\nb\"", "\"\\u007f\"", "\"ä\"", &format!("\"{}\"", "x".repeat(65))] {
        let text = format!(r#"{{"type":"ping","requestId":{id}}}"#);
        assert_eq!(refused(&text), (ErrorCode::InvalidEnvelope, None), "{text}");
    }
    for id in ["x".repeat(64), " ~".to_owned()] {
        let mut bytes = format!(r#"{{"type":"ping","requestId":"{id}"}}"#).into_bytes();
        assert_eq!(parser().parse(&mut bytes).map(|request| request.request_id), Ok(Some(id.as_str())));
    }
}

#[test]
fn a_repeated_known_key_is_refused_however_it_is_spelled() {
    let id = Some("r".to_owned());
    for (text, id) in [
        (r#"{"type":"ping","type":"ping","requestId":"r"}"#, id.clone()),
        (r#"{"type":"ping","typ\u0065":"ping","requestId":"r"}"#, id.clone()),
        (r#"{"type":"ping","payload":{},"requestId":"r","pa\u0079load":{}}"#, id.clone()),
        (r#"{"type":"ping","payload":null,"requestId":"r","payload":null}"#, id.clone()),
        (r#"{"type":"ping","timestamp":"a","requestId":"r","timestamp":"b"}"#, id.clone()),
        (r#"{"type":"ping","requestId":"r","requestId":"r"}"#, None),
        (r#"{"type":"ping","requestId":null,"requestId":"r"}"#, None),
        (r#"{"type":"mark_read","requestId":"r","payload":{"seq":1,"seq":1,"seq":1}}"#, id.clone()),
        (r#"{"type":"mark_read","requestId":"r","payload":{"seq":1,"s\u0065q":2}}"#, id.clone()),
    ] {
        assert_eq!(refused(text), (ErrorCode::InvalidJson, id), "{text}");
    }
    let since = format!(r#"{{"conversationId":"{CONVERSATION}","since":{{"seq":1,"epoch":"e","epoch":"e"}}}}"#);
    let message = "payload.since.epoch must not appear twice".to_owned();
    assert_eq!(refused_payload("join_conversation", &since), (ErrorCode::InvalidJson, message));
}

#[test]
fn repeated_keys_that_mean_nothing_are_ignored() {
    accepted("ping", r#"{"type":1,"type":2}"#, |action| {
        assert_eq!(action, Action::Ping { payload: br#"{"type":1,"type":2}"# });
    });
    accepted("typing_stop", &format!(r#"{{"seq":1,"seq":2,"conversationId":"{CONVERSATION}"}}"#), |action| {
        assert_eq!(action.name(), ActionName::TypingStop);
    });
}

#[test]
fn nul_characters_are_refused_wherever_they_stand() {
    let id = Some("r".to_owned());
    for (text, id) in [
        (r#"{"type":"ping\u0000","requestId":"r"}"#, id.clone()),
        (r#"{"a\u0000":1,"type":"ping","requestId":"r"}"#, id.clone()),
        (r#"{"type":"ping","payload":{"a":[{"b":["\u0000"]}]},"requestId":"r"}"#, id.clone()),
        (r#"{"type":"ping","payload":{"a":{"\u0000":1}},"requestId":"r"}"#, id.clone()),
        (r#"{"type":"nothing","x":["\\\u0000"],"requestId":"r"}"#, id.clone()),
        (r#"{"type":"ping","requestId":"\u0000"}"#, None),
        (r#"["\u0000"]"#, None),
    ] {
        assert_eq!(refused(text), (ErrorCode::InvalidText, id), "{text}");
    }
    accepted("ping", r#"{"a":"\\u0000"}"#, |action| assert_eq!(action, Action::Ping { payload: br#"{"a":"\\u0000"}"# }));
}

#[test]
fn an_unknown_type_is_refused_and_the_request_is_named() {
    for text in [
        r#"{"type":"","requestId":"r"}"#,
        r#"{"payload":{"conversationId":1},"type":"SEND_MESSAGE","requestId":"r"}"#,
        r#"{"type":"message_created","requestId":"r"}"#,
    ] {
        assert_eq!(refused(text), (ErrorCode::UnknownType, Some("r".to_owned())), "{text}");
    }
}

#[test]
fn a_missing_payload_is_refused_where_a_field_is_needed() {
    for &name in ActionName::ALL {
        let mut bytes = format!(r#"{{"type":"{}","requestId":"r"}}"#, name.as_str()).into_bytes();
        let mut parser = parser();
        let result = parser.parse(&mut bytes);
        match name {
            ActionName::Ping | ActionName::LoadConversations => assert_eq!(result.map(|request| request.action.name()), Ok(name)),
            ActionName::Auth
            | ActionName::JoinConversation
            | ActionName::LeaveConversation
            | ActionName::SendMessage
            | ActionName::LoadMessages
            | ActionName::TypingStart
            | ActionName::TypingStop
            | ActionName::MarkRead
            | ActionName::CreateConversation
            | ActionName::CreateGroup
            | ActionName::JoinGroup
            | ActionName::LeaveGroup => {
                let error = result.expect_err("fields are missing");
                assert_eq!((error.code, error.request_id), (ErrorCode::InvalidPayload, Some("r")), "{}", error.message);
                assert!(error.message.starts_with("payload."), "{}", error.message);
            }
        }
    }
}

#[test]
fn messages_name_the_field_and_never_the_text() {
    let text = r#"{"type":"auth","requestId":"r","payload":{"token":["hunter2"]}}"#;
    let mut bytes = text.as_bytes().to_vec();
    let error = parser().parse(&mut bytes).expect_err("a bad token").message.into_owned();
    assert_eq!(error, "payload.token must be a string of 1 to 8192 bytes");
}
