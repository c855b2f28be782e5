//! Holds what every client sees against what the server promises (PROTOCOL.md section 3). Pure: told of everything, asks nobody.
//!
//! The promises, and the kinds of [`Breach`] that say that one was broken:
//!
//! - `gap`, `repeat`, `inversion`: a connection's log events of a conversation do not go up by one.
//! - `order`: two members saw different events at one `seq`. `altered`: a message is not what was sent. `doubled`: one message has
//!   two places in a log. `wrong_ack`: the reply names another place than the event.
//! - `missing`: an acknowledged message was not seen by a member although they were connected and had time.
//! - `foreign`: an event of a conversation that the connection has not joined, or of somebody who is not in it; a message of another
//!   conversation in a reply or on a page.
//! - `unrecovered`: a resumed position did not lead to the head, a join named another history than `auth`, or a page left out what it
//!   should hold; so too when the end of each log is read once more after the run.
//! - `typing_stuck`: somebody's typing was announced, and its end was not, well after the lease.

mod ledger;
mod typing;

use crate::outcome::{Breach, Verified};
use ledger::Ledger;
pub(crate) use ledger::{Event, EventKind};

/// How many breaches are kept in full; the others are counted.
const MAX_DETAILS: usize = 20;

/// A member of a conversation, by indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which conversation.
    pub(crate) conversation: u32,
    /// Which of its members.
    pub(crate) slot: u32,
}

/// How to name things in what people read.
pub(crate) trait Names {
    /// A conversation's id.
    fn conversation(&self, index: u32) -> String;
    /// A user's id, of a member of a conversation.
    fn user(&self, place: Place) -> String;
}

/// Checks all conversations of one worker.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    ledgers: Vec<Ledger>,
    verified: Verified,
}

/// What a check came to: nothing, or the breach without names and time.
type Checked = Result<(), Fault>;

/// A broken promise before it has names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    kind: &'static str,
    seq: Option<u64>,
    what: String,
}

impl Fault {
    fn new(kind: &'static str, seq: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Self { kind, seq: seq.into(), what: what.into() }
    }
}

impl Verifier {
    /// Knows conversations with that many members each.
    pub(crate) fn new(members: impl Iterator<Item = usize>) -> Self {
        Self { ledgers: members.map(Ledger::new).collect(), verified: Verified::default() }
    }

    /// A first join, or one that could not resume: the member's position is `head` from now on, and `events` end there.
    pub(crate) fn joined(&mut self, place: Place, head: u64, events: &[Event], now: u64, names: &dyn Names) {
        let checked = self.ledger(place).join(place.slot, head, events);
        self.verified.events += events.len() as u64;
        self.note(place, checked, now, names);
    }

    /// A return: `events` are all that followed the member's position, and lead to `head`.
    pub(crate) fn resumed(&mut self, place: Place, head: u64, events: &[Event], now: u64, names: &dyn Names) {
        self.verified.recoveries += 1;
        self.ledger(place).resume(place.slot);
        for event in events {
            self.event(place, *event, now, names);
        }
        let checked = self.ledger(place).settle(place.slot, head);
        self.note(place, checked, now, names);
    }

    /// A page that follows the position `after` and ends before `head` where `has_more`: it holds every message of the log there.
    pub(crate) fn paged(
        &mut self,
        place: Place,
        (after, head): (u64, u64),
        page: &[Event],
        has_more: bool,
        now: u64,
        names: &dyn Names,
    ) {
        let checked = self.ledger(place).check_page(after, head, page, has_more);
        self.note(place, checked, now, names);
    }

    /// A live event.
    pub(crate) fn event(&mut self, place: Place, event: Event, now: u64, names: &dyn Names) {
        self.verified.events += 1;
        let checked = self.ledger(place).observe(place.slot, event);
        self.note(place, checked, now, names);
    }

    /// A durable reply: the message is at `event.seq`.
    pub(crate) fn acked(&mut self, place: Place, event: Event, now: u64, names: &dyn Names) {
        self.verified.acked += 1;
        let checked = self.ledger(place).acknowledge(event);
        self.note(place, checked, now, names);
    }

    /// A message that is not as it was sent.
    pub(crate) fn altered(&mut self, place: Place, seq: u64, what: &str, now: u64, names: &dyn Names) {
        self.note(place, Err(Fault::new("altered", seq, what)), now, names);
    }

    /// A message that has a second place.
    pub(crate) fn doubled(&mut self, place: Place, seq: u64, first: u64, now: u64, names: &dyn Names) {
        let what = format!("the message at seq {first} came again at seq {seq}");
        self.note(place, Err(Fault::new("doubled", seq, what)), now, names);
    }

    /// A return that was not whole.
    pub(crate) fn unrecovered(&mut self, place: Place, seq: u64, what: String, now: u64, names: &dyn Names) {
        self.note(place, Err(Fault::new("unrecovered", seq, what)), now, names);
    }

    /// Nobody is shown as typing any more, as far as is known here.
    pub(crate) fn forget_typing(&mut self) {
        self.ledgers.iter_mut().for_each(Ledger::forget_typing);
    }

    /// Something of a conversation that is not the user's.
    pub(crate) fn foreign(&mut self, conversation: &str, user: &str, what: String, now: u64) {
        self.keep(Breach {
            kind: "foreign".to_owned(),
            at_ms: now / 1_000_000,
            conversation: conversation.to_owned(),
            seq: None,
            user: user.to_owned(),
            what,
            around: Vec::new(),
        });
    }

    /// A connection is gone: nothing live comes on it any more, and its indicators are off.
    pub(crate) fn gone(&mut self, place: Place) {
        self.ledger(place).leave(place.slot);
    }

    /// Somebody's typing was announced, for `lease_ns`; whether it was not shown before.
    pub(crate) fn typing_started(&mut self, place: Place, typist: u32, lease_ns: u64, now: u64) -> bool {
        let new = self.ledger(place).typing(place.slot).started(typist, now + lease_ns);
        self.verified.typing += u64::from(new);
        new
    }

    /// Its end was.
    pub(crate) fn typing_stopped(&mut self, place: Place, typist: u32) {
        self.ledger(place).typing(place.slot).stopped(typist);
    }

    /// A message took so long to reach a member: past a second they were behind, and are promised no hints for a while.
    pub(crate) fn delayed(&mut self, place: Place, delay_ns: u64, now: u64) {
        self.ledger(place).typing(place.slot).delayed(delay_ns, now);
    }

    /// Members who have to ask the server something, because somebody is shown to them for too long.
    pub(crate) fn needing_probes(&mut self, now: u64) -> Vec<Place> {
        let ledgers = (0u32..).zip(&mut self.ledgers);
        let of = |(conversation, ledger): (u32, &mut Ledger)| {
            ledger.needing_probes(now).into_iter().map(move |slot| Place { conversation, slot }).collect::<Vec<_>>()
        };
        ledgers.flat_map(of).collect()
    }

    /// The server has answered such a member.
    pub(crate) fn probed(&mut self, place: Place, now: u64) {
        self.ledger(place).typing(place.slot).probed(now);
    }

    /// A page of history before `before`.
    pub(crate) fn looked_back(&mut self, place: Place, before: u64, page: &[Event], has_more: bool, now: u64, names: &dyn Names) {
        let checked = self.ledger(place).check_history(before, page, has_more);
        self.note(place, checked, now, names);
    }

    /// A reply that is not about the message that was sent.
    pub(crate) fn wrong_ack(&mut self, place: Place, seq: u64, what: &str, now: u64, names: &dyn Names) {
        self.note(place, Err(Fault::new("wrong_ack", seq, what)), now, names);
    }

    /// Looks for indicators that are on too long.
    pub(crate) fn check_typing(&mut self, now: u64, names: &dyn Names) {
        for conversation in 0..self.ledgers.len() as u32 {
            for (slot, typist) in self.ledgers[conversation as usize].stuck_typing(now) {
                let place = Place { conversation, slot };
                let typist = names.user(Place { conversation, slot: typist });
                let what = format!("{typist} is shown as typing although the lease has long ended");
                self.note(place, Err(Fault::new("typing_stuck", None, what)), now, names);
            }
        }
    }

    /// Whether every connected member has seen everything that is known to exist.
    pub(crate) fn is_settled(&self) -> bool {
        self.ledgers.iter().all(Ledger::is_settled)
    }

    /// The member's position, once they have joined.
    pub(crate) fn position(&self, place: Place) -> Option<u64> {
        self.ledgers[place.conversation as usize].position(place.slot)
    }

    /// The end: every member has had time to see every acknowledged message.
    pub(crate) fn finish(mut self, now: u64, names: &dyn Names) -> Verified {
        for conversation in 0..self.ledgers.len() as u32 {
            let missing = self.ledgers[conversation as usize].missing();
            for (slot, position, acked) in missing {
                let what = format!("seq {acked} was acknowledged, but this member saw nothing after seq {position}");
                self.note(Place { conversation, slot }, Err(Fault::new("missing", position + 1, what)), now, names);
            }
        }
        self.abandon()
    }

    /// The end before every member has had that time: nothing is missing yet.
    pub(crate) fn abandon(mut self) -> Verified {
        self.verified.conversations = self.ledgers.iter().filter(|ledger| ledger.was_used()).count() as u64;
        self.verified
    }

    /// How many breaches there are so far.
    pub(crate) fn breaches(&self) -> u64 {
        self.verified.breaches
    }

    fn ledger(&mut self, place: Place) -> &mut Ledger {
        &mut self.ledgers[place.conversation as usize]
    }

    fn note(&mut self, place: Place, checked: Checked, now: u64, names: &dyn Names) {
        let Err(Fault { kind, seq, what }) = checked else { return };
        let around = self.ledger(place).around(place.slot);
        self.keep(Breach {
            kind: kind.to_owned(),
            at_ms: now / 1_000_000,
            conversation: names.conversation(place.conversation),
            seq,
            user: names.user(place),
            what,
            around,
        });
    }

    fn keep(&mut self, breach: Breach) {
        self.verified.breaches += 1;
        if self.verified.details.len() < MAX_DETAILS {
            self.verified.details.push(breach);
        }
    }
}

#[cfg(test)]
mod tests;
