//! A whole worker and one room, whose members are all connected: a message comes in at one socket and goes out at all.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use parlor::protocol::ConversationId;
use parlor::store::{MemoryStore, Store};
use parlor::worker::bench::LoneWorker;

use super::stores::create_group;
use super::{WARM_UP, frame, send_message, user};

/// More than a tick, so that each pass brings what waits for one.
const PASS: Duration = Duration::from_millis(500);
/// Turns without a word after which nothing is expected any more; the time of them is more than any hint waits.
const QUIET_TURNS: usize = 4;
/// Far more turns than everybody's coming takes.
const MAX_TURNS: usize = 10_000;

/// A room with its members.
pub(crate) struct Hall {
    worker: LoneWorker,
    clients: Vec<UnixStream>,
    conversation: ConversationId,
    said: usize,
    buffer: Vec<u8>,
}

impl Hall {
    /// A room of so many members, which has been in use for a while.
    pub(crate) fn new(members: usize) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let conversation = create_group(members, |new, done| store.create_conversation(new, done));
        let mut worker = LoneWorker::new(store).expect("an epoll");
        let clients: Vec<_> = (0..members).map(|number| worker.connect(&user(number)).expect("a socket pair")).collect();
        clients.iter().for_each(|client| client.set_nonblocking(true).expect("a socket"));
        let mut hall = Self { worker, clients, conversation, said: 0, buffer: vec![0; 1 << 20] };
        hall.settle();
        let join = format!(r#"{{"type":"join_conversation","requestId":"j","payload":{{"conversationId":"{conversation}"}}}}"#);
        for member in 0..members {
            hall.clients[member].write_all(&frame(&join)).expect("room in the socket");
        }
        hall.settle();
        for _ in 0..WARM_UP {
            hall.say(1);
            hall.worker.turn();
            assert_eq!(hall.hear(), members);
        }
        hall.settle();
        hall
    }

    /// Turns until nobody is told anything.
    fn settle(&mut self) {
        let (mut turns, mut quiet) = (0, 0);
        while quiet < QUIET_TURNS {
            assert!(turns < MAX_TURNS, "it comes to rest");
            self.worker.pass(PASS);
            self.worker.turn();
            quiet = if self.receive() == 0 { quiet + 1 } else { 0 };
            turns += 1;
        }
    }

    /// The first member sends so many messages at once.
    pub(crate) fn say(&mut self, count: usize) {
        let numbers = self.said..self.said + count;
        let frames: Vec<u8> = numbers.flat_map(|number| frame(&send_message(self.conversation, number))).collect();
        self.clients[0].write_all(&frames).expect("room in the socket");
        self.said += count;
    }

    /// What came in goes out.
    pub(crate) fn run(&mut self) {
        self.worker.turn();
    }

    /// Reads all that everybody got: how many `message_created`.
    pub(crate) fn hear(&mut self) -> usize {
        const EVENT: &[u8] = br#"{"type":"message_created""#;
        let (mut clients, mut events) = (std::mem::take(&mut self.clients), 0);
        for client in &mut clients {
            let read = read_all(client, &mut self.buffer);
            events += self.buffer[..read].windows(EVENT.len()).filter(|window| *window == EVENT).count();
        }
        self.clients = clients;
        events
    }

    /// The same: how many bytes.
    fn receive(&mut self) -> usize {
        let buffer = &mut self.buffer;
        self.clients.iter_mut().map(|client| read_all(client, buffer)).sum()
    }
}

/// Reads what there is.
fn read_all(client: &mut UnixStream, buffer: &mut [u8]) -> usize {
    let mut end = 0;
    loop {
        match client.read(&mut buffer[end..]) {
            Ok(0) => panic!("the connection stays open, and what comes fits into the buffer"),
            Ok(read) => end += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return end,
            Err(error) => panic!("{error}"),
        }
    }
}
