//! Clients and a room in lock-step: a message goes out only when everybody has the one before it.
//!
//! They are blocking sockets with buffers and frames made beforehand, so that what is counted meanwhile is the server's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// Messages before it is counted: more than a room keeps, so that it forgets one for each that comes.
pub(crate) const WARM_UP: usize = 300;
/// Far beyond what any step takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn name(user: usize) -> String {
    format!("user-{user}")
}

/// A client that allocates nothing while it waits for messages.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Box<[u8]>,
    /// What of the buffer has come and was not looked at yet.
    unread: std::ops::Range<usize>,
}

impl Client {
    pub(crate) fn login(address: SocketAddr, token: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
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
        client.ask("auth", json!({"token": token}));
        client
    }

    /// Sends a request and gives the payload of its reply.
    pub(crate) fn ask(&mut self, kind: &str, payload: Value) -> Value {
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
    pub(crate) fn take_messages(&mut self, count: usize) {
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

/// A room of so many clients, all in it, of which the first writes.
pub(crate) struct Room {
    pub(crate) clients: Vec<Client>,
    conversation: Value,
    written: usize,
}

impl Room {
    /// Of users called by [`name`].
    pub(crate) fn open(mut clients: Vec<Client>) -> Self {
        let members: Vec<String> = (1..clients.len()).map(name).collect();
        let group = clients[0].ask("create_group", json!({"name": "Room", "memberIds": members}));
        let conversation = group["conversation"]["id"].clone();
        for client in &mut clients {
            client.ask("join_conversation", json!({"conversationId": conversation}));
        }
        Self { clients, conversation, written: 0 }
    }

    /// The frames of so many messages, as a good client sends them: with an id of its own for each.
    pub(crate) fn write(&mut self, count: usize) -> Vec<Vec<u8>> {
        let message = |number| {
            let id = format!("00000000-0000-4000-8000-{number:012x}");
            let payload = json!({"conversationId": self.conversation, "content": "Hello!", "clientMessageId": id});
            frame(&json!({"type": "send_message", "requestId": id, "payload": payload}))
        };
        let frames = (self.written..self.written + count).map(message).collect();
        self.written += count;
        frames
    }

    /// Sends a message and waits until everybody has it.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.clients[0].stream.write_all(frame).expect("it reads");
        self.clients.iter_mut().for_each(|client| client.take_messages(1));
    }
}

/// What an HTTP request is answered.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
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
