//! The paths of a message through the server, made ready to be measured: `core` takes their time, `instructions` counts.
//!
//! Each is prepared beforehand and warm: buffers have grown, statements are prepared, a room keeps as many events as it may. What
//! `run` does is all that is measured. Ids, texts and times are always the same, or at least of the same length.

mod hall;
mod stores;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use parlor::protocol::frame::{Decoded, Decoder, FrameBuilder, FrameLimits, Incoming};
use parlor::protocol::request::{Parser, RequestLimits};
use parlor::protocol::{
    ConversationId, ConversationKind, EventFrame, Limits, LogEvent, Message, MessageId, Role, Seq, UnixMillis, UserId, encode,
};
use parlor::rooms::{MemberRecord, Moment, Room, RoomSnapshot};

pub(crate) use hall::Hall;
pub(crate) use stores::{Commit, MemoryAppends};

/// How often a path that is short is taken in one run.
pub(crate) const TIMES: usize = 100;
/// Appends in one run to the store in memory: so many that it averages out where their ids' hashes fall, which differs with
/// every build.
pub(crate) const APPENDS: usize = 1_000;
/// More than a room keeps in memory, so that it forgets a message for each that comes; and such that in a hall no list or table
/// has to grow in the run that follows.
const WARM_UP: usize = 150;
/// 64 characters.
const CONTENT: &str = "A message of about the length that people write, give or take...";
/// 2026-11-24.
const START: u64 = 1_795_512_600_000;

fn user(number: usize) -> UserId {
    UserId::parse(&format!("auth0|{:024x}", 0x5bf0_0000 + number)).expect("a user id")
}

fn conversation() -> ConversationId {
    ConversationId::new_v7(Duration::from_millis(START), [7; 10])
}

/// As `crypto.randomUUID()` makes it.
fn client_id(number: usize) -> String {
    let mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{number:012x}", mixed >> 32, mixed >> 16 & 0xFFFF, mixed >> 4 & 0xFFF, mixed & 0xFFF)
}

/// What a client sends.
fn send_message(conversation: ConversationId, number: usize) -> String {
    let id = client_id(number);
    format!(
        r#"{{"type":"send_message","requestId":"{id}","payload":{{"conversationId":"{conversation}","content":"{CONTENT}","clientMessageId":"{id}"}}}}"#
    )
}

/// A masked text frame (RFC 6455, section 5.2).
fn frame(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match u16::try_from(text.len()).expect("a short text") {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn message(number: usize) -> Message {
    Message {
        id: MessageId::new_v7(Duration::from_millis(START), [3; 10]),
        conversation: conversation(),
        seq: Seq::new(number as u64 + 1).expect("small"),
        sender: user(0),
        sender_name: Arc::from("Somebody Else"),
        content: CONTENT.into(),
        client_message_id: Some(client_id(number).into()),
        reply_to: None,
        created_at: UnixMillis::new(START),
    }
}

fn events(numbers: std::ops::Range<usize>) -> Vec<LogEvent> {
    numbers.map(|number| LogEvent::MessageCreated(Arc::new(message(number)))).collect()
}

/// [`TIMES`] frames as they came from a socket.
#[derive(Clone)]
pub(crate) struct Decode(Vec<u8>);

impl Decode {
    pub(crate) fn new() -> Self {
        Self((0..TIMES).flat_map(|number| frame(&send_message(conversation(), number))).collect())
    }

    pub(crate) fn run(&mut self) {
        let limits = Limits::default();
        let limits = FrameLimits { max_message_bytes: limits.max_message_bytes, max_fragments: limits.max_fragments };
        let (mut decoder, mut rest, mut texts) = (Decoder::default(), &mut self.0[..], 0);
        while !rest.is_empty() {
            let Ok(Decoded::Frame { consumed, incoming: Some(Incoming::Text(text)) }) = decoder.decode(black_box(rest), limits)
            else {
                panic!("whole frames with texts");
            };
            black_box(text);
            texts += 1;
            rest = &mut rest[consumed..];
        }
        assert_eq!(texts, TIMES);
    }
}

/// [`TIMES`] texts, and a parser that has seen one before.
pub(crate) struct Parse {
    parser: Parser,
    texts: Vec<Vec<u8>>,
}

impl Parse {
    pub(crate) fn new() -> Self {
        let mut parser = Parser::new(RequestLimits { max_content_chars: Limits::default().max_content_chars });
        let text = |number| send_message(conversation(), number).into_bytes();
        parser.parse(&mut text(TIMES)).expect("a request");
        Self { parser, texts: (0..TIMES).map(text).collect() }
    }

    pub(crate) fn run(&mut self) {
        for text in &mut self.texts {
            black_box(self.parser.parse(black_box(text)).expect("a request"));
        }
    }
}

/// [`TIMES`] events, as `message_created`.
pub(crate) struct EncodeEvent {
    builder: FrameBuilder,
    events: Vec<LogEvent>,
    frames: Vec<EventFrame>,
}

impl EncodeEvent {
    pub(crate) fn new() -> Self {
        let (mut builder, events) = (FrameBuilder::default(), events(0..TIMES));
        EventFrame::encode(&mut builder, &events[0], UnixMillis::new(START));
        Self { builder, events, frames: Vec::with_capacity(TIMES) }
    }

    pub(crate) fn run(&mut self) {
        self.frames.clear();
        for event in &self.events {
            self.frames.push(EventFrame::encode(&mut self.builder, black_box(event), UnixMillis::new(START)));
        }
        black_box(&self.frames);
    }
}

/// [`TIMES`] replies to `send_message`.
pub(crate) struct EncodeReply {
    builder: FrameBuilder,
    messages: Vec<Message>,
}

impl EncodeReply {
    pub(crate) fn new() -> Self {
        let mut reply = Self { builder: FrameBuilder::default(), messages: (0..TIMES).map(message).collect() };
        reply.run();
        reply
    }

    pub(crate) fn run(&mut self) {
        for message in &self.messages {
            let message = black_box(message);
            let id = message.client_message_id.as_deref().unwrap_or_default();
            encode::reply(self.builder.begin(), "send_message", id, UnixMillis::new(START), |out| {
                let mut object = encode::Object::begin(out);
                encode::message(object.field("message"), message);
                object.end();
            });
            black_box(self.builder.finish());
        }
    }
}

/// [`TIMES`] messages that were committed, and the room of twenty that hears of them.
pub(crate) struct Release {
    room: Room,
    builder: FrameBuilder,
    events: Vec<LogEvent>,
}

impl Release {
    pub(crate) fn new() -> Self {
        let member = |number| {
            let user = user(number);
            let (name, role, read_seq) = (user.shared(), Role::Member, Seq::ZERO);
            MemberRecord { user, name, role, read_seq, unread: 0, last_seen_at: None }
        };
        let snapshot = RoomSnapshot {
            kind: ConversationKind::Group,
            title: Arc::from("A group"),
            created_at: UnixMillis::new(START),
            invite: None,
            head: Seq::ZERO,
            last_message: None,
            members: (0..20).map(member).collect(),
            recent: Vec::new(),
        };
        let mut builder = FrameBuilder::default();
        let room = Room::open(conversation(), snapshot, &mut builder, UnixMillis::new(START));
        let mut release = Self { room, builder, events: events(0..WARM_UP) };
        release.run();
        release.events = events(WARM_UP..WARM_UP + TIMES);
        release
    }

    pub(crate) fn run(&mut self) {
        for event in self.events.drain(..) {
            self.room.handle_event(black_box(event), Moment::default());
            let released = self.room.next_released(&mut self.builder, UnixMillis::new(START));
            black_box(released.expect("the next one"));
        }
    }
}
