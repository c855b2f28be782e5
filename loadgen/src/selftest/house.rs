//! The smallest server that keeps the promises which the verifier checks: pure, in memory, without tokens, limits or time. A lease
//! ends when its holder stops, writes or goes. It is what `selftest` and the tests talk to where there is no real server.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

/// How long an announced lease is, in milliseconds.
pub(crate) const LEASE_MS: u32 = 500;
/// Most events that a join resumes with.
const RECOVERY_LIMIT: usize = 500;
/// Messages in a page at most.
const MAX_PAGE: u64 = 200;

/// A connection.
pub(crate) type ConnectionId = u64;

#[derive(Default)]
struct Room {
    members: Vec<String>,
    /// Kind and payload, by `seq` from 1.
    log: Vec<(&'static str, Value)>,
    by_client_id: HashMap<(String, String), usize>,
    joined: Vec<ConnectionId>,
    typing: Vec<(String, ConnectionId)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct House {
    rooms: BTreeMap<String, Room>,
    users: HashMap<ConnectionId, String>,
    made: u64,
    out: Vec<(ConnectionId, String)>,
}

/// What a request comes to: a payload, or an error code.
type Answer = Result<Value, &'static str>;

impl House {
    /// Answers a message of a connection: what is to be sent to whom, in this order.
    pub(crate) fn hear(&mut self, connection: ConnectionId, text: &str) -> Vec<(ConnectionId, String)> {
        let request: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let (kind, payload) = (request["type"].as_str().unwrap_or_default(), &request["payload"]);
        let answer = if kind == "auth" { self.log_in(connection, payload) } else { self.act(connection, kind, payload) };
        let mut reply = match answer {
            Ok(payload) => json!({"type": kind, "payload": payload}),
            Err(code) => json!({"type": "error", "payload": {"code": code, "message": code, "retryable": false}}),
        };
        reply["requestId"] = request["requestId"].clone();
        // A join's reply comes before every later event, and whatever a request caused has been queued after nothing else.
        self.out.push((connection, reply.to_string()));
        std::mem::take(&mut self.out)
    }

    /// A connection is gone.
    pub(crate) fn gone(&mut self, connection: ConnectionId) -> Vec<(ConnectionId, String)> {
        self.users.remove(&connection);
        for id in self.rooms.keys().cloned().collect::<Vec<_>>() {
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            room.joined.retain(|joined| *joined != connection);
            let theirs = room.typing.iter().find(|(_, typist)| *typist == connection).map(|(user, _)| user.clone());
            if let Some(user) = theirs {
                self.stop_typing(&id, &user);
            }
        }
        std::mem::take(&mut self.out)
    }

    fn log_in(&mut self, connection: ConnectionId, payload: &Value) -> Answer {
        // A made-up token is its user: see `tokens::made_up`.
        let user = payload["token"].as_str().ok_or("unauthorized")?;
        self.users.insert(connection, user.to_owned());
        Ok(json!({"epoch": "house", "limits": {"typingLeaseMs": LEASE_MS}}))
    }

    fn act(&mut self, connection: ConnectionId, kind: &str, payload: &Value) -> Answer {
        let user = self.users.get(&connection).cloned().ok_or("unauthorized")?;
        match kind {
            "create_conversation" | "create_group" => Ok(self.create(user, payload)),
            "join_group" => self.enter(&user, payload),
            "load_conversations" => Ok(json!({"conversations": []})),
            "ping" => Ok(payload.clone()),
            _ => {
                let id = payload["conversationId"].as_str().unwrap_or_default().to_owned();
                let room = self.rooms.get(&id).filter(|room| room.members.contains(&user)).ok_or("not_found")?;
                match kind {
                    "join_conversation" => Ok(self.join(connection, &id, payload)),
                    "send_message" => Ok(self.append(&id, &user, payload)),
                    "typing_start" => Ok(self.start_typing(connection, &id, &user)),
                    "typing_stop" => Ok(self.stop_typing(&id, &user)),
                    "mark_read" => Ok(json!({"conversationId": id, "seq": payload["seq"], "unreadCount": 0})),
                    "load_messages" => Ok(page(room, payload)),
                    _ => Err("unknown_type"),
                }
            }
        }
    }

    fn create(&mut self, user: String, payload: &Value) -> Value {
        self.made += 1;
        let id = format!("room-{}", self.made);
        let named = payload["memberIds"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let members = std::iter::once(user).chain(named).collect();
        self.rooms.insert(id.clone(), Room { members, ..Room::default() });
        json!({"conversation": {"id": id}, "inviteCode": id})
    }

    fn enter(&mut self, user: &str, payload: &Value) -> Answer {
        let id = payload["inviteCode"].as_str().unwrap_or_default().to_owned();
        let room = self.rooms.get_mut(&id).ok_or("not_found")?;
        room.members.push(user.to_owned());
        let seq = room.log.len() + 1;
        self.release(&id, "member_joined", json!({"conversationId": id, "seq": seq, "userId": user}));
        Ok(json!({"conversation": {"id": id}}))
    }

    fn join(&mut self, connection: ConnectionId, id: &str, payload: &Value) -> Value {
        let Some(room) = self.rooms.get_mut(id) else { return Value::Null };
        if !room.joined.contains(&connection) {
            room.joined.push(connection);
        }
        let head = room.log.len();
        let since =
            payload["since"]["seq"].as_u64().map(|seq| seq as usize).filter(|seq| *seq <= head && head - seq <= RECOVERY_LIMIT);
        let from = since.unwrap_or(head.saturating_sub(50));
        let events: Vec<Value> =
            room.log[from..].iter().map(|(kind, payload)| json!({"type": kind, "payload": payload})).collect();
        let typing: Vec<&str> = room.typing.iter().map(|(user, _)| user.as_str()).collect();
        json!({"epoch": "house", "head": head, "recovered": since.is_some(), "events": events, "typing": typing})
    }

    fn append(&mut self, id: &str, user: &str, payload: &Value) -> Value {
        self.stop_typing(id, user);
        let Some(room) = self.rooms.get_mut(id) else { return Value::Null };
        let key = (user.to_owned(), payload["clientMessageId"].as_str().unwrap_or_default().to_owned());
        if let Some(stored) = room.by_client_id.get(&key) {
            return json!({"message": room.log[*stored].1, "duplicate": true});
        }
        room.by_client_id.insert(key, room.log.len());
        let seq = room.log.len() + 1;
        let message = json!({"id": format!("{id}/{seq}"), "conversationId": id, "seq": seq, "senderId": user,
            "content": payload["content"], "clientMessageId": payload["clientMessageId"]});
        self.release(id, "message_created", message.clone());
        json!({"message": message})
    }

    fn start_typing(&mut self, connection: ConnectionId, id: &str, user: &str) -> Value {
        if let Some(room) = self.rooms.get_mut(id) {
            room.typing.retain(|(typist, _)| typist != user);
            room.typing.push((user.to_owned(), connection));
        }
        let event = json!({"conversationId": id, "userId": user, "expiresInMs": LEASE_MS});
        self.tell(id, "typing_started", &event, Some(user));
        json!({"conversationId": id})
    }

    fn stop_typing(&mut self, id: &str, user: &str) -> Value {
        let Some(room) = self.rooms.get_mut(id) else { return Value::Null };
        let before = room.typing.len();
        room.typing.retain(|(typist, _)| typist != user);
        if room.typing.len() < before {
            self.tell(id, "typing_stopped", &json!({"conversationId": id, "userId": user}), Some(user));
        }
        json!({"conversationId": id})
    }

    /// Takes an event into the log and tells everybody who joined.
    fn release(&mut self, id: &str, kind: &'static str, payload: Value) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.log.push((kind, payload.clone()));
        }
        self.tell(id, kind, &payload, None);
    }

    fn tell(&mut self, id: &str, kind: &str, payload: &Value, but: Option<&str>) {
        let Some(room) = self.rooms.get(id) else { return };
        let text = json!({"type": kind, "payload": payload}).to_string();
        let others = room.joined.iter().filter(|joined| but.is_none() || self.users.get(joined).map(String::as_str) != but);
        self.out.extend(others.map(|joined| (*joined, text.clone())));
    }
}

fn page(room: &Room, payload: &Value) -> Value {
    let limit = payload["limit"].as_u64().unwrap_or(50).min(MAX_PAGE) as usize;
    let seq_of = |message: &Value| message["seq"].as_u64().unwrap_or(0);
    let messages = room.log.iter().filter(|(kind, _)| *kind == "message_created").map(|(_, message)| message);
    let (page, has_more) = match (payload["after"].as_u64(), payload["before"].as_u64()) {
        (Some(after), _) => {
            let found: Vec<&Value> = messages.filter(|message| seq_of(message) > after).collect();
            (found[..limit.min(found.len())].to_vec(), found.len() > limit)
        }
        (None, before) => {
            let found: Vec<&Value> = messages.filter(|message| seq_of(message) < before.unwrap_or(u64::MAX)).collect();
            (found[found.len().saturating_sub(limit)..].to_vec(), found.len() > limit)
        }
    };
    json!({"messages": page, "hasMore": has_more})
}
