//! How one commit is written in the journal: everything it appended to every conversation, in one value. Pure: knows no SQL.
//!
//! The value is the format's version and then, for each conversation: its id, the seq before its first entry, the messages up
//! to there, the entries with their number before them, and the changed members' counters with theirs. Integers are LEB128,
//! texts have their length before them.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::super::digest::client_digest;
use super::staged::{Counters, Entry, Staged};
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
        staged.messages = staged.messages.checked_add(u64::from(is_message(&event))).ok_or(Corrupt)?;
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

#[cfg(test)]
mod tests {
    use super::super::super::contract::random::{Random, with_seeds};
    use super::*;

    fn text(random: &mut Random) -> String {
        (0..random.below(30)).map(|_| ["a", "\u{e9}", "\u{10FFFF}", " "][random.below(4)]).collect()
    }

    fn number(random: &mut Random) -> u64 {
        // Of every length from one bit to 53.
        (random.below(usize::MAX) as u64) >> (11 + random.below(53))
    }

    fn seq(random: &mut Random) -> Seq {
        Seq::new(number(random)).expect("53 bits")
    }

    fn user(random: &mut Random) -> UserId {
        UserId::parse(&format!("user|{}", number(random))).expect("a user id")
    }

    fn event(random: &mut Random, conversation: ConversationId, seq: Seq) -> LogEvent {
        let (user, name, at) = (user(random), Arc::from(text(random)), UnixMillis::new(number(random)));
        match random.below(4) {
            0 => LogEvent::MemberJoined { conversation, seq, user, name, at },
            1 => LogEvent::MemberLeft { conversation, seq, user, name, at },
            _ => LogEvent::MessageCreated(Arc::new(Message {
                id: MessageId::from_bytes([random.below(256) as u8; 16]),
                conversation,
                seq,
                sender: user,
                sender_name: name,
                content: text(random).into(),
                client_message_id: (random.below(2) == 0).then(|| text(random).into()),
                reply_to: (random.below(2) == 0).then(|| MessageId::from_bytes([random.below(256) as u8; 16])),
                created_at: at,
            })),
        }
    }

    fn counters(random: &mut Random) -> Counters {
        Counters {
            read_seq: seq(random),
            read_messages: number(random),
            sent: number(random),
            read_sent: number(random),
            last_sent_seq: seq(random),
        }
    }

    fn batch(random: &mut Random) -> HashMap<ConversationId, Staged> {
        let mut batch = HashMap::new();
        for index in 0..random.below(5) {
            let id = ConversationId::from_bytes([index as u8; 16]);
            let mut staged = Staged::new(0, seq(random), number(random));
            for _ in 0..random.below(4) {
                let event = event(random, id, staged.head.next());
                let digest = super::super::super::message_of(&event)
                    .and_then(|message| Some(client_digest(&message.sender, message.client_message_id.as_deref()?)));
                staged.push(event, digest);
            }
            for _ in 0..random.below(3) {
                staged.members.insert(user(random), (random.below(3) > 0).then(|| counters(random)));
            }
            batch.insert(id, staged);
        }
        batch
    }

    #[test]
    fn a_commit_is_read_back_as_it_was_written() {
        with_seeds(200, |seed| {
            let mut batch = batch(&mut Random::new(seed));
            let mut bytes = Vec::new();
            encode(&batch, &mut bytes);
            batch.retain(|_, staged| staged.is_journaled());
            for staged in batch.values_mut() {
                // Members whose rows say it all are not in the journal.
                staged.members.retain(|_, counters| counters.is_some());
            }
            if batch.is_empty() {
                assert!(bytes.is_empty());
                return;
            }
            let read: HashMap<_, _> = decode(&bytes).expect("decodes").into_iter().collect();
            assert_eq!(read, batch);
        });
    }

    #[test]
    fn damaged_journals_are_refused_or_read_but_never_panic() {
        with_seeds(200, |seed| {
            let mut random = Random::new(seed);
            let mut bytes = Vec::new();
            encode(&batch(&mut random), &mut bytes);
            for cut in 0..bytes.len() {
                let _: Result<_, Corrupt> = decode(&bytes[..cut]);
            }
            for _ in 0..20.min(bytes.len() * 20) {
                let mut damaged = bytes.clone();
                let at = random.below(damaged.len());
                damaged[at] ^= 1 << random.below(8);
                let _: Result<_, Corrupt> = decode(&damaged);
            }
        });
        for bytes in [&[][..], &[9], &[VERSION, 1, 2, 3]] {
            assert_eq!(decode(bytes), Err(Corrupt), "{bytes:?}");
        }
    }
}
