//! What happens when the connection or the server goes, or a row cannot be stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::super::super::contract::{at_seq, call, fresh_message, group, outcome, start, text, text_as, user};
use super::super::super::{MessageRange, NewMessage};
use super::proxy::Proxy;
use super::*;
use crate::protocol::{LogEvent, Role};

/// Far longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(60);
/// How many wait for what the asking connection has locked.
pub(super) const WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))";

pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A store whose answers can be lost, and a look at what it has stored.
pub(super) fn behind_a_proxy() -> (Proxy, PostgresStore, Beside) {
    behind_a_proxy_for(Duration::from_secs(20))
}

pub(super) fn behind_a_proxy_for(timeout: Duration) -> (Proxy, PostgresStore, Beside) {
    let server = DatabaseServer { timeout, ..server_at(shared_url()) };
    let (proxy, url) = Proxy::new(shared_url());
    let through = DatabaseServer { url: ServerUrl::parse(&format!("{url}?sslmode=disable")).unwrap(), ..server.clone() };
    let store = open(&through);
    (proxy, store, Beside::new(&server))
}

/// Runs an operation whose answer is lost after it was committed, which `is_stored` tells, and gives what the store answers.
fn with_a_lost_answer<T: Send + 'static>(
    (proxy, beside): (&Proxy, &Beside),
    is_stored: &str,
    operation: impl FnOnce(Done<T>),
) -> Result<T, StoreError> {
    proxy.swallow();
    let answer = start(operation);
    until("the operation is committed", || beside.number(is_stored) == 1);
    assert!(answer.try_recv().is_err(), "the answer is lost");
    proxy.cut();
    outcome(&answer)
}

#[test]
fn a_message_whose_answer_was_lost_is_found_and_answered_as_stored() {
    let (proxy, store, beside) = behind_a_proxy();
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    let messages = [text_as(conversation, "ann", "c-1", "hello"), text(conversation, "ann", "without an id of their own")];
    for (message, seq) in messages.into_iter().zip(1..) {
        let id = message.id;
        let is_stored = format!("SELECT count(*) FROM log WHERE seq = {seq}");
        let appended = with_a_lost_answer((&proxy, &beside), &is_stored, |done| store.append_message(message, done));
        let appended = appended.expect("it is stored");
        assert_eq!((appended.message.id, appended.message.seq, appended.duplicate), (id, at_seq(seq), false));
        until("the lanes are back", || call(|done| store.check(done)).is_ok());
    }
    assert_eq!(beside.number("SELECT count(*) FROM log"), 2, "each once");
}

#[test]
fn a_message_that_did_not_arrive_is_sent_again() {
    let (proxy, store, beside) = behind_a_proxy();
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    // The batch stops at a lock, and its connection is cut there: nothing of it happens.
    beside.run("BEGIN; SELECT FROM conversations FOR UPDATE");
    let answer = start(|done| store.append_message(text(conversation, "ann", "x"), done));
    until("the batch waits", || beside.number(WAITS) == 1);
    proxy.cut();
    beside.run("COMMIT");
    assert_eq!(outcome(&answer).map(|appended| (appended.message.seq, appended.duplicate)), Ok((at_seq(1), false)));
    assert_eq!(beside.number("SELECT count(*) FROM log"), 1);
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_asked_again() {
    let (proxy, store, beside) = behind_a_proxy_for(Duration::from_secs(1));
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    call(|done| store.open_room(conversation, 1, done)).unwrap();
    proxy.swallow();
    let append = start(|done| store.append_message(text(conversation, "ann", "x"), done));
    let read = start(|done| store.open_room(conversation, 1, done));
    assert_eq!(outcome(&read).err(), Some(StoreError::Unavailable));
    until("the message is stored", || beside.number("SELECT count(*) FROM log") == 1);
    until("what comes in is refused", || {
        let another = start(|done| store.mark_read(conversation, user("bob"), at_seq(1), done));
        another.recv_timeout(Duration::from_millis(50)).is_ok_and(|outcome| outcome.is_err())
    });
    proxy.pass();
    assert_eq!(outcome(&append).map(|appended| (appended.message.seq, appended.duplicate)), Ok((at_seq(1), false)));
    until("reads and writes work", || call(|done| store.check(done)).is_ok());
    assert_eq!(call(|done| store.open_room(conversation, 9, done)).unwrap().recent.len(), 1);
}

#[test]
fn creating_joining_marking_and_leaving_are_found_too() {
    let (proxy, store, beside) = behind_a_proxy();
    let lost = (&proxy, &beside);
    let back = || until("the lanes are back", || call(|done| store.check(done)).is_ok());
    let new = group(&["ann"], Some([1; 32]));
    let id = new.id;
    let created = with_a_lost_answer(lost, "SELECT count(*) FROM conversations", |done| store.create_conversation(new, done));
    assert_eq!(created.map(|created| (created.conversation, created.existed)), Ok((id, false)));
    back();
    call(|done| store.append_message(text(id, "ann", "x"), done)).unwrap();

    // The code's lookup comes first; only then are answers lost.
    let bob = user("bob");
    call(|done| store.join_by_invite([1; 32], user("cyd"), Arc::from("Cyd"), UnixMillis::new(6), done)).unwrap();
    let lock = "BEGIN; SELECT FROM conversations FOR UPDATE";
    beside.run(lock);
    let join = start(|done| store.join_by_invite([1; 32], bob.clone(), Arc::from("Bob"), UnixMillis::new(7), done));
    until("the joining waits", || beside.number(WAITS) == 1);
    proxy.swallow();
    beside.run("COMMIT");
    until("bob is in", || beside.number("SELECT count(*) FROM members WHERE \"user\" = 'bob'") == 1);
    proxy.cut();
    let joined = outcome(&join).unwrap();
    let event = LogEvent::MemberJoined {
        conversation: id,
        seq: at_seq(3),
        user: bob.clone(),
        name: Arc::from("Bob"),
        at: UnixMillis::new(7),
    };
    assert_eq!((joined.event, joined.role), (Some(event), Role::Member));
    back();

    call(|done| store.append_message(text(id, "ann", "y"), done)).unwrap();
    let is_marked = "SELECT count(*) FROM members WHERE \"user\" = 'bob' AND read_seq = 4";
    let mark = with_a_lost_answer(lost, is_marked, |done| store.mark_read(id, bob.clone(), at_seq(4), done)).unwrap();
    assert_eq!((mark.seq, mark.unread, mark.moved), (at_seq(4), 0, true));
    back();

    let has_left = "SELECT 1 - count(*) FROM members WHERE \"user\" = 'ann'";
    let left = with_a_lost_answer(lost, has_left, |done| store.leave(id, user("ann"), UnixMillis::new(8), done)).unwrap();
    assert_eq!((left.event.seq(), left.new_owner), (at_seq(5), Some(user("cyd"))));
    back();
    assert_eq!(beside.number("SELECT head FROM conversations"), 5);
    assert_eq!(beside.number("SELECT count(*) FROM log"), 5);
}

#[test]
fn one_row_that_cannot_be_stored_does_not_cost_the_others() {
    let server = server_at(shared_url());
    let store = open(&server);
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    let beside = Beside::new(&server);
    // All of them in one batch.
    beside.run("BEGIN; SELECT FROM conversations FOR UPDATE");
    let first = start(|done| store.append_message(text(conversation, "ann", "first"), done));
    let bad = [7, 23];
    let send = |number: usize| {
        let content = if bad.contains(&number) { "PostgreSQL takes no \0" } else { "x" };
        start(|done| store.append_message(text_as(conversation, "ann", &number.to_string(), content), done))
    };
    let started: Vec<Receiver<_>> = (0..40).map(send).collect();
    beside.run("COMMIT");
    assert!(outcome(&first).is_ok());
    let outcomes: Vec<_> = started.iter().map(|answer| outcome(answer).map(|appended| appended.message.seq.get())).collect();
    let refused: Vec<_> = (0..40).filter(|number| outcomes[*number].is_err()).collect();
    assert_eq!(refused, bad);
    assert_eq!(outcomes.into_iter().flatten().collect::<Vec<_>>(), (2..=39).collect::<Vec<_>>(), "dense, and in order");
}

#[test]
fn a_write_that_always_costs_the_connection_is_refused_alone() {
    const POISON: &str = "the end of every connection";
    let (proxy, store, beside) = behind_a_proxy();
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    proxy.cut_at(POISON);
    // All of them in one batch.
    beside.run("BEGIN; SELECT FROM conversations FOR UPDATE");
    let first = start(|done| store.append_message(text(conversation, "ann", "first"), done));
    let send = |number: usize| {
        let content = if number == 7 { POISON } else { "x" };
        start(|done| store.append_message(text_as(conversation, "ann", &number.to_string(), content), done))
    };
    until("the first waits", || beside.number(WAITS) == 1);
    let started: Vec<Receiver<_>> = (0..20).map(send).collect();
    beside.run("COMMIT");
    assert!(outcome(&first).is_ok());
    let outcomes: Vec<_> = started.iter().map(|answer| outcome(answer).map(|appended| appended.message.seq.get())).collect();
    assert_eq!(outcomes[7], Err(StoreError::Unavailable));
    assert_eq!(outcomes.into_iter().flatten().collect::<Vec<_>>(), (2..=20).collect::<Vec<_>>(), "dense, and in order");
    until("the lanes are back", || call(|done| store.check(done)).is_ok());
    assert!(call(|done| store.append_message(text(conversation, "ann", "last"), done)).is_ok());
}

#[test]
fn a_row_that_somebody_holds_costs_no_other_conversation() {
    let server = DatabaseServer { timeout: Duration::from_secs(5), ..server_at(shared_url()) };
    let store = open(&server);
    let create = |who: &str| call(|done| store.create_conversation(group(&[who], None), done)).unwrap().conversation;
    let held = create("ann");
    // All of one lane, and so of one batch.
    let others = (0..30).map(|number| (number.to_string(), create(&number.to_string())));
    let others: Vec<_> = others.filter(|(_, id)| lane_of(*id, LANES) == lane_of(held, LANES)).collect();
    let beside = Beside::new(&server);
    beside.run(&format!("BEGIN; SELECT FROM conversations WHERE id = '{held}' FOR UPDATE"));
    let send = |who: &str, id| start(|done| store.append_message(text(id, who, "x"), done));
    let first = send("ann", held);
    until("the first waits", || beside.number(WAITS) == 1);
    let also_held = send("ann", held);
    let started: Vec<Receiver<_>> = others.iter().map(|(who, id)| send(who, *id)).collect();
    for answer in started {
        assert_eq!(outcome(&answer).map(|appended| appended.message.seq), Ok(at_seq(1)));
    }
    assert_eq!(
        [&first, &also_held].map(|answer| outcome(answer).err()),
        [Some(StoreError::Unavailable), Some(StoreError::Unavailable)]
    );
    beside.run("COMMIT");
    assert_eq!(outcome(&send("ann", held)).map(|appended| appended.message.seq), Ok(at_seq(1)));
}

#[test]
fn a_full_queue_refuses_at_once_and_what_it_took_is_carried_out() {
    let server = server_at(shared_url());
    let store = open(&server);
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    let beside = Beside::new(&server);
    beside.run("BEGIN; SELECT FROM conversations FOR UPDATE");
    // 2,000 of a little over 8 KiB each fill the 16 MiB.
    let content: Box<str> = "x".repeat(8 * 1024).into();
    let send = |_| {
        let message = NewMessage { content: content.clone(), id: fresh_message(), ..text(conversation, "ann", "") };
        start(|done| store.append_message(message, done))
    };
    let started: Vec<_> = (0..4_000).map(send).collect();
    let refused = started.iter().filter(|answer| matches!(answer.try_recv(), Ok(Err(StoreError::Unavailable)))).count();
    beside.run("COMMIT");
    let taken = started.len() - refused;
    assert!(refused > 1_000 && taken > 1_000, "{refused} were refused");
    until("all are stored", || beside.number("SELECT count(*) FROM log") as usize == taken);
}

/// Sends until told to stop, one message after the other. Gives what was acknowledged. Who waits for an answer when the server goes may
/// get it when it is back, so that it is no matter of course that anything is refused.
fn send_all_the_time(store: &PostgresStore, conversation: ConversationId, who: &str, stop: &AtomicBool) -> Vec<(Seq, String)> {
    let mut acknowledged = Vec::new();
    for number in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{who}-{number}");
        match call(|done| store.append_message(text_as(conversation, who, &id, &id), done)) {
            Ok(appended) => {
                assert!(!appended.duplicate, "{id} was sent once");
                acknowledged.push((appended.message.seq, id));
            }
            Err(StoreError::Unavailable) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error:?}"),
        }
    }
    acknowledged
}

#[test]
fn a_restart_of_the_server_in_mid_load_loses_nothing_and_everything_recovers() {
    let mut cluster = Cluster::start();
    let server = server_at(cluster.url());
    let store = open(&server);
    let members = ["ann", "bob", "cyd"];
    let conversation = call(|done| store.create_conversation(group(&members, None), done)).unwrap().conversation;
    let head = || call(|done| store.open_room(conversation, 0, done)).map(|room| room.head.get());
    let stop = AtomicBool::new(false);
    let sent: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> = members
            .map(|who| {
                scope.spawn({
                    let (store, stop) = (&store, &stop);
                    move || send_all_the_time(store, conversation, who, stop)
                })
            })
            .into();
        for round in 1..=3_u64 {
            until("the load runs", || head().is_ok_and(|head| head >= 60 * round));
            cluster.command("stop");
            assert_eq!(call(|done| store.check(done)), Err(StoreError::Unavailable));
            until("a message is refused", || {
                call(|done| store.append_message(text_as(conversation, "ann", "while it is down", "x"), done)).is_err()
            });
            assert_eq!(head(), Err(StoreError::Unavailable));
            cluster.command("start");
            until("reads and writes work again", || call(|done| store.check(done)).is_ok());
            let before = head().unwrap();
            until("the load goes on", || head().unwrap() > before + 20);
        }
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let page = call(|done| store.load_messages(conversation, user("ann"), MessageRange::After(Seq::ZERO), usize::MAX, done));
    let log: Vec<_> = page.unwrap().messages;
    assert!(log.iter().zip(1..).all(|(message, seq)| message.seq == at_seq(seq)), "the log is dense");
    for (seq, id) in sent.iter().flatten() {
        assert_eq!(*log[seq.get() as usize - 1].content, **id, "acknowledged, and not as it was");
    }
    let mut ids: Vec<_> = log.iter().map(|message| message.client_message_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), log.len(), "nothing is stored twice");
}

#[test]
fn a_store_that_is_closed_while_the_server_is_gone_answers_everything() {
    let mut cluster = Cluster::start();
    let store = open(&DatabaseServer { timeout: Duration::from_secs(1), ..server_at(cluster.url()) });
    let conversation = call(|done| store.create_conversation(group(&["ann"], Some([1; 32])), done)).unwrap().conversation;
    cluster.command("stop");
    let appends: Vec<_> = (0..10).map(|_| start(|done| store.append_message(text(conversation, "ann", "x"), done))).collect();
    let join = start(|done| store.join_by_invite([1; 32], user("bob"), Arc::from("Bob"), UnixMillis::new(1), done));
    let name = start(|done| store.put_user(user("ann"), Arc::from("Ann"), done));
    let read = start(|done| store.open_room(conversation, 1, done));
    drop(store);
    assert!(appends.iter().all(|answer| outcome(answer).is_err()));
    assert!(outcome(&join).is_err() && outcome(&name).is_err() && outcome(&read).is_err());
}
