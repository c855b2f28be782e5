//! One client message becomes one typed request (PROTOCOL.md sections 2 and 4).
//!
//! Parsing happens in place: strings are unescaped where they stand in the text, and a [`Request`] borrows them. A [`Parser`]
//! keeps its buffers, so that in the steady state a request allocates nothing but the user ids that it owns.
//!
//! What holds of every [`Request`]: each id, position, length and number is within the protocol's limits, and no string in it has
//! a NUL character, which PostgreSQL could not store. Nothing here knows whether the sender is authenticated or a member.

mod fault;
mod field;
#[cfg(any(test, fuzzing))]
pub mod harness;
mod payload;
mod tape;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use simd_json::{Buffers, ErrorType, Node, Tape};

use self::fault::Fault;
use self::field::{Object, Scope};
use self::tape::Value;
use super::limits::{MAX_DEPTH, MAX_KEPT_REQUEST_BYTES, MAX_REQUEST_ID_BYTES};
use super::{ConversationId, ErrorCode, MessageId, Seq, UserId};

macro_rules! action_names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What a client can ask for: the `type` of its messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ActionName { $($(#[$doc])* $name,)* }

        impl ActionName {
            /// Every action, in the order of PROTOCOL.md.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The action of that name, if there is one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

action_names! {
    /// Says who one is, or refreshes the token.
    Auth = "auth";
    /// Asks for its payload back.
    Ping = "ping";
    /// Starts the live events of a conversation.
    JoinConversation = "join_conversation";
    /// Stops them.
    LeaveConversation = "leave_conversation";
    /// Appends a message.
    SendMessage = "send_message";
    /// Lists one's conversations.
    LoadConversations = "load_conversations";
    /// Reads a page of messages.
    LoadMessages = "load_messages";
    /// Takes or renews the typing lease.
    TypingStart = "typing_start";
    /// Gives it back.
    TypingStop = "typing_stop";
    /// Moves one's read watermark.
    MarkRead = "mark_read";
    /// Starts a conversation with users known by id.
    CreateConversation = "create_conversation";
    /// Starts a named group with an invite code.
    CreateGroup = "create_group";
    /// Becomes a member by invite code.
    JoinGroup = "join_group";
    /// Ceases to be a member.
    LeaveGroup = "leave_group";
}

/// The limits of a request that an operator can set; the fixed ones are constants in [`super::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest content of a message, in characters (Unicode scalar values).
    pub max_content_chars: usize,
}

/// One client message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What the reply repeats, 1 to 64 printable ASCII bytes; without it none is sent.
    pub request_id: Option<&'a str>,
    /// What is asked for.
    pub action: Action<'a>,
}

/// What is asked for, with its payload. `Debug` shows the name only, so that no log line ever has a token or a text in it.
#[derive(Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// `auth`.
    Auth {
        /// 1 to 8,192 bytes, unverified.
        token: &'a str,
    },
    /// `ping`.
    Ping {
        /// The payload again, as JSON without white space: equal, though not byte for byte, and at most five times as long.
        payload: &'a [u8],
    },
    /// `join_conversation`.
    JoinConversation {
        /// Which one.
        conversation: ConversationId,
        /// Where the client's copy of the log ends.
        since: Option<Since<'a>>,
        /// How many of the latest events it wants without `since`.
        limit: usize,
    },
    /// `leave_conversation`.
    LeaveConversation {
        /// Which one.
        conversation: ConversationId,
    },
    /// `send_message`.
    SendMessage {
        /// Where to.
        conversation: ConversationId,
        /// The text, not empty.
        content: &'a str,
        /// The sender's own id for it, 1 to 64 printable ASCII bytes.
        client_message_id: Option<&'a str>,
        /// The message it answers.
        reply_to: Option<MessageId>,
    },
    /// `load_conversations`.
    LoadConversations {
        /// How many.
        limit: usize,
        /// Where the page before ended, 1 to 128 bytes, unverified.
        cursor: Option<&'a str>,
    },
    /// `load_messages`.
    LoadMessages {
        /// Of which conversation.
        conversation: ConversationId,
        /// Which part of its log.
        range: PageRange,
        /// How many.
        limit: usize,
    },
    /// `typing_start`.
    TypingStart {
        /// Where.
        conversation: ConversationId,
    },
    /// `typing_stop`.
    TypingStop {
        /// Where.
        conversation: ConversationId,
    },
    /// `mark_read`.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// Up to and including this.
        seq: Seq,
    },
    /// `create_conversation`.
    CreateConversation {
        /// 1 to 100 ids as the client gave them: repeats and its own included.
        member_ids: Vec<UserId>,
        /// 1 to 100 characters, not blank.
        title: Option<&'a str>,
    },
    /// `create_group`.
    CreateGroup {
        /// 1 to 100 characters, not blank.
        name: &'a str,
        /// Up to 100 ids as the client gave them: repeats and its own included.
        member_ids: Vec<UserId>,
    },
    /// `join_group`.
    JoinGroup {
        /// 1 to 128 bytes, unverified.
        invite_code: &'a str,
    },
    /// `leave_group`.
    LeaveGroup {
        /// Which one.
        conversation: ConversationId,
    },
}

impl Action<'_> {
    /// Which action this is.
    pub fn name(&self) -> ActionName {
        match self {
            Self::Auth { .. } => ActionName::Auth,
            Self::Ping { .. } => ActionName::Ping,
            Self::JoinConversation { .. } => ActionName::JoinConversation,
            Self::LeaveConversation { .. } => ActionName::LeaveConversation,
            Self::SendMessage { .. } => ActionName::SendMessage,
            Self::LoadConversations { .. } => ActionName::LoadConversations,
            Self::LoadMessages { .. } => ActionName::LoadMessages,
            Self::TypingStart { .. } => ActionName::TypingStart,
            Self::TypingStop { .. } => ActionName::TypingStop,
            Self::MarkRead { .. } => ActionName::MarkRead,
            Self::CreateConversation { .. } => ActionName::CreateConversation,
            Self::CreateGroup { .. } => ActionName::CreateGroup,
            Self::JoinGroup { .. } => ActionName::JoinGroup,
            Self::LeaveGroup { .. } => ActionName::LeaveGroup,
        }
    }
}

impl fmt::Debug for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Action").field(&self.name()).finish()
    }
}

/// A position in a conversation's log that a client has reached (PROTOCOL.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since<'a> {
    /// The store's epoch when the client reached it, 1 to 64 bytes.
    pub epoch: &'a str,
    /// The last event it has; zero if none.
    pub seq: Seq,
}

/// Which part of a log a page is taken from. Both ends are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRange {
    /// The newest messages.
    Latest,
    /// The newest ones before this position.
    Before(Seq),
    /// The oldest ones after this position.
    After(Seq),
}

/// Why a message is not a request, as the peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError<'a> {
    /// The kind of fault.
    pub code: ErrorCode,
    /// The message's `requestId`, whenever it could be read.
    pub request_id: Option<&'a str>,
    /// Names the field and says what it must be; nothing of the message's own text is in it.
    pub message: Cow<'static, str>,
}

/// Turns texts into requests. One for each worker: it owns the buffers that parsing needs.
pub struct Parser {
    limits: RequestLimits,
    buffers: Buffers,
    /// Empty between two texts; only its memory is kept.
    tape: Tape<'static>,
    /// The payload of the latest `ping`.
    echo: Vec<u8>,
}

impl Parser {
    /// A parser with empty buffers.
    pub fn new(limits: RequestLimits) -> Self {
        Self { limits, buffers: empty_buffers(), tape: Tape(Vec::new()), echo: Vec::new() }
    }

    /// Reads one message. `text` is overwritten: it is of no use but through the request that borrows it.
    ///
    /// # Errors
    /// The first fault found, in this order: JSON, NUL characters, envelope, action, payload. Text that is not UTF-8 is
    /// `invalid_json` too, though the transport is expected to have refused it.
    pub fn parse<'a>(&'a mut self, text: &'a mut [u8]) -> Result<Request<'a>, RequestError<'a>> {
        let Self { limits, buffers, tape: kept, echo } = self;
        let text_bytes = text.len();
        if echo.capacity() > MAX_ECHO_GROWTH * MAX_KEPT_REQUEST_BYTES {
            *echo = Vec::new();
        }
        // JSON has no other way to write a NUL than an escape, so most texts need no search for one.
        let may_hold_nul = text.contains(&b'\\');
        let mut tape = std::mem::replace(kept, Tape(Vec::new())).reset();
        let result = match simd_json::fill_tape(text, buffers, &mut tape) {
            Ok(()) => read(&tape.0, may_hold_nul, *limits, echo),
            Err(error) => Err(not_json(error.error()).answering(None)),
        };
        if text_bytes <= MAX_KEPT_REQUEST_BYTES {
            *kept = tape.reset();
        } else {
            *buffers = empty_buffers();
        }
        result
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buffers hold what the latest peer wrote, which is nobody else's business.
        f.debug_struct("Parser").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn empty_buffers() -> Buffers {
    // Stage two of the parser stops at this depth, so nesting costs neither stack nor heap however deep a text claims to be.
    Buffers::with_max_depth(0, MAX_DEPTH)
}

/// Says why a text is not JSON without saying what stands in it.
fn not_json(error: &ErrorType) -> Fault {
    let message = match error {
        ErrorType::DepthLimitExceeded => "the message is nested deeper than 8 levels",
        ErrorType::InvalidNumber => "the message has a number that is malformed or does not fit 64 bits",
        _ => "the message is not valid JSON",
    };
    Fault::new(ErrorCode::InvalidJson, message)
}

/// How much longer a `ping` payload can become when it is written again: `1e15` is 4 bytes, `1000000000000000.0` is 18.
const MAX_ECHO_GROWTH: usize = 5;

const _: () = assert!(MAX_DEPTH == 8, "a message to the peer names the number");

/// Reads the envelope, and through it the payload.
fn read<'a>(
    nodes: &[Node<'a>],
    may_hold_nul: bool,
    limits: RequestLimits,
    echo: &'a mut Vec<u8>,
) -> Result<Request<'a>, RequestError<'a>> {
    let members = Value::root(nodes).members();
    let envelope = Object::new(Scope::Envelope, members.unwrap_or_default());
    let [action, request_id, timestamp, payload] = envelope.fields(["type", "requestId", "timestamp", "payload"]);
    // An error names its request even when another fault comes first, so the id is read before anything is judged.
    let request_id = request_id.if_present(|field| field.printable(MAX_REQUEST_ID_BYTES));
    let answered = request_id.as_ref().ok().copied().flatten();

    let checked = move || {
        if may_hold_nul && tape::holds_nul(nodes) {
            return Err(Fault::new(ErrorCode::InvalidText, "a string has a NUL character in it; remove it"));
        }
        if members.is_none() {
            return Err(Fault::new(ErrorCode::InvalidEnvelope, "the message must be a JSON object"));
        }
        for field in [&action, &timestamp, &payload] {
            field.not_repeated()?;
        }
        let request_id = request_id?;
        let name = action.string()?;
        timestamp.if_present(|field| field.string())?;
        let payload = payload.if_present(|field| field.object(Scope::Payload))?;
        let Some(name) = ActionName::parse(name) else {
            return Err(Fault::new(ErrorCode::UnknownType, "no such action; names are like send_message, see PROTOCOL.md"));
        };
        let action = payload::read(name, payload.unwrap_or(Object::new(Scope::Payload, &[])), limits, echo)?;
        Ok(Request { request_id, action })
    };
    checked().map_err(|fault| fault.answering(answered))
}
