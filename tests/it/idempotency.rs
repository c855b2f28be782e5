//! Promise 3: a `clientMessageId` stores one message, for ever.

use serde_json::{Value, json};

use crate::support::{Client, Server, fence, group, history, join};

fn request(room: &str, content: &str, id: &str) -> Value {
    json!({"conversationId": room, "content": content, "clientMessageId": id})
}

#[tokio::test]
async fn a_repeat_gets_the_original_and_makes_no_event() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    join(&mut bob, &room).await;
    let first = ada.ok("send_message", request(&room, "once", "c-1")).await;
    ada.ok("send_message", request(&room, "between", "c-2")).await;
    let repeat = ada.ok("send_message", request(&room, "once", "c-1")).await;
    assert_eq!(repeat, json!({"message": first["message"], "duplicate": true}));
    for _ in 0..2 {
        bob.next_event("message_created").await;
    }
    fence(&mut ada, &mut bob).await;
    bob.assert_none(&["message_created"]);
    assert_eq!(history(&mut ada, &room).await.len(), 2);
}

#[tokio::test]
async fn the_same_id_from_two_connections_at_once_stores_one_message() {
    const ROUNDS: usize = 40;
    let server = Server::start(&[]).await;
    let mut one = Client::login(&server, "ada").await;
    let mut two = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut one, &["bob"]).await;
    join(&mut bob, &room).await;
    for round in 0..ROUNDS {
        let body = request(&room, "once", &format!("c-{round}"));
        let (a, b) = tokio::join!(one.ok("send_message", body.clone()), two.ok("send_message", body.clone()));
        assert_eq!(a["message"], b["message"]);
        let duplicates = [&a, &b].iter().filter(|r| r["duplicate"] == json!(true)).count();
        assert_eq!(duplicates, 1, "one of the two stored it");
        assert_eq!(bob.next_event("message_created").await, a["message"]);
    }
    assert_eq!(history(&mut bob, &room).await.len(), ROUNDS);
}

#[tokio::test]
async fn the_same_id_twice_in_one_write_stores_one_message() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(ada.send("send_message", request(&room, "once", "c-1")).await);
    }
    let mut fresh = 0;
    for id in ids {
        let reply = ada.reply(&id).await.expect("a repeat is no error");
        assert_eq!(reply["message"]["seq"], json!(1));
        fresh += usize::from(reply["duplicate"] != json!(true));
    }
    assert_eq!(fresh, 1);
}

#[tokio::test]
async fn of_two_bodies_with_one_id_at_once_one_wins_and_the_other_conflicts() {
    let server = Server::start(&[]).await;
    let mut one = Client::login(&server, "ada").await;
    let mut two = Client::login(&server, "ada").await;
    let (room, _) = group(&mut one, &[]).await;
    for round in 0..20 {
        let id = format!("c-{round}");
        let (a, b) = tokio::join!(
            one.request("send_message", request(&room, "this", &id)),
            two.request("send_message", request(&room, "that", &id))
        );
        match (a, b) {
            (Ok(_), Err(failure)) | (Err(failure), Ok(_)) => assert_eq!(failure.code, "conflict"),
            both => panic!("exactly one must win: {both:?}"),
        }
    }
    assert_eq!(history(&mut one, &room).await.len(), 20);
}

#[tokio::test]
async fn a_repeat_is_known_after_a_restart() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let first = ada.ok("send_message", request(&room, "once", "c-1")).await;
    server.terminate();
    server.restart().await;
    let mut ada = Client::login(&server, "ada").await;
    let repeat = ada.ok("send_message", request(&room, "once", "c-1")).await;
    assert_eq!(repeat, json!({"message": first["message"], "duplicate": true}));
    ada.fails("send_message", request(&room, "other", "c-1"), "conflict").await;
}

#[tokio::test]
async fn a_repeat_is_known_long_after_the_room_moved_on() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    let first = ada.ok("send_message", request(&room, "once", "c-0")).await;
    for i in 1..1500 {
        ada.send("send_message", request(&room, "more", &format!("c-{i}"))).await;
    }
    let repeat = ada.ok("send_message", request(&room, "once", "c-0")).await;
    assert_eq!(repeat, json!({"message": first["message"], "duplicate": true}));
    assert_eq!(history(&mut ada, &room).await.len(), 1500);
}

#[tokio::test]
async fn ids_are_apart_for_each_user_and_each_conversation() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    let (other, _) = group(&mut ada, &["bob"]).await;
    for client in [&mut ada, &mut bob] {
        for place in [&room, &other] {
            let body = format!("{} in {place}", client.user);
            let reply = client.ok("send_message", request(place, &body, "c-1")).await;
            assert_ne!(reply["duplicate"], json!(true));
        }
    }
}

#[tokio::test]
async fn the_same_words_without_an_id_are_two_messages() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &[]).await;
    for _ in 0..2 {
        ada.ok("send_message", json!({"conversationId": room, "content": "again"})).await;
    }
    assert_eq!(history(&mut ada, &room).await.len(), 2);
}

#[tokio::test]
async fn somebody_who_left_cannot_learn_of_their_message_by_repeating_it() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    bob.ok("send_message", request(&room, "mine", "c-1")).await;
    bob.ok("leave_group", json!({"conversationId": room})).await;
    bob.fails("send_message", request(&room, "mine", "c-1"), "not_found").await;
}
