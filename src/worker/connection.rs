//! One connection: its socket, what is under way on it, and who it is. Idle, it owns no buffer.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

use crate::protocol::UnixMillis;
use crate::protocol::UserId;
use crate::protocol::frame::Decoder;
use crate::rooms::Moment;

use super::context::Admission;
use super::input::ConnectionKey;
use super::outbox::Outbox;
use super::poller::Interest;

/// Where a connection is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// No token yet.
    Anonymous {
        /// When it is closed with 4501.
        until: Moment,
    },
    /// Authenticated.
    Live(Session),
    /// A close frame is on its way; only the peer's answer is waited for.
    Closing {
        /// When the socket is closed without it.
        until: Moment,
        /// Whether our half of the TCP connection is shut already.
        is_shut: bool,
    },
}

/// What an authenticated connection has.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: UserId,
    pub(super) name: Arc<str>,
    pub(super) expires_at: UnixMillis,
    pub(super) was_warned: bool,
    /// Audiences it is in.
    pub(super) joined: Vec<Joined>,
    /// Where it typed last, so that going away ends the lease.
    pub(super) typing: Option<crate::protocol::ConversationId>,
}

/// A place in an audience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    /// The audience, as an index into `Audiences`.
    pub(super) audience: u32,
    /// How many changes of presence the reply to the join had taken in: later ones are news.
    pub(super) presence_seen: u64,
}

impl Session {
    /// Its place in an audience, if it has one there.
    pub(super) fn joined(&self, audience: Option<u32>) -> Option<&Joined> {
        self.joined.iter().find(|joined| Some(joined.audience) == audience)
    }
}

/// Counts for one minute of what a client should not do.
#[derive(Debug, Default)]
pub(super) struct Misdeeds {
    pub(super) since: Moment,
    pub(super) errors: u32,
    pub(super) refusals: u32,
    /// Until when the last refusal told to wait: who asks again sooner does not listen.
    pub(super) wait_until: Moment,
    pub(super) pings: u32,
}

/// What a connection is made of.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) admission: Admission,
    pub(super) address: IpAddr,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) admission: Admission,
    pub(super) address: IpAddr,
    pub(super) key: ConnectionKey,
    pub(super) phase: Phase,
    pub(super) decoder: Decoder,
    /// The part of a frame that has come so far, or what was read before reading was paused.
    pub(super) partial: Vec<u8>,
    pub(super) outbox: Outbox,
    pub(super) interest: Interest,
    /// Requests that wait for a room or the store, by their weight.
    pub(super) in_flight: usize,
    pub(super) heard_at: Moment,
    pub(super) pinged_at: Option<Moment>,
    /// Since when bytes have been waiting of which the kernel took none.
    pub(super) stuck_since: Option<Moment>,
    pub(super) misdeeds: Misdeeds,
    /// Whether it is in this turn's list of connections to flush.
    pub(super) is_dirty: bool,
    /// Whether it is not read for now: too much of it is unanswered or unread, or the server is stopping.
    pub(super) is_paused: bool,
    /// The last presence frame it got, so that two shared rooms do not bring the same twice.
    pub(super) presence_stamp: u64,
}

impl Connection {
    pub(super) fn new(socket: Socket, key: ConnectionKey, phase: Phase, now: Moment) -> Self {
        let Socket { stream, admission, address } = socket;
        Self {
            stream,
            admission,
            address,
            key,
            phase,
            decoder: Decoder::default(),
            partial: Vec::new(),
            outbox: Outbox::default(),
            interest: Interest::READ,
            in_flight: 0,
            heard_at: now,
            pinged_at: None,
            stuck_since: None,
            misdeeds: Misdeeds::default(),
            is_dirty: false,
            is_paused: false,
            presence_stamp: 0,
        }
    }

    /// The session, while the connection is live.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Live(session) => Some(session),
            Phase::Anonymous { .. } | Phase::Closing { .. } => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Live(session) => Some(session),
            Phase::Anonymous { .. } | Phase::Closing { .. } => None,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }
}

/// All connections of a worker, in places that are used again.
#[derive(Default)]
pub(super) struct Connections {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Connections {
    /// Puts what `make` makes for its key into a free place.
    pub(super) fn insert(&mut self, make: impl FnOnce(ConnectionKey) -> Connection) -> ConnectionKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("fewer connections than 2^32: each has a file descriptor")
        });
        let place = &mut self.places[index as usize];
        let key = ConnectionKey { index, generation: place.generation };
        place.connection = Some(Box::new(make(key)));
        key
    }

    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        place.connection.as_deref_mut()
    }

    /// By place alone, for lists from which a connection is taken when it ends.
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.places.get_mut(index as usize)?.connection.as_deref_mut()
    }

    pub(super) fn remove(&mut self, key: ConnectionKey) -> Option<Box<Connection>> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let connection = place.connection.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(connection)
    }

    /// Number of places, used or not.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
