//! Which of this worker's connections joined which conversation, and what each audience gets at the end of the turn.
//!
//! Everything an audience is to get in one turn becomes one shared buffer: for each receiver there is one push and one write.

use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::protocol::ConversationId;

use crate::rooms::Moment;

use super::input::{Delivery, DeliveryKind};
use super::outgoing::Outgoing;
use super::pace::Pace;

/// Connections from which on an audience waits for messages that are about to be committed: half as many writes to all of them
/// are worth more than the fraction of a millisecond that a commit takes.
const LINGER_CONNECTIONS: usize = 128;
/// Longest such wait, in the resolution of the clock.
pub(super) const LINGER: Duration = Duration::from_millis(2);
/// Places for events that an audience keeps between turns.
const KEPT_BATCH: usize = 16;
/// A batch that grows past this within one turn is handed out before the turn ends.
const MAX_BATCH_BYTES: usize = 256 * 1024;

struct Audience {
    conversation: ConversationId,
    /// Places in `Connections`. A connection leaves this list before its place is used again.
    connections: Vec<u32>,
    batch: Vec<Delivery>,
    batch_bytes: usize,
    /// Until when the batch may wait for more.
    linger_until: Option<Moment>,
    /// Whether it is in `Audiences::dirty`.
    is_listed: bool,
}

/// All audiences of a worker.
#[derive(Default)]
pub(super) struct Audiences {
    by_conversation: HashMap<ConversationId, u32>,
    audiences: Vec<Option<Audience>>,
    free: Vec<u32>,
    /// Audiences with a batch.
    dirty: Vec<u32>,
    buffer: Vec<u8>,
}

impl Audiences {
    /// The index of a conversation's audience, if it has one here.
    pub(super) fn find(&self, conversation: ConversationId) -> Option<u32> {
        self.by_conversation.get(&conversation).copied()
    }

    pub(super) fn conversation(&self, audience: u32) -> Option<ConversationId> {
        self.audiences.get(audience as usize)?.as_ref().map(|audience| audience.conversation)
    }

    pub(super) fn connections(&self, conversation: ConversationId) -> &[u32] {
        let audience = self.find(conversation).and_then(|index| self.audiences[index as usize].as_ref());
        audience.map_or(&[], |audience| &audience.connections)
    }

    /// Adds a connection. What the audience was to get so far goes out first: it is not for the newcomer.
    pub(super) fn insert(&mut self, conversation: ConversationId, connection: u32, outgoing: &mut Outgoing<'_>) -> u32 {
        let index = match self.find(conversation) {
            Some(index) => index,
            None => self.create(conversation),
        };
        self.hand_out(index, outgoing);
        if let Some(audience) = self.audiences[index as usize].as_mut() {
            audience.connections.push(connection);
        }
        index
    }

    fn create(&mut self, conversation: ConversationId) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.audiences.push(None);
            u32::try_from(self.audiences.len() - 1).expect("fewer audiences than 2^32: each has a connection")
        });
        self.audiences[index as usize] = Some(Audience {
            conversation,
            connections: Vec::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            linger_until: None,
            is_listed: false,
        });
        self.by_conversation.insert(conversation, index);
        index
    }

    /// Takes a connection out, after handing it what came before.
    pub(super) fn remove(&mut self, index: u32, connection: u32, outgoing: &mut Outgoing<'_>) {
        self.hand_out(index, outgoing);
        let Some(audience) = self.audiences.get_mut(index as usize).and_then(Option::as_mut) else { return };
        if let Some(at) = audience.connections.iter().position(|&other| other == connection) {
            audience.connections.swap_remove(at);
        }
        if audience.connections.is_empty() {
            self.by_conversation.remove(&audience.conversation);
            self.audiences[index as usize] = None;
            self.dirty.retain(|&dirty| dirty != index);
            self.free.push(index);
        }
    }

    /// Adds an event to the audience's batch.
    pub(super) fn deliver(&mut self, delivery: Delivery, now: Moment, outgoing: &mut Outgoing<'_>) {
        let Some(index) = self.find(delivery.conversation) else { return };
        let Some(audience) = self.audiences[index as usize].as_mut() else { return };
        if !audience.is_listed {
            audience.is_listed = true;
            self.dirty.push(index);
        }
        if delivery.kind == DeliveryKind::Logged {
            let may_linger = delivery.is_followed && audience.connections.len() >= LINGER_CONNECTIONS;
            audience.linger_until = may_linger.then(|| audience.linger_until.unwrap_or(now + LINGER));
        }
        audience.batch_bytes += delivery.frame.len();
        audience.batch.push(delivery);
        if audience.batch_bytes > MAX_BATCH_BYTES {
            self.hand_out(index, outgoing);
        }
    }

    /// Hands out one audience's batch before the turn ends.
    pub(super) fn hand_out_early(&mut self, conversation: ConversationId, outgoing: &mut Outgoing<'_>) {
        if let Some(index) = self.find(conversation) {
            self.hand_out(index, outgoing);
        }
    }

    /// Hands every batch to its audience, but for those that wait for more.
    pub(super) fn hand_out_all(&mut self, now: Moment, outgoing: &mut Outgoing<'_>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|&index| {
            let audience = self.audiences.get(index as usize).and_then(Option::as_ref);
            let is_lingering = audience.and_then(|audience| audience.linger_until).is_some_and(|until| now < until);
            if !is_lingering {
                self.hand_out(index, outgoing);
                if let Some(audience) = self.audiences.get_mut(index as usize).and_then(Option::as_mut) {
                    audience.is_listed = false;
                }
            }
            is_lingering
        });
        self.dirty = dirty;
    }

    /// Whether a batch waits for more.
    pub(super) fn is_lingering(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn hand_out(&mut self, index: u32, outgoing: &mut Outgoing<'_>) {
        let Some(audience) = self.audiences.get_mut(index as usize).and_then(Option::as_mut) else { return };
        if audience.batch.is_empty() {
            return;
        }
        let whole = concatenate(&mut self.buffer, audience.batch.iter());
        let events = audience.batch.len() as u64;
        let logged = audience.batch.iter().filter(|delivery| delivery.kind == DeliveryKind::Logged).count() as u64;
        outgoing.metrics.deliveries.add(logged * audience.connections.len() as u64);
        outgoing.metrics.hints.add((events - logged) * audience.connections.len() as u64);
        if logged == events {
            for &connection in &audience.connections {
                outgoing.push(connection, Rc::clone(&whole));
            }
        } else {
            let mut care = Care { buffer: &mut self.buffer, batch: &audience.batch, whole, logged: None };
            for &connection in &audience.connections {
                if let Some(part) = care.part_for(connection, outgoing) {
                    outgoing.push(connection, part);
                }
            }
        }
        audience.batch.clear();
        // A burst leaves no room behind that a quiet audience would keep.
        audience.batch.shrink_to(KEPT_BATCH);
        audience.batch_bytes = 0;
        audience.linger_until = None;
    }
}

/// Hands out a batch with hints: these are not for everybody, and nobody who is behind gets any.
struct Care<'a> {
    buffer: &'a mut Vec<u8>,
    batch: &'a [Delivery],
    whole: Rc<[u8]>,
    /// The log events alone, made once for all who are behind.
    logged: Option<Rc<[u8]>>,
}

impl Care<'_> {
    /// What this connection gets; `None` for nothing.
    fn part_for(&mut self, connection: u32, outgoing: &mut Outgoing<'_>) -> Option<Rc<[u8]>> {
        let connection = outgoing.connections.at_mut(connection)?;
        if connection.outbox.pace(outgoing.max_outbox_bytes) != Pace::Keeping {
            let (buffer, batch) = (&mut *self.buffer, self.batch);
            let is_logged = |delivery: &&Delivery| delivery.kind == DeliveryKind::Logged;
            let logged = self.logged.get_or_insert_with(|| concatenate(buffer, batch.iter().filter(is_logged)));
            return Some(Rc::clone(logged)).filter(|logged| !logged.is_empty());
        }
        let user = connection.session().map(|session| &session.user);
        let is_wanted = |delivery: &&Delivery| match &delivery.kind {
            DeliveryKind::Logged | DeliveryKind::Hint => true,
            DeliveryKind::HintExcept(typist) => Some(typist) != user,
        };
        if self.batch.iter().all(|delivery| is_wanted(&delivery)) {
            return Some(Rc::clone(&self.whole));
        }
        // The typist's own: few of a room are typing at once.
        let part = concatenate(self.buffer, self.batch.iter().filter(is_wanted));
        Some(part).filter(|part| !part.is_empty())
    }
}

fn concatenate<'a>(buffer: &mut Vec<u8>, deliveries: impl Iterator<Item = &'a Delivery>) -> Rc<[u8]> {
    buffer.clear();
    for delivery in deliveries {
        buffer.extend_from_slice(&delivery.frame);
    }
    Rc::from(buffer.as_slice())
}

#[cfg(test)]
mod tests;
