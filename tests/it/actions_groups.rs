//! What the actions reply that make, list, join and leave conversations.

use serde_json::{Value, json};

use crate::actions::{CONVERSATION, MESSAGE, assert_conversation};
use crate::support::{Client, Server, assert_fields, direct, group, join, list, number, say, text, token};

#[tokio::test]
async fn two_users_have_one_direct_conversation_whoever_asks() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let reply = ada.ok("create_conversation", json!({"memberIds": ["bob"]})).await;
    assert_fields(&reply, &["conversation"], &[]);
    let id = text(&reply["conversation"], "id");
    assert_conversation(&reply["conversation"], &id, "direct", &token::name("bob"), 2);
    assert_eq!((number(&reply["conversation"], "head"), number(&reply["conversation"], "readSeq")), (0, 0));
    for members in [json!(["bob"]), json!(["bob", "ada"]), json!(["ada", "bob"]), json!(["bob", "bob"])] {
        let again = ada.ok("create_conversation", json!({"memberIds": members})).await;
        assert_eq!(again["conversation"]["id"], json!(id), "{members}");
    }
    let other_side = bob.ok("create_conversation", json!({"memberIds": ["ada"]})).await;
    assert_conversation(&other_side["conversation"], &id, "direct", &token::name("ada"), 2);
}

#[tokio::test]
async fn two_users_who_start_a_direct_conversation_at_once_get_the_same() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (one, other) = tokio::join!(direct(&mut ada, "bob"), direct(&mut bob, "ada"));
    assert_eq!(one, other);
}

#[tokio::test]
async fn more_members_or_a_title_make_a_group() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let direct = direct(&mut ada, "bob").await;
    for (request, members) in
        [(json!({"memberIds": ["bob"], "title": "Plans"}), 2), (json!({"memberIds": ["bob", "cyd"], "title": "Plans"}), 3)]
    {
        let first = ada.ok("create_conversation", request.clone()).await["conversation"].clone();
        assert_eq!((&first["kind"], &first["title"]), (&json!("group"), &json!("Plans")));
        assert_eq!(first["memberCount"], json!(members));
        assert_ne!(first["id"], json!(direct));
        let second = ada.ok("create_conversation", request).await;
        assert_ne!(first["id"], second["conversation"]["id"], "only a direct conversation is unique");
    }
    let untitled = ada.ok("create_conversation", json!({"memberIds": ["bob", "cyd"]})).await;
    assert_eq!((&untitled["conversation"]["kind"], number(&untitled["conversation"], "memberCount")), (&json!("group"), 3));
}

#[tokio::test]
async fn create_group_gives_its_owner_the_invite_code() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let reply = ada.ok("create_group", json!({"name": "é".repeat(100)})).await;
    assert_fields(&reply, &["conversation", "inviteCode"], &[]);
    assert_fields(&reply["conversation"], &CONVERSATION, &["inviteCode"]);
    assert_eq!(reply["conversation"]["title"], json!("é".repeat(100)));
    assert_eq!(reply["conversation"]["inviteCode"], reply["inviteCode"]);
    assert_eq!((number(&reply["conversation"], "memberCount"), number(&reply["conversation"], "head")), (1, 0));
    assert!(text(&reply, "inviteCode").len() >= 16, "a code is not to be guessed");
    let other = ada.ok("create_group", json!({"name": "Room"})).await;
    assert_ne!(other["inviteCode"], reply["inviteCode"]);
}

#[tokio::test]
async fn only_the_owner_sees_the_invite_code() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, code) = group(&mut ada, &["bob"]).await;
    assert_eq!(join(&mut ada, &room).await["conversation"]["inviteCode"], json!(code));
    assert_eq!(ada.ok("load_conversations", json!({})).await["conversations"][0]["inviteCode"], json!(code));
    let views = [
        join(&mut bob, &room).await["conversation"].clone(),
        bob.ok("load_conversations", json!({})).await["conversations"][0].clone(),
        bob.ok("join_group", json!({"inviteCode": code})).await["conversation"].clone(),
        bob.next_event("conversation_created").await["conversation"].clone(),
    ];
    for view in views {
        assert_conversation(&view, &room, "group", "Room", 2);
    }
}

#[tokio::test]
async fn join_group_makes_a_member_who_has_nothing_unread() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, code) = group(&mut ada, &[]).await;
    say(&mut ada, &room, "before").await;
    let reply = bob.ok("join_group", json!({"inviteCode": code})).await;
    assert_fields(&reply, &["conversation"], &[]);
    assert_conversation(&reply["conversation"], &room, "group", "Room", 2);
    assert_eq!(number(&reply["conversation"], "head"), 2, "joining takes a place in the log");
    assert_eq!(number(&reply["conversation"], "unreadCount"), 0);
    assert_eq!(list(&bob.ok("load_messages", json!({"conversationId": room})).await, "messages").len(), 1);

    let again = bob.ok("join_group", json!({"inviteCode": code})).await;
    assert_eq!(again, reply, "already a member: the same reply, no event");
}

#[tokio::test]
async fn leave_group_ends_the_membership() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, code) = group(&mut ada, &["bob"]).await;
    assert_eq!(bob.ok("leave_group", json!({"conversationId": room})).await, json!({"conversationId": room}));
    bob.fails("leave_group", json!({"conversationId": room}), "not_found").await;
    assert_eq!(list(&bob.ok("load_conversations", json!({})).await, "conversations").len(), 0);
    let view = ada.ok("load_conversations", json!({})).await["conversations"][0].clone();
    assert_eq!((number(&view, "memberCount"), number(&view, "head")), (1, 1));
    // The code still works for somebody who left.
    let back = bob.ok("join_group", json!({"inviteCode": code})).await;
    assert_eq!(number(&back["conversation"], "head"), 2);
}

#[tokio::test]
async fn the_longest_standing_member_becomes_owner_when_the_owner_leaves() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, code) = group(&mut ada, &[]).await;
    let mut others = Vec::new();
    // Not in the order of their names, so that it is the joining that counts.
    for user in ["cyd", "bob", "eve"] {
        let mut client = Client::login(&server, user).await;
        client.ok("join_group", json!({"inviteCode": code})).await;
        others.push(client);
    }
    ada.ok("leave_group", json!({"conversationId": room})).await;
    for (index, client) in others.iter_mut().enumerate() {
        let reply = join(client, &room).await;
        assert_eq!(reply["conversation"].get("inviteCode").is_some(), index == 0, "{}", client.user);
        let owners: Vec<&Value> = list(&reply, "members").iter().filter(|m| m["role"] == json!("owner")).collect();
        assert_eq!(owners.len(), 1);
        assert_eq!(owners[0]["userId"], json!("cyd"));
    }
    assert_eq!(join(&mut others[0], &room).await["conversation"]["inviteCode"], json!(code));
}

#[tokio::test]
async fn a_group_that_everybody_left_can_be_joined_again_and_keeps_its_log() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, code) = group(&mut ada, &[]).await;
    say(&mut ada, &room, "kept").await;
    ada.ok("leave_group", json!({"conversationId": room})).await;
    let mut bob = Client::login(&server, "bob").await;
    let reply = bob.ok("join_group", json!({"inviteCode": code})).await;
    assert_eq!((number(&reply["conversation"], "memberCount"), number(&reply["conversation"], "head")), (1, 3));
    assert_eq!(reply["conversation"]["inviteCode"], json!(code), "a group has an owner");
    assert_eq!(list(&bob.ok("load_messages", json!({"conversationId": room})).await, "messages").len(), 1);
}

#[tokio::test]
async fn load_conversations_lists_latest_activity_first() {
    let server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    assert_eq!(ada.ok("load_conversations", json!({})).await, json!({"conversations": []}));
    let (room, _) = group(&mut ada, &["bob"]).await;
    let direct = direct(&mut ada, "bob").await;
    group(&mut bob, &[]).await;
    say(&mut bob, &direct, "one").await;
    let sent = say(&mut bob, &room, "two").await;
    let reply = ada.ok("load_conversations", json!({})).await;
    assert_fields(&reply, &["conversations"], &[]);
    let conversations = list(&reply, "conversations");
    let ids: Vec<String> = conversations.iter().map(|c| text(c, "id")).collect();
    assert_eq!(ids, [room, direct.clone()]);
    assert_eq!(conversations[0]["lastMessage"], sent);
    assert_fields(&conversations[0]["lastMessage"], &MESSAGE, &[]);
    assert_conversation(&conversations[1], &direct, "direct", &token::name("bob"), 2);
    assert_eq!((number(&conversations[1], "head"), number(&conversations[1], "unreadCount")), (1, 1));
}

/// The members as a join lists them, and who of them owns the conversation.
async fn members_and_owner(client: &mut Client, room: &str) -> (Vec<String>, Vec<String>) {
    let reply = join(client, room).await;
    let members = list(&reply, "members");
    let ids = |members: Vec<&Value>| members.into_iter().map(|member| text(member, "userId")).collect();
    (ids(members.iter().collect()), ids(members.iter().filter(|member| member["role"] == json!("owner")).collect()))
}

#[tokio::test]
async fn members_are_the_creator_and_then_the_others_as_they_were_named_and_inherit_in_that_order() {
    let mut server = Server::start(&[]).await;
    let mut mia = Client::login(&server, "mia").await;
    let named = json!(["zed", "bob", "mia", "zed", "amy"]);
    let mut rooms = Vec::new();
    for (action, payload) in [
        ("create_group", json!({"name": "Lunch", "memberIds": named})),
        ("create_conversation", json!({"title": "Lunch", "memberIds": named})),
    ] {
        let reply = mia.ok(action, payload).await;
        rooms.push((action, text(&reply["conversation"], "id")));
    }
    for (action, room) in &rooms {
        let (members, owner) = members_and_owner(&mut mia, room).await;
        assert_eq!(members, ["mia", "zed", "bob", "amy"], "{action}");
        assert!(owner.iter().all(|owner| owner == "mia"), "{action}: {owner:?}");
    }
    server.terminate();
    server.restart().await;
    // Whoever is not asked for has never logged in; that changes nothing.
    for (leaver, left) in [("mia", &["zed", "bob", "amy"][..]), ("zed", &["bob", "amy"]), ("bob", &["amy"])] {
        let mut leaver = Client::login(&server, leaver).await;
        let mut amy = Client::login(&server, "amy").await;
        for (action, room) in &rooms {
            leaver.ok("leave_group", json!({"conversationId": room})).await;
            let (members, owner) = members_and_owner(&mut amy, room).await;
            assert_eq!(members, left, "{action}");
            assert_eq!(owner, left[..1], "{action}");
        }
    }
}
