//! PROTOCOL.md section 4.

use super::*;
use crate::protocol::limits::{MAX_CURSOR_BYTES, MAX_EPOCH_BYTES, MAX_INVITE_CODE_BYTES, MAX_TOKEN_BYTES};

fn conversation() -> ConversationId {
    ConversationId::parse(CONVERSATION).expect("an id")
}

/// A payload with the conversation's id and `more`.
fn in_conversation(more: &str) -> String {
    format!(r#"{{"conversationId":"{CONVERSATION}",{more}}}"#)
}

fn code(action: &str, payload: &str) -> ErrorCode {
    refused_payload(action, payload).0
}

#[test]
fn a_conversation_id_must_be_a_uuid_in_every_action_that_takes_one() {
    let expected = (ErrorCode::InvalidPayload, "payload.conversationId must be a UUID of 36 characters".to_owned());
    for action in [
        "join_conversation",
        "leave_conversation",
        "send_message",
        "load_messages",
        "typing_start",
        "typing_stop",
        "mark_read",
        "leave_group",
    ] {
        for id in ["null", "7", "\"\"", "[]", "\"0190f0d8000070008000000000000000\"", "\"0190f0d8-0000-7000-8000-00000000000g\""]
        {
            assert_eq!(refused_payload(action, &format!(r#"{{"conversationId":{id}}}"#)), expected, "{action} {id}");
        }
    }
}

#[test]
fn a_position_is_an_integer_below_two_to_the_53() {
    for seq in ["9007199254740992", "-1", "-0", "1.0", "1e3", "\"1\"", "null", "[1]", "true"] {
        assert_eq!(code("mark_read", &in_conversation(&format!(r#""seq":{seq}"#))), ErrorCode::InvalidPayload, "{seq}");
        let since = format!(r#""since":{{"epoch":"e","seq":{seq}}}"#);
        let expected = (ErrorCode::InvalidPayload, "payload.since.seq must be an integer from 0 to 2^53 - 1".to_owned());
        assert_eq!(refused_payload("join_conversation", &in_conversation(&since)), expected, "{seq}");
    }
    for (seq, number) in [("0", 0), ("9007199254740991", 9_007_199_254_740_991)] {
        accepted("mark_read", &in_conversation(&format!(r#""seq":{seq}"#)), |action| {
            let seq = Seq::new(number).expect("in range");
            assert_eq!(action, Action::MarkRead { conversation: conversation(), seq });
        });
    }
}

#[test]
fn opaque_strings_have_a_length() {
    let long = |max: usize| "x".repeat(max + 1);
    for (action, payload) in [
        ("auth", r#"{"token":""}"#.to_owned()),
        ("auth", format!(r#"{{"token":"{}"}}"#, long(MAX_TOKEN_BYTES))),
        ("join_group", r#"{"inviteCode":""}"#.to_owned()),
        ("join_group", format!(r#"{{"inviteCode":"{}"}}"#, long(MAX_INVITE_CODE_BYTES))),
        ("load_conversations", r#"{"cursor":""}"#.to_owned()),
        ("load_conversations", format!(r#"{{"cursor":"{}"}}"#, long(MAX_CURSOR_BYTES))),
        ("join_conversation", in_conversation(r#""since":{"epoch":"","seq":1}"#)),
        ("join_conversation", in_conversation(&format!(r#""since":{{"epoch":"{}","seq":1}}"#, long(MAX_EPOCH_BYTES)))),
    ] {
        assert_eq!(code(action, &payload), ErrorCode::InvalidPayload, "{payload}");
    }
    let token = "x".repeat(MAX_TOKEN_BYTES);
    accepted("auth", &format!(r#"{{"token":"{token}"}}"#), |action| assert_eq!(action, Action::Auth { token: &token }));
    let code = "x".repeat(MAX_INVITE_CODE_BYTES);
    accepted("join_group", &format!(r#"{{"inviteCode":"{code}"}}"#), |action| {
        assert_eq!(action, Action::JoinGroup { invite_code: &code });
    });
}

#[test]
fn content_is_counted_in_characters() {
    for good in ["x".repeat(20), "ä".repeat(20), "😀".repeat(20), " ".to_owned()] {
        accepted("send_message", &in_conversation(&format!(r#""content":"{good}""#)), |action| {
            let expected =
                Action::SendMessage { conversation: conversation(), content: &good, client_message_id: None, reply_to: None };
            assert!(action == expected, "{good}");
        });
    }
    for long in ["x".repeat(21), "ä".repeat(21), "😀".repeat(21), "x".repeat(1000), format!("{}x", "\\n".repeat(20))] {
        let refusal = refused_payload("send_message", &in_conversation(&format!(r#""content":"{long}""#)));
        assert_eq!(refusal, (ErrorCode::TooLarge, "payload.content must be at most 20 characters".to_owned()));
    }
    for wrong in [r#""content":"""#, r#""content":null"#, r#""content":1"#, r#""x":1"#] {
        let expected = "payload.content must be a string of 1 to 20 characters".to_owned();
        assert_eq!(refused_payload("send_message", &in_conversation(wrong)), (ErrorCode::InvalidPayload, expected));
    }
}

#[test]
fn content_without_a_limit_is_taken_at_any_length() {
    let content = "ä".repeat(100_000);
    let mut text =
        format!(r#"{{"type":"send_message","payload":{}}}"#, in_conversation(&format!(r#""content":"{content}""#))).into_bytes();
    let mut parser = Parser::new(RequestLimits { max_content_chars: usize::MAX });
    let request = parser.parse(&mut text).expect("no limit");
    assert!(matches!(request.action, Action::SendMessage { content: taken, .. } if taken == content));
}

#[test]
fn escapes_are_taken_out_of_content() {
    let payload = in_conversation(r#""content":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00""#);
    accepted("send_message", &payload, |action| {
        assert!(matches!(action, Action::SendMessage { content: "\"\\/\u{8}\u{c}\n\r\tä😀", .. }));
    });
}

#[test]
fn a_client_message_id_is_printable_and_short() {
    let with = |id: &str| in_conversation(&format!(r#""content":"x","clientMessageId":{id}"#));
    for id in ["\"\"", "\"ä\"", "\"a\\tb\"", "5"] {
        assert_eq!(code("send_message", &with(id)), ErrorCode::InvalidPayload, "{id}");
    }
    for id in ["x".repeat(65), "ä".repeat(33)] {
        assert_eq!(code("send_message", &with(&format!("\"{id}\""))), ErrorCode::TooLarge, "{id}");
    }
    let id = "x".repeat(64);
    accepted("send_message", &with(&format!("\"{id}\"")), |action| {
        assert!(matches!(action, Action::SendMessage { client_message_id: Some(taken), .. } if taken == id));
    });
    accepted("send_message", &with("null"), |action| {
        assert!(matches!(action, Action::SendMessage { client_message_id: None, .. }));
    });
}

#[test]
fn a_reply_names_a_message() {
    let reply_to = MessageId::parse(CONVERSATION).expect("an id");
    accepted("send_message", &in_conversation(&format!(r#""content":"x","replyTo":"{CONVERSATION}""#)), |action| {
        assert!(matches!(action, Action::SendMessage { reply_to: Some(taken), .. } if taken == reply_to));
    });
    let expected = "payload.replyTo must be a UUID of 36 characters".to_owned();
    let refusal = refused_payload("send_message", &in_conversation(r#""content":"x","replyTo":"first""#));
    assert_eq!(refusal, (ErrorCode::InvalidPayload, expected));
}

#[test]
fn pages_have_a_size() {
    for limit in ["0", "201", "-1", "1.0", "\"5\"", "18446744073709551615"] {
        let payload = in_conversation(&format!(r#""limit":{limit}"#));
        let expected = (ErrorCode::InvalidPayload, "payload.limit must be an integer from 1 to 200".to_owned());
        assert_eq!(refused_payload("join_conversation", &payload), expected, "{limit}");
        assert_eq!(refused_payload("load_messages", &payload), expected, "{limit}");
    }
    assert_eq!(code("load_conversations", r#"{"limit":101}"#), ErrorCode::InvalidPayload);
    accepted("load_conversations", r#"{"limit":100}"#, |action| {
        assert_eq!(action, Action::LoadConversations { limit: 100, cursor: None });
    });
    accepted("load_conversations", "{}", |action| assert_eq!(action, Action::LoadConversations { limit: 30, cursor: None }));
    accepted("join_conversation", &in_conversation(r#""since":null,"limit":null"#), |action| {
        assert_eq!(action, Action::JoinConversation { conversation: conversation(), since: None, limit: 50 });
    });
}

#[test]
fn a_page_is_taken_from_one_side_only() {
    let seven = Seq::new(7).expect("in range");
    for (fields, range) in [
        (r#""limit":200"#, PageRange::Latest),
        (r#""limit":200,"before":7,"after":null"#, PageRange::Before(seven)),
        (r#""limit":200,"after":7"#, PageRange::After(seven)),
    ] {
        accepted("load_messages", &in_conversation(fields), |action| {
            assert_eq!(action, Action::LoadMessages { conversation: conversation(), range, limit: 200 });
        });
    }
    let expected = "payload.before and payload.after must not come together".to_owned();
    let refusal = refused_payload("load_messages", &in_conversation(r#""before":1,"after":1"#));
    assert_eq!(refusal, (ErrorCode::InvalidPayload, expected));
}

#[test]
fn a_since_is_whole_or_absent() {
    accepted("join_conversation", &in_conversation(r#""since":{"seq":0,"epoch":"e","x":{}}"#), |action| {
        let since = Some(Since { epoch: "e", seq: Seq::ZERO });
        assert_eq!(action, Action::JoinConversation { conversation: conversation(), since, limit: 50 });
    });
    for since in ["{}", r#"{"seq":1}"#, r#"{"epoch":"e"}"#, "1", "[]", r#"{"epoch":null,"seq":1}"#] {
        let payload = in_conversation(&format!(r#""since":{since}"#));
        assert_eq!(code("join_conversation", &payload), ErrorCode::InvalidPayload, "{since}");
    }
}

#[test]
fn names_are_visible_and_short() {
    for name in ["\"\"", "\" \\t\\u2003\"", "7", "null"] {
        assert_eq!(code("create_group", &format!(r#"{{"name":{name}}}"#)), ErrorCode::InvalidPayload, "{name}");
    }
    for title in ["\"\"", "\"  \"", "7"] {
        let payload = format!(r#"{{"memberIds":["a"],"title":{title}}}"#);
        assert_eq!(code("create_conversation", &payload), ErrorCode::InvalidPayload, "{title}");
    }
    let long = "ä".repeat(101);
    assert_eq!(code("create_group", &format!(r#"{{"name":"{long}"}}"#)), ErrorCode::TooLarge);
    assert_eq!(code("create_conversation", &format!(r#"{{"memberIds":["a"],"title":"{long}"}}"#)), ErrorCode::TooLarge);
    let name = "ä".repeat(100);
    accepted("create_group", &format!(r#"{{"name":"{name}","memberIds":null}}"#), |action| {
        assert_eq!(action, Action::CreateGroup { name: &name, member_ids: Vec::new() });
    });
}

#[test]
fn a_list_of_members_is_checked_one_by_one() {
    let ids = |count: usize| format!("[{}]", vec!["\"a\""; count].join(","));
    assert_eq!(
        refused_payload("create_conversation", r#"{"memberIds":["a","b c"]}"#),
        (ErrorCode::InvalidPayload, "payload.memberIds[1] must be 1 to 128 bytes out of A-Z a-z 0-9 . _ : @ | -".to_owned())
    );
    for wrong in ["null", "\"a\"", "{\"a\":1}", "[1]", "[null]", "[[\"a\"]]", "[\"\"]", "[]"] {
        assert_eq!(code("create_conversation", &format!(r#"{{"memberIds":{wrong}}}"#)), ErrorCode::InvalidPayload, "{wrong}");
    }
    for (action, name) in [("create_conversation", ""), ("create_group", r#""name":"n","#)] {
        assert_eq!(code(action, &format!(r#"{{{name}"memberIds":{}}}"#, ids(101))), ErrorCode::TooLarge);
        accepted(action, &format!(r#"{{{name}"memberIds":{}}}"#, ids(100)), |action| match action {
            Action::CreateConversation { member_ids, .. } | Action::CreateGroup { member_ids, .. } => {
                assert_eq!(member_ids, vec![UserId::parse("a").expect("an id"); 100]);
            }
            other => panic!("{other:?}"),
        });
    }
    accepted("create_group", r#"{"name":"n","memberIds":[]}"#, |action| {
        assert_eq!(action, Action::CreateGroup { name: "n", member_ids: Vec::new() });
    });
}

#[test]
fn a_ping_gets_its_payload_back() {
    for (payload, echo) in [
        (
            r#"{ "a" : [ 1 , -2 , 0.5 , 1.0, 1E+2 , true , null , { } , [ ] , "" ] }"#,
            r#"{"a":[1,-2,0.5,1.0,100.0,true,null,{},[],""]}"#,
        ),
        (r#"{"a":-0,"a":-0.0}"#, r#"{"a":-0,"a":-0.0}"#),
        (
            r#"{"a":[1e300,5e-324,18446744073709551615,-9223372036854775808]}"#,
            r#"{"a":[1e300,5e-324,18446744073709551615,-9223372036854775808]}"#,
        ),
        (r#"{"\u0022\\\/\b\u001f":"\u00e4\ud83d\ude00\u007f"}"#, "{\"\\\"\\\\/\\u0008\\u001f\":\"ä😀\u{7f}\"}"),
    ] {
        accepted("ping", payload, |action| match action {
            Action::Ping { payload } => assert_eq!(std::str::from_utf8(payload), Ok(echo)),
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn a_ping_grows_by_a_small_factor_at_most() {
    for number in ["1e15", "9e15", "-1e15", "1e16", "1e-4", "1e-5", "0e0", "-0", "1e308"] {
        let payload = format!(r#"{{"":[{}]}}"#, vec![number; 100].join(","));
        accepted("ping", &payload, |action| match action {
            Action::Ping { payload: echo } => assert!(echo.len() <= MAX_ECHO_GROWTH * payload.len(), "{number}"),
            other => panic!("{other:?}"),
        });
    }
}
