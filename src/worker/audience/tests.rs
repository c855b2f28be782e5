//! Who gets what, in which buffer.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::connection::Connections;
use super::*;
use crate::metrics::WorkerMetrics;
use crate::protocol::UnixMillis;
use crate::protocol::UserId;
use crate::rooms::Moment;
use crate::worker::connection::{Connection, Phase, Session, Socket};
use crate::worker::context::Admission;
use crate::worker::input::ConnectionKey;

const ROOM: ConversationId = ConversationId::from_bytes([1; 16]);
const OTHER_ROOM: ConversationId = ConversationId::from_bytes([2; 16]);
const MAX_OUTBOX_BYTES: usize = 4_000;

/// A worker's audiences and connections, without the worker. Nothing is written to the sockets.
#[derive(Default)]
struct Hall {
    audiences: Audiences,
    connections: Connections,
    dirty: Vec<ConnectionKey>,
    metrics: WorkerMetrics,
}

impl Hall {
    fn connect(&mut self, user: &str) -> ConnectionKey {
        let (stream, _) = UnixStream::pair().expect("a socket pair");
        let session = Session {
            user: UserId::parse(user).expect("valid"),
            name: Arc::from(user),
            expires_at: UnixMillis::new(0),
            was_warned: false,
            joined: Vec::new(),
            typing: None,
        };
        let (stream, address) = (TcpStream::from(OwnedFd::from(stream)), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let admission = Admission::alone();
        self.connections
            .insert(|key| Connection::new(Socket { stream, admission, address }, key, Phase::Live(session), Moment::default()))
    }

    fn parts(&mut self) -> (&mut Audiences, Outgoing<'_>) {
        let outgoing = Outgoing {
            connections: &mut self.connections,
            dirty: &mut self.dirty,
            metrics: &self.metrics,
            max_outbox_bytes: MAX_OUTBOX_BYTES,
        };
        (&mut self.audiences, outgoing)
    }

    fn join(&mut self, conversation: ConversationId, key: ConnectionKey) -> u32 {
        let (audiences, mut outgoing) = self.parts();
        audiences.insert(conversation, key.index, &mut outgoing)
    }

    /// Connects `user` in [`ROOM`].
    fn arrive(&mut self, user: &str) -> ConnectionKey {
        let key = self.connect(user);
        self.join(ROOM, key);
        key
    }

    fn deliver(&mut self, conversation: ConversationId, text: &str, kind: DeliveryKind) {
        self.deliver_at(
            Moment::default(),
            Delivery { conversation, frame: Arc::from(text.as_bytes()), kind, is_followed: false },
        );
    }

    fn deliver_at(&mut self, now: Moment, delivery: Delivery) {
        let (audiences, mut outgoing) = self.parts();
        audiences.deliver(delivery, now, &mut outgoing);
    }

    /// A message while more are being committed.
    fn say_followed(&mut self, now: Moment, text: &str) {
        let (frame, kind) = (Arc::from(text.as_bytes()), DeliveryKind::Logged);
        self.deliver_at(now, Delivery { conversation: ROOM, frame, kind, is_followed: true });
    }

    fn say(&mut self, text: &str) {
        self.deliver(ROOM, text, DeliveryKind::Logged);
    }

    fn end_turn(&mut self) {
        self.end_turn_at(Moment::default());
    }

    fn end_turn_at(&mut self, now: Moment) {
        let (audiences, mut outgoing) = self.parts();
        audiences.hand_out_all(now, &mut outgoing);
    }

    /// All that waits to be written to a connection.
    fn heard(&mut self, key: ConnectionKey) -> String {
        let connection = self.connections.get_mut(key).expect("connected");
        String::from_utf8(connection.outbox.slices().flatten().copied().collect()).expect("text")
    }

    /// Where each chunk lies that waits for a connection.
    fn chunks(&mut self, key: ConnectionKey) -> Vec<*const u8> {
        self.connections.get_mut(key).expect("connected").outbox.slices().map(<[u8]>::as_ptr).collect()
    }
}

#[test]
fn a_newcomer_gets_nothing_of_what_came_before_it_in_the_same_turn() {
    let mut hall = Hall::default();
    let ann = hall.arrive("ann");
    hall.say("1");
    let bob = hall.arrive("bob");
    hall.say("2");
    hall.end_turn();
    assert_eq!((hall.heard(ann), hall.heard(bob)), ("12".to_owned(), "2".to_owned()));
}

#[test]
fn who_goes_gets_what_came_before_and_nothing_after() {
    let mut hall = Hall::default();
    let (ann, bob) = (hall.arrive("ann"), hall.arrive("bob"));
    hall.say("1");
    let index = hall.audiences.find(ROOM).expect("an audience");
    let (audiences, mut outgoing) = hall.parts();
    audiences.remove(index, ann.index, &mut outgoing);
    hall.say("2");
    hall.end_turn();
    assert_eq!((hall.heard(ann), hall.heard(bob)), ("1".to_owned(), "12".to_owned()));
}

#[test]
fn the_events_of_a_turn_are_one_buffer_that_all_receivers_share() {
    let mut hall = Hall::default();
    let keys: Vec<_> = ["ann", "bob", "cyd"].into_iter().map(|user| hall.arrive(user)).collect();
    hall.say("1");
    hall.say("2");
    hall.end_turn();
    let chunks: Vec<_> = keys.iter().map(|&key| hall.chunks(key)).collect();
    assert_eq!(chunks[0].len(), 1, "one push for each receiver");
    assert!(chunks.iter().all(|chunk| *chunk == chunks[0]), "of one and the same buffer");
    assert_eq!(hall.dirty, keys, "each is to be flushed once");
    assert_eq!(hall.metrics.deliveries.get(), 6);
}

#[test]
fn a_typist_does_not_hear_of_their_own_typing_on_any_connection() {
    let mut hall = Hall::default();
    let (ann, ann_too, bob) = (hall.arrive("ann"), hall.arrive("ann"), hall.arrive("bob"));
    let typist = UserId::parse("ann").expect("valid");
    hall.say("1");
    hall.deliver(ROOM, "ann types", DeliveryKind::HintExcept(typist));
    hall.say("2");
    hall.end_turn();
    assert_eq!(hall.heard(bob), "1ann types2");
    assert_eq!((hall.heard(ann), hall.heard(ann_too)), ("12".to_owned(), "12".to_owned()));
}

#[test]
fn a_reader_that_is_behind_gets_the_log_and_no_hints() {
    let mut hall = Hall::default();
    let ann = hall.arrive("ann");
    hall.say(&"x".repeat(MAX_OUTBOX_BYTES / 4 + 1));
    hall.end_turn();
    let bob = hall.arrive("bob");
    hall.deliver(ROOM, "hint", DeliveryKind::Hint);
    hall.say("event");
    hall.end_turn();
    assert_eq!(hall.heard(bob), "hintevent");
    assert!(hall.heard(ann).ends_with("xevent"), "the log has no gap");
}

#[test]
fn hints_alone_are_no_push_for_whom_they_are_not_for() {
    let mut hall = Hall::default();
    let ann = hall.arrive("ann");
    hall.deliver(ROOM, "hint", DeliveryKind::HintExcept(UserId::parse("ann").expect("valid")));
    hall.end_turn();
    assert!(hall.chunks(ann).is_empty() && hall.dirty.is_empty());
}

#[test]
fn a_batch_that_grows_large_is_handed_out_before_the_turn_ends() {
    let mut hall = Hall::default();
    let ann = hall.arrive("ann");
    let text = "x".repeat(MAX_BATCH_BYTES / 2 + 1);
    hall.say(&text);
    assert!(hall.chunks(ann).is_empty());
    hall.say(&text);
    assert_eq!(hall.chunks(ann).len(), 1);
    hall.end_turn();
    assert_eq!(hall.heard(ann).len(), 2 * text.len(), "once");
}

#[test]
fn the_place_of_an_audience_that_ended_is_used_again_and_nothing_is_left_in_it() {
    let mut hall = Hall::default();
    let ann = hall.arrive("ann");
    let index = hall.audiences.find(ROOM).expect("an audience");
    hall.say("1");
    let (audiences, mut outgoing) = hall.parts();
    audiences.remove(index, ann.index, &mut outgoing);
    assert_eq!((hall.audiences.find(ROOM), hall.audiences.conversation(index)), (None, None));
    hall.say("to nobody");
    let bob = hall.connect("bob");
    assert_eq!(hall.join(OTHER_ROOM, bob), index);
    hall.end_turn();
    assert_eq!((hall.heard(ann), hall.heard(bob)), ("1".to_owned(), String::new()));
    assert_eq!(hall.audiences.connections(OTHER_ROOM), [bob.index]);
}

#[test]
fn the_key_of_a_connection_that_ended_does_not_name_the_next_one_in_its_place() {
    let mut hall = Hall::default();
    let ann = hall.connect("ann");
    assert!(hall.connections.remove(ann).is_some());
    let bob = hall.connect("bob");
    assert_eq!(ann.index, bob.index);
    assert!(hall.connections.get_mut(ann).is_none() && hall.connections.remove(ann).is_none());
    assert_eq!(ConnectionKey::from_u64(bob.to_u64()), bob);
    assert_eq!((hall.connections.len(), hall.connections.places()), (1, 1));
}

#[test]
fn a_large_audience_waits_for_what_is_about_to_be_committed_but_not_long() {
    let mut hall = Hall::default();
    let keys: Vec<_> = (0..LINGER_CONNECTIONS).map(|n| hall.arrive(&format!("u{n}"))).collect();
    let at = |millis| Moment::from_millis(millis);
    hall.say_followed(at(10), "1");
    hall.end_turn_at(at(10));
    assert_eq!((hall.heard(keys[0]).as_str(), hall.audiences.is_lingering()), ("", true));
    hall.say("2");
    hall.end_turn_at(at(10));
    assert_eq!((hall.heard(keys[0]).as_str(), hall.audiences.is_lingering()), ("12", false), "nothing follows the second");
    hall.say_followed(at(20), "3");
    hall.say_followed(at(21), "4");
    hall.end_turn_at(at(21));
    assert_eq!(hall.heard(keys[1]), "12");
    hall.end_turn_at(at(20) + LINGER);
    assert_eq!(hall.heard(keys[1]), "1234", "the wait counts from the first");
}

#[test]
fn a_small_audience_waits_for_nothing() {
    let mut hall = Hall::default();
    let ann = hall.arrive("ann");
    hall.say_followed(Moment::default(), "1");
    hall.end_turn();
    assert_eq!(hall.heard(ann), "1");
}
