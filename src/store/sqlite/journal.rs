//! How one commit is written in the journal: everything it appended to every conversation, in one value. Pure: knows no SQL.
//!
//! The value is the format's version and then, for each conversation: its id, the seq before its first entry, the messages up
//! to there, the entries with their number before them, and the changed members' counters with theirs. Integers are LEB128,
//! texts have their length before them.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::overlay::{Counters, Entry, Staged};
use super::rows::client_digest;
use crate::protocol::{ConversationId, LogEvent, Message, MessageId, Seq, UnixMillis, UserId};

const VERSION: u8 = 1;
const MESSAGE: u8 = 0;
const MEMBER_JOINED: u8 = 1;
const MEMBER_LEFT: u8 = 2;
/// Added to a message's kind when it has a client message id.
const HAS_CLIENT_ID: u8 = 4;
/// Added to a message's kind when it answers another one.
const HAS_REPLY_TO: u8 = 8;

/// A value that [`encode`] did not make: the file was damaged, or a newer server wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal holds something that this version does not understand")
    }
}

impl std::error::Error for Corrupt {}

/// Writes a commit, or nothing when nothing of it needs the journal.
pub(super) fn encode(batch: &HashMap<ConversationId, Staged>, out: &mut Vec<u8>) {
    out.clear();
    for (conversation, staged) in batch.iter().filter(|(_, staged)| staged.is_journaled()) {
        if out.is_empty() {
            out.push(VERSION);
        }
        out.extend_from_slice(conversation.as_bytes());
        put_number(out, staged.head.get() - staged.entries.len() as u64);
        let new_messages = staged.entries.iter().filter(|entry| is_message(&entry.event)).count() as u64;
        put_number(out, staged.messages - new_messages);
        put_number(out, staged.entries.len() as u64);
        for entry in &staged.entries {
            put_event(out, &entry.event);
        }
        let changed = staged.members.iter().filter_map(|(user, counters)| Some((user, counters.as_ref()?)));
        put_number(out, changed.clone().count() as u64);
        for (user, counters) in changed {
            put_text(out, user.as_str());
            put_number(out, counters.read_seq.get());
            put_number(out, counters.read_messages);
            put_number(out, counters.sent);
            put_number(out, counters.read_sent);
            put_number(out, counters.last_sent_seq.get());
        }
    }
}

fn is_message(event: &LogEvent) -> bool {
    super::super::message_of(event).is_some()
}

fn put_event(out: &mut Vec<u8>, event: &LogEvent) {
    let (kind, at, user, name) = match event {
        LogEvent::MessageCreated(message) => {
            let client_id = if message.client_message_id.is_some() { HAS_CLIENT_ID } else { 0 };
            let reply_to = if message.reply_to.is_some() { HAS_REPLY_TO } else { 0 };
            (MESSAGE | client_id | reply_to, message.created_at, &message.sender, &message.sender_name)
        }
        LogEvent::MemberJoined { user, name, at, .. } => (MEMBER_JOINED, *at, user, name),
        LogEvent::MemberLeft { user, name, at, .. } => (MEMBER_LEFT, *at, user, name),
    };
    out.push(kind);
    put_number(out, at.get());
    put_text(out, user.as_str());
    put_text(out, name);
    if let LogEvent::MessageCreated(message) = event {
        out.extend_from_slice(message.id.as_bytes());
        put_text(out, &message.content);
        if let Some(client_id) = &message.client_message_id {
            put_text(out, client_id);
        }
        if let Some(reply_to) = &message.reply_to {
            out.extend_from_slice(reply_to.as_bytes());
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads a commit. The conversations' numbers are not in it and are 0.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(ConversationId, Staged)>, Corrupt> {
    let mut input = Input(bytes);
    if input.byte()? != VERSION {
        return Err(Corrupt);
    }
    let mut batch = Vec::new();
    while !input.0.is_empty() {
        batch.push(conversation(&mut input)?);
    }
    Ok(batch)
}

fn conversation(input: &mut Input<'_>) -> Result<(ConversationId, Staged), Corrupt> {
    let id = ConversationId::from_bytes(input.array()?);
    let mut staged = Staged::new(0, input.seq()?, input.number()?);
    for _ in 0..input.number()? {
        staged.head = Seq::new(staged.head.get() + 1).map_err(|_| Corrupt)?;
        let event = event(input, id, staged.head)?;
        staged.messages += u64::from(is_message(&event));
        let digest = super::super::message_of(&event).and_then(|message| {
            let client_id = message.client_message_id.as_deref()?;
            Some(client_digest(&message.sender, client_id))
        });
        staged.entries.push(Entry { event, messages: staged.messages, digest });
    }
    for _ in 0..input.number()? {
        let user = input.user()?;
        let counters = Counters {
            read_seq: input.seq()?,
            read_messages: input.number()?,
            sent: input.number()?,
            read_sent: input.number()?,
            last_sent_seq: input.seq()?,
        };
        staged.members.insert(user, Some(counters));
    }
    Ok((id, staged))
}

fn event(input: &mut Input<'_>, conversation: ConversationId, seq: Seq) -> Result<LogEvent, Corrupt> {
    let kind = input.byte()?;
    let at = UnixMillis::new(input.number()?);
    let user = input.user()?;
    let name = Arc::from(input.text()?);
    match kind {
        MEMBER_JOINED => Ok(LogEvent::MemberJoined { conversation, seq, user, name, at }),
        MEMBER_LEFT => Ok(LogEvent::MemberLeft { conversation, seq, user, name, at }),
        kind if kind & !(HAS_CLIENT_ID | HAS_REPLY_TO) == MESSAGE => Ok(LogEvent::MessageCreated(Arc::new(Message {
            id: MessageId::from_bytes(input.array()?),
            conversation,
            seq,
            sender: user,
            sender_name: name,
            content: input.text()?.into(),
            client_message_id: if kind & HAS_CLIENT_ID == 0 { None } else { Some(input.text()?.into()) },
            reply_to: if kind & HAS_REPLY_TO == 0 { None } else { Some(MessageId::from_bytes(input.array()?)) },
            created_at: at,
        }))),
        _ => Err(Corrupt),
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Corrupt> {
        let (first, rest) = self.0.split_first().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(*first)
    }

    fn bytes(&mut self, count: u64) -> Result<&'a [u8], Corrupt> {
        let count = usize::try_from(count).map_err(|_| Corrupt)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array(&mut self) -> Result<[u8; 16], Corrupt> {
        self.bytes(16)?.try_into().map_err(|_| Corrupt)
    }

    fn number(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(Corrupt);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Corrupt)
    }

    fn seq(&mut self) -> Result<Seq, Corrupt> {
        Seq::new(self.number()?).map_err(|_| Corrupt)
    }

    fn text(&mut self) -> Result<&'a str, Corrupt> {
        let count = self.number()?;
        std::str::from_utf8(self.bytes(count)?).map_err(|_| Corrupt)
    }

    fn user(&mut self) -> Result<UserId, Corrupt> {
        UserId::parse(self.text()?).map_err(|_| Corrupt)
    }
}
