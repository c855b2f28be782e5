//! One live room and what its owner keeps beside it: its audience by worker, and when it last told of what.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::protocol::{ConversationId, ConversationKind, ErrorCode, LogEvent, UserId, encode};
use crate::rooms::{Moment, ReadEnd, Room, TypingStart};
use crate::store::{NewMessage, StoreError};

use super::context::Context;
use super::input::{Activity, Asker, ConnectionKey, Delivery, DeliveryKind, Input, RoomInput, RoomRequest, SessionInput};

/// Shortest time between two `conversation_activity` of one conversation (PROTOCOL.md section 5).
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two `message_read` of one room; what happens meanwhile is coalesced.
const READS_INTERVAL: Duration = Duration::from_millis(100);
/// How long a missing event may stay on its way before the store is read for it.
const GAP_TIMEOUT: Duration = Duration::from_millis(200);
/// Events read at once for a gap.
const GAP_PAGE: usize = 500;

/// A room and what its owner keeps beside it.
pub(super) struct RoomEntry {
    pub(super) room: Room,
    /// Connections in the audience, by worker.
    pub(super) audience: Box<[usize]>,
    /// Writes and reads of which the store has not told the outcome; the room stays until it has.
    pub(super) in_flight: usize,
    /// Connections with a join that waits for the store, and what they asked of their place in the audience after it: that is
    /// done in its order, so that who joins and then leaves has left. `max_in_flight` of each connection bounds it.
    pub(super) joining: HashMap<(usize, ConnectionKey), Vec<(Asker, RoomRequest)>>,
    pub(super) used_at: Moment,
    activity_sent_at: Option<Moment>,
    pub(super) has_activity: bool,
    reads_sent_at: Option<Moment>,
    /// Whether it is in the list of rooms to look after at the next tick.
    pub(super) is_due: bool,
}

/// The payload `{"conversationId":…}`.
pub(super) fn conversation_payload(conversation: ConversationId) -> impl FnOnce(&mut Vec<u8>) {
    move |out| encode::Object::begin(out).conversation_id(conversation).end()
}

impl RoomEntry {
    /// A room without an audience.
    pub(super) fn new(room: Room, context: &Context) -> Self {
        Self {
            room,
            audience: vec![0; context.mailboxes.len()].into_boxed_slice(),
            in_flight: 0,
            joining: HashMap::new(),
            used_at: context.now,
            activity_sent_at: None,
            has_activity: false,
            reads_sent_at: None,
            is_due: false,
        }
    }

    /// Sends a frame to every worker that has connections in the audience: once to each, shared.
    pub(super) fn deliver(&self, frame: &Arc<[u8]>, kind: &DeliveryKind, context: &mut Context) {
        let conversation = self.room.id();
        for (worker, &connections) in self.audience.iter().enumerate() {
            if connections > 0 {
                let (frame, kind, is_followed) = (Arc::clone(frame), kind.clone(), self.in_flight > 0);
                let delivery = Delivery { conversation, frame, kind, is_followed };
                context.send_to_session(worker, SessionInput::Deliver(delivery));
            }
        }
    }

    pub(super) fn send(&mut self, asker: Asker, message: NewMessage, context: &mut Context) {
        if self.room.typing.handle_stop(asker.user.as_str()) {
            self.tell_typing_stopped(&asker.user, context);
        }
        self.in_flight += 1;
        let (mailbox, conversation) = (context.mailbox(), self.room.id());
        let done = Box::new(move |result| mailbox.send(Input::Room(conversation, RoomInput::Appended(asker, result))));
        context.shared.store.append_message(message, done);
    }

    pub(super) fn leave_group(&mut self, asker: Asker, context: &mut Context) {
        if self.room.kind() == ConversationKind::Direct {
            return context.refuse(&asker, ErrorCode::Forbidden, "a direct conversation cannot be left");
        }
        self.in_flight += 1;
        let (mailbox, conversation, user) = (context.mailbox(), self.room.id(), asker.user.clone());
        let done = Box::new(move |result| mailbox.send(Input::Room(conversation, RoomInput::Left(asker, result))));
        context.shared.store.leave(conversation, user, context.wall, done);
    }

    pub(super) fn start_typing(&mut self, asker: &Asker, context: &mut Context) {
        let conversation = self.room.id();
        let lease = context.limits().typing_lease;
        let is_announced = self.audience.iter().sum::<usize>() <= context.limits().typing_max_joined;
        let start = if is_announced {
            self.room.typing.handle_start(&asker.user, asker.connection.to_u64(), context.now, lease)
        } else {
            TypingStart::Known
        };
        if start == TypingStart::Announce {
            let frame = context.event("typing_started", |out| {
                let mut object = encode::Object::begin(out);
                object.conversation_id(conversation).string("userId", asker.user.as_str());
                object.number("expiresInMs", u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)).end();
            });
            self.deliver(&frame, &DeliveryKind::HintExcept(asker.user.clone()), context);
        }
        context.reply(asker, conversation_payload(conversation));
    }

    pub(super) fn tell_typing_stopped(&self, user: &UserId, context: &mut Context) {
        let conversation = self.room.id();
        let frame = context.event("typing_stopped", |out| {
            encode::Object::begin(out).conversation_id(conversation).string("userId", user.as_str()).end();
        });
        self.deliver(&frame, &DeliveryKind::HintExcept(user.clone()), context);
    }

    pub(super) fn tell_reads_if_time(&mut self, context: &mut Context) {
        let is_time = self.reads_sent_at.is_none_or(|at| context.now.since(at) >= READS_INTERVAL);
        if !self.room.has_reads() || !is_time {
            return;
        }
        self.reads_sent_at = Some(context.now);
        let conversation = self.room.id();
        for (user, seq) in self.room.take_reads() {
            let frame = context.event("message_read", |out| encode::message_read_payload(out, conversation, &user, seq));
            self.deliver(&frame, &DeliveryKind::Hint, context);
        }
    }

    /// Tells members who are online and may not have joined. Their own worker knows which of their connections have.
    pub(super) fn tell_activity_if_time(&mut self, online: &HashSet<UserId>, context: &mut Context) {
        let is_time = self.activity_sent_at.is_none_or(|at| context.now.since(at) >= ACTIVITY_INTERVAL);
        if !self.has_activity || !is_time {
            return;
        }
        self.has_activity = false;
        self.activity_sent_at = Some(context.now);
        let mut members: Vec<Vec<(UserId, u64)>> = vec![Vec::new(); context.mailboxes.len()];
        for member in self.room.member_ids().filter(|member| online.contains(*member)) {
            let unread = self.room.unread(member.as_str()).unwrap_or(0);
            members[context.home_of(member)].push((member.clone(), unread));
        }
        let last_message = self.room.last_message().map(|message| {
            let mut out = Vec::new();
            encode::message(&mut out, message);
            out.into_boxed_slice()
        });
        for (worker, members) in members.into_iter().enumerate().filter(|(_, members)| !members.is_empty()) {
            let last_message = last_message.clone();
            let activity = Activity { conversation: self.room.id(), head: self.room.head(), last_message, members };
            context.send_to_session(worker, SessionInput::Activity(Arc::new(activity)));
        }
    }

    pub(super) fn read_gap_if_time(&mut self, context: &Context) {
        let Some(after) = self.room.next_read(context.now, GAP_TIMEOUT) else { return };
        self.in_flight += 1;
        let (mailbox, conversation) = (context.mailbox(), self.room.id());
        let done = Box::new(move |result| mailbox.send(Input::Room(conversation, RoomInput::EventsForGap(result))));
        context.shared.store.load_events(conversation, after, GAP_PAGE, done);
    }

    /// A write failed. If it may have been done nonetheless, or if the store knows of a leaving that the room does not, there is
    /// an event of which nobody will tell.
    pub(super) fn handle_failed_write(&mut self, asker: &Asker, error: StoreError, context: &mut Context) {
        match error {
            StoreError::Unavailable => self.room.handle_doubt(context.now),
            StoreError::NotFound if self.room.is_member(asker.user.as_str()) => self.room.handle_doubt(context.now),
            StoreError::NotFound
            | StoreError::Conflict
            | StoreError::Forbidden
            | StoreError::MembersFull
            | StoreError::TooManyConversations => {}
        }
        context.refuse_by_store(asker, error);
    }
}

/// How far a read for a gap went.
pub(super) fn read_end(events: &Result<Vec<LogEvent>, StoreError>) -> ReadEnd {
    match events {
        Ok(events) if events.len() < GAP_PAGE => ReadEnd::Head,
        Ok(_) => ReadEnd::Page,
        Err(_) => ReadEnd::Failed,
    }
}
