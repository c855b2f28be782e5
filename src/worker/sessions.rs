//! The side of a worker that has the connections and their users: coming, going, and what reaches them.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::protocol::request::{ActionName, Parser, RequestLimits};
use crate::protocol::{CloseCode, ConversationId, ErrorCode, UserId, encode};
use crate::rooms::{Presence, Rate, Schedule};

use super::announcements::Announcements;
use super::audience::Audiences;
use super::connection::{Connection, Connections, Joined};
use super::context::Context;
use super::input::{Activity, ConnectionKey, PresenceRoom, RoomInput, SessionInput, Subscription, weight};
use super::outgoing::{Outgoing, push, push_owed};
use super::poller::{Interest, Poller};
use super::unsaved::Unsaved;

/// A user who is at home here, while they have a connection or a bucket that is not full.
#[derive(Default)]
pub(super) struct LocalUser {
    /// Oldest first.
    pub(super) connections: Vec<ConnectionKey>,
    pub(super) name: Option<Arc<str>>,
    pub(super) messages: Schedule,
    pub(super) actions: Schedule,
    pub(super) invites: Schedule,
    pub(super) creations: Schedule,
}

/// The allowances that `Limits` amount to.
pub(super) struct Rates {
    pub(super) messages: Rate,
    pub(super) actions: Rate,
    pub(super) invites: Rate,
    pub(super) creations: Rate,
}

/// Connections, users and audiences of one worker.
pub(super) struct Sessions {
    pub(super) poller: Poller,
    pub(super) connections: Connections,
    pub(super) users: HashMap<UserId, LocalUser>,
    pub(super) audiences: Audiences,
    pub(super) presence: Presence,
    pub(super) rates: Rates,
    /// Connections with something to flush.
    pub(super) dirty: Vec<ConnectionKey>,
    /// Connections that may be read again.
    pub(super) resumable: Vec<ConnectionKey>,
    /// Taken while it is in use.
    pub(super) parser: Option<Parser>,
    pub(super) scratch: Vec<u8>,
    pub(super) write_buffer: Vec<u8>,
    pub(super) is_draining: bool,
    pub(super) presence_stamp: u64,
    pub(super) announcements: Announcements,
    pub(super) unsaved: Unsaved,
}

impl Sessions {
    pub(super) fn new(context: &Context) -> std::io::Result<Self> {
        let limits = context.limits();
        Ok(Self {
            poller: Poller::new()?,
            connections: Connections::default(),
            users: HashMap::new(),
            audiences: Audiences::default(),
            presence: Presence::new(limits.presence_grace),
            rates: Rates {
                messages: Rate::per_second(limits.messages_per_second, limits.message_burst),
                actions: Rate::per_second(limits.actions_per_second, limits.action_burst),
                invites: Rate::per_minute(limits.invite_attempts_per_minute),
                creations: Rate::per_minute(limits.creations_per_minute),
            },
            dirty: Vec::new(),
            resumable: Vec::new(),
            parser: Some(Parser::new(RequestLimits { max_content_chars: limits.max_content_chars })),
            scratch: vec![0; super::read::SCRATCH_BYTES],
            write_buffer: Vec::new(),
            is_draining: false,
            presence_stamp: 0,
            announcements: Announcements::default(),
            unsaved: Unsaved::default(),
        })
    }

    /// The parts that handing out a batch needs.
    pub(super) fn outgoing<'a>(&'a mut self, context: &'a Context) -> (&'a mut Audiences, Outgoing<'a>) {
        let outgoing = Outgoing {
            connections: &mut self.connections,
            dirty: &mut self.dirty,
            metrics: context.metrics(),
            max_outbox_bytes: context.limits().max_outbox_bytes,
        };
        (&mut self.audiences, outgoing)
    }

    /// Takes one input.
    pub(super) fn handle(&mut self, input: SessionInput, context: &mut Context) {
        match input {
            SessionInput::Upgraded(upgraded) => self.handle_upgraded(*upgraded, context),
            SessionInput::Arrived(arrival) => self.handle_arrived(*arrival, context),
            SessionInput::Reply { connection, frame, weight } => self.handle_reply(connection, frame.as_deref(), weight, context),
            SessionInput::Subscribe(subscription) => self.handle_subscribe(subscription, context),
            SessionInput::Unsubscribe { connection, conversation, frame } => {
                self.unsubscribe(connection, conversation, context);
                self.handle_reply(connection, frame.as_deref(), weight(ActionName::LeaveConversation), context);
            }
            SessionInput::Expel { conversation, user } => self.handle_expel(conversation, &user, context),
            SessionInput::Deliver(delivery) => {
                let (audiences, mut outgoing) = self.outgoing(context);
                audiences.deliver(delivery, context.now, &mut outgoing);
            }
            SessionInput::Remove(user) => self.remove_user(&user, context),
            SessionInput::ToUser { user, frame } => self.push_to_user(&user, &frame),
            SessionInput::PresenceRooms { number, rooms } => self.announcements.handle_rooms(number, rooms, context),
            SessionInput::PresenceFrame { user, rooms, frame } => self.handle_presence_frame(&user, &rooms, &frame, context),
            SessionInput::Activity(activity) => self.handle_activity(&activity, context),
            SessionInput::MessagesLoaded(asker, range, result) => self.handle_messages_loaded(&asker, range, result, context),
            SessionInput::ConversationsLoaded(asker, result) => self.handle_conversations_loaded(&asker, result, context),
            SessionInput::GroupJoined(asker, address, result) => self.handle_group_joined(asker, address, result, context),
            SessionInput::Created(asker, result) => self.handle_created(asker, result, context),
            SessionInput::Unsaved(refused) => self.handle_unsaved(refused),
        }
    }

    /// Appends an answer to what one connection asked.
    pub(super) fn push_frame(&mut self, key: ConnectionKey, frame: &[u8]) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_closing()
        {
            push_owed(connection, &mut self.dirty, Rc::from(frame));
        }
    }

    fn remove_user(&mut self, user: &UserId, context: &mut Context) {
        let Some(user) = self.users.get(user) else { return };
        for key in user.connections.clone() {
            self.close(key, CloseCode::Removed, context);
        }
    }

    fn push_to_user(&mut self, user: &UserId, frame: &[u8]) {
        let Some(user) = self.users.get(user) else { return };
        let shared: Rc<[u8]> = Rc::from(frame);
        for &key in &user.connections {
            if let Some(connection) = self.connections.get_mut(key) {
                push(connection, &mut self.dirty, Rc::clone(&shared));
            }
        }
    }

    fn handle_reply(&mut self, key: ConnectionKey, frame: Option<&[u8]>, weight: usize, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.in_flight = connection.in_flight.saturating_sub(weight);
        if let Some(frame) = frame {
            self.push_frame(key, frame);
        }
        self.resume_if_time(key, context);
    }

    /// Reads a paused connection again once half of what it may have unanswered, and most of what it may have unsent, is free:
    /// not for each single request.
    pub(super) fn resume_if_time(&mut self, key: ConnectionKey, context: &Context) {
        let (max_in_flight, max_outbox_bytes) = (context.limits().max_in_flight, context.limits().max_outbox_bytes);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let has_room = connection.in_flight <= max_in_flight / 2 && connection.outbox.bytes() <= max_outbox_bytes / 4;
        if connection.is_paused && has_room && !self.is_draining {
            connection.is_paused = false;
            self.resumable.push(key);
        }
    }

    fn handle_subscribe(&mut self, subscription: Subscription, context: &mut Context) {
        let Subscription { connection: key, conversation, frame, request_id, presence_seen } = subscription;
        let audience = self.audiences.find(conversation);
        let max_joined = context.limits().max_joined;
        let session = self.connections.get_mut(key).and_then(Connection::session_mut);
        let is_joined = session.as_ref().is_some_and(|session| session.joined(audience).is_some());
        let has_room = session.as_ref().is_some_and(|session| session.joined.len() < max_joined);
        let is_gone = session.is_none();
        let worker = context.worker;
        if is_joined || !has_room {
            // The owner counted one more: it did not come to that.
            context.send_to_room(conversation, RoomInput::AudienceLost { worker });
        }
        if is_joined || is_gone {
            // Joined again: the events before the reply's head, which wait in the batch, come before the reply.
            let (audiences, mut outgoing) = self.outgoing(context);
            audiences.hand_out_early(conversation, &mut outgoing);
            let session = self.connections.get_mut(key).and_then(Connection::session_mut);
            if let Some(joined) =
                session.and_then(|session| session.joined.iter_mut().find(|joined| Some(joined.audience) == audience))
            {
                joined.presence_seen = presence_seen;
            }
            return self.handle_reply(key, frame.as_deref(), weight(ActionName::JoinConversation), context);
        }
        if !has_room {
            let refusal = context.error_frame(request_id.as_deref(), ErrorCode::LimitExceeded, TOO_MANY_JOINED, None);
            return self.handle_reply(key, Some(&refusal), weight(ActionName::JoinConversation), context);
        }
        // The reply comes before the first live event: what the audience was to get so far goes to the others only.
        let (audiences, mut outgoing) = self.outgoing(context);
        let audience = audiences.insert(conversation, key.index, &mut outgoing);
        if let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) {
            session.joined.push(Joined { audience, presence_seen });
        }
        self.handle_reply(key, frame.as_deref(), weight(ActionName::JoinConversation), context);
    }

    fn unsubscribe(&mut self, key: ConnectionKey, conversation: ConversationId, context: &mut Context) {
        let Some(index) = self.audiences.find(conversation) else { return };
        let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) else { return };
        let Some(at) = session.joined.iter().position(|joined| joined.audience == index) else { return };
        session.joined.swap_remove(at);
        let (audiences, mut outgoing) = self.outgoing(context);
        audiences.remove(index, key.index, &mut outgoing);
        let worker = context.worker;
        context.send_to_room(conversation, RoomInput::AudienceLost { worker });
    }

    fn handle_expel(&mut self, conversation: ConversationId, user: &UserId, context: &mut Context) {
        let Some(user) = self.users.get(user) else { return };
        for key in user.connections.clone() {
            self.unsubscribe(key, conversation, context);
        }
    }

    fn handle_presence_frame(&mut self, user: &UserId, rooms: &[PresenceRoom], frame: &[u8], context: &Context) {
        self.presence_stamp += 1;
        let stamp = self.presence_stamp;
        let shared: Rc<[u8]> = Rc::from(frame);
        let max_outbox_bytes = context.limits().max_outbox_bytes;
        for &PresenceRoom { conversation, change } in rooms {
            let audience = self.audiences.find(conversation);
            for &index in self.audiences.connections(conversation) {
                let Some(connection) = self.connections.at_mut(index) else { continue };
                let keeps_up = connection.outbox.pace(max_outbox_bytes) == super::pace::Pace::Keeping;
                let is_news = connection.session().is_some_and(|session| {
                    session.user != *user && session.joined(audience).is_some_and(|joined| joined.presence_seen < change)
                });
                if keeps_up && is_news && connection.presence_stamp != stamp {
                    connection.presence_stamp = stamp;
                    context.metrics().hints.add(1);
                    push(connection, &mut self.dirty, Rc::clone(&shared));
                }
            }
        }
    }

    fn handle_activity(&mut self, activity: &Activity, context: &mut Context) {
        let audience = self.audiences.find(activity.conversation);
        for (member, unread) in &activity.members {
            let Some(user) = self.users.get(member) else { continue };
            let mut shared: Option<Rc<[u8]>> = None;
            for &key in &user.connections {
                let Some(connection) = self.connections.get_mut(key) else { continue };
                let is_behind = connection.outbox.pace(context.limits().max_outbox_bytes) != super::pace::Pace::Keeping;
                let is_joined = connection.session().is_none_or(|session| session.joined(audience).is_some());
                if is_joined || is_behind {
                    continue;
                }
                let frame = shared.get_or_insert_with(|| Rc::from(&*activity_frame(activity, *unread, context)));
                push(connection, &mut self.dirty, Rc::clone(frame));
            }
        }
    }

    /// Watches a connection for what it waits for now.
    pub(super) fn set_interest(poller: &Poller, connection: &mut Connection, interest: Interest) {
        if connection.interest == interest {
            return;
        }
        match poller.modify(connection.stream.as_fd(), connection.key.to_u64(), interest) {
            Ok(()) => connection.interest = interest,
            Err(error) => tracing::warn!(%error, "a socket could not be watched"),
        }
    }
}

/// Why a join was refused.
pub(super) const TOO_MANY_JOINED: &str = "too many joined conversations on this connection; leave one first";

fn activity_frame(activity: &Activity, unread: u64, context: &mut Context) -> Arc<[u8]> {
    context.event("conversation_activity", |out| {
        let mut object = encode::Object::begin(out);
        object.conversation_id(activity.conversation).number("head", activity.head.get());
        if let Some(last_message) = &activity.last_message {
            object.field("lastMessage").extend_from_slice(last_message);
        }
        object.number("unreadCount", unread).end();
    })
}
