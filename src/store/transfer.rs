//! What a store holds, row by row: the form in which one store's content goes into another, and in which the two are compared.
//! Pure: knows neither store.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::InviteHash;
use super::digest::{client_digest, message_digest};
use crate::protocol::{ConversationId, ConversationKind, IdTime, LogEvent, Message, Role, Seq, UnixMillis, UserId};

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) id: UserId,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) last_seen_at: Option<UnixMillis>,
}

/// A conversation without its members and its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConversationRow {
    pub(crate) id: ConversationId,
    pub(crate) kind: ConversationKind,
    pub(crate) title: Box<str>,
    pub(crate) invite: Option<InviteHash>,
    /// Direct: both user ids, sorted, with a space between.
    pub(crate) pair: Option<Box<str>>,
    pub(crate) created_at: UnixMillis,
    pub(crate) active_at: IdTime,
    pub(crate) head: Seq,
    pub(crate) messages: u64,
    pub(crate) last_message_seq: Seq,
    pub(crate) member_count: u64,
    pub(crate) next_join_number: u64,
}

/// A member with the counters from which unread counts follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) join_number: u64,
    pub(crate) read_seq: Seq,
    pub(crate) read_messages: u64,
    pub(crate) sent: u64,
    pub(crate) read_sent: u64,
    pub(crate) last_sent_seq: Seq,
}

/// One row of a log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogRow {
    pub(crate) event: LogEvent,
    /// Messages in the log up to this row.
    pub(crate) messages: u64,
}

/// What a message is found by when it may have been sent before.
pub(crate) fn log_digest(message: &Message) -> i64 {
    match &message.client_message_id {
        Some(id) => client_digest(&message.sender, id),
        None => message_digest(message.id),
    }
}

/// Any row, in the order in which a store is copied: all users, then each conversation, its members, its log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    User(UserRow),
    Conversation(ConversationRow),
    Member(ConversationId, MemberRow),
    Event(LogRow),
}

impl Row {
    /// Whether a text in it has a NUL character, which is refused at the door but may have come into a file otherwise.
    pub(crate) fn has_nul(&self) -> bool {
        let texts: [Option<&str>; 3] = match self {
            Self::User(user) => [user.name.as_deref(), None, None],
            Self::Conversation(row) => [Some(&row.title), row.pair.as_deref(), None],
            Self::Member(..) => [None; 3],
            Self::Event(row) => match &row.event {
                LogEvent::MessageCreated(message) => {
                    [Some(&message.content), Some(&message.sender_name), message.client_message_id.as_deref()]
                }
                LogEvent::MemberJoined { name, .. } | LogEvent::MemberLeft { name, .. } => [Some(name), None, None],
            },
        };
        texts.into_iter().flatten().any(|text| text.contains('\0'))
    }

    /// About how much memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::User(user) => user.name.as_ref().map_or(0, |name| name.len()),
                Self::Conversation(row) => row.title.len(),
                Self::Member(..) => 0,
                Self::Event(row) => match &row.event {
                    LogEvent::MessageCreated(message) => size_of::<Message>() + message.content.len() + message.sender_name.len(),
                    LogEvent::MemberJoined { name, .. } | LogEvent::MemberLeft { name, .. } => name.len(),
                },
            }
    }
}

/// How far a copy has come: everything up to here is there. In its text form it outlives the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Among the users, behind this one.
    Users(Option<UserId>),
    /// Before the conversation behind the one of this number.
    Conversations(i64),
    /// Among the members of the conversation of this number, behind the one with this join number.
    Members(i64, i64),
    /// In the log of the conversation of this number, behind this place.
    Log(i64, Seq),
    /// At the end.
    End,
}

impl Position {
    pub(crate) const START: Self = Self::Users(None);

    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        Some(match words[..] {
            ["users"] => Self::Users(None),
            ["users", id] => Self::Users(Some(UserId::parse(id).ok()?)),
            ["conversations", after] => Self::Conversations(after.parse().ok()?),
            ["members", of, after] => Self::Members(of.parse().ok()?, after.parse().ok()?),
            ["log", of, after] => Self::Log(of.parse().ok()?, Seq::new(after.parse().ok()?).ok()?),
            ["end"] => Self::End,
            _ => return None,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users(None) => f.write_str("users"),
            Self::Users(Some(id)) => write!(f, "users {id}"),
            Self::Conversations(after) => write!(f, "conversations {after}"),
            Self::Members(of, after) => write!(f, "members {of} {after}"),
            Self::Log(of, after) => write!(f, "log {of} {after}"),
            Self::End => f.write_str("end"),
        }
    }
}

/// How much there is of everything. Two states of one history that differ in a message, a member or a mark differ here, unless
/// somebody left a group and another one joined, or the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) users: u64,
    pub(crate) conversations: u64,
    pub(crate) members: u64,
    pub(crate) events: u64,
    /// The sum of all read marks.
    pub(crate) marks: u64,
}

impl Totals {
    /// Rows of all kinds.
    pub(crate) fn rows(&self) -> u64 {
        self.users + self.conversations + self.members + self.events
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, conversations, members, events, .. } = self;
        write!(f, "{conversations} conversations, {members} members, {events} events, {users} users")
    }
}

/// What is imported: the history's name, and how much there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) epoch: Arc<str>,
    pub(crate) totals: Totals,
}

impl Source {
    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(6, ' ');
        let mut number = || words.next()?.parse().ok();
        let (users, conversations, members, events, marks) = (number()?, number()?, number()?, number()?, number()?);
        Some(Self { epoch: words.next()?.into(), totals: Totals { users, conversations, members, events, marks } })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { users, conversations, members, events, marks } = self.totals;
        write!(f, "{users} {conversations} {members} {events} {marks} {}", self.epoch)
    }
}

/// Number and hash of a sequence of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) rows: u64,
    hash: [u8; 32],
}

/// A conversation's checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) conversation: Checksum,
    pub(crate) members: Checksum,
    pub(crate) log: Checksum,
}

impl Fingerprint {
    /// What differs in `other`, the copy; `None` if nothing does.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let part = |name: &str, ours: &Checksum, theirs: &Checksum| {
            let counts = |ours: u64, theirs: u64| format!("its {name} differ: {ours} in the source, {theirs} in the target");
            match ours == theirs {
                true => None,
                false if ours.rows == theirs.rows => Some(format!("its {name} differ")),
                false => Some(counts(ours.rows, theirs.rows)),
            }
        };
        let row = (self.conversation != other.conversation).then(|| "its row differs".to_owned());
        let members = part("members or their marks", &self.members, &other.members);
        let parts: Vec<String> = [row, members, part("events", &self.log, &other.log)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Computes a [`Checksum`]. Every field goes in with its length or in a fixed one, so that no two sequences run together.
pub(crate) struct Summing {
    rows: u64,
    context: Context,
}

impl Summing {
    pub(crate) fn new() -> Self {
        Self { rows: 0, context: Context::new(&SHA256) }
    }

    pub(crate) fn finish(self) -> Checksum {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
        Checksum { rows: self.rows, hash }
    }

    fn number(&mut self, value: u64) {
        self.context.update(&value.to_be_bytes());
    }

    fn bytes(&mut self, value: Option<&[u8]>) {
        // No value has that length.
        self.number(value.map_or(u64::MAX, |value| value.len() as u64));
        self.context.update(value.unwrap_or_default());
    }

    fn text(&mut self, value: &str) {
        self.bytes(Some(value.as_bytes()));
    }

    pub(crate) fn user(&mut self, user: &UserRow) {
        self.rows += 1;
        self.text(user.id.as_str());
        self.bytes(user.name.as_ref().map(|name| name.as_bytes()));
        self.number(user.last_seen_at.map_or(u64::MAX, UnixMillis::get));
    }

    pub(crate) fn conversation(&mut self, row: &ConversationRow) {
        self.rows += 1;
        self.bytes(Some(row.id.as_bytes()));
        self.text(row.kind.as_str());
        self.text(&row.title);
        self.bytes(row.invite.as_ref().map(|invite| &invite[..]));
        self.bytes(row.pair.as_ref().map(|pair| pair.as_bytes()));
        let [created_at, active_at] = [row.created_at.get(), row.active_at.get()];
        let [head, last] = [row.head.get(), row.last_message_seq.get()];
        for value in [created_at, active_at, head, row.messages, last, row.member_count, row.next_join_number] {
            self.number(value);
        }
    }

    pub(crate) fn member(&mut self, row: &MemberRow) {
        self.rows += 1;
        self.text(row.user.as_str());
        self.text(row.role.as_str());
        let [read_seq, last] = [row.read_seq.get(), row.last_sent_seq.get()];
        for value in [row.join_number, read_seq, row.read_messages, row.sent, row.read_sent, last] {
            self.number(value);
        }
    }

    pub(crate) fn event(&mut self, row: &LogRow) {
        self.rows += 1;
        self.number(row.event.seq().get());
        self.number(row.messages);
        let (kind, user, name, at) = match &row.event {
            LogEvent::MessageCreated(message) => ("message", &message.sender, &message.sender_name, message.created_at),
            LogEvent::MemberJoined { user, name, at, .. } => ("joined", user, name, *at),
            LogEvent::MemberLeft { user, name, at, .. } => ("left", user, name, *at),
        };
        self.text(kind);
        self.text(user.as_str());
        self.text(name);
        self.number(at.get());
        if let LogEvent::MessageCreated(message) = &row.event {
            self.bytes(Some(message.id.as_bytes()));
            self.text(&message.content);
            self.bytes(message.client_message_id.as_ref().map(|id| id.as_bytes()));
            self.bytes(message.reply_to.as_ref().map(|id| &id.as_bytes()[..]));
        }
    }

    /// Takes in that something which follows from the rows is not what it should be.
    pub(crate) fn spoil(&mut self) {
        self.text("spoilt");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, name: Option<&str>) -> UserRow {
        UserRow { id: UserId::parse(id).unwrap(), name: name.map(Arc::from), last_seen_at: None }
    }

    fn sum(users: &[UserRow]) -> Checksum {
        let mut summing = Summing::new();
        users.iter().for_each(|row| summing.user(row));
        summing.finish()
    }

    #[test]
    fn rows_that_run_together_have_different_checksums() {
        let all = [
            sum(&[]),
            sum(&[user("ab", None)]),
            sum(&[user("a", Some("b"))]),
            sum(&[user("a", Some("")), user("b", None)]),
            sum(&[user("b", None), user("a", Some(""))]),
            sum(&[user("a", None), user("b", None)]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all[place + 1..].iter().all(|other| one != other), "{place}");
        }
    }

    #[test]
    fn positions_and_sources_are_read_back() {
        let after = Seq::new(7).unwrap();
        for position in [
            Position::START,
            Position::Users(Some(UserId::parse("auth0|5f7c").unwrap())),
            Position::Conversations(0),
            Position::Members(3, -1),
            Position::Log(3, after),
            Position::End,
        ] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        for bad in ["", "users a b", "log 1", "log 1 -1", "end 1", "log x 1"] {
            assert_eq!(Position::parse(bad), None, "{bad:?}");
        }
        let totals = Totals { users: 1, conversations: 2, members: 3, events: 4, marks: 5 };
        let source = Source { epoch: "with a blank".into(), totals };
        assert_eq!(Source::parse(&source.to_string()), Some(source));
        assert_eq!(Source::parse("1 2 3"), None);
    }

    #[test]
    fn a_difference_names_what_differs_and_counts_it() {
        let (none, one) = (Summing::new().finish(), sum(&[user("a", None)]));
        let ours = Fingerprint { conversation: one, members: one, log: none };
        assert_eq!(ours.difference(&ours), None);
        let theirs = Fingerprint { members: sum(&[user("b", None)]), log: one, ..ours };
        let expected = "its members or their marks differ; its events differ: 0 in the source, 1 in the target";
        assert_eq!(ours.difference(&theirs).as_deref(), Some(expected));
    }
}
