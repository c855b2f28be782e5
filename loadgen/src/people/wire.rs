//! The part of the protocol that a client speaks: requests to text, and text to what it says.
//!
//! Only what is looked at is read; unknown fields and events are ignored, as PROTOCOL.md asks of clients.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a client asks for. Ids and codes are printable ASCII without quotes; texts are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Auth {
        token: &'a str,
    },
    /// With exactly one member: the direct conversation.
    CreateConversation {
        members: &'a [&'a str],
    },
    CreateGroup {
        name: &'a str,
        members: &'a [&'a str],
    },
    JoinGroup {
        invite: &'a str,
    },
    Join {
        conversation: &'a str,
        since: Option<Since<'a>>,
    },
    Send {
        conversation: &'a str,
        content: &'a str,
        client_message_id: &'a str,
    },
    TypingStart {
        conversation: &'a str,
    },
    TypingStop {
        conversation: &'a str,
    },
    MarkRead {
        conversation: &'a str,
        seq: u64,
    },
    LoadMessages {
        conversation: &'a str,
        before: Option<u64>,
        after: Option<u64>,
        limit: u32,
    },
    LoadConversations,
    Ping,
}

/// A position to resume from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since<'a> {
    pub(crate) epoch: &'a str,
    pub(crate) seq: u64,
}

impl Request<'_> {
    const fn action(&self) -> &'static str {
        match self {
            Self::Auth { .. } => "auth",
            Self::CreateConversation { .. } => "create_conversation",
            Self::CreateGroup { .. } => "create_group",
            Self::JoinGroup { .. } => "join_group",
            Self::Join { .. } => "join_conversation",
            Self::Send { .. } => "send_message",
            Self::TypingStart { .. } => "typing_start",
            Self::TypingStop { .. } => "typing_stop",
            Self::MarkRead { .. } => "mark_read",
            Self::LoadMessages { .. } => "load_messages",
            Self::LoadConversations => "load_conversations",
            Self::Ping => "ping",
        }
    }

    /// The message that asks for it under `request_id`.
    pub(crate) fn encode(&self, request_id: u64) -> String {
        let mut text = String::with_capacity(256);
        let action = self.action();
        put(&mut text, format_args!(r#"{{"type":"{action}","requestId":"{request_id}","payload":{{"#));
        match self {
            Self::Auth { token } => put_text(&mut text, "token", token),
            Self::CreateConversation { members } => put_list(&mut text, "memberIds", members),
            Self::CreateGroup { name, members } => {
                put_text(&mut text, "name", name);
                text.push(',');
                put_list(&mut text, "memberIds", members);
            }
            Self::JoinGroup { invite } => put_text(&mut text, "inviteCode", invite),
            Self::Join { conversation, since } => {
                put_text(&mut text, "conversationId", conversation);
                if let Some(Since { epoch, seq }) = since {
                    text.push_str(r#","since":{"#);
                    put_text(&mut text, "epoch", epoch);
                    put(&mut text, format_args!(r#","seq":{seq}}}"#));
                }
            }
            Self::Send { conversation, content, client_message_id } => {
                put_text(&mut text, "conversationId", conversation);
                text.push(',');
                put_text(&mut text, "content", content);
                text.push(',');
                put_text(&mut text, "clientMessageId", client_message_id);
            }
            Self::TypingStart { conversation } | Self::TypingStop { conversation } => {
                put_text(&mut text, "conversationId", conversation);
            }
            Self::MarkRead { conversation, seq } => {
                put_text(&mut text, "conversationId", conversation);
                put(&mut text, format_args!(r#","seq":{seq}"#));
            }
            Self::LoadMessages { conversation, before, after, limit } => {
                put_text(&mut text, "conversationId", conversation);
                for (name, seq) in [("before", before), ("after", after)] {
                    if let Some(seq) = seq {
                        put(&mut text, format_args!(r#","{name}":{seq}"#));
                    }
                }
                put(&mut text, format_args!(r#","limit":{limit}"#));
            }
            Self::LoadConversations => text.push_str(r#""limit":30"#),
            Self::Ping => {}
        }
        text.push_str("}}");
        text
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes everything");
}

fn put_text(text: &mut String, name: &str, value: &str) {
    let value = serde_json::to_string(value).expect("a str is JSON");
    put(text, format_args!(r#""{name}":{value}"#));
}

fn put_list(text: &mut String, name: &str, values: &[&str]) {
    let values = serde_json::to_string(values).expect("strings are JSON");
    put(text, format_args!(r#""{name}":{values}"#));
}

/// A text that is borrowed where it has no escapes. serde borrows a bare `Cow` when told to, but not one inside an `Option` or a `Vec`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The outer form of what a server says.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    /// An action that is answered, `error`, or an event.
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    /// Of the request that is answered; ours are numbers.
    #[serde(rename = "requestId", borrow, default)]
    pub(crate) request_id: Option<Text<'a>>,
    /// Read when it is known what it is.
    #[serde(borrow)]
    pub(crate) payload: &'a RawValue,
}

impl<'a> Envelope<'a> {
    /// Reads the outer form.
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The number of the request that is answered; `None` for events.
    pub(crate) fn answers(&self) -> Option<u64> {
        self.request_id.as_ref()?.parse().ok()
    }

    /// Reads the payload as what it must be.
    pub(crate) fn payload<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.payload.get())
    }
}

/// A message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) id: Text<'a>,
    #[serde(borrow)]
    pub(crate) conversation_id: Text<'a>,
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) sender_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) content: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) client_message_id: Option<Text<'a>>,
}

/// `member_joined` and `member_left`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Membership<'a> {
    #[serde(borrow)]
    pub(crate) conversation_id: Text<'a>,
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) user_id: Text<'a>,
}

/// `message_read`, `typing_started`, `typing_stopped`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hint<'a> {
    #[serde(borrow)]
    pub(crate) conversation_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) user_id: Text<'a>,
    #[serde(default)]
    pub(crate) expires_in_ms: Option<u64>,
}

/// The payload of an `error`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal<'a> {
    #[serde(borrow)]
    pub(crate) code: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) message: Text<'a>,
    #[serde(default)]
    pub(crate) retryable: bool,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
}

/// The reply to `auth`.
#[derive(Debug, Deserialize)]
pub(crate) struct Welcome<'a> {
    #[serde(borrow)]
    pub(crate) epoch: Text<'a>,
    #[serde(default)]
    pub(crate) limits: Option<Told>,
}

/// The server's limits, as far as they matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    pub(crate) typing_lease_ms: u32,
}

/// The conversation in a reply, as far as it is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conversation<'a> {
    #[serde(borrow)]
    pub(crate) id: Text<'a>,
}

/// The reply to `create_conversation`, `create_group` and `join_group`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Founded<'a> {
    #[serde(borrow)]
    pub(crate) conversation: Conversation<'a>,
    #[serde(borrow, default)]
    pub(crate) invite_code: Option<Text<'a>>,
}

/// The reply to `join_conversation`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Joined<'a> {
    #[serde(borrow)]
    pub(crate) epoch: Text<'a>,
    pub(crate) head: u64,
    pub(crate) recovered: bool,
    #[serde(borrow)]
    pub(crate) events: Vec<LoggedEvent<'a>>,
    #[serde(borrow)]
    pub(crate) typing: Vec<Text<'a>>,
}

/// An event in a join reply.
#[derive(Debug, Deserialize)]
pub(crate) struct LoggedEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    #[serde(borrow)]
    pub(crate) payload: &'a RawValue,
}

/// The reply to `send_message`.
#[derive(Debug, Deserialize)]
pub(crate) struct Acknowledged<'a> {
    #[serde(borrow)]
    pub(crate) message: Message<'a>,
}

/// The reply to `load_messages`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<'a> {
    #[serde(borrow)]
    pub(crate) messages: Vec<Message<'a>>,
    pub(crate) has_more: bool,
}

/// The payload of `conversation_activity`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Activity<'a> {
    #[serde(borrow)]
    pub(crate) conversation_id: Text<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_json_with_escaped_texts() {
        let request = Request::Send { conversation: "c", content: "say \"hi\"\n", client_message_id: "m-1" };
        let value: serde_json::Value = serde_json::from_str(&request.encode(7)).unwrap();
        assert_eq!(value["type"], "send_message");
        assert_eq!((value["requestId"].as_str(), value["payload"]["content"].as_str()), (Some("7"), Some("say \"hi\"\n")));
        let join = Request::Join { conversation: "c", since: Some(Since { epoch: "e", seq: 3 }) }.encode(8);
        let value: serde_json::Value = serde_json::from_str(&join).unwrap();
        assert_eq!(value["payload"]["since"], serde_json::json!({"epoch": "e", "seq": 3}));
    }

    #[test]
    fn every_request_is_json() {
        let requests = [
            Request::Auth { token: "t" },
            Request::CreateConversation { members: &["a"] },
            Request::CreateGroup { name: "n", members: &["a", "b"] },
            Request::JoinGroup { invite: "i" },
            Request::Join { conversation: "c", since: None },
            Request::TypingStart { conversation: "c" },
            Request::TypingStop { conversation: "c" },
            Request::MarkRead { conversation: "c", seq: 4 },
            Request::LoadMessages { conversation: "c", before: Some(3), after: None, limit: 5 },
            Request::LoadConversations,
            Request::Ping,
        ];
        for request in requests {
            let value: serde_json::Value = serde_json::from_str(&request.encode(1)).unwrap();
            assert!(value["payload"].is_object(), "{request:?}");
        }
    }

    #[test]
    fn events_and_replies_are_told_apart_and_read() {
        let text = r#"{"type":"message_created","timestamp":"t","payload":{"id":"m","conversationId":"c","seq":9,"senderId":"u",
            "senderName":"U","content":"a\"b","createdAt":"t","new":1}}"#;
        let envelope = Envelope::parse(text).unwrap();
        assert_eq!((&*envelope.kind, envelope.answers()), ("message_created", None));
        let message: Message<'_> = envelope.payload().unwrap();
        assert_eq!((message.seq, &*message.content, message.client_message_id), (9, "a\"b", None));
        let reply = Envelope::parse(r#"{"type":"ping","requestId":"12","payload":{}}"#).unwrap();
        assert_eq!(reply.answers(), Some(12));
        assert!(Envelope::parse("{").is_err());
    }
}
