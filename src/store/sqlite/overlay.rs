//! What is committed in the journal and not yet folded into the tables, by conversation. Pure: knows no SQL.
//!
//! A conversation that has something here has all of its tail here: the tables hold its log up to just before `first`, and
//! whatever this module says about its head, counts and members goes before what the tables say.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use super::super::message_of;
use super::staged::{Counters, Entry, Staged};
use crate::protocol::{ConversationId, IdTime, Message, Seq, UserId};

/// What a member's counters hold in the maps, in bytes, about.
const MEMBER_BYTES: usize = 128;

/// A conversation's tail.
#[derive(Debug)]
pub(super) struct Unfolded {
    pub(super) number: i64,
    pub(super) head: Seq,
    pub(super) messages: u64,
    /// The newest message, if it is in this tail.
    pub(super) last_message: Option<Arc<Message>>,
    /// Dense up to `head`, each with the journal row it came from.
    entries: VecDeque<(Entry, u64)>,
    /// Members whose counters the tables do not have yet.
    pub(super) members: HashMap<UserId, Counters>,
    /// The first journal row that is needed for this tail.
    since: u64,
}

impl Unfolded {
    /// The first seq that is here and not in the tables; just past the head when there is none.
    pub(super) fn first(&self) -> Seq {
        self.entries.front().map_or(self.head.next(), |(entry, _)| entry.event.seq())
    }

    /// When the newest message of the tail was created.
    pub(super) fn active_at(&self) -> Option<IdTime> {
        self.last_message.as_ref().map(|message| message.id.time())
    }

    /// The entries after `after`, ascending.
    pub(super) fn after(&self, after: Seq) -> impl Iterator<Item = &Entry> {
        let skipped = after.next().get().saturating_sub(self.first().get());
        self.entries.range((skipped as usize).min(self.entries.len())..).map(|(entry, _)| entry)
    }

    /// The entries before `before`, descending.
    pub(super) fn before(&self, before: Seq) -> impl Iterator<Item = &Entry> {
        let kept = before.get().saturating_sub(self.first().get());
        self.entries.range(..(kept as usize).min(self.entries.len())).rev().map(|(entry, _)| entry)
    }

    /// The entry at `seq`, if it is in the tail.
    pub(super) fn at(&self, seq: Seq) -> Option<&Entry> {
        let index = seq.get().checked_sub(self.first().get())?;
        self.entries.get(index as usize).map(|(entry, _)| entry)
    }
}

/// Part of a conversation's tail that goes into the tables next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) conversation: ConversationId,
    /// How many of its oldest entries.
    pub(super) entries: usize,
    /// Whose counters.
    pub(super) members: Vec<UserId>,
}

/// Everything that is not folded yet.
#[derive(Default)]
pub(super) struct Overlay {
    conversations: HashMap<ConversationId, Unfolded>,
    by_client_id: ClientIds,
    /// The same conversations by the first journal row that each needs: the oldest is folded first.
    by_age: BTreeSet<(u64, ConversationId)>,
    /// The journal's rows and their sizes, ascending.
    journal: VecDeque<(u64, usize)>,
    journal_bytes: usize,
    bytes: usize,
}

impl Overlay {
    /// Memory it holds, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Size of the journal.
    pub(super) fn journal_bytes(&self) -> usize {
        self.journal_bytes
    }

    /// Whether everything is folded and the journal is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.conversations.is_empty() && self.journal.is_empty()
    }

    /// A conversation's tail, if it has one.
    pub(super) fn tail(&self, conversation: ConversationId) -> Option<&Unfolded> {
        self.conversations.get(&conversation)
    }

    /// Every tail, in no order.
    pub(super) fn tails(&self) -> impl Iterator<Item = (ConversationId, &Unfolded)> {
        self.conversations.iter().map(|(id, tail)| (*id, tail))
    }

    /// The sender's message with that client message id, if it is in a tail.
    pub(super) fn by_client_id(&self, digest: i64, conversation: ConversationId, key: (&UserId, &str)) -> Option<&Arc<Message>> {
        self.by_client_id.find(digest, conversation, key)
    }

    /// Takes in what the commit of journal row `id` did.
    pub(super) fn publish(&mut self, id: u64, bytes: usize, batch: impl Iterator<Item = (ConversationId, Staged)>) {
        self.journal.push_back((id, bytes));
        self.journal_bytes += bytes;
        for (conversation, staged) in batch {
            self.publish_one(id, conversation, staged);
        }
    }

    fn publish_one(&mut self, id: u64, conversation: ConversationId, staged: Staged) {
        if !staged.is_journaled() && !self.conversations.contains_key(&conversation) {
            return;
        }
        let tail = self.conversations.entry(conversation).or_insert_with(|| {
            self.by_age.insert((id, conversation));
            let (number, head, messages) = (staged.number, staged.head, staged.messages);
            let (entries, members) = (VecDeque::new(), HashMap::new());
            Unfolded { number, head, messages, last_message: None, entries, members, since: id }
        });
        (tail.head, tail.messages) = (staged.head, staged.messages);
        for entry in staged.entries {
            self.bytes += entry.bytes();
            if let Some(message) = message_of(&entry.event) {
                tail.last_message = Some(Arc::clone(message));
                if let Some(digest) = entry.digest {
                    self.by_client_id.insert(digest, Arc::clone(message));
                }
            }
            tail.entries.push_back((entry, id));
        }
        for (user, counters) in staged.members {
            let before = match counters {
                Some(counters) => {
                    self.bytes += MEMBER_BYTES;
                    tail.members.insert(user, counters)
                }
                None => tail.members.remove(&user),
            };
            self.bytes -= if before.is_some() { MEMBER_BYTES } else { 0 };
        }
    }

    /// What to fold next, the oldest first, in at most `max_rows` rows.
    pub(super) fn plan(&self, max_rows: usize) -> Vec<Step> {
        let mut room = max_rows;
        let mut plan = Vec::new();
        for (_, conversation) in &self.by_age {
            if room == 0 {
                break;
            }
            let Some(tail) = self.conversations.get(conversation) else { continue };
            let entries = tail.entries.len().min(room);
            room -= entries;
            let members: Vec<UserId> = tail.members.keys().take(room).cloned().collect();
            // A conversation with nothing left but its place in the order costs a row too, so that the plan stays bounded.
            room = room.saturating_sub(members.len().max(1));
            plan.push(Step { conversation: *conversation, entries, members });
        }
        plan
    }

    /// The entries and counters of a step.
    pub(super) fn step<'a>(
        &'a self,
        step: &'a Step,
    ) -> Option<(&'a Unfolded, impl Iterator<Item = &'a Entry>, impl Iterator<Item = (&'a UserId, &'a Counters)>)> {
        let tail = self.conversations.get(&step.conversation)?;
        let entries = tail.entries.iter().take(step.entries).map(|(entry, _)| entry);
        let members = step.members.iter().filter_map(|user| tail.members.get_key_value(user));
        Some((tail, entries, members))
    }

    /// The journal rows before this one can go with `plan`: nothing needs them any more, and they are at most `max_rows`. Many
    /// become needless at once, when the last conversation that began in them is folded.
    pub(super) fn needless_before(&self, plan: &[Step], max_rows: usize) -> u64 {
        let needed = self.needed_after(plan).unwrap_or(u64::MAX);
        self.journal.get(max_rows).map_or(needed, |(id, _)| needed.min(*id))
    }

    /// The first journal row that is still needed once `plan` is folded; `None` when none is.
    fn needed_after(&self, plan: &[Step]) -> Option<u64> {
        let left = plan.iter().filter_map(|step| self.conversations.get(&step.conversation)?.since_after(step));
        // The plan is what comes first by age, so that what follows it needs no look.
        let next = self.by_age.iter().nth(plan.len()).map(|(since, _)| *since);
        left.chain(next).min()
    }

    /// Lets go of what `plan` brought into the tables, and of the journal rows before `needless_before`.
    pub(super) fn fold(&mut self, plan: &[Step], needless_before: u64) {
        let gone = self.journal.partition_point(|(id, _)| *id < needless_before);
        self.journal_bytes -= self.journal.drain(..gone).map(|(_, bytes)| bytes).sum::<usize>();
        for step in plan {
            let Some(tail) = self.conversations.get_mut(&step.conversation) else { continue };
            self.by_age.remove(&(tail.since, step.conversation));
            let since = tail.since_after(step);
            for (entry, _) in tail.entries.drain(..step.entries) {
                self.bytes -= entry.bytes();
                if let (Some(digest), Some(message)) = (entry.digest, message_of(&entry.event)) {
                    self.by_client_id.remove(digest, message);
                }
            }
            for user in &step.members {
                self.bytes -= if tail.members.remove(user).is_some() { MEMBER_BYTES } else { 0 };
            }
            match since {
                Some(since) => {
                    tail.since = since;
                    self.by_age.insert((since, step.conversation));
                }
                None => drop(self.conversations.remove(&step.conversation)),
            }
        }
    }
}

impl Unfolded {
    /// The first journal row needed for what `step` leaves of the tail; `None` when it leaves nothing.
    fn since_after(&self, step: &Step) -> Option<u64> {
        if step.members.len() < self.members.len() {
            // Which rows the counters left came from is not known, so all of them stay.
            return Some(self.since);
        }
        self.entries.get(step.entries).map(|(_, id)| *id)
    }
}

/// Messages by their sender's client message id.
#[derive(Default)]
pub(super) struct ClientIds(HashTable<(u64, Arc<Message>)>);

impl ClientIds {
    /// The digest is a good hash already; one client message id sent to many conversations shall not collide all the same.
    fn hash(digest: i64, conversation: ConversationId) -> u64 {
        let mut random_half = [0; 8];
        random_half.copy_from_slice(&conversation.as_bytes()[8..]);
        u64::from_be_bytes(random_half) ^ digest.cast_unsigned()
    }

    pub(super) fn insert(&mut self, digest: i64, message: Arc<Message>) {
        let hash = Self::hash(digest, message.conversation);
        self.0.insert_unique(hash, (hash, message), |(hash, _)| *hash);
    }

    pub(super) fn find(&self, digest: i64, conversation: ConversationId, (sender, id): (&UserId, &str)) -> Option<&Arc<Message>> {
        let same = |(_, message): &(u64, Arc<Message>)| {
            message.conversation == conversation && message.sender == *sender && message.client_message_id.as_deref() == Some(id)
        };
        self.0.find(Self::hash(digest, conversation), same).map(|(_, message)| message)
    }

    fn remove(&mut self, digest: i64, message: &Arc<Message>) {
        let hash = Self::hash(digest, message.conversation);
        if let Ok(found) = self.0.find_entry(hash, |(_, other)| Arc::ptr_eq(other, message)) {
            found.remove();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::{text_as, user};
    use super::*;
    use crate::protocol::LogEvent;

    const BODY: usize = 1_000;

    fn conversation(number: u8) -> ConversationId {
        ConversationId::from_bytes([number; 16])
    }

    /// Publishes journal row `id`: `entries` messages by ann in a conversation, after what it has.
    fn publish(overlay: &mut Overlay, id: u64, number: u8, entries: usize) {
        let (head, messages) = overlay.tail(conversation(number)).map_or((Seq::ZERO, 0), |tail| (tail.head, tail.messages));
        let mut staged = Staged::new(i64::from(number), head, messages);
        for _ in 0..entries {
            let client_id = format!("c-{}", staged.head.next());
            let message = text_as(conversation(number), "ann", &client_id, "hello").into_message(staged.head.next());
            staged.push(LogEvent::MessageCreated(Arc::new(message)), Some(7));
        }
        let sent = staged.messages;
        let counters = Counters { read_seq: Seq::ZERO, read_messages: 0, sent, read_sent: 0, last_sent_seq: staged.head };
        staged.members.insert(user("ann"), Some(counters));
        overlay.publish(id, BODY, [(conversation(number), staged)].into_iter());
    }

    fn fold(overlay: &mut Overlay, plan: &[Step]) {
        let needless = overlay.needless_before(plan, 99);
        overlay.fold(plan, needless);
    }

    fn seqs<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<u64> {
        entries.map(|entry| entry.event.seq().get()).collect()
    }

    fn at(seq: u64) -> Seq {
        Seq::new(seq).expect("a seq")
    }

    #[test]
    fn the_oldest_conversation_is_folded_first_and_in_bounded_steps() {
        let mut overlay = Overlay::default();
        publish(&mut overlay, 1, 2, 3);
        publish(&mut overlay, 2, 1, 3);
        publish(&mut overlay, 3, 2, 3);
        let plan = overlay.plan(4);
        assert_eq!(plan, [Step { conversation: conversation(2), entries: 4, members: vec![] }]);
        assert_eq!(overlay.needed_after(&plan), Some(1), "ann's counters are still to come");
        fold(&mut overlay, &plan);
        let plan = overlay.plan(5);
        let ann = || vec![user("ann")];
        assert_eq!(plan[0], Step { conversation: conversation(2), entries: 2, members: ann() });
        assert_eq!(plan[1], Step { conversation: conversation(1), entries: 2, members: vec![] });
        assert_eq!(overlay.needed_after(&plan), Some(2));
        fold(&mut overlay, &plan);
        assert_eq!(overlay.journal_bytes(), 2 * BODY);
        let plan = overlay.plan(99);
        assert_eq!(plan, [Step { conversation: conversation(1), entries: 1, members: ann() }]);
        assert_eq!(overlay.needed_after(&plan), None);
        fold(&mut overlay, &plan);
        assert!(overlay.is_empty());
        assert_eq!((overlay.bytes(), overlay.journal_bytes()), (0, 0));
        assert!(overlay.by_age.is_empty() && overlay.by_client_id.0.is_empty());
    }

    #[test]
    fn a_conversation_folded_in_part_is_as_old_as_what_is_left() {
        let mut overlay = Overlay::default();
        publish(&mut overlay, 1, 1, 2);
        publish(&mut overlay, 2, 2, 1);
        publish(&mut overlay, 3, 1, 2);
        // Both of row 1, one of row 3, and the counters.
        let step = Step { conversation: conversation(1), entries: 3, members: vec![user("ann")] };
        fold(&mut overlay, &[step]);
        assert_eq!(overlay.plan(1)[0].conversation, conversation(2));
        let tail = overlay.tail(conversation(1)).expect("one entry is left");
        assert_eq!((tail.first(), tail.head, tail.since), (at(4), at(4), 3));
        assert_eq!(overlay.journal_bytes(), 2 * BODY);
    }

    #[test]
    fn journal_rows_go_a_bounded_number_at_a_time() {
        let mut overlay = Overlay::default();
        for id in 1..=5 {
            publish(&mut overlay, id, 1, 1);
        }
        let plan = overlay.plan(99);
        let needless = overlay.needless_before(&plan, 2);
        assert_eq!(needless, 3);
        overlay.fold(&plan, needless);
        assert_eq!((overlay.journal_bytes(), overlay.is_empty()), (3 * BODY, false));
        assert_eq!(overlay.needless_before(&[], 2), 5);
        fold(&mut overlay, &[]);
        assert!(overlay.is_empty());
    }

    #[test]
    fn a_tail_is_read_from_both_ends() {
        let mut overlay = Overlay::default();
        publish(&mut overlay, 1, 1, 5);
        fold(&mut overlay, &[Step { conversation: conversation(1), entries: 2, members: vec![] }]);
        let tail = overlay.tail(conversation(1)).expect("a tail");
        assert_eq!(tail.first(), at(3));
        assert_eq!(seqs(tail.after(Seq::ZERO)), [3, 4, 5]);
        assert_eq!(seqs(tail.after(at(3))), [4, 5]);
        assert_eq!(seqs(tail.after(at(5))), [0; 0]);
        assert_eq!(seqs(tail.after(Seq::MAX)), [0; 0]);
        assert_eq!(seqs(tail.before(Seq::MAX)), [5, 4, 3]);
        assert_eq!(seqs(tail.before(at(4))), [3]);
        assert_eq!(seqs(tail.before(at(1))), [0; 0]);
        assert_eq!(tail.at(at(2)), None);
        assert_eq!(tail.at(at(5)).map(|entry| entry.messages), Some(5));
        assert_eq!(tail.at(at(6)), None);
    }

    #[test]
    fn messages_are_found_by_client_id_until_they_are_folded() {
        let mut overlay = Overlay::default();
        // All have the same digest here, which an accident could bring about.
        publish(&mut overlay, 1, 1, 2);
        publish(&mut overlay, 2, 2, 2);
        let find = |overlay: &Overlay, number, client_id: &str| {
            let found = overlay.by_client_id(7, conversation(number), (&user("ann"), client_id));
            found.map(|message| (message.conversation, message.seq.get()))
        };
        assert_eq!(find(&overlay, 1, "c-2"), Some((conversation(1), 2)));
        assert_eq!(find(&overlay, 2, "c-2"), Some((conversation(2), 2)));
        assert_eq!(find(&overlay, 1, "c-3"), None);
        assert_eq!(overlay.by_client_id(7, conversation(1), (&user("bob"), "c-2")), None);
        fold(&mut overlay, &[Step { conversation: conversation(1), entries: 1, members: vec![] }]);
        assert_eq!(find(&overlay, 1, "c-1"), None);
        assert_eq!(find(&overlay, 1, "c-2"), Some((conversation(1), 2)));
    }
}
