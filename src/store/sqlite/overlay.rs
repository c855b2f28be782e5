//! What is committed in the journal and not yet folded into the tables, by conversation. Pure: knows no SQL.
//!
//! A conversation that has something here has all of its tail here: the tables hold its log up to just before `first`, and
//! whatever this module says about its head, counts and members goes before what the tables say.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use super::super::message_of;
use crate::protocol::{ConversationId, LogEvent, Message, Seq, UnixMillis, UserId};

/// What an entry of a log holds beside its texts, and a member's counters, in bytes: about their size in the maps.
const ENTRY_BYTES: usize = 256;
const MEMBER_BYTES: usize = 128;

/// A member's counters, from which unread counts follow in O(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// The mark.
    pub(super) read_seq: Seq,
    /// Messages in the log up to the mark.
    pub(super) read_messages: u64,
    /// Own messages since joining.
    pub(super) sent: u64,
    /// Those of them up to the mark.
    pub(super) read_sent: u64,
    /// The newest of them; the joining itself before the first.
    pub(super) last_sent_seq: Seq,
}

impl Counters {
    /// Messages by others after the mark, in a log of `messages` messages.
    pub(super) fn unread(&self, messages: u64) -> u64 {
        (messages - self.read_messages) - (self.sent - self.read_sent)
    }

    /// Takes over what `other` knows better, from whichever time it is. Both halves only grow during a membership, and a new
    /// membership starts with both ahead of all earlier ones.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.read_seq > self.read_seq {
            (self.read_seq, self.read_messages, self.read_sent) = (other.read_seq, other.read_messages, other.read_sent);
        }
        if other.last_sent_seq > self.last_sent_seq {
            (self.sent, self.last_sent_seq) = (other.sent, other.last_sent_seq);
        }
    }
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) event: LogEvent,
    /// Messages in the log up to this one.
    pub(super) messages: u64,
    /// Stands for the sender and the client message id, where there is one.
    pub(super) digest: Option<i64>,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + message_of(&self.event).map_or(0, |message| message.content.len())
    }
}

/// What one commit does to a conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Staged {
    /// Its key in the tables.
    pub(super) number: i64,
    /// Newest seq, with the entries here.
    pub(super) head: Seq,
    /// Messages in the log, with the entries here.
    pub(super) messages: u64,
    /// New entries, ascending.
    pub(super) entries: Vec<Entry>,
    /// Members with new counters; `None` where the tables alone know: the membership ended, or ended and began again.
    pub(super) members: HashMap<UserId, Option<Counters>>,
}

impl Staged {
    /// A conversation that nothing is done to yet.
    pub(super) fn new(number: i64, head: Seq, messages: u64) -> Self {
        Self { number, head, messages, entries: Vec::new(), members: HashMap::new() }
    }

    /// Adds an event, which has the seq after the head.
    pub(super) fn push(&mut self, event: LogEvent, digest: Option<i64>) {
        self.head = event.seq();
        self.messages += u64::from(message_of(&event).is_some());
        self.entries.push(Entry { event, messages: self.messages, digest });
    }

    /// The new entry at `seq`, if there is one.
    pub(super) fn at(&self, seq: Seq) -> Option<&Entry> {
        let first = self.entries.first()?.event.seq();
        self.entries.get(seq.get().checked_sub(first.get())? as usize)
    }

    /// Whether the journal must hold it.
    pub(super) fn is_journaled(&self) -> bool {
        !self.entries.is_empty() || self.members.values().any(Option::is_some)
    }
}

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
    pub(super) fn active_at(&self) -> Option<UnixMillis> {
        self.last_message.as_ref().map(|message| message.created_at)
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

    /// Whether everything is folded.
    pub(super) fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }

    /// A conversation's tail, if it has one.
    pub(super) fn tail(&self, conversation: ConversationId) -> Option<&Unfolded> {
        self.conversations.get(&conversation)
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

    /// The first journal row that is still needed once `plan` is folded; `None` when none is.
    pub(super) fn needed_after(&self, plan: &[Step]) -> Option<u64> {
        let left = plan.iter().filter_map(|step| self.conversations.get(&step.conversation)?.since_after(step));
        // The plan is what comes first by age, so that what follows it needs no look.
        let next = self.by_age.iter().nth(plan.len()).map(|(since, _)| *since);
        left.chain(next).min()
    }

    /// Lets go of what `plan` brought into the tables.
    pub(super) fn fold(&mut self, plan: &[Step]) {
        let needed = self.needed_after(plan).unwrap_or(u64::MAX);
        let gone = self.journal.partition_point(|(id, _)| *id < needed);
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
