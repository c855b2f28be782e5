//! What a server could say that is not so, and what must be made of it.

use std::cell::Cell;

use serde_json::json;

use super::super::super::scenario::Behaviour;
use super::*;

/// A plan in which people write and page back often, and nobody goes away.
fn busy() -> Plan {
    let mut plan = Plan { rate: Some(10.0), ..plan() };
    plan.behaviour = Behaviour { pages_every: Some(2.0), drops_every: None, ..plan.behaviour };
    plan
}

/// The same, but nobody pages back: pages are loaded at the end only.
fn without_pages() -> Plan {
    let mut plan = busy();
    plan.behaviour.pages_every = None;
    plan
}

/// Changes the payload of one answer: the one after `skipped` others of that type that `fits`.
fn once(kind: &'static str, skipped: u32, fits: fn(&Value) -> bool, change: fn(&mut Value)) -> Lie {
    let mut seen = 0;
    Box::new(move |value| {
        if value["type"] == kind && fits(&value["payload"]) {
            if seen == skipped {
                change(&mut value["payload"]);
            }
            seen += 1;
        }
        true
    })
}

fn has_three(payload: &Value) -> bool {
    payload["messages"].as_array().is_some_and(|messages| messages.len() >= 3)
}

/// What a whole run found with that lie: kinds, and what was said of them.
fn found(plan: Plan, lie: Lie) -> Vec<(String, String)> {
    let mut world = World::new(plan);
    world.lie = Some(lie);
    let (_, verified) = world.whole_run();
    verified.details.into_iter().map(|breach| (breach.kind, breach.what)).collect()
}

/// The one thing that was found is of that kind, and says that.
fn assert_found(found: &[(String, String)], kind: &str, what: &str) {
    let [(of_kind, says)] = found else { panic!("one breach was expected: {found:#?}") };
    assert!(of_kind == kind && says.contains(what), "{kind}, {what}: {found:#?}");
}

#[test]
fn without_a_lie_nothing_is_found() {
    assert_eq!(found(busy(), Box::new(|_| true)), []);
    assert_eq!(found(without_pages(), Box::new(|_| true)), []);
}

#[test]
fn a_join_of_another_history_is_told_of() {
    let lie = once("join_conversation", 2, |_| true, |payload| payload["epoch"] = json!("another"));
    assert_found(&found(busy(), lie), "unrecovered", "another epoch than the reply to auth");
}

#[test]
fn a_recovered_text_that_was_altered_is_told_of() {
    let mut world = World::new(busy());
    world.lie = Some(once(
        "join_conversation",
        0,
        |payload| payload["recovered"] == true && payload["events"].as_array().is_some_and(|events| !events.is_empty()),
        |payload| payload["events"][0]["payload"]["content"] = json!("something else"),
    ));
    world.run(3 * SECOND);
    world.crowd.begin(world.now, world.now..u64::MAX, world.now);
    world.run(world.now + 5 * SECOND);
    world.cut_everybody(Ending::Broken);
    // Who is back first writes, so the others have missed something.
    world.run(world.now + 10 * SECOND);
    let (_, verified) = world.end();
    let kinds: Vec<&str> = verified.details.iter().map(|breach| breach.kind.as_str()).collect();
    assert_eq!(kinds, ["altered"], "{verified:#?}");
}

#[test]
fn a_reply_about_another_message_is_told_of() {
    // The first message that was stored in this conversation, also for the sixth: its place is its own, and nobody else saw another.
    let mut first: Option<Value> = None;
    let mut replies = 0;
    let lie: Lie = Box::new(move |value| {
        if value["type"] == "send_message" {
            let message = &mut value["payload"]["message"];
            let first = first.get_or_insert_with(|| message.clone());
            replies += u32::from(first["conversationId"] == message["conversationId"]);
            if replies == 6 {
                *message = first.clone();
                replies += 1;
            }
        }
        true
    });
    assert_found(&found(busy(), lie), "wrong_ack", "about another message");
}

#[test]
fn a_reply_with_seq_0_is_told_of() {
    let lie = once("send_message", 5, |_| true, |payload| payload["message"]["seq"] = json!(0));
    let found = found(busy(), lie);
    // That the message has its place already is the second thing that is wrong.
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["wrong_ack", "doubled"], "{found:#?}");
    assert!(found[0].1.contains("logs begin at 1"), "{found:#?}");
}

#[test]
fn a_reply_of_another_conversation_is_told_of() {
    let lie = once("send_message", 5, |_| true, |payload| payload["message"]["conversationId"] = json!("room-0"));
    assert_found(&found(busy(), lie), "foreign", "the conversation room-0 among those of another");
}

#[test]
fn a_page_of_history_is_read_closely() {
    let told = |change| found(busy(), once("load_messages", 3, has_three, change));
    let empty = told(|payload| (payload["messages"], payload["hasMore"]) = (json!([]), json!(true)));
    assert_found(&empty, "unrecovered", "is empty although there is more");
    let disordered = told(|payload| payload["messages"].as_array_mut().unwrap().swap(0, 1));
    assert_found(&disordered, "unrecovered", "is not in order");
    let holed = told(|payload| drop(payload["messages"].as_array_mut().unwrap().remove(1)));
    assert_found(&holed, "unrecovered", "leaves out the message");
    let altered = told(|payload| payload["messages"][1]["content"] = json!("something else"));
    assert_found(&altered, "altered", "its content is not what was sent");
    let renamed = told(|payload| payload["messages"][1]["senderId"] = json!("nobody"));
    assert_found(&renamed, "altered", "another sender");
    let foreign = told(|payload| payload["messages"][1]["conversationId"] = json!("room-0"));
    assert_found(&foreign, "foreign", "the conversation room-0 among those of another");
}

#[test]
fn a_message_that_was_acknowledged_and_is_not_in_the_log_is_told_of() {
    let lie = once("load_messages", 0, has_three, |payload| drop(payload["messages"].as_array_mut().unwrap().remove(1)));
    assert_found(&found(without_pages(), lie), "unrecovered", "leaves out the message at seq 2");
    let lie = once("load_messages", 0, has_three, |payload| drop(payload["messages"].as_array_mut().unwrap().pop()));
    assert_found(&found(without_pages(), lie), "unrecovered", "leaves out the message at seq");
}

#[test]
fn every_log_is_read_again_at_the_end() {
    let read = std::rc::Rc::new(Cell::new(0));
    let counted = std::rc::Rc::clone(&read);
    let lie: Lie = Box::new(move |value| {
        counted.set(counted.get() + u32::from(value["type"] == "load_messages"));
        true
    });
    assert_eq!(found(without_pages(), lie), []);
    assert_eq!(read.get(), 2, "one page of each of the two conversations");
}

#[test]
fn an_empty_page_with_more_after_it_is_told_of() {
    let lie = once("load_messages", 0, has_three, |payload| (payload["messages"], payload["hasMore"]) = (json!([]), json!(true)));
    let found = found(without_pages(), lie);
    assert!(
        found.iter().any(|(kind, what)| kind == "unrecovered" && what.contains("is empty although there is more")),
        "{found:#?}"
    );
}

#[test]
fn a_swallowed_reply_is_counted() {
    let mut world = World::new(busy());
    let mut replies = 0;
    world.lie = Some(Box::new(move |value| {
        replies += u32::from(value["type"] == "send_message");
        value["type"] != "send_message" || replies != 6
    }));
    world.run(3 * SECOND);
    let window = world.now..world.now + 20 * SECOND;
    world.crowd.begin(world.now, window.clone(), world.now);
    world.run(window.end);
    world.crowd.stop(world.now);
    world.run(world.now + 30 * SECOND);
    assert!(!world.crowd.is_drained(), "something is still under way");
    let (tally, verified) = world.crowd.finish(world.now);
    assert_eq!((tally.counts.errors.get("no_reply"), verified.breaches), (Some(&1), 0), "{verified:#?}");
}
