//! Several stores on one schema, as several nodes have them.

use std::sync::Barrier;
use std::sync::mpsc::channel;

use super::super::super::MessageRange;
use super::super::super::contract::{at_seq, call, direct, group, outcome, start, text, text_as, user};
use super::super::super::digest::client_digest;
use super::super::rows::{digest_column, integer};
use super::*;
use crate::protocol::LogEvent;

const CONVERSATIONS: usize = 5;
const EACH: usize = 150;

fn events(store: &PostgresStore, conversation: ConversationId) -> Vec<LogEvent> {
    call(|done| store.load_events(conversation, Seq::ZERO, usize::MAX, done)).unwrap()
}

#[test]
fn two_nodes_that_write_to_the_same_conversations_keep_every_log_dense() {
    let server = server_at(shared_url());
    let nodes = [open(&server), open(&server)];
    let create = |_| call(|done| nodes[0].create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    let conversations: Vec<_> = (0..CONVERSATIONS).map(create).collect();
    let begin = Barrier::new(nodes.len());
    std::thread::scope(|scope| {
        for (node, sender) in nodes.iter().zip(["ann", "bob"]) {
            let (conversations, begin) = (&conversations, &begin);
            scope.spawn(move || {
                let (answers, answered) = channel();
                begin.wait();
                for number in 0..EACH {
                    // In opposite orders, so that locks taken in the order of arrival would meet head on.
                    let mut order = conversations.clone();
                    if sender == "bob" {
                        order.reverse();
                    }
                    for conversation in order {
                        let answers = answers.clone();
                        let message = text_as(conversation, sender, &format!("{number}"), "x");
                        node.append_message(message, Box::new(move |outcome| answers.send(outcome).unwrap()));
                    }
                }
                let mut last = vec![Seq::ZERO; conversations.len()];
                for _ in 0..EACH * CONVERSATIONS {
                    let message = answered.recv().unwrap().expect("stored").message;
                    let place = conversations.iter().position(|id| *id == message.conversation).unwrap();
                    assert!(message.seq > last[place], "callbacks come in the order of seq");
                    last[place] = message.seq;
                }
            });
        }
    });
    for conversation in conversations {
        let seqs: Vec<u64> = events(&nodes[1], conversation).iter().map(|event| event.seq().get()).collect();
        assert_eq!(seqs, (1..=2 * EACH as u64).collect::<Vec<_>>());
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(Beside::new(&server).number(deadlocks), 0);
}

/// Waits until somebody waits for a row that `beside` has locked.
fn wait_for_a_waiter(beside: &Beside) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let pid = beside.number("SELECT pg_backend_pid()::bigint");
    while beside.number(&format!("SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))")) == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody waits for the lock");
        std::thread::yield_now();
    }
}

#[test]
fn what_another_node_committed_while_this_one_waited_for_its_lock_is_seen() {
    let server = server_at(shared_url());
    let store = open(&server);
    let conversation = call(|done| store.create_conversation(group(&["ann", "bob", "cyd"], None), done)).unwrap().conversation;
    call(|done| store.append_message(text(conversation, "ann", "first"), done)).unwrap();
    let beside = Beside::new(&server);
    // The other node has the lock when this one's batch begins, and changes everything that the batch looks at.
    beside.run("BEGIN; SELECT FROM conversations FOR NO KEY UPDATE");
    let again = start(|done| store.append_message(text_as(conversation, "ann", "c-1", "second"), done));
    let new = start(|done| store.append_message(text(conversation, "bob", "third"), done));
    let gone = start(|done| store.append_message(text(conversation, "cyd", "no"), done));
    let mark = start(|done| store.mark_read(conversation, user("bob"), at_seq(2), done));
    wait_for_a_waiter(&beside);
    let digest = digest_column(conversation, client_digest(&user("ann"), "c-1"));
    beside.run(&format!(
        "INSERT INTO log (conversation, seq, messages, at, digest, kind, id, \"user\", name, client_message_id, content)
         SELECT number, 2, 2, 5, {digest}, 0, gen_random_uuid(), 'ann', 'Ann', 'c-1', 'second' FROM conversations;
         UPDATE conversations SET head = 2, messages = 2, last_message_seq = 2, member_count = 2;
         UPDATE members SET sent = 2, last_sent_seq = 2 WHERE \"user\" = 'ann';
         DELETE FROM members WHERE \"user\" = 'cyd';
         COMMIT"
    ));
    let again = outcome(&again).unwrap();
    assert_eq!((again.message.seq, again.duplicate), (at_seq(2), true), "found, although it came after the batch began");
    assert_eq!(outcome(&new).map(|appended| appended.message.seq), Ok(at_seq(3)));
    assert_eq!(outcome(&gone).err(), Some(StoreError::NotFound));
    let mark = outcome(&mark).unwrap();
    assert_eq!((mark.seq, mark.head, mark.unread), (at_seq(2), at_seq(3), 0));
}

#[test]
fn two_users_have_one_direct_conversation_whichever_nodes_they_are_on() {
    let server = server_at(shared_url());
    let nodes = [open(&server), open(&server)];
    for round in 0..20 {
        let other = format!("other-{round}");
        let started = [
            start(|done| nodes[0].create_conversation(direct("ann", &other), done)),
            start(|done| nodes[1].create_conversation(direct(&other, "ann"), done)),
        ];
        let created: Vec<_> = started.iter().map(outcome).collect();
        let created: Vec<_> = created.into_iter().map(|created| created.expect("created or found")).collect();
        assert_eq!(created[0].conversation, created[1].conversation);
        assert_eq!(created.iter().filter(|created| created.existed).count(), 1);
        // Within the limit of conversations.
        Beside::new(&server).run("UPDATE users SET conversations = 0");
    }
}

#[test]
fn the_last_place_is_given_once_and_nobody_waits_in_a_circle() {
    let server = server_at(shared_url());
    let nodes = [open(&server), open(&server)];
    for round in 0..8_u8 {
        let invites = [[2 * round + 1; 32], [2 * round + 2; 32]];
        let conversations = invites.map(|invite| {
            let new = group(&[&format!("owner-{round}-{}", invite[0])], Some(invite));
            call(|done| nodes[0].create_conversation(new, done)).unwrap().conversation
        });
        // Everybody joins both, in opposite orders, on both nodes; each has three places left.
        let mut started = Vec::new();
        for (number, node) in nodes.iter().cycle().take(8).enumerate() {
            let who = user(&format!("guest-{round}-{number}"));
            for place in [number % 2, 1 - number % 2] {
                let (who, name) = (who.clone(), Arc::from("Guest"));
                started.push(start(|done| node.join_by_invite(invites[place], who, name, UnixMillis::new(1), done)));
            }
        }
        let outcomes: Vec<_> = started.iter().map(outcome).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 6);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.as_ref().err() == Some(&StoreError::MembersFull)).count(), 10);
        for conversation in conversations {
            assert_eq!(events(&nodes[1], conversation).len(), 3);
        }
    }
    assert_eq!(
        Beside::new(&server).number(
            "SELECT count(*) FROM users u WHERE conversations <> (SELECT count(*) FROM members m WHERE m.\"user\" = u.id)"
        ),
        0,
        "everybody's conversations are counted"
    );
}

#[test]
fn whoever_stores_names_and_whoever_adds_the_same_users_do_not_wait_in_a_circle() {
    let server = server_at(shared_url());
    let nodes = [open(&server), open(&server)];
    let seen = |ids: &[&str]| ids.iter().map(|id| (user(id), UnixMillis::new(1))).collect::<Vec<_>>();
    let beside = Beside::new(&server);
    let wait_for = |count: i64| {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        let waiters = "WITH RECURSIVE w (pid) AS (
            SELECT pg_backend_pid() UNION
            SELECT a.pid FROM pg_stat_activity a JOIN w ON w.pid = ANY (pg_blocking_pids(a.pid))) SELECT count(*) - 1 FROM w";
        while beside.number(waiters) < count {
            assert!(std::time::Instant::now() < deadline, "not so many wait");
            std::thread::yield_now();
        }
    };
    for round in 0..2 {
        let [known, new] = ["known", "new"].map(|what| format!("{round}-{what}"));
        call(|done| nodes[0].put_last_seen(seen(&[&known]), done)).unwrap();
        // Both wait for the row that is there. The first to come gets it, and then needs the other one, which must not be
        // held by the second.
        beside.run(&format!("BEGIN; SELECT FROM users WHERE id = '{known}' FOR UPDATE"));
        let create = |ids: &[&str]| start(|done| nodes[0].create_conversation(group(ids, None), done));
        let store_times = |ids: &[&str]| start(|done| nodes[1].put_last_seen(seen(ids), done));
        let ids = [&*known, &*new];
        let (created, stored) = if round == 0 {
            let stored = store_times(&ids);
            wait_for(1);
            (create(&ids), stored)
        } else {
            let created = create(&ids);
            wait_for(1);
            (created, store_times(&ids))
        };
        wait_for(2);
        beside.run("COMMIT");
        assert!(outcome(&created).is_ok());
        assert_eq!(outcome(&stored), Ok(()));
    }
    assert_eq!(beside.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), 0);
}

#[test]
fn servers_that_start_together_make_one_schema() {
    let server = server_at(shared_url());
    let begin = Barrier::new(4);
    let epochs: Vec<_> = std::thread::scope(|scope| {
        let start = |_| {
            scope.spawn(|| {
                begin.wait();
                open(&server).epoch()
            })
        };
        let started: Vec<_> = (0..4).map(start).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

#[test]
fn what_one_node_acknowledged_the_other_reads() {
    let server = server_at(shared_url());
    let nodes = [open(&server), open(&server)];
    let conversation = call(|done| nodes[0].create_conversation(group(&["ann", "bob"], None), done)).unwrap().conversation;
    for number in 1..=50 {
        let (writer, reader) = (&nodes[number % 2], &nodes[1 - number % 2]);
        let stored = call(|done| writer.append_message(text(conversation, "ann", "x"), done)).unwrap().message;
        let page = call(|done| reader.load_messages(conversation, user("bob"), MessageRange::Latest, 1, done)).unwrap();
        assert_eq!(page.messages, [stored]);
    }
    assert_eq!(integer(50), Beside::new(&server).number("SELECT head FROM conversations"));
}
