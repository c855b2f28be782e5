//! One conversation: its log as far as anybody saw it, and each member's position in it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::typing::TypingView;
use super::{Checked, Fault};

/// How many of the newest places of a log are kept for comparison between members.
const MAX_ENTRIES: usize = 8_192;
/// How many of the latest events a join brings that does not resume: PROTOCOL.md's default.
const LATEST_EVENTS: u64 = 50;
/// How many events of a member are shown around a breach.
const AROUND: usize = 6;

/// What a log event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A message of this run, by its number.
    Message(u64),
    /// A message of somebody else.
    OtherMessage,
    /// `member_joined`.
    Joined,
    /// `member_left`.
    Left,
}

/// A log event, as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its place.
    pub(crate) seq: u64,
    /// A hash of the message's id, or of the member: enough to tell two events apart.
    pub(crate) identity: u64,
    /// What it is.
    pub(crate) kind: EventKind,
}

impl Event {
    /// An event that `id` (and its kind) tells from every other.
    pub(crate) fn new(seq: u64, id: &str, kind: EventKind) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        matches!(kind, EventKind::Joined).hash(&mut hasher);
        matches!(kind, EventKind::Left).hash(&mut hasher);
        Self { seq, identity: hasher.finish(), kind }
    }

    const fn is_message(&self) -> bool {
        matches!(self.kind, EventKind::Message(_) | EventKind::OtherMessage)
    }
}

/// One member's view.
#[derive(Debug, Default)]
struct View {
    /// The newest seq they have; `None` before their first join.
    position: Option<u64>,
    /// Whether they are connected and have joined.
    live: bool,
    typing: TypingView,
    recent: VecDeque<Event>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Seq of the first of `entries`; they are dense. An unseen place is `None`.
    first: u64,
    entries: VecDeque<Option<Event>>,
    /// Newest place that was acknowledged.
    acked: u64,
    /// Newest place that anybody has seen, or is known to exist.
    head: u64,
    views: Vec<View>,
}

impl Ledger {
    /// Of a conversation with that many members.
    pub(crate) fn new(members: usize) -> Self {
        let views = (0..members).map(|_| View::default()).collect();
        Self { first: 1, entries: VecDeque::new(), acked: 0, head: 0, views }
    }

    fn view(&mut self, slot: u32) -> &mut View {
        &mut self.views[slot as usize]
    }

    /// The member's indicators.
    pub(crate) fn typing(&mut self, slot: u32) -> &mut TypingView {
        &mut self.view(slot).typing
    }

    /// The member's position.
    pub(crate) fn position(&self, slot: u32) -> Option<u64> {
        self.views[slot as usize].position
    }

    /// Whether anything was ever seen or acknowledged here.
    pub(crate) fn was_used(&self) -> bool {
        self.head > 0
    }

    /// A join without resuming: `events` are the latest and end at `head`.
    pub(crate) fn join(&mut self, slot: u32, head: u64, events: &[Event]) -> Checked {
        let start = head.saturating_sub(events.len() as u64);
        let too_few = (events.len() as u64) < head.min(LATEST_EVENTS);
        let view = self.view(slot);
        *view = View { position: Some(head), live: true, ..View::default() };
        self.head = self.head.max(head);
        for (expected, event) in (start + 1..).zip(events) {
            if event.seq != expected {
                let what = format!(
                    "the join reply's events should end at its head {head} without a gap, but seq {} is where {expected} belongs",
                    event.seq
                );
                return Err(Fault::new("gap", expected, what));
            }
            self.compare(*event)?;
        }
        if too_few {
            let what = format!("the join reply has {} events where the latest {LATEST_EVENTS} up to {head} belong", events.len());
            return Err(Fault::new("unrecovered", start, what));
        }
        Ok(())
    }

    /// A join that resumed; its events follow.
    pub(crate) fn resume(&mut self, slot: u32) {
        let view = self.view(slot);
        view.live = true;
        view.typing.clear();
    }

    /// After the events of a resumed join: they must have led to `head`.
    pub(crate) fn settle(&mut self, slot: u32, head: u64) -> Checked {
        let position = self.view(slot).position.unwrap_or(0);
        self.head = self.head.max(head);
        if position == head {
            return Ok(());
        }
        self.view(slot).position = Some(head);
        let what = format!("the join reply says recovered with head {head}, but its events lead to seq {position}");
        Err(Fault::new("unrecovered", position + 1, what))
    }

    /// The connection is gone.
    pub(crate) fn leave(&mut self, slot: u32) {
        let view = self.view(slot);
        view.live = false;
        view.typing.clear();
    }

    /// An event that the member got, live or while resuming.
    pub(crate) fn observe(&mut self, slot: u32, event: Event) -> Checked {
        let view = self.view(slot);
        if !view.live {
            return Err(Fault::new("foreign", event.seq, "a log event of a conversation that this connection has not joined"));
        }
        let position = view.position.unwrap_or(0);
        let placed = place_after(position, event, view.recent.back());
        if view.recent.len() == AROUND {
            view.recent.pop_front();
        }
        view.recent.push_back(event);
        view.position = Some(position.max(event.seq));
        placed?;
        self.compare(event)
    }

    /// A durable reply.
    pub(crate) fn acknowledge(&mut self, event: Event) -> Checked {
        if event.seq == 0 {
            return Err(Fault::new("wrong_ack", 0, "the reply names seq 0, and logs begin at 1"));
        }
        self.acked = self.acked.max(event.seq);
        self.compare(event).map_err(|fault| Fault { kind: "wrong_ack", ..fault })
    }

    /// A page of messages after `after`, of a log that had `head` at least: every message known to be there must be on it.
    pub(crate) fn check_page(&mut self, after: u64, head: u64, page: &[Event], has_more: bool) -> Checked {
        let mut last = after;
        for event in page {
            if event.seq <= last {
                let what = format!("the page after seq {after} has seq {} after seq {last}", event.seq);
                return Err(Fault::new("unrecovered", event.seq, what));
            }
            last = event.seq;
            self.compare(*event)?;
        }
        let end = if has_more { last } else { head };
        let known = self.entries.iter().flatten().filter(|known| known.seq > after && known.seq <= end);
        let left_out = known.filter(|known| known.is_message()).find(|known| !page.iter().any(|event| event.seq == known.seq));
        left_out.map_or(Ok(()), |event| {
            Err(Fault::new(
                "unrecovered",
                event.seq,
                format!("the page after seq {after} leaves out the message at seq {}", event.seq),
            ))
        })
    }

    /// Members who have to ask the server about an indicator.
    pub(crate) fn needing_probes(&mut self, now: u64) -> Vec<u32> {
        let views = (0u32..).zip(&mut self.views).filter(|(_, view)| view.live);
        views.filter_map(|(slot, view)| view.typing.needs_probe(now).then_some(slot)).collect()
    }

    /// A page of the messages before `before`: every message known to be there must be on it, from its first on or, where there is no
    /// more, from the beginning.
    pub(crate) fn check_history(&mut self, before: u64, page: &[Event], has_more: bool) -> Checked {
        let from = if has_more { page.first().map_or(before, |event| event.seq) } else { 1 };
        let what = |seq, what: &str| Fault::new("unrecovered", seq, format!("the page before seq {before} {what} seq {seq}"));
        for pair in page.windows(2) {
            if pair[1].seq <= pair[0].seq {
                return Err(what(pair[1].seq, "is not in order at"));
            }
        }
        if let Some(event) = page.last().filter(|event| event.seq >= before) {
            return Err(what(event.seq, "has what is not before it, at"));
        }
        for event in page {
            self.compare(*event)?;
        }
        if page.is_empty() && has_more {
            return Err(what(before, "is empty although there is more before"));
        }
        let mut known =
            self.entries.iter().flatten().filter(|known| known.seq >= from && known.seq < before && known.is_message());
        let left_out = known.find(|known| page.binary_search_by_key(&known.seq, |event| event.seq).is_err());
        left_out.map_or(Ok(()), |event| Err(what(event.seq, "leaves out the message at")))
    }

    /// Members whose indicators are stuck, with the typist.
    pub(crate) fn stuck_typing(&mut self, now: u64) -> Vec<(u32, u32)> {
        let views = (0u32..).zip(&mut self.views).filter(|(_, view)| view.live);
        views.flat_map(|(slot, view)| view.typing.take_stuck(now).into_iter().map(move |typist| (slot, typist))).collect()
    }

    /// Takes all indicators off.
    pub(crate) fn forget_typing(&mut self) {
        self.views.iter_mut().for_each(|view| view.typing.clear());
    }

    /// Whether every connected member has seen everything that is known to exist.
    pub(crate) fn is_settled(&self) -> bool {
        self.views.iter().all(|view| !view.live || view.position.is_none_or(|position| position >= self.head.max(self.acked)))
    }

    /// Members who have not seen what was acknowledged: slot, position, newest acknowledged place.
    pub(crate) fn missing(&self) -> Vec<(u32, u64, u64)> {
        let behind = |(slot, view): (u32, &View)| {
            // Who never came back is told of as an error of its own.
            let position = view.position.filter(|_| view.live)?;
            (position < self.acked).then_some((slot, position, self.acked))
        };
        (0u32..).zip(&self.views).filter_map(behind).collect()
    }

    /// The member's last events, for people.
    pub(crate) fn around(&self, slot: u32) -> Vec<String> {
        let name = |event: &Event| match event.kind {
            EventKind::Message(number) => format!("seq {} message {number} of this run", event.seq),
            EventKind::OtherMessage => format!("seq {} message of another run", event.seq),
            EventKind::Joined => format!("seq {} member_joined", event.seq),
            EventKind::Left => format!("seq {} member_left", event.seq),
        };
        self.views[slot as usize].recent.iter().map(name).collect()
    }

    /// What two members see at one place must be the same.
    fn compare(&mut self, event: Event) -> Checked {
        self.head = self.head.max(event.seq);
        let Some(offset) = event.seq.checked_sub(self.first) else { return Ok(()) };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if offset >= MAX_ENTRIES {
            let forget = (offset - MAX_ENTRIES + 1).min(self.entries.len());
            self.entries.drain(..forget);
            self.first = event.seq - MAX_ENTRIES as u64 + 1;
        }
        let offset = (event.seq - self.first) as usize;
        if self.entries.len() <= offset {
            self.entries.resize(offset + 1, None);
        }
        match self.entries[offset] {
            None => {
                self.entries[offset] = Some(event);
                Ok(())
            }
            Some(known) if known.identity == event.identity => Ok(()),
            Some(_) => Err(Fault::new("order", event.seq, "another event than others saw at this seq")),
        }
    }
}

/// Whether `event` may follow `position`.
fn place_after(position: u64, event: Event, last: Option<&Event>) -> Checked {
    let seq = event.seq;
    if seq == position + 1 {
        return Ok(());
    }
    if seq > position + 1 {
        return Err(Fault::new("gap", position + 1, format!("seq {} was expected, seq {seq} came", position + 1)));
    }
    if last.is_some_and(|last| last.seq == seq) {
        return Err(Fault::new("repeat", seq, format!("seq {seq} came twice in a row")));
    }
    Err(Fault::new("inversion", seq, format!("seq {seq} came although seq {position} was there already")))
}
