//! The clauses about pages and lists.

use std::sync::Arc;

use super::{Subject, at_seq, fresh_message_at, group, text};
use crate::protocol::{IdTime, LogEvent, Seq, UnixMillis};
use crate::store::{ConversationCursor, ConversationView, MessageRange, NewConversation, NewMessage};

type Open<'a> = &'a dyn Fn() -> Subject;

pub(super) fn seqs(events: &[LogEvent]) -> Vec<u64> {
    events.iter().map(|event| event.seq().get()).collect()
}

pub(super) fn contents(messages: &[Arc<crate::protocol::Message>]) -> Vec<&str> {
    messages.iter().map(|message| &*message.content).collect()
}

pub(crate) fn conversations_page_by_latest_activity(open: Open) {
    let subject = open();
    let ids: Vec<_> = (0..5).map(|_| subject.group(&["ann", "bob"])).collect();
    let say_at = |index: usize, at| {
        let id = fresh_message_at(UnixMillis::new(at));
        subject.send(NewMessage { id, ..text(ids[index], "bob", "x") }).expect("stored");
    };
    // Two tie at 20, two have no message and tie at their creation.
    say_at(0, 20);
    say_at(3, 30);
    say_at(1, 20);
    let order = |found: &[ConversationView]| found.iter().map(|view| view.id).collect::<Vec<_>>();
    assert_eq!(order(&subject.page("ann", None, 9).conversations), [ids[3], ids[1], ids[0], ids[4], ids[2]]);
    let first = subject.page("ann", None, 2);
    assert_eq!(order(&first.conversations), [ids[3], ids[1]]);
    let cursor = ConversationCursor { active_at: IdTime::new(20 << 16), conversation: ids[1] };
    assert_eq!(first.next, Some(cursor));
    // New activity between the pages moves one to the front; it is not listed again, and nothing else is skipped.
    say_at(4, 40);
    let second = subject.page("ann", first.next, 2);
    assert_eq!((order(&second.conversations), second.next), (vec![ids[0], ids[2]], None));
    assert_eq!(order(&subject.page("ann", None, 1).conversations), [ids[4]]);
}

pub(crate) fn messages_page_in_both_directions(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann"]);
    for number in 1..=7 {
        subject.say(conversation, "ann", &number.to_string());
    }
    let page = |range, limit| {
        let page = subject.messages(conversation, "ann", range, limit);
        (contents(&page.messages).join(""), page.has_more)
    };
    assert_eq!(page(MessageRange::Latest, 3), ("567".into(), true));
    assert_eq!(page(MessageRange::Latest, 7), ("1234567".into(), false));
    assert_eq!(page(MessageRange::Before(at_seq(5)), 3), ("234".into(), true));
    assert_eq!(page(MessageRange::Before(at_seq(4)), 3), ("123".into(), false));
    assert_eq!(page(MessageRange::Before(at_seq(1)), 3), (String::new(), false));
    assert_eq!(page(MessageRange::Before(Seq::MAX), 2), ("67".into(), true));
    assert_eq!(page(MessageRange::After(Seq::ZERO), 3), ("123".into(), true));
    assert_eq!(page(MessageRange::After(at_seq(4)), 3), ("567".into(), false));
    assert_eq!(page(MessageRange::After(at_seq(7)), 3), (String::new(), false));
    assert_eq!(page(MessageRange::After(Seq::MAX), 3), (String::new(), false));
}

pub(crate) fn messages_page_over_membership_events(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([10; 32]))).conversation;
    for content in ["1", "2"] {
        subject.say(conversation, "ann", content);
        subject.join([10; 32], "bob").expect("joined");
        subject.leave(conversation, "bob").expect("left");
    }
    let page = |range, limit| {
        let page = subject.messages(conversation, "ann", range, limit);
        (contents(&page.messages).join(""), page.has_more)
    };
    assert_eq!(page(MessageRange::Latest, 1), ("2".into(), true));
    assert_eq!(page(MessageRange::Before(at_seq(4)), 1), ("1".into(), false));
    assert_eq!(page(MessageRange::After(at_seq(1)), 1), ("2".into(), false));
    let last = subject.view(conversation, "ann").expect("a view").last_message;
    assert_eq!(last.map(|message| message.content.clone()).as_deref(), Some("2"));
}

pub(crate) fn events_are_listed_without_a_gap(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([11; 32]))).conversation;
    subject.say(conversation, "ann", "1");
    subject.join([11; 32], "bob").expect("joined");
    subject.say(conversation, "bob", "3");
    subject.leave(conversation, "bob").expect("left");
    assert_eq!(seqs(&subject.events(conversation, 0, 99)), [1, 2, 3, 4]);
    assert_eq!(seqs(&subject.events(conversation, 1, 2)), [2, 3]);
    assert_eq!(seqs(&subject.events(conversation, 4, 2)), [0; 0]);
    assert_eq!(seqs(&subject.events(conversation, Seq::MAX.get(), 2)), [0; 0]);
}

pub(crate) fn a_room_opens_with_its_newest_events(open: Open) {
    let subject = open();
    let new = NewConversation { title: "Team".into(), ..group(&["cyd", "ann"], Some([12; 32])) };
    let conversation = subject.create(new).conversation;
    let empty = subject.room(conversation, 9);
    assert_eq!((empty.head, empty.last_message, empty.recent.len()), (Seq::ZERO, None, 0));
    for content in ["1", "2", "3"] {
        subject.say(conversation, "ann", content);
    }
    subject.join([12; 32], "bob").expect("joined");
    let room = subject.room(conversation, 2);
    assert_eq!((&*room.title, room.invite, room.created_at), ("Team", Some([12; 32]), UnixMillis::new(1)));
    assert_eq!((room.head, seqs(&room.recent)), (at_seq(4), vec![3, 4]));
    assert_eq!(room.last_message.map(|message| message.seq), Some(at_seq(3)));
    let order: Vec<_> = room.members.iter().map(|member| member.user.as_str()).collect();
    assert_eq!(order, ["cyd", "ann", "bob"]);
    assert_eq!(subject.room(conversation, 0).recent.len(), 0);
    assert_eq!(subject.room(conversation, 99).recent.len(), 4);
}
