//! The naive model: plain vectors, everything counted afresh. Slow and obviously right.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::LIMITS;
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Message, Role, Seq, UnixMillis, UserId};
use crate::store::{
    Appended, ConversationCursor, ConversationView, Created, InviteHash, Joined, Left, MemberRecord, MessageRange,
    NewConversation, NewMessage, ReadMark, StoreError,
};

/// Everything a store should hold.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) conversations: Vec<ModelConversation>,
    users: BTreeMap<UserId, (Option<Arc<str>>, Option<UnixMillis>)>,
}

/// A conversation, its log and its members in the order of joining.
#[derive(Clone)]
pub(crate) struct ModelConversation {
    pub(crate) new: NewConversation,
    pub(crate) log: Vec<LogEvent>,
    pub(crate) members: Vec<(UserId, Role, Seq)>,
}

impl ModelConversation {
    pub(crate) fn head(&self) -> Seq {
        self.log.last().map_or(Seq::ZERO, LogEvent::seq)
    }

    fn messages(&self) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        self.log.iter().filter_map(crate::store::message_of)
    }

    fn unread(&self, user: &UserId, read: Seq) -> u64 {
        self.messages().filter(|message| message.seq > read && message.sender != *user).count() as u64
    }

    fn index(&self, user: &UserId) -> Result<usize, StoreError> {
        self.members.iter().position(|(member, ..)| member == user).ok_or(StoreError::NotFound)
    }
}

impl Model {
    fn conversation_mut(&mut self, id: ConversationId) -> Result<&mut ModelConversation, StoreError> {
        self.conversations.iter_mut().find(|conversation| conversation.new.id == id).ok_or(StoreError::NotFound)
    }

    pub(crate) fn conversation(&self, id: ConversationId) -> Result<&ModelConversation, StoreError> {
        self.conversations.iter().find(|conversation| conversation.new.id == id).ok_or(StoreError::NotFound)
    }

    fn name(&self, user: &UserId) -> Arc<str> {
        self.users.get(user).and_then(|(name, _)| name.clone()).unwrap_or_else(|| user.shared())
    }

    pub(crate) fn append(&mut self, new: NewMessage) -> Result<Appended, StoreError> {
        let conversation = self.conversation_mut(new.conversation)?;
        conversation.index(&new.sender)?;
        let repeated = |message: &&Arc<Message>| {
            new.client_message_id.is_some() && message.client_message_id == new.client_message_id && message.sender == new.sender
        };
        if let Some(stored) = conversation.messages().find(repeated) {
            let same = stored.content == new.content && stored.reply_to == new.reply_to;
            return if same { Ok(Appended { message: Arc::clone(stored), duplicate: true }) } else { Err(StoreError::Conflict) };
        }
        let seq = conversation.head().next();
        let message = Arc::new(new.into_message(seq));
        conversation.log.push(LogEvent::MessageCreated(Arc::clone(&message)));
        Ok(Appended { message, duplicate: false })
    }

    pub(crate) fn mark(&mut self, id: ConversationId, user: &UserId, seq: Seq) -> Result<ReadMark, StoreError> {
        let conversation = self.conversation_mut(id)?;
        let (index, head) = (conversation.index(user)?, conversation.head());
        let read = &mut conversation.members[index].2;
        let moved = seq.min(head) > *read;
        *read = (*read).max(seq.min(head));
        let seq = *read;
        Ok(ReadMark { seq, unread: conversation.unread(user, seq), head, moved })
    }

    /// Whether the user could be in that many more conversations.
    pub(crate) fn has_room(&self, user: &UserId, more: usize) -> bool {
        let count = self.conversations.iter().filter(|conversation| conversation.index(user).is_ok()).count();
        count + more <= LIMITS.max_conversations_per_user
    }

    pub(crate) fn create(&mut self, new: NewConversation) -> Result<Created, StoreError> {
        let same_pair = |other: &&ModelConversation| {
            other.new.kind == ConversationKind::Direct && new.members.iter().all(|member| other.new.members.contains(member))
        };
        let existing = self.conversations.iter().find(same_pair).filter(|_| new.kind == ConversationKind::Direct);
        if let Some(existing) = existing {
            return Ok(Created { conversation: existing.new.id, existed: true });
        }
        if !new.members.iter().all(|user| self.has_room(user, 1)) {
            return Err(StoreError::TooManyConversations);
        }
        let role = |user: &UserId| match new.kind {
            ConversationKind::Group if *user == new.creator => Role::Owner,
            ConversationKind::Group | ConversationKind::Direct => Role::Member,
        };
        let members = new.members.iter().map(|user| (user.clone(), role(user), Seq::ZERO)).collect();
        let conversation = new.id;
        self.conversations.push(ModelConversation { new, log: Vec::new(), members });
        Ok(Created { conversation, existed: false })
    }

    pub(crate) fn join(
        &mut self,
        invite: InviteHash,
        user: &UserId,
        name: Arc<str>,
        at: UnixMillis,
    ) -> Result<Joined, StoreError> {
        let invited = |conversation: &&mut ModelConversation| conversation.new.invite == Some(invite);
        let has_room = self.has_room(user, 1);
        let found = self.conversations.iter_mut().find(invited).ok_or(StoreError::NotFound)?;
        let conversation = found.new.id;
        if let Ok(index) = found.index(user) {
            return Ok(Joined { conversation, event: None, role: found.members[index].1 });
        }
        if found.members.len() >= LIMITS.max_members {
            return Err(StoreError::MembersFull);
        }
        if !has_room {
            return Err(StoreError::TooManyConversations);
        }
        let role = if found.members.is_empty() { Role::Owner } else { Role::Member };
        let event = LogEvent::MemberJoined { conversation, seq: found.head().next(), user: user.clone(), name, at };
        found.log.push(event.clone());
        found.members.push((user.clone(), role, found.head()));
        Ok(Joined { conversation, event: Some(event), role })
    }

    pub(crate) fn leave(&mut self, id: ConversationId, user: &UserId, at: UnixMillis) -> Result<Left, StoreError> {
        let name = self.name(user);
        let conversation = self.conversation_mut(id)?;
        let index = conversation.index(user)?;
        if conversation.new.kind == ConversationKind::Direct {
            return Err(StoreError::Forbidden);
        }
        let (_, role, _) = conversation.members.remove(index);
        let heir = conversation.members.first_mut().filter(|_| role == Role::Owner);
        let new_owner = heir.map(|heir| {
            heir.1 = Role::Owner;
            heir.0.clone()
        });
        let event = LogEvent::MemberLeft { conversation: id, seq: conversation.head().next(), user: user.clone(), name, at };
        conversation.log.push(event.clone());
        Ok(Left { event, new_owner })
    }

    pub(crate) fn put_user(&mut self, user: &UserId, name: Arc<str>) {
        self.users.entry(user.clone()).or_default().0 = Some(name);
    }

    pub(crate) fn put_last_seen(&mut self, seen: &[(UserId, UnixMillis)]) {
        for (user, at) in seen {
            let (_, latest) = self.users.entry(user.clone()).or_default();
            *latest = (*latest).max(Some(*at));
        }
    }

    pub(crate) fn members(&self, conversation: &ModelConversation) -> Vec<MemberRecord> {
        let record = |(user, role, read): &(UserId, Role, Seq)| MemberRecord {
            user: user.clone(),
            name: self.name(user),
            role: *role,
            read_seq: *read,
            unread: conversation.unread(user, *read),
            last_seen_at: self.users.get(user).and_then(|(_, seen)| *seen),
        };
        conversation.members.iter().map(record).collect()
    }

    pub(crate) fn view(&self, id: ConversationId, user: &UserId) -> Result<ConversationView, StoreError> {
        let conversation = self.conversation(id)?;
        let (_, role, read_seq) = conversation.members[conversation.index(user)?];
        let other = conversation.new.members.iter().find(|other| *other != user);
        let title = match conversation.new.kind {
            ConversationKind::Direct => other.map_or(Arc::from(""), |other| self.name(other)),
            ConversationKind::Group => Arc::from(&*conversation.new.title),
        };
        Ok(ConversationView {
            id,
            kind: conversation.new.kind,
            title,
            member_count: conversation.members.len() as u64,
            head: conversation.head(),
            last_message: conversation.messages().next_back().cloned(),
            read_seq,
            unread: conversation.unread(user, read_seq),
            created_at: conversation.new.created_at,
            role,
            invite: conversation.new.invite,
        })
    }

    /// All of a user's conversations, latest activity first.
    pub(crate) fn listing(&self, user: &UserId) -> Vec<(ConversationCursor, ConversationView)> {
        let entry = |conversation: &ModelConversation| {
            let view = self.view(conversation.new.id, user).ok()?;
            let active_at = view.last_message.as_ref().map_or(view.id.time(), |message| message.id.time());
            Some((ConversationCursor { active_at, conversation: view.id }, view))
        };
        let mut listing: Vec<_> = self.conversations.iter().filter_map(entry).collect();
        listing.sort_by_key(|(at, _)| Reverse(*at));
        listing
    }

    /// The page of messages and whether there are more.
    pub(crate) fn messages(
        &self,
        id: ConversationId,
        user: &UserId,
        range: MessageRange,
        limit: usize,
    ) -> Result<(Vec<Arc<Message>>, bool), StoreError> {
        let conversation = self.conversation(id)?;
        conversation.index(user)?;
        let mut found: Vec<_> = conversation.messages().cloned().collect();
        match range {
            MessageRange::Latest => {}
            MessageRange::Before(seq) => found.retain(|message| message.seq < seq),
            MessageRange::After(seq) => found.retain(|message| message.seq > seq),
        }
        let more = found.len() > limit;
        match range {
            MessageRange::Latest | MessageRange::Before(_) => drop(found.drain(..found.len().saturating_sub(limit))),
            MessageRange::After(_) => found.truncate(limit),
        }
        Ok((found, more))
    }
}
