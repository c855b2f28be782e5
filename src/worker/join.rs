//! Joining a room: the seam between what is read and what is live.
//!
//! The reply and the place in the audience travel in one input, in order with the room's deliveries. So whatever was released
//! before is in the reply, whatever is released later comes live, and nothing is in both or in neither.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::protocol::limits::{MAX_LISTED_MEMBERS, MAX_REPLY_BYTES};
use crate::protocol::{EventFrame, LogEvent, UserId, encode};
use crate::rooms::JoinPlan;
use crate::store::StoreError;

use super::context::Context;
use super::input::{Asker, Input, PendingJoin, RoomInput, SessionInput, Since, Subscription};
use super::room_entry::{RoomEntry, conversation_payload};

/// How often a join reads the store again because the room moved on past what it keeps in memory meanwhile.
const MAX_ATTEMPTS: u8 = 5;

/// Who is online, as far as this worker has heard.
#[derive(Clone, Copy)]
pub(super) struct Attendance<'a> {
    pub(super) online: &'a HashSet<UserId>,
    /// How many changes of presence went into it.
    pub(super) changes: u64,
}

impl RoomEntry {
    pub(super) fn join(
        &mut self,
        asker: Asker,
        since: Option<Since>,
        limit: usize,
        attendance: Attendance<'_>,
        context: &mut Context,
    ) {
        let since = since.filter(|since| *since.epoch == *context.epoch).map(|since| since.seq);
        let JoinPlan { after, recovered } = self.room.plan_join(since, limit, context.limits().recovery_limit);
        self.continue_join(PendingJoin { asker, after, recovered, limit, attempts: 0 }, &[], attendance, context);
    }

    /// Finishes a join if `read` and what is in memory reach from its position to the head, else reads the store.
    fn continue_join(&mut self, join: PendingJoin, read: &[LogEvent], attendance: Attendance<'_>, context: &mut Context) {
        let head = self.room.head();
        // Events that are committed but not released yet come live.
        let read = &read[..read.partition_point(|event| event.seq() <= head)];
        let reached = read.last().map_or(join.after, LogEvent::seq);
        if self.room.recent_after(reached).is_some() {
            let kept = fitting(read);
            if kept < read.len() && join.recovered {
                // Too much for one reply, and a recovery is never partial: they start afresh.
                let JoinPlan { after, recovered } = self.room.plan_join(None, join.limit, 0);
                let read = &read[read.partition_point(|event| event.seq() <= after)..];
                return self.continue_join(PendingJoin { after, recovered, ..join }, read, attendance, context);
            }
            return self.finish_join(&join, &read[read.len() - kept..], reached, attendance, context);
        }
        if join.attempts == MAX_ATTEMPTS {
            return context.refuse_by_store(&join.asker, StoreError::Unavailable);
        }
        let (mailbox, conversation, after) = (context.mailbox(), self.room.id(), join.after);
        let limit = usize::try_from(head.get() - after.get()).unwrap_or(usize::MAX);
        let join = Box::new(PendingJoin { attempts: join.attempts + 1, ..join });
        self.in_flight += 1;
        self.joining.entry(join.asker.place()).or_default();
        let done = Box::new(move |result| mailbox.send(Input::Room(conversation, RoomInput::EventsForJoin(join, result))));
        context.shared.store.load_events(conversation, after, limit, done);
    }

    pub(super) fn handle_events_for_join(
        &mut self,
        join: PendingJoin,
        result: Result<Vec<LogEvent>, StoreError>,
        attendance: Attendance<'_>,
        context: &mut Context,
    ) {
        self.in_flight -= 1;
        // They may have left while the store was reading.
        if !self.room.is_member(join.asker.user.as_str()) {
            return context.refuse_by_store(&join.asker, StoreError::NotFound);
        }
        match result {
            Ok(events) => self.continue_join(join, &events, attendance, context),
            Err(error) => context.refuse_by_store(&join.asker, error),
        }
    }

    fn finish_join(
        &mut self,
        join: &PendingJoin,
        read: &[LogEvent],
        reached: crate::protocol::Seq,
        attendance: Attendance<'_>,
        context: &mut Context,
    ) {
        let asker = &join.asker;
        let conversation = self.room.id();
        let Some(as_seen) = self.room.conversation_for(asker.user.as_str(), |hash| context.invite_code(conversation, hash))
        else {
            return context.refuse_by_store(asker, StoreError::NotFound);
        };
        if join.recovered {
            context.metrics().recoveries.add(1);
        }
        let epoch = Arc::clone(&context.epoch);
        let room = &self.room;
        let frame = context.reply_frame(asker.action, asker.request_id.as_deref(), |out| {
            let mut object = encode::Object::begin(out);
            encode::conversation(object.field("conversation"), &as_seen);
            object.string("epoch", &epoch).number("head", room.head().get()).boolean("recovered", join.recovered);
            let recent = room.recent_after(reached).into_iter().flatten();
            let events = read.iter().map(Item::Read).chain(recent.map(Item::Recent));
            object.array("events", events, write_item);
            let members = room.members(MAX_LISTED_MEMBERS, |user| attendance.online.contains(user));
            object.array("members", members, |out, member| encode::member(out, &member));
            object.array("typing", room.typing.users(), |out, user| encode::string(out, user.as_str())).end();
        });
        self.audience[asker.worker] += 1;
        let request_id = asker.request_id.clone();
        let (connection, presence_seen) = (asker.connection, attendance.changes);
        let subscription = Subscription { connection, conversation, frame, request_id, presence_seen };
        context.send_to_session(asker.worker, SessionInput::Subscribe(subscription));
    }

    pub(super) fn leave(&mut self, asker: &Asker, context: &mut Context) {
        let conversation = self.room.id();
        if self.room.typing.handle_disconnect(asker.user.as_str(), asker.connection.to_u64()) {
            self.tell_typing_stopped(&asker.user, context);
        }
        let frame = context.reply_frame(asker.action, asker.request_id.as_deref(), conversation_payload(conversation));
        let unsubscribe = SessionInput::Unsubscribe { connection: asker.connection, conversation, frame };
        context.send_to_session(asker.worker, unsubscribe);
    }

    /// Tells every member who is online of their new conversation and answers who created it.
    pub(super) fn announce(&mut self, asker: &Asker, existed: bool, online: &HashSet<UserId>, context: &mut Context) {
        if !existed {
            for member in self.room.member_ids().filter(|member| online.contains(*member)) {
                let id = self.room.id();
                let Some(as_seen) = self.room.conversation_for(member.as_str(), |hash| context.invite_code(id, hash)) else {
                    continue;
                };
                let frame = context.event("conversation_created", |out| {
                    let mut object = encode::Object::begin(out);
                    encode::conversation(object.field("conversation"), &as_seen);
                    object.end();
                });
                let home = context.home_of(member);
                context.send_to_session(home, SessionInput::ToUser { user: member.clone(), frame });
            }
        }
        if !self.answer_with_conversation(asker, context) {
            context.refuse_by_store(asker, StoreError::NotFound);
        }
    }

    /// Answers with the conversation as the asker sees it; `false` if they are not a member.
    pub(super) fn answer_with_conversation(&self, asker: &Asker, context: &mut Context) -> bool {
        let id = self.room.id();
        let Some(as_seen) = self.room.conversation_for(asker.user.as_str(), |hash| context.invite_code(id, hash)) else {
            return false;
        };
        let is_group = asker.action == crate::protocol::request::ActionName::CreateGroup;
        context.reply(asker, |out| {
            let mut object = encode::Object::begin(out);
            encode::conversation(object.field("conversation"), &as_seen);
            if let Some(code) = as_seen.invite_code.as_ref().filter(|_| is_group) {
                object.string("inviteCode", code);
            }
            object.end();
        });
        true
    }
}

/// How many of the newest events fit into one reply. The newest does, however long it is.
fn fitting(events: &[LogEvent]) -> usize {
    let mut room = MAX_REPLY_BYTES;
    let mut fits = |event: &&LogEvent| {
        let is_first = room == MAX_REPLY_BYTES;
        room = room.saturating_sub(event.wire_size());
        is_first || room > 0
    };
    events.iter().rev().take_while(|event| fits(event)).count()
}

/// An event of a join's reply, from the store or from memory.
enum Item<'a> {
    Read(&'a LogEvent),
    Recent(&'a EventFrame),
}

fn write_item(out: &mut Vec<u8>, item: Item<'_>) {
    let mut object = encode::Object::begin(out);
    match item {
        Item::Read(event) => {
            object.string("type", encode::log_event_name(event));
            encode::log_event_payload(object.field("payload"), event);
        }
        Item::Recent(event) => {
            object.string("type", event.name);
            object.field("payload").extend_from_slice(event.payload());
        }
    }
    object.end();
}
