//! A chat server small enough to trust, which breaks its promises on request. A thread for each connection, one lock for everything.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The last member is not given the fifth message of a room.
    LosesOne,
    /// The last member is given the fifth message of a room twice.
    RepeatsOne,
    /// The fifth message of a room takes the sixth `seq`.
    SkipsSeq,
    /// Every `send_message` is refused.
    Refuses,
    /// One member is told of the fifth hint of a room twice.
    RepeatsHint,
    /// One member is not told of the fifth hint of a room.
    LosesHint,
    /// Recoveries lack the first event that was missed.
    RecoversWithGap,
    /// Nothing can be recovered.
    Forgets,
}

#[derive(Default)]
struct State {
    /// Whether everybody speaks in its packets.
    is_socketio: bool,
    members: HashMap<String, Vec<(String, TcpStream)>>,
    heads: HashMap<String, u64>,
    hints: HashMap<String, u64>,
    /// By conversation: every event so far, as a recovery brings it.
    logs: HashMap<String, Vec<String>>,
    groups: usize,
    /// By conversation: users who may join.
    allowed: HashMap<String, Vec<String>>,
}

/// Starts a server and returns its URL. It lives as long as the test's process.
pub(crate) fn start(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let state = Arc::new(Mutex::new(State::default()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || serve(stream, &state, fault));
        }
    });
    url
}

/// Ends with the connection: `None` from a read is the client's leaving.
fn serve(stream: TcpStream, state: &Mutex<State>, fault: Fault) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let is_socketio = line.starts_with("GET /socket.io/?EIO=4&transport=websocket ");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    (&stream)
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        .ok()?;
    let mut user = String::new();
    if is_socketio {
        state.lock().unwrap().is_socketio = true;
        user = socketio_login(&stream, &mut reader)?;
    }
    loop {
        let mut request = read_frame(&mut reader)?;
        if is_socketio {
            request = from_packet(&request);
        }
        let mut state = state.lock().unwrap();
        answer(&request, &stream, &mut user, &mut state, fault)?;
    }
}

/// The login of Socket.IO, with a ping that has to be answered meanwhile. Returns the token.
fn socketio_login(stream: &TcpStream, reader: &mut impl Read) -> Option<String> {
    write_frame(stream, r#"0{"sid":"one"}"#)?;
    write_frame(stream, "2")?;
    let mut packets = [read_frame(reader)?, read_frame(reader)?];
    packets.sort();
    let [pong, connect] = packets;
    assert_eq!((pong.as_str(), &connect[..3]), ("3", "40{"));
    write_frame(stream, r#"40{"sid":"two"}"#)?;
    Some(value(&connect, "token"))
}

/// `42ID["TYPE",PAYLOAD]` as an envelope.
fn from_packet(packet: &str) -> String {
    let (id, event) = packet.strip_prefix("42").and_then(|packet| packet.split_once("[\"")).unwrap();
    let (kind, payload) = event.strip_suffix(']').and_then(|event| event.split_once("\",")).unwrap();
    format!(r#"{{"type":"{kind}","requestId":"{id}","payload":{payload}}}"#)
}

/// An envelope as `43ID[PAYLOAD]` or `42["TYPE",PAYLOAD]`.
fn to_packet(envelope: &str) -> String {
    let (kind, payload) = (value(envelope, "type"), envelope.split_once("\"payload\":").unwrap().1.strip_suffix('}').unwrap());
    match value(envelope, "requestId").as_str() {
        "" => format!(r#"42["{kind}",{payload}]"#),
        id => format!("43{id}[{payload}]"),
    }
}

/// Says something in the words of whoever is connected.
fn tell(state: &State, stream: &TcpStream, envelope: &str) -> Option<()> {
    if state.is_socketio { write_frame(stream, &to_packet(envelope)) } else { write_frame(stream, envelope) }
}

fn answer(request: &str, stream: &TcpStream, user: &mut String, state: &mut State, fault: Fault) -> Option<()> {
    let kind = value(request, "type");
    let conversation = value(request, "conversationId");
    let payload = match kind.as_str() {
        "auth" => {
            *user = value(request, "token");
            "{}".to_owned()
        }
        "create_group" => {
            state.groups += 1;
            let id = format!("group-{}", state.groups);
            let named =
                request.split_once("\"memberIds\":[").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(named, _)| named);
            let mut allowed: Vec<String> = named.split(',').map(|name| name.trim_matches('"').to_owned()).collect();
            assert!(allowed.len() <= 100, "too many named members");
            allowed.push(user_of(user));
            state.allowed.insert(id.clone(), allowed);
            format!(r#"{{"conversation":{{"id":"{id}","kind":"group"}},"inviteCode":"invite-to-{id}"}}"#)
        }
        "join_group" => {
            let id = value(request, "inviteCode").strip_prefix("invite-to-").unwrap().to_owned();
            state.allowed.get_mut(&id).unwrap().push(user_of(user));
            "{}".to_owned()
        }
        "join_conversation" => {
            if let Some(allowed) = state.allowed.get(&conversation) {
                assert!(allowed.contains(&user_of(user)), "{user} is not a member of {conversation}");
            }
            let log = state.logs.entry(conversation.clone()).or_default();
            let since = request.split_once("\"epoch\":\"one\",\"seq\":").map(|(_, rest)| rest.split('}').next().unwrap());
            let since: Option<usize> = since.map(|since| since.parse().unwrap());
            let skipped = since.map(|since| since + usize::from(fault == Fault::RecoversWithGap && since < log.len()));
            let events = skipped.map_or_else(String::new, |skipped| log[skipped..].join(","));
            let recovered = since.is_some() && fault != Fault::Forgets;
            let head = log.len();
            let members = state.members.entry(conversation.clone()).or_default();
            members.retain(|(member, _)| member != user);
            members.push((user.clone(), stream.try_clone().ok()?));
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            format!(
                r#"{{"conversation":{{"head":{head}}},"epoch":"one","head":{head},"recovered":{recovered},"events":[{events}],"members":[]}}"#
            )
        }
        "typing_start" | "typing_stop" => {
            hint(&kind, &conversation, user, state, fault);
            return Some(());
        }
        "send_message" if fault == Fault::Refuses => {
            return write_frame(stream, r#"{"type":"error","payload":{"code":"rate_limited"}}"#);
        }
        "send_message" => "{}".to_owned(),
        other => panic!("unexpected request {other}"),
    };
    let request_id = value(request, "requestId");
    tell(state, stream, &format!(r#"{{"type":"{kind}","requestId":"{request_id}","payload":{payload}}}"#))?;
    if kind == "send_message" {
        deliver(&conversation, &value(request, "content"), state, fault);
    }
    Some(())
}

fn deliver(conversation: &str, content: &str, state: &mut State, fault: Fault) {
    let head = state.heads.entry(conversation.to_owned()).or_default();
    *head += 1;
    let at_fifth = *head == 5;
    if at_fifth && fault == Fault::SkipsSeq {
        *head += 1;
    }
    let event = format!(
        r#"{{"type":"message_created","payload":{{"conversationId":"{conversation}","seq":{head},"content":"{content}"}}}}"#
    );
    state.logs.entry(conversation.to_owned()).or_default().push(event.clone());
    let members = &state.members[conversation];
    for (position, (_, member)) in members.iter().enumerate() {
        let is_last = position + 1 == members.len();
        let copies = match fault {
            Fault::LosesOne if at_fifth && is_last => 0,
            Fault::RepeatsOne if at_fifth && is_last => 2,
            _ => 1,
        };
        for _ in 0..copies {
            // A member that has left is the test's end, or away.
            let _ = tell(state, member, &event);
        }
    }
}

fn hint(kind: &str, conversation: &str, user: &str, state: &mut State, fault: Fault) {
    let number = state.hints.entry(conversation.to_owned()).or_default();
    *number += 1;
    let is_fifth = *number == 5;
    let event = if kind == "typing_start" { "typing_started" } else { "typing_stopped" };
    let typist = user_of(user);
    let event = format!(r#"{{"type":"{event}","payload":{{"conversationId":"{conversation}","userId":"{typist}"}}}}"#);
    let others = state.members[conversation].iter().filter(|(member, _)| member != user);
    for (position, (_, member)) in others.enumerate() {
        let copies = match fault {
            Fault::LosesHint if is_fifth && position == 1 => 0,
            Fault::RepeatsHint if is_fifth && position == 1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let _ = tell(state, member, &event);
        }
    }
}

/// Tokens here are `e30.CLAIMS.sig`, and which claims belong to which user is only known to the test.
fn user_of(token: &str) -> String {
    super::user_of(token)
}

fn value(message: &str, key: &str) -> String {
    let found = message.split_once(&format!("\"{key}\":\"")).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or_else(String::new, |(value, _)| value.to_owned())
}

fn read_frame(reader: &mut impl Read) -> Option<String> {
    let mut header = [0; 2];
    reader.read_exact(&mut header).ok()?;
    assert_eq!(header[0], 0x81, "a text frame");
    assert!(header[1] & 0x80 != 0, "masked");
    let length = match header[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length).ok()?;
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let (mut mask, mut payload) = ([0; 4], vec![0; length]);
    reader.read_exact(&mut mask).ok()?;
    reader.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    String::from_utf8(payload).ok()
}

fn write_frame(mut stream: &TcpStream, text: &str) -> Option<()> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ ..126 => frame.push(short as u8),
        long => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).ok()
}
