//! Every good request is understood, however it is spelled.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::protocol::frame::harness::xorshift;

fn text(max: usize) -> impl Strategy<Value = String> {
    let visible = any::<char>().prop_filter("not blank", |c| !c.is_whitespace() && *c != '\0');
    let any_char = any::<char>().prop_map(|c| if c == '\0' { ' ' } else { c });
    (visible, vec(any_char, 0..max)).prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect())
}

fn id() -> impl Strategy<Value = Value> {
    any::<[u8; 16]>().prop_map(|bytes| json!(ConversationId::from_bytes(bytes).to_string()))
}

fn seq() -> impl Strategy<Value = Value> {
    (0..=Seq::MAX.get()).prop_map(Value::from)
}

fn users(min: usize) -> impl Strategy<Value = Value> {
    vec("[A-Za-z0-9._:@|-]{1,128}", min..8).prop_map(Value::from)
}

fn ascii(max: usize) -> impl Strategy<Value = Value> {
    vec(b' '..=b'~', 1..=max).prop_map(|bytes| bytes.into_iter().map(char::from).collect::<String>().into())
}

/// A field that may be left out; one that is `null` means the same.
fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![Just(None), Just(Some(Value::Null)), value.prop_map(Some)].boxed()
}

fn always(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    value.prop_map(Some).boxed()
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let members = move |values: Vec<Option<Value>>| {
        let present = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Value::Object(present.collect::<Map<_, _>>())
    };
    values.prop_map(members).boxed()
}

/// A payload that `name` takes when content has at most 20 characters.
fn payload(name: ActionName) -> BoxedStrategy<Value> {
    let conversation = || ("conversationId", always(id()));
    let limit = |max: u64| ("limit", maybe((1..=max).prop_map(Value::from)));
    match name {
        ActionName::Auth => object(vec![("token", always(text(100).prop_map(Value::from)))]),
        ActionName::Ping => vec((text(9), json::document().prop_filter("shallow, no NUL", is_plain)), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
            .boxed(),
        ActionName::JoinConversation => {
            let since = object(vec![("epoch", always(ascii(64))), ("seq", always(seq()))]);
            object(vec![conversation(), ("since", maybe(since)), limit(200)])
        }
        ActionName::SendMessage => object(vec![
            conversation(),
            ("content", always(text(20).prop_map(Value::from))),
            ("clientMessageId", maybe(ascii(64))),
            ("replyTo", maybe(id())),
        ]),
        ActionName::LoadConversations => object(vec![limit(100), ("cursor", maybe(ascii(128)))]),
        ActionName::LoadMessages => prop_oneof![
            object(vec![conversation(), limit(200), ("before", maybe(seq()))]),
            object(vec![conversation(), limit(200), ("after", maybe(seq()))]),
        ]
        .boxed(),
        ActionName::MarkRead => object(vec![conversation(), ("seq", always(seq()))]),
        ActionName::CreateConversation => {
            object(vec![("memberIds", always(users(1))), ("title", maybe(text(100).prop_map(Value::from)))])
        }
        ActionName::CreateGroup => {
            object(vec![("name", always(text(100).prop_map(Value::from))), ("memberIds", maybe(users(0)))])
        }
        ActionName::JoinGroup => object(vec![("inviteCode", always(ascii(128)))]),
        ActionName::LeaveConversation | ActionName::TypingStart | ActionName::TypingStop | ActionName::LeaveGroup => {
            object(vec![conversation()])
        }
    }
}

/// Whether a document may stand in a payload.
fn is_plain(document: &Value) -> bool {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    depth(document) <= 6 && !document.to_string().contains("\\u0000")
}

/// A client's way of writing JSON: white space, escapes and the order of members are its own affair.
struct Hand {
    state: u64,
    out: String,
}

impl Hand {
    fn pick(&mut self, count: usize) -> usize {
        xorshift(&mut self.state) as usize % count
    }

    fn space(&mut self) {
        let space = ["", "", "", "", " ", "\n", "\t\r "][self.pick(7)];
        self.out.push_str(space);
    }

    fn value(&mut self, value: &Value) {
        self.space();
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for at in (1..members.len()).rev() {
                    let other = self.pick(at + 1);
                    members.swap(at, other);
                }
                self.list('{', '}', &members, |hand, (key, value)| {
                    hand.space();
                    hand.string(key);
                    hand.space();
                    hand.out.push(':');
                    hand.value(value);
                });
            }
            Value::Array(elements) => self.list('[', ']', elements, Self::value),
            Value::String(text) => self.string(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.out.push_str(&value.to_string()),
        }
        self.space();
    }

    fn list<T>(&mut self, open: char, close: char, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.space();
        self.out.push(close);
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            if c < ' ' || c == '"' || c == '\\' || self.pick(4) == 0 {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    self.out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                self.out.push(c);
            }
        }
        self.out.push('"');
    }
}

fn request() -> impl Strategy<Value = (ActionName, Value)> {
    let name = proptest::sample::select(ActionName::ALL);
    name.prop_flat_map(|name| {
        let envelope = object(vec![
            ("type", always(Just(json!(name.as_str())))),
            ("requestId", maybe(ascii(64))),
            ("timestamp", maybe(text(30).prop_map(Value::from))),
            ("payload", always(payload(name))),
            ("unknown", maybe(json::document().prop_filter("shallow, no NUL", is_plain))),
        ]);
        (Just(name), envelope)
    })
}

/// What an envelope of [`request`] means: `null` is absence, and the size of a page has a default.
fn meaning(name: ActionName, envelope: &Value) -> Value {
    let mut payload = envelope["payload"].clone();
    if name == ActionName::Ping {
        return payload;
    }
    let fields = payload.as_object_mut().expect("an object");
    fields.retain(|_, value| !value.is_null());
    match name {
        ActionName::JoinConversation | ActionName::LoadMessages => drop(fields.entry("limit").or_insert(json!(50))),
        ActionName::LoadConversations => drop(fields.entry("limit").or_insert(json!(30))),
        ActionName::CreateGroup => drop(fields.entry("memberIds").or_insert(json!([]))),
        ActionName::Auth
        | ActionName::Ping
        | ActionName::LeaveConversation
        | ActionName::SendMessage
        | ActionName::TypingStart
        | ActionName::TypingStop
        | ActionName::MarkRead
        | ActionName::CreateConversation
        | ActionName::JoinGroup
        | ActionName::LeaveGroup => {}
    }
    payload
}

proptest! {
    #[test]
    fn every_good_request_is_understood((name, envelope) in request(), seed in 1..u64::MAX) {
        let mut hand = Hand { state: seed, out: String::new() };
        hand.value(&envelope);
        let mut bytes = hand.out.clone().into_bytes();
        let mut parser = parser();
        let request = parser.parse(&mut bytes).map_err(|error| TestCaseError::fail(format!("{error:?}: {}", hand.out)))?;
        prop_assert_eq!(request.action.name(), name);
        prop_assert_eq!(json!(request.request_id), envelope["requestId"].clone());
        prop_assert!(harness::is_same(&harness::payload_json(&request.action), &meaning(name, &envelope)), "{}", hand.out);
        harness::run(hand.out.as_bytes());
    }
}
