//! Unread counts and read marks against a model that recounts the whole log every time.

use serde_json::{Value, json};

use crate::support::{Client, Server, group, join, list, number, say, seed, text};

const USERS: [&str; 3] = ["ada", "bob", "cyd"];
const ROOMS: usize = 2;
const STEPS: usize = 400;

/// One conversation, as simply as can be: who wrote at each seq (nobody, for a change of membership), and where each member stands.
#[derive(Default)]
struct Model {
    log: Vec<Option<usize>>,
    read: [Option<u64>; USERS.len()],
}

impl Model {
    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn unread(&self, user: usize) -> u64 {
        let read = self.read[user].expect("a member") as usize;
        self.log[read..].iter().filter(|sender| sender.is_some_and(|s| s != user)).count() as u64
    }

    fn mark(&mut self, user: usize, seq: u64) -> u64 {
        let head = self.head();
        let mark = self.read[user].as_mut().expect("a member");
        *mark = (*mark).max(seq.min(head));
        *mark
    }
}

struct World {
    clients: Vec<Client>,
    rooms: Vec<(String, String)>,
    models: Vec<Model>,
}

impl World {
    async fn new(server: &Server) -> Self {
        let mut clients = Vec::new();
        for user in USERS {
            clients.push(Client::login(server, user).await);
        }
        let (mut rooms, mut models) = (Vec::new(), Vec::new());
        for _ in 0..ROOMS {
            rooms.push(group(&mut clients[0], &USERS).await);
            models.push(Model { log: Vec::new(), read: [Some(0); USERS.len()] });
        }
        Self { clients, rooms, models }
    }

    async fn step(&mut self, random: &mut fastrand::Rng) {
        let (user, room) = (random.usize(0..USERS.len()), random.usize(0..ROOMS));
        let (client, model) = (&mut self.clients[user], &mut self.models[room]);
        let (id, code) = &self.rooms[room];
        let member = model.read[user].is_some();
        match random.u8(0..10) {
            0 if member && user != 0 => {
                client.ok("leave_group", json!({"conversationId": id})).await;
                model.log.push(None);
                model.read[user] = None;
            }
            _ if !member => {
                let reply = client.ok("join_group", json!({"inviteCode": code})).await;
                model.log.push(None);
                // Whether one's own arrival counts as read does not show in any count; take it as the server says.
                model.read[user] = Some(number(&reply["conversation"], "readSeq"));
                assert!(model.read[user] >= Some(model.head() - 1), "reading starts at the head: {reply}");
            }
            1..=5 => {
                let message = say(client, id, "x").await;
                model.log.push(Some(user));
                assert_eq!(number(&message, "seq"), model.head());
            }
            _ => {
                let seq = random.u64(0..=model.head() + 2);
                let reply = client.ok("mark_read", json!({"conversationId": id, "seq": seq})).await;
                let mark = model.mark(user, seq);
                assert_eq!((number(&reply, "seq"), number(&reply, "unreadCount")), (mark, model.unread(user)), "mark {seq}");
            }
        }
    }

    async fn check(&mut self, user: usize) {
        let reply = self.clients[user].ok("load_conversations", json!({})).await;
        let listed = list(&reply, "conversations");
        for ((id, _), model) in self.rooms.iter().zip(&self.models) {
            let view = listed.iter().find(|c| text(c, "id") == *id);
            assert_eq!(view.is_some(), model.read[user].is_some(), "{} in {id}", USERS[user]);
            if let Some(view) = view {
                let seen = (number(view, "head"), number(view, "readSeq"), number(view, "unreadCount"));
                let expected = (model.head(), model.read[user].expect("a member"), model.unread(user));
                assert_eq!(seen, expected, "{} in {id}", USERS[user]);
            }
        }
    }
}

async fn walk(server: &Server, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(server).await;
    for step in 0..STEPS {
        world.step(&mut random).await;
        if step % 10 == 9 {
            world.check(random.usize(0..USERS.len())).await;
        }
    }
    for user in 0..USERS.len() {
        world.check(user).await;
    }
}

#[tokio::test]
async fn counts_agree_with_a_recount_after_any_interleaving() {
    let server = Server::start(&[]).await;
    walk(&server, seed()).await;
}

#[tokio::test]
async fn counts_agree_with_a_recount_in_the_memory_store() {
    let server = Server::start(&[("--database", "memory:")]).await;
    walk(&server, seed()).await;
}

#[tokio::test]
async fn counts_and_marks_survive_a_kill() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::login(&server, "ada").await;
    let mut bob = Client::login(&server, "bob").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    for _ in 0..7 {
        say(&mut ada, &room, "x").await;
    }
    bob.ok("mark_read", json!({"conversationId": room, "seq": 3})).await;
    server.kill();
    server.restart().await;
    let mut bob = Client::login(&server, "bob").await;
    let view: Value = bob.ok("load_conversations", json!({})).await["conversations"][0].clone();
    assert_eq!((number(&view, "readSeq"), number(&view, "unreadCount")), (3, 4));
    let reply = join(&mut bob, &room).await;
    assert_eq!(number(&reply["conversation"], "unreadCount"), 4);
}
