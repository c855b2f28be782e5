//! Paging through the list of conversations while it changes.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Client, Server, group, list, say, text};

async fn page(client: &mut Client, limit: u64, cursor: Option<&Value>) -> (Vec<String>, Option<Value>) {
    let mut request = json!({"limit": limit});
    if let Some(cursor) = cursor {
        request["cursor"] = cursor.clone();
    }
    let reply = client.ok("load_conversations", request).await;
    (list(&reply, "conversations").iter().map(|c| text(c, "id")).collect(), reply.get("nextCursor").cloned())
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut rooms = Vec::new();
    for _ in 0..25 {
        rooms.push(group(&mut ada, &[]).await.0);
    }
    // A burst in one millisecond must not confuse the order: ties are broken, never skipped.
    let mut sends = Vec::new();
    for room in &rooms[5..15] {
        sends.push(ada.send("send_message", json!({"conversationId": room, "content": "x"})).await);
    }
    for id in sends {
        ada.reply(&id).await.expect("a member may send");
    }
    let (all, _) = page(&mut ada, 100, None).await;
    assert_eq!(all.len(), 25);
    for limit in [1, 2, 7, 24, 25, 26] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let (ids, next) = page(&mut ada, limit, cursor.as_ref()).await;
            assert!(ids.len() as u64 <= limit);
            seen.extend(ids);
            if next.is_none() {
                break;
            }
            cursor = next;
        }
        assert_eq!(seen, all, "in pages of {limit}");
    }
}

#[tokio::test]
async fn the_default_page_has_thirty() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    for _ in 0..31 {
        group(&mut ada, &[]).await;
    }
    let reply = ada.ok("load_conversations", json!({})).await;
    assert_eq!(list(&reply, "conversations").len(), 30);
    assert!(reply["nextCursor"].is_string());
}

#[tokio::test]
async fn a_cursor_is_stable_while_activity_changes() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut rooms = Vec::new();
    for _ in 0..20 {
        let (room, _) = group(&mut ada, &[]).await;
        say(&mut ada, &room, "x").await;
        rooms.push(room);
    }
    // Newest first: the first page holds the last made.
    let (first, cursor) = page(&mut ada, 8, None).await;
    assert_eq!(first, rooms.iter().rev().take(8).cloned().collect::<Vec<_>>());
    let moved: HashSet<&String> = [&rooms[0], &rooms[5], &rooms[19]].into();
    for room in &moved {
        say(&mut ada, room, "new activity").await;
    }
    let (created, _) = group(&mut ada, &[]).await;
    let (second, cursor) = page(&mut ada, 8, cursor.as_ref()).await;
    let (third, end) = page(&mut ada, 8, cursor.as_ref()).await;
    assert_eq!(end, None);
    let rest: Vec<String> = second.into_iter().chain(third).collect();
    let expected: Vec<String> = rooms.iter().rev().skip(8).filter(|r| !moved.contains(r)).cloned().collect();
    assert_eq!(rest, expected, "what did not move is listed once, what moved went to the front");
    assert_eq!(page(&mut ada, 1, None).await.0, [created]);
}

#[tokio::test]
async fn a_cursor_of_somebody_else_shows_only_ones_own() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut eve = Client::login(&server, "eve").await;
    for _ in 0..4 {
        group(&mut ada, &[]).await;
    }
    let (_, cursor) = page(&mut ada, 2, None).await;
    let request = json!({"cursor": cursor.expect("there is more")});
    match eve.request("load_conversations", request).await {
        Ok(reply) => assert_eq!(list(&reply, "conversations").len(), 0),
        Err(failure) => assert_eq!(failure.code, "invalid_payload"),
    }
}

#[tokio::test]
async fn of_two_messages_in_one_millisecond_the_later_one_is_listed_first() {
    const ROUNDS: usize = 100;
    for database in ["memory:", ""] {
        // One worker takes up requests in the order in which they come, also those of two conversations.
        let flags = [("--workers", "1"), ("--database", database)];
        let server = Server::start(if database.is_empty() { &flags[..1] } else { &flags }).await;
        let mut ada = Client::login(&server, "ada").await;
        let rooms = [group(&mut ada, &[]).await.0, group(&mut ada, &[]).await.0];
        let mut ties = 0;
        for round in 0..ROUNDS {
            let (earlier, later) = (&rooms[round % 2], &rooms[(round + 1) % 2]);
            let mut sends = Vec::new();
            for room in [earlier, later] {
                sends.push(ada.send("send_message", json!({"conversationId": room, "content": "x"})).await);
            }
            let mut times = Vec::new();
            for id in sends {
                times.push(ada.reply(&id).await.expect("a member may send")["message"]["createdAt"].clone());
            }
            ties += usize::from(times[0] == times[1]);
            let (first, cursor) = page(&mut ada, 1, None).await;
            let (second, end) = page(&mut ada, 1, cursor.as_ref()).await;
            assert_eq!((first, second, end), (vec![later.clone()], vec![earlier.clone()], None), "{database} {round}");
        }
        assert!(ties > 0, "nothing was sent within one millisecond");
    }
}
