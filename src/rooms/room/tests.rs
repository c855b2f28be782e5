//! What a room makes of events and marks, in whatever order it hears of them.

use super::super::MemberRecord;
use super::*;
use crate::protocol::MessageId;

fn user(id: &str) -> UserId {
    UserId::parse(id).expect("valid")
}

fn seq(value: u64) -> Seq {
    Seq::new(value).expect("small")
}

fn message(at: u64, sender: &str) -> LogEvent {
    LogEvent::MessageCreated(Arc::new(Message {
        id: MessageId::from_bytes([at as u8; 16]),
        conversation: ConversationId::from_bytes([1; 16]),
        seq: seq(at),
        sender: user(sender),
        sender_name: Arc::from(sender),
        content: "x".into(),
        client_message_id: None,
        reply_to: None,
        created_at: UnixMillis::new(0),
    }))
}

fn joined(at: u64, who: &str) -> LogEvent {
    let (conversation, user, name) = (ConversationId::from_bytes([1; 16]), user(who), Arc::from(who));
    LogEvent::MemberJoined { conversation, seq: seq(at), user, name, at: UnixMillis::new(0) }
}

fn left(at: u64, who: &str) -> LogEvent {
    let (conversation, user, name) = (ConversationId::from_bytes([1; 16]), user(who), Arc::from(who));
    LogEvent::MemberLeft { conversation, seq: seq(at), user, name, at: UnixMillis::new(0) }
}

fn room(members: &[(&str, Role)]) -> Room {
    let record = |&(id, role): &(&str, Role)| MemberRecord {
        user: user(id),
        name: Arc::from(id),
        role,
        read_seq: Seq::ZERO,
        unread: 0,
        last_seen_at: None,
    };
    let snapshot = RoomSnapshot {
        kind: ConversationKind::Group,
        title: Arc::from("t"),
        created_at: UnixMillis::new(0),
        invite: Some([0; 32]),
        head: Seq::ZERO,
        last_message: None,
        members: members.iter().map(record).collect(),
        recent: Vec::new(),
    };
    Room::open(ConversationId::from_bytes([1; 16]), snapshot, &mut FrameBuilder::default(), UnixMillis::new(0))
}

fn commit(room: &mut Room, event: LogEvent) -> usize {
    room.handle_event(event, Moment::default());
    std::iter::from_fn(|| room.next_released(&mut FrameBuilder::default(), UnixMillis::new(0))).count()
}

fn two() -> Room {
    room(&[("a", Role::Owner), ("b", Role::Member)])
}

#[test]
fn only_others_messages_after_the_mark_are_unread() {
    let mut room = two();
    for (at, sender) in [(1, "a"), (2, "b"), (3, "a")] {
        commit(&mut room, message(at, sender));
    }
    assert_eq!((room.unread("a"), room.unread("b"), room.unread("c")), (Some(1), Some(2), None));
    room.handle_read(&user("b"), ReadMark { seq: seq(1), unread: 1, head: seq(3), moved: true });
    assert_eq!(room.unread("b"), Some(1));
    commit(&mut room, message(4, "b"));
    assert_eq!((room.unread("a"), room.unread("b")), (Some(2), Some(1)));
}

#[test]
fn a_mark_counted_ahead_of_what_is_released_stays_right() {
    let mut room = two();
    commit(&mut room, message(1, "a"));
    assert_eq!(commit(&mut room, message(3, "a")), 0, "kept back for 2");
    room.handle_read(&user("b"), ReadMark { seq: seq(1), unread: 1, head: seq(3), moved: true });
    assert_eq!(commit(&mut room, joined(2, "c")), 2);
    assert_eq!(room.unread("b"), Some(1));
    assert_eq!(room.take_reads(), [(user("b"), seq(1))]);
}

#[test]
fn a_mark_counted_behind_what_is_released_stays_right() {
    let mut room = two();
    for at in 1..=3 {
        commit(&mut room, message(at, "a"));
    }
    room.handle_read(&user("b"), ReadMark { seq: seq(1), unread: 0, head: seq(1), moved: true });
    assert_eq!(room.unread("b"), Some(2));
}

#[test]
fn a_newcomer_has_read_everything_before_they_came() {
    let mut room = two();
    commit(&mut room, message(1, "a"));
    commit(&mut room, joined(2, "c"));
    assert_eq!(room.unread("c"), Some(0));
    commit(&mut room, message(3, "a"));
    assert_eq!(room.unread("c"), Some(1));
}

#[test]
fn the_group_goes_to_who_has_been_in_it_longest_and_an_empty_one_to_who_comes() {
    let code = |_: &InviteHash| Some("code".into());
    let mut room = two();
    commit(&mut room, joined(1, "c"));
    commit(&mut room, left(2, "a"));
    assert!(room.conversation_for("b", code).expect("a member").invite_code.is_some());
    assert!(room.conversation_for("c", code).expect("a member").invite_code.is_none());
    assert!(room.conversation_for("a", code).is_none());
    commit(&mut room, left(3, "b"));
    commit(&mut room, left(4, "c"));
    commit(&mut room, joined(5, "d"));
    assert!(room.conversation_for("d", code).expect("a member").invite_code.is_some());
}

#[test]
fn a_burst_of_reads_is_told_as_the_newest() {
    let mut room = two();
    for at in 1..=3 {
        commit(&mut room, message(at, "a"));
    }
    for (at, unread) in [(1, 2), (3, 0), (2, 1)] {
        room.handle_read(&user("b"), ReadMark { seq: seq(at), unread, head: seq(3), moved: true });
    }
    assert_eq!(room.take_reads(), [(user("b"), seq(3))]);
    assert!(!room.has_reads());
    assert_eq!(room.unread("b"), Some(0));
}

#[test]
fn a_join_recovers_only_from_a_position_it_can_continue_from() {
    let mut room = two();
    for at in 1..=10 {
        commit(&mut room, message(at, "a"));
    }
    let plan = |since: u64| room.plan_join(Some(seq(since)), 3, 5);
    assert_eq!(plan(10), JoinPlan { after: seq(10), recovered: true });
    assert_eq!(plan(5), JoinPlan { after: seq(5), recovered: true });
    assert_eq!(plan(4), JoinPlan { after: seq(7), recovered: false }, "too far behind");
    assert_eq!(plan(11), JoinPlan { after: seq(7), recovered: false }, "ahead of the log");
    assert_eq!(room.plan_join(None, 50, 5), JoinPlan { after: seq(0), recovered: false });
}
