//! Envelopes and objects as JSON text, appended to a buffer the caller reuses: nothing is allocated here.
//!
//! Field order is fixed, so that an event is the same bytes for every receiver and can be shared by all of them.

use super::{Conversation, ConversationId, ErrorCode, LogEvent, Member, Message, Seq, UnixMillis, UserId};

/// Appends `text` as a JSON string (RFC 8259, section 7): quotes, backslashes and control characters are escaped.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        out.extend_from_slice(&rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// How many bytes [`string`] appends.
pub fn string_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        0x20.. => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        control => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(control >> 4)]);
            out.push(HEX[usize::from(control & 15)]);
        }
    }
}

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `"2026-11-24T09:30:00.000Z"`, with the quotes.
pub fn timestamp(out: &mut Vec<u8>, at: UnixMillis) {
    out.push(b'"');
    out.extend_from_slice(&at.to_rfc3339());
    out.push(b'"');
}

/// Writes one JSON object field by field. Names are our own and need no escaping.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Appends a field's name and hands out the buffer for its value.
    pub fn field(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.out.extend_from_slice(if self.is_empty { b"\"" } else { b",\"" });
        self.is_empty = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Appends a string field.
    pub fn string(&mut self, name: &'static str, value: &str) -> &mut Self {
        string(self.field(name), value);
        self
    }

    /// Appends a number field.
    pub fn number(&mut self, name: &'static str, value: u64) -> &mut Self {
        number(self.field(name), value);
        self
    }

    /// Appends a field that is `true` or `false`.
    pub fn boolean(&mut self, name: &'static str, value: bool) -> &mut Self {
        self.field(name).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// Appends a time field.
    pub fn timestamp(&mut self, name: &'static str, value: UnixMillis) -> &mut Self {
        timestamp(self.field(name), value);
        self
    }

    /// Appends a conversation id field.
    pub fn conversation_id(&mut self, value: ConversationId) -> &mut Self {
        let out = self.field("conversationId");
        out.push(b'"');
        value.encode(out);
        out.push(b'"');
        self
    }

    /// Appends a field that is an array with an element for each item.
    pub fn array<T>(
        &mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        mut element: impl FnMut(&mut Vec<u8>, T),
    ) -> &mut Self {
        let out = self.field(name);
        out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            element(out, item);
        }
        out.push(b']');
        self
    }

    /// Closes the object.
    pub fn end(&mut self) {
        self.out.push(b'}');
    }
}

/// Appends a reply's envelope; `payload` writes the payload object. `action` is the action answered.
pub fn reply(out: &mut Vec<u8>, action: &'static str, request_id: &str, now: UnixMillis, payload: impl FnOnce(&mut Vec<u8>)) {
    let mut envelope = Object::begin(out);
    envelope.string("type", action).string("requestId", request_id).timestamp("timestamp", now);
    payload(envelope.field("payload"));
    envelope.end();
}

/// Appends an event's envelope; `payload` writes the payload object.
pub fn event(out: &mut Vec<u8>, name: &'static str, now: UnixMillis, payload: impl FnOnce(&mut Vec<u8>)) {
    let mut envelope = Object::begin(out);
    envelope.string("type", name).timestamp("timestamp", now);
    payload(envelope.field("payload"));
    envelope.end();
}

/// Appends an `error` (PROTOCOL.md section 6).
pub fn error(
    out: &mut Vec<u8>,
    request_id: Option<&str>,
    now: UnixMillis,
    code: ErrorCode,
    message: &str,
    retry_after_ms: Option<u64>,
) {
    let mut envelope = Object::begin(out);
    envelope.string("type", "error");
    if let Some(request_id) = request_id {
        envelope.string("requestId", request_id);
    }
    envelope.timestamp("timestamp", now);
    let mut payload = Object::begin(envelope.field("payload"));
    payload.string("code", code.as_str()).string("message", message).boolean("retryable", code.is_retryable());
    if let Some(retry_after_ms) = retry_after_ms {
        payload.number("retryAfterMs", retry_after_ms);
    }
    payload.end();
    envelope.end();
}

/// Appends a `message` object.
pub fn message(out: &mut Vec<u8>, message: &Message) {
    let mut object = Object::begin(out);
    quoted(object.field("id"), |out| message.id.encode(out));
    object.conversation_id(message.conversation).number("seq", message.seq.get());
    object.string("senderId", message.sender.as_str()).string("senderName", &message.sender_name);
    object.string("content", &message.content);
    if let Some(client_message_id) = &message.client_message_id {
        object.string("clientMessageId", client_message_id);
    }
    if let Some(reply_to) = &message.reply_to {
        quoted(object.field("replyTo"), |out| reply_to.encode(out));
    }
    object.timestamp("createdAt", message.created_at).end();
}

/// The name of a log event on the wire.
pub const fn log_event_name(event: &LogEvent) -> &'static str {
    match event {
        LogEvent::MessageCreated(_) => "message_created",
        LogEvent::MemberJoined { .. } => "member_joined",
        LogEvent::MemberLeft { .. } => "member_left",
    }
}

/// Appends the payload of a log event.
pub fn log_event_payload(out: &mut Vec<u8>, event: &LogEvent) {
    match event {
        LogEvent::MessageCreated(created) => message(out, created),
        LogEvent::MemberJoined { conversation, seq, user, name, .. }
        | LogEvent::MemberLeft { conversation, seq, user, name, .. } => {
            let mut object = Object::begin(out);
            object.conversation_id(*conversation).number("seq", seq.get());
            object.string("userId", user.as_str()).string("name", name).end();
        }
    }
}

/// Appends a `conversation` object.
pub fn conversation(out: &mut Vec<u8>, conversation: &Conversation) {
    let mut object = Object::begin(out);
    quoted(object.field("id"), |out| conversation.id.encode(out));
    object.string("kind", conversation.kind.as_str()).string("title", &conversation.title);
    object.number("memberCount", conversation.member_count).number("head", conversation.head.get());
    if let Some(last_message) = &conversation.last_message {
        message(object.field("lastMessage"), last_message);
    }
    object.number("readSeq", conversation.read_seq.get()).number("unreadCount", conversation.unread_count);
    object.timestamp("createdAt", conversation.created_at);
    if let Some(invite_code) = &conversation.invite_code {
        object.string("inviteCode", invite_code);
    }
    object.end();
}

/// Appends a `member` object.
pub fn member(out: &mut Vec<u8>, member: &Member) {
    let mut object = Object::begin(out);
    object.string("userId", member.user.as_str()).string("name", &member.name).string("role", member.role.as_str());
    object.string("status", status(member.online));
    if let Some(last_seen_at) = member.last_seen_at {
        object.timestamp("lastSeenAt", last_seen_at);
    }
    object.number("readSeq", member.read_seq.get()).end();
}

/// Appends the payload of `message_read`.
pub fn message_read_payload(out: &mut Vec<u8>, conversation: ConversationId, user: &UserId, seq: Seq) {
    let mut object = Object::begin(out);
    object.conversation_id(conversation).string("userId", user.as_str()).number("seq", seq.get()).end();
}

/// Appends the payload of `presence_changed`.
pub fn presence_payload(out: &mut Vec<u8>, user: &UserId, online: bool, last_seen_at: Option<UnixMillis>) {
    let mut object = Object::begin(out);
    object.string("userId", user.as_str()).string("status", status(online));
    if let Some(last_seen_at) = last_seen_at {
        object.timestamp("lastSeenAt", last_seen_at);
    }
    object.end();
}

const fn status(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}

fn quoted(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    text(out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::MessageId;

    proptest! {
        #[test]
        fn every_string_survives_a_json_parser(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(out.len(), string_len(&text));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text);
        }

        #[test]
        fn every_number_survives_a_json_parser(value in any::<u64>()) {
            let mut out = Vec::new();
            number(&mut out, value);
            prop_assert_eq!(serde_json::from_slice::<u64>(&out).expect("a JSON number"), value);
        }
    }

    #[test]
    fn a_message_event_has_the_fields_of_the_protocol() {
        let created = LogEvent::MessageCreated(Arc::new(Message {
            id: MessageId::from_bytes([7; 16]),
            conversation: ConversationId::from_bytes([9; 16]),
            seq: Seq::new(3).expect("small"),
            sender: UserId::parse("alice").expect("valid"),
            sender_name: Arc::from("Alice \"A\""),
            content: "hi\n".into(),
            client_message_id: Some("c-1".into()),
            reply_to: Some(MessageId::from_bytes([8; 16])),
            created_at: UnixMillis::new(0),
        }));
        let mut out = Vec::new();
        event(&mut out, log_event_name(&created), UnixMillis::new(0), |out| log_event_payload(out, &created));
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "type": "message_created", "timestamp": "1970-01-01T00:00:00.000Z",
                "payload": {
                    "id": "07070707-0707-0707-0707-070707070707",
                    "conversationId": "09090909-0909-0909-0909-090909090909",
                    "seq": 3, "senderId": "alice", "senderName": "Alice \"A\"", "content": "hi\n",
                    "clientMessageId": "c-1", "replyTo": "08080808-0808-0808-0808-080808080808",
                    "createdAt": "1970-01-01T00:00:00.000Z"
                }
            })
        );
    }

    #[test]
    fn an_error_names_its_code_and_when_to_retry() {
        let mut out = Vec::new();
        error(&mut out, Some("r"), UnixMillis::new(0), ErrorCode::RateLimited, "slow down", Some(250));
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            value["payload"],
            serde_json::json!({"code":"rate_limited","message":"slow down","retryable":true,"retryAfterMs":250})
        );
        assert_eq!(value["requestId"], "r");
    }
}
