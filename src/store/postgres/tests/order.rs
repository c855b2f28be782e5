//! Batches: what waits for what, and what does not.

use super::super::super::contract::{at_seq, call, group, outcome, start, text, user};
use super::super::plan::{MAX_PHASES, Plan};
use super::faults::{WAITS, until};
use super::*;

#[test]
fn a_code_that_is_not_looked_up_yet_delays_nobody_but_who_joins_by_it() {
    let server = server_at(shared_url());
    let store = open(&server);
    call(|done| store.put_user(user("zoe"), Arc::from("Zoe"), done)).unwrap();
    let create = |new| call(|done| store.create_conversation(new, done)).unwrap().conversation;
    let joined = create(group(&["ann"], Some([1; 32])));
    let others = (0..4 * LANES).map(|number| format!("user-{number}"));
    let others: Vec<_> = others.map(|who| (create(group(&[&who], None)), who)).collect();
    // The connection that looks codes up waits for a user's row.
    let beside = Beside::new(&server);
    beside.run("BEGIN; SELECT FROM users WHERE id = 'zoe' FOR UPDATE");
    let named = start(|done| store.put_user(user("zoe"), Arc::from("Zoe Z."), done));
    until("the name waits", || beside.number(WAITS) == 1);
    let before = start(|done| store.append_message(text(joined, "ann", "before"), done));
    let join = start(|done| store.join_by_invite([1; 32], user("bob"), Arc::from("Bob"), UnixMillis::new(7), done));
    for (id, who) in &others {
        assert_eq!(call(|done| store.append_message(text(*id, who, "x"), done)).map(|it| it.message.seq), Ok(at_seq(1)));
    }
    assert!(join.try_recv().is_err() && beside.number(WAITS) == 1, "the code is not looked up yet");
    beside.run("COMMIT");
    assert_eq!(outcome(&before).map(|it| it.message.seq), Ok(at_seq(1)));
    assert_eq!(outcome(&join).map(|it| it.event.map(|event| event.seq())), Ok(Some(at_seq(2))));
    assert_eq!(outcome(&named), Ok(()));
}

/// What is written to a conversation: a message or a mark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Mark,
}

/// Kinds in turn.
fn in_turn(first: Kind, count: usize) -> impl Iterator<Item = Kind> {
    let second = if first == Kind::Message { Kind::Mark } else { Kind::Message };
    [first, second].into_iter().cycle().take(count)
}

#[test]
fn the_parts_of_a_batch_that_need_more_phases_than_all_of_it_did_are_carried_out_too() {
    let server = server_at(shared_url());
    let store = open(&server);
    // All of one lane.
    let create = |_| {
        let new = (0..1_000).map(|_| group(&["ann"], None)).find(|new| lane_of(new.id, LANES) == 0).unwrap();
        call(|done| store.create_conversation(new, done)).unwrap().conversation
    };
    let [first, pattern, fill, one, other] = std::array::from_fn(create);
    for id in [pattern, fill, one, other] {
        call(|done| store.append_message(text(id, "ann", "there is something to mark"), done)).unwrap();
    }
    // The first half makes a pattern of phases into which the second half fits. The second half alone makes another one, which begins
    // with marks, and then one phase more than there may be.
    let mut writes: Vec<(ConversationId, Kind, &str)> = Vec::new();
    writes.extend(in_turn(Kind::Message, MAX_PHASES).map(|kind| (pattern, kind, "x")));
    writes.extend((2..MAX_PHASES).map(|_| (fill, Kind::Message, "x")));
    writes.push((fill, Kind::Message, "PostgreSQL takes no \0"));
    writes.extend(in_turn(Kind::Mark, MAX_PHASES - 1).map(|kind| (one, kind, "x")));
    writes.extend(in_turn(Kind::Message, MAX_PHASES).map(|kind| (other, kind, "x")));
    assert_eq!(plan(&writes), (MAX_PHASES, writes.len()));
    let half = writes.split_off(writes.len() / 2);
    assert!(plan(&half).1 < half.len(), "the second half does not fit");
    writes.extend(half);

    let beside = Beside::new(&server);
    beside.run(&format!("BEGIN; SELECT FROM conversations WHERE id = '{first}' FOR UPDATE"));
    let before = start(|done| store.append_message(text(first, "ann", "x"), done));
    until("the lane is busy", || beside.number(WAITS) == 1);
    let begin = |(id, kind, content): &(ConversationId, Kind, &str)| -> Box<dyn Fn() -> Result<(), StoreError>> {
        match kind {
            Kind::Message => {
                let answer = start(|done| store.append_message(text(*id, "ann", content), done));
                Box::new(move || outcome(&answer).map(drop))
            }
            Kind::Mark => {
                let answer = start(|done| store.mark_read(*id, user("ann"), at_seq(1), done));
                Box::new(move || outcome(&answer).map(drop))
            }
        }
    };
    let answers: Vec<_> = writes.iter().map(begin).collect();
    beside.run("COMMIT");
    assert!(outcome(&before).is_ok());
    for (answer, (_, _, content)) in answers.iter().zip(&writes) {
        let expected = if *content == "x" { Ok(()) } else { Err(StoreError::Unavailable) };
        assert_eq!(answer(), expected, "{content}");
    }
}

/// How many phases it takes, and how many of the writes have one.
fn plan(writes: &[(ConversationId, Kind, &str)]) -> (usize, usize) {
    let write = |(id, kind, content): &(ConversationId, Kind, &str)| match kind {
        Kind::Message => Write::Append(text(*id, "ann", content), Reply::new(Box::new(|_| ()))),
        Kind::Mark => Write::MarkRead(*id, user("ann"), at_seq(1), Reply::new(Box::new(|_| ()))),
    };
    let writes: Vec<Write> = writes.iter().map(write).collect();
    let (phases, planned) = Plan::of(&writes);
    (phases.len(), planned)
}
