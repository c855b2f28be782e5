//! What a room starts from: its conversation as the store has it.

use std::sync::Arc;

use crate::protocol::{ConversationKind, LogEvent, Message, Role, Seq, UnixMillis, UserId};

/// SHA-256 of an invite code; the code itself is never stored.
pub type InviteHash = [u8; 32];

/// A member as the room needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Who.
    pub user: UserId,
    /// Their name as of their last login, or their id if they never logged in.
    pub name: Arc<str>,
    /// Owner or member.
    pub role: Role,
    /// Watermark.
    pub read_seq: Seq,
    /// Messages by others after it.
    pub unread: u64,
    /// When they were last online.
    pub last_seen_at: Option<UnixMillis>,
}

/// A read mark after `mark_read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The watermark now: never behind where it was, never past the head.
    pub seq: Seq,
    /// Messages by others after it.
    pub unread: u64,
    /// The newest seq when `unread` was counted.
    pub head: Seq,
    /// Whether it moved.
    pub moved: bool,
}

/// All that a room needs to go live.
#[derive(Clone, Debug)]
pub struct RoomSnapshot {
    /// Direct or group.
    pub kind: ConversationKind,
    /// The group's name, empty for none and for direct conversations.
    pub title: Arc<str>,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The invite hash, if it has one.
    pub invite: Option<InviteHash>,
    /// Newest seq.
    pub head: Seq,
    /// Newest message.
    pub last_message: Option<Arc<Message>>,
    /// Everybody in it, in the order in which they joined.
    pub members: Vec<MemberRecord>,
    /// The newest events, ascending, without a gap up to `head`; as many as were asked for, or all.
    pub recent: Vec<LogEvent>,
}
