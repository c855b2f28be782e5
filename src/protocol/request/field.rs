//! Named members of an object, each of which can say what is wrong with it.

use std::fmt;

use simd_json::Node;

use super::fault::Fault;
use super::tape::{Value, Values, encode_object};
use super::{ConversationId, ErrorCode, MessageId, Seq, UserId};
use crate::protocol::IdError;
use crate::protocol::limits::{MAX_CLIENT_MESSAGE_ID_BYTES, MAX_MEMBER_IDS, MAX_NAME_CHARS};

/// Which object a field belongs to.
#[derive(Clone, Copy)]
pub(super) enum Scope {
    Envelope,
    Payload,
    Since,
}

impl Scope {
    /// What stands before the field's name in a message to the peer.
    fn prefix(self) -> &'static str {
        match self {
            Self::Envelope => "",
            Self::Payload => "payload.",
            Self::Since => "payload.since.",
        }
    }

    /// The code for a field that is missing or not as it must be.
    fn code(self) -> ErrorCode {
        match self {
            Self::Envelope => ErrorCode::InvalidEnvelope,
            Self::Payload | Self::Since => ErrorCode::InvalidPayload,
        }
    }
}

/// An object whose fields are wanted.
#[derive(Clone, Copy)]
pub(super) struct Object<'t, 'a> {
    scope: Scope,
    members: &'t [Node<'a>],
}

impl<'t, 'a> Object<'t, 'a> {
    /// `members` are keys and values, alternating.
    pub(super) fn new(scope: Scope, members: &'t [Node<'a>]) -> Self {
        Self { scope, members }
    }

    /// The fields of these names, in this order; members of other names are passed over.
    pub(super) fn fields<const N: usize>(self, names: [&'static str; N]) -> [Field<'t, 'a>; N] {
        let mut fields = names.map(|name| Field { scope: self.scope, name, value: None, repeated: false });
        let mut seen = [false; N];
        let mut values = Values(self.members);
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            let Some(at) = key.string().and_then(|key| names.iter().position(|name| *name == key)) else { continue };
            fields[at].repeated = std::mem::replace(&mut seen[at], true) || fields[at].repeated;
            fields[at].value = (!value.is_null()).then_some(value);
        }
        fields
    }

    /// The same, none of them repeated.
    pub(super) fn unique_fields<const N: usize>(self, names: [&'static str; N]) -> Result<[Field<'t, 'a>; N], Fault> {
        let fields = self.fields(names);
        for field in &fields {
            field.not_repeated()?;
        }
        Ok(fields)
    }

    /// Replaces what is in `out` by the object as JSON.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.clear();
        encode_object(self.members, out);
    }
}

/// A field by its name, there or not. Each reading method refuses a field that is absent or `null`.
pub(super) struct Field<'t, 'a> {
    scope: Scope,
    name: &'static str,
    /// `None` also for `null`.
    value: Option<Value<'t, 'a>>,
    repeated: bool,
}

impl<'t, 'a> Field<'t, 'a> {
    /// Reads a field that may be left out.
    pub(super) fn if_present<T>(self, read: impl FnOnce(Self) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        self.not_repeated()?;
        if self.value.is_none() { Ok(None) } else { read(self).map(Some) }
    }

    /// Refuses a second member of the same name: readers differ on which of the two counts (RFC 8259, section 4).
    pub(super) fn not_repeated(&self) -> Result<(), Fault> {
        if self.repeated { Err(self.fault(ErrorCode::InvalidJson, "must not appear twice")) } else { Ok(()) }
    }

    pub(super) fn string(&self) -> Result<&'a str, Fault> {
        self.value.and_then(Value::string).ok_or_else(|| self.wrong("must be a string"))
    }

    pub(super) fn object(&self, scope: Scope) -> Result<Object<'t, 'a>, Fault> {
        let members = self.value.and_then(Value::members).ok_or_else(|| self.wrong("must be an object"))?;
        Ok(Object::new(scope, members))
    }

    /// A string of 1 to `max` bytes that is not looked into.
    pub(super) fn opaque(&self, max: usize) -> Result<&'a str, Fault> {
        let text = self.value.and_then(Value::string).filter(|text| (1..=max).contains(&text.len()));
        text.ok_or_else(|| self.wrong(format_args!("must be a string of 1 to {max} bytes")))
    }

    /// A string of 1 to `max` printable ASCII bytes.
    pub(super) fn printable(&self, max: usize) -> Result<&'a str, Fault> {
        let text = self.value.and_then(Value::string).filter(|text| (1..=max).contains(&text.len()));
        let text = text.filter(|text| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        text.ok_or_else(|| self.wrong(format_args!("must be a string of 1 to {max} printable ASCII characters")))
    }

    /// A `clientMessageId`.
    pub(super) fn client_message_id(&self) -> Result<&'a str, Fault> {
        let max = MAX_CLIENT_MESSAGE_ID_BYTES;
        if self.value.and_then(Value::string).is_some_and(|text| text.len() > max) {
            return Err(self.too_large(format_args!("must be at most {max} characters")));
        }
        self.printable(max)
    }

    /// A string of 1 to `max` characters.
    pub(super) fn text(&self, max: usize) -> Result<&'a str, Fault> {
        let text = self.value.and_then(Value::string).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| self.wrong(format_args!("must be a string of 1 to {max} characters")))?;
        if has_more_chars(text, max) {
            return Err(self.too_large(format_args!("must be at most {max} characters")));
        }
        Ok(text)
    }

    /// A name that can be seen: [`Self::text`], not only white space.
    pub(super) fn visible_name(&self) -> Result<&'a str, Fault> {
        let text = self.text(MAX_NAME_CHARS)?;
        if text.trim().is_empty() {
            return Err(self.wrong("must not be blank"));
        }
        Ok(text)
    }

    pub(super) fn conversation(&self) -> Result<ConversationId, Fault> {
        let parsed = self.value.and_then(Value::string).ok_or(IdError::NotUuid).and_then(ConversationId::parse);
        parsed.map_err(|error| self.wrong(error))
    }

    pub(super) fn message(&self) -> Result<MessageId, Fault> {
        let parsed = self.value.and_then(Value::string).ok_or(IdError::NotUuid).and_then(MessageId::parse);
        parsed.map_err(|error| self.wrong(error))
    }

    pub(super) fn seq(&self) -> Result<Seq, Fault> {
        let parsed = self.value.and_then(Value::integer).ok_or(IdError::NotSeq).and_then(Seq::new);
        parsed.map_err(|error| self.wrong(error))
    }

    /// A number of things on a page, 1 to `max`.
    pub(super) fn page_limit(&self, max: usize) -> Result<usize, Fault> {
        let number = self.value.and_then(Value::integer).and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| self.wrong(format_args!("must be an integer from 1 to {max}")))
    }

    /// At most 100 user ids, possibly none.
    pub(super) fn user_ids(&self) -> Result<Vec<UserId>, Fault> {
        let elements = self.value.and_then(Value::elements);
        let (count, elements) = elements.ok_or_else(|| self.wrong("must be an array of user ids"))?;
        if count > MAX_MEMBER_IDS {
            return Err(self.too_large(format_args!("must have at most {MAX_MEMBER_IDS} user ids")));
        }
        let mut ids = Vec::with_capacity(count);
        for (index, element) in elements.enumerate() {
            let parsed = element.string().ok_or(IdError::NotUserId).and_then(UserId::parse);
            ids.push(parsed.map_err(|error| self.wrong_element(index, error))?);
        }
        Ok(ids)
    }

    /// The fault of a field that is missing or not as it must be.
    pub(super) fn wrong(&self, rule: impl fmt::Display) -> Fault {
        self.fault(self.scope.code(), rule)
    }

    fn wrong_element(&self, index: usize, rule: impl fmt::Display) -> Fault {
        Fault::new(self.scope.code(), format!("{}{}[{index}] {rule}", self.scope.prefix(), self.name))
    }

    fn too_large(&self, rule: impl fmt::Display) -> Fault {
        self.fault(ErrorCode::TooLarge, rule)
    }

    fn fault(&self, code: ErrorCode, rule: impl fmt::Display) -> Fault {
        Fault::new(code, format!("{}{} {rule}", self.scope.prefix(), self.name))
    }
}

/// Whether `text` has more than `max` characters, without counting those of a text that is clearly too long or short enough.
fn has_more_chars(text: &str, max: usize) -> bool {
    const MAX_CHAR_BYTES: usize = 4;
    let bytes = text.len();
    bytes > max && (bytes > max.saturating_mul(MAX_CHAR_BYTES) || text.chars().count() > max)
}
