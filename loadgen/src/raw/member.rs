//! One simulated client while messages flow: the message it sends, ready to go, and what it has received so far.

use crate::raw::cli::Dialect;
use crate::raw::wire::{self, MASK, Opcode};

/// Digits of a time stamp.
const STAMP_DIGITS: usize = 16;
const BLANK: &str = "0000000000000000";
/// Added to the stamp in the id of a Socket.IO acknowledgement, which is a number: so it has 16 digits too, and stays below 2^53.
const ACK_BASE: u64 = 1_000_000_000_000_000;

/// A masked `send_message` frame, with the places where each message differs from the one before.
///
/// The time of sending stands in `requestId`, which comes back in the reply, and at the start of the content, which comes back in
/// every delivery; so nothing has to be remembered for each message.
pub(crate) struct Template {
    dialect: Dialect,
    frame: Vec<u8>,
    payload_at: usize,
    request_at: usize,
    content_at: usize,
    client_id_at: Option<usize>,
}

impl Template {
    /// For messages to `conversation` of `body_bytes`; with client ids that differ from those of any other `run`.
    pub(crate) fn new(dialect: Dialect, conversation: &str, body_bytes: usize, client_ids: Option<u64>) -> Self {
        let (opening, payload, end) = match dialect {
            Dialect::Parlor | Dialect::Peer => (r#"{"type":"send_message","requestId":""#, r#"","payload":"#, "}"),
            Dialect::Socketio => ("42", r#"["send_message","#, "]"),
        };
        let mut text = String::from(opening);
        let request_at = text.len();
        text.push_str(&format!(r#"{BLANK}{payload}{{"conversationId":"{conversation}","content":""#));
        let content_at = text.len();
        text.push_str(BLANK);
        text.extend(std::iter::repeat_n('x', body_bytes.saturating_sub(STAMP_DIGITS)));
        let client_id_at = client_ids.map(|run| {
            text.push_str(r#"","clientMessageId":""#);
            let at = text.len();
            text.push_str(&format!("{BLANK}-{run:016x}"));
            at
        });
        text.push_str("\"}");
        text.push_str(end);
        let mut frame = Vec::new();
        let payload_at = wire::encode(Opcode::Text, text.as_bytes(), &mut frame);
        Self { dialect, frame, payload_at, request_at, content_at, client_id_at }
    }

    /// The frame for the message that is sent at `stamp`, which is unique for this client.
    pub(crate) fn stamped(&mut self, stamp: u64) -> &[u8] {
        match self.dialect {
            Dialect::Parlor | Dialect::Peer => self.put(self.request_at, stamp, 16),
            Dialect::Socketio => self.put(self.request_at, ACK_BASE + stamp, 10),
        }
        self.put(self.content_at, stamp, 16);
        if let Some(at) = self.client_id_at {
            self.put(at, scatter(stamp), 16);
        }
        &self.frame
    }

    /// Writes `value`, from its last digit to its first.
    fn put(&mut self, at: usize, mut value: u64, base: u64) {
        for position in (at..at + STAMP_DIGITS).rev() {
            let digit = b"0123456789abcdef"[(value % base) as usize];
            self.frame[self.payload_at + position] = digit ^ MASK[position & 3];
            value /= base;
        }
    }
}

/// One to one, and as spread out as the random ids of real clients: the end of splitmix64. Rising ids would flatter an index.
fn scatter(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Finds a key in messages that all look alike, by looking first where it was the last time.
pub(crate) struct Finder {
    key: &'static [u8],
    at: usize,
}

impl Finder {
    /// For `key`, with its quotation marks and colon.
    pub(crate) fn new(key: &'static str) -> Self {
        Self { key: key.as_bytes(), at: 0 }
    }

    /// What follows the key.
    pub(crate) fn after<'a>(&mut self, message: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(rest) = message.get(self.at..).and_then(|rest| rest.strip_prefix(self.key)) {
            return Some(rest);
        }
        self.at = message.windows(self.key.len()).position(|window| window == self.key)?;
        message.get(self.at + self.key.len()..)
    }
}

/// A client's own view of its room.
pub(crate) struct Member {
    /// Its room.
    pub(crate) room: usize,
    /// What it sends; `None` for one that only listens.
    pub(crate) template: Option<Template>,
    /// The stamp of its newest message.
    pub(crate) last_stamp: u64,
    /// Deliveries so far.
    pub(crate) received: u64,
    /// Deliveries whose `seq` did not follow the one before.
    pub(crate) out_of_order: u64,
    /// The newest `seq` it knows of; whatever comes must follow it.
    pub(crate) last_seq: Option<u64>,
    seq: Finder,
    content: Finder,
}

impl Member {
    /// One that has received nothing.
    pub(crate) fn new(room: usize, template: Option<Template>) -> Self {
        let (seq, content) = (Finder::new(r#""seq":"#), Finder::new(r#""content":""#));
        Self { room, template, last_stamp: 0, received: 0, out_of_order: 0, last_seq: None, seq, content }
    }

    /// Takes a delivery and returns when it was sent.
    pub(crate) fn handle_delivery(&mut self, message: &[u8], seq_is_dense: bool) -> Option<u64> {
        self.received += 1;
        if seq_is_dense {
            let seq = self.seq.after(message).and_then(parse_number);
            if seq.is_none() || self.last_seq.is_some_and(|last| seq != Some(last + 1)) {
                self.out_of_order += 1;
            }
            self.last_seq = seq;
        }
        self.content.after(message).and_then(parse_stamp)
    }
}

/// Finds in the replies to `send_message` when the message was sent.
pub(crate) struct ReplyStamps {
    dialect: Dialect,
    request_id: Finder,
}

impl ReplyStamps {
    /// For replies of a server that speaks `dialect`.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self { dialect, request_id: Finder::new(r#""requestId":""#) }
    }

    /// The stamp that the request had; `None` if there is none.
    pub(crate) fn of(&mut self, reply: &[u8]) -> Option<u64> {
        match self.dialect {
            Dialect::Parlor | Dialect::Peer => self.request_id.after(reply).and_then(parse_stamp),
            Dialect::Socketio => reply.get(2..).and_then(parse_number)?.checked_sub(ACK_BASE),
        }
    }
}

/// The stamp at the start of `text`.
pub(crate) fn parse_stamp(text: &[u8]) -> Option<u64> {
    let digits = text.first_chunk::<STAMP_DIGITS>()?;
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u64::from(nibble))
    })
}

/// The decimal number at the start of `text`.
fn parse_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).take(16);
    digits.fold(None, |value, digit| Some(value.unwrap_or(0) * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(frame: &[u8], payload_at: usize) -> String {
        frame[payload_at..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| char::from(byte ^ mask)).collect()
    }

    #[test]
    fn a_stamp_goes_out_and_comes_back() {
        for body_bytes in [16, 64, 400] {
            let mut template = Template::new(Dialect::Peer, "room-7", body_bytes, Some(5));
            let at = template.payload_at;
            let text = unmasked(template.stamped(0x0123_4567_89ab_cdef), at);
            let content = Finder::new(r#""content":""#).after(text.as_bytes()).unwrap().to_vec();
            assert_eq!(parse_stamp(&content), Some(0x0123_4567_89ab_cdef));
            assert_eq!(content.iter().position(|byte| *byte == b'"'), Some(body_bytes));
            let request = Finder::new(r#""requestId":""#).after(text.as_bytes()).and_then(parse_stamp);
            assert_eq!(request, Some(0x0123_4567_89ab_cdef));
            assert!(text.ends_with(r#"-0000000000000005"}}"#), "{text}");
        }
    }

    #[test]
    fn an_acknowledgement_brings_the_stamp_back() {
        let mut template = Template::new(Dialect::Socketio, "room-7", 20, None);
        let at = template.payload_at;
        for stamp in [0, 9, 1_234_567_890_123] {
            let text = unmasked(template.stamped(stamp), at);
            let (id, rest) = text.strip_prefix("42").unwrap().split_once('[').unwrap();
            assert_eq!(rest, format!(r#""send_message",{{"conversationId":"room-7","content":"{stamp:016x}xxxx"}}]"#));
            let mut stamps = ReplyStamps::new(Dialect::Socketio);
            assert_eq!(stamps.of(format!(r#"43{id}[{{"seq":1}}]"#).as_bytes()), Some(stamp));
            assert_eq!(stamps.of(b"43["), None);
        }
    }

    #[test]
    fn client_ids_differ_from_message_to_message() {
        let ids: std::collections::HashSet<u64> = (0..10_000).map(scatter).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn a_skipped_repeated_or_missing_seq_is_noticed() {
        let message =
            |seq: u64| format!(r#"{{"type":"message_created","payload":{{"seq":{seq},"content":"0000000000000001"}}}}"#);
        let mut member = Member::new(0, None);
        for seq in [8, 9, 10] {
            assert_eq!(member.handle_delivery(message(seq).as_bytes(), true), Some(1));
        }
        assert_eq!(member.out_of_order, 0);
        member.handle_delivery(message(12).as_bytes(), true);
        member.handle_delivery(message(12).as_bytes(), true);
        member.handle_delivery(b"{}", true);
        assert_eq!((member.out_of_order, member.received), (3, 6));
    }

    #[test]
    fn a_key_is_found_where_it_moved() {
        let mut finder = Finder::new(r#""seq":"#);
        assert_eq!(finder.after(br#"{"seq":9}"#), Some(b"9}".as_slice()));
        assert_eq!(finder.after(br#"{"a":1,"seq":10}"#), Some(b"10}".as_slice()));
        assert_eq!(finder.after(b"{}"), None);
    }
}
