//! The cost of a message for each of its receivers, once everything is warm: no allocation, and one write at most.
//!
//! A binary of its own, because it counts the allocations of the whole process. The server runs in it, with one worker; the
//! clients are blocking sockets with buffers and frames made beforehand, so that what is counted is the server's.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::Parser;
use parlor::cli::{Cli, Command};
use parlor::config::Config;
use parlor::protocol::UserId;
use parlor::server::Server;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages before it is counted: more than a room keeps, so that it forgets one for each that comes.
const WARM_UP: usize = 300;
const MESSAGES: usize = 200;
/// Far beyond what any step takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server in this process, and how to end it.
struct InProcess {
    address: SocketAddr,
    tokens: Vec<String>,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl InProcess {
    /// Starts it with a token for each of so many users.
    fn start(users: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (started, start) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let data = directory.path().to_str().expect("a temporary path in UTF-8");
            let unlimited = ["--messages-per-second=0", "--actions-per-second=0", "--ping-interval=0"];
            let flags = ["parlor", "serve", "--dev", "--listen=127.0.0.1:0", "--workers=1", "--database=memory:", "--data", data];
            let Command::Serve(args) = Cli::parse_from(flags.iter().chain(&unlimited)).command else { panic!("not serve") };
            let config = Config::from_args(&args).expect("a good configuration");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            runtime.expect("a runtime").block_on(async {
                let server = Server::start(&config).await.expect("it starts");
                let token = |user: String| server.dev_token(&UserId::parse(&user).expect("an id"), &user).expect("--dev");
                let tokens = (0..users).map(|user| token(name(user))).collect();
                started.send((server.address(), tokens)).expect("the test waits");
                let stopped = async { drop(stopped.await) };
                server.run(stopped).await;
            });
        });
        let (address, tokens) = start.recv_timeout(DEADLINE).expect("it starts");
        Self { address, tokens, stop, thread }
    }

    fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.thread.join().expect("it ends");
    }

    /// The value of a counter. Nothing of a room happens meanwhile.
    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

/// A client that allocates nothing while it waits for messages.
struct Client {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What of the buffer has come and was not looked at yet.
    unread: std::ops::Range<usize>,
}

impl Client {
    fn login(server: &InProcess, user: usize) -> Self {
        let mut stream = TcpStream::connect(server.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let head = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        let mut client = Self { stream, buffer: vec![0; 256 * 1024].into(), unread: 0..0 };
        client.ask("auth", json!({"token": server.tokens[user]}));
        client
    }

    /// Sends a request and gives the payload of its reply.
    fn ask(&mut self, kind: &str, payload: Value) -> Value {
        self.stream.write_all(&frame(&json!({"type": kind, "requestId": "1", "payload": payload}))).expect("it reads");
        loop {
            let text: Value = serde_json::from_slice(self.next_text()).expect("JSON");
            if text["requestId"] == json!("1") {
                assert_eq!(text["type"], json!(kind), "{text}");
                return text["payload"].clone();
            }
        }
    }

    /// Reads up to the last of so many `message_created`.
    fn take_messages(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            seen += usize::from(self.next_text().starts_with(br#"{"type":"message_created""#));
        }
    }

    /// The next frame's payload.
    fn next_text(&mut self) -> &[u8] {
        loop {
            if let Some(payload) = whole_frame(&self.buffer[self.unread.clone()]) {
                let start = self.unread.start;
                self.unread.start += payload.end;
                return &self.buffer[start + payload.start..start + payload.end];
            }
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            let read = self.stream.read(&mut self.buffer[self.unread.end..]).expect("it answers in time");
            assert!(read > 0, "the connection stays open, and a frame fits into the buffer");
            self.unread.end += read;
        }
    }
}

/// Where the payload of the first frame is, if that is whole.
fn whole_frame(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let (start, length) = match *bytes {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 127, ..] => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        [_, short @ 0..=125, ..] => (2, usize::from(short)),
        _ => return None,
    };
    (start + length <= bytes.len()).then_some(start..start + length)
}

/// A masked text frame. A mask of zeros is one too (RFC 6455, section 5.3).
fn frame(text: &Value) -> Vec<u8> {
    let text = text.to_string();
    let mut frame = vec![0x81];
    match u16::try_from(text.len()).expect("a short text") {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// What one message cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    allocations: f64,
    writes: f64,
    /// Writes for each delivery where many messages come at once.
    writes_in_a_burst: f64,
}

/// A room of so many connections, each of a user of its own, all of which get each message of the first.
fn cost(receivers: usize) -> Cost {
    let server = InProcess::start(receivers);
    let mut clients: Vec<Client> = (0..receivers).map(|user| Client::login(&server, user)).collect();
    let members: Vec<String> = (1..receivers).map(name).collect();
    let room = clients[0].ask("create_group", json!({"name": "Room", "memberIds": members}))["conversation"]["id"].clone();
    for client in &mut clients {
        client.ask("join_conversation", json!({"conversationId": room}));
    }
    let message = json!({"type": "send_message", "requestId": "2", "payload": {"conversationId": room, "content": "Hello!"}});
    let message = frame(&message);
    let burst = message.repeat(MESSAGES);

    let mut send = |count: usize| {
        for _ in 0..count {
            clients[0].stream.write_all(&message).expect("it reads");
            clients.iter_mut().for_each(|client| client.take_messages(1));
        }
    };
    send(WARM_UP);
    let writes = server.metric("parlor_writes_total");
    let region = Region::new(ALLOCATOR);
    send(MESSAGES);
    let allocations = region.change().allocations;
    let writes = server.metric("parlor_writes_total") - writes;

    let before = (server.metric("parlor_writes_total"), server.metric("parlor_deliveries_total"));
    clients[0].stream.write_all(&burst).expect("it reads");
    clients.iter_mut().for_each(|client| client.take_messages(MESSAGES));
    let deliveries = server.metric("parlor_deliveries_total") - before.1;
    assert_eq!(deliveries, (receivers * MESSAGES) as u64);
    let writes_in_burst = server.metric("parlor_writes_total") - before.0;

    drop(clients);
    server.stop();
    let per_message = |count: f64| count / MESSAGES as f64;
    Cost {
        allocations: per_message(allocations as f64),
        writes: per_message(writes as f64),
        writes_in_a_burst: writes_in_burst as f64 / deliveries as f64,
    }
}

#[test]
fn nothing_is_allocated_for_a_receiver_and_each_is_written_to_once() {
    const FEW: usize = 4;
    const MANY: usize = 64;
    let (few, many) = (cost(FEW), cost(MANY));
    println!("{FEW} receivers: {few:?}\n{MANY} receivers: {many:?}");
    let for_a_receiver = (many.allocations - few.allocations) / (MANY - FEW) as f64;
    assert!(for_a_receiver < 0.02, "{for_a_receiver} allocations for each receiver: {few:?}, {many:?}");
    for (cost, receivers) in [(few, FEW), (many, MANY)] {
        assert!(cost.writes <= receivers as f64 + 1.0, "{receivers} receivers: {cost:?}");
        assert!(cost.writes_in_a_burst < 1.0, "{receivers} receivers: {cost:?}");
    }
}
