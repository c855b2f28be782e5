//! The side of a worker that owns rooms: it holds their members, their order and their leases, and asks the store.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::protocol::{ConversationId, LogEvent, UserId, encode};
use crate::rooms::{RecentEvents, Room, RoomSnapshot};
use crate::store::{Appended, Left, NewMessage, ReadMark, StoreError};

use super::context::Context;
use super::input::{
    Announcement, Asker, DeliveryKind, Input, PresenceChange, PresenceRoom, RoomInput, RoomRequest, SessionInput,
};
use super::join::Attendance;
use super::room_entry::{RoomEntry, conversation_payload, read_end};

/// How long a room without an audience stays in memory.
const ROOM_IDLE_TIME: Duration = Duration::from_secs(10);
/// Most inputs that wait for a room to be opened; past it requests are refused with `unavailable`.
const MAX_WAITING: usize = 16_384;

enum Slot {
    /// The store is reading it; these inputs wait.
    Opening(Vec<RoomInput>),
    Live(Box<RoomEntry>),
}

/// All rooms that one worker owns.
#[derive(Default)]
pub(super) struct Shard {
    rooms: HashMap<ConversationId, Slot>,
    /// In which live rooms a user is a member.
    rooms_of: HashMap<UserId, HashSet<ConversationId>>,
    /// Everybody who is online, on any worker.
    online: HashSet<UserId>,
    /// Changes of presence since the last tick, in order, whose rooms are to be reported.
    presence_changes: Vec<(UserId, Announcement, u64)>,
    /// How many changes of presence were taken in.
    presence_count: u64,
    /// Rooms to look after at the next tick.
    due: Vec<ConversationId>,
}

impl Shard {
    /// Takes one input for one room, opening it if the input is worth it.
    pub(super) fn handle(&mut self, conversation: ConversationId, input: RoomInput, context: &mut Context) {
        match self.rooms.get_mut(&conversation) {
            Some(Slot::Live(_)) => self.handle_live(conversation, input, context),
            Some(Slot::Opening(_)) if matches!(input, RoomInput::Opened(_)) => {
                let RoomInput::Opened(result) = input else { return };
                self.handle_opened(conversation, result, context);
            }
            Some(Slot::Opening(waiting)) if waiting.len() < MAX_WAITING => waiting.push(input),
            Some(Slot::Opening(_)) => {
                if let RoomInput::Request(asker, _) = input {
                    context.refuse_by_store(&asker, StoreError::Unavailable);
                }
            }
            None if matches!(input, RoomInput::Request(..)) => {
                self.rooms.insert(conversation, Slot::Opening(vec![input]));
                let mailbox = context.mailbox();
                let done = Box::new(move |result| mailbox.send(Input::Room(conversation, RoomInput::Opened(result))));
                context.shared.store.open_room(conversation, RecentEvents::capacity(), done);
            }
            // A room that is not in memory has no audience and reads what was committed when it is opened.
            None => {}
        }
    }

    fn handle_opened(&mut self, conversation: ConversationId, result: Result<RoomSnapshot, StoreError>, context: &mut Context) {
        let Some(Slot::Opening(waiting)) = self.rooms.remove(&conversation) else { return };
        match result {
            Ok(snapshot) => {
                let room = Room::open(conversation, snapshot, &mut context.builder, context.wall);
                for member in room.member_ids() {
                    self.rooms_of.entry_ref(member).or_default().insert(conversation);
                }
                let entry = RoomEntry::new(room, context);
                self.rooms.insert(conversation, Slot::Live(Box::new(entry)));
                context.metrics().rooms.set(self.rooms.len() as u64);
                for input in waiting {
                    self.handle_live(conversation, input, context);
                }
            }
            Err(error) => {
                for input in waiting {
                    if let RoomInput::Request(asker, _) = input {
                        context.refuse_by_store(&asker, error);
                    }
                }
            }
        }
    }

    fn handle_live(&mut self, conversation: ConversationId, input: RoomInput, context: &mut Context) {
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        entry.used_at = context.now;
        match input {
            RoomInput::Request(asker, request) => self.handle_request(conversation, asker, request, context),
            RoomInput::Opened(_) => {}
            RoomInput::Appended(asker, result) => self.handle_appended(conversation, &asker, result, context),
            RoomInput::MarkedRead(asker, result) => self.handle_marked_read(conversation, &asker, result, context),
            RoomInput::Left(asker, result) => self.handle_left(conversation, &asker, result, context),
            RoomInput::EventsForJoin(join, result) => {
                let later = entry.joining.remove(&join.asker.place()).unwrap_or_default();
                let attendance = Attendance { online: &self.online, changes: self.presence_count };
                entry.handle_events_for_join(*join, result, attendance, context);
                for (asker, request) in later {
                    self.handle_request(conversation, asker, request, context);
                }
            }
            RoomInput::EventsForGap(result) => self.handle_events_for_gap(conversation, result, context),
            RoomInput::AudienceLost { worker } => entry.audience[worker] = entry.audience[worker].saturating_sub(1),
            RoomInput::Disconnected { user, connection } => {
                if entry.room.typing.handle_disconnect(user.as_str(), connection) {
                    entry.tell_typing_stopped(&user, context);
                }
            }
        }
    }

    fn handle_request(&mut self, conversation: ConversationId, asker: Asker, request: RoomRequest, context: &mut Context) {
        if let RoomRequest::Welcome { event } = request {
            return self.welcome(conversation, &asker, event, context);
        }
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        if !entry.room.is_member(asker.user.as_str()) {
            return context.refuse_by_store(&asker, StoreError::NotFound);
        }
        if matches!(request, RoomRequest::Join { .. } | RoomRequest::Leave)
            && let Some(later) = entry.joining.get_mut(&asker.place())
        {
            return later.push((asker, request));
        }
        match request {
            RoomRequest::Join { since, limit } => {
                let attendance = Attendance { online: &self.online, changes: self.presence_count };
                entry.join(asker, since, limit, attendance, context);
            }
            RoomRequest::Leave => entry.leave(&asker, context),
            RoomRequest::Send { content, client_message_id, reply_to } => {
                let (id, created_at) = context.new_message_id();
                let message = NewMessage {
                    id,
                    conversation,
                    sender: asker.user.clone(),
                    sender_name: Arc::clone(&asker.name),
                    content,
                    client_message_id,
                    reply_to,
                    created_at,
                };
                entry.send(asker, message, context);
            }
            RoomRequest::TypingStart => {
                entry.start_typing(&asker, context);
                self.note_due(conversation);
            }
            RoomRequest::TypingStop => {
                if entry.room.typing.handle_stop(asker.user.as_str()) {
                    entry.tell_typing_stopped(&asker.user, context);
                }
                context.reply(&asker, conversation_payload(conversation));
            }
            RoomRequest::MarkRead { seq } => {
                entry.in_flight += 1;
                let (mailbox, user) = (context.mailbox(), asker.user.clone());
                let done = Box::new(move |result| {
                    mailbox.send(Input::Room(conversation, RoomInput::MarkedRead(asker, result)));
                });
                context.shared.store.mark_read(conversation, user, seq, done);
            }
            RoomRequest::LeaveGroup => entry.leave_group(asker, context),
            RoomRequest::Announce { existed } => entry.announce(&asker, existed, &self.online, context),
            RoomRequest::Welcome { .. } => {}
        }
    }

    fn handle_appended(
        &mut self,
        conversation: ConversationId,
        asker: &Asker,
        result: Result<Appended, StoreError>,
        context: &mut Context,
    ) {
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        entry.in_flight -= 1;
        let Appended { message, duplicate } = match result {
            Ok(appended) => appended,
            Err(error) => {
                entry.handle_failed_write(asker, error, context);
                return self.note_due(conversation);
            }
        };
        if duplicate {
            context.metrics().duplicates.add(1);
        } else {
            context.metrics().messages.add(1);
        }
        context.reply(asker, |out| {
            let mut object = encode::Object::begin(out);
            encode::message(object.field("message"), &message);
            if duplicate {
                object.boolean("duplicate", true);
            }
            object.end();
        });
        // A repeat, too: it may be the first that is heard of a message whose commit was not answered.
        self.release(conversation, LogEvent::MessageCreated(message), context);
    }

    fn handle_marked_read(
        &mut self,
        conversation: ConversationId,
        asker: &Asker,
        result: Result<ReadMark, StoreError>,
        context: &mut Context,
    ) {
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        entry.in_flight -= 1;
        let mark = match result {
            Ok(mark) => mark,
            Err(error) => {
                if error == StoreError::NotFound {
                    // They are a member here, and left on another node.
                    entry.room.handle_doubt(context.now);
                    self.note_due(conversation);
                }
                return context.refuse_by_store(asker, error);
            }
        };
        entry.room.handle_head(mark.head, context.now);
        if mark.moved {
            entry.room.handle_read(&asker.user, mark);
            entry.tell_reads_if_time(context);
        }
        if mark.moved || entry.room.waiting_since().is_some() {
            self.note_due(conversation);
        }
        context.reply(asker, |out| {
            let mut object = encode::Object::begin(out);
            object.conversation_id(conversation).number("seq", mark.seq.get()).number("unreadCount", mark.unread).end();
        });
    }

    fn handle_left(
        &mut self,
        conversation: ConversationId,
        asker: &Asker,
        result: Result<Left, StoreError>,
        context: &mut Context,
    ) {
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        entry.in_flight -= 1;
        match result {
            Ok(left) => {
                // The event first: the reply is the last that the one who left hears of the conversation.
                self.release(conversation, left.event, context);
                context.reply(asker, conversation_payload(conversation));
            }
            Err(error) => {
                entry.handle_failed_write(asker, error, context);
                self.note_due(conversation);
            }
        }
    }

    fn handle_events_for_gap(
        &mut self,
        conversation: ConversationId,
        result: Result<Vec<LogEvent>, StoreError>,
        context: &mut Context,
    ) {
        let end = read_end(&result);
        for event in result.unwrap_or_default() {
            self.release(conversation, event, context);
        }
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        entry.in_flight -= 1;
        entry.room.handle_read_end(end, context.now);
        if entry.room.waiting_since().is_some() {
            self.note_due(conversation);
        }
    }

    /// Somebody joined by code: everybody hears of it, and they get the conversation.
    fn welcome(&mut self, conversation: ConversationId, asker: &Asker, event: Option<LogEvent>, context: &mut Context) {
        if let Some(event) = event {
            self.release(conversation, event, context);
        }
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        if !entry.answer_with_conversation(asker, context) {
            // Their own event is kept back for one before it, or was committed without an answer: when they ask again, it has
            // been released.
            entry.room.handle_doubt(context.now);
            context.refuse_by_store(asker, StoreError::Unavailable);
            self.note_due(conversation);
        }
    }

    /// Takes a committed event and sends on all that is next in order.
    fn release(&mut self, conversation: ConversationId, event: LogEvent, context: &mut Context) {
        let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { return };
        entry.room.handle_event(event, context.now);
        while let Some((event, frame)) = entry.room.next_released(&mut context.builder, context.wall) {
            entry.deliver(&frame.frame, &DeliveryKind::Logged, context);
            match event {
                LogEvent::MessageCreated(_) => entry.has_activity = true,
                LogEvent::MemberJoined { user, .. } => {
                    self.rooms_of.entry(user).or_default().insert(conversation);
                }
                LogEvent::MemberLeft { user, .. } => {
                    if entry.room.typing.handle_stop(user.as_str()) {
                        entry.tell_typing_stopped(&user, context);
                    }
                    forget(&mut self.rooms_of, &user, conversation);
                    let home = context.home_of(&user);
                    context.send_to_session(home, SessionInput::Expel { conversation, user });
                }
            }
        }
        entry.tell_activity_if_time(&self.online, context);
        if entry.has_activity || entry.room.has_reads() || entry.room.waiting_since().is_some() {
            self.note_due(conversation);
        }
    }

    /// Remembers to look after a room at the next tick.
    fn note_due(&mut self, conversation: ConversationId) {
        if let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation)
            && !entry.is_due
        {
            entry.is_due = true;
            self.due.push(conversation);
        }
    }

    /// Takes what every worker hears of a user. Rooms with an audience are reported at the next tick: in a storm of logins, all at
    /// once.
    pub(super) fn handle_presence(&mut self, change: PresenceChange) {
        match change {
            PresenceChange::Named { user, name } => self.each_room_of(&user, |room| room.handle_name(user.as_str(), &name)),
            PresenceChange::Moved { user, last_seen_at, announcement } => {
                match last_seen_at {
                    None => self.online.insert(user.clone()),
                    Some(at) => {
                        self.each_room_of(&user, |room| room.handle_last_seen(user.as_str(), at));
                        self.online.remove(&user)
                    }
                };
                self.presence_count += 1;
                self.presence_changes.push((user, announcement, self.presence_count));
            }
        }
    }

    fn each_room_of(&mut self, user: &UserId, mut change: impl FnMut(&mut Room)) {
        for conversation in self.rooms_of.get(user).into_iter().flatten() {
            if let Some(Slot::Live(entry)) = self.rooms.get_mut(conversation) {
                change(&mut entry.room);
            }
        }
    }

    /// What is due at a tick: leases that are over, receipts and hints that were held back, gaps, presence.
    pub(super) fn tick(&mut self, context: &mut Context) {
        self.report_presence(context);
        for conversation in std::mem::take(&mut self.due) {
            let Some(Slot::Live(entry)) = self.rooms.get_mut(&conversation) else { continue };
            entry.is_due = false;
            while let Some(user) = entry.room.typing.next_expired(context.now) {
                entry.tell_typing_stopped(&user, context);
            }
            entry.tell_reads_if_time(context);
            entry.tell_activity_if_time(&self.online, context);
            entry.read_gap_if_time(context);
            let is_waiting = entry.room.waiting_since().is_some();
            if !entry.room.typing.is_empty() || entry.room.has_reads() || entry.has_activity || is_waiting {
                self.note_due(conversation);
            }
        }
    }

    fn report_presence(&mut self, context: &mut Context) {
        for (user, announcement, change) in std::mem::take(&mut self.presence_changes) {
            let mut rooms = vec![Vec::new(); context.mailboxes.len()];
            for &conversation in self.rooms_of.get(&user).into_iter().flatten() {
                let Some(Slot::Live(entry)) = self.rooms.get(&conversation) else { continue };
                for (worker, _) in entry.audience.iter().enumerate().filter(|(_, connections)| **connections > 0) {
                    rooms[worker].push(PresenceRoom { conversation, change });
                }
            }
            let Announcement { home, number } = announcement;
            context.send_to_session(home, SessionInput::PresenceRooms { number, rooms });
        }
    }

    /// Lets go of rooms that nobody has used for a while.
    pub(super) fn sweep(&mut self, context: &Context) {
        let now = context.now;
        let rooms_of = &mut self.rooms_of;
        self.rooms.retain(|&conversation, slot| {
            let Slot::Live(entry) = slot else { return true };
            let is_used = entry.in_flight > 0
                || entry.is_due
                || now.since(entry.used_at) < ROOM_IDLE_TIME
                || entry.audience.iter().any(|&connections| connections > 0);
            if !is_used {
                for member in entry.room.member_ids() {
                    forget(rooms_of, member, conversation);
                }
            }
            is_used
        });
        context.metrics().rooms.set(self.rooms.len() as u64);
    }
}

#[cfg(test)]
impl Shard {
    /// The rooms that are in memory.
    pub(super) fn live(&self) -> impl Iterator<Item = (ConversationId, &RoomEntry)> {
        self.rooms.iter().filter_map(|(&conversation, slot)| match slot {
            Slot::Live(entry) => Some((conversation, &**entry)),
            Slot::Opening(_) => None,
        })
    }
}

fn forget(rooms_of: &mut HashMap<UserId, HashSet<ConversationId>>, user: &UserId, conversation: ConversationId) {
    if let Some(rooms) = rooms_of.get_mut(user) {
        rooms.remove(&conversation);
        if rooms.is_empty() {
            rooms_of.remove(user);
        }
    }
}
