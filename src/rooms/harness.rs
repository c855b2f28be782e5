//! What must hold of the state machines for any sequence of operations: each is held to a slow model that shares no code with
//! it. The fuzz target `rooms` and the unit test run the same [`run`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{
    MemberRecord, Moment, Presence, Rate, ReadEnd, ReadMark, RecentEvents, Room, RoomSnapshot, Schedule, TypingLeases,
    TypingStart,
};
use crate::protocol::frame::FrameBuilder;
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Message, MessageId, Role, Seq, UnixMillis, UserId};

const CONVERSATION: ConversationId = ConversationId::from_bytes([7; 16]);
const GAP_TIMEOUT: Duration = Duration::from_millis(200);
/// Events in one read of the model's store: few, so that a gap takes several.
const PAGE: usize = 4;
const LEASE: Duration = Duration::from_secs(6);
const GRACE: Duration = Duration::from_secs(5);
/// As many as may type at once, and some more.
const TYPISTS: u8 = 140;

/// Runs `data` as a sequence of operations and asserts that every outcome is right.
pub fn run(data: &[u8]) {
    let Some((kind, operations)) = data.split_first() else { return };
    let mut operations = Operations(operations);
    match kind % 8 {
        0..=4 => run_room(&mut operations),
        5 => run_typing(&mut operations),
        6 => run_presence(&mut operations),
        _ => run_rate(&mut operations),
    }
}

/// The bytes that are left.
struct Operations<'a>(&'a [u8]);

impl Operations<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `bound`; 0 at the end.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next().unwrap_or(0)) % bound.max(1)
    }
}

fn user(number: usize) -> UserId {
    UserId::parse(&format!("u{number}")).expect("valid")
}

fn seq(number: usize) -> Seq {
    Seq::new(number as u64).expect("small")
}

/// A member as of some point of the log.
#[derive(Clone, Debug, PartialEq)]
struct ModelMember {
    user: UserId,
    role: Role,
    read_seq: usize,
}

/// A whole conversation, and a room that hears of it late, in any order, or not at all.
struct RoomModel {
    room: Room,
    builder: FrameBuilder,
    now: Moment,
    log: Vec<LogEvent>,
    /// Members as of the end of the log, in the order of joining.
    members: Vec<ModelMember>,
    /// Members as of the room's head.
    released_members: Vec<ModelMember>,
    released: usize,
    /// Read marks that the room has heard of and that count from a later head on.
    marks: Vec<(UserId, ReadMark)>,
    on_their_way: Vec<LogEvent>,
    /// The read under way: what it has found.
    read: Option<Vec<LogEvent>>,
    newest_heard: usize,
}

fn run_room(operations: &mut Operations<'_>) {
    let mut model = RoomModel::new(operations.below(4));
    while let Some(operation) = operations.next() {
        match operation % 16 {
            0..=3 => model.append(operations.below(5)),
            4 => model.join(operations.below(5)),
            5 => model.leave(operations.below(5)),
            6..=8 => model.hear(operations),
            9 => drop(model.take_on_its_way(operations)),
            10 => model.room.handle_doubt(model.now),
            11 => model.now = model.now + Duration::from_millis(25 * operations.below(16) as u64),
            12 => model.start_read(),
            13 => model.end_read(operations.below(4) > 0),
            14 => model.mark_read(operations),
            _ => model.reopen(operations.below(80)),
        }
        model.check(operations);
    }
    model.catch_up();
}

impl RoomModel {
    fn new(first_members: usize) -> Self {
        let role = |number| if number == 0 { Role::Owner } else { Role::Member };
        let members: Vec<_> =
            (0..first_members).map(|number| ModelMember { user: user(number), role: role(number), read_seq: 0 }).collect();
        let mut builder = FrameBuilder::default();
        Self {
            room: Room::open(CONVERSATION, snapshot(&[], &members, 64), &mut builder, UnixMillis::new(0)),
            builder,
            now: Moment::from_millis(1),
            log: Vec::new(),
            released_members: members.clone(),
            members,
            released: 0,
            marks: Vec::new(),
            on_their_way: Vec::new(),
            read: None,
            newest_heard: 0,
        }
    }

    fn commit(&mut self, event: LogEvent) {
        apply(&mut self.members, &event);
        self.log.push(event.clone());
        self.on_their_way.push(event);
    }

    fn append(&mut self, sender: usize) {
        let seq = seq(self.log.len() + 1);
        if self.members.iter().any(|member| member.user == user(sender)) {
            self.commit(LogEvent::MessageCreated(Arc::new(Message {
                id: MessageId::from_bytes([sender as u8; 16]),
                conversation: CONVERSATION,
                seq,
                sender: user(sender),
                sender_name: user(sender).shared(),
                content: "x".repeat(sender * 700).into(),
                client_message_id: None,
                reply_to: None,
                created_at: UnixMillis::new(0),
            })));
        }
    }

    fn join(&mut self, who: usize) {
        let (seq, user) = (seq(self.log.len() + 1), user(who));
        if self.members.iter().all(|member| member.user != user) {
            let (name, at) = (user.shared(), UnixMillis::new(0));
            self.commit(LogEvent::MemberJoined { conversation: CONVERSATION, seq, user, name, at });
        }
    }

    fn leave(&mut self, who: usize) {
        let (seq, user) = (seq(self.log.len() + 1), user(who));
        if self.members.iter().any(|member| member.user == user) {
            let (name, at) = (user.shared(), UnixMillis::new(0));
            self.commit(LogEvent::MemberLeft { conversation: CONVERSATION, seq, user, name, at });
        }
    }

    fn take_on_its_way(&mut self, operations: &mut Operations<'_>) -> Option<LogEvent> {
        let at = operations.below(self.on_their_way.len());
        (at < self.on_their_way.len()).then(|| self.on_their_way.swap_remove(at))
    }

    fn hear(&mut self, operations: &mut Operations<'_>) {
        if let Some(event) = self.take_on_its_way(operations) {
            self.handle(event);
        }
    }

    /// Gives the room an event; what it releases is the log, in order, once.
    fn handle(&mut self, event: LogEvent) {
        self.newest_heard = self.newest_heard.max(event.seq().get() as usize);
        self.room.handle_event(event, self.now);
        while let Some((event, frame)) = self.room.next_released(&mut self.builder, UnixMillis::new(0)) {
            assert_eq!(event, self.log[self.released], "released in order, once");
            self.released += 1;
            assert_eq!(seq_in(frame.payload()), self.released);
            apply(&mut self.released_members, &event);
            self.apply_marks();
        }
        assert_eq!(self.room.head(), seq(self.released));
    }

    fn start_read(&mut self) {
        let waits_since = self.room.waiting_since();
        let Some(after) = self.room.next_read(self.now, GAP_TIMEOUT) else { return };
        assert!(self.read.is_none(), "one read at a time");
        assert!(waits_since.is_some_and(|since| self.now.since(since) >= GAP_TIMEOUT));
        assert_eq!(after, self.room.head());
        self.read = Some(self.log.iter().skip(after.get() as usize).take(PAGE).cloned().collect());
    }

    fn end_read(&mut self, succeeds: bool) {
        let Some(found) = self.read.take() else { return };
        let end = if !succeeds {
            ReadEnd::Failed
        } else if found.len() < PAGE {
            ReadEnd::Head
        } else {
            ReadEnd::Page
        };
        for event in found.into_iter().filter(|_| succeeds) {
            self.handle(event);
        }
        self.room.handle_read_end(end, self.now);
    }

    /// A mark is counted at the log's end, which the room may not have reached, or at a head that it has passed.
    fn mark_read(&mut self, operations: &mut Operations<'_>) {
        let (who, upto, back) = (user(operations.below(5)), operations.below(self.log.len() + 1), operations.below(8));
        let is_at_end = self.room.head() == seq(self.log.len());
        let head = if is_at_end { self.log.len() - back.min(self.log.len()) } else { self.log.len() };
        let Some(member) = self.members.iter_mut().find(|member| member.user == who) else { return };
        // Which messages came after a head is known as far back as the recent events go.
        if head < member.read_seq || upto > head || (is_at_end && self.room.recent_after(seq(head)).is_none()) {
            return;
        }
        let moved = upto > member.read_seq;
        member.read_seq = member.read_seq.max(upto);
        let mark = ReadMark { seq: seq(member.read_seq), unread: unread(&self.log[..head], member), head: seq(head), moved };
        if moved {
            self.room.handle_read(&who, mark);
            self.marks.push((who, mark));
            self.apply_marks();
        }
    }

    /// A mark holds from the head on at which it was counted.
    fn apply_marks(&mut self) {
        let head = self.released;
        for (who, mark) in self.marks.extract_if(.., |(_, mark)| mark.head <= seq(head)) {
            if let Some(member) = self.released_members.iter_mut().find(|member| member.user == who) {
                member.read_seq = member.read_seq.max(mark.seq.get() as usize);
            }
        }
    }

    /// Goes live again from what the store has.
    fn reopen(&mut self, recent: usize) {
        let snapshot = snapshot(&self.log, &self.members, recent);
        self.room = Room::open(CONVERSATION, snapshot, &mut self.builder, UnixMillis::new(0));
        self.released_members.clone_from(&self.members);
        self.released = self.log.len();
        self.marks.clear();
        self.read = None;
        self.newest_heard = self.log.len();
    }

    fn check(&mut self, operations: &mut Operations<'_>) {
        let head = self.released;
        assert!(self.newest_heard <= head || self.room.waiting_since().is_some(), "what is missing is waited for");
        let members: Vec<_> = self.room.members(usize::MAX, |_| false).map(|member| (member.user, member.role)).collect();
        let expected: Vec<_> = self.released_members.iter().map(|member| (member.user.clone(), member.role)).collect();
        assert_eq!(members, expected);
        for member in &self.released_members {
            let count = unread(&self.log[..head], member);
            assert_eq!(self.room.unread(member.user.as_str()), Some(count), "unread messages of {}", member.user);
            let seen = self.room.conversation_for(member.user.as_str(), |_| None).expect("a member");
            assert_eq!((seen.head, seen.unread_count, seen.member_count), (seq(head), count, members.len() as u64));
        }
        assert!(self.room.conversation_for("nobody", |_| None).is_none());
        self.check_join(operations.below(head + 3), operations.below(40), head);
    }

    fn check_join(&self, since: usize, limit: usize, head: usize) {
        let plan = self.room.plan_join(Some(seq(since)), limit, 20);
        assert_eq!(plan.recovered, since <= head && head - since <= 20);
        let after = if plan.recovered { since } else { head.saturating_sub(limit) };
        assert_eq!(plan.after, seq(after));
        if let Some(events) = self.room.recent_after(plan.after) {
            assert!(events.map(|event| seq_in(event.payload())).eq(after + 1..=head), "all that is after {after}");
        }
    }

    /// However it went, doubt and the store bring the room to the end of the log.
    fn catch_up(&mut self) {
        self.end_read(true);
        self.room.handle_doubt(self.now);
        for _ in 0..=self.log.len() {
            self.now = self.now + GAP_TIMEOUT;
            self.start_read();
            self.end_read(true);
        }
        assert_eq!((self.room.head(), self.room.waiting_since()), (seq(self.log.len()), None));
        assert_eq!(self.released_members.len(), self.members.len());
    }
}

fn apply(members: &mut Vec<ModelMember>, event: &LogEvent) {
    match event {
        LogEvent::MessageCreated(_) => {}
        LogEvent::MemberJoined { seq, user, .. } => {
            let role = if members.is_empty() { Role::Owner } else { Role::Member };
            members.push(ModelMember { user: user.clone(), role, read_seq: seq.get() as usize });
        }
        LogEvent::MemberLeft { user, .. } => {
            members.retain(|member| member.user != *user);
            // Whoever has been in it longest owns the group, or does from now on.
            if let Some(first) = members.first_mut() {
                first.role = Role::Owner;
            }
        }
    }
}

fn unread(log: &[LogEvent], member: &ModelMember) -> u64 {
    let is_unread = |event: &&LogEvent| match event {
        LogEvent::MessageCreated(message) => message.sender != member.user && message.seq > seq(member.read_seq),
        LogEvent::MemberJoined { .. } | LogEvent::MemberLeft { .. } => false,
    };
    log.iter().filter(is_unread).count() as u64
}

fn snapshot(log: &[LogEvent], members: &[ModelMember], recent: usize) -> RoomSnapshot {
    let record = |member: &ModelMember| MemberRecord {
        user: member.user.clone(),
        name: member.user.shared(),
        role: member.role,
        read_seq: seq(member.read_seq),
        unread: unread(log, member),
        last_seen_at: None,
    };
    RoomSnapshot {
        kind: ConversationKind::Group,
        title: Arc::from(""),
        created_at: UnixMillis::new(0),
        invite: None,
        head: seq(log.len()),
        last_message: None,
        members: members.iter().map(record).collect(),
        recent: log[log.len().saturating_sub(recent.min(RecentEvents::capacity()))..].to_vec(),
    }
}

/// The `seq` of an encoded event.
fn seq_in(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).expect("JSON");
    let (_, after) = text.split_once("\"seq\":").expect("a log event has a seq");
    after.split(',').next().and_then(|digits| digits.parse().ok()).expect("a number")
}

fn run_typing(operations: &mut Operations<'_>) {
    let mut typing = TypingLeases::default();
    let mut now = Moment::from_millis(0);
    // Who types, on which connection, until when, and when that was announced last.
    let mut model: BTreeMap<UserId, (u64, Moment, Moment)> = BTreeMap::new();
    while let Some(operation) = operations.next() {
        let (who, connection) = (user(operations.below(usize::from(TYPISTS))), operations.below(3) as u64);
        match operation % 8 {
            0..=3 => {
                let told = model.get(&who).map(|(.., told)| *told);
                let is_due = told.is_none_or(|told| now.since(told) >= LEASE / 3);
                let has_room = told.is_some() || model.len() < 128;
                let expected = if is_due && has_room { TypingStart::Announce } else { TypingStart::Known };
                assert_eq!(typing.handle_start(&who, connection, now, LEASE), expected);
                if has_room {
                    let told = told.filter(|_| !is_due).unwrap_or(now);
                    model.insert(who, (connection, now + LEASE, told));
                }
            }
            4 => assert_eq!(typing.handle_stop(who.as_str()), model.remove(&who).is_some()),
            5 => {
                let is_theirs = model.get(&who).is_some_and(|(holder, ..)| *holder == connection);
                assert_eq!(typing.handle_disconnect(who.as_str(), connection), is_theirs);
                model.retain(|typist, _| !is_theirs || *typist != who);
            }
            _ => {
                now = now + Duration::from_millis(operations.below(256) as u64 * 20);
                while let Some(over) = typing.next_expired(now) {
                    let (_, until, _) = model.remove(&over).expect("only who types stops");
                    assert!(until <= now);
                }
                assert!(model.values().all(|(_, until, _)| *until > now), "nobody types for longer than their lease");
            }
        }
        let mut users: Vec<_> = typing.users().cloned().collect();
        users.sort();
        assert!(users.iter().eq(model.keys()) && typing.is_empty() == model.is_empty());
    }
}

fn run_presence(operations: &mut Operations<'_>) {
    let mut presence = Presence::new(GRACE);
    let mut now = Moment::from_millis(0);
    // Connections of each user who is online, and when the last one went.
    let mut model: BTreeMap<UserId, (usize, Moment)> = BTreeMap::new();
    while let Some(operation) = operations.next() {
        let who = user(operations.below(4));
        match operation % 4 {
            0 => {
                assert_eq!(presence.handle_connected(&who), !model.contains_key(&who));
                model.entry(who).or_insert((0, now)).0 += 1;
            }
            1 => {
                if let Some((connections, went_at)) = model.get_mut(&who).filter(|(connections, _)| *connections > 0) {
                    (*connections, *went_at) = (*connections - 1, now);
                    presence.handle_disconnected(&who, now);
                }
            }
            2 => now = now + Duration::from_millis(operations.below(256) as u64 * 30),
            _ => {
                let is_gone = |(connections, went_at): &(usize, Moment)| *connections == 0 && now.since(*went_at) >= GRACE;
                while let Some((gone, _)) = presence.next_offline(now) {
                    assert!(model.remove(&gone).is_some_and(|attendance| is_gone(&attendance)), "{gone} is still here");
                }
                assert!(!model.values().any(is_gone), "everybody is taken offline in time");
            }
        }
        let mut online: Vec<_> = presence.online().cloned().collect();
        online.sort();
        assert!(online.iter().eq(model.keys()));
    }
}

fn run_rate(operations: &mut Operations<'_>) {
    let (per_second, burst) = (1 + operations.below(20) as u32, 1 + operations.below(10) as u32);
    let rate = Rate::per_second(per_second, burst);
    let start = Moment::from_millis(1_000);
    let (mut bucket, mut now, mut passed) = (Schedule::default(), start, 0_u64);
    while let Some(operation) = operations.next() {
        match operation % 4 {
            0 | 1 => match bucket.try_take(rate, now) {
                Ok(()) => passed += 1,
                Err(wait) => {
                    assert!(!wait.is_zero() && !bucket.is_idle(now));
                    let mut later = bucket;
                    let then = now + wait + Duration::from_millis(1);
                    assert_eq!(later.try_take(rate, then), Ok(()), "it is over when it was said to be");
                }
            },
            2 if passed > 0 => {
                bucket.give_back(rate);
                passed -= 1;
            }
            2 => {}
            _ => now = now + Duration::from_millis(operations.below(256) as u64),
        }
        let earned = now.since(start).as_micros() as u64 / (1_000_000 / u64::from(per_second));
        assert!(passed <= u64::from(burst) + earned, "{passed} passed, {burst} and {earned} allowed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::harness::xorshift;

    #[test]
    fn any_operations_come_to_what_the_models_say() {
        let mut state = 0x1234_5678_9abc_def1;
        for _ in 0..10_000 {
            // A few long ones, so that a log grows past what a room remembers.
            let bound = if xorshift(&mut state).is_multiple_of(16) { 2_000 } else { 200 };
            let len = xorshift(&mut state) as usize % bound;
            let data: Vec<u8> = (0..len).map(|_| xorshift(&mut state) as u8).collect();
            run(&data);
        }
    }
}
