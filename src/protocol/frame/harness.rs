//! What the decoder must do for any bytes in any splits: checked against a reference written byte by byte from RFC 6455,
//! which shares no code with the decoder. The fuzz target `frames` and the unit tests run the same [`check`].

use super::{DataTypes, Decoded, Decoder, FrameLimits, Incoming};

/// What a stream of client bytes came to: everything taken from it in order, and the close code that ended it, if one did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was taken.
    pub events: Vec<Event>,
    /// 1002, 1003, 1007 or 1009.
    pub refused_with: Option<u16>,
    /// Bytes of the frames that were taken.
    pub consumed: usize,
}

/// [`Incoming`], owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A fragment that completed nothing.
    Fragment,
    /// A message in one frame.
    Message(Vec<u8>),
    /// A message in fragments.
    Reassembled(Vec<u8>),
    /// A ping's body.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close; the stream is not read further.
    Close(Option<u16>),
}

/// Runs one input: its first bytes choose limits and splits, the rest is a stream, taken as it is or as a recipe for frames
/// that are mostly right (random bytes alone seldom get past the first frame).
pub fn check(input: &[u8]) {
    let Some((&[choice, max_bytes, max_fragments, seed], rest)) = input.split_first_chunk() else { return };
    let limits = FrameLimits { max_message_bytes: usize::from(max_bytes) * 8, max_fragments: usize::from(max_fragments % 8) };
    let types = if choice & 1 == 0 { DataTypes::TextOnly } else { DataTypes::TextAndBinary };
    let stream = if choice & 2 == 0 { rest.to_vec() } else { cook(rest) };
    let expected = reference(&stream, limits, types);
    let mut state = u64::from(seed) | 0x9e37_79b9_0000_0000;
    assert_eq!(decode_split(&stream, limits, types, || usize::MAX), expected, "whole");
    assert_eq!(decode_split(&stream, limits, types, || 1), expected, "byte by byte");
    assert_eq!(decode_split(&stream, limits, types, || 1 + xorshift(&mut state) as usize % 16), expected, "split");
}

/// The next number of a small seeded generator.
pub fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Decodes a stream that arrives in pieces of the given sizes, as a connection would.
pub fn decode_split(stream: &[u8], limits: FrameLimits, types: DataTypes, mut next_piece: impl FnMut() -> usize) -> Outcome {
    let mut decoder = Decoder::default();
    let mut outcome = Outcome::default();
    let mut unread = stream;
    let mut buffer = Vec::new();
    loop {
        let before = buffer.clone();
        match decoder.decode_types(&mut buffer, limits, types) {
            Ok(Decoded::Incomplete { need }) => {
                assert!(need > before.len(), "asks for more than there is");
                assert!(need <= limits.max_message_bytes.max(125) + 14, "asks for no more than the limit");
                assert_eq!(buffer, before, "nothing changes before the frame is whole");
                if unread.is_empty() {
                    return outcome;
                }
                let (piece, later) = unread.split_at(next_piece().min(unread.len()));
                buffer.extend_from_slice(piece);
                unread = later;
            }
            Ok(Decoded::Frame { consumed, incoming }) => {
                let event = owned(incoming);
                outcome.events.push(event.clone());
                outcome.consumed += consumed;
                if matches!(event, Event::Close(_)) {
                    return outcome;
                }
                buffer.drain(..consumed);
            }
            Err(error) => {
                outcome.refused_with = Some(error.close_code().number());
                return outcome;
            }
        }
    }
}

fn owned(incoming: Option<Incoming<'_>>) -> Event {
    match incoming {
        None => Event::Fragment,
        Some(Incoming::Text(text)) => Event::Message(text.to_vec()),
        Some(Incoming::Reassembled(text)) => Event::Reassembled(text),
        Some(Incoming::Ping(body)) => Event::Ping(body.to_vec()),
        Some(Incoming::Pong) => Event::Pong,
        Some(Incoming::Close(code)) => Event::Close(code),
    }
}

/// Turns arbitrary bytes into frames of which most are right, each of two recipe bytes, payload from what follows.
fn cook(mut recipe: &[u8]) -> Vec<u8> {
    const TEXTS: [&str; 4] = ["", "plain", "\u{e9}\u{20ac}\u{1f600}", "a longer text, of more than one word of eight bytes"];
    const OPCODES: [u8; 16] = [0x81, 0x81, 0x81, 0x01, 0x01, 0x00, 0x00, 0x80, 0x80, 0x80, 0x89, 0x8a, 0x88, 0x82, 0x02, 0x09];
    let mut stream = Vec::new();
    while let Some((&[kind, size], rest)) = recipe.split_first_chunk() {
        let (key, rest) = rest.split_at(rest.len().min(4));
        let payload = match kind >> 4 {
            0..=7 => TEXTS[usize::from(size % 4)].as_bytes().to_vec(),
            8 => TEXTS[2].as_bytes()[..usize::from(size % 10)].to_vec(),
            9 => TEXTS[2].as_bytes()[usize::from(size % 10)..].to_vec(),
            10 => [(1000 + u16::from(size % 24)).to_be_bytes().as_slice(), b"bye"].concat(),
            11 => vec![b'x'; usize::from(size) * 2],
            12 => vec![b'y'; usize::from(size) * 300],
            _ => rest[..rest.len().min(usize::from(size % 64))].to_vec(),
        };
        recipe = &rest[if kind >> 4 > 12 { payload.len() } else { 0 }..];
        let mut frame = client_frame(OPCODES[usize::from(kind & 15)], &payload, key.first_chunk().copied().unwrap_or([7; 4]));
        if kind == size {
            // One header bit in a frame goes wrong now and then.
            frame[usize::from(key.first().is_some_and(|bit| bit & 8 != 0))] ^= 1 << (kind & 7);
        }
        stream.append(&mut frame);
    }
    stream
}

/// A masked frame with the shortest length.
pub fn client_frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0xff);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    frame
}

/// The slow reference: reads the stream a byte at a time and judges each byte by all that came before.
pub fn reference(stream: &[u8], limits: FrameLimits, types: DataTypes) -> Outcome {
    let mut reader = Reader { unread: stream.to_vec(), limits, types, message: None };
    let mut outcome = Outcome::default();
    loop {
        let before = reader.unread.len();
        match reader.frame() {
            Ok(event) => {
                outcome.consumed += before - reader.unread.len();
                outcome.events.push(event.clone());
                if matches!(event, Event::Close(_)) {
                    return outcome;
                }
            }
            Err(Stop::Ended) => return outcome,
            Err(Stop::Refused(code)) => {
                outcome.refused_with = Some(code);
                return outcome;
            }
        }
    }
}

enum Stop {
    Ended,
    Refused(u16),
}

struct Reader {
    unread: Vec<u8>,
    limits: FrameLimits,
    types: DataTypes,
    /// Fragments of the message under way, and whether it is text.
    message: Option<(bool, Vec<Vec<u8>>)>,
}

impl Reader {
    fn byte(&mut self) -> Result<u8, Stop> {
        if self.unread.is_empty() { Err(Stop::Ended) } else { Ok(self.unread.remove(0)) }
    }

    fn frame(&mut self) -> Result<Event, Stop> {
        let first = self.byte()?;
        let (fin, reserved, opcode) = (first >= 128, first / 16 % 8, first % 16);
        let control = opcode >= 8;
        refuse(reserved != 0, 1002)?;
        refuse(matches!(opcode, 3..=7 | 11..=15), 1002)?;
        refuse(opcode == 2 && self.types == DataTypes::TextOnly && self.message.is_none(), 1003)?;
        refuse(control && !fin, 1002)?;
        refuse(opcode == 0 && self.message.is_none(), 1002)?;
        refuse(matches!(opcode, 1 | 2) && self.message.is_some(), 1002)?;
        let earlier = self.message.as_ref().map_or(0, |(_, fragments)| fragments.len());
        let is_fragment = !control && (opcode == 0 || !fin);
        refuse(is_fragment && earlier + 1 > self.limits.max_fragments, 1009)?;
        let length = self.length(control)?;
        let held: usize = self.message.iter().flat_map(|(_, fragments)| fragments).map(Vec::len).sum();
        refuse(!control && length + held as u128 > self.limits.max_message_bytes as u128, 1009)?;
        let key = [self.byte()?, self.byte()?, self.byte()?, self.byte()?];
        let mut payload = Vec::new();
        // The whole payload must be there before any of it counts.
        if (self.unread.len() as u128) < length {
            return Err(Stop::Ended);
        }
        let later = self.unread.split_off(length as usize);
        for (i, byte) in std::mem::replace(&mut self.unread, later).into_iter().enumerate() {
            payload.push(byte ^ key[i % 4]);
        }
        match opcode {
            8 => close(&payload),
            9 => Ok(Event::Ping(payload)),
            10 => Ok(Event::Pong),
            _ => self.data(opcode, fin, payload),
        }
    }

    fn length(&mut self, control: bool) -> Result<u128, Stop> {
        let second = self.byte()?;
        refuse(second < 128, 1002)?;
        let short = u128::from(second % 128);
        refuse(control && short > 125, 1002)?;
        let digits = match short {
            126 => 2,
            127 => 8,
            _ => return Ok(short),
        };
        let mut length = 0u128;
        for _ in 0..digits {
            length = length * 256 + u128::from(self.byte()?);
        }
        refuse(length < if digits == 2 { 126 } else { 65_536 }, 1002)?;
        refuse(length >= 1 << 63, 1002)?;
        Ok(length)
    }

    fn data(&mut self, opcode: u8, fin: bool, payload: Vec<u8>) -> Result<Event, Stop> {
        if opcode != 0 && fin {
            refuse(opcode == 1 && utf8(&payload) != Utf8::Whole, 1007)?;
            return Ok(Event::Message(payload));
        }
        let (is_text, mut fragments) = self.message.take().unwrap_or((opcode == 1, Vec::new()));
        fragments.push(payload);
        let so_far = fragments.concat();
        let utf8 = if is_text { utf8(&so_far) } else { Utf8::Whole };
        refuse(utf8 == Utf8::Broken, 1007)?;
        if fin {
            refuse(utf8 == Utf8::CutShort, 1007)?;
            return Ok(Event::Reassembled(so_far));
        }
        self.message = Some((is_text, fragments));
        Ok(Event::Fragment)
    }
}

fn refuse(condition: bool, code: u16) -> Result<(), Stop> {
    if condition { Err(Stop::Refused(code)) } else { Ok(()) }
}

fn close(body: &[u8]) -> Result<Event, Stop> {
    if body.is_empty() {
        return Ok(Event::Close(None));
    }
    refuse(body.len() == 1, 1002)?;
    let code = u16::from(body[0]) * 256 + u16::from(body[1]);
    let allowed = (3000..5000).contains(&code) || (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
    refuse(!allowed, 1002)?;
    refuse(utf8(&body[2..]) != Utf8::Whole, 1007)?;
    Ok(Event::Close(Some(code)))
}

#[derive(Debug, PartialEq, Eq)]
enum Utf8 {
    Whole,
    /// A prefix of something whole.
    CutShort,
    Broken,
}

/// Walks the table of RFC 3629, section 4.
fn utf8(bytes: &[u8]) -> Utf8 {
    let mut at = 0;
    while at < bytes.len() {
        let tail: &[(u8, u8)] = match bytes[at] {
            0x00..=0x7f => &[],
            0xc2..=0xdf => &[(0x80, 0xbf)],
            0xe0 => &[(0xa0, 0xbf), (0x80, 0xbf)],
            0xed => &[(0x80, 0x9f), (0x80, 0xbf)],
            0xe1..=0xef => &[(0x80, 0xbf), (0x80, 0xbf)],
            0xf0 => &[(0x90, 0xbf), (0x80, 0xbf), (0x80, 0xbf)],
            0xf1..=0xf3 => &[(0x80, 0xbf), (0x80, 0xbf), (0x80, 0xbf)],
            0xf4 => &[(0x80, 0x8f), (0x80, 0xbf), (0x80, 0xbf)],
            _ => return Utf8::Broken,
        };
        at += 1;
        for &(low, high) in tail {
            match bytes.get(at) {
                None => return Utf8::CutShort,
                Some(byte) if (low..=high).contains(byte) => at += 1,
                Some(_) => return Utf8::Broken,
            }
        }
    }
    Utf8::Whole
}
