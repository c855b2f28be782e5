//! Tells of a user's presence, from the user's home.
//!
//! The rooms that a user shares with others are owned by several workers. Each reports its own to the home, and the home tells
//! each worker once: a connection that shares several rooms with the user hears of it once.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::protocol::{UnixMillis, UserId, encode};

use super::context::Context;
use super::input::{Announcement, PresenceChange, PresenceRoom, SessionInput};
use super::lifecycle::tell_everybody;

/// An announcement whose rooms are being collected.
struct Collecting {
    user: UserId,
    last_seen_at: Option<UnixMillis>,
    missing: usize,
    /// By the worker that has the audiences.
    rooms: Vec<Vec<PresenceRoom>>,
}

/// The announcements of one home. Every worker reports within a tick, so that what is collected is what changed meanwhile; and
/// each reports in order, so that a user's changes are told in theirs.
#[derive(Default)]
pub(super) struct Announcements {
    last_number: u64,
    collecting: HashMap<u64, Collecting>,
}

impl Announcements {
    /// Tells every worker of the change and asks which of its rooms it concerns.
    pub(super) fn announce(&mut self, user: &UserId, last_seen_at: Option<UnixMillis>, context: &mut Context) {
        self.last_number += 1;
        let (number, workers) = (self.last_number, context.mailboxes.len());
        let rooms = vec![Vec::new(); workers];
        self.collecting.insert(number, Collecting { user: user.clone(), last_seen_at, missing: workers, rooms });
        let announcement = Announcement { home: context.worker, number };
        tell_everybody(&PresenceChange::Moved { user: user.clone(), last_seen_at, announcement }, context);
    }

    /// Takes one worker's report; after the last one the audiences are told.
    pub(super) fn handle_rooms(&mut self, number: u64, rooms: Vec<Vec<PresenceRoom>>, context: &mut Context) {
        let Some(collecting) = self.collecting.get_mut(&number) else { return };
        for (all, some) in collecting.rooms.iter_mut().zip(rooms) {
            all.extend(some);
        }
        collecting.missing -= 1;
        if collecting.missing > 0 {
            return;
        }
        let Some(Collecting { user, last_seen_at, rooms, .. }) = self.collecting.remove(&number) else { return };
        let is_online = last_seen_at.is_none();
        let frame = context.event("presence_changed", |out| encode::presence_payload(out, &user, is_online, last_seen_at));
        for (worker, rooms) in rooms.into_iter().enumerate().filter(|(_, rooms)| !rooms.is_empty()) {
            let (user, frame) = (user.clone(), Arc::clone(&frame));
            context.send_to_session(worker, SessionInput::PresenceFrame { user, rooms, frame });
        }
    }
}
