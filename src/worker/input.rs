//! What a worker is told: by sockets' handshakes, by other workers, by the store. Local work takes the same path.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

use crate::auth::Identity;
use crate::protocol::frame::Decoder;
use crate::protocol::request::ActionName;
use crate::protocol::{ConversationId, LogEvent, MessageId, Seq, UnixMillis, UserId};
use crate::rooms::RoomSnapshot;
use crate::store::{Appended, ConversationPage, Joined, Left, MessagePage, MessageRange, ReadMark, StoreError};

use super::context::Admission;
use super::unsaved::Refused;

/// Names a connection of one worker; a later connection in the same place has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionKey {
    pub(super) const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    pub(super) const fn from_u64(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Who asked for what: where the answer goes.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(super) worker: usize,
    pub(super) connection: ConnectionKey,
    pub(super) user: UserId,
    pub(super) name: Arc<str>,
    pub(super) action: ActionName,
    pub(super) request_id: Option<Box<str>>,
}

impl Asker {
    /// Where the asker's connection is.
    pub(super) const fn place(&self) -> (usize, ConnectionKey) {
        (self.worker, self.connection)
    }
}

/// How many of a connection's `max_in_flight` an unanswered request takes: what is answered with a page takes more, so that the
/// answers to all that is under way stay few megabytes.
pub(super) const fn weight(action: ActionName) -> usize {
    match action {
        ActionName::JoinConversation | ActionName::LoadConversations | ActionName::LoadMessages => 8,
        ActionName::Auth
        | ActionName::Ping
        | ActionName::LeaveConversation
        | ActionName::SendMessage
        | ActionName::TypingStart
        | ActionName::TypingStop
        | ActionName::MarkRead
        | ActionName::CreateConversation
        | ActionName::CreateGroup
        | ActionName::JoinGroup
        | ActionName::LeaveGroup => 1,
    }
}

/// An input of any kind.
pub(crate) enum Input {
    /// For the side that owns connections and users.
    Session(SessionInput),
    /// For the room of this conversation, at the worker that owns it.
    Room(ConversationId, RoomInput),
    /// Somebody came or went; every worker keeps a copy of who is online.
    Presence(PresenceChange),
    /// The server is stopping.
    Drain,
    /// Write what is left and end.
    Stop,
}

/// What every worker hears of a user.
#[derive(Clone, Debug)]
pub(crate) enum PresenceChange {
    /// Their token gives them a new name.
    Named { user: UserId, name: Arc<str> },
    /// They came or went. The rooms with an audience are to be reported as the announcement says, so that each connection is
    /// told once however many rooms it shares with the user.
    Moved {
        user: UserId,
        /// `None`: online. Else when they were last seen.
        last_seen_at: Option<UnixMillis>,
        announcement: Announcement,
    },
}

/// One change of presence on its way to the audiences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// The user's home.
    pub(super) home: usize,
    /// Counts the home's announcements.
    pub(super) number: u64,
}

/// A WebSocket after its handshake.
pub(crate) struct Upgraded {
    pub(crate) stream: TcpStream,
    pub(crate) admission: Admission,
    pub(crate) address: IpAddr,
    /// What the client sent right behind its handshake.
    pub(crate) received: Vec<u8>,
    /// Who it is, if the handshake carried a good token.
    pub(crate) identity: Option<Identity>,
}

/// A connection on its way to its user's home.
pub(crate) struct Arrival {
    pub(super) upgraded: Upgraded,
    pub(super) decoder: Decoder,
    /// The `requestId` of the `auth` to be answered; `None` inside when it had none.
    pub(super) asked: Asked,
    /// Bytes that could not be written yet.
    pub(super) unsent: Vec<u8>,
}

/// How the `auth` reply was asked for.
pub(crate) enum Asked {
    /// By an `auth` action with this `requestId`; without one there is no reply.
    ByAction(Option<Box<str>>),
    /// By the handshake's token: the reply comes unasked.
    ByHandshake,
}

/// For connections and users.
pub(crate) enum SessionInput {
    /// A new socket, not authenticated unless its handshake was.
    Upgraded(Box<Upgraded>),
    /// An authenticated connection whose user is at home here.
    Arrived(Box<Arrival>),
    /// Answers a request: a whole frame, or nothing for a request without `requestId`.
    Reply { connection: ConnectionKey, frame: Option<Arc<[u8]>>, weight: usize },
    /// Answers a join and makes the connection part of the room's audience, in this place of the order.
    Subscribe(Subscription),
    /// Answers a leave and takes the connection out of the audience.
    Unsubscribe { connection: ConnectionKey, conversation: ConversationId, frame: Option<Arc<[u8]>> },
    /// The user is no member any more: none of their connections stays in the audience.
    Expel { conversation: ConversationId, user: UserId },
    /// One frame for everybody in the audience.
    Deliver(Delivery),
    /// An operator ends every connection of a user.
    Remove(UserId),
    /// A frame for every connection of a user.
    ToUser { user: UserId, frame: Arc<[u8]> },
    /// A worker's rooms with this member and an audience, by the worker that has the audience.
    PresenceRooms { number: u64, rooms: Vec<Vec<PresenceRoom>> },
    /// A change of this user's presence, for the audiences of these rooms: once for each connection, and not for their own.
    PresenceFrame { user: UserId, rooms: Vec<PresenceRoom>, frame: Arc<[u8]> },
    /// A conversation moved on: tell those members' connections that are not in its audience.
    Activity(Arc<Activity>),
    /// The store has read a page for a request.
    MessagesLoaded(Asker, MessageRange, Result<MessagePage, StoreError>),
    /// The store has read a page for a request.
    ConversationsLoaded(Asker, Result<ConversationPage, StoreError>),
    /// The store has looked up an invite code. The address is for the limit on wrong ones.
    GroupJoined(Asker, IpAddr, Result<Joined, StoreError>),
    /// The store has created a conversation, or could not.
    Created(Asker, Result<crate::store::Created, StoreError>),
    /// The store did not take something that nobody waits for.
    Unsaved(Refused),
}

/// A place in a room's audience, and the reply that comes before the first live event.
pub(crate) struct Subscription {
    pub(super) connection: ConnectionKey,
    pub(super) conversation: ConversationId,
    pub(super) frame: Option<Arc<[u8]>>,
    pub(super) request_id: Option<Box<str>>,
    /// How many changes of presence its owner had taken in when it wrote the reply.
    pub(super) presence_seen: u64,
}

/// A room that a change of presence concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PresenceRoom {
    pub(super) conversation: ConversationId,
    /// Which of its owner's changes of presence this was.
    pub(super) change: u64,
}

/// One event on its way to an audience.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(super) conversation: ConversationId,
    pub(super) frame: Arc<[u8]>,
    pub(super) kind: DeliveryKind,
    /// Whether the store is about to commit more messages of this conversation, so that a large audience may wait for them.
    pub(super) is_followed: bool,
}

/// What may be done with an event under pressure, and who does not get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryKind {
    /// An event of the log: everybody gets it, or is closed.
    Logged,
    /// Best effort.
    Hint,
    /// Best effort, and not to this user's own connections.
    HintExcept(UserId),
}

/// What `conversation_activity` tells, for the members who are online.
pub(crate) struct Activity {
    pub(super) conversation: ConversationId,
    pub(super) head: Seq,
    /// The newest message, encoded.
    pub(super) last_message: Option<Box<[u8]>>,
    /// Members with their unread counts.
    pub(super) members: Vec<(UserId, u64)>,
}

/// For a room.
pub(crate) enum RoomInput {
    /// A request by a user.
    Request(Asker, RoomRequest),
    /// The store has opened the room.
    Opened(Result<RoomSnapshot, StoreError>),
    /// The store has appended a message.
    Appended(Asker, Result<Appended, StoreError>),
    /// The store has moved a watermark.
    MarkedRead(Asker, Result<ReadMark, StoreError>),
    /// The store has ended a membership.
    Left(Asker, Result<Left, StoreError>),
    /// The store has read events for a join.
    EventsForJoin(Box<PendingJoin>, Result<Vec<LogEvent>, StoreError>),
    /// The store has read what was missing.
    EventsForGap(Result<Vec<LogEvent>, StoreError>),
    /// A connection of this worker left the audience.
    AudienceLost { worker: usize },
    /// A connection of this user ended: it types no more.
    Disconnected { user: UserId, connection: u64 },
}

/// What a user asks of a room.
pub(crate) enum RoomRequest {
    Join {
        since: Option<Since>,
        limit: usize,
    },
    Leave,
    Send {
        content: Box<str>,
        client_message_id: Option<Box<str>>,
        reply_to: Option<MessageId>,
    },
    TypingStart,
    TypingStop,
    MarkRead {
        seq: Seq,
    },
    LeaveGroup,
    /// Created a moment ago (or found, for a direct conversation that existed): tell its members and answer.
    Announce {
        existed: bool,
    },
    /// Joined by code: release the event and answer.
    Welcome {
        event: Option<LogEvent>,
    },
}

/// A client's position.
pub(crate) struct Since {
    pub(super) epoch: Box<str>,
    pub(super) seq: Seq,
}

/// A join that waits for the store.
pub(crate) struct PendingJoin {
    pub(super) asker: Asker,
    pub(super) after: Seq,
    pub(super) recovered: bool,
    /// How many events it gets if its position is of no use.
    pub(super) limit: usize,
    pub(super) attempts: u8,
}
