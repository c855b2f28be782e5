//! One conversation in memory: its whole log, its members, and the counters that make unread counts a subtraction.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::super::{Appended, InviteHash, NewConversation, NewMessage, ReadMark, StoreError, message_of, repeat_of};
use crate::protocol::{ConversationKind, IdTime, LogEvent, Message, Role, Seq, UnixMillis, UserId};

pub(super) struct Entry {
    pub(super) event: LogEvent,
    /// Messages in the log up to this entry, which makes unread counts a subtraction.
    pub(super) ordinal: u64,
}

pub(super) struct Conversation {
    pub(super) kind: ConversationKind,
    pub(super) title: Arc<str>,
    pub(super) created_at: UnixMillis,
    pub(super) invite: Option<InviteHash>,
    /// The entry with `seq` n is at n - 1.
    pub(super) log: Vec<Entry>,
    pub(super) last_message: Option<Arc<Message>>,
    /// Seqs of the messages with a client message id, hashed by sender and that id.
    pub(super) by_client_id: HashTable<Seq>,
    pub(super) hasher: DefaultHashBuilder,
    pub(super) members: HashMap<UserId, Member>,
    /// Members by the running number of their joining.
    pub(super) join_order: BTreeMap<u64, UserId>,
    pub(super) next_join: u64,
}

pub(super) struct Member {
    pub(super) role: Role,
    pub(super) join_number: u64,
    pub(super) read_seq: Seq,
    /// Messages up to `read_seq`.
    pub(super) read_ordinal: u64,
    /// Own messages after `read_seq`.
    pub(super) sent_unread: u64,
    pub(super) last_sent: Seq,
}

impl Conversation {
    /// An empty log, and nobody in it yet.
    pub(super) fn new(new: &NewConversation) -> Self {
        let title = match new.kind {
            ConversationKind::Direct => "",
            ConversationKind::Group => &new.title,
        };
        Self {
            kind: new.kind,
            title: Arc::from(title),
            created_at: new.created_at,
            invite: new.invite,
            log: Vec::new(),
            last_message: None,
            by_client_id: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            members: HashMap::new(),
            join_order: BTreeMap::new(),
            next_join: 0,
        }
    }

    pub(super) fn head(&self) -> Seq {
        self.log.last().map_or(Seq::ZERO, |entry| entry.event.seq())
    }

    fn ordinal_at(&self, seq: Seq) -> u64 {
        seq.get().checked_sub(1).and_then(|index| self.log.get(index as usize)).map_or(0, |entry| entry.ordinal)
    }

    /// The entries after `after`.
    pub(super) fn log_after(&self, after: Seq) -> &[Entry] {
        &self.log[(after.get() as usize).min(self.log.len())..]
    }

    pub(super) fn push(&mut self, event: LogEvent) {
        let ordinal = self.ordinal_at(self.head()) + u64::from(message_of(&event).is_some());
        self.log.push(Entry { event, ordinal });
    }

    pub(super) fn add_member(&mut self, user: UserId, role: Role) {
        let (join_number, read_seq) = (self.next_join, self.head());
        self.next_join += 1;
        self.join_order.insert(join_number, user.clone());
        let read_ordinal = self.ordinal_at(read_seq);
        self.members.insert(user, Member { role, join_number, read_seq, read_ordinal, sent_unread: 0, last_sent: Seq::ZERO });
    }

    pub(super) fn unread(&self, member: &Member) -> u64 {
        self.ordinal_at(self.head()) - member.read_ordinal - member.sent_unread
    }

    /// When its newest message was made, if it has one.
    pub(super) fn active_at(&self) -> Option<IdTime> {
        self.last_message.as_ref().map(|message| message.id.time())
    }

    pub(super) fn append(&mut self, new: NewMessage) -> Result<Appended, StoreError> {
        let seq = self.head().next();
        let member = self.members.get_mut(&new.sender).ok_or(StoreError::NotFound)?;
        if let Some(client_id) = new.client_message_id.as_deref() {
            let (log, hasher) = (&self.log, &self.hasher);
            let stored = |seq: &Seq| message_of(&log[seq.get() as usize - 1].event);
            let key = |message: &Message| hasher.hash_one((message.sender.as_str(), message.client_message_id.as_deref()));
            let hash = hasher.hash_one((new.sender.as_str(), Some(client_id)));
            let same = |seq: &Seq| {
                stored(seq).is_some_and(|m| m.sender == new.sender && m.client_message_id.as_deref() == Some(client_id))
            };
            if let Some(found) = self.by_client_id.find(hash, same).and_then(stored) {
                return repeat_of(found, &new);
            }
            self.by_client_id.insert_unique(hash, seq, |seq| stored(seq).map_or(0, |message| key(message)));
        }
        member.sent_unread += 1;
        member.last_sent = seq;
        let message = Arc::new(new.into_message(seq));
        self.last_message = Some(Arc::clone(&message));
        self.push(LogEvent::MessageCreated(Arc::clone(&message)));
        Ok(Appended { message, duplicate: false })
    }

    pub(super) fn mark_read(&mut self, user: &UserId, seq: Seq) -> Result<ReadMark, StoreError> {
        let seq = seq.min(self.head());
        let member = self.members.get(user).ok_or(StoreError::NotFound)?;
        let moved = seq > member.read_seq;
        if moved {
            let own = |entries: &[Entry]| {
                entries.iter().filter(|entry| message_of(&entry.event).is_some_and(|message| message.sender == *user)).count()
            };
            let sent_unread = if seq >= member.last_sent {
                0
            } else if seq.get() - member.read_seq.get() <= member.last_sent.get() - seq.get() {
                let passed = (seq.get() - member.read_seq.get()) as usize;
                member.sent_unread - own(&self.log_after(member.read_seq)[..passed]) as u64
            } else {
                let left = (member.last_sent.get() - seq.get()) as usize;
                own(&self.log_after(seq)[..left]) as u64
            };
            let read_ordinal = self.ordinal_at(seq);
            if let Some(member) = self.members.get_mut(user) {
                (member.read_seq, member.read_ordinal, member.sent_unread) = (seq, read_ordinal, sent_unread);
            }
        }
        let member = self.members.get(user).ok_or(StoreError::NotFound)?;
        Ok(ReadMark { seq: member.read_seq, unread: self.unread(member), head: self.head(), moved })
    }
}
