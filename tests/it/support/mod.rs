//! What the tests share: the server as a child process, a client, a raw socket, tokens, and a few scenes.
//!
//! Nothing here sleeps to synchronise: every wait ends with an event, and [`within`] only bounds how long it may take.

mod client;
pub(crate) mod cluster;
mod frame;
pub(crate) mod http;
mod raw;
pub(crate) mod server;
pub(crate) mod token;

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use client::{Client, Failure};
pub(crate) use frame::{Frame, Opcode};
pub(crate) use raw::Raw;
pub(crate) use server::{Server, run_to_exit};

/// Far beyond what any step takes on a busy machine; reached only when the awaited thing does not happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits `future`, and fails the test naming `what` when it takes longer than [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out waiting for {what}"),
    }
}

/// A seed for this run: `PARLOR_TEST_SEED`, or one from the clock. Printed, so that a failure can be run again.
pub(crate) fn seed() -> u64 {
    let from_clock = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
        now.as_nanos() as u64
    };
    let seed = std::env::var("PARLOR_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(from_clock);
    println!("PARLOR_TEST_SEED={seed}");
    seed
}

/// A field that must be a string.
#[track_caller]
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no string {field} in {value}")).to_owned()
}

/// A field that must be a non-negative integer.
#[track_caller]
pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no integer {field} in {value}"))
}

/// A field that must be a list.
#[track_caller]
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a Vec<Value> {
    value[field].as_array().unwrap_or_else(|| panic!("no list {field} in {value}"))
}

/// Checks that `object` has `required` and nothing else but `optional`. A field that leaks is as wrong as one that lacks.
#[track_caller]
pub(crate) fn assert_fields(object: &Value, required: &[&str], optional: &[&str]) {
    let map = object.as_object().unwrap_or_else(|| panic!("not an object: {object}"));
    for field in required {
        assert!(map.contains_key(*field), "{field} is missing in {object}");
    }
    for field in map.keys() {
        assert!(required.contains(&field.as_str()) || optional.contains(&field.as_str()), "unexpected {field} in {object}");
    }
}

/// Checks the form `2026-11-24T09:30:00.000Z`.
#[track_caller]
pub(crate) fn assert_timestamp(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("not a timestamp: {value}"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "not RFC 3339 in UTC with milliseconds: {text}");
}

/// A group of `owner` and `members`: its id and invite code.
pub(crate) async fn group(owner: &mut Client, members: &[&str]) -> (String, String) {
    let reply = owner.ok("create_group", json!({"name": "Room", "memberIds": members})).await;
    (text(&reply["conversation"], "id"), text(&reply, "inviteCode"))
}

/// The direct conversation with `other`.
pub(crate) async fn direct(client: &mut Client, other: &str) -> String {
    let reply = client.ok("create_conversation", json!({"memberIds": [other]})).await;
    text(&reply["conversation"], "id")
}

/// Joins live, without `since`.
pub(crate) async fn join(client: &mut Client, conversation: &str) -> Value {
    client.ok("join_conversation", json!({"conversationId": conversation})).await
}

/// Sends a message and gives it as stored.
pub(crate) async fn say(client: &mut Client, conversation: &str, content: &str) -> Value {
    let reply = client.ok("send_message", json!({"conversationId": conversation, "content": content})).await;
    reply["message"].clone()
}

/// Every message of a conversation, read page by page from the start.
pub(crate) async fn history(client: &mut Client, conversation: &str) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    loop {
        let after = messages.last().map_or(0, |m| number(m, "seq"));
        let page = client.ok("load_messages", json!({"conversationId": conversation, "after": after, "limit": 200})).await;
        messages.extend(list(&page, "messages").iter().cloned());
        if page["hasMore"] != json!(true) {
            return messages;
        }
    }
}

/// Lets everything that was caused so far reach `observer`: a conversation made now is announced to it, after what came before.
///
/// Absence is checked behind such a fence, so that a test neither sleeps nor fails because the machine is slow.
pub(crate) async fn fence(from: &mut Client, observer: &mut Client) {
    let (fence, _) = group(from, &[&observer.user]).await;
    loop {
        let made = observer.next_event("conversation_created").await;
        if made["conversation"]["id"] == json!(fence) {
            break;
        }
    }
    observer.ping().await;
}
