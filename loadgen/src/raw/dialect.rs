//! The words of all dialects: requests out, and what an incoming message is, told from its first bytes.
//!
//! Parlor and the plain peers speak the same envelopes. Socket.IO has its own: packets of Engine.IO 4 (`0` open, `2` ping, `3` pong,
//! `4` message) that carry packets of Socket.IO 5 (`0` connect, `2` event, `3` acknowledgement, `4` refusal), all in text frames.

use crate::raw::cli::Dialect;

/// Members that can be named when a group is created; the others join by invite code.
pub(crate) const MAX_NAMED_MEMBERS: usize = 100;

/// A request, and how the reply to wait for starts.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The message; `None` to wait for what the server says by itself.
    pub(crate) request: Option<String>,
    /// The reply's first bytes.
    pub(crate) reply: &'static [u8],
}

impl Step {
    fn new(request: String, reply: &'static [u8]) -> Self {
        Self { request: Some(request), reply }
    }
}

/// A place in the log to come back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which history.
    pub(crate) epoch: String,
    /// How far it is known.
    pub(crate) seq: u64,
}

/// Says who one is.
pub(crate) fn auth(dialect: Dialect, token: &str) -> Vec<Step> {
    match dialect {
        Dialect::Parlor | Dialect::Peer => {
            let request = format!(r#"{{"type":"auth","requestId":"a","payload":{{"token":"{token}"}}}}"#);
            vec![Step::new(request, br#"{"type":"auth""#)]
        }
        Dialect::Socketio => {
            vec![Step { request: None, reply: b"0{" }, Step::new(format!(r#"40{{"token":"{token}"}}"#), b"40")]
        }
    }
}

/// Founds a group with `members`; user ids hold nothing that JSON would escape.
pub(crate) fn create_group(name: &str, members: &[&str]) -> Step {
    let members: Vec<String> = members.iter().map(|user| format!("\"{user}\"")).collect();
    let members = members.join(",");
    let request = format!(r#"{{"type":"create_group","requestId":"c","payload":{{"name":"{name}","memberIds":[{members}]}}}}"#);
    Step::new(request, br#"{"type":"create_group""#)
}

/// Becomes a member of the group with this code.
pub(crate) fn join_group(invite: &str) -> Step {
    let request = format!(r#"{{"type":"join_group","requestId":"g","payload":{{"inviteCode":"{invite}"}}}}"#);
    Step::new(request, br#"{"type":"join_group""#)
}

/// Starts a conversation's live events, with what was missed after `since`. Only Parlor has a log to come back to.
pub(crate) fn join_conversation(dialect: Dialect, conversation: &str, since: Option<&Position>) -> Step {
    let from = match (dialect, since) {
        (Dialect::Parlor, Some(Position { epoch, seq })) => format!(r#","since":{{"epoch":"{epoch}","seq":{seq}}}"#),
        (Dialect::Parlor, None) => r#","limit":1"#.to_owned(),
        (Dialect::Peer | Dialect::Socketio, _) => String::new(),
    };
    let payload = format!(r#"{{"conversationId":"{conversation}"{from}}}"#);
    match dialect {
        Dialect::Parlor | Dialect::Peer => {
            let request = format!(r#"{{"type":"join_conversation","requestId":"j","payload":{payload}}}"#);
            Step::new(request, br#"{"type":"join_conversation""#)
        }
        Dialect::Socketio => Step::new(format!(r#"421["join_conversation",{payload}]"#), b"431["),
    }
}

/// Says that one types, or has stopped. There is no reply: hints are not worth one.
pub(crate) fn typing(dialect: Dialect, conversation: &str, action: Typing) -> String {
    let action = match action {
        Typing::Start => "typing_start",
        Typing::Stop => "typing_stop",
    };
    match dialect {
        Dialect::Parlor | Dialect::Peer => {
            format!(r#"{{"type":"{action}","payload":{{"conversationId":"{conversation}"}}}}"#)
        }
        Dialect::Socketio => format!(r#"42["{action}",{{"conversationId":"{conversation}"}}]"#),
    }
}

/// The two things to say about typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    /// Now.
    Start = 0,
    /// No more.
    Stop = 1,
}

/// What an incoming message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Somebody's message, delivered.
    MessageCreated,
    /// Somebody types, or has stopped.
    Typing(Typing),
    /// The reply to a `send_message`.
    SendReply,
    /// A refusal.
    Error,
    /// The server of Engine.IO asks whether anybody is there; [`PONG`] is the answer.
    Ping,
    /// Anything else.
    Other,
}

/// Answers [`Incoming::Ping`].
pub(crate) const PONG: &[u8] = b"3";

/// Tells a message by its first bytes: every server here writes `type` first, without spaces.
pub(crate) fn classify(dialect: Dialect, message: &[u8]) -> Incoming {
    match dialect {
        Dialect::Parlor | Dialect::Peer => message.strip_prefix(br#"{"type":""#).map_or(Incoming::Other, classify_type),
        Dialect::Socketio => classify_packet(message),
    }
}

/// What follows `{"type":"`.
fn classify_type(rest: &[u8]) -> Incoming {
    if rest.starts_with(br#"message_created""#) {
        Incoming::MessageCreated
    } else if rest.starts_with(br#"send_message""#) {
        Incoming::SendReply
    } else if rest.starts_with(br#"typing_started""#) {
        Incoming::Typing(Typing::Start)
    } else if rest.starts_with(br#"typing_stopped""#) {
        Incoming::Typing(Typing::Stop)
    } else if rest.starts_with(br#"error""#) {
        Incoming::Error
    } else {
        Incoming::Other
    }
}

fn classify_packet(packet: &[u8]) -> Incoming {
    match packet {
        b"2" => Incoming::Ping,
        // `41`: the server has ended the session.
        [b'4', b'1' | b'4', ..] => Incoming::Error,
        // The connections' own acknowledgements have one digit; a message's is the time of its sending.
        [b'4', b'3', _, b'[', ..] => Incoming::Other,
        [b'4', b'3', ..] => Incoming::SendReply,
        [b'4', b'2', b'[', b'"', rest @ ..] => classify_type(rest),
        _ => Incoming::Other,
    }
}

/// The text between `opening` and the next quotation mark.
pub(crate) fn quoted_after<'a>(message: &'a str, opening: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(opening)?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let classify = |message: &str| classify(Dialect::Parlor, message.as_bytes());
        assert_eq!(classify(r#"{"type":"message_created","payload":{}}"#), Incoming::MessageCreated);
        assert_eq!(classify(r#"{"type":"send_message","requestId":"1"}"#), Incoming::SendReply);
        assert_eq!(classify(r#"{"type":"typing_started","payload":{}}"#), Incoming::Typing(Typing::Start));
        assert_eq!(classify(r#"{"type":"typing_stopped","payload":{}}"#), Incoming::Typing(Typing::Stop));
        assert_eq!(classify(r#"{"type":"error","payload":{}}"#), Incoming::Error);
        assert_eq!(classify(r#"{"type":"send_messages"}"#), Incoming::Other);
        assert_eq!(classify("2"), Incoming::Other);
    }

    #[test]
    fn packets_are_told_apart() {
        let classify = |packet: &str| classify(Dialect::Socketio, packet.as_bytes());
        assert_eq!(classify("2"), Incoming::Ping);
        assert_eq!(classify(r#"0{"sid":"x"}"#), Incoming::Other);
        assert_eq!(classify(r#"40{"sid":"x"}"#), Incoming::Other);
        assert_eq!(classify(r#"431[{}]"#), Incoming::Other);
        assert_eq!(classify(r#"4312[{}]"#), Incoming::SendReply);
        assert_eq!(classify(r#"42["message_created",{}]"#), Incoming::MessageCreated);
        assert_eq!(classify(r#"42["typing_stopped",{}]"#), Incoming::Typing(Typing::Stop));
        assert_eq!(classify(r#"44{"message":"no"}"#), Incoming::Error);
        assert_eq!(classify("41"), Incoming::Error);
    }

    #[test]
    fn only_parlor_is_asked_for_what_was_missed() {
        let position = Position { epoch: "ab".to_owned(), seq: 7 };
        let asked = |dialect| join_conversation(dialect, "r", Some(&position)).request.unwrap();
        assert!(asked(Dialect::Parlor).ends_with(r#""payload":{"conversationId":"r","since":{"epoch":"ab","seq":7}}}"#));
        assert!(!asked(Dialect::Peer).contains("since"));
        assert_eq!(asked(Dialect::Socketio), r#"421["join_conversation",{"conversationId":"r"}]"#);
    }

    #[test]
    fn values_are_found_in_replies() {
        let reply = r#"{"type":"create_group","payload":{"conversation":{"id":"0190","kind":"group"},"inviteCode":"XYZ"}}"#;
        assert_eq!(quoted_after(reply, r#""inviteCode":""#), Some("XYZ"));
        assert_eq!(quoted_after(reply, r#""nothing":""#), None);
    }
}
