//! What a client asks for, as far as its own connection answers it; the rest goes to the room or the store.

use std::net::IpAddr;
use std::time::Duration;

use crate::auth::{AuthError, Identity};
use crate::protocol::request::{Action, ActionName, Parser, Request};
use crate::protocol::{CloseCode, ConversationId, ConversationKind, ErrorCode};
use crate::store::{Created, Joined, NewConversation, StoreError};

use super::connection::{Connection, Session};
use super::context::Context;
use super::input::{Asked, Asker, ConnectionKey, Input, RoomInput, RoomRequest, SessionInput, Since, weight};
use super::sessions::{Sessions, TOO_MANY_JOINED};

/// A connection whose token was good and that goes to its user's home.
pub(super) struct Login {
    pub(super) identity: Identity,
    pub(super) request_id: Option<Box<str>>,
}

impl Sessions {
    /// Handles one message of a client. A login comes back: the caller has the rest of what was received.
    pub(super) fn handle_text(
        &mut self,
        key: ConnectionKey,
        text: &mut [u8],
        parser: &mut Parser,
        context: &mut Context,
    ) -> Option<Login> {
        context.metrics().requests.add(1);
        let request = match parser.parse(text) {
            Ok(request) => request,
            Err(error) => {
                self.refuse_misdeed(key, error.request_id, error.code, &error.message, context);
                return None;
            }
        };
        tracing::trace!(connection = key.to_u64(), worker = context.worker, action = request.action.name().as_str(), "request");
        let connection = self.connections.get_mut(key)?;
        if connection.session().is_none() {
            return self.handle_anonymous(key, &request, context);
        }
        if let Err(retry_after) = self.take_allowance(key, request.action.name(), context) {
            self.refuse_rate(key, request.request_id, retry_after, context);
            return None;
        }
        self.handle_request(key, request, context);
        None
    }

    fn handle_anonymous(&mut self, key: ConnectionKey, request: &Request<'_>, context: &mut Context) -> Option<Login> {
        match &request.action {
            Action::Auth { token } => match context.shared.verifier.verify(token, context.wall) {
                Ok(identity) => return Some(Login { identity, request_id: request.request_id.map(Box::from) }),
                Err(error) => {
                    self.refuse_token(key, request.request_id, error, context);
                    self.close(key, CloseCode::Unauthorized, context);
                }
            },
            Action::Ping { payload } => {
                // Nobody's allowance pays for it yet.
                if self.count_ping(key, context) {
                    self.answer_ping(key, request.request_id, payload, context);
                }
            }
            Action::JoinConversation { .. }
            | Action::LeaveConversation { .. }
            | Action::SendMessage { .. }
            | Action::LoadConversations { .. }
            | Action::LoadMessages { .. }
            | Action::TypingStart { .. }
            | Action::TypingStop { .. }
            | Action::MarkRead { .. }
            | Action::CreateConversation { .. }
            | Action::CreateGroup { .. }
            | Action::JoinGroup { .. }
            | Action::LeaveGroup { .. } => {
                let message = "authenticate first: send `auth` with a token";
                self.refuse_misdeed(key, request.request_id, ErrorCode::Unauthorized, message, context);
            }
        }
        None
    }

    /// Takes the request out of its user's allowance.
    fn take_allowance(&mut self, key: ConnectionKey, action: ActionName, context: &Context) -> Result<(), Duration> {
        let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) else { return Ok(()) };
        let Some(user) = self.users.get_mut(&session.user) else { return Ok(()) };
        if action == ActionName::SendMessage {
            user.messages.try_take(self.rates.messages, context.now)
        } else {
            user.actions.try_take(self.rates.actions, context.now)
        }
    }

    fn handle_request(&mut self, key: ConnectionKey, request: Request<'_>, context: &mut Context) {
        let Some(asker) = self.asker(key, request.action.name(), request.request_id, context) else { return };
        match request.action {
            Action::Auth { token } => self.refresh(key, asker, token, context),
            Action::Ping { payload } => self.answer_ping(key, request.request_id, payload, context),
            Action::JoinConversation { conversation, since, limit } => {
                let since = since.map(|since| Since { epoch: since.epoch.into(), seq: since.seq });
                self.ask_to_join(key, asker, conversation, RoomRequest::Join { since, limit }, context);
            }
            Action::LeaveConversation { conversation } => self.ask_room(key, asker, conversation, RoomRequest::Leave, context),
            Action::SendMessage { conversation, content, client_message_id, reply_to } => {
                let client_message_id = client_message_id.map(Box::from);
                let send = RoomRequest::Send { content: content.into(), client_message_id, reply_to };
                self.ask_room(key, asker, conversation, send, context);
            }
            Action::LoadConversations { limit, cursor } => self.load_conversations(key, asker, limit, cursor, context),
            Action::LoadMessages { conversation, range, limit } => {
                self.load_messages(key, asker, conversation, range, limit, context);
            }
            Action::TypingStart { conversation } => {
                if let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) {
                    session.typing = Some(conversation);
                }
                self.ask_room(key, asker, conversation, RoomRequest::TypingStart, context);
            }
            Action::TypingStop { conversation } => self.ask_room(key, asker, conversation, RoomRequest::TypingStop, context),
            Action::MarkRead { conversation, seq } => {
                self.ask_room(key, asker, conversation, RoomRequest::MarkRead { seq }, context);
            }
            Action::CreateConversation { member_ids, title } => {
                self.create(key, asker, member_ids, title.unwrap_or_default(), context);
            }
            Action::CreateGroup { name, member_ids } => self.create(key, asker, member_ids, name, context),
            Action::JoinGroup { invite_code } => self.join_group(key, asker, invite_code, context),
            Action::LeaveGroup { conversation } => self.ask_room(key, asker, conversation, RoomRequest::LeaveGroup, context),
        }
    }

    fn asker(&mut self, key: ConnectionKey, action: ActionName, request_id: Option<&str>, context: &Context) -> Option<Asker> {
        let session = self.connections.get_mut(key)?.session()?;
        Some(Asker {
            worker: context.worker,
            connection: key,
            user: session.user.clone(),
            name: session.name.clone(),
            action,
            request_id: request_id.map(Box::from),
        })
    }

    /// Counts a request as unanswered until its `SessionInput::Reply` comes.
    pub(super) fn start_waiting(&mut self, key: ConnectionKey, action: ActionName) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.in_flight += weight(action);
        }
    }

    fn ask_room(
        &mut self,
        key: ConnectionKey,
        asker: Asker,
        conversation: ConversationId,
        request: RoomRequest,
        context: &mut Context,
    ) {
        self.start_waiting(key, asker.action);
        context.send_to_room(conversation, RoomInput::Request(asker, request));
    }

    fn ask_to_join(
        &mut self,
        key: ConnectionKey,
        asker: Asker,
        conversation: ConversationId,
        request: RoomRequest,
        context: &mut Context,
    ) {
        let audience = self.audiences.find(conversation);
        let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) else { return };
        let is_joined = session.joined(audience).is_some();
        if !is_joined && session.joined.len() >= context.limits().max_joined {
            return self.refuse_here(key, &asker, ErrorCode::LimitExceeded, TOO_MANY_JOINED, context);
        }
        self.ask_room(key, asker, conversation, request, context);
    }

    fn answer_ping(&mut self, key: ConnectionKey, request_id: Option<&str>, payload: &[u8], context: &mut Context) {
        let frame = context.reply_frame(ActionName::Ping, request_id, |out| out.extend_from_slice(payload));
        if let Some(frame) = frame {
            self.push_frame(key, &frame);
        }
    }

    /// A new token for a live connection.
    fn refresh(&mut self, key: ConnectionKey, asker: Asker, token: &str, context: &mut Context) {
        let identity = match context.shared.verifier.verify(token, context.wall) {
            Ok(identity) => identity,
            Err(error) => return self.refuse_token(key, asker.request_id.as_deref(), error, context),
        };
        if identity.user != asker.user {
            let message = "the token is another user's; open another connection for them";
            return self.refuse_here(key, &asker, ErrorCode::Forbidden, message, context);
        }
        if let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) {
            let Session { expires_at, was_warned, name, .. } = session;
            *expires_at = identity.expires_at;
            *was_warned = false;
            *name = identity.name.clone();
        }
        self.note_name(&identity, context);
        self.answer_auth(key, &identity, Asked::ByAction(asker.request_id), context);
    }

    fn create(
        &mut self,
        key: ConnectionKey,
        asker: Asker,
        named: Vec<crate::protocol::UserId>,
        title: &str,
        context: &mut Context,
    ) {
        // Who creates it has been in it longest, then the others as they were named.
        let mut members = vec![asker.user.clone()];
        for member in named {
            if !members.contains(&member) {
                members.push(member);
            }
        }
        if members.len() > context.limits().max_members {
            let message = "more members than a conversation may have";
            return self.refuse_here(key, &asker, ErrorCode::LimitExceeded, message, context);
        }
        let allowance = self.users.get_mut(&asker.user).map(|user| user.creations.try_take(self.rates.creations, context.now));
        if let Some(Err(retry_after)) = allowance {
            return self.refuse_rate(key, asker.request_id.as_deref(), retry_after, context);
        }
        let (id, created_at) = context.new_conversation_id();
        let is_group = asker.action == ActionName::CreateGroup;
        let kind =
            if !is_group && title.is_empty() && members.len() == 2 { ConversationKind::Direct } else { ConversationKind::Group };
        let invite = is_group.then(|| crate::auth::invite_hash(&context.shared.invites.code(id)));
        let (title, creator) = (title.into(), asker.user.clone());
        self.start_waiting(key, asker.action);
        let mailbox = context.mailbox();
        let done = Box::new(move |result| mailbox.send(Input::Session(SessionInput::Created(asker, result))));
        let new = NewConversation { id, kind, title, creator, members, invite, created_at };
        context.shared.store.create_conversation(new, done);
    }

    pub(super) fn handle_created(&mut self, asker: Asker, result: Result<Created, StoreError>, context: &mut Context) {
        match result {
            Ok(Created { conversation, existed }) => {
                context.send_to_room(conversation, RoomInput::Request(asker, RoomRequest::Announce { existed }));
            }
            Err(error) => context.refuse_by_store(&asker, error),
        }
    }

    fn join_group(&mut self, key: ConnectionKey, asker: Asker, invite_code: &str, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let address = connection.address;
        if let Err(retry_after) = self.take_guess(&asker, address, context) {
            return self.refuse_rate(key, asker.request_id.as_deref(), retry_after, context);
        }
        self.start_waiting(key, asker.action);
        let (user, name, invite) = (asker.user.clone(), asker.name.clone(), crate::auth::invite_hash(invite_code));
        let mailbox = context.mailbox();
        let done = Box::new(move |result| mailbox.send(Input::Session(SessionInput::GroupJoined(asker, address, result))));
        context.shared.store.join_by_invite(invite, user, name, context.wall, done);
    }

    /// For the user a code counts as wrong until it proves to be right, so that many at once are no way around the limit.
    fn take_guess(&mut self, asker: &Asker, address: IpAddr, context: &Context) -> Result<(), Duration> {
        context.shared.invite_guard.check(address, context.now)?;
        let Some(user) = self.users.get_mut(&asker.user) else { return Ok(()) };
        user.invites.try_take(self.rates.invites, context.now)
    }

    pub(super) fn handle_group_joined(
        &mut self,
        asker: Asker,
        address: IpAddr,
        result: Result<Joined, StoreError>,
        context: &mut Context,
    ) {
        if matches!(result, Err(StoreError::NotFound)) {
            context.shared.invite_guard.handle_wrong(address, context.now);
        } else if let Some(user) = self.users.get_mut(&asker.user) {
            user.invites.give_back(self.rates.invites);
        }
        match result {
            Ok(Joined { conversation, event, .. }) => {
                context.send_to_room(conversation, RoomInput::Request(asker, RoomRequest::Welcome { event }));
            }
            Err(StoreError::NotFound) => context.refuse(&asker, ErrorCode::NotFound, "no group has this invite code"),
            Err(error) => context.refuse_by_store(&asker, error),
        }
    }

    /// Answers a request with an error before it was counted as waiting.
    fn refuse_here(&mut self, key: ConnectionKey, asker: &Asker, code: ErrorCode, message: &str, context: &mut Context) {
        let frame = context.error_frame(asker.request_id.as_deref(), code, message, None);
        self.push_frame(key, &frame);
    }

    fn refuse_token(&mut self, key: ConnectionKey, request_id: Option<&str>, error: AuthError, context: &mut Context) {
        let (code, message) = match error {
            AuthError::Invalid => (ErrorCode::Unauthorized, "the token is not valid; fetch a new one"),
            AuthError::Expired => (ErrorCode::TokenExpired, "the token has expired; fetch a new one"),
        };
        self.refuse_misdeed(key, request_id, code, message, context);
    }

    /// An error of the client's own making; too many of them end the connection.
    pub(super) fn refuse_misdeed(
        &mut self,
        key: ConnectionKey,
        request_id: Option<&str>,
        code: ErrorCode,
        message: &str,
        context: &mut Context,
    ) {
        let frame = context.error_frame(request_id, code, message, None);
        self.push_frame(key, &frame);
        let max_errors = context.limits().max_errors_per_minute;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let misdeeds = connection.misdeeds(context.now);
        misdeeds.errors += 1;
        if misdeeds.errors as usize > max_errors {
            self.close(key, CloseCode::BadRequest, context);
        }
    }

    fn refuse_rate(&mut self, key: ConnectionKey, request_id: Option<&str>, retry_after: Duration, context: &mut Context) {
        let message = "too fast; wait for retryAfterMs";
        let frame = context.error_frame(request_id, ErrorCode::RateLimited, message, Some(retry_after));
        self.push_frame(key, &frame);
        let max_refusals = context.limits().max_rate_limited_per_minute;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let now = context.now;
        let misdeeds = connection.misdeeds(now);
        // Who waits as long as they were told is no nuisance, however often they come too early for the next.
        misdeeds.refusals += u32::from(now < misdeeds.wait_until);
        misdeeds.wait_until = now + retry_after;
        if misdeeds.refusals as usize > max_refusals {
            self.close(key, CloseCode::RateLimited, context);
        }
    }
}
