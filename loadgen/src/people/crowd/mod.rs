//! The people of one worker, as a pure state machine: it is told what their connections say and what time it is, and answers with
//! what to open, write and close. No sockets, no clock; all chance follows from the seed.
//!
//! `arrive.rs` brings everybody in and back, `traffic.rs` does what is due, `listen.rs` takes what the server says.

mod arrive;
mod directory;
mod listen;
mod meters;
mod person;
mod storm;
mod timers;
mod traffic;

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::plan::{MILLISECOND, Part, Plan};
use super::sends::Sends;
use super::verifier::{Place, Verifier};
use super::wire::Request;
use crate::outcome::{Metric, Verified};
use crate::tokens::Token;
use directory::Directory;
use listen::DEFAULT_TYPING_LEASE_MS;
use meters::Meters;
pub(crate) use meters::Tally;
use person::{Asked, Line, Membership, Person, Step};
use timers::{Action, Timers};

/// How often the tester looks how late it is.
const HEARTBEAT_NS: u64 = 10 * MILLISECOND;
/// How often stuck indicators are looked for.
const SWEEP_NS: u64 = 500 * MILLISECOND;
/// How many of the newest events of each conversation are read again at the end.
const READ_AGAIN: u64 = 1_000;
/// How many actions are carried out before connections are heard again.
const MAX_ACTIONS_PER_TURN: usize = 256;

/// What to do with a connection. Persons are indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Open a connection and say how that went, naming `generation`.
    Connect { person: u32, generation: u32 },
    /// Write a text message.
    Send { person: u32, text: String },
    /// Close it: with a close frame, or as if the cable was cut.
    Close { person: u32, abruptly: bool },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It could not be opened.
    Refused,
    /// It broke.
    Broken,
    /// The server closed it with this code.
    Code(u16),
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Everybody connects, founds and joins.
    Arriving,
    /// Everybody is there.
    Ready,
    /// People do what they do.
    Running,
    /// Nothing new; what is under way comes to its end.
    Draining,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Crowd {
    plan: Arc<Plan>,
    part: Part,
    random: fastrand::Rng,
    stage: Stage,
    people: Vec<Person>,
    directory: Directory,
    timers: Timers,
    sends: Sends,
    verifier: Verifier,
    meters: Meters,
    outputs: VecDeque<Output>,
    /// Connections being set up, and who waits for a place among them since when it was due.
    connecting: u32,
    queue: VecDeque<(u32, u64)>,
    /// How many are logged in.
    here: u64,
    storm_start: Option<u64>,
    storm_end: Option<u64>,
    /// Everybody before this one was settled when it was last looked.
    settled_before: usize,
    /// Which history the server's positions belong to, once it said so.
    epoch: Option<Rc<str>>,
    typing_lease_ms: u32,
    fatal: Option<String>,
}

impl Crowd {
    /// The people of a part, with their tokens in order.
    pub(crate) fn new(plan: Arc<Plan>, part: Part, tokens: Vec<Token>) -> Self {
        let mut random = fastrand::Rng::with_seed(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(part.worker));
        let mut directory = Directory::new(tokens.iter().map(|token| token.user.clone()).collect());
        let mut people: Vec<Person> = tokens.into_iter().map(|token| Person::new(token.text)).collect();
        for layer in 0..plan.memberships {
            let mut order: Vec<u32> = (0..people.len() as u32).collect();
            if layer > 0 {
                random.shuffle(&mut order);
            }
            for group in plan.sizes.cut(people.len() as u32, &mut random) {
                let members = order[group.start as usize..group.end as usize].to_vec();
                let direct = members.len() == 2 && layer == 0;
                let conversation = directory.add(members.clone(), direct);
                for (slot, person) in (0..).zip(members) {
                    people[person as usize].memberships.push(Membership {
                        conversation,
                        slot,
                        step: Step::Outside,
                        newest: 0,
                        marks: false,
                        oldest: 0,
                        composing: 0,
                        missed: None,
                        typing_since: None,
                        typing_began: 0,
                        epoch: None,
                    });
                }
            }
        }
        let verifier = Verifier::new(directory.conversations.iter().map(|conversation| conversation.members.len()));
        Self {
            sends: Sends::new(format!("{}-{}-", plan.run, part.worker)),
            plan,
            part,
            random,
            stage: Stage::Arriving,
            people,
            directory,
            timers: Timers::default(),
            verifier,
            meters: Meters::new(),
            outputs: VecDeque::new(),
            connecting: 0,
            queue: VecDeque::new(),
            here: 0,
            storm_start: None,
            storm_end: None,
            settled_before: 0,
            epoch: None,
            typing_lease_ms: DEFAULT_TYPING_LEASE_MS,
            fatal: None,
        }
    }

    /// What is to be done, one by one.
    pub(crate) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::advance`] is needed next.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.timers.next_due()
    }

    /// Carries out what is due; whether there is more.
    pub(crate) fn advance(&mut self, now: u64) -> bool {
        for _ in 0..MAX_ACTIONS_PER_TURN {
            let Some((due, action)) = self.timers.take_due(now) else { return false };
            self.act(action, due, now);
        }
        self.timers.next_due().is_some_and(|due| due <= now)
    }

    /// Everybody starts to arrive.
    pub(crate) fn arrive(&mut self, now: u64) {
        let rate = self.part.share_of(self.plan.connect_rate, &self.plan);
        for person in 0..self.people.len() as u32 {
            let due = now + (f64::from(person) / rate * 1e9) as u64;
            self.timers.push(due, Action::Connect { person });
        }
        if self.people.is_empty() {
            self.stage = Stage::Ready;
        }
    }

    /// Everybody is there, and nothing goes on yet.
    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// The run starts: traffic at `start`, measured in `window`.
    pub(crate) fn begin(&mut self, start: u64, window: Range<u64>, now: u64) {
        self.stage = Stage::Running;
        self.meters.open(window, self.plan.scenario.is_storm());
        self.timers.push(now, Action::Heartbeat);
        self.timers.push(now + SWEEP_NS, Action::Sweep);
        if self.people.is_empty() {
            self.storm_end = Some(start);
        } else if self.plan.scenario.is_storm() {
            self.begin_storm(start, now);
        } else {
            self.begin_traffic(start);
        }
    }

    /// No more sending; everybody comes back and takes what there is.
    pub(crate) fn stop(&mut self, now: u64) {
        self.stage = Stage::Draining;
        // A run that is cut short is measured up to here: what comes now counts as little as after a whole window.
        self.meters.end_window(now);
        self.read_again(now);
        self.timers.forget(|action| {
            !matches!(action, Action::Sweep | Action::Resend { .. } | Action::Rejoin { .. } | Action::Connect { .. })
        });
        for person in 0..self.people.len() as u32 {
            self.stop_typing_everywhere(person, now);
            if self.people[person as usize].line == Line::Away {
                self.timers.push(now, Action::Connect { person });
            }
        }
    }

    /// One member of each conversation reads the newest part of its log again: what was delivered live has to be in the store too.
    fn read_again(&mut self, now: u64) {
        for conversation in 0..self.directory.conversations.len() as u32 {
            let members = &self.directory.conversations[conversation as usize].members;
            let reader = members.iter().copied().find(|member| self.people[*member as usize].is_settled());
            let Some((person, index)) =
                reader.and_then(|person| Some((person, self.people[person as usize].membership_index(conversation)?)))
            else {
                continue;
            };
            let head = self.verifier.position(self.place(person, index)).unwrap_or(0);
            if head > 0 {
                let missed = Some((head.saturating_sub(READ_AGAIN), head));
                self.people[person as usize].memberships[index as usize].missed = missed;
                self.catch_up(person, index, now);
            }
        }
    }

    /// Nothing is under way any more.
    pub(crate) fn is_drained(&self) -> bool {
        let done = |person: &Person| {
            person.line == Line::Lost || person.is_settled() && person.pending.is_empty() && person.unsent.is_empty()
        };
        self.stage == Stage::Draining && self.people.iter().all(done) && self.verifier.is_settled() && !self.timers.any_resend()
    }

    /// When everybody was back, in a storm.
    pub(crate) fn storm_end(&self) -> Option<u64> {
        self.storm_end
    }

    /// What makes the run impossible, in a sentence.
    pub(crate) fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// How many people there are.
    pub(crate) fn people(&self) -> usize {
        self.people.len()
    }

    /// Connections that are logged in.
    pub(crate) fn here(&self) -> u64 {
        self.here
    }

    /// Broken promises so far.
    pub(crate) fn breaches(&self) -> u64 {
        self.verifier.breaches()
    }

    /// What happened since the last call.
    pub(crate) fn take_second(&mut self) -> Tally {
        self.meters.take_second()
    }

    /// The end: what was counted, and what the verifier says.
    pub(crate) fn finish(&mut self, now: u64) -> (Tally, Verified) {
        for person in 0..self.people.len() {
            for _ in 0..self.people[person].pending.len() + self.people[person].unsent.len() {
                self.meters.error("no_reply");
            }
            if !matches!(self.people[person].line, Line::Here | Line::Lost) {
                self.meters.error("never_returned");
            }
        }
        let verified = mem::take(&mut self.verifier).finish(now, &self.directory);
        (self.meters.take_total(), verified)
    }

    /// The same before what is under way has had its time to come to its end: that counts for nothing.
    pub(crate) fn abandon(&mut self) -> (Tally, Verified) {
        (self.meters.take_total(), mem::take(&mut self.verifier).abandon())
    }

    /// Whether everybody is complete. Looked at after every step of anybody, so it starts where it stopped the last time.
    fn all_settled(&mut self) -> bool {
        let complete = |person: &Person| person.is_settled() || person.line == Line::Lost;
        while self.people.get(self.settled_before).is_some_and(complete) {
            self.settled_before += 1;
        }
        if self.settled_before < self.people.len() {
            return false;
        }
        self.settled_before = self.people.iter().position(|person| !complete(person)).unwrap_or(self.people.len());
        self.settled_before == self.people.len()
    }

    /// Writes a request of a person who is connected.
    fn ask(&mut self, person: u32, asked: Asked, request: &Request<'_>, now: u64) {
        let id = self.people[person as usize].ask(asked, now);
        self.outputs.push_back(Output::Send { person, text: request.encode(id) });
    }

    fn place(&self, person: u32, membership: u32) -> Place {
        let membership = &self.people[person as usize].memberships[membership as usize];
        Place { conversation: membership.conversation, slot: membership.slot }
    }

    /// A point in time so many seconds after `now`: at least and at most.
    fn after(&mut self, now: u64, (least, most): (f64, f64)) -> u64 {
        now + ((least + self.random.f64() * (most - least)) * 1e9) as u64
    }

    /// A point in time after `now`, of something without memory that happens every `mean` seconds.
    fn sometime_after(&mut self, now: u64, mean: f64) -> u64 {
        let seconds = -mean * (1.0 - self.random.f64()).ln();
        now + (seconds * 1e9) as u64
    }

    fn record_lag(&mut self, due: u64, now: u64) {
        self.meters.record(Metric::Lag, due, now.saturating_sub(due));
    }
}

#[cfg(test)]
mod tests;
