//! A well-behaved client that also watches the server: every envelope's form and every joined log's order are checked as they come in.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::{Frame, Opcode, Raw, Server, assert_fields, assert_timestamp, list, number, text, token, within};

/// Something the server sent without being asked.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) payload: Value,
}

/// The payload of an `error`.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after_ms: Option<u64>,
}

/// One connection. It reads when it is asked to; events that come before what is awaited are kept in order.
pub(crate) struct Client {
    pub(crate) user: String,
    raw: Raw,
    events: VecDeque<Event>,
    replies: HashMap<String, Result<Value, Failure>>,
    requests: u64,
    pending_kinds: HashMap<String, (String, Value)>,
    heads: HashMap<String, u64>,
}

impl Client {
    /// A connection that has not authenticated.
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::over(Raw::connect(server).await)
    }

    /// An authenticated connection of `user`.
    pub(crate) async fn login(server: &Server, user: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.ok("auth", json!({"token": token::mint(user)})).await;
        client.user = user.to_owned();
        client
    }

    /// A connection that somebody else opened.
    pub(crate) fn over(raw: Raw) -> Self {
        Self {
            user: String::new(),
            raw,
            events: VecDeque::new(),
            replies: HashMap::new(),
            requests: 0,
            pending_kinds: HashMap::new(),
            heads: HashMap::new(),
        }
    }

    /// The socket itself.
    pub(crate) fn raw(&mut self) -> &mut Raw {
        &mut self.raw
    }

    /// Sends a request and gives its id, to be awaited with [`Client::reply`].
    pub(crate) async fn send(&mut self, kind: &str, payload: Value) -> String {
        self.requests += 1;
        let id = format!("r-{}", self.requests);
        let envelope = json!({"type": kind, "requestId": id, "payload": payload});
        self.pending_kinds.insert(id.clone(), (kind.to_owned(), payload));
        self.raw.text(&envelope.to_string()).await;
        id
    }

    /// The answer to a request, or `None` when the connection ended before it.
    pub(crate) async fn try_reply(&mut self, id: &str) -> Option<Result<Value, Failure>> {
        // The deadline is the whole wait's: the server's pings come in all the time and are no progress.
        let reply = async {
            while !self.replies.contains_key(id) && self.pump().await {}
            self.replies.remove(id)
        };
        within(&format!("the reply to {id}"), reply).await
    }

    /// The answer to a request.
    pub(crate) async fn reply(&mut self, id: &str) -> Result<Value, Failure> {
        self.try_reply(id).await.expect("the connection stays open until the reply")
    }

    /// Sends a request and awaits its answer.
    pub(crate) async fn request(&mut self, kind: &str, payload: Value) -> Result<Value, Failure> {
        let id = self.send(kind, payload).await;
        self.reply(&id).await
    }

    /// A request that must succeed.
    pub(crate) async fn ok(&mut self, kind: &str, payload: Value) -> Value {
        match self.request(kind, payload).await {
            Ok(reply) => reply,
            Err(failure) => panic!("{kind} failed: {failure:?}"),
        }
    }

    /// A request that must fail with `code`.
    pub(crate) async fn fails(&mut self, kind: &str, payload: Value, code: &str) -> Failure {
        match self.request(kind, payload).await {
            Ok(reply) => panic!("{kind} succeeded, {code} was expected: {reply}"),
            Err(failure) => {
                assert_eq!(failure.code, code, "{kind}: {failure:?}");
                failure
            }
        }
    }

    /// A round trip: what the server had queued for this connection before is here afterwards.
    pub(crate) async fn ping(&mut self) {
        self.ok("ping", json!({})).await;
    }

    /// Takes the next event of a kind; others stay for later.
    pub(crate) async fn next_event(&mut self, kind: &str) -> Value {
        self.next_event_where(kind, |_| true).await
    }

    /// Takes the next event of a kind that `wanted` picks; others stay for later.
    pub(crate) async fn next_event_where(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let user = self.user.clone();
        let event = async {
            let mut seen = 0;
            loop {
                while seen < self.events.len() {
                    if self.events[seen].kind == kind && wanted(&self.events[seen].payload) {
                        return self.events.remove(seen).expect("just seen").payload;
                    }
                    seen += 1;
                }
                let open = self.pump().await;
                assert!(open, "the connection ended while waiting for {kind}; there was {:?}", self.events);
            }
        };
        within(&format!("{user}'s event {kind}"), event).await
    }

    /// Fails if an event of one of these kinds came so far. To prove absence, raise a [`super::fence`] before.
    #[track_caller]
    pub(crate) fn assert_none(&self, kinds: &[&str]) {
        let found: Vec<_> = self.events.iter().filter(|e| kinds.contains(&e.kind.as_str())).collect();
        assert!(found.is_empty(), "{} must not get {found:?}", self.user);
    }

    /// Skips to the server's close: its code and reason.
    pub(crate) async fn expect_close(&mut self) -> (u16, String) {
        self.raw.expect_close().await
    }

    /// Closes in an orderly way and waits for the end.
    pub(crate) async fn close(mut self) {
        self.raw.send(Frame::new(Opcode::CLOSE, 1000u16.to_be_bytes())).await;
        self.raw.expect_end().await;
    }

    /// Reads one message and files it. `false` when the connection is over.
    async fn pump(&mut self) -> bool {
        let Some(frame) = self.raw.frame().await else { return false };
        match frame.opcode() {
            Opcode::TEXT => self.file(serde_json::from_slice(&frame.payload).expect("the server sends JSON")),
            Opcode::PING => self.raw.send(Frame::new(Opcode::PONG, frame.payload)).await,
            Opcode::PONG => {}
            Opcode::CLOSE => {
                self.raw.send(frame).await;
                return false;
            }
            other => panic!("the server sent {other:?}"),
        }
        true
    }

    fn file(&mut self, envelope: Value) {
        assert_fields(&envelope, &["type", "timestamp", "payload"], &["requestId"]);
        assert_timestamp(&envelope["timestamp"]);
        assert!(envelope["payload"].is_object(), "{envelope}");
        let kind = text(&envelope, "type");
        let payload = envelope["payload"].clone();
        let Some(id) = envelope.get("requestId") else {
            self.check_order(&kind, &payload);
            self.events.push_back(Event { kind, payload });
            return;
        };
        let id = id.as_str().expect("a request id is a string").to_owned();
        let (asked, request) = self.pending_kinds.remove(&id).unwrap_or_else(|| panic!("answers nothing: {envelope}"));
        if kind == "error" {
            self.replies.insert(id, Err(Failure::from(&payload)));
            return;
        }
        assert_eq!(kind, asked, "a reply has its action's name");
        self.track_membership(&kind, &request, &payload);
        self.replies.insert(id, Ok(payload));
    }

    /// Remembers where each joined log stands.
    fn track_membership(&mut self, kind: &str, request: &Value, reply: &Value) {
        match kind {
            "join_conversation" => {
                let head = number(reply, "head");
                let seqs: Vec<u64> = list(reply, "events").iter().map(|e| number(&e["payload"], "seq")).collect();
                let expected: Vec<u64> = (head + 1 - seqs.len() as u64..=head).collect();
                assert_eq!(seqs, expected, "the events of a join end at its head, without a gap");
                self.heads.insert(text(&reply["conversation"], "id"), head);
            }
            "leave_conversation" | "leave_group" => {
                self.heads.remove(&text(request, "conversationId"));
            }
            _ => {}
        }
    }

    /// Promise 2: live events of a log come in its order, with no gap, and only to those who joined.
    fn check_order(&mut self, kind: &str, payload: &Value) {
        if !["message_created", "member_joined", "member_left"].contains(&kind) {
            return;
        }
        let conversation = text(payload, "conversationId");
        let leaves = kind == "member_left" && payload["userId"] == json!(self.user);
        if leaves && !self.heads.contains_key(&conversation) {
            // One's own leaving may be told to the connection that asked for it after its reply: the last event it gets.
            return;
        }
        let head = self.heads.get_mut(&conversation);
        let head = head.unwrap_or_else(|| panic!("{} did not join, yet gets {kind} {payload}", self.user));
        assert_eq!(number(payload, "seq"), *head + 1, "{kind} out of order for {}: {payload}", self.user);
        *head += 1;
        if leaves {
            self.heads.remove(&conversation);
        }
    }
}

impl Failure {
    fn from(payload: &Value) -> Self {
        assert_fields(payload, &["code", "message", "retryable"], &["retryAfterMs"]);
        let failure = Self {
            code: text(payload, "code"),
            message: text(payload, "message"),
            retry_after_ms: payload.get("retryAfterMs").and_then(Value::as_u64),
        };
        let retryable = ["rate_limited", "unavailable", "internal"].contains(&failure.code.as_str());
        assert_eq!(payload["retryable"], json!(retryable), "{payload}");
        assert!(!failure.message.is_empty(), "an error says what is wrong: {payload}");
        assert!(failure.code != "rate_limited" || failure.retry_after_ms.is_some(), "{payload}");
        failure
    }

    /// An error that came without a request id.
    pub(crate) fn of_event(payload: &Value) -> Self {
        Self::from(payload)
    }
}
