//! Where conversations are kept: the [`Store`] trait and its written contract. A concrete store is named only in `server.rs`.
//!
//! # Contract (`store/contract/` holds every store to it)
//!
//! - **Callbacks.** Every operation takes a [`Done`], called exactly once, on any thread, possibly before the operation
//!   returns. It must not block. Operations never block the caller either.
//! - **Durability.** A write's callback gets `Ok` only when the write is synced. After [`StoreError::Unavailable`] the write
//!   may or may not have happened; asking again with the same client message id tells.
//! - **Order.** In each conversation `seq` is dense from 1, assigned in the commit; callbacks of committed writes to one
//!   conversation are called in the order of their `seq`. Writes to one conversation are committed in the order of the calls.
//!   A joining by code, which names no conversation, comes after what was called before it, and before what is called after its
//!   callback: a store may look the code up first.
//! - **Idempotency.** A message with the sender's client message id that is already in the conversation is not stored again,
//!   for ever: the callback gets the stored message with `duplicate` set, or [`StoreError::Conflict`] when content or
//!   `reply_to` differ.
//! - **Membership.** Whoever is not a member gets [`StoreError::NotFound`], as for a conversation that does not exist, and
//!   the check happens in the same transaction as the write or read it guards.
//! - **Reads** see every write whose callback has been called.
//! - **Counts.** `unread` is the number of messages by others after the member's `read_seq`, membership events not counted,
//!   computed in O(1) for each conversation. A conversation's first members start with `read_seq` 0. Sending moves no mark.
//! - **Names.** A member's name is the one last given to [`Store::put_user`], or their id. An event keeps the name of its time:
//!   the given one in a message and in `MemberJoined`, the member's in `MemberLeft`.
//! - **Last visits.** When a member was last online is the latest time given to [`Store::put_last_seen`], in whatever order: nodes
//!   tell of the same user, and one that could not tell in time does so later.
//! - **Limits.** Nobody joins a conversation that has `max_members`, or becomes a member of more than
//!   `max_conversations_per_user` conversations; see [`StoreLimits`]. What is refused for a limit changes nothing, for anybody
//!   named in it. Where nothing has to change, for a direct conversation that exists and a member who joins again, no limit counts.
//!   A conversation that is full is so for everybody, whatever else they are in.
//! - **Order of members** is that of joining; the first ones in the order in which they were given.

#[cfg(test)]
pub(crate) mod contract;
mod database_server;
mod digest;
pub mod memory;
pub mod postgres;
pub mod sqlite;
pub(crate) mod transfer;

use std::sync::Arc;

use crate::metrics::Histogram;
use crate::protocol::{
    ConversationId, ConversationKind, IdTime, Limits, LogEvent, Message, MessageId, Role, Seq, UnixMillis, UserId,
};
pub use crate::rooms::{InviteHash, MemberRecord, ReadMark, RoomSnapshot};

pub use database_server::{DatabaseServer, SchemaName, ServerUrl, ServerUrlError, TlsMode};
pub use memory::MemoryStore;
pub use postgres::{PostgresOpenError, PostgresStore};
pub use sqlite::{SqliteOpenError, SqliteStore};

/// Receives an operation's outcome: called exactly once, on any thread; must not block.
pub type Done<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// What was done to a database's schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The migrations that were applied, oldest first, such as `V1 conversations`.
    pub applied: Vec<String>,
    /// The version that the schema has now.
    pub version: i32,
}

/// Why an operation did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No such conversation or invite code, or the user is not a member.
    NotFound,
    /// The client message id is taken by a message with another body.
    Conflict,
    /// A direct conversation cannot be left.
    Forbidden,
    /// The conversation has as many members as it may have.
    MembersFull,
    /// The user, or somebody named for a new conversation, is in as many conversations as one may be.
    TooManyConversations,
    /// The store is not answering, or its queue is full; the outcome of a write is not known.
    Unavailable,
}

/// How many members a conversation has at most, and a user conversations. Each is 1 or more, or [`OFF`]. What a store holds
/// already is kept when a limit is lowered.
///
/// [`OFF`]: crate::protocol::limits::OFF
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Most members of a conversation past which nobody joins it by code. Who creates one names the members, and is not held to it
    /// here.
    pub max_members: usize,
    /// Most conversations that one user is a member of: what listing a user's conversations reads.
    pub max_conversations_per_user: usize,
}

impl From<&Limits> for StoreLimits {
    fn from(limits: &Limits) -> Self {
        Self { max_members: limits.max_members, max_conversations_per_user: limits.max_conversations_per_user }
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

/// A message to append.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The id it gets if it is stored.
    pub id: MessageId,
    /// Where to.
    pub conversation: ConversationId,
    /// Who sends it; must be a member.
    pub sender: UserId,
    /// The sender's name now.
    pub sender_name: Arc<str>,
    /// The text.
    pub content: Box<str>,
    /// The sender's own id for it.
    pub client_message_id: Option<Box<str>>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// The server's time.
    pub created_at: UnixMillis,
}

impl NewMessage {
    /// The message as it stands in the log once it has its place.
    pub(crate) fn into_message(self, seq: Seq) -> Message {
        Message {
            id: self.id,
            conversation: self.conversation,
            seq,
            sender: self.sender,
            sender_name: self.sender_name,
            content: self.content,
            client_message_id: self.client_message_id,
            reply_to: self.reply_to,
            created_at: self.created_at,
        }
    }
}

/// A message that is in the store.
#[derive(Clone, Debug)]
pub struct Appended {
    /// As stored (for a repeat: as stored the first time).
    pub message: Arc<Message>,
    /// Whether it was there already, so that no event follows.
    pub duplicate: bool,
}

/// A conversation to create. Creation itself takes no `seq`: the log starts empty.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// The id it gets if it is created.
    pub id: ConversationId,
    /// Direct: `members` holds exactly two users, of whom this is the one conversation.
    pub kind: ConversationKind,
    /// The group's name; empty for none. Ignored for a direct conversation.
    pub title: Box<str>,
    /// Who creates it: a group's owner. Both sides of a direct conversation are plain members.
    pub creator: UserId,
    /// Everybody in it, the creator included, without repeats.
    pub members: Vec<UserId>,
    /// For a group that can be joined by a code.
    pub invite: Option<InviteHash>,
    /// The server's time.
    pub created_at: UnixMillis,
}

/// A conversation that is in the store.
#[derive(Clone, Debug)]
pub struct Created {
    /// The id: of the existing one where the two users had a direct conversation already.
    pub conversation: ConversationId,
    /// Whether it was there already, so that nobody is told.
    pub existed: bool,
}

/// Somebody's membership after joining by code.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The conversation the code belongs to.
    pub conversation: ConversationId,
    /// The `MemberJoined` event; `None` for somebody who was a member already.
    pub event: Option<LogEvent>,
    /// Owner when the group had nobody left, else member (or what they were).
    pub role: Role,
}

/// The end of a membership.
#[derive(Clone, Debug)]
pub struct Left {
    /// The `MemberLeft` event.
    pub event: LogEvent,
    /// Who owns the group from now on, if its owner left: the member who has been in it longest.
    pub new_owner: Option<UserId>,
}

/// A conversation's row as one member may see it. The shell derives the invite code from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationView {
    /// Its id.
    pub id: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// Group name, empty for none; for a direct conversation the other user's name.
    pub title: Arc<str>,
    /// Number of members.
    pub member_count: u64,
    /// Newest seq.
    pub head: Seq,
    /// Newest message.
    pub last_message: Option<Arc<Message>>,
    /// The member's watermark.
    pub read_seq: Seq,
    /// Messages by others after it.
    pub unread: u64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The member's role.
    pub role: Role,
    /// The group's invite hash, if it has one.
    pub invite: Option<InviteHash>,
}

/// Where a page of conversations ends: the activity it was ordered by. Stable: what gets new activity moves to the front
/// and is not listed twice on later pages, what does not is not skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConversationCursor {
    /// The time in the id of the newest message, or of the conversation where it has none: finer than `created_at`, so that
    /// what happened later is listed first also within a millisecond.
    pub active_at: IdTime,
    /// Breaks ties.
    pub conversation: ConversationId,
}

/// One page of a user's conversations, latest activity first.
#[derive(Clone, Debug)]
pub struct ConversationPage {
    /// The page.
    pub conversations: Vec<ConversationView>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<ConversationCursor>,
}

/// Which messages of a conversation to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRange {
    /// The newest.
    Latest,
    /// The newest of those before this seq.
    Before(Seq),
    /// The oldest of those after this seq.
    After(Seq),
}

/// One page of messages.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// Ascending by seq.
    pub messages: Vec<Arc<Message>>,
    /// Whether the range holds more in the direction of reading.
    pub has_more: bool,
}

/// Keeps users, conversations, members and logs. See the module for the contract.
pub trait Store: Send + Sync {
    /// Changes only if history was lost or rewound. 1 to 64 printable ASCII bytes.
    fn epoch(&self) -> Arc<str>;

    /// Appends one message; `reply_to` is stored unverified. `Err`: `NotFound`, `Conflict`, `Unavailable`.
    fn append_message(&self, message: NewMessage, done: Done<Appended>);

    /// Moves a member's watermark forward, at most to the head. `Err`: `NotFound`, `Unavailable`.
    fn mark_read(&self, conversation: ConversationId, user: UserId, seq: Seq, done: Done<ReadMark>);

    /// Creates a conversation, or finds the two users' direct one. `Err`: `TooManyConversations` (of any member), `Unavailable`.
    fn create_conversation(&self, new: NewConversation, done: Done<Created>);

    /// Makes `user` a member of the group with this invite, reading from its present head on; the whole history is theirs to page.
    /// A member already is told so, even when the group is full. `Err`: `NotFound`, `MembersFull`, `TooManyConversations`, `Unavailable`.
    fn join_by_invite(&self, invite: InviteHash, user: UserId, name: Arc<str>, at: UnixMillis, done: Done<Joined>);

    /// Ends a membership. The last one leaves an empty group behind, which whoever joins next owns. `Err`: `NotFound`, `Forbidden` (a direct conversation), `Unavailable`.
    fn leave(&self, conversation: ConversationId, user: UserId, at: UnixMillis, done: Done<Left>);

    /// Remembers a user's name. Best effort in time, durable like any write. `Err`: `Unavailable`.
    fn put_user(&self, user: UserId, name: Arc<str>, done: Done<()>);

    /// Remembers when users were last online, unless a later time is known. `Err`: `Unavailable`.
    fn put_last_seen(&self, users: Vec<(UserId, UnixMillis)>, done: Done<()>);

    /// Everything a room needs, with up to `recent` events, in one consistent read. `Err`: `NotFound`, `Unavailable`.
    fn open_room(&self, conversation: ConversationId, recent: usize, done: Done<RoomSnapshot>);

    /// Events after `after`, ascending, at most `limit`. No membership check: the room's owner asks. `Err`: `NotFound`, `Unavailable`.
    fn load_events(&self, conversation: ConversationId, after: Seq, limit: usize, done: Done<Vec<LogEvent>>);

    /// Messages in `range`, at most `limit`, for a member. `Err`: `NotFound`, `Unavailable`.
    fn load_messages(
        &self,
        conversation: ConversationId,
        user: UserId,
        range: MessageRange,
        limit: usize,
        done: Done<MessagePage>,
    );

    /// One conversation as a member sees it. `Err`: `NotFound`, `Unavailable`.
    fn load_conversation(&self, conversation: ConversationId, user: UserId, done: Done<ConversationView>);

    /// A page of the user's conversations, strictly after `cursor` in the order of latest activity. `Err`: `Unavailable`.
    fn load_conversations(&self, user: UserId, cursor: Option<ConversationCursor>, limit: usize, done: Done<ConversationPage>);

    /// Answers when the store can read and write. `Err`: `Unavailable`.
    fn check(&self, done: Done<()>);

    /// How long its batches of writes took, each from being sent to being durable; `None` where nothing is durable.
    fn commit_times(&self) -> Option<&Histogram> {
        None
    }
}

/// The message of an event that is one.
fn message_of(event: &LogEvent) -> Option<&Arc<Message>> {
    match event {
        LogEvent::MessageCreated(message) => Some(message),
        LogEvent::MemberJoined { .. } | LogEvent::MemberLeft { .. } => None,
    }
}

/// The outcome of sending `new` when `stored` has its client message id: the same message again, or a conflict.
fn repeat_of(stored: &Arc<Message>, new: &NewMessage) -> Result<Appended, StoreError> {
    if stored.content != new.content || stored.reply_to != new.reply_to {
        return Err(StoreError::Conflict);
    }
    Ok(Appended { message: Arc::clone(stored), duplicate: true })
}

/// A fresh epoch: 16 hexadecimal digits; `None` when the system has no randomness.
fn new_epoch() -> Option<Arc<str>> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    Some(Arc::from(format!("{:016x}", u64::from_ne_bytes(random))))
}
