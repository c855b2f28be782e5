//! Lists by latest activity, with activity in many periods and with large conversations.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::super::contract::random::{Random, with_seeds};
use super::super::super::contract::{call, fresh_message_at, group, text, user};
use super::super::super::{NewConversation, NewMessage};
use super::super::rows::PERIOD_SHIFT;
use super::*;
use crate::protocol::IdTime;

/// Milliseconds of a period.
const PERIOD: u64 = 1 << (PERIOD_SHIFT - 16);
const MANY: StoreLimits = StoreLimits { max_members: usize::MAX, max_conversations_per_user: usize::MAX };

/// Memberships that do not say what conversations and members do.
const STRAYS: &str = "
    SELECT count(*) FROM memberships s
    FULL JOIN (SELECT m.\"user\", c.active_period, m.conversation FROM members m JOIN conversations c ON c.number = m.conversation) m
        USING (\"user\", active_period, conversation)
    WHERE s.conversation IS NULL OR m.conversation IS NULL";

fn conversation_made_at(millis: u64, members: &[&str]) -> NewConversation {
    let id = *fresh_message_at(UnixMillis::new(millis)).as_bytes();
    NewConversation { id: ConversationId::from_bytes(id), ..group(members, None) }
}

/// Pages through all of ann's conversations.
fn listing(store: &PostgresStore, limit: usize) -> Vec<ConversationId> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = call(|done| store.load_conversations(user("ann"), cursor, limit, done)).unwrap();
        assert!(page.conversations.len() <= limit);
        found.extend(page.conversations.iter().map(|view| view.id));
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
        assert!(found.len() <= 1_000, "the pages do not end");
    }
}

#[test]
fn pages_are_in_order_over_many_periods() {
    with_seeds(3, |seed| {
        let server = server_at(shared_url());
        let store = PostgresStore::open(server.clone(), MANY).unwrap();
        let mut random = Random::new(seed);
        let mut active: BTreeMap<ConversationId, IdTime> = BTreeMap::new();
        let crowd: Vec<String> = (0..130).map(|number| format!("user-{number}")).collect();
        for number in 0..24 {
            let mut members = vec!["ann", "bob"];
            // Every sixth is a large one from the start.
            if number % 6 == 0 {
                members.extend(crowd.iter().map(String::as_str));
            }
            let new = conversation_made_at(random.below(4) as u64 * PERIOD, &members);
            active.insert(new.id, new.id.time());
            call(|done| store.create_conversation(new, done)).unwrap();
        }
        for _ in 0..60 {
            // Times go back as well: clocks of two nodes differ.
            let millis = random.below(6) as u64 * PERIOD + random.below(3) as u64;
            let conversation = *active.keys().nth(random.below(active.len())).unwrap();
            let message = NewMessage { id: fresh_message_at(UnixMillis::new(millis)), ..text(conversation, "bob", "x") };
            active.insert(conversation, message.id.time());
            call(|done| store.append_message(message, done)).unwrap();
            let mut expected: Vec<_> = active.iter().map(|(id, time)| (*time, *id)).collect();
            expected.sort_unstable_by_key(|cursor| Reverse(*cursor));
            let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
            assert_eq!(listing(&store, 1 + random.below(9)), expected);
        }
        assert_eq!(Beside::new(&server).number(STRAYS), 0);
    });
}

#[test]
fn a_conversation_that_grows_large_stays_in_its_place() {
    let server = server_at(shared_url());
    let store = PostgresStore::open(server.clone(), MANY).unwrap();
    let new = NewConversation { invite: Some([1; 32]), ..conversation_made_at(5 * PERIOD, &["ann"]) };
    let (large, older, newer) = (new.id, conversation_made_at(0, &["ann"]), conversation_made_at(9 * PERIOD, &["ann"]));
    let expected = [newer.id, large, older.id];
    for new in [new, older, newer] {
        call(|done| store.create_conversation(new, done)).unwrap();
    }
    for number in 0..140 {
        let who = user(&format!("user-{number}"));
        call(|done| store.join_by_invite([1; 32], who, Arc::from("Somebody"), UnixMillis::new(1), done)).unwrap();
    }
    let beside = Beside::new(&server);
    let strays = || beside.number(STRAYS);
    assert_eq!(beside.number("SELECT count(*) FROM conversations WHERE active_period = -1"), 1);
    assert_eq!(strays(), 0);
    assert_eq!(listing(&store, 1), expected);
    // Its messages move it, and no member's row but the sender's.
    let message = NewMessage { id: fresh_message_at(UnixMillis::new(20 * PERIOD)), ..text(large, "ann", "x") };
    call(|done| store.append_message(message, done)).unwrap();
    assert_eq!(listing(&store, 2)[0], large);
    assert_eq!(beside.number("SELECT count(*) FROM memberships WHERE active_period <> -1"), 2);
    call(|done| store.leave(large, user("user-7"), UnixMillis::new(1), done)).unwrap();
    assert_eq!((strays(), beside.number("SELECT count(*) FROM memberships WHERE \"user\" = 'user-7'")), (0, 0));
}
