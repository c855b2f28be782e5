//! The objects of PROTOCOL.md section 4 and the events that a conversation's log holds.

use std::sync::Arc;

use super::encode;
use super::{ConversationId, MessageId, Seq, UnixMillis, UserId};

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its own id.
    pub id: MessageId,
    /// The conversation whose log holds it.
    pub conversation: ConversationId,
    /// Its position in that log.
    pub seq: Seq,
    /// Who sent it.
    pub sender: UserId,
    /// The sender's name when it was sent.
    pub sender_name: Arc<str>,
    /// The text: 1 to 4,000 characters by default.
    pub content: Box<str>,
    /// The sender's own id for it, which makes a repeat recognisable.
    pub client_message_id: Option<Box<str>>,
    /// The message it answers, as the sender named it.
    pub reply_to: Option<MessageId>,
    /// When the server took it.
    pub created_at: UnixMillis,
}

impl Message {
    /// About how many bytes it takes on the wire, never less: escapes count.
    pub fn wire_size(&self) -> usize {
        const FIELDS: usize = 320;
        let named = self.sender.as_str().len() + 6 * self.sender_name.len() + 64;
        encode::string_len(&self.content) + named + FIELDS
    }
}

/// One entry of a conversation's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Somebody wrote.
    MessageCreated(Arc<Message>),
    /// Somebody became a member.
    MemberJoined {
        /// The conversation.
        conversation: ConversationId,
        /// Position in its log.
        seq: Seq,
        /// Who.
        user: UserId,
        /// Their name at that time.
        name: Arc<str>,
        /// When.
        at: UnixMillis,
    },
    /// Somebody is no longer a member.
    MemberLeft {
        /// The conversation.
        conversation: ConversationId,
        /// Position in its log.
        seq: Seq,
        /// Who.
        user: UserId,
        /// Their name at that time.
        name: Arc<str>,
        /// When.
        at: UnixMillis,
    },
}

impl LogEvent {
    /// Its position in the log.
    pub fn seq(&self) -> Seq {
        match self {
            Self::MessageCreated(message) => message.seq,
            Self::MemberJoined { seq, .. } | Self::MemberLeft { seq, .. } => *seq,
        }
    }

    /// About how many bytes it takes on the wire, never less.
    pub fn wire_size(&self) -> usize {
        match self {
            Self::MessageCreated(message) => message.wire_size(),
            Self::MemberJoined { user, name, .. } | Self::MemberLeft { user, name, .. } => {
                user.as_str().len() + 6 * name.len() + 256
            }
        }
    }

    /// The conversation whose log holds it.
    pub fn conversation(&self) -> ConversationId {
        match self {
            Self::MessageCreated(message) => message.conversation,
            Self::MemberJoined { conversation, .. } | Self::MemberLeft { conversation, .. } => *conversation,
        }
    }
}

/// What kind of conversation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConversationKind {
    /// The one conversation of two users.
    Direct,
    /// Any number of members, with an owner.
    Group,
}

impl ConversationKind {
    /// The kind as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
        }
    }
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sees the invite code.
    Owner,
    /// Reads and writes.
    Member,
}

impl Role {
    /// The role as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
        }
    }
}

/// A conversation as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// The group's name; in a direct conversation the other user's name; empty when a group has none.
    pub title: Arc<str>,
    /// Number of members now.
    pub member_count: u64,
    /// Position of the newest event.
    pub head: Seq,
    /// The newest message.
    pub last_message: Option<Arc<Message>>,
    /// How far this member has read.
    pub read_seq: Seq,
    /// Number of other members' messages after `read_seq`.
    pub unread_count: u64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The invite code, for the owner of a group that has one; `None` for everybody else.
    pub invite_code: Option<Box<str>>,
}

/// A member as the others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Their name.
    pub name: Arc<str>,
    /// Owner or member.
    pub role: Role,
    /// Whether any of their connections is authenticated.
    pub online: bool,
    /// When they were last online; `None` while they are, or if they never were.
    pub last_seen_at: Option<UnixMillis>,
    /// How far they have read.
    pub read_seq: Seq,
}
