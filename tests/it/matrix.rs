//! Every action, by everybody: who may, and what those get who may not.

use serde_json::{Value, json};

use crate::support::{Client, Server, group, join, say};

/// What an action answers: its reply, or an error by its code.
type Answer = &'static str;
const REPLY: Answer = "reply";
const NOT_FOUND: Answer = "not_found";
const UNAUTHORIZED: Answer = "unauthorized";

/// Action, its payload for a room, and the answers to a member, a former member, a stranger, and somebody not authenticated.
struct Row {
    action: &'static str,
    payload: fn(&Room) -> Value,
    answers: [Answer; 4],
}

struct Room {
    id: String,
    code: String,
}

const ROWS: [Row; 14] = [
    Row { action: "ping", payload: |_| json!({}), answers: [REPLY, REPLY, REPLY, REPLY] },
    members_only("join_conversation", |r| json!({"conversationId": r.id})),
    members_only("leave_conversation", |r| json!({"conversationId": r.id})),
    members_only("send_message", |r| json!({"conversationId": r.id, "content": "x"})),
    members_only("load_messages", |r| json!({"conversationId": r.id})),
    members_only("typing_start", |r| json!({"conversationId": r.id})),
    members_only("typing_stop", |r| json!({"conversationId": r.id})),
    members_only("mark_read", |r| json!({"conversationId": r.id, "seq": 1})),
    members_only("leave_group", |r| json!({"conversationId": r.id})),
    users_only("load_conversations", |_| json!({})),
    users_only("create_conversation", |_| json!({"memberIds": ["somebody"]})),
    users_only("create_group", |_| json!({"name": "Other"})),
    users_only("join_group", |r| json!({"inviteCode": r.code})),
    Row {
        action: "auth",
        payload: |_| json!({"token": crate::support::token::mint("subject")}),
        answers: [REPLY, REPLY, REPLY, REPLY],
    },
];

const fn members_only(action: &'static str, payload: fn(&Room) -> Value) -> Row {
    Row { action, payload, answers: [REPLY, NOT_FOUND, NOT_FOUND, UNAUTHORIZED] }
}

const fn users_only(action: &'static str, payload: fn(&Room) -> Value) -> Row {
    Row { action, payload, answers: [REPLY, REPLY, REPLY, UNAUTHORIZED] }
}

/// Somebody of each standing to a room made for them, always called `subject`.
async fn subject(server: &Server, owner: &mut Client, standing: usize) -> (Client, Room) {
    let members: &[&str] = if standing < 2 { &["subject"] } else { &[] };
    let (id, code) = group(owner, members).await;
    say(owner, &id, "something to read").await;
    let subject = match standing {
        0 => Client::login(server, "subject").await,
        1 => {
            let mut former = Client::login(server, "subject").await;
            join(&mut former, &id).await;
            former.ok("leave_group", json!({"conversationId": id})).await;
            former
        }
        2 => Client::login(server, "subject").await,
        _ => Client::connect(server).await,
    };
    (subject, Room { id, code })
}

#[tokio::test]
async fn every_action_answers_each_standing_as_it_should() {
    let server = Server::start(&[]).await;
    let mut owner = Client::login(&server, "owner").await;
    let mut wrong = Vec::new();
    for row in &ROWS {
        for (standing, expected) in row.answers.iter().enumerate() {
            let (mut subject, room) = subject(&server, &mut owner, standing).await;
            let answer = match subject.request(row.action, (row.payload)(&room)).await {
                Ok(_) => REPLY.to_owned(),
                Err(failure) => failure.code,
            };
            if answer != *expected {
                let who = ["a member", "a former member", "a stranger", "nobody"][standing];
                wrong.push(format!("{} by {who}: {answer} instead of {expected}", row.action));
            }
            // Whatever the answer was, the connection stays.
            subject.ping().await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn refusals_change_nothing() {
    let server = Server::start(&[]).await;
    let mut owner = Client::login(&server, "owner").await;
    for standing in 1..4 {
        let (mut subject, room) = subject(&server, &mut owner, standing).await;
        for row in ROWS.iter().filter(|row| row.answers[standing] != REPLY) {
            subject.request(row.action, (row.payload)(&room)).await.expect_err(row.action);
        }
        let reply = join(&mut owner, &room.id).await;
        let log = if standing == 1 { 2 } else { 1 };
        assert_eq!((reply["head"].as_u64(), reply["typing"].clone()), (Some(log), json!([])));
        assert_eq!(reply["conversation"]["memberCount"], json!(1));
    }
}
