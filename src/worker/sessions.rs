//! The side of a worker that has the connections and their users: coming, going, and what reaches them.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::auth::Identity;
use crate::protocol::frame::{Decoder, push_close, push_close_echo};
use crate::protocol::request::{ActionName, Parser, RequestLimits};
use crate::protocol::{CloseCode, ConversationId, ErrorCode, UserId, encode};
use crate::rooms::{Moment, Presence, Rate, Schedule};

use super::audience::Audiences;
use super::connection::{Connection, Connections, Phase, Session};
use super::context::Context;
use super::input::{Activity, Arrival, Asked, ConnectionKey, Input, PresenceChange, RoomInput, SessionInput, Upgraded};
use super::outgoing::{Outgoing, push};
use super::poller::{Interest, Poller};

/// How long a closing connection may take to answer the close frame.
const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// A user who is at home here, while they have a connection or a bucket that is not full.
#[derive(Default)]
pub(super) struct LocalUser {
    /// Oldest first.
    pub(super) connections: Vec<ConnectionKey>,
    pub(super) name: Option<Arc<str>>,
    pub(super) messages: Schedule,
    pub(super) actions: Schedule,
    pub(super) invites: Schedule,
}

/// The allowances that `Limits` amount to.
pub(super) struct Rates {
    pub(super) messages: Rate,
    pub(super) actions: Rate,
    pub(super) invites: Rate,
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
            },
            dirty: Vec::new(),
            resumable: Vec::new(),
            parser: Some(Parser::new(RequestLimits { max_content_chars: limits.max_content_chars })),
            scratch: vec![0; super::read::SCRATCH_BYTES],
            write_buffer: Vec::new(),
            is_draining: false,
            presence_stamp: 0,
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
            SessionInput::Reply { connection, frame } => self.handle_reply(connection, frame.as_deref(), context),
            SessionInput::Subscribe { connection, conversation, frame, request_id } => {
                self.handle_subscribe(connection, conversation, frame.as_deref(), request_id.as_deref(), context);
            }
            SessionInput::Unsubscribe { connection, conversation, frame } => {
                self.unsubscribe(connection, conversation, context);
                self.handle_reply(connection, frame.as_deref(), context);
            }
            SessionInput::Expel { conversation, user } => self.handle_expel(conversation, &user, context),
            SessionInput::Deliver(delivery) => {
                let (audiences, mut outgoing) = self.outgoing(context);
                audiences.deliver(delivery, &mut outgoing);
            }
            SessionInput::ToUser { user, frame } => self.push_to_user(&user, &frame),
            SessionInput::PresenceFrame { conversations, frame } => self.handle_presence_frame(&conversations, &frame, context),
            SessionInput::Activity(activity) => self.handle_activity(&activity, context),
            SessionInput::MessagesLoaded(asker, result) => self.handle_messages_loaded(&asker, result, context),
            SessionInput::ConversationsLoaded(asker, result) => self.handle_conversations_loaded(&asker, result, context),
            SessionInput::GroupJoined(asker, address, result) => self.handle_group_joined(asker, address, result, context),
            SessionInput::Created(asker, result) => self.handle_created(asker, result, context),
        }
    }

    fn handle_upgraded(&mut self, upgraded: Upgraded, context: &mut Context) {
        if let Some(identity) = &upgraded.identity {
            let home = context.home_of(&identity.user);
            let arrival = Arrival { upgraded, decoder: Decoder::default(), asked: Asked::ByHandshake, unsent: Vec::new() };
            context.send_to_session(home, SessionInput::Arrived(Box::new(arrival)));
            return;
        }
        let phase = Phase::Anonymous { until: context.now + context.limits().auth_timeout };
        let Upgraded { stream, address, received, identity: _ } = upgraded;
        let Some(key) = self.register(phase, context.now, stream, address, context) else { return };
        self.take_received(key, received, context);
    }

    fn register(
        &mut self,
        phase: Phase,
        now: Moment,
        stream: std::net::TcpStream,
        address: std::net::IpAddr,
        context: &mut Context,
    ) -> Option<ConnectionKey> {
        let key = self.connections.insert(|key| Connection::new(stream, address, key, phase, now));
        let connection = self.connections.get_mut(key)?;
        if let Err(error) = self.poller.add(&connection.stream, key.to_u64(), Interest::READ) {
            tracing::warn!(%error, "a socket could not be watched; it is closed");
            self.connections.remove(key);
            return None;
        }
        context.metrics().connections.set(self.connections.len() as u64);
        if self.is_draining {
            self.close(key, CloseCode::Draining, context);
        }
        Some(key)
    }

    /// What the client sent before this worker had its socket.
    fn take_received(&mut self, key: ConnectionKey, received: Vec<u8>, context: &mut Context) {
        if received.is_empty() {
            return;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.partial = received;
        }
        self.resume(key, context);
    }

    /// A token was good: moves the connection to its user's home, which may be here.
    pub(super) fn send_home(
        &mut self,
        key: ConnectionKey,
        identity: Identity,
        request_id: Option<Box<str>>,
        rest: &[u8],
        context: &mut Context,
    ) {
        let home = context.home_of(&identity.user);
        if home == context.worker {
            self.log_in(key, &identity, Asked::ByAction(request_id), context);
            return;
        }
        let Some(connection) = self.connections.remove(key) else { return };
        context.metrics().connections.set(self.connections.len() as u64);
        if let Err(error) = self.poller.remove(&connection.stream) {
            tracing::warn!(%error, "a socket could not be handed over; it is closed");
            return;
        }
        let unsent = connection.outbox.slices().flatten().copied().collect();
        let Connection { stream, address, decoder, .. } = *connection;
        let upgraded = Upgraded { stream, address, received: rest.to_vec(), identity: Some(identity) };
        let arrival = Arrival { upgraded, decoder, asked: Asked::ByAction(request_id), unsent };
        context.send_to_session(home, SessionInput::Arrived(Box::new(arrival)));
    }

    fn handle_arrived(&mut self, arrival: Arrival, context: &mut Context) {
        let Arrival { upgraded, decoder, asked, unsent } = arrival;
        let Upgraded { stream, address, received, identity } = upgraded;
        let Some(identity) = identity else { return };
        let phase = Phase::Anonymous { until: context.now + context.limits().auth_timeout };
        let Some(key) = self.register(phase, context.now, stream, address, context) else { return };
        if let Some(connection) = self.connections.get_mut(key) {
            connection.decoder = decoder;
            if !unsent.is_empty() {
                push(connection, &mut self.dirty, Rc::from(unsent));
            }
        }
        self.log_in(key, &identity, asked, context);
        self.take_received(key, received, context);
    }

    fn log_in(&mut self, key: ConnectionKey, identity: &Identity, asked: Asked, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            return;
        }
        connection.phase = Phase::Live(Session {
            user: identity.user.clone(),
            name: Arc::clone(&identity.name),
            expires_at: identity.expires_at,
            was_warned: false,
            joined: Vec::new(),
            typing: None,
        });
        context.metrics().logins.add(1);
        self.note_user(key, identity, context);
        self.answer_auth(key, identity, asked, context);
    }

    /// Counts the connection for its user; tells everybody if the user comes online or has a new name.
    fn note_user(&mut self, key: ConnectionKey, identity: &Identity, context: &mut Context) {
        let user = self.users.entry_ref(&identity.user).or_default();
        let is_renamed = user.name.as_ref() != Some(&identity.name);
        user.name = Some(Arc::clone(&identity.name));
        user.connections.push(key);
        let oldest = user.connections.first().copied();
        let is_one_too_many = user.connections.len() > context.limits().max_connections_per_user;
        context.metrics().users.set(self.users.len() as u64);
        let came_online = self.presence.handle_connected(&identity.user);
        if is_renamed {
            context.shared.store.put_user(identity.user.clone(), Arc::clone(&identity.name), Box::new(log_failure));
        }
        if came_online || is_renamed {
            let (user, name) = (identity.user.clone(), Arc::clone(&identity.name));
            tell_everybody(PresenceChange { user, name, last_seen_at: None }, context);
        }
        if let Some(oldest) = oldest.filter(|_| is_one_too_many) {
            self.close(oldest, CloseCode::ConnectionReplaced, context);
        }
    }

    pub(super) fn answer_auth(&mut self, key: ConnectionKey, identity: &Identity, asked: Asked, context: &mut Context) {
        let limits = context.shared.limits.clone();
        let (epoch, wall, worker) = (Arc::clone(&context.epoch), context.wall, context.worker);
        let payload = |out: &mut Vec<u8>| {
            let mut object = encode::Object::begin(out);
            let mut user = encode::Object::begin(object.field("user"));
            user.string("id", identity.user.as_str()).string("name", &identity.name).end();
            object.string("connectionId", &format!("{worker}-{}-{}", key.index, key.generation));
            object.timestamp("expiresAt", identity.expires_at).number("protocol", 1).string("epoch", &epoch);
            let mut told = encode::Object::begin(object.field("limits"));
            told.number("maxMessageBytes", limits.max_message_bytes as u64);
            told.number("maxContentChars", wire(limits.max_content_chars));
            told.number("pingIntervalMs", wire_ms(limits.ping_interval));
            told.number("pongTimeoutMs", wire_ms(limits.pong_timeout));
            told.number("typingLeaseMs", wire_ms(limits.typing_lease));
            told.number("maxJoined", wire(limits.max_joined)).number("recoveryLimit", wire(limits.recovery_limit)).end();
            object.end();
        };
        let frame = match asked {
            Asked::ByAction(request_id) => context.reply_frame(ActionName::Auth, request_id.as_deref(), payload),
            Asked::ByHandshake => Some(context.frame(|out| encode::event(out, ActionName::Auth.as_str(), wall, payload))),
        };
        if let Some(frame) = frame {
            self.push_frame(key, &frame);
        }
    }

    /// Appends a frame that is for one connection only.
    pub(super) fn push_frame(&mut self, key: ConnectionKey, frame: &[u8]) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_closing()
        {
            push(connection, &mut self.dirty, Rc::from(frame));
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

    fn handle_reply(&mut self, key: ConnectionKey, frame: Option<&[u8]>, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.in_flight = connection.in_flight.saturating_sub(1);
        // Half of the limit must be free again, so that a busy client is not paused and resumed for each single request.
        if connection.is_paused && connection.in_flight <= context.limits().max_in_flight / 2 {
            connection.is_paused = false;
            self.resumable.push(key);
        }
        if let Some(frame) = frame {
            self.push_frame(key, frame);
        }
    }

    fn handle_subscribe(
        &mut self,
        key: ConnectionKey,
        conversation: ConversationId,
        frame: Option<&[u8]>,
        request_id: Option<&str>,
        context: &mut Context,
    ) {
        let audience = self.audiences.find(conversation);
        let max_joined = context.limits().max_joined;
        let session = self.connections.get_mut(key).and_then(Connection::session_mut);
        let is_joined = session.as_ref().is_some_and(|session| audience.is_some_and(|at| session.joined.contains(&at)));
        let has_room = session.as_ref().is_some_and(|session| session.joined.len() < max_joined);
        let worker = context.worker;
        if is_joined || !has_room {
            // The owner counted one more: it did not come to that.
            context.send_to_room(conversation, RoomInput::AudienceLost { worker });
        }
        if is_joined || session.is_none() {
            // Joined again: the events before the reply's head, which wait in the batch, come before the reply.
            let (audiences, mut outgoing) = self.outgoing(context);
            audiences.hand_out_early(conversation, &mut outgoing);
            return self.handle_reply(key, frame, context);
        }
        if !has_room {
            let refusal = context.error_frame(request_id, ErrorCode::LimitExceeded, TOO_MANY_JOINED, None);
            return self.handle_reply(key, Some(&refusal), context);
        }
        // The reply comes before the first live event: what the audience was to get so far goes to the others only.
        let (audiences, mut outgoing) = self.outgoing(context);
        let index = audiences.insert(conversation, key.index, &mut outgoing);
        if let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) {
            session.joined.push(index);
        }
        self.handle_reply(key, frame, context);
    }

    fn unsubscribe(&mut self, key: ConnectionKey, conversation: ConversationId, context: &mut Context) {
        let Some(index) = self.audiences.find(conversation) else { return };
        let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) else { return };
        let Some(at) = session.joined.iter().position(|&joined| joined == index) else { return };
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

    fn handle_presence_frame(&mut self, conversations: &[ConversationId], frame: &[u8], context: &Context) {
        self.presence_stamp += 1;
        let stamp = self.presence_stamp;
        let shared: Rc<[u8]> = Rc::from(frame);
        let max_outbox_bytes = context.limits().max_outbox_bytes;
        for &conversation in conversations {
            for &index in self.audiences.connections(conversation) {
                let Some(connection) = self.connections.at_mut(index) else { continue };
                let keeps_up = connection.outbox.pace(max_outbox_bytes) == super::pace::Pace::Keeping;
                if keeps_up && connection.presence_stamp != stamp {
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
                let is_joined =
                    connection.session().is_none_or(|session| audience.is_some_and(|at| session.joined.contains(&at)));
                if is_joined || is_behind {
                    continue;
                }
                let frame = shared.get_or_insert_with(|| Rc::from(&*activity_frame(activity, *unread, context)));
                push(connection, &mut self.dirty, Rc::clone(frame));
            }
        }
    }

    /// Ends a connection from our side: a close frame, then our half of the connection, then a wait for the peer.
    pub(super) fn close(&mut self, key: ConnectionKey, code: CloseCode, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            return;
        }
        context.metrics().count_close(code);
        self.start_closing(key, context);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if code == CloseCode::SlowConsumer {
            connection.outbox.discard_unsent();
        }
        let mut frame = Vec::new();
        push_close(&mut frame, code);
        push(connection, &mut self.dirty, Rc::from(frame));
    }

    /// Answers a peer's close with the same code (RFC 6455, section 5.5.1).
    pub(super) fn answer_close(&mut self, key: ConnectionKey, code: Option<u16>, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            // It answers ours: both sides are done.
            return self.drop_connection(key, context);
        }
        self.start_closing(key, context);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut frame = Vec::new();
        push_close_echo(&mut frame, code);
        push(connection, &mut self.dirty, Rc::from(frame));
    }

    /// Logs out first: what the audiences still hand out comes before the close frame, which is the last.
    fn start_closing(&mut self, key: ConnectionKey, context: &mut Context) {
        self.log_out(key, context);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.phase = Phase::Closing { until: context.now + CLOSE_TIMEOUT, is_shut: false };
        connection.partial = Vec::new();
        if connection.is_paused {
            connection.is_paused = false;
            self.resumable.push(key);
        }
    }

    /// The peer is gone, or both sides have said that they are.
    pub(super) fn drop_connection(&mut self, key: ConnectionKey, context: &mut Context) {
        self.log_out(key, context);
        // Closing the socket takes it out of the epoll set.
        if self.connections.remove(key).is_some() {
            context.metrics().connections.set(self.connections.len() as u64);
        }
    }

    /// Undoes `log_in`: audiences, typing, presence.
    fn log_out(&mut self, key: ConnectionKey, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.phase, Phase::Live(_)) {
            return;
        }
        let ended = Phase::Closing { until: context.now + CLOSE_TIMEOUT, is_shut: false };
        let Phase::Live(session) = std::mem::replace(&mut connection.phase, ended) else { return };
        let mut typed_in = session.typing;
        for &index in &session.joined {
            let Some(conversation) = self.audiences.conversation(index) else { continue };
            let (audiences, mut outgoing) = self.outgoing(context);
            audiences.remove(index, key.index, &mut outgoing);
            let worker = context.worker;
            context.send_to_room(conversation, RoomInput::AudienceLost { worker });
            typed_in = typed_in.filter(|&typed_in| typed_in != conversation);
            self.tell_disconnected(key, conversation, &session.user, context);
        }
        if let Some(conversation) = typed_in {
            self.tell_disconnected(key, conversation, &session.user, context);
        }
        self.presence.handle_disconnected(&session.user, context.now);
        if let Some(user) = self.users.get_mut(&session.user) {
            user.connections.retain(|&other| other != key);
        }
    }

    fn tell_disconnected(&self, key: ConnectionKey, conversation: ConversationId, user: &UserId, context: &mut Context) {
        let input = RoomInput::Disconnected { user: user.clone(), connection: key.to_u64() };
        context.send_to_room(conversation, input);
    }

    /// Shuts our half down once the close frame is with the kernel, so that the peer reads it to the end.
    pub(super) fn shut_if_done(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.outbox.is_empty() {
            return;
        }
        if let Phase::Closing { is_shut, .. } = &mut connection.phase
            && !*is_shut
        {
            *is_shut = true;
            // Fails only when the peer is gone already; reading will tell.
            let _peer_is_gone = connection.stream.shutdown(Shutdown::Write);
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

/// Tells every worker of a change of presence, this one included.
pub(super) fn tell_everybody(change: PresenceChange, context: &mut Context) {
    for worker in 0..context.mailboxes.len() {
        context.send(worker, Input::Presence(change.clone()));
    }
}

/// For writes that nobody waits for.
pub(super) fn log_failure(result: Result<(), crate::store::StoreError>) {
    if let Err(error) = result {
        tracing::warn!(?error, "the store did not take a user's name or last visit");
    }
}

/// A limit as the client is told it: one that is off is the largest number that JSON carries exactly.
fn wire(limit: usize) -> u64 {
    (limit as u64).min(crate::protocol::Seq::MAX.get())
}

fn wire_ms(limit: std::time::Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}
