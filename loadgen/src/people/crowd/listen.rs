//! What the server says: events, replies, refusals.

use super::super::plan::MILLISECOND;
use super::super::verifier::{Event, EventKind, Names, Place};
use super::super::wire::{Activity, Envelope, Founded, Hint, LoggedEvent, Membership, Message, Page, Refusal};
use super::arrive::RETRY_NS;
use super::person::Pending;
use super::traffic::is_content;
use super::{Action, Asked, Crowd, Stage, Step};
use crate::outcome::Metric;

/// How often a message is tried before it is given up. A server that is away for long is waited for elsewhere: see `closed`.
const MAX_ATTEMPTS: u32 = 20;
/// Longest pause that a server may ask for.
const MAX_RETRY_MS: u64 = 60_000;
/// Until the server says something else.
pub(super) const DEFAULT_TYPING_LEASE_MS: u32 = 6_000;

impl Crowd {
    /// A text message came.
    pub(crate) fn heard(&mut self, person: u32, generation: u32, text: &str, now: u64) {
        if self.people[person as usize].generation != generation {
            return;
        }
        self.meters.count(now, |counts| counts.received_bytes += text.len() as u64);
        let understood = Envelope::parse(text).and_then(|envelope| match envelope.answers() {
            Some(id) => self.reply(person, id, &envelope, now),
            None => self.event(person, &envelope, now),
        });
        if let Err(error) = understood {
            self.meters.error("not_understood");
            let user = self.directory.user(person).to_owned();
            self.verifier.foreign("", &user, format!("a message that PROTOCOL.md does not know: {error}"), now);
        }
    }

    fn event(&mut self, person: u32, envelope: &Envelope<'_>, now: u64) -> Result<(), serde_json::Error> {
        match &*envelope.kind {
            "message_created" => self.message_created(person, &envelope.payload()?, now),
            "member_joined" => self.membership_changed(person, &envelope.payload()?, EventKind::Joined, now),
            "member_left" => self.membership_changed(person, &envelope.payload()?, EventKind::Left, now),
            "typing_started" | "typing_stopped" => self.typing(person, &envelope.payload()?, &envelope.kind, now),
            "message_read" => {
                let hint: Hint<'_> = envelope.payload()?;
                self.place_of(person, &hint.conversation_id, Needs::Joined, &envelope.kind, now);
            }
            "conversation_activity" => {
                let activity: Activity<'_> = envelope.payload()?;
                self.place_of(person, &activity.conversation_id, Needs::Member, &envelope.kind, now);
            }
            "conversation_created" => {
                let created: Founded<'_> = envelope.payload()?;
                self.place_of(person, &created.conversation.id, Needs::Member, &envelope.kind, now);
            }
            "error" => self.refused_unasked(&envelope.payload()?),
            _ => {}
        }
        Ok(())
    }

    /// Where an event belongs; a breach if the person should not get it there.
    fn place_of(&mut self, person: u32, id: &str, needs: Needs, kind: &str, now: u64) -> Option<Place> {
        let conversation = self.directory.conversation_of(id);
        let known = conversation.and_then(|conversation| self.people[person as usize].membership_of(conversation));
        let allowed = match (needs, known) {
            (Needs::Joined, Some(membership)) => matches!(membership.step, Step::Joined | Step::Joining).then_some(membership),
            (Needs::Member, known) => known,
            (Needs::Joined, None) => None,
        };
        if let Some(membership) = allowed {
            return Some(Place { conversation: membership.conversation, slot: membership.slot });
        }
        // A conversation of an earlier run has activity too, but none of this run's is told to strangers.
        if needs == Needs::Joined || conversation.is_some() {
            let what = format!("{kind} of a conversation that this connection has not joined");
            let user = self.directory.user(person).to_owned();
            self.verifier.foreign(id, &user, what, now);
        }
        None
    }

    fn message_created(&mut self, person: u32, message: &Message<'_>, now: u64) {
        let Some(place) = self.place_of(person, &message.conversation_id, Needs::Joined, "message_created", now) else { return };
        let event = self.event_of(message);
        self.verifier.event(place, event, now, &self.directory);
        self.meters.count(now, |counts| counts.delivered += 1);
        let sender = self.directory.person_of(&message.sender_id);
        if let EventKind::Message(number) = event.kind {
            self.message_arrived(place, number, message, now);
        }
        let reads = self.plan.behaviour.reads_after.filter(|_| sender != Some(person));
        let state = &mut self.people[person as usize];
        let Some(index) = state.membership_index(place.conversation) else { return };
        let membership = &mut state.memberships[index as usize];
        membership.newest = message.seq;
        if let Some(reads_after) = reads
            && !membership.marks
            && self.stage == Stage::Running
            && state.idle_until <= now
        {
            membership.marks = true;
            let due = self.after(now, reads_after);
            self.timers.push(due, Action::MarkRead { person, membership: index });
        }
    }

    /// A message of this run: is it what was sent, and how long did it take?
    fn message_arrived(&mut self, place: Place, number: u64, message: &Message<'_>, now: u64) {
        let Some(sent) = self.sends.at(number).copied() else { return };
        self.meters.record(Metric::Delivery, sent.due, now.saturating_sub(sent.due));
        self.meters.record(Metric::DeliveryService, sent.due, now.saturating_sub(sent.sent_at));
        // What had to be sent again took its time for other reasons than a receiver who is behind.
        if sent.attempts == 1 {
            self.verifier.delayed(place, now.saturating_sub(sent.sent_at), now);
        }
        self.check_message(place, message, now);
    }

    /// A message of a conversation, live, recovered, in a reply or on a page: does it belong there, and if it is of this run, is it what
    /// was sent?
    pub(super) fn check_message(&mut self, place: Place, message: &Message<'_>, now: u64) {
        if self.directory.id_of(place.conversation) != &*message.conversation_id {
            let what = format!("a message of the conversation {} among those of another", &*message.conversation_id);
            let (id, user) = (self.directory.conversation(place.conversation), Names::user(&self.directory, place));
            return self.verifier.foreign(&id, &user, what, now);
        }
        let EventKind::Message(number) = self.event_of(message).kind else { return };
        let Some(sent) = self.sends.at(number).copied() else { return };
        let client_message_id = message.client_message_id.as_deref().unwrap_or_default();
        let what = if self.directory.user(sent.sender) != &*message.sender_id {
            "it names another sender"
        } else if sent.conversation != place.conversation {
            "it was sent to another conversation"
        } else if !is_content(&message.content, client_message_id, self.plan.content_chars as usize) {
            "its content is not what was sent"
        } else {
            return self.note_place(place, number, message.seq, now);
        };
        self.verifier.altered(place, message.seq, what, now, &self.directory);
    }

    /// A message has its place in the log, and no other.
    pub(super) fn note_place(&mut self, place: Place, number: u64, seq: u64, now: u64) {
        let Some(sent) = self.sends.at_mut(number) else { return };
        if sent.seq == 0 {
            sent.seq = seq;
        }
        let first = sent.seq;
        if first != seq {
            self.verifier.doubled(place, seq, first, now, &self.directory);
        }
    }

    fn membership_changed(&mut self, person: u32, change: &Membership<'_>, kind: EventKind, now: u64) {
        if let Some(place) = self.place_of(person, &change.conversation_id, Needs::Joined, "a membership event", now) {
            self.verifier.event(place, Event::new(change.seq, &change.user_id, kind), now, &self.directory);
        }
    }

    fn typing(&mut self, person: u32, hint: &Hint<'_>, kind: &str, now: u64) {
        let Some(place) = self.place_of(person, &hint.conversation_id, Needs::Joined, kind, now) else { return };
        self.meters.count(now, |counts| counts.typing_delivered += 1);
        if kind == "typing_stopped" {
            if let Some((_, slot)) = self.typist(person, place, &hint.user_id, now) {
                self.verifier.typing_stopped(place, slot);
            }
            return;
        }
        // No lease is longer than the server has said that leases are.
        let longest = u64::from(self.typing_lease_ms);
        let lease = hint.expires_in_ms.unwrap_or(longest).min(longest) * MILLISECOND;
        if let Some(began) = self.typing_seen(person, place, &hint.user_id, lease, now) {
            self.meters.record(Metric::Typing, began, now.saturating_sub(began));
        }
    }

    /// A typist is shown to a member; when they began, if they were not shown before.
    pub(super) fn typing_seen(&mut self, person: u32, place: Place, user: &str, lease_ns: u64, now: u64) -> Option<u64> {
        let (typist, slot) = self.typist(person, place, user, now)?;
        let new = slot != place.slot && self.verifier.typing_started(place, slot, lease_ns, now);
        let membership = self.people[typist as usize].membership_of(place.conversation);
        membership.filter(|_| new).map(|membership| membership.typing_began)
    }

    /// Who types in a member's conversation, and in which slot; a breach if they are not in it.
    fn typist(&mut self, person: u32, place: Place, user: &str, now: u64) -> Option<(u32, u32)> {
        let typist = self.directory.person_of(user);
        let slot =
            typist.and_then(|typist| self.people[typist as usize].membership_of(place.conversation)).map(|in_it| in_it.slot);
        let found = typist.zip(slot);
        if found.is_none() {
            let id = self.directory.id_of(place.conversation).to_owned();
            let viewer = self.directory.user(person).to_owned();
            self.verifier.foreign(&id, &viewer, format!("typing of {user}, who is not in it"), now);
        }
        found
    }

    /// What the verifier compares of a message.
    pub(super) fn event_of(&self, message: &Message<'_>) -> Event {
        let number = message.client_message_id.as_deref().and_then(|id| self.sends.number_of(id));
        Event::new(message.seq, &message.id, number.map_or(EventKind::OtherMessage, EventKind::Message))
    }

    /// The same of an event in a join reply.
    pub(super) fn logged(&self, event: &LoggedEvent<'_>) -> Result<Event, serde_json::Error> {
        let membership = |kind| {
            let change: Membership<'_> = serde_json::from_str(event.payload.get())?;
            Ok(Event::new(change.seq, &change.user_id, kind))
        };
        match &*event.kind {
            "member_joined" => membership(EventKind::Joined),
            "member_left" => membership(EventKind::Left),
            _ => Ok(self.event_of(&serde_json::from_str(event.payload.get())?)),
        }
    }

    fn reply(&mut self, person: u32, id: u64, envelope: &Envelope<'_>, now: u64) -> Result<(), serde_json::Error> {
        let Some(Pending { asked, sent_at }) = self.people[person as usize].pending.remove(&id) else {
            self.meters.error("unasked_reply");
            return Ok(());
        };
        if &*envelope.kind == "error" {
            self.refused(person, asked, &envelope.payload()?, now);
            return Ok(());
        }
        match asked {
            Asked::Auth => self.logged_in(person, envelope, sent_at, now),
            Asked::Enter { membership } => self.entered(person, membership, envelope, now),
            Asked::Join { membership, after } => self.joined(person, (membership, after), envelope, sent_at, now),
            Asked::Message { number, .. } => self.acknowledged(person, number, envelope, now),
            Asked::Typing => Ok(()),
            Asked::Probe { membership } => {
                let place = self.place(person, membership);
                self.verifier.probed(place, now);
                Ok(())
            }
            Asked::MarkRead => {
                self.meters.record(Metric::MarkRead, sent_at, now - sent_at);
                self.meters.count(now, |counts| counts.reads += 1);
                Ok(())
            }
            Asked::Page { .. } | Asked::CatchUp { .. } | Asked::List => {
                self.meters.record(Metric::Page, sent_at, now - sent_at);
                self.meters.count(now, |counts| counts.pages += 1);
                self.paged(person, asked, envelope, now)
            }
        }
    }

    /// A page of history came.
    fn paged(&mut self, person: u32, asked: Asked, envelope: &Envelope<'_>, now: u64) -> Result<(), serde_json::Error> {
        match asked {
            Asked::Page { membership, before } => {
                let page: Page<'_> = envelope.payload()?;
                let place = self.place(person, membership);
                let events: Vec<Event> = page.messages.iter().map(|message| self.event_of(message)).collect();
                self.verifier.looked_back(place, before, &events, page.has_more, now, &self.directory);
                page.messages.iter().for_each(|message| self.check_message(place, message, now));
                let oldest = page.messages.first().map_or(1, |message| message.seq);
                self.people[person as usize].memberships[membership as usize].oldest = if page.has_more { oldest } else { 1 };
            }
            Asked::CatchUp { membership } => {
                let missed = self.people[person as usize].memberships[membership as usize].missed;
                let Some((after, head)) = missed else { return Ok(()) };
                let page: Page<'_> = envelope.payload()?;
                // What came after the join is live, and no part of what was missed.
                let missed = page.messages.iter().filter(|message| message.seq <= head);
                let events: Vec<Event> = missed.map(|message| self.event_of(message)).collect();
                let place = self.place(person, membership);
                page.messages.iter().for_each(|message| self.check_message(place, message, now));
                if page.has_more && page.messages.is_empty() {
                    let what = format!("the page after seq {after} is empty although there is more after it");
                    self.verifier.unrecovered(place, after + 1, what, now, &self.directory);
                }
                let more = page.has_more && page.messages.last().is_some_and(|last| last.seq < head);
                self.verifier.paged(place, (after, head), &events, more, now, &self.directory);
                let rest = events.last().filter(|_| more).map(|last| (last.seq, head));
                self.people[person as usize].memberships[membership as usize].missed = rest;
                self.catch_up(person, membership, now);
                self.look_whether_settled(person, now);
            }
            _ => {}
        }
        Ok(())
    }

    /// The server refused a request.
    fn refused(&mut self, person: u32, asked: Asked, refusal: &Refusal<'_>, now: u64) {
        self.meters.error(&refusal.code);
        let again = now + refusal.retry_after_ms.map_or(RETRY_NS, |wait| wait.min(MAX_RETRY_MS) * MILLISECOND);
        match asked {
            Asked::Message { number, attempt } if refusal.retryable && attempt < MAX_ATTEMPTS => {
                self.timers.push(again, Action::Resend { person, number, attempt: attempt + 1 });
            }
            Asked::Enter { membership } | Asked::Join { membership, .. } if refusal.retryable => {
                let step = &mut self.people[person as usize].memberships[membership as usize].step;
                *step = if *step == Step::Entering { Step::Outside } else { Step::Member };
                self.timers.push(again, Action::Rejoin { person, membership });
            }
            Asked::Message { .. } if self.plan.closed_loop => self.timers.push(again, Action::Send { person, membership: 0 }),
            Asked::Auth if refusal.retryable => {
                self.disconnect(person, true);
                self.timers.push(again, Action::Connect { person });
            }
            Asked::Auth | Asked::Enter { .. } | Asked::Join { .. } => self.refused_entry(person, asked, refusal, now),
            Asked::CatchUp { membership } => self.timers.push(again, Action::CatchUp { person, membership }),
            Asked::Message { .. } | Asked::Typing | Asked::MarkRead | Asked::Page { .. } | Asked::Probe { .. } | Asked::List => {}
        }
    }

    /// Somebody is not let in, for good. While everybody arrives there can be no run; later it is what the run found out.
    fn refused_entry(&mut self, person: u32, asked: Asked, refusal: &Refusal<'_>, now: u64) {
        let user = self.directory.user(person).to_owned();
        if self.stage == Stage::Arriving {
            let what = format!("the server refused {asked:?} of {user}: {}: {}", &*refusal.code, &*refusal.message);
            self.fatal.get_or_insert(what);
        } else if let Asked::Join { membership, after: Some(after) } = asked {
            let place = self.place(person, membership);
            let what = format!("a member who had seq {after} was refused when they came back: {}", &*refusal.code);
            self.verifier.unrecovered(place, after + 1, what, now, &self.directory);
        }
    }

    fn refused_unasked(&mut self, refusal: &Refusal<'_>) {
        self.meters.error(&refusal.code);
    }
}

/// What somebody must be to get an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Their connection joined the conversation, or is about to.
    Joined,
    /// They are a member.
    Member,
}
