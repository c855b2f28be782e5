//! What a store that keeps its contents owes after it was closed and opened again. A store that keeps nothing passes.

use super::{Subject, at_seq, direct, group, outcome, start, text, text_as};
use crate::store::{MessageRange, StoreError};

type Open<'a> = &'a dyn Fn() -> Subject;

pub(crate) fn everything_survives_a_reopen(open: Open) {
    let mut subject = open();
    let conversation = subject.create(group(&["ann", "bob"], Some([1; 32]))).conversation;
    let pair = subject.create(direct("ann", "bob")).conversation;
    subject.put_user("ann", "Ann");
    for number in 0..20 {
        subject.say(conversation, if number % 2 == 0 { "ann" } else { "bob" }, &number.to_string());
    }
    subject.join([1; 32], "cyd").expect("joined");
    subject.leave(conversation, "ann").expect("left");
    subject.mark(conversation, "bob", 7).expect("marked");
    let before = (
        subject.view(conversation, "bob").expect("a view"),
        subject.events(conversation, 0, 99),
        subject.room(conversation, 9).members,
        subject.page("bob", None, 9).conversations,
    );
    if !subject.reopen() {
        return;
    }
    let after = (
        subject.view(conversation, "bob").expect("a view"),
        subject.events(conversation, 0, 99),
        subject.room(conversation, 9).members,
        subject.page("bob", None, 9).conversations,
    );
    assert_eq!(before, after);
    assert_eq!(subject.say(conversation, "cyd", "next").seq, at_seq(23));
    assert!(subject.create(direct("bob", "ann")).existed);
    assert_eq!(subject.say(pair, "bob", "first").seq, at_seq(1));
}

pub(crate) fn repeats_are_recognised_after_a_reopen(open: Open) {
    let mut subject = open();
    let conversation = subject.group(&["ann", "bob"]);
    let first = subject.send(text_as(conversation, "ann", "c-1", "hello")).expect("stored");
    if !subject.reopen() {
        return;
    }
    let again = subject.send(text_as(conversation, "ann", "c-1", "hello")).expect("answered");
    assert!(again.duplicate);
    assert_eq!(again.message, first.message);
    assert_eq!(subject.send(text_as(conversation, "ann", "c-1", "other")).err(), Some(StoreError::Conflict));
}

pub(crate) fn the_epoch_survives_a_reopen(open: Open) {
    let mut subject = open();
    let epoch = subject.store().epoch();
    if subject.reopen() {
        assert_eq!(subject.store().epoch(), epoch);
    }
}

pub(crate) fn what_was_started_before_a_close_is_answered(open: Open) {
    let mut subject = open();
    let conversation = subject.group(&["ann"]);
    let send = |_| start(|done| subject.store().append_message(text(conversation, "ann", "x"), done));
    let started: Vec<_> = (0..100).map(send).collect();
    let kept = subject.reopen();
    for (answer, number) in started.iter().zip(1..) {
        assert_eq!(outcome(answer).map(|appended| appended.message.seq), Ok(at_seq(number)));
    }
    if kept {
        assert_eq!(subject.messages(conversation, "ann", MessageRange::Latest, 200).messages.len(), 100);
    }
}
