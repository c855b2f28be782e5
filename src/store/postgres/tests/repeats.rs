//! A batch of which each write changes what the next one looks at, and which was committed although its answer was lost: repeated,
//! every write finds what it has left, whatever came after it.

use super::super::super::contract::{at_seq, call, group, outcome, start, text, user};
use super::super::super::{Joined, Left};
use super::faults::{WAITS, behind_a_proxy, until};
use super::*;

const INVITE: [u8; 32] = [1; 32];

/// Creates a group in which `before` are; has what `begin` starts written to it as one batch, and the answer of that be lost.
fn with_a_lost_batch<T>(before: &[&str], begin: impl FnOnce(&PostgresStore, ConversationId) -> T) -> (Beside, T) {
    let (proxy, store, beside) = behind_a_proxy();
    let id = call(|done| store.create_conversation(group(before, Some(INVITE)), done)).unwrap().conversation;
    // Another conversation of the same lane, whose message keeps the lane busy while the batch is put together.
    let other = (0..1_000).map(|_| group(&["ann"], None)).find(|new| lane_of(new.id, LANES) == lane_of(id, LANES)).unwrap();
    let other = call(|done| store.create_conversation(other, done)).unwrap().conversation;
    let holds = beside.another();
    let lock = |id: ConversationId| format!("BEGIN; SELECT FROM conversations WHERE id = '{id}' FOR UPDATE");
    holds.run(&lock(other));
    let first = start(|done| store.append_message(text(other, "ann", "x"), done));
    until("the lane is busy", || holds.number(WAITS) == 1);
    beside.run(&lock(id));
    let started = begin(&store, id);
    look_up(&store);
    holds.run("COMMIT");
    outcome(&first).unwrap();
    until("the batch waits", || beside.number(WAITS) == 1);
    let before = holds.number("SELECT sum(head)::bigint FROM conversations");
    proxy.swallow();
    beside.run("COMMIT");
    until("the batch is committed", || holds.number("SELECT sum(head)::bigint FROM conversations") == before + 2);
    proxy.cut();
    until("the lanes are back", || call(|done| store.check(done)).is_ok());
    assert_eq!(holds.number("SELECT sum(head)::bigint FROM conversations"), before + 2, "each write happened once");
    (beside, started)
}

/// Waits until the codes of joinings are looked up, so that these have their places: what waits beside the lanes is worked off in
/// order.
fn look_up(store: &PostgresStore) {
    call(|done| store.put_user(user("zoe"), Arc::from("Zoe"), done)).unwrap();
}

fn join(store: &PostgresStore) -> std::sync::mpsc::Receiver<Result<Joined, StoreError>> {
    start(|done| store.join_by_invite(INVITE, user("bob"), Arc::from("Bob"), UnixMillis::new(7), done))
}

fn leave(store: &PostgresStore, id: ConversationId) -> std::sync::mpsc::Receiver<Result<Left, StoreError>> {
    start(|done| store.leave(id, user("bob"), UnixMillis::new(8), done))
}

#[test]
fn a_message_is_found_although_its_sender_has_left_since() {
    let (_beside, (appended, left)) = with_a_lost_batch(&["ann", "bob"], |store, id| {
        (start(|done| store.append_message(text(id, "bob", "bye"), done)), leave(store, id))
    });
    assert_eq!(outcome(&appended).map(|appended| (appended.message.seq, appended.duplicate)), Ok((at_seq(1), false)));
    assert_eq!(outcome(&left).map(|left| left.event.seq()), Ok(at_seq(2)));
}

#[test]
fn a_joining_is_found_although_its_user_has_left_since() {
    let (beside, (joined, left)) = with_a_lost_batch(&["ann"], |store, id| {
        let joined = join(store);
        look_up(store);
        (joined, leave(store, id))
    });
    assert_eq!(outcome(&joined).map(|joined| joined.event.map(|event| event.seq())), Ok(Some(at_seq(1))));
    assert_eq!(outcome(&left).map(|left| left.event.seq()), Ok(at_seq(2)));
    assert_eq!(beside.number("SELECT count(*) FROM members WHERE \"user\" = 'bob'"), 0);
}

#[test]
fn a_leaving_is_found_although_its_user_has_joined_since() {
    let (beside, (left, joined)) = with_a_lost_batch(&["ann", "bob"], |store, id| (leave(store, id), join(store)));
    assert_eq!(outcome(&left).map(|left| left.event.seq()), Ok(at_seq(1)));
    assert_eq!(outcome(&joined).map(|joined| joined.event.map(|event| event.seq())), Ok(Some(at_seq(2))));
    assert_eq!(beside.number("SELECT count(*) FROM members WHERE \"user\" = 'bob'"), 1);
}
