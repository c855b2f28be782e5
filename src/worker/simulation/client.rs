//! A model client: it speaks the protocol over a socket, resumes and retries as a good client does, and believes nothing.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::oracle::Oracle;
use crate::protocol::frame::harness::client_frame;
use crate::protocol::{ConversationId, UserId};

/// Most things a client wants done at a time.
const MAX_INTENTS: usize = 8;
/// Texts of up to this many times 16 characters.
const MAX_CONTENT: usize = 20;

/// Something that is asked again, with the same words, until the answer is definite.
struct Intent {
    number: u64,
    conversation: ConversationId,
    wish: Wish,
    /// Whether an answer is awaited on the present socket.
    is_asked: bool,
}

#[derive(Clone, Debug)]
enum Wish {
    Send {
        client_message_id: String,
        content: String,
    },
    /// Another text under the id of a message that was acknowledged.
    Forge {
        client_message_id: String,
    },
    JoinGroup {
        code: String,
    },
    LeaveGroup,
}

/// A request on its way.
#[derive(Debug)]
enum Asked {
    Intent(u64),
    Join { conversation: ConversationId, since: Option<(String, u64)>, limit: u64 },
    Leave(ConversationId),
    Other,
}

struct Socket {
    stream: UnixStream,
    received: Vec<u8>,
    epoch: Option<String>,
    asked: BTreeMap<u64, Asked>,
    /// The seq of the next live event of each conversation that is joined.
    joined: BTreeMap<ConversationId, u64>,
    /// Whether the client has stopped reading.
    is_stalled: bool,
}

/// See the module.
pub(super) struct Client {
    pub(super) user: UserId,
    device: usize,
    socket: Option<Socket>,
    /// The newest event seen of each conversation, with its epoch.
    positions: BTreeMap<ConversationId, (String, u64)>,
    intents: Vec<Intent>,
    requests: u64,
    sent: BTreeMap<ConversationId, Vec<String>>,
    recovery_limit: u64,
    /// Whether it does not retry what may have been done.
    gives_up: bool,
}

impl Client {
    pub(super) fn new(user: UserId, device: usize, recovery_limit: usize) -> Self {
        Self {
            user,
            device,
            socket: None,
            positions: BTreeMap::new(),
            intents: Vec::new(),
            requests: 0,
            sent: BTreeMap::new(),
            recovery_limit: recovery_limit as u64,
            gives_up: device % 3 == 2,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub(super) fn connect(&mut self, stream: UnixStream) {
        self.socket = Some(Socket {
            stream,
            received: Vec::new(),
            epoch: None,
            asked: BTreeMap::new(),
            joined: BTreeMap::new(),
            is_stalled: false,
        });
    }

    /// Goes, without a word.
    pub(super) fn disconnect(&mut self) {
        self.socket = None;
        self.intents.iter_mut().for_each(|intent| intent.is_asked = false);
    }

    /// Whether nothing is under way and nothing is left to be asked.
    pub(super) fn is_at_rest(&self) -> bool {
        self.intents.is_empty() && self.socket.as_ref().is_some_and(|socket| socket.epoch.is_some() && socket.asked.is_empty())
    }

    /// The seq of the next live event, if the conversation is joined.
    pub(super) fn next_seq(&self, conversation: ConversationId) -> Option<u64> {
        self.socket.as_ref()?.joined.get(&conversation).copied()
    }

    pub(super) fn set_stalled(&mut self, is_stalled: bool) {
        if let Some(socket) = &mut self.socket {
            socket.is_stalled = is_stalled;
        }
    }

    /// Does one thing, chosen at random.
    pub(super) fn act(&mut self, conversation: ConversationId, code: Option<&str>, random: &mut fastrand::Rng, oracle: &Oracle) {
        match random.usize(..20) {
            0..=5 => self.want_to_send(conversation, random),
            6..=10 => self.join(conversation, random.u64(1..=80)),
            11 => {
                self.ask("leave_conversation", json!({ "conversationId": conversation.to_string() }), Asked::Leave(conversation))
            }
            12..=14 => self.change_membership(conversation, code, random),
            15 => {
                let own = self.sent.get(&conversation).map_or(&[][..], Vec::as_slice);
                let is_known = |id: &&String| oracle.is_acknowledged(conversation, &self.user, id);
                if let Some(id) = random.choice(own).filter(is_known).cloned() {
                    self.want(conversation, Wish::Forge { client_message_id: id });
                }
            }
            16 => {
                let seq = self.positions.get(&conversation).map_or(0, |(_, seq)| *seq);
                self.ask("mark_read", json!({ "conversationId": conversation.to_string(), "seq": seq }), Asked::Other);
            }
            17 => self.ask("typing_start", json!({ "conversationId": conversation.to_string() }), Asked::Other),
            18 => self.set_stalled(random.bool()),
            _ => self.retry(),
        }
    }

    /// Joins or leaves the group.
    pub(super) fn change_membership(&mut self, conversation: ConversationId, code: Option<&str>, random: &mut fastrand::Rng) {
        match code {
            Some(code) if random.usize(..5) > 1 => self.join_group(conversation, code),
            Some(_) | None => self.want(conversation, Wish::LeaveGroup),
        }
    }

    pub(super) fn join_group(&mut self, conversation: ConversationId, code: &str) {
        self.want(conversation, Wish::JoinGroup { code: code.to_owned() });
    }

    pub(super) fn want_to_send(&mut self, conversation: ConversationId, random: &mut fastrand::Rng) {
        let number = self.requests;
        let client_message_id = format!("{}-{number}", self.device);
        let content = format!("{:016}", number).repeat(random.usize(1..=MAX_CONTENT));
        self.want(conversation, Wish::Send { client_message_id, content });
    }

    fn want(&mut self, conversation: ConversationId, wish: Wish) {
        self.requests += 1;
        if self.intents.len() < MAX_INTENTS {
            self.intents.push(Intent { number: self.requests, conversation, wish, is_asked: false });
            self.retry();
        }
    }

    /// Asks again for all that has no definite answer.
    pub(super) fn retry(&mut self) {
        let unasked = self.intents.iter_mut().filter(|intent| !intent.is_asked).map(|intent| {
            intent.is_asked = true;
            (intent.number, intent.conversation.to_string(), intent.wish.clone())
        });
        let wishes: Vec<_> = unasked.collect();
        for (number, conversation, wish) in wishes {
            let (action, payload) = match wish {
                Wish::Send { client_message_id, content } => (
                    "send_message",
                    json!({ "conversationId": conversation, "content": content, "clientMessageId": client_message_id }),
                ),
                Wish::Forge { client_message_id } => (
                    "send_message",
                    json!({ "conversationId": conversation, "content": "forged", "clientMessageId": client_message_id }),
                ),
                Wish::JoinGroup { code } => ("join_group", json!({ "inviteCode": code })),
                Wish::LeaveGroup => ("leave_group", json!({ "conversationId": conversation })),
            };
            self.ask(action, payload, Asked::Intent(number));
        }
    }

    /// Joins, from the newest event seen if there is one.
    pub(super) fn join(&mut self, conversation: ConversationId, limit: u64) {
        let since = self.positions.get(&conversation).cloned();
        let mut payload = json!({ "conversationId": conversation.to_string(), "limit": limit });
        if let Some((epoch, seq)) = &since {
            payload["since"] = json!({ "epoch": epoch, "seq": seq });
        }
        self.ask("join_conversation", payload, Asked::Join { conversation, since, limit });
    }

    fn ask(&mut self, action: &str, payload: Value, asked: Asked) {
        self.requests += 1;
        let Some(socket) = &mut self.socket else {
            self.intents.iter_mut().for_each(|intent| intent.is_asked = false);
            return;
        };
        socket.asked.insert(self.requests, asked);
        let text = json!({ "type": action, "requestId": self.requests.to_string(), "payload": payload }).to_string();
        trace(self.device, "asks", &text);
        let frame = client_frame(0x81, text.as_bytes(), [1, 2, 3, 4]);
        if socket.stream.write_all(&frame).is_err() {
            self.disconnect();
        }
    }

    /// Reads what has come, and checks it.
    pub(super) fn read(&mut self, oracle: &mut Oracle) {
        let Some(socket) = self.socket.as_mut().filter(|socket| !socket.is_stalled) else { return };
        let mut buffer = [0; 16 * 1024];
        let mut is_over = loop {
            match socket.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(read) => socket.received.extend_from_slice(&buffer[..read]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        while let Some((opcode, body)) = self.next_frame() {
            match opcode {
                0x1 => self.handle_text(&serde_json::from_slice(&body).expect("the server sends JSON"), oracle),
                0x9 => is_over |= self.answer_ping().is_err(),
                0x8 => is_over = true,
                _ => panic!("the server sends no frame of opcode {opcode}"),
            }
        }
        if is_over {
            self.disconnect();
        }
    }

    fn answer_ping(&mut self) -> std::io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        socket.stream.write_all(&client_frame(0x8a, &[], [0; 4]))
    }

    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let received = &mut self.socket.as_mut()?.received;
        let (header, len) = match *received.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(*received.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*received.get(2..)?.first_chunk()?) as usize),
            short => (2, usize::from(short)),
        };
        if received.len() < header + len {
            return None;
        }
        let frame: Vec<u8> = received.drain(..header + len).collect();
        Some((frame[0] & 15, frame[header..].to_vec()))
    }

    fn handle_text(&mut self, text: &Value, oracle: &mut Oracle) {
        trace(self.device, "gets", text);
        let (name, payload) = (text["type"].as_str().expect("a type"), &text["payload"]);
        let socket = self.socket.as_mut().expect("it was read from");
        if let Some(number) = text["requestId"].as_str() {
            let number = number.parse().expect("one of our numbers");
            let asked = socket.asked.remove(&number).expect("each request is answered once");
            return match payload["code"].as_str().filter(|_| name == "error") {
                Some(code) => self.handle_error(&asked, code, payload),
                None => self.handle_reply(number, asked, payload, oracle),
            };
        }
        match name {
            "auth" => socket.epoch = payload["epoch"].as_str().map(str::to_owned),
            "message_created" | "member_joined" | "member_left" => self.handle_event(name, payload, oracle),
            "typing_started" | "typing_stopped" | "message_read" => {
                assert!(socket.joined.contains_key(&conversation_of(payload)), "{name} only where it has joined");
                assert!(name == "message_read" || payload["userId"] != self.user.as_str(), "nobody is told of their own typing");
            }
            "conversation_activity" => {
                assert!(!socket.joined.contains_key(&conversation_of(payload)), "{name} only where it has not joined");
            }
            "presence_changed" => assert!(payload["userId"] != self.user.as_str(), "nobody is told of themselves"),
            _ => panic!("{name} is not expected: {payload}"),
        }
    }

    fn handle_event(&mut self, name: &str, payload: &Value, oracle: &mut Oracle) {
        let socket = self.socket.as_mut().expect("it was read from");
        let conversation = conversation_of(payload);
        let seq = payload["seq"].as_u64().expect("a seq");
        let next = socket.joined.get_mut(&conversation).expect("events come only where it has joined");
        assert_eq!(seq, *next, "{} on {} gets every event once and in order", self.user, self.device);
        oracle.check_event(conversation, name, payload);
        assert!(oracle.is_member(conversation, &self.user, seq - 1), "{} is told of {seq} as a member", self.user);
        *next += 1;
        if name == "member_left" && payload["userId"] == self.user.as_str() {
            socket.joined.remove(&conversation);
        }
        let epoch = socket.epoch.clone().expect("authenticated");
        self.positions.insert(conversation, (epoch, seq));
    }

    fn handle_error(&mut self, asked: &Asked, code: &str, payload: &Value) {
        assert!(["unavailable", "not_found", "forbidden", "conflict"].contains(&code), "{asked:?} gets {payload}");
        let Asked::Intent(number) = asked else { return };
        let at = self.intents.iter().position(|intent| intent.number == *number).expect("still wanted");
        let intent = &mut self.intents[at];
        intent.is_asked = false;
        match (&intent.wish, code) {
            (Wish::Send { .. } | Wish::LeaveGroup, "unavailable") if self.gives_up => {}
            (_, "unavailable") => return,
            (Wish::Forge { .. }, "conflict") | (Wish::LeaveGroup, "forbidden") | (_, "not_found") => {}
            (wish, code) => panic!("{wish:?} gets {code}"),
        }
        self.intents.remove(at);
    }

    fn handle_reply(&mut self, number: u64, asked: Asked, payload: &Value, oracle: &mut Oracle) {
        match asked {
            Asked::Other => {}
            Asked::Intent(number) => {
                let at = self.intents.iter().position(|intent| intent.number == number).expect("still wanted");
                let Intent { conversation, wish, .. } = self.intents.remove(at);
                match wish {
                    Wish::Send { client_message_id, .. } => {
                        oracle.acknowledge(conversation, &self.user, &client_message_id, payload);
                        self.sent.entry(conversation).or_default().push(client_message_id);
                    }
                    Wish::Forge { client_message_id } => {
                        // Unless a backup came back without it.
                        let is_stored = oracle.is_acknowledged(conversation, &self.user, &client_message_id);
                        assert!(!is_stored, "{client_message_id} was taken with another text");
                    }
                    Wish::JoinGroup { .. } => assert_eq!(payload["conversation"]["id"], conversation.to_string()),
                    Wish::LeaveGroup => {}
                }
            }
            Asked::Leave(conversation) => {
                let socket = self.socket.as_mut().expect("it was read from");
                let is_join = |asked: &Asked| matches!(asked, Asked::Join { conversation: other, .. } if *other == conversation);
                let earlier = socket.asked.range(..number).find(|(_, asked)| is_join(asked));
                assert!(earlier.is_none(), "who joins and then leaves has left: {earlier:?}");
                socket.joined.remove(&conversation);
            }
            Asked::Join { conversation, since, limit } => self.handle_joined(conversation, since, limit, payload, oracle),
        }
    }

    fn handle_joined(
        &mut self,
        conversation: ConversationId,
        since: Option<(String, u64)>,
        limit: u64,
        payload: &Value,
        oracle: &mut Oracle,
    ) {
        let socket = self.socket.as_mut().expect("it was read from");
        let epoch = socket.epoch.clone().expect("authenticated");
        assert_eq!(payload["epoch"], *epoch);
        let head = payload["head"].as_u64().expect("a head");
        let events = payload["events"].as_array().expect("events");
        let first = head + 1 - events.len() as u64;
        for (event, seq) in events.iter().zip(first..) {
            assert_eq!(event["payload"]["seq"], seq, "dense up to the head");
            oracle.check_event(conversation, event["type"].as_str().expect("a type"), &event["payload"]);
        }
        assert!(oracle.is_member(conversation, &self.user, head), "{} joins as a member", self.user);
        let is_recovered = payload["recovered"].as_bool().expect("recovered or not");
        match since.filter(|(of, _)| *of == epoch) {
            Some((_, since)) if head.checked_sub(since).is_some_and(|missed| missed <= self.recovery_limit) => {
                assert!(is_recovered, "{since} is near enough to {head}");
                assert_eq!(first, since + 1, "a recovery starts where the client was");
            }
            Some((_, since)) => {
                assert!(since <= head, "the head {head} is not behind what was told, {since}");
                assert!(!is_recovered || first == since + 1);
            }
            None => assert!(!is_recovered),
        }
        assert!(is_recovered || events.len() as u64 >= limit.min(head), "as many as were asked for");
        if let Some(next) = socket.joined.insert(conversation, head + 1) {
            assert_eq!(next, head + 1, "a reply stands between the live events before and after its head");
        }
        self.positions.insert(conversation, (epoch, head));
    }
}

fn conversation_of(payload: &Value) -> ConversationId {
    ConversationId::parse(payload["conversationId"].as_str().expect("a conversation")).expect("a UUID")
}

/// With `PARLOR_SEED`, what is said is printed, for whoever looks into a failure.
fn trace(device: usize, verb: &str, text: &dyn std::fmt::Display) {
    if std::env::var_os("PARLOR_SEED").is_some() {
        println!("{device} {verb} {text:.400}");
    }
}
