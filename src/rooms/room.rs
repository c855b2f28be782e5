//! One live conversation: its members, its order, its counts, its recent events and who is typing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::protocol::frame::FrameBuilder;
use crate::protocol::{
    Conversation, ConversationId, ConversationKind, EventFrame, LogEvent, Member, Message, Role, Seq, UnixMillis, UserId,
};

use super::{InviteHash, Moment, ReadEnd, ReadMark, RecentEvents, RoomSnapshot, Sequencer, TypingLeases};

/// A member with the counts from which `unread` follows in O(1): all messages, less one's own, less those seen.
#[derive(Debug)]
struct RoomMember {
    user: UserId,
    name: Arc<str>,
    role: Role,
    read_seq: Seq,
    sent: i64,
    seen: i64,
    last_seen_at: Option<UnixMillis>,
}

/// What a join delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinPlan {
    /// Events after this seq, up to the head.
    pub after: Seq,
    /// Whether they continue from the client's own position.
    pub recovered: bool,
}

/// A room. Its owner feeds it what was committed and asks it what to send.
///
/// Invariant: `members`, counts, `recent` and `last_message` reflect exactly the events up to `head()`.
#[derive(Debug)]
pub struct Room {
    id: ConversationId,
    kind: ConversationKind,
    title: Arc<str>,
    created_at: UnixMillis,
    invite: Option<InviteHash>,
    last_message: Option<Arc<Message>>,
    messages: i64,
    /// In the order in which they joined.
    members: Vec<RoomMember>,
    by_user: HashMap<UserId, usize>,
    sequencer: Sequencer,
    released: VecDeque<LogEvent>,
    recent: RecentEvents,
    reads: Vec<(UserId, Seq)>,
    /// Marks that were counted at a head which is not released yet. Each is a step forward of a member's
    /// watermark, up to the store's head.
    early_marks: Vec<(UserId, ReadMark)>,
    /// Who is typing.
    pub typing: TypingLeases,
}

impl Room {
    /// Goes live from what the store has.
    pub fn open(id: ConversationId, snapshot: RoomSnapshot, builder: &mut FrameBuilder, now: UnixMillis) -> Self {
        let first = snapshot.recent.first().map_or(snapshot.head, |event| Seq::new(event.seq().get() - 1).unwrap_or(Seq::ZERO));
        let mut recent = RecentEvents::new(first);
        for event in &snapshot.recent {
            recent.push(event, EventFrame::encode(builder, event, now));
        }
        let mut room = Self {
            id,
            kind: snapshot.kind,
            title: snapshot.title,
            created_at: snapshot.created_at,
            invite: snapshot.invite,
            last_message: snapshot.last_message,
            messages: 0,
            members: Vec::with_capacity(snapshot.members.len()),
            by_user: HashMap::with_capacity(snapshot.members.len()),
            sequencer: Sequencer::new(snapshot.head),
            released: VecDeque::new(),
            recent,
            reads: Vec::new(),
            early_marks: Vec::new(),
            typing: TypingLeases::default(),
        };
        for member in snapshot.members {
            room.add_member(RoomMember {
                user: member.user,
                name: member.name,
                role: member.role,
                read_seq: member.read_seq,
                sent: 0,
                seen: -i64::try_from(member.unread).unwrap_or(i64::MAX),
                last_seen_at: member.last_seen_at,
            });
        }
        room
    }

    /// The conversation's id.
    pub fn id(&self) -> ConversationId {
        self.id
    }

    /// The newest seq that was released.
    pub fn head(&self) -> Seq {
        self.sequencer.head()
    }

    /// Direct or group.
    pub fn kind(&self) -> ConversationKind {
        self.kind
    }

    /// Whether the user is a member as of the head.
    pub fn is_member(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// Everybody, in the order in which they joined.
    pub fn member_ids(&self) -> impl Iterator<Item = &UserId> {
        self.members.iter().map(|member| &member.user)
    }

    /// The newest message.
    pub fn last_message(&self) -> Option<&Arc<Message>> {
        self.last_message.as_ref()
    }

    /// Takes a committed event, in whatever order they are heard of.
    pub fn handle_event(&mut self, event: LogEvent, now: Moment) {
        self.sequencer.handle_event(event, now, |event| self.released.push_back(event));
    }

    /// The next event in the order of `seq`, encoded, with its effect on the room applied.
    pub fn next_released(&mut self, builder: &mut FrameBuilder, now: UnixMillis) -> Option<(LogEvent, EventFrame)> {
        let event = self.released.pop_front()?;
        let frame = EventFrame::encode(builder, &event, now);
        self.recent.push(&event, frame.clone());
        self.apply(&event);
        self.apply_early_marks(event.seq());
        Some((event, frame))
    }

    /// Since when an event is or may be missing.
    pub fn waiting_since(&self) -> Option<Moment> {
        self.sequencer.waiting_since()
    }

    /// The store's log reaches up to here, of which nobody may tell: another node wrote it.
    pub fn handle_head(&mut self, head: Seq, now: Moment) {
        self.sequencer.handle_head(head, now);
    }

    /// Something may have been committed of which nobody will tell.
    pub fn handle_doubt(&mut self, now: Moment) {
        self.sequencer.handle_doubt(now);
    }

    /// The position after which the store must be read now, because something has been missing for `timeout`.
    pub fn next_read(&mut self, now: Moment, timeout: Duration) -> Option<Seq> {
        self.sequencer.next_read(now, timeout)
    }

    /// The read is over; its events have been handled.
    pub fn handle_read_end(&mut self, end: ReadEnd, now: Moment) {
        self.sequencer.handle_read_end(end, now);
    }

    fn apply(&mut self, event: &LogEvent) {
        match event {
            LogEvent::MessageCreated(message) => {
                self.messages += 1;
                self.last_message = Some(Arc::clone(message));
                if let Some(&at) = self.by_user.get(&message.sender) {
                    self.members[at].sent += 1;
                }
            }
            LogEvent::MemberJoined { seq, user, name, .. } => {
                let role = if self.members.is_empty() { Role::Owner } else { Role::Member };
                let member = RoomMember {
                    user: user.clone(),
                    name: Arc::clone(name),
                    role,
                    read_seq: *seq,
                    sent: 0,
                    seen: self.messages,
                    last_seen_at: None,
                };
                self.add_member(member);
            }
            LogEvent::MemberLeft { seq, user, .. } => self.remove_member(user, *seq),
        }
    }

    fn add_member(&mut self, member: RoomMember) {
        if !self.by_user.contains_key(&member.user) {
            self.by_user.insert(member.user.clone(), self.members.len());
            self.members.push(member);
        }
    }

    /// Ownership goes to the member who has been in the group longest; the store decides by the same rule.
    fn remove_member(&mut self, user: &UserId, left_at: Seq) {
        let Some(at) = self.by_user.remove(user) else { return };
        let left = self.members.remove(at);
        for (index, member) in self.members.iter().enumerate().skip(at) {
            if let Some(place) = self.by_user.get_mut(&member.user) {
                *place = index;
            }
        }
        if left.role == Role::Owner
            && let Some(next) = self.members.first_mut()
        {
            next.role = Role::Owner;
        }
        self.reads.retain(|(reader, _)| reader != user);
        // One that was counted later is of their next membership.
        self.early_marks.retain(|(reader, mark)| reader != user || mark.head > left_at);
    }

    /// What a join delivers. `since` is the client's position if it is one of this store's history.
    pub fn plan_join(&self, since: Option<Seq>, limit: usize, recovery_limit: usize) -> JoinPlan {
        let head = self.head().get();
        if let Some(since) = since
            && let Some(missed) = head.checked_sub(since.get())
            && usize::try_from(missed).is_ok_and(|missed| missed <= recovery_limit)
        {
            return JoinPlan { after: since, recovered: true };
        }
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        JoinPlan { after: Seq::new(head.saturating_sub(limit)).unwrap_or(Seq::ZERO), recovered: false }
    }

    /// The events after `after` up to the head, if all of them are in memory.
    pub fn recent_after(&self, after: Seq) -> Option<impl Iterator<Item = &EventFrame>> {
        self.recent.after(after)
    }

    /// The conversation as `user` sees it; `None` for somebody who is not a member. `invite_code` is asked for the owner only.
    pub fn conversation_for(
        &self,
        user: &str,
        invite_code: impl FnOnce(&InviteHash) -> Option<Box<str>>,
    ) -> Option<Conversation> {
        let member = &self.members[*self.by_user.get(user)?];
        let title = match self.kind {
            ConversationKind::Group => Arc::clone(&self.title),
            ConversationKind::Direct => self
                .members
                .iter()
                .find(|other| other.user != member.user)
                .map_or_else(|| Arc::clone(&self.title), |other| Arc::clone(&other.name)),
        };
        let invite_code = match (member.role, &self.invite) {
            (Role::Owner, Some(invite)) => invite_code(invite),
            (Role::Owner | Role::Member, _) => None,
        };
        Some(Conversation {
            id: self.id,
            kind: self.kind,
            title,
            member_count: self.members.len() as u64,
            head: self.head(),
            last_message: self.last_message.clone(),
            read_seq: member.read_seq,
            unread_count: self.unread_of(member),
            created_at: self.created_at,
            invite_code,
        })
    }

    /// Messages by others after the member's watermark; `None` for somebody who is not a member.
    pub fn unread(&self, user: &str) -> Option<u64> {
        Some(self.unread_of(&self.members[*self.by_user.get(user)?]))
    }

    fn unread_of(&self, member: &RoomMember) -> u64 {
        u64::try_from(self.messages - member.sent - member.seen).unwrap_or(0)
    }

    /// The first `limit` members as the others see them.
    pub fn members(&self, limit: usize, is_online: impl Fn(&UserId) -> bool) -> impl Iterator<Item = Member> {
        self.members.iter().take(limit).map(move |member| {
            let online = is_online(&member.user);
            Member {
                user: member.user.clone(),
                name: Arc::clone(&member.name),
                role: member.role,
                online,
                last_seen_at: if online { None } else { member.last_seen_at },
                read_seq: member.read_seq,
            }
        })
    }

    /// Takes a watermark that the store has moved, to be announced once for a burst.
    pub fn handle_read(&mut self, user: &UserId, mark: ReadMark) {
        if mark.head > self.applied() {
            // Its count has messages in it that come later here: counted now, they would count twice.
            return self.early_marks.push((user.clone(), mark));
        }
        let Some(&at) = self.by_user.get(user) else { return };
        let since = self.recent.messages_by_others(user, mark.head);
        let member = &mut self.members[at];
        if mark.seq <= member.read_seq {
            return;
        }
        member.read_seq = mark.seq;
        member.seen = self.messages - member.sent - i64::try_from(mark.unread + since).unwrap_or(i64::MAX);
        match self.reads.iter_mut().find(|(reader, _)| reader == user) {
            Some((_, newest)) => *newest = mark.seq,
            None => self.reads.push((user.clone(), mark.seq)),
        }
    }

    fn apply_early_marks(&mut self, head: Seq) {
        for (user, mark) in self.early_marks.extract_if(.., |(_, mark)| mark.head <= head).collect::<Vec<_>>() {
            self.handle_read(&user, mark);
        }
    }

    /// The newest seq whose effect is applied: behind `head()` while released events wait to be taken.
    fn applied(&self) -> Seq {
        self.released.front().map_or(self.head(), |next| Seq::new(next.seq().get() - 1).unwrap_or(Seq::ZERO))
    }

    /// The newest watermark of each member who read since the last call.
    pub fn take_reads(&mut self) -> Vec<(UserId, Seq)> {
        std::mem::take(&mut self.reads)
    }

    /// Whether a watermark waits to be announced.
    pub fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Remembers when a member went offline, unless they were seen later on another node.
    pub fn handle_last_seen(&mut self, user: &str, at: UnixMillis) {
        if let Some(&index) = self.by_user.get(user) {
            let member = &mut self.members[index];
            member.last_seen_at = member.last_seen_at.max(Some(at));
        }
    }

    /// Takes a member's new name.
    pub fn handle_name(&mut self, user: &str, name: &Arc<str>) {
        if let Some(&index) = self.by_user.get(user) {
            self.members[index].name = Arc::clone(name);
        }
    }
}

#[cfg(test)]
mod tests;
