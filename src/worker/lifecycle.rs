//! How connections come and go: from a handshake to a user's home, and from a close to a user's absence.

use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Identity;
use crate::protocol::frame::{Decoder, push_close, push_close_echo};
use crate::protocol::request::ActionName;
use crate::protocol::{CloseCode, ConversationId, UserId, encode};

use super::connection::{Connection, Joined, Phase, Session, Socket};
use super::context::Context;
use super::input::{Arrival, Asked, ConnectionKey, Input, PresenceChange, RoomInput, SessionInput, Upgraded};
use super::outgoing::push;
use super::poller::Interest;
use super::sessions::Sessions;

/// How long a closing connection may take to answer the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl Sessions {
    pub(super) fn handle_upgraded(&mut self, upgraded: Upgraded, context: &mut Context) {
        if let Some(identity) = &upgraded.identity {
            let home = context.home_of(&identity.user);
            let arrival = Arrival { upgraded, decoder: Decoder::default(), asked: Asked::ByHandshake, unsent: Vec::new() };
            context.send_to_session(home, SessionInput::Arrived(Box::new(arrival)));
            return;
        }
        let phase = Phase::Anonymous { until: context.now + context.limits().auth_timeout };
        let Upgraded { stream, admission, address, received, identity: _ } = upgraded;
        let Some(key) = self.register(phase, Socket { stream, admission, address }, context) else { return };
        self.take_received(key, received, context);
    }

    fn register(&mut self, phase: Phase, socket: Socket, context: &mut Context) -> Option<ConnectionKey> {
        let key = self.connections.insert(|key| Connection::new(socket, key, phase, context.now));
        let connection = self.connections.get_mut(key)?;
        if let Err(error) = self.poller.add(&connection.stream, key.to_u64(), Interest::READ) {
            tracing::warn!(%error, "a socket could not be watched; it is closed");
            self.connections.remove(key);
            return None;
        }
        context.metrics().connections.set(self.connections.len() as u64);
        Some(key)
    }

    /// What the client sent before this worker had its socket. A connection that comes when the server is stopping is closed.
    fn take_received(&mut self, key: ConnectionKey, received: Vec<u8>, context: &mut Context) {
        if self.is_draining {
            return self.close(key, CloseCode::Draining, context);
        }
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
        let Connection { stream, admission, address, decoder, .. } = *connection;
        let upgraded = Upgraded { stream, admission, address, received: rest.to_vec(), identity: Some(identity) };
        let arrival = Arrival { upgraded, decoder, asked: Asked::ByAction(request_id), unsent };
        context.send_to_session(home, SessionInput::Arrived(Box::new(arrival)));
    }

    pub(super) fn handle_arrived(&mut self, arrival: Arrival, context: &mut Context) {
        let Arrival { upgraded, decoder, asked, unsent } = arrival;
        let Upgraded { stream, admission, address, received, identity } = upgraded;
        let Some(identity) = identity else { return };
        let phase = Phase::Anonymous { until: context.now + context.limits().auth_timeout };
        let Some(key) = self.register(phase, Socket { stream, admission, address }, context) else { return };
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
        tracing::debug!(user = %identity.user, connection = key.to_u64(), worker = context.worker, "logged in");
        self.note_user(key, identity, context);
        self.answer_auth(key, identity, asked, context);
    }

    /// Counts the connection for its user; tells everybody if the user comes online or has a new name.
    fn note_user(&mut self, key: ConnectionKey, identity: &Identity, context: &mut Context) {
        let user = self.users.entry_ref(&identity.user).or_default();
        user.connections.push(key);
        let oldest = user.connections.first().copied();
        let is_one_too_many = user.connections.len() > context.limits().max_connections_per_user;
        context.metrics().users.set(self.users.len() as u64);
        let came_online = self.presence.handle_connected(&identity.user);
        self.note_name(identity, context);
        if came_online {
            self.announcements.announce(&identity.user, None, context);
        }
        if let Some(oldest) = oldest.filter(|_| is_one_too_many) {
            self.close(oldest, CloseCode::ConnectionReplaced, context);
        }
    }

    /// Remembers the name that a token gives its user, and tells the rooms if it is a new one.
    pub(super) fn note_name(&mut self, identity: &Identity, context: &mut Context) {
        let Some(user) = self.users.get_mut(&identity.user) else { return };
        if user.name.as_ref() == Some(&identity.name) {
            return;
        }
        user.name = Some(Arc::clone(&identity.name));
        let (user, name) = (identity.user.clone(), Arc::clone(&identity.name));
        self.put_name(user.clone(), Arc::clone(&name), context);
        tell_everybody(&PresenceChange::Named { user, name }, context);
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

    /// Ends a connection from our side: a close frame, then our half of the connection, then a wait for the peer.
    pub(super) fn close(&mut self, key: ConnectionKey, code: CloseCode, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            return;
        }
        context.metrics().count_close(code);
        tracing::debug!(connection = key.to_u64(), worker = context.worker, code = code.number(), "closing");
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
        context.metrics().count_close(CloseCode::Normal);
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
        let Some(session) = connection.session_mut() else { return };
        let (user, mut typed_in, joined) = (session.user.clone(), session.typing, std::mem::take(&mut session.joined));
        // Out of the audiences first: it still gets what they were to get so far.
        for Joined { audience: index, .. } in joined {
            let Some(conversation) = self.audiences.conversation(index) else { continue };
            let (audiences, mut outgoing) = self.outgoing(context);
            audiences.remove(index, key.index, &mut outgoing);
            let worker = context.worker;
            context.send_to_room(conversation, RoomInput::AudienceLost { worker });
            typed_in = typed_in.filter(|&typed_in| typed_in != conversation);
            self.tell_disconnected(key, conversation, &user, context);
        }
        if let Some(conversation) = typed_in {
            self.tell_disconnected(key, conversation, &user, context);
        }
        self.presence.handle_disconnected(&user, context.now);
        if let Some(user) = self.users.get_mut(&user) {
            user.connections.retain(|&other| other != key);
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Closing { until: context.now + CLOSE_TIMEOUT, is_shut: false };
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
}

/// Tells every worker of a change of presence, this one included.
pub(super) fn tell_everybody(change: &PresenceChange, context: &mut Context) {
    for worker in 0..context.mailboxes.len() {
        context.send(worker, Input::Presence(change.clone()));
    }
}

/// A limit as the client is told it: one that is off is the largest number that JSON carries exactly.
fn wire(limit: usize) -> u64 {
    (limit as u64).min(crate::protocol::Seq::MAX.get())
}

fn wire_ms(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::Ipv4Addr;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use std::net::TcpStream;

    use super::super::context::Admission;
    use super::*;
    use crate::auth::{AuthConfig, InviteKey, Secret, Verifier};
    use crate::protocol::{Limits, UnixMillis};
    use crate::store::memory::MemoryStore;
    use crate::worker::{Shared, Worker, mailbox};

    /// Two workers of which nobody but the test runs a turn.
    fn workers() -> Vec<Worker> {
        let secret = Secret::new(b"a secret of thirty-two bytes, or more").expect("long enough");
        let verifier = Verifier::new(&AuthConfig { secret: Some(secret), ..AuthConfig::default() }).expect("a good key");
        let invites = InviteKey::random().expect("random bytes");
        let store = Arc::new(MemoryStore::new());
        let shared = Arc::new(Shared::new(Limits::default(), store, verifier, invites, 2));
        let pairs = [mailbox::mailbox().expect("an eventfd"), mailbox::mailbox().expect("an eventfd")];
        let mailboxes: Arc<[_]> = pairs.iter().map(|(mailbox, _)| Arc::clone(mailbox)).collect();
        let worker = |(index, (_, letters))| Worker::new(index, Arc::clone(&shared), Arc::clone(&mailboxes), letters);
        pairs.into_iter().enumerate().map(|pair| worker(pair).expect("an epoll")).collect()
    }

    fn upgraded(identity: Option<Identity>) -> (UnixStream, Upgraded) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let stream = TcpStream::from(OwnedFd::from(theirs));
        let admission = Admission::alone();
        (ours, Upgraded { stream, admission, address: Ipv4Addr::LOCALHOST.into(), received: Vec::new(), identity })
    }

    fn ann() -> Identity {
        let user = UserId::parse("ann").expect("an id");
        Identity { name: user.shared(), user, expires_at: UnixMillis::new(u64::MAX) }
    }

    /// What the client gets up to the end of our half.
    fn received(mut client: UnixStream) -> String {
        client.set_nonblocking(true).expect("a socket");
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).expect("the end has come");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn whoever_comes_when_the_server_is_stopping_is_closed_at_once() {
        let mut workers = workers();
        let (anonymous, known) = (upgraded(None), upgraded(Some(ann())));
        let home = workers[0].context.home_of(&ann().user);
        for worker in &mut workers {
            worker.context.mailbox().send(Input::Drain);
            worker.turn();
        }
        for upgraded in [anonymous.1, known.1] {
            let input = Input::Session(SessionInput::Upgraded(Box::new(upgraded)));
            workers[1 - home].context.mailbox().send(input);
        }
        workers[1 - home].turn();
        workers[home].turn();
        assert!(received(anonymous.0).ends_with("draining"));
        let text = received(known.0);
        assert!(text.contains(r#"{"type":"auth","#) && text.ends_with("draining"), "{text}");
    }

    #[test]
    fn what_was_unsent_at_a_move_goes_out_before_anything_else() {
        let mut workers = workers();
        let (client, upgraded) = upgraded(Some(ann()));
        let home = workers[0].context.home_of(&ann().user);
        let unsent = b"unsent".to_vec();
        let arrival = Arrival { upgraded, decoder: Decoder::default(), asked: Asked::ByHandshake, unsent };
        workers[1 - home].context.send_to_session(home, SessionInput::Arrived(Box::new(arrival)));
        workers[home].turn();
        workers[home].context.mailbox().send(Input::Session(SessionInput::Remove(ann().user)));
        workers[home].turn();
        let text = received(client);
        assert!(text.starts_with("unsent") && text.contains(r#"{"type":"auth","#) && text.ends_with("removed"), "{text}");
    }
}
