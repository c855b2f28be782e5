//! What time does to connections: silence, tokens that end, readers that are stuck, users who are gone.

use std::rc::Rc;
use std::time::Duration;

use crate::protocol::frame::push_ping;
use crate::protocol::limits::OFF_TIME;
use crate::protocol::{CloseCode, UnixMillis, encode};
use crate::store::StoreError;

use super::connection::{Connection, Phase};
use super::context::Context;
use super::input::ConnectionKey;
use super::outgoing::push;
use super::sessions::Sessions;

/// What a connection's time has come for.
enum Due {
    Nothing,
    Close(CloseCode),
    /// The close frame was not answered in time.
    Drop,
    Ping,
    WarnOfExpiry,
}

impl Sessions {
    /// Looks at every connection. A hundred thousand of them take a few milliseconds; once a second is precise enough.
    pub(super) fn sweep(&mut self, context: &mut Context) {
        for index in 0..self.connections.places() {
            let Some(connection) = self.connections.at_mut(index) else { continue };
            let key = connection.key;
            match due(connection, context) {
                Due::Nothing => {}
                Due::Close(code) => self.close(key, code, context),
                Due::Drop => self.drop_connection(key, context),
                Due::Ping => self.ping(key, context),
                Due::WarnOfExpiry => self.warn_of_expiry(key, context),
            }
        }
        let now = context.now;
        self.users.retain(|_, user| {
            let schedules = [user.messages, user.actions, user.invites, user.creations];
            let is_idle = schedules.iter().all(|schedule| schedule.is_idle(now));
            !user.connections.is_empty() || !is_idle
        });
        context.metrics().users.set(self.users.len() as u64);
        self.offer_unsaved(context);
    }

    /// Takes users offline whose grace is over.
    pub(super) fn tick_presence(&mut self, context: &mut Context) {
        let mut gone = Vec::new();
        while let Some((user, left_at)) = self.presence.next_offline(context.now) {
            let ago = u64::try_from(context.now.since(left_at).as_millis()).unwrap_or(0);
            let last_seen_at = UnixMillis::new(context.wall.get().saturating_sub(ago));
            self.announcements.announce(&user, Some(last_seen_at), context);
            gone.push((user, last_seen_at));
        }
        if !gone.is_empty() {
            self.put_visits(gone, context);
        }
    }

    fn ping(&mut self, key: ConnectionKey, context: &Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.pinged_at = Some(context.now);
        let mut frame = Vec::with_capacity(2);
        push_ping(&mut frame);
        push(connection, &mut self.dirty, Rc::from(frame));
    }

    fn warn_of_expiry(&mut self, key: ConnectionKey, context: &mut Context) {
        let Some(session) = self.connections.get_mut(key).and_then(Connection::session_mut) else { return };
        session.was_warned = true;
        let expires_at = session.expires_at;
        let frame = context.event("connection_status", |out| {
            encode::Object::begin(out).string("status", "token_expiring").timestamp("expiresAt", expires_at).end();
        });
        self.push_frame(key, &frame);
    }

    /// Tells everybody that the server is stopping and takes no more requests. What was accepted is still answered.
    pub(super) fn drain(&mut self, context: &mut Context) {
        self.is_draining = true;
        // Spread, so that the clients do not all knock at once at whatever takes over.
        let drain_ms = u64::try_from(context.limits().drain_time.as_millis()).unwrap_or(u64::MAX);
        let wanted_ms = self.connections.len() as u64 * SPREAD_OF_ONE_MS;
        let spread_ms = wanted_ms.clamp(MIN_SPREAD_MS, MAX_SPREAD_MS).min(drain_ms);
        for index in 0..self.connections.places() {
            let Some(connection) = self.connections.at_mut(index) else { continue };
            let key = connection.key;
            if connection.session().is_some() {
                let reconnect_after_ms = context.spread(spread_ms.max(1));
                let frame = context.event("connection_status", |out| {
                    let mut object = encode::Object::begin(out);
                    object.string("status", "draining").number("reconnectAfterMs", reconnect_after_ms).end();
                });
                self.push_frame(key, &frame);
            } else {
                self.close(key, CloseCode::Draining, context);
            }
        }
    }

    /// Closes each connection whose requests are answered.
    pub(super) fn continue_drain(&mut self, context: &mut Context) {
        for index in 0..self.connections.places() {
            let Some(connection) = self.connections.at_mut(index) else { continue };
            let key = connection.key;
            if connection.session().is_some() && connection.in_flight == 0 {
                self.close(key, CloseCode::Draining, context);
            }
        }
    }

    /// Remembers for everybody who is still online when they were last seen: now.
    pub(super) fn leave_presence(&self, context: &Context) {
        let online: Vec<_> = self.presence.online().map(|user| (user.clone(), context.wall)).collect();
        if !online.is_empty() {
            // There is no later in which to offer them again.
            let log_failure = |result: Result<(), StoreError>| {
                if let Err(error) = result {
                    tracing::warn!(?error, "the store did not take when users were last online");
                }
            };
            context.shared.store.put_last_seen(online, Box::new(log_failure));
        }
    }
}

/// How much of that time each of a worker's connections is worth: few need not wait for long.
const SPREAD_OF_ONE_MS: u64 = 5;
/// Shortest time over which reconnects are spread when the server stops.
const MIN_SPREAD_MS: u64 = 500;
/// Longest time over which reconnects are spread when the server stops.
const MAX_SPREAD_MS: u64 = 10_000;

fn due(connection: &Connection, context: &Context) -> Due {
    let (now, limits) = (context.now, context.limits());
    let is_stuck = connection.stuck_since.is_some_and(|since| now.since(since) >= limits.max_outbox_age);
    match &connection.phase {
        Phase::Closing { until, .. } => return if now >= *until { Due::Drop } else { Due::Nothing },
        Phase::Anonymous { until } if now >= *until => return Due::Close(CloseCode::Unauthorized),
        Phase::Anonymous { .. } | Phase::Live(_) if is_stuck => return Due::Close(CloseCode::SlowConsumer),
        Phase::Anonymous { .. } => {}
        Phase::Live(session) => {
            let expires_in = session.expires_at.get().saturating_sub(context.wall.get());
            let expired_for = context.wall.get().saturating_sub(session.expires_at.get());
            if limits.token_grace < OFF_TIME && expires_in == 0 && Duration::from_millis(expired_for) >= limits.token_grace {
                return Due::Close(CloseCode::TokenExpired);
            }
            let is_soon = expires_in > 0 && Duration::from_millis(expires_in) <= limits.token_warning;
            if is_soon && !session.was_warned {
                return Due::WarnOfExpiry;
            }
        }
    }
    match connection.pinged_at {
        // A paused connection is not read, so that its silence is ours.
        _ if connection.is_paused => Due::Nothing,
        Some(pinged_at) if now.since(pinged_at) >= limits.pong_timeout => Due::Close(CloseCode::PingTimeout),
        None if now.since(connection.heard_at) >= limits.ping_interval => Due::Ping,
        Some(_) | None => Due::Nothing,
    }
}
