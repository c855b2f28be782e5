//! Promise 4: a join with `since` is gap-free, or says that it is not.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Client, Server, group, join, list, number, say, seed, text};

fn since(room: &str, epoch: &str, seq: u64) -> Value {
    json!({"conversationId": room, "since": {"epoch": epoch, "seq": seq}})
}

fn seqs(reply: &Value) -> Vec<u64> {
    list(reply, "events").iter().map(|e| number(&e["payload"], "seq")).collect()
}

#[tokio::test]
async fn since_delivers_exactly_the_events_after_it() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, code) = group(&mut ada, &[]).await;
    for i in 0..4 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    let mut bob = Client::login(&server, "bob").await;
    bob.ok("join_group", json!({"inviteCode": code})).await;
    bob.ok("leave_group", json!({"conversationId": room})).await;
    let fresh = join(&mut ada, &room).await;
    assert_eq!((&fresh["recovered"], number(&fresh, "head")), (&json!(false), 6));
    let epoch = text(&fresh, "epoch");
    for at in 0..=6 {
        let reply = ada.ok("join_conversation", since(&room, &epoch, at)).await;
        assert_eq!(reply["recovered"], json!(true), "since {at}");
        assert_eq!(seqs(&reply), (at + 1..=6).collect::<Vec<_>>());
    }
    let reply = ada.ok("join_conversation", since(&room, &epoch, 3)).await;
    let kinds: Vec<String> = list(&reply, "events").iter().map(|e| text(e, "type")).collect();
    assert_eq!(kinds, ["message_created", "member_joined", "member_left"]);
}

#[tokio::test]
async fn the_epoch_is_the_same_in_auth_and_join_and_survives_a_restart() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::connect(&server).await;
    let auth = ada.ok("auth", json!({"token": crate::support::token::mint("ada")})).await;
    let (room, _) = group(&mut ada, &[]).await;
    say(&mut ada, &room, "before").await;
    let epoch = text(&join(&mut ada, &room).await, "epoch");
    assert_eq!(text(&auth, "epoch"), epoch);
    server.kill();
    server.restart().await;
    let mut ada = Client::login(&server, "ada").await;
    say(&mut ada, &room, "after").await;
    let reply = ada.ok("join_conversation", since(&room, &epoch, 1)).await;
    assert_eq!((&reply["recovered"], seqs(&reply)), (&json!(true), vec![2]));
}

#[tokio::test]
async fn two_stores_have_two_epochs() {
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let server = Server::start(&[]).await;
        let mut ada = Client::login(&server, "ada").await;
        let (room, _) = group(&mut ada, &[]).await;
        epochs.push(text(&join(&mut ada, &room).await, "epoch"));
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_said_and_answered_like_a_fresh_join() {
    let server = Server::start(&[("--recovery-limit", "10")]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    for i in 0..30 {
        say(&mut ada, &room, &format!("{i}")).await;
    }
    let epoch = text(&join(&mut ada, &room).await, "epoch");
    let cases = [
        (since(&room, "foreign", 25), false, 30),
        (since(&room, &epoch, 31), false, 30),
        (since(&room, &epoch, 9_007_199_254_740_991), false, 30),
        (since(&room, &epoch, 0), false, 30),
        (since(&room, &epoch, 19), false, 30),
        (since(&room, &epoch, 20), true, 10),
        (since(&room, &epoch, 30), true, 0),
    ];
    for (request, recovered, events) in cases {
        let reply = ada.ok("join_conversation", request.clone()).await;
        assert_eq!((&reply["recovered"], list(&reply, "events").len()), (&json!(recovered), events), "{request}");
    }
    let mut limited = since(&room, "foreign", 1);
    limited["limit"] = json!(7);
    assert_eq!(seqs(&ada.ok("join_conversation", limited).await), (24..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn since_is_no_way_in_for_who_is_not_a_member() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let epoch = text(&join(&mut bob, &room).await, "epoch");
    bob.ok("leave_group", json!({"conversationId": room})).await;
    bob.fails("join_conversation", since(&room, &epoch, 0), "not_found").await;
}

/// One client that drops its connection at random moments and comes back with `since` until it has the whole log.
async fn drop_and_rejoin(
    server: Arc<Server>,
    user: String,
    (room, epoch): (String, String),
    total: u64,
    seed: u64,
) -> Vec<Value> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut log: Vec<Value> = Vec::new();
    while (log.len() as u64) < total {
        let mut client = Client::login(&server, &user).await;
        let reply = client.ok("join_conversation", since(&room, &epoch, log.len() as u64)).await;
        assert_eq!(reply["recovered"], json!(true), "{user} at {}", log.len());
        log.extend(list(&reply, "events").iter().map(|e| e["payload"].clone()));
        let stay = random.usize(1..60);
        for _ in 0..stay {
            if log.len() as u64 == total {
                break;
            }
            log.push(client.next_event("message_created").await);
        }
        if random.bool() {
            client.close().await;
        }
    }
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_drop_and_rejoin_under_load_see_every_event_once_and_in_order() {
    const SENDERS: usize = 4;
    const EACH: usize = 150;
    const TOTAL: usize = SENDERS * EACH;
    let seed = seed();
    let server = Arc::new(Server::start(&[("--recovery-limit", "1000")]).await);
    let users: Vec<String> = (0..SENDERS).map(|i| format!("sender-{i}")).chain((0..4).map(|i| format!("reader-{i}"))).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut owner = Client::login(&server, "owner").await;
    let (room, _) = group(&mut owner, &members).await;
    let epoch = text(&join(&mut owner, &room).await, "epoch");
    owner.ok("leave_conversation", json!({"conversationId": room})).await;
    let mut senders = Vec::new();
    for user in &users[..SENDERS] {
        let (server, room, user) = (Arc::clone(&server), room.clone(), user.clone());
        senders.push(tokio::spawn(async move {
            let mut client = Client::login(&server, &user).await;
            for i in 0..EACH {
                say(&mut client, &room, &format!("{user} {i}")).await;
            }
        }));
    }
    let mut readers = Vec::new();
    for (i, user) in users[SENDERS..].iter().cloned().enumerate() {
        let place = (room.clone(), epoch.clone());
        let reader = drop_and_rejoin(Arc::clone(&server), user, place, TOTAL as u64, seed.wrapping_add(i as u64));
        readers.push(tokio::spawn(reader));
    }
    for sender in senders {
        sender.await.expect("every send succeeds");
    }
    let expected = crate::support::history(&mut owner, &room).await;
    assert_eq!(expected.len(), TOTAL);
    for reader in readers {
        let log = reader.await.expect("a reader without a complaint");
        assert!(log == expected, "a reader's log is the stored one, event for event");
    }
}
