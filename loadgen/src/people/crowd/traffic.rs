//! What people do once they are there: compose, write, read, page back, look away, drop out.

use super::super::plan::SECOND;
use super::super::scenario::Scenario;
use super::super::sends::Sent;
use super::super::wire::Request;
use super::{Action, Asked, Crowd, HEARTBEAT_NS, Line, Output, Place, SWEEP_NS, Stage, Step};

/// How often a client says again that its user types, as PROTOCOL.md asks.
const TYPING_REPEAT_NS: u64 = 3 * SECOND;
/// How often somebody else is picked when the first is busy, at random; then it is whoever is next.
const PICKS: usize = 8;
/// A look for stuck indicators that is later than this says nothing.
const MAX_SWEEP_LAG_NS: u64 = SECOND;
/// How long a drop waits for somebody who is busy.
const BUSY_PAUSE_NS: u64 = SECOND / 10;
/// Messages of a page of history.
const HISTORY_PAGE: u32 = 50;
/// What messages are filled up with.
const FILLER: &str = " and so on, as people do when they have much to say and the time to say it,";

impl Crowd {
    pub(super) fn begin_traffic(&mut self, start: u64) {
        let behaviour = self.plan.behaviour;
        for person in 0..self.people.len() as u32 {
            let habits = [
                (behaviour.pages_every, Action::Page { person }),
                (behaviour.idles_every, Action::Idle { person }),
                (behaviour.drops_every, Action::Drop { person }),
            ];
            for (every, action) in habits {
                if let Some(mean) = every {
                    let due = self.sometime_after(start, mean);
                    self.timers.push(due, action);
                }
            }
            if self.plan.closed_loop && self.plan.scenario.writes() {
                self.timers.push(start, Action::Send { person, membership: 0 });
            }
        }
        if !self.plan.closed_loop && !self.people.is_empty() && self.arrivals_a_second() > 0.0 {
            let first = self.sometime_after(start, 1.0 / self.arrivals_a_second());
            self.timers.push(first, Action::Arrival);
        }
    }

    /// How often somebody begins something: as often as messages are asked for, and as those that are given up.
    fn arrivals_a_second(&self) -> f64 {
        let rate = self.part.share_of(self.plan.rate.unwrap_or(0.0), &self.plan);
        if self.plan.scenario.writes() { rate / (1.0 - self.plan.behaviour.abandons) } else { rate }
    }

    pub(super) fn act(&mut self, action: Action, due: u64, now: u64) {
        match action {
            Action::Connect { person } => {
                let state = &mut self.people[person as usize];
                if self.stage != Stage::Arriving
                    && state.line == Line::Away
                    && state.returning_since.is_none()
                    && !state.forgetful
                {
                    state.returning_since = Some(due);
                }
                self.connect(person, due);
            }
            Action::Arrival => self.arrival(due, now),
            Action::TypeOn { person, membership, send_at, sends } => self.type_on(person, membership, send_at, sends, due, now),
            Action::Send { person, membership } => self.write(person, membership, due, now),
            Action::Resend { person, number, attempt } => self.send_number(person, number, attempt, now),
            Action::MarkRead { person, membership } => self.mark_read(person, membership, now),
            Action::Page { person } => self.page_back(person, due, now),
            Action::Idle { person } => self.look_away(person, due, now),
            Action::Drop { person } => self.drop_out(person, due, now),
            Action::Leave { person } => {
                if self.people[person as usize].line != Line::Lost {
                    self.disconnect(person, true);
                }
            }
            Action::Rejoin { person, membership } => self.step_in(person, membership, now),
            Action::CatchUp { person, membership } => self.catch_up(person, membership, now),
            Action::Sweep => {
                // Who looks late has not read what came meanwhile, either: that is no fault of the server's.
                if now - due > MAX_SWEEP_LAG_NS {
                    self.verifier.forget_typing();
                }
                self.verifier.check_typing(now, &self.directory);
                for place in self.verifier.needing_probes(now) {
                    self.probe(place, now);
                }
                self.timers.push(now + SWEEP_NS, Action::Sweep);
            }
            Action::Heartbeat => {
                self.record_lag(due, now);
                self.timers.push(now + HEARTBEAT_NS, Action::Heartbeat);
            }
        }
    }

    /// Somebody has something to say.
    fn arrival(&mut self, due: u64, now: u64) {
        let next = self.sometime_after(due, 1.0 / self.arrivals_a_second());
        if next < self.meters.window().end {
            self.timers.push(next, Action::Arrival);
        }
        let (person, membership) = self.pick(now);
        match self.plan.behaviour.composing {
            Some(composing) => {
                let sends = self.plan.scenario != Scenario::Typing && self.random.f64() >= self.plan.behaviour.abandons;
                let send_at = self.after(due, composing);
                self.people[person as usize].memberships[membership as usize].composing += 1;
                self.type_on(person, membership, send_at, sends, due, now);
            }
            None => self.write(person, membership, due, now),
        }
    }

    /// Somebody who is there, not looking away, and not composing already. If all are busy, somebody who is there; if nobody is, anybody:
    /// what is due is due.
    fn pick(&mut self, now: u64) -> (u32, u32) {
        let people = self.people.len() as u32;
        let mut picked = (0, 0);
        for _ in 0..PICKS {
            let person = self.random.u32(0..people);
            let membership = self.random.u32(0..self.people[person as usize].memberships.len() as u32);
            picked = (person, membership);
            if self.is_free(person, membership, now) {
                return picked;
            }
        }
        let (first, membership) = picked;
        let others = (first..people).chain(0..first).map(|person| (person, membership));
        let is_here = |(person, _): &(u32, u32)| self.people[*person as usize].line == Line::Here;
        let free = others.clone().find(|(person, membership)| self.is_free(*person, *membership, now));
        free.or_else(|| others.clone().find(is_here)).unwrap_or(picked)
    }

    fn is_free(&self, person: u32, membership: u32, now: u64) -> bool {
        let state = &self.people[person as usize];
        state.line == Line::Here && state.idle_until <= now && state.memberships[membership as usize].composing == 0
    }

    /// Says that one types, and comes back to it: to say so again, to send, or to stop.
    fn type_on(&mut self, person: u32, index: u32, send_at: u64, sends: bool, due: u64, now: u64) {
        self.record_lag(due, now);
        if due >= send_at {
            self.people[person as usize].memberships[index as usize].composing -= 1;
            match sends {
                true => self.write(person, index, send_at, now),
                false => self.stop_typing(person, index, now),
            }
            return;
        }
        let next = (due + TYPING_REPEAT_NS).min(send_at);
        self.timers.push(next, Action::TypeOn { person, membership: index, send_at, sends });
        let state = &mut self.people[person as usize];
        let membership = &mut state.memberships[index as usize];
        if membership.step != Step::Joined {
            return;
        }
        if membership.typing_since.is_none() {
            (membership.typing_since, membership.typing_began) = (Some(due), due);
        }
        let id = self.directory.id_of(membership.conversation).to_owned();
        self.meters.count(due, |counts| counts.typing_sent += 1);
        self.ask(person, Asked::Typing, &Request::TypingStart { conversation: &id }, now);
    }

    fn stop_typing(&mut self, person: u32, index: u32, now: u64) {
        let state = &mut self.people[person as usize];
        let membership = &mut state.memberships[index as usize];
        if membership.typing_since.take().is_none() || state.line != Line::Here {
            return;
        }
        let id = self.directory.id_of(membership.conversation).to_owned();
        self.meters.count(now, |counts| counts.typing_sent += 1);
        self.ask(person, Asked::Typing, &Request::TypingStop { conversation: &id }, now);
    }

    pub(super) fn stop_typing_everywhere(&mut self, person: u32, now: u64) {
        for index in 0..self.people[person as usize].memberships.len() as u32 {
            self.stop_typing(person, index, now);
        }
    }

    /// Writes a message that was due at `due`.
    pub(super) fn write(&mut self, person: u32, index: u32, due: u64, now: u64) {
        self.record_lag(due, now);
        self.meters.count(due, |counts| counts.due += 1);
        let conversation = self.people[person as usize].memberships[index as usize].conversation;
        let number = self.sends.push(Sent { due, sent_at: now, conversation, sender: person, seq: 0, attempts: 0 });
        self.send_number(person, number, 1, now);
    }

    /// In a closed loop: the next message of a person, to the conversations in turn.
    pub(super) fn send_next(&mut self, person: u32, now: u64) {
        if now < self.meters.window().end {
            let membership = self.random.u32(0..self.people[person as usize].memberships.len() as u32);
            self.write(person, membership, now, now);
        }
    }

    /// Sends a message, or keeps it until its sender is back.
    pub(super) fn send_number(&mut self, person: u32, number: u64, attempt: u32, now: u64) {
        let Some(sent) = self.sends.at_mut(number) else { return };
        let state = &mut self.people[person as usize];
        let Some(membership) = state.memberships.iter_mut().find(|membership| membership.conversation == sent.conversation)
        else {
            return;
        };
        if state.line == Line::Lost {
            self.meters.error("sender_lost");
            return;
        }
        if membership.step != Step::Joined {
            state.unsent.push((number, attempt - 1));
            return;
        }
        membership.typing_since = None;
        let due = sent.due;
        sent.attempts = attempt;
        if attempt == 1 {
            sent.sent_at = now;
            self.meters.count(due, |counts| counts.sent += 1);
        }
        let conversation = self.directory.id_of(membership.conversation).to_owned();
        let client_message_id = self.sends.client_message_id(number);
        let content = content(&client_message_id, self.plan.content_chars as usize);
        let request = Request::Send { conversation: &conversation, content: &content, client_message_id: &client_message_id };
        self.ask(person, Asked::Message { number, attempt }, &request, now);
    }

    fn mark_read(&mut self, person: u32, index: u32, now: u64) {
        let state = &mut self.people[person as usize];
        let membership = &mut state.memberships[index as usize];
        membership.marks = false;
        if membership.step != Step::Joined || state.idle_until > now {
            return;
        }
        let (seq, id) = (membership.newest, self.directory.id_of(membership.conversation).to_owned());
        self.ask(person, Asked::MarkRead, &Request::MarkRead { conversation: &id, seq }, now);
    }

    /// Asks the server something, to see whether it is there.
    fn probe(&mut self, place: Place, now: u64) {
        let person = self.directory.conversations[place.conversation as usize].members[place.slot as usize];
        if let Some(membership) = self.people[person as usize].membership_index(place.conversation) {
            self.ask(person, Asked::Probe { membership }, &Request::Ping, now);
        }
    }

    fn page_back(&mut self, person: u32, due: u64, now: u64) {
        if let Some(mean) = self.plan.behaviour.pages_every {
            let next = self.sometime_after(due, mean);
            self.timers.push(next, Action::Page { person });
        }
        let state = &self.people[person as usize];
        let index = self.random.u32(0..state.memberships.len() as u32);
        let membership = &state.memberships[index as usize];
        if membership.step != Step::Joined || state.idle_until > now {
            return;
        }
        // At the beginning of the log one starts again from its end.
        let before = if membership.oldest > 1 { membership.oldest } else { membership.newest + 1 }.max(1);
        let id = self.directory.id_of(membership.conversation).to_owned();
        let request = Request::LoadMessages { conversation: &id, before: Some(before), after: None, limit: HISTORY_PAGE };
        self.ask(person, Asked::Page { membership: index, before }, &request, now);
    }

    fn look_away(&mut self, person: u32, due: u64, now: u64) {
        let until = self.after(now, self.plan.behaviour.idles_for);
        self.people[person as usize].idle_until = until;
        self.stop_typing_everywhere(person, now);
        if let Some(mean) = self.plan.behaviour.idles_every {
            let next = self.sometime_after(due.max(until), mean);
            self.timers.push(next, Action::Idle { person });
        }
    }

    fn drop_out(&mut self, person: u32, due: u64, now: u64) {
        // Whoever is in the middle of something loses the connection a little later: a message that waits for its sender to come back
        // would say nothing about the server.
        let state = &self.people[person as usize];
        let busy = state.memberships.iter().any(|membership| membership.composing > 0) || !state.pending.is_empty();
        if busy && self.stage == Stage::Running {
            self.timers.push(now + BUSY_PAUSE_NS, Action::Drop { person });
            return;
        }
        let back = self.after(now, self.plan.behaviour.away_for);
        if let Some(mean) = self.plan.behaviour.drops_every {
            let next = self.sometime_after(due.max(back), mean);
            self.timers.push(next, Action::Drop { person });
        }
        if self.people[person as usize].is_settled() {
            let abruptly = self.random.bool();
            self.disconnect(person, abruptly);
            self.timers.push(back, Action::Connect { person });
        }
    }

    /// The person's own end of the connection.
    pub(super) fn disconnect(&mut self, person: u32, abruptly: bool) {
        self.hang_up(person);
        self.people[person as usize].generation += 1;
        self.outputs.push_back(Output::Close { person, abruptly });
    }
}

/// The text of a message: its id, filled up to `chars` characters.
pub(super) fn content(client_message_id: &str, chars: usize) -> String {
    let mut content = String::with_capacity(chars.max(client_message_id.len()));
    content.push_str(client_message_id);
    while content.len() < chars {
        let room = (chars - content.len()).min(FILLER.len());
        content.push_str(&FILLER[..room]);
    }
    content
}

/// Whether `content` is what [`content`] makes of that id.
pub(super) fn is_content(text: &str, client_message_id: &str, chars: usize) -> bool {
    let Some(rest) = text.strip_prefix(client_message_id) else { return false };
    let whole = text.len() == chars.max(client_message_id.len());
    whole && rest.as_bytes().chunks(FILLER.len()).all(|chunk| FILLER.as_bytes().starts_with(chunk))
}
