//! The words of both dialects: requests out, and what an incoming message is, told from its first bytes.

use crate::raw::cli::Dialect;

/// Members that can be named when a group is created; the others join by invite code.
pub(crate) const MAX_NAMED_MEMBERS: usize = 100;

/// A request, and the `type` of the reply to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The message.
    pub(crate) request: String,
    /// The reply's `type`, which is the action's name.
    pub(crate) reply_type: &'static str,
}

/// Says who one is.
pub(crate) fn auth(token: &str) -> Step {
    Step { request: format!(r#"{{"type":"auth","requestId":"a","payload":{{"token":"{token}"}}}}"#), reply_type: "auth" }
}

/// Founds a group with `members`; user ids hold nothing that JSON would escape.
pub(crate) fn create_group(name: &str, members: &[&str]) -> Step {
    let members: Vec<String> = members.iter().map(|user| format!("\"{user}\"")).collect();
    let members = members.join(",");
    let request = format!(r#"{{"type":"create_group","requestId":"c","payload":{{"name":"{name}","memberIds":[{members}]}}}}"#);
    Step { request, reply_type: "create_group" }
}

/// Becomes a member of the group with this code.
pub(crate) fn join_group(invite: &str) -> Step {
    let request = format!(r#"{{"type":"join_group","requestId":"g","payload":{{"inviteCode":"{invite}"}}}}"#);
    Step { request, reply_type: "join_group" }
}

/// Starts a conversation's live events.
pub(crate) fn join_conversation(dialect: Dialect, conversation: &str) -> Step {
    let limit = match dialect {
        Dialect::Parlor => r#","limit":1"#,
        Dialect::Peer => "",
    };
    let request =
        format!(r#"{{"type":"join_conversation","requestId":"j","payload":{{"conversationId":"{conversation}"{limit}}}}}"#);
    Step { request, reply_type: "join_conversation" }
}

/// What an incoming message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Somebody's message, delivered.
    MessageCreated,
    /// The reply to a `send_message`.
    SendReply,
    /// A refusal.
    Error,
    /// Anything else.
    Other,
}

/// Every server here writes `type` first, without spaces.
pub(crate) fn classify(message: &[u8]) -> Incoming {
    if message.starts_with(br#"{"type":"message_created""#) {
        Incoming::MessageCreated
    } else if message.starts_with(br#"{"type":"send_message""#) {
        Incoming::SendReply
    } else if message.starts_with(br#"{"type":"error""#) {
        Incoming::Error
    } else {
        Incoming::Other
    }
}

/// Whether `message` has this `type`.
pub(crate) fn is_type(message: &[u8], name: &str) -> bool {
    let rest = message.strip_prefix(br#"{"type":""#).and_then(|rest| rest.strip_prefix(name.as_bytes()));
    rest.is_some_and(|rest| rest.first() == Some(&b'"'))
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
        assert_eq!(classify(br#"{"type":"message_created","payload":{}}"#), Incoming::MessageCreated);
        assert_eq!(classify(br#"{"type":"send_message","requestId":"1"}"#), Incoming::SendReply);
        assert_eq!(classify(br#"{"type":"error","payload":{}}"#), Incoming::Error);
        assert_eq!(classify(br#"{"type":"send_messages"}"#), Incoming::Other);
        assert!(is_type(br#"{"type":"auth","requestId":"a"}"#, "auth"));
        assert!(!is_type(br#"{"type":"authority"}"#, "auth"));
    }

    #[test]
    fn values_are_found_in_replies() {
        let reply = r#"{"type":"create_group","payload":{"conversation":{"id":"0190","kind":"group"},"inviteCode":"XYZ"}}"#;
        assert_eq!(quoted_after(reply, r#""inviteCode":""#), Some("XYZ"));
        assert_eq!(quoted_after(reply, r#""nothing":""#), None);
    }
}
