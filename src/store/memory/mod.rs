//! A store that keeps everything in memory and nothing after the process: for tests, simulation, and comparing fan-out with
//! servers that keep nothing either.
//!
//! One mutex guards plain maps; no operation waits for anything else. Callbacks run after the mutex is released, so that they
//! may call the store again, and in the order of the commits: see `MemoryStore::finish`.

mod conversation;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{HashMap, HashSet};

use self::conversation::{Conversation, Member};
use super::{
    Appended, ConversationCursor, ConversationPage, ConversationView, Created, Done, InviteHash, Joined, Left, MemberRecord,
    MessagePage, MessageRange, NewConversation, NewMessage, ReadMark, RoomSnapshot, Store, StoreError, StoreLimits, message_of,
};
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Role, Seq, UnixMillis, UserId};

/// Keeps all of it in memory, for as long as the process lives.
pub struct MemoryStore {
    epoch: Arc<str>,
    limits: StoreLimits,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store with the default limits.
    ///
    /// # Panics
    /// When the system has no randomness for the epoch.
    pub fn new() -> Self {
        Self::with_limits(StoreLimits::default())
    }

    /// An empty store.
    ///
    /// # Panics
    /// When the system has no randomness for the epoch.
    pub fn with_limits(limits: StoreLimits) -> Self {
        let epoch = super::new_epoch().expect("the system's random generator answers");
        Self { epoch, limits, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug that another thread already reports.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `done` after releasing the lock. Two threads that write to one conversation would race from there to their
    /// callbacks, so only one thread calls at a time, and takes along what others committed meanwhile, in order. A callback
    /// that writes has its own write's callback called after it returns.
    fn finish<T: Send + 'static>(&self, mut state: MutexGuard<'_, State>, done: Done<T>, result: Result<T, StoreError>) {
        if state.calling {
            state.outbox.push_back(Box::new(move || done(result)));
            return;
        }
        state.calling = true;
        drop(state);
        done(result);
        loop {
            let mut state = self.lock();
            let Some(next) = state.outbox.pop_front() else {
                state.calling = false;
                return;
            };
            drop(state);
            next();
        }
    }

    fn read<T>(&self, done: Done<T>, read: impl FnOnce(&State) -> Result<T, StoreError>) {
        let result = read(&self.lock());
        done(result);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Default)]
struct State {
    conversations: HashMap<ConversationId, Conversation>,
    directs: HashMap<(UserId, UserId), ConversationId>,
    invites: HashMap<InviteHash, ConversationId>,
    users: HashMap<UserId, User>,
    memberships: HashMap<UserId, HashSet<ConversationId>>,
    /// Callbacks of commits that another thread will call. Bounded by the callers' own limits on unanswered requests.
    outbox: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Whether a thread is calling callbacks.
    calling: bool,
}

#[derive(Default)]
struct User {
    name: Option<Arc<str>>,
    last_seen_at: Option<UnixMillis>,
}

impl State {
    fn name(&self, user: &UserId) -> Arc<str> {
        self.users.get(user).and_then(|row| row.name.clone()).unwrap_or_else(|| user.shared())
    }

    fn conversation_mut(&mut self, id: ConversationId) -> Result<&mut Conversation, StoreError> {
        self.conversations.get_mut(&id).ok_or(StoreError::NotFound)
    }

    fn member(&self, id: ConversationId, user: &UserId) -> Result<(&Conversation, &Member), StoreError> {
        let conversation = self.conversations.get(&id).ok_or(StoreError::NotFound)?;
        let member = conversation.members.get(user).ok_or(StoreError::NotFound)?;
        Ok((conversation, member))
    }

    fn has_room(&self, user: &UserId, limits: StoreLimits) -> bool {
        self.memberships.get(user).map_or(0, HashSet::len) < limits.max_conversations_per_user
    }

    fn create(&mut self, new: NewConversation, limits: StoreLimits) -> Result<Created, StoreError> {
        let pair = if let (ConversationKind::Direct, [a, b]) = (new.kind, &new.members[..]) {
            let pair = if a < b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) };
            if let Some(&conversation) = self.directs.get(&pair) {
                return Ok(Created { conversation, existed: true });
            }
            Some(pair)
        } else {
            None
        };
        if !new.members.iter().all(|user| self.has_room(user, limits)) {
            return Err(StoreError::TooManyConversations);
        }
        if let Some(pair) = pair {
            self.directs.insert(pair, new.id);
        }
        let mut conversation = Conversation::new(&new);
        for user in new.members {
            let role = match new.kind {
                ConversationKind::Group if user == new.creator => Role::Owner,
                ConversationKind::Group | ConversationKind::Direct => Role::Member,
            };
            self.memberships.entry(user.clone()).or_default().insert(new.id);
            conversation.add_member(user, role);
        }
        if let Some(invite) = new.invite {
            self.invites.insert(invite, new.id);
        }
        self.conversations.insert(new.id, conversation);
        Ok(Created { conversation: new.id, existed: false })
    }

    fn join(
        &mut self,
        invite: &InviteHash,
        user: UserId,
        name: Arc<str>,
        at: UnixMillis,
        limits: StoreLimits,
    ) -> Result<Joined, StoreError> {
        let id = *self.invites.get(invite).ok_or(StoreError::NotFound)?;
        let has_room = self.has_room(&user, limits);
        let conversation = self.conversation_mut(id)?;
        if let Some(member) = conversation.members.get(&user) {
            return Ok(Joined { conversation: id, event: None, role: member.role });
        }
        if conversation.members.len() >= limits.max_members {
            return Err(StoreError::MembersFull);
        }
        if !has_room {
            return Err(StoreError::TooManyConversations);
        }
        let role = if conversation.members.is_empty() { Role::Owner } else { Role::Member };
        let seq = conversation.head().next();
        let event = LogEvent::MemberJoined { conversation: id, seq, user: user.clone(), name, at };
        conversation.push(event.clone());
        conversation.add_member(user.clone(), role);
        self.memberships.entry(user).or_default().insert(id);
        Ok(Joined { conversation: id, event: Some(event), role })
    }

    fn leave(&mut self, id: ConversationId, user: UserId, at: UnixMillis) -> Result<Left, StoreError> {
        let name = self.name(&user);
        let conversation = self.conversation_mut(id)?;
        if !conversation.members.contains_key(&user) {
            return Err(StoreError::NotFound);
        }
        match conversation.kind {
            ConversationKind::Direct => return Err(StoreError::Forbidden),
            ConversationKind::Group => {}
        }
        let left = conversation.members.remove(&user);
        let was_owner = left.is_some_and(|member| {
            conversation.join_order.remove(&member.join_number);
            member.role == Role::Owner
        });
        let new_owner = conversation.join_order.values().next().filter(|_| was_owner).cloned();
        if let Some(heir) = new_owner.as_ref().and_then(|heir| conversation.members.get_mut(heir)) {
            heir.role = Role::Owner;
        }
        let seq = conversation.head().next();
        let event = LogEvent::MemberLeft { conversation: id, seq, user: user.clone(), name, at };
        conversation.push(event.clone());
        if let Some(conversations) = self.memberships.get_mut(&user) {
            conversations.remove(&id);
        }
        Ok(Left { event, new_owner })
    }

    fn view(&self, id: ConversationId, user: &UserId) -> Result<ConversationView, StoreError> {
        let (conversation, member) = self.member(id, user)?;
        let title = match conversation.kind {
            ConversationKind::Group => Arc::clone(&conversation.title),
            ConversationKind::Direct => {
                let other = conversation.join_order.values().find(|other| *other != user).unwrap_or(user);
                self.name(other)
            }
        };
        Ok(ConversationView {
            id,
            kind: conversation.kind,
            title,
            member_count: conversation.members.len() as u64,
            head: conversation.head(),
            last_message: conversation.last_message.clone(),
            read_seq: member.read_seq,
            unread: conversation.unread(member),
            created_at: conversation.created_at,
            role: member.role,
            invite: conversation.invite,
        })
    }

    fn page(&self, user: &UserId, after: Option<ConversationCursor>, limit: usize) -> Result<ConversationPage, StoreError> {
        let cursor = |&conversation: &ConversationId| {
            let active_at = self.conversations.get(&conversation)?.active_at().unwrap_or(conversation.time());
            Some(ConversationCursor { active_at, conversation })
        };
        let mut cursors: Vec<_> = self.memberships.get(user).into_iter().flatten().filter_map(cursor).collect();
        cursors.retain(|cursor| after.is_none_or(|after| *cursor < after));
        cursors.sort_unstable_by(|a, b| b.cmp(a));
        let more = cursors.len() > limit;
        cursors.truncate(limit);
        let next = cursors.last().copied().filter(|_| more);
        let conversations = cursors.iter().map(|cursor| self.view(cursor.conversation, user)).collect::<Result<_, _>>()?;
        Ok(ConversationPage { conversations, next })
    }

    fn messages(&self, id: ConversationId, user: &UserId, range: MessageRange, limit: usize) -> Result<MessagePage, StoreError> {
        let (conversation, _) = self.member(id, user)?;
        let before = |end: usize| {
            let entries = &conversation.log[..end.min(conversation.log.len())];
            let mut messages: Vec<_> = entries
                .iter()
                .rev()
                .filter_map(|entry| message_of(&entry.event))
                .take(limit.saturating_add(1))
                .cloned()
                .collect();
            let has_more = messages.len() > limit;
            messages.truncate(limit);
            messages.reverse();
            MessagePage { messages, has_more }
        };
        Ok(match range {
            MessageRange::Latest => before(usize::MAX),
            MessageRange::Before(seq) => before(seq.get().saturating_sub(1) as usize),
            MessageRange::After(seq) => {
                let found = conversation.log_after(seq).iter().filter_map(|entry| message_of(&entry.event));
                let mut messages: Vec<_> = found.take(limit.saturating_add(1)).cloned().collect();
                let has_more = messages.len() > limit;
                messages.truncate(limit);
                MessagePage { messages, has_more }
            }
        })
    }

    fn room(&self, id: ConversationId, recent: usize) -> Result<RoomSnapshot, StoreError> {
        let conversation = self.conversations.get(&id).ok_or(StoreError::NotFound)?;
        let record = |user: &UserId| {
            let member = conversation.members.get(user)?;
            Some(MemberRecord {
                user: user.clone(),
                name: self.name(user),
                role: member.role,
                read_seq: member.read_seq,
                unread: conversation.unread(member),
                last_seen_at: self.users.get(user).and_then(|row| row.last_seen_at),
            })
        };
        let first = conversation.log.len().saturating_sub(recent);
        Ok(RoomSnapshot {
            kind: conversation.kind,
            title: Arc::clone(&conversation.title),
            created_at: conversation.created_at,
            invite: conversation.invite,
            head: conversation.head(),
            last_message: conversation.last_message.clone(),
            members: conversation.join_order.values().filter_map(record).collect(),
            recent: conversation.log[first..].iter().map(|entry| entry.event.clone()).collect(),
        })
    }
}

impl Store for MemoryStore {
    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.epoch)
    }

    fn append_message(&self, message: NewMessage, done: Done<Appended>) {
        let mut state = self.lock();
        let result = state.conversation_mut(message.conversation).and_then(|conversation| conversation.append(message));
        self.finish(state, done, result);
    }

    fn mark_read(&self, conversation: ConversationId, user: UserId, seq: Seq, done: Done<ReadMark>) {
        let mut state = self.lock();
        let result = state.conversation_mut(conversation).and_then(|conversation| conversation.mark_read(&user, seq));
        self.finish(state, done, result);
    }

    fn create_conversation(&self, new: NewConversation, done: Done<Created>) {
        let mut state = self.lock();
        let result = state.create(new, self.limits);
        self.finish(state, done, result);
    }

    fn join_by_invite(&self, invite: InviteHash, user: UserId, name: Arc<str>, at: UnixMillis, done: Done<Joined>) {
        let mut state = self.lock();
        let result = state.join(&invite, user, name, at, self.limits);
        self.finish(state, done, result);
    }

    fn leave(&self, conversation: ConversationId, user: UserId, at: UnixMillis, done: Done<Left>) {
        let mut state = self.lock();
        let result = state.leave(conversation, user, at);
        self.finish(state, done, result);
    }

    fn put_user(&self, user: UserId, name: Arc<str>, done: Done<()>) {
        let mut state = self.lock();
        state.users.entry(user).or_default().name = Some(name);
        self.finish(state, done, Ok(()));
    }

    fn put_last_seen(&self, users: Vec<(UserId, UnixMillis)>, done: Done<()>) {
        let mut state = self.lock();
        for (user, at) in users {
            let row = state.users.entry(user).or_default();
            row.last_seen_at = row.last_seen_at.max(Some(at));
        }
        self.finish(state, done, Ok(()));
    }

    fn open_room(&self, conversation: ConversationId, recent: usize, done: Done<RoomSnapshot>) {
        self.read(done, |state| state.room(conversation, recent));
    }

    fn load_events(&self, conversation: ConversationId, after: Seq, limit: usize, done: Done<Vec<LogEvent>>) {
        self.read(done, |state| {
            let conversation = state.conversations.get(&conversation).ok_or(StoreError::NotFound)?;
            Ok(conversation.log_after(after).iter().take(limit).map(|entry| entry.event.clone()).collect())
        });
    }

    fn load_messages(
        &self,
        conversation: ConversationId,
        user: UserId,
        range: MessageRange,
        limit: usize,
        done: Done<MessagePage>,
    ) {
        self.read(done, |state| state.messages(conversation, &user, range, limit));
    }

    fn load_conversation(&self, conversation: ConversationId, user: UserId, done: Done<ConversationView>) {
        self.read(done, |state| state.view(conversation, &user));
    }

    fn load_conversations(&self, user: UserId, cursor: Option<ConversationCursor>, limit: usize, done: Done<ConversationPage>) {
        self.read(done, |state| state.page(&user, cursor, limit));
    }

    fn check(&self, done: Done<()>) {
        done(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{LIMITS, Subject, contract_tests};
    use super::*;

    contract_tests!(|| Subject::volatile(MemoryStore::with_limits(LIMITS)));
}
