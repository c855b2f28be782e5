//! What must hold of any bytes whatever, for the tests and for fuzzing: the parser is held to `serde_json`, which shares no code
//! with it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::{Action, ErrorCode, PageRange, Parser, Request, RequestError, RequestLimits, Since};
use crate::protocol::UserId;
use crate::protocol::limits::{DEFAULT_CONVERSATION_PAGE, DEFAULT_PAGE, MAX_DEPTH};

/// The limits that [`run`] parses with: small, so that they are reached.
pub const LIMITS: RequestLimits = RequestLimits { max_content_chars: 64 };

/// Parses `data` as a message, and asserts that the outcome is right.
pub fn run(data: &[u8]) {
    let mut text = data.to_vec();
    let mut parser = Parser::new(LIMITS);
    let outcome = parser.parse(&mut text);

    // A parser that has read something else before, and has its remains in its buffers, must come to the same.
    let mut used = Parser::new(LIMITS);
    for before in [&b"{\"type\":\"ping\",\"payload\":{\"\\u0061\":[1e9,{}]}}"[..], data, b"[[[[[[[[[["] {
        let _ = used.parse(&mut before.to_vec());
    }
    let mut again = data.to_vec();
    assert_eq!(used.parse(&mut again), outcome, "a used parser reads the same");

    let facts = Facts::of(data);
    let document = serde_json::from_slice(data).ok();
    match &outcome {
        Ok(request) => check_request(request, &facts, &document.expect("a request is JSON")),
        Err(error) => check_error(error, &facts, document.as_ref()),
    }
    if let Ok(Request { action: Action::Ping { payload }, .. }) = outcome {
        assert!(payload.len() <= super::MAX_ECHO_GROWTH * data.len(), "a ping grows by a small factor");
    }
}

fn check_request(request: &Request<'_>, facts: &Facts, document: &Value) {
    assert!(!facts.has_nul && facts.deepest <= MAX_DEPTH);
    for name in ["type", "requestId", "timestamp", "payload"] {
        assert!(facts.top_keys.iter().filter(|key| *key == name).count() <= 1, "{name} is not repeated");
    }
    assert_eq!(document["type"], request.action.name().as_str());
    assert_eq!(document["requestId"], json!(request.request_id));
    let payload = match &document["payload"] {
        Value::Null => &json!({}),
        payload => payload,
    };
    let understood = payload_json(&request.action);
    if let Action::Ping { .. } = request.action {
        assert!(is_same(&understood, payload), "{understood} is {payload}");
        return;
    }
    for (name, value) in understood.as_object().expect("an object") {
        match (name.as_str(), &payload[name]) {
            ("limit", Value::Null) => assert!(value == DEFAULT_PAGE || value == DEFAULT_CONVERSATION_PAGE),
            ("memberIds", Value::Null) => assert_eq!(value, &json!([])),
            ("conversationId" | "replyTo", id) => {
                assert_eq!(Some(value), id.as_str().map(|id| json!(id.to_lowercase())).as_ref())
            }
            ("since", since) => assert!(value["epoch"] == since["epoch"] && value["seq"] == since["seq"]),
            (name, sent) => assert_eq!(value, sent, "{name}"),
        }
    }
}

fn check_error(error: &RequestError<'_>, facts: &Facts, document: Option<&Value>) {
    assert!(!error.message.is_empty() && error.message.is_ascii() && error.message.len() < 128, "{error:?}");
    if let Some(id) = error.request_id {
        assert!((1..=64).contains(&id.len()) && id.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{error:?}");
        assert_eq!(document.expect("an id is read from JSON only")["requestId"], id);
    }
    let is_sound = document.is_some() && facts.deepest <= MAX_DEPTH;
    match error.code {
        ErrorCode::InvalidJson => {
            // Integers past 64 bits are numbers to serde_json and not to this parser, which would have to round them.
            let is_repeated = error.message.ends_with(" must not appear twice");
            assert!(!is_sound || facts.has_large_number || is_repeated, "{error:?} for good JSON");
        }
        ErrorCode::InvalidText => assert!(is_sound && facts.has_nul),
        ErrorCode::InvalidEnvelope | ErrorCode::UnknownType | ErrorCode::InvalidPayload | ErrorCode::TooLarge => {
            assert!(is_sound && !facts.has_nul, "{error:?}");
        }
        ErrorCode::Unauthorized
        | ErrorCode::TokenExpired
        | ErrorCode::NotFound
        | ErrorCode::Forbidden
        | ErrorCode::Conflict
        | ErrorCode::RateLimited
        | ErrorCode::LimitExceeded
        | ErrorCode::Unavailable
        | ErrorCode::Internal => panic!("{error:?} is no fault of a text"),
    }
}

/// The payload from which `action` would be parsed.
pub fn payload_json(action: &Action<'_>) -> Value {
    let mut payload = match action {
        Action::Auth { token } => json!({ "token": token }),
        Action::Ping { payload } => serde_json::from_slice(payload).expect("an echo is JSON"),
        Action::JoinConversation { conversation, since, limit } => {
            let since = since.map(|Since { epoch, seq }| json!({ "epoch": epoch, "seq": seq.get() }));
            json!({ "conversationId": conversation.to_string(), "since": since, "limit": limit })
        }
        Action::SendMessage { conversation, content, client_message_id, reply_to } => json!({
            "conversationId": conversation.to_string(),
            "content": content,
            "clientMessageId": client_message_id,
            "replyTo": reply_to.map(|id| id.to_string()),
        }),
        Action::LoadConversations { limit, cursor } => json!({ "limit": limit, "cursor": cursor }),
        Action::LoadMessages { conversation, range, limit } => {
            let conversation = conversation.to_string();
            match range {
                PageRange::Latest => json!({ "conversationId": conversation, "limit": limit }),
                PageRange::Before(seq) => json!({ "conversationId": conversation, "limit": limit, "before": seq.get() }),
                PageRange::After(seq) => json!({ "conversationId": conversation, "limit": limit, "after": seq.get() }),
            }
        }
        Action::MarkRead { conversation, seq } => json!({ "conversationId": conversation.to_string(), "seq": seq.get() }),
        Action::CreateConversation { member_ids, title } => {
            json!({ "memberIds": member_ids.iter().map(UserId::as_str).collect::<Vec<_>>(), "title": title })
        }
        Action::CreateGroup { name, member_ids } => {
            json!({ "name": name, "memberIds": member_ids.iter().map(UserId::as_str).collect::<Vec<_>>() })
        }
        Action::JoinGroup { invite_code } => json!({ "inviteCode": invite_code }),
        Action::LeaveConversation { conversation }
        | Action::TypingStart { conversation }
        | Action::TypingStop { conversation }
        | Action::LeaveGroup { conversation } => json!({ "conversationId": conversation.to_string() }),
    };
    if let (false, Some(fields)) = (matches!(action, Action::Ping { .. }), payload.as_object_mut()) {
        fields.retain(|_, value| !value.is_null());
    }
    payload
}

/// Equality, but for the last digit of a float: serde_json rounds some of them the wrong way when it reads them.
pub(super) fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| is_same(value, other)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Number(left), Value::Number(right)) if left.is_f64() && right.is_f64() => {
            let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else { return false };
            left == right || ((left - right) / right).abs() < 1e-15 || (left - right).abs() < 1e-307
        }
        (left, right) => left == right,
    }
}

/// What serde_json sees in a text, members that a later one of the same name would replace included.
#[derive(Debug, Default)]
struct Facts {
    depth: usize,
    deepest: usize,
    top_keys: Vec<String>,
    has_nul: bool,
    has_large_number: bool,
}

impl Facts {
    /// Those of the text up to the first fault.
    fn of(text: &[u8]) -> Self {
        let mut facts = Self::default();
        let _ = Walk(&mut facts).deserialize(&mut serde_json::Deserializer::from_slice(text));
        facts
    }

    fn enter(&mut self) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }
}

struct Walk<'f>(&'f mut Facts);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A key, noted if it is one of the outermost object's.
struct Key<'f>(&'f mut Facts);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let key = <String as serde::Deserialize>::deserialize(deserializer)?;
        self.0.has_nul |= key.contains('\0');
        if self.0.depth == 1 {
            self.0.top_keys.push(key);
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        if !number.is_finite() {
            return Err(E::custom("JSON has no such number"));
        }
        self.0.has_large_number |= number.abs() >= i64::MAX as f64;
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.has_nul |= text.contains('\0');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.enter();
        while elements.next_element_seed(Walk(self.0))?.is_some() {}
        self.0.depth -= 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.enter();
        while members.next_key_seed(Key(self.0))?.is_some() {
            members.next_value_seed(Walk(self.0))?;
        }
        self.0.depth -= 1;
        Ok(())
    }
}
