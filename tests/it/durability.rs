//! Promise 1: what was acknowledged is there, whenever the process dies.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{Client, Server, group, history, join, number, say, text};

const CLIENTS: usize = 6;
/// Requests each client keeps unanswered, so that a kill always finds some half-way.
const WINDOW: usize = 8;

/// Counts acknowledgements and tells when there are enough of them to pull the plug.
struct Trigger {
    acknowledged: AtomicUsize,
    enough: usize,
    reached: Notify,
}

/// What one client knows after the crash: its acknowledged messages, and the ids it got no answer for.
#[derive(Default)]
struct Outcome {
    acknowledged: Vec<Value>,
    open: Vec<String>,
}

fn request(room: &str, id: &str) -> Value {
    json!({"conversationId": room, "content": format!("body of {id}"), "clientMessageId": id})
}

/// Sends until the connection dies.
async fn send_until_death(mut client: Client, room: String, round: usize, trigger: Arc<Trigger>) -> Outcome {
    let mut outcome = Outcome::default();
    for batch in 0.. {
        let mut waiting = Vec::new();
        for i in 0..WINDOW {
            let id = format!("{}-{round}-{batch}-{i}", client.user);
            waiting.push((client.send("send_message", request(&room, &id)).await, id));
        }
        let mut dead = false;
        for (request_id, id) in waiting {
            match client.try_reply(&request_id).await {
                Some(reply) => {
                    outcome.acknowledged.push(reply.expect("a member may send")["message"].clone());
                    if trigger.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == trigger.enough {
                        trigger.reached.notify_one();
                    }
                }
                None => {
                    dead = true;
                    outcome.open.push(id);
                }
            }
        }
        if dead {
            break;
        }
    }
    outcome
}

/// Loads the server, kills it in the middle, and gives what each client knows.
async fn crash(server: &Server, room: &str, round: usize) -> Vec<Outcome> {
    let trigger = Arc::new(Trigger { acknowledged: AtomicUsize::new(0), enough: 150 + 70 * round, reached: Notify::new() });
    let mut tasks = Vec::new();
    for i in 0..CLIENTS {
        let client = Client::login(server, &format!("user-{i}")).await;
        tasks.push(tokio::spawn(send_until_death(client, room.to_owned(), round, Arc::clone(&trigger))));
    }
    crate::support::within("the load", trigger.reached.notified()).await;
    server.kill();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("a client without a complaint"));
    }
    outcomes
}

/// The log by client message id, checked to be dense, in order, and without repeats.
fn index(log: &[Value]) -> HashMap<String, &Value> {
    let mut by_id = HashMap::new();
    for (i, message) in log.iter().enumerate() {
        assert_eq!(number(message, "seq"), i as u64 + 1, "the log is dense");
        let earlier = by_id.insert(text(message, "clientMessageId"), message);
        assert!(earlier.is_none(), "stored twice: {message}");
    }
    by_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_kill_9_in_the_middle_of_a_load() {
    let mut server = Server::start(&[]).await;
    let users: Vec<String> = (0..CLIENTS).map(|i| format!("user-{i}")).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut owner = Client::login(&server, "owner").await;
    let (room, _) = group(&mut owner, &members).await;
    let epoch = text(&join(&mut owner, &room).await, "epoch");
    for round in 0..3 {
        let outcomes = crash(&server, &room, round).await;
        server.restart().await;
        let mut owner = Client::login(&server, "owner").await;
        assert_eq!(text(&join(&mut owner, &room).await, "epoch"), epoch, "nothing acknowledged was lost");
        owner.ok("leave_conversation", json!({"conversationId": room})).await;
        let log = history(&mut owner, &room).await;
        let by_id = index(&log);
        for message in outcomes.iter().flat_map(|o| &o.acknowledged) {
            assert_eq!(by_id.get(&text(message, "clientMessageId")), Some(&message), "acknowledged, and not as it was");
        }
        let mut expected = log.len();
        for (user, outcome) in users.iter().zip(&outcomes) {
            let mut client = Client::login(&server, user).await;
            for id in &outcome.open {
                let reply = client.ok("send_message", request(&room, id)).await;
                let stored = by_id.contains_key(id);
                assert_eq!(reply["duplicate"] == json!(true), stored, "a repeat of {id}: {reply}");
                expected += usize::from(!stored);
            }
        }
        let log = history(&mut owner, &room).await;
        assert_eq!((index(&log).len(), log.len()), (expected, expected));
    }
}

#[tokio::test]
async fn groups_members_and_codes_survive_a_kill() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, code) = group(&mut ada, &["bob"]).await;
    let mut cyd = Client::login(&server, "cyd").await;
    cyd.ok("join_group", json!({"inviteCode": code})).await;
    Client::login(&server, "bob").await.ok("leave_group", json!({"conversationId": room})).await;
    server.kill();
    server.restart().await;
    let mut ada = Client::login(&server, "ada").await;
    let reply = join(&mut ada, &room).await;
    assert_eq!((&reply["conversation"]["inviteCode"], &reply["conversation"]["memberCount"]), (&json!(code), &json!(2)));
    assert_eq!(number(&reply, "head"), 2);
    let mut bob = Client::login(&server, "bob").await;
    bob.fails("join_conversation", json!({"conversationId": room}), "not_found").await;
    bob.ok("join_group", json!({"inviteCode": code})).await;
    assert_eq!(number(&say(&mut bob, &room, "back").await, "seq"), 4);
}
