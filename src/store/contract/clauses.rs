//! The clauses of the contract, one function each.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::paging::{contents, seqs};
use super::{
    LIMITS, PATIENCE, Subject, at_seq, call, direct, fresh_conversation, fresh_message, group, outcome, start, text, text_as,
    user,
};
use crate::protocol::{LogEvent, Role, Seq, UnixMillis};
use crate::store::{MessageRange, NewMessage, StoreError};

type Open<'a> = &'a dyn Fn() -> Subject;

pub(crate) fn seq_is_dense_from_one_in_each_conversation(open: Open) {
    let subject = open();
    let (a, b) = (subject.group(&["ann", "bob"]), subject.group(&["ann", "bob"]));
    for seq in 1..=5 {
        assert_eq!(subject.say(a, "ann", "x").seq, at_seq(seq));
        assert_eq!(subject.say(b, "bob", "y").seq, at_seq(seq));
    }
}

pub(crate) fn writes_to_one_conversation_commit_and_answer_in_call_order(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    let (answers, answered) = channel();
    for number in 0..200 {
        let answers = answers.clone();
        let message = text(conversation, if number % 3 == 0 { "ann" } else { "bob" }, &number.to_string());
        let report = move |outcome| drop(answers.send(outcome));
        subject.store().append_message(message, Box::new(report));
    }
    for number in 0..200 {
        let stored = answered.recv_timeout(PATIENCE).expect("the callback is called").expect("stored").message;
        assert_eq!((stored.seq, &*stored.content), (at_seq(number + 1), &*number.to_string()));
    }
}

pub(crate) fn racing_writers_still_get_dense_seqs_in_callback_order(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    let order: Arc<Mutex<Vec<Seq>>> = Arc::default();
    let store = subject.store();
    std::thread::scope(|scope| {
        for sender in ["ann", "bob"] {
            let order = Arc::clone(&order);
            scope.spawn(move || {
                let (answers, answered) = channel();
                for _ in 0..300 {
                    let (order, answers) = (Arc::clone(&order), answers.clone());
                    let note = move |stored: Result<crate::store::Appended, _>| {
                        order.lock().expect("no panic").push(stored.expect("stored").message.seq);
                        answers.send(()).expect("the other end waits");
                    };
                    store.append_message(text(conversation, sender, "x"), Box::new(note));
                }
                for _ in 0..300 {
                    answered.recv_timeout(PATIENCE).expect("the callback is called");
                }
            });
        }
    });
    let order = order.lock().expect("no panic");
    assert!(order.iter().map(|seq| seq.get()).eq(1..=600), "callbacks came in the order {order:?}");
}

pub(crate) fn a_message_is_read_back_as_it_was_stored(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    let new = NewMessage {
        reply_to: Some(fresh_message()),
        created_at: UnixMillis::new(1_795_512_600_123),
        sender_name: Arc::from("Änn \u{1F600}"),
        ..text_as(conversation, "ann", "c-1", "línea 1\nlinea \u{10FFFF}")
    };
    let sent = subject.send(new.clone()).expect("stored").message;
    assert_eq!(*sent, new.into_message(at_seq(1)));
    let plain = subject.say(conversation, "bob", &"long ".repeat(800));
    let page = subject.messages(conversation, "bob", MessageRange::Latest, 10);
    assert_eq!(page.messages, [Arc::clone(&sent), Arc::clone(&plain)]);
    let events = [LogEvent::MessageCreated(sent), LogEvent::MessageCreated(plain)];
    assert_eq!(subject.events(conversation, 0, 10), events);
    assert_eq!(subject.room(conversation, 10).recent, events);
}

pub(crate) fn a_repeat_is_answered_with_the_original(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    let first = subject.send(text_as(conversation, "ann", "c-1", "hello")).expect("stored");
    subject.say(conversation, "bob", "between");
    let mut again = text_as(conversation, "ann", "c-1", "hello");
    (again.created_at, again.sender_name) = (UnixMillis::new(99), Arc::from("Another name"));
    let again = subject.send(again).expect("answered");
    assert!(!first.duplicate && again.duplicate);
    assert_eq!(first.message, again.message);
    assert_eq!(subject.view(conversation, "ann").expect("a view").head, at_seq(2));
    assert_eq!(subject.view(conversation, "bob").expect("a view").unread, 1);
}

pub(crate) fn a_repeat_with_another_body_is_a_conflict(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    subject.send(text_as(conversation, "ann", "c-1", "hello")).expect("stored");
    let other_text = text_as(conversation, "ann", "c-1", "goodbye");
    assert_eq!(subject.send(other_text).err(), Some(StoreError::Conflict));
    let mut other_reply = text_as(conversation, "ann", "c-1", "hello");
    other_reply.reply_to = Some(fresh_message());
    assert_eq!(subject.send(other_reply).err(), Some(StoreError::Conflict));
    assert_eq!(subject.view(conversation, "ann").expect("a view").head, at_seq(1));
}

pub(crate) fn client_message_ids_are_the_senders_own_and_the_conversations_own(open: Open) {
    let subject = open();
    let (a, b) = (subject.group(&["ann", "bob"]), subject.group(&["ann", "bob"]));
    for message in [
        text_as(a, "ann", "c-1", "x"),
        text_as(a, "bob", "c-1", "y"),
        text_as(b, "ann", "c-1", "z"),
        text_as(a, "ann", "C-1", "w"),
        text_as(a, "ann", "c-12", "v"),
    ] {
        assert!(!subject.send(message).expect("stored").duplicate);
    }
    assert_eq!(subject.view(a, "ann").expect("a view").head, at_seq(4));
}

pub(crate) fn repeats_started_together_store_one_message(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    let send = |content| start(|done| subject.store().append_message(text_as(conversation, "ann", "c-1", content), done));
    let started: Vec<_> = ["x", "x", "y", "x"].into_iter().map(send).collect();
    let answers: Vec<_> = started.iter().map(|answer| outcome(answer).map(|a| (a.message.seq, a.duplicate))).collect();
    let repeat = Ok((at_seq(1), true));
    assert_eq!(answers, [Ok((at_seq(1), false)), repeat, Err(StoreError::Conflict), repeat]);
    assert_eq!(subject.events(conversation, 0, 10).len(), 1);
}

pub(crate) fn who_is_not_a_member_sees_nothing_and_writes_nothing(open: Open) {
    let subject = open();
    let (real, unreal) = (subject.group(&["ann", "bob"]), fresh_conversation());
    subject.say(real, "ann", "secret");
    let not_found = Some(StoreError::NotFound);
    for (conversation, who) in [(real, "eve"), (unreal, "ann")] {
        assert_eq!(subject.send(text(conversation, who, "x")).err(), not_found);
        assert_eq!(subject.mark(conversation, who, 1).err(), not_found);
        assert_eq!(subject.leave(conversation, who).err(), not_found);
        assert_eq!(subject.view(conversation, who).err(), not_found);
        let page = call(|done| subject.store().load_messages(conversation, user(who), MessageRange::After(Seq::ZERO), 9, done));
        assert_eq!(page.err(), not_found);
    }
    assert_eq!(call(|done| subject.store().open_room(unreal, 5, done)).err(), not_found);
    assert_eq!(call(|done| subject.store().load_events(unreal, Seq::ZERO, 5, done)).err(), not_found);
    assert!(subject.page("eve", None, 10).conversations.is_empty());
    assert_eq!(subject.room(real, 10).head, at_seq(1));
}

pub(crate) fn two_users_have_one_direct_conversation(open: Open) {
    let subject = open();
    let first = subject.create(direct("ann", "bob"));
    let second = subject.create(direct("bob", "ann"));
    let other = subject.create(direct("ann", "cyd"));
    assert!(!first.existed && second.existed && !other.existed);
    assert_eq!(first.conversation, second.conversation);
    assert_ne!(first.conversation, other.conversation);
    assert_ne!(first.conversation, subject.group(&["ann", "bob"]), "a group of the same two is another conversation");
}

pub(crate) fn direct_conversations_started_together_are_one(open: Open) {
    let subject = open();
    let create = |(a, b)| start(|done| subject.store().create_conversation(direct(a, b), done));
    let started: Vec<_> = [("ann", "bob"), ("bob", "ann"), ("ann", "bob")].into_iter().map(create).collect();
    let created: Vec<_> = started.iter().map(|answer| outcome(answer).expect("created")).collect();
    assert_eq!(created.iter().filter(|created| !created.existed).count(), 1);
    assert!(created.iter().all(|other| other.conversation == created[0].conversation));
    assert_eq!(subject.page("ann", None, 10).conversations.len(), 1);
}

pub(crate) fn a_direct_conversation_has_the_others_name_and_no_owner(open: Open) {
    let subject = open();
    subject.put_user("bob", "Bob B.");
    let new = super::NewConversation { title: "ignored".into(), ..direct("ann", "bob") };
    let conversation = subject.create(new).conversation;
    let (ann, bob) = (subject.view(conversation, "ann").expect("a view"), subject.view(conversation, "bob").expect("a view"));
    assert_eq!((&*ann.title, ann.role, ann.member_count), ("Bob B.", Role::Member, 2));
    assert_eq!((&*bob.title, bob.role), ("ann", Role::Member));
    assert_eq!(&*subject.room(conversation, 5).title, "");
}

pub(crate) fn a_direct_conversation_cannot_be_left(open: Open) {
    let subject = open();
    let conversation = subject.create(direct("ann", "bob")).conversation;
    assert_eq!(subject.leave(conversation, "ann").err(), Some(StoreError::Forbidden));
    assert_eq!(subject.leave(conversation, "eve").err(), Some(StoreError::NotFound));
    assert_eq!(subject.view(conversation, "ann").expect("a view").member_count, 2);
}

pub(crate) fn unread_counts_others_messages_and_no_membership_events(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann", "bob"], Some([1; 32]))).conversation;
    subject.say(conversation, "ann", "1");
    subject.join([1; 32], "cyd").expect("joined");
    subject.say(conversation, "bob", "3");
    subject.say(conversation, "ann", "4");
    subject.leave(conversation, "cyd").expect("left");
    let unread = |who| subject.view(conversation, who).expect("a view").unread;
    assert_eq!((unread("ann"), unread("bob")), (1, 2));
    // The mark falls between own and other messages, on a membership event, and on the head.
    for (seq, left) in [(1, 1), (2, 1), (4, 0), (5, 0)] {
        assert_eq!(subject.mark(conversation, "bob", seq).map(|mark| mark.unread), Ok(left), "bob at {seq}");
    }
    for (seq, left) in [(2, 1), (3, 0), (5, 0)] {
        assert_eq!(subject.mark(conversation, "ann", seq).map(|mark| mark.unread), Ok(left), "ann at {seq}");
    }
    let members = subject.room(conversation, 0).members;
    assert_eq!(members.iter().map(|member| (member.read_seq.get(), member.unread)).collect::<Vec<_>>(), [(5, 0), (5, 0)]);
}

pub(crate) fn marks_never_move_back_nor_past_the_head(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    for _ in 0..3 {
        subject.say(conversation, "ann", "x");
    }
    let mark = |seq| subject.mark(conversation, "bob", seq).map(|mark| (mark.seq.get(), mark.unread, mark.moved));
    assert_eq!(mark(0), Ok((0, 3, false)));
    assert_eq!(mark(2), Ok((2, 1, true)));
    assert_eq!(mark(1), Ok((2, 1, false)));
    assert_eq!(mark(2), Ok((2, 1, false)));
    assert_eq!(mark(Seq::MAX.get()), Ok((3, 0, true)));
    let started: Vec<_> =
        [1, 3, 2].map(|seq| start(|done| subject.store().mark_read(conversation, user("ann"), at_seq(seq), done))).into();
    let marks: Vec<_> = started.iter().map(|answer| outcome(answer).map(|mark| mark.seq.get())).collect();
    assert_eq!(marks.last(), Some(&Ok(3)), "a burst ends at its furthest mark");
}

pub(crate) fn sending_does_not_move_the_senders_mark(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    subject.say(conversation, "bob", "x");
    subject.say(conversation, "ann", "y");
    let view = subject.view(conversation, "ann").expect("a view");
    assert_eq!((view.read_seq, view.unread, view.head), (Seq::ZERO, 1, at_seq(2)));
}

pub(crate) fn who_joins_reads_from_the_head_and_may_page_all_history(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([2; 32]))).conversation;
    subject.say(conversation, "ann", "before");
    let joined = subject.join([2; 32], "bob").expect("joined");
    assert_eq!((joined.conversation, joined.role), (conversation, Role::Member));
    let expected = LogEvent::MemberJoined {
        conversation,
        seq: at_seq(2),
        user: user("bob"),
        name: Arc::from("Name of bob"),
        at: UnixMillis::new(7),
    };
    assert_eq!(joined.event, Some(expected.clone()));
    assert_eq!(subject.events(conversation, 1, 9), [expected]);
    let view = subject.view(conversation, "bob").expect("a view");
    assert_eq!((view.read_seq, view.unread, view.member_count), (at_seq(2), 0, 2));
    assert_eq!(contents(&subject.messages(conversation, "bob", MessageRange::Latest, 9).messages), ["before"]);
    subject.say(conversation, "ann", "after");
    assert_eq!(subject.view(conversation, "bob").expect("a view").unread, 1);
    assert_eq!(subject.page("bob", None, 9).conversations.len(), 1);
}

pub(crate) fn joining_twice_is_no_second_event(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([3; 32]))).conversation;
    assert!(subject.join([3; 32], "bob").expect("joined").event.is_some());
    let again = subject.join([3; 32], "bob").expect("still in");
    assert_eq!((again.event, again.role), (None, Role::Member));
    let owner = subject.join([3; 32], "ann").expect("still in");
    assert_eq!((owner.event, owner.role), (None, Role::Owner));
    assert_eq!(subject.room(conversation, 9).head, at_seq(1));
}

pub(crate) fn a_full_group_cannot_be_joined(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([4; 32]))).conversation;
    let strangers: Vec<String> = (1..=LIMITS.max_members).map(|number| format!("user-{number}")).collect();
    let (fit, too_many) = strangers.split_at(LIMITS.max_members - 1);
    for who in fit {
        subject.join([4; 32], who).expect("room for one more");
    }
    assert_eq!(subject.join([4; 32], &too_many[0]).err(), Some(StoreError::MembersFull));
    assert!(subject.join([4; 32], &fit[0]).is_ok(), "a member is answered even when the group is full");
    subject.leave(conversation, &fit[0]).expect("left");
    assert!(subject.join([4; 32], &too_many[0]).is_ok());
}

pub(crate) fn an_unknown_invite_is_not_found(open: Open) {
    let subject = open();
    subject.create(group(&["ann"], Some([5; 32])));
    assert_eq!(subject.join([6; 32], "bob").err(), Some(StoreError::NotFound));
}

const TOO_MANY: Option<StoreError> = Some(StoreError::TooManyConversations);

/// Makes groups of this user alone until they are in as many conversations as one may be, and returns the last.
fn fill(subject: &Subject, who: &str) -> crate::protocol::ConversationId {
    let in_already = subject.page(who, None, 99).conversations.len();
    let groups = in_already..LIMITS.max_conversations_per_user;
    let made: Vec<_> = groups.map(|_| subject.group(&[who])).collect();
    *made.last().expect("room for one more")
}

pub(crate) fn nobody_is_put_into_more_conversations_than_one_may_be_in(open: Open) {
    let subject = open();
    let last = fill(&subject, "bob");
    for new in [group(&["bob"], None), group(&["ann", "bob", "cyd"], Some([13; 32])), direct("ann", "bob"), direct("bob", "ann")]
    {
        assert_eq!(subject.try_create(new).err(), TOO_MANY);
    }
    for who in ["ann", "cyd"] {
        assert!(subject.page(who, None, 9).conversations.is_empty(), "{who} is in nothing that was refused");
    }
    assert_eq!(subject.join([13; 32], "dan").err(), Some(StoreError::NotFound), "nor is there a group to join");
    subject.leave(last, "bob").expect("left");
    assert!(!subject.create(direct("ann", "bob")).existed, "a refused direct conversation was not made");
    assert_eq!(subject.try_create(group(&["ann", "bob"], None)).err(), TOO_MANY);
}

pub(crate) fn nobody_joins_more_conversations_than_one_may_be_in(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([14; 32]))).conversation;
    let last = fill(&subject, "bob");
    assert_eq!(subject.join([14; 32], "bob").err(), TOO_MANY);
    let room = subject.room(conversation, 9);
    assert_eq!((room.head, room.members.len()), (Seq::ZERO, 1), "refused without an event");
    assert_eq!(subject.view(conversation, "bob").err(), Some(StoreError::NotFound));
    subject.leave(last, "bob").expect("left");
    assert!(subject.join([14; 32], "bob").expect("joined").event.is_some());
    for who in ["cyd", "dan"] {
        subject.join([14; 32], who).expect("joined");
    }
    fill(&subject, "eve");
    assert_eq!(subject.join([14; 32], "eve").err(), Some(StoreError::MembersFull), "a full group is full for everybody");
}

pub(crate) fn what_exists_is_found_by_who_is_in_as_many_conversations_as_one_may_be(open: Open) {
    let subject = open();
    let pair = subject.create(direct("ann", "bob")).conversation;
    let invited = subject.create(group(&["ann", "bob"], Some([15; 32]))).conversation;
    fill(&subject, "ann");
    fill(&subject, "bob");
    for new in [direct("ann", "bob"), direct("bob", "ann")] {
        let found = subject.create(new);
        assert_eq!((found.conversation, found.existed), (pair, true));
    }
    let joined = subject.join([15; 32], "bob").expect("still in");
    assert_eq!((joined.conversation, joined.event), (invited, None));
}

pub(crate) fn places_in_one_batch_are_counted_one_by_one(open: Open) {
    let subject = open();
    let groups = 1 + LIMITS.max_conversations_per_user;
    let create = |_| start(|done| subject.store().create_conversation(group(&["ann", "bob"], None), done));
    let started: Vec<_> = (0..groups).map(create).collect();
    let created: Vec<_> = started.iter().map(|answer| outcome(answer).map(|created| created.existed)).collect();
    assert_eq!(created.iter().filter(|created| **created == Ok(false)).count(), groups - 1);
    assert_eq!(created.iter().filter(|created| **created == Err(StoreError::TooManyConversations)).count(), 1);
    assert_eq!(subject.page("ann", None, 99).conversations.len(), groups - 1);
}

pub(crate) fn a_leaving_owner_hands_over_to_the_longest_standing_member(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["zed"], Some([7; 32]))).conversation;
    for who in ["mia", "ann"] {
        subject.join([7; 32], who).expect("joined");
    }
    assert_eq!(subject.leave(conversation, "zed").expect("left").new_owner, Some(user("mia")));
    subject.join([7; 32], "zed").expect("joined");
    let roles = |subject: &Subject| {
        let members = subject.room(conversation, 0).members;
        members.into_iter().map(|member| (member.user.to_string(), member.role)).collect::<Vec<_>>()
    };
    let (owner, member) = (Role::Owner, Role::Member);
    assert_eq!(roles(&subject), [("mia".into(), owner), ("ann".into(), member), ("zed".into(), member)]);
    assert_eq!(subject.leave(conversation, "ann").expect("left").new_owner, None, "a plain member hands nothing over");
    assert_eq!(subject.leave(conversation, "mia").expect("left").new_owner, Some(user("zed")));
    assert_eq!(roles(&subject), [("zed".into(), owner)]);
}

pub(crate) fn an_empty_group_goes_to_whoever_joins_next(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann"], Some([8; 32]))).conversation;
    subject.say(conversation, "ann", "x");
    assert_eq!(subject.leave(conversation, "ann").expect("left").new_owner, None);
    let empty = subject.room(conversation, 9);
    assert_eq!((empty.members.len(), empty.head), (0, at_seq(2)));
    assert_eq!(subject.join([8; 32], "bob").expect("joined").role, Role::Owner);
    assert_eq!(subject.view(conversation, "bob").expect("a view").role, Role::Owner);
}

pub(crate) fn who_left_may_come_back(open: Open) {
    let subject = open();
    let conversation = subject.create(group(&["ann", "bob"], Some([9; 32]))).conversation;
    subject.put_user("bob", "Bob B.");
    subject.say(conversation, "bob", "1");
    subject.say(conversation, "bob", "2");
    subject.mark(conversation, "bob", 1).expect("marked");
    let left = subject.leave(conversation, "bob").expect("left").event;
    let name = Arc::from("Bob B.");
    assert_eq!(left, LogEvent::MemberLeft { conversation, seq: at_seq(3), user: user("bob"), name, at: UnixMillis::new(8) });
    assert!(subject.page("bob", None, 9).conversations.is_empty());
    assert_eq!(subject.send(text(conversation, "bob", "x")).err(), Some(StoreError::NotFound));
    subject.say(conversation, "ann", "4");
    assert_eq!(subject.join([9; 32], "bob").expect("joined").event.map(|event| event.seq()), Some(at_seq(5)));
    subject.say(conversation, "bob", "6");
    subject.say(conversation, "ann", "7");
    let view = subject.view(conversation, "bob").expect("a view");
    assert_eq!((view.read_seq, view.unread), (at_seq(5), 1));
    assert_eq!(subject.mark(conversation, "bob", 6).map(|mark| mark.unread), Ok(1));
    assert_eq!(subject.mark(conversation, "bob", 7).map(|mark| mark.unread), Ok(0));
    assert_eq!(seqs(&subject.events(conversation, 0, 99)), [1, 2, 3, 4, 5, 6, 7]);
}

pub(crate) fn names_are_those_of_the_last_login_or_the_id(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    subject.put_user("ann", "Ann");
    subject.put_user("ann", "Ann Again");
    subject.put_user("ann", "Ann Again");
    call(|done| subject.store().put_last_seen(vec![(user("bob"), UnixMillis::new(3))], done)).expect("remembered");
    let names: Vec<_> = subject.room(conversation, 0).members.into_iter().map(|member| member.name).collect();
    assert_eq!(names, [Arc::from("Ann Again"), Arc::from("bob")]);
}

pub(crate) fn last_seen_is_remembered(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob", "cyd"]);
    let see = |seen: &[(&str, u64)]| {
        let seen = seen.iter().map(|&(who, at)| (user(who), UnixMillis::new(at))).collect();
        call(|done| subject.store().put_last_seen(seen, done)).expect("remembered");
    };
    see(&[("ann", 10), ("bob", 11)]);
    see(&[("ann", 12)]);
    subject.put_user("ann", "Ann");
    // What is told late does not move it back, nor does what is told with it.
    see(&[("bob", 3)]);
    see(&[("ann", 12), ("ann", 2)]);
    for told in [&[("bob", 4), ("cyd", 0)][..], &[("bob", 11)], &[("bob", 10)]] {
        see(told);
    }
    let seen: Vec<_> = subject.room(conversation, 0).members.into_iter().map(|member| member.last_seen_at).collect();
    assert_eq!(seen, [12, 11, 0].map(|at| Some(UnixMillis::new(at))));
    let unseen = subject.group(&["dan"]);
    assert_eq!(subject.room(unseen, 0).members[0].last_seen_at, None);
}

pub(crate) fn reads_see_what_was_acknowledged(open: Open) {
    let subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    for number in 1..=50 {
        let stored = subject.say(conversation, "ann", "x");
        let view = subject.view(conversation, "bob").expect("a view");
        assert_eq!((view.head, view.last_message, view.unread), (stored.seq, Some(stored), 1));
        let mark = subject.mark(conversation, "bob", number).expect("marked");
        assert!(mark.moved);
        let view = subject.view(conversation, "bob").expect("a view");
        assert_eq!((view.read_seq, view.unread), (mark.seq, 0));
    }
}

pub(crate) fn a_store_that_works_says_so(open: Open) {
    let subject = open();
    assert_eq!(call(|done| subject.store().check(done)), Ok(()));
}

pub(crate) fn the_epoch_is_short_printable_text(open: Open) {
    let (one, other) = (open(), open());
    let epoch = one.store().epoch();
    assert!((1..=64).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_graphic()), "{epoch:?}");
    assert_ne!(epoch, other.store().epoch(), "two histories have two epochs");
}
