//! Coming in and coming back: connecting, logging in, founding conversations, joining, resuming.

use std::rc::Rc;

use super::super::plan::{MILLISECOND, SECOND};
use super::super::verifier::{Event, EventKind};
use super::super::wire::{Acknowledged, Envelope, Founded, Joined, Request, Since, Welcome};
use super::{Action, Asked, Crowd, Ending, Line, Output, Place, Stage, Step};
use crate::outcome::Metric;

/// How many others one request can name.
const MAX_NAMED_MEMBERS: usize = 100;
/// Pauses between attempts to come back: doubled from the first up to the last, and a random part of that.
const FIRST_PAUSE_NS: u64 = SECOND / 2;
const LAST_PAUSE_NS: u64 = 20 * SECOND;
/// How soon something is asked for again that the server could not do just now.
pub(super) const RETRY_NS: u64 = 300 * MILLISECOND;
/// Messages in a page when catching up.
const CATCH_UP_PAGE: u32 = 200;

impl Crowd {
    /// A connection is due; it waits while too many others are being set up.
    pub(super) fn connect(&mut self, person: u32, due: u64) {
        if !matches!(self.people[person as usize].line, Line::Away) {
            return;
        }
        if self.connecting >= self.plan.connecting {
            self.queue.push_back((person, due));
            return;
        }
        self.connecting += 1;
        let state = &mut self.people[person as usize];
        state.line = Line::Connecting { due };
        state.generation += 1;
        self.outputs.push_back(Output::Connect { person, generation: state.generation });
    }

    /// One place among the connections being set up is free.
    fn set_up_next(&mut self) {
        self.connecting -= 1;
        // Whoever has come in another way meanwhile needs no place.
        while self.connecting < self.plan.connecting
            && let Some((person, due)) = self.queue.pop_front()
        {
            self.connect(person, due);
        }
    }

    /// The WebSocket is open.
    pub(crate) fn opened(&mut self, person: u32, generation: u32, now: u64) {
        let state = &mut self.people[person as usize];
        let Line::Connecting { due } = state.line else { return };
        if state.generation != generation {
            return;
        }
        state.line = Line::LoggingIn;
        let token = state.token.clone();
        self.meters.record(Metric::Connect, due, now.saturating_sub(due));
        self.ask(person, Asked::Auth, &Request::Auth { token: &token }, now);
    }

    /// The connection ended, or could not be opened.
    pub(crate) fn closed(&mut self, person: u32, generation: u32, ending: Ending, now: u64) {
        let state = &self.people[person as usize];
        if state.generation != generation || matches!(state.line, Line::Away | Line::Lost) {
            return;
        }
        let (name, terminal) = match ending {
            Ending::Refused => ("connect_failed".to_owned(), false),
            Ending::Broken => ("connection_lost".to_owned(), false),
            Ending::Code(code) => (format!("close_{code}"), matches!(code, 1002 | 1003 | 1007..=1009) || code >= 4500),
        };
        self.meters.error(&name);
        if self.stage == Stage::Arriving && terminal {
            self.fatal.get_or_insert(format!("the server closed the connection of {} with {name}", self.directory.user(person)));
        }
        self.hang_up(person);
        if terminal {
            self.people[person as usize].line = Line::Lost;
            if self.stage == Stage::Running && self.plan.scenario.is_storm() {
                self.look_whether_storm_is_over(now);
            }
            return;
        }
        let state = &mut self.people[person as usize];
        let pause = (FIRST_PAUSE_NS << state.failures.min(10)).min(LAST_PAUSE_NS);
        state.failures += 1;
        let again = now + self.random.u64(0..pause);
        self.timers.push(again, Action::Connect { person });
    }

    /// A person's connection is gone, whoever ended it: what had no answer is kept to be sent again.
    pub(super) fn hang_up(&mut self, person: u32) {
        let state = &mut self.people[person as usize];
        match std::mem::replace(&mut state.line, Line::Away) {
            Line::Here => self.here -= 1,
            Line::Connecting { .. } | Line::LoggingIn => self.set_up_next(),
            Line::Away | Line::Lost => {}
        }
        let state = &mut self.people[person as usize];
        let mut unanswered: Vec<(u64, u32)> =
            state.pending.drain().filter_map(|(_, pending)| message_of(pending.asked)).collect();
        unanswered.sort_unstable();
        state.unsent.extend(unanswered);
        for index in 0..state.memberships.len() as u32 {
            let membership = &mut self.people[person as usize].memberships[index as usize];
            membership.typing_since = None;
            membership.marks = false;
            membership.step = match membership.step {
                Step::Outside | Step::Entering => Step::Outside,
                Step::Member | Step::Joining | Step::Joined => Step::Member,
            };
            let place = self.place(person, index);
            self.verifier.gone(place);
        }
    }

    /// The reply to `auth`.
    pub(super) fn logged_in(
        &mut self,
        person: u32,
        envelope: &Envelope<'_>,
        sent_at: u64,
        now: u64,
    ) -> Result<(), serde_json::Error> {
        let welcome: Welcome<'_> = envelope.payload()?;
        self.meters.record(Metric::Auth, sent_at, now - sent_at);
        self.meters.count_once(|counts| counts.connects += 1);
        if let Some(limits) = &welcome.limits {
            self.typing_lease_ms = limits.typing_lease_ms;
        }
        if self.epoch.as_deref() != Some(&*welcome.epoch) {
            self.epoch = Some(Rc::from(&*welcome.epoch));
        }
        let state = &mut self.people[person as usize];
        state.line = Line::Here;
        state.failures = 0;
        self.here += 1;
        self.set_up_next();
        for membership in 0..self.people[person as usize].memberships.len() as u32 {
            self.step_in(person, membership, now);
        }
        if self.stage == Stage::Running && self.plan.behaviour.pages_every.is_some() {
            self.ask(person, Asked::List, &Request::LoadConversations, now);
        }
        Ok(())
    }

    /// Takes the next step of a person into a conversation, if it can be taken now.
    pub(super) fn step_in(&mut self, person: u32, index: u32, now: u64) {
        let state = &self.people[person as usize];
        if state.line != Line::Here {
            return;
        }
        let membership = &state.memberships[index as usize];
        let (conversation, slot) = (membership.conversation, membership.slot);
        let entry = &self.directory.conversations[conversation as usize];
        match (membership.step, &entry.id) {
            (Step::Outside, None) if slot == 0 => self.found(person, index, now),
            (Step::Outside, Some(_)) if slot as usize > MAX_NAMED_MEMBERS => {
                let Some(invite) = entry.invite.clone() else {
                    self.fatal.get_or_insert("the reply to create_group has no inviteCode".to_owned());
                    return;
                };
                self.people[person as usize].memberships[index as usize].step = Step::Entering;
                self.ask(person, Asked::Enter { membership: index }, &Request::JoinGroup { invite: &invite }, now);
            }
            (Step::Outside, Some(_)) | (Step::Member, Some(_)) => self.join(person, index, now),
            _ => {}
        }
    }

    fn found(&mut self, person: u32, index: u32, now: u64) {
        let membership = &mut self.people[person as usize].memberships[index as usize];
        membership.step = Step::Entering;
        let entry = &self.directory.conversations[membership.conversation as usize];
        let members: Vec<String> =
            entry.members[1..].iter().take(MAX_NAMED_MEMBERS).map(|member| self.directory.user(*member).to_owned()).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let request = match entry.direct {
            true => Request::CreateConversation { members: &members },
            false => Request::CreateGroup { name: "loadgen", members: &members },
        };
        self.ask(person, Asked::Enter { membership: index }, &request, now);
    }

    fn join(&mut self, person: u32, index: u32, now: u64) {
        let place = self.place(person, index);
        let state = &mut self.people[person as usize];
        state.memberships[index as usize].step = Step::Joining;
        let after = self.verifier.position(place).filter(|_| !state.forgetful);
        let id = self.directory.id_of(place.conversation).to_owned();
        // Of when the position was reached: whether it is still the server's is for the server to say.
        let epoch = state.memberships[index as usize].epoch.clone().unwrap_or_else(|| Rc::from(""));
        let since = after.map(|seq| Since { epoch: &epoch, seq });
        self.ask(person, Asked::Join { membership: index, after }, &Request::Join { conversation: &id, since }, now);
    }

    /// The reply to `create_conversation`, `create_group` or `join_group`.
    pub(super) fn entered(
        &mut self,
        person: u32,
        index: u32,
        envelope: &Envelope<'_>,
        now: u64,
    ) -> Result<(), serde_json::Error> {
        let founded: Founded<'_> = envelope.payload()?;
        let membership = &mut self.people[person as usize].memberships[index as usize];
        membership.step = Step::Member;
        let (conversation, slot) = (membership.conversation, membership.slot);
        if slot > 0 {
            self.step_in(person, index, now);
            return Ok(());
        }
        self.directory.founded(conversation, &founded.conversation.id, founded.invite_code.as_deref());
        for member in self.directory.conversations[conversation as usize].members.clone() {
            if let Some(index) = self.people[member as usize].membership_index(conversation) {
                self.step_in(member, index, now);
            }
        }
        Ok(())
    }

    /// The reply to `join_conversation`.
    pub(super) fn joined(
        &mut self,
        person: u32,
        (index, after): (u32, Option<u64>),
        envelope: &Envelope<'_>,
        sent_at: u64,
        now: u64,
    ) -> Result<(), serde_json::Error> {
        let joined: Joined<'_> = envelope.payload()?;
        let events: Vec<Event> = joined.events.iter().map(|event| self.logged(event)).collect::<Result<_, _>>()?;
        let place = self.place(person, index);
        let membership = &mut self.people[person as usize].memberships[index as usize];
        let same_epoch = membership.epoch.as_deref() == Some(&*joined.epoch);
        membership.epoch = Some(Rc::from(&*joined.epoch));
        if self.epoch.as_deref() != Some(&*joined.epoch) {
            let what = "the join reply has another epoch than the reply to auth".to_owned();
            self.verifier.unrecovered(place, joined.head, what, now, &self.directory);
        }
        match after {
            Some(_) if joined.recovered => self.verifier.resumed(place, joined.head, &events, now, &self.directory),
            _ => self.verifier.joined(place, joined.head, &events, now, &self.directory),
        }
        if after.is_none() {
            self.meters.record(Metric::Join, sent_at, now - sent_at);
        }
        let lease = u64::from(self.typing_lease_ms) * MILLISECOND;
        for typist in &joined.typing {
            self.typing_seen(person, place, typist, lease, now);
        }
        for event in joined.events.iter().filter(|event| &*event.kind == "message_created") {
            self.check_message(place, &serde_json::from_str(event.payload.get())?, now);
        }
        let membership = &mut self.people[person as usize].memberships[index as usize];
        membership.step = Step::Joined;
        membership.newest = joined.head;
        if membership.oldest == 0 {
            membership.oldest = joined.head + 1;
        }
        match after {
            Some(after) if !joined.recovered => {
                self.meters.count_once(|counts| counts.reloads += 1);
                if same_epoch && after < joined.head {
                    self.people[person as usize].memberships[index as usize].missed = Some((after, joined.head));
                }
            }
            _ => {}
        }
        self.catch_up(person, index, now);
        self.look_whether_settled(person, now);
        Ok(())
    }

    /// Loads what was missed where it was too much to resume, also when the connection broke in the middle of it.
    pub(super) fn catch_up(&mut self, person: u32, membership: u32, now: u64) {
        let state = &self.people[person as usize].memberships[membership as usize];
        let Some((after, _)) = state.missed.filter(|_| state.step == Step::Joined) else { return };
        let id = self.directory.id_of(self.place(person, membership).conversation).to_owned();
        let request = Request::LoadMessages { conversation: &id, before: None, after: Some(after), limit: CATCH_UP_PAGE };
        self.ask(person, Asked::CatchUp { membership }, &request, now);
    }

    /// After each step of a person: they may be complete now, and so may everybody.
    pub(super) fn look_whether_settled(&mut self, person: u32, now: u64) {
        let state = &mut self.people[person as usize];
        if !state.is_settled() {
            return;
        }
        state.forgetful = false;
        if let Some(since) = state.returning_since.take() {
            self.meters.record(Metric::Recovery, since, now.saturating_sub(since));
            self.meters.count(since, |counts| counts.recoveries += 1);
        }
        self.send_unsent(person, now);
        match self.stage {
            Stage::Arriving => {
                if self.all_settled() {
                    self.stage = Stage::Ready;
                }
            }
            Stage::Running if self.plan.scenario.is_storm() => self.look_whether_storm_is_over(now),
            Stage::Ready | Stage::Running | Stage::Draining => {}
        }
    }

    /// Sends again what has no answer, under the same ids.
    fn send_unsent(&mut self, person: u32, now: u64) {
        for (number, attempt) in std::mem::take(&mut self.people[person as usize].unsent) {
            self.send_number(person, number, attempt + 1, now);
        }
    }

    /// A durable reply to a message.
    pub(super) fn acknowledged(
        &mut self,
        person: u32,
        number: u64,
        envelope: &Envelope<'_>,
        now: u64,
    ) -> Result<(), serde_json::Error> {
        let reply: Acknowledged<'_> = envelope.payload()?;
        let Some(sent) = self.sends.at(number).copied() else { return Ok(()) };
        self.meters.record(Metric::Ack, sent.due, now.saturating_sub(sent.due));
        self.meters.record(Metric::AckService, sent.due, now.saturating_sub(sent.sent_at));
        self.meters.count(now, |counts| counts.acked += 1);
        let event = self.event_of(&reply.message);
        if let Some(membership) = self.people[person as usize].membership_of(sent.conversation) {
            let place = Place { conversation: membership.conversation, slot: membership.slot };
            if event.kind == EventKind::Message(number) {
                self.verifier.acked(place, event, now, &self.directory);
                self.check_message(place, &reply.message, now);
            } else {
                self.verifier.wrong_ack(place, event.seq, "the reply is about another message", now, &self.directory);
            }
        }
        if self.plan.closed_loop && self.stage == Stage::Running {
            self.send_next(person, now);
        }
        Ok(())
    }
}

fn message_of(asked: Asked) -> Option<(u64, u32)> {
    match asked {
        Asked::Message { number, attempt } => Some((number, attempt)),
        Asked::Auth | Asked::Enter { .. } | Asked::Join { .. } | Asked::Typing | Asked::MarkRead => None,
        Asked::Page { .. } | Asked::CatchUp { .. } | Asked::Probe { .. } | Asked::List => None,
    }
}
