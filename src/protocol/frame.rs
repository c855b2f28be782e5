//! RFC 6455 frames as a server sees them: decoding in place over the caller's buffer, and encoding.
//!
//! What holds: a frame is refused as soon as the bytes that show its fault are there, and by its declared length before
//! anything is reserved for it. A message in one frame is unmasked where it lies and never copied; only fragments are, into a
//! buffer that goes with the message, so that an idle connection keeps nothing. The split of the stream into reads changes
//! nothing. This module must not know a socket, nor what a text means. No extension is ever negotiated.

mod encode;
#[cfg(any(test, fuzzing))]
pub mod harness;
#[cfg(test)]
mod tests;

use std::fmt;

pub use encode::{FrameBuilder, push_binary_header, push_close, push_close_echo, push_ping, push_pong, push_text_header};

use super::CloseCode;
use super::limits::{HARD_MAX_MESSAGE_BYTES, MAX_CONTROL_BYTES};

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// The 7-bit length that says that 16 bits of length follow.
const LENGTH_16: u8 = 126;
/// The 7-bit length that says that 64 bits of length follow.
const LENGTH_64: u8 = 127;
const MASK_BYTES: usize = 4;
/// Flags, length and mask: a client's shortest frame.
const MIN_CLIENT_FRAME_BYTES: usize = 2 + MASK_BYTES;

/// Bounds for one decode; they differ before and after authentication.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Largest frame payload and reassembled message, in bytes; [`HARD_MAX_MESSAGE_BYTES`] holds even when this is off.
    pub max_message_bytes: usize,
    /// Most frames of one fragmented message, empty ones included.
    pub max_fragments: usize,
}

/// Which data frames a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataTypes {
    /// What Parlor speaks: a binary frame is [`FrameError::Binary`].
    TextOnly,
    /// For conformance suites, which insist on binary: such a message comes out like a text, without the check for UTF-8.
    TextAndBinary,
}

/// The decoding state of one connection: one pointer wide, and null unless a fragmented message is under way.
#[derive(Debug, Default)]
pub struct Decoder {
    reassembly: Option<Box<Reassembly>>,
}

/// What one decode found at the front of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// More bytes are needed; nothing was consumed or changed.
    Incomplete {
        /// Total bytes of the frame at the front, as far as its header tells; before that, the least it can be. It exceeds
        /// `max_message_bytes` by at most a header, or is at most the longest control frame.
        need: usize,
    },
    /// One frame was taken.
    Frame {
        /// Bytes of the frame, header included.
        consumed: usize,
        /// What it brought; `None` for a fragment that completes nothing.
        incoming: Option<Incoming<'a>>,
    },
}

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text in one frame: valid UTF-8, unmasked in place in the caller's buffer.
    Text(&'a mut [u8]),
    /// A text that came in fragments: valid UTF-8, owned.
    Reassembled(Vec<u8>),
    /// A ping, to be answered by a pong with the same body.
    Ping(&'a [u8]),
    /// A pong; its body means nothing here.
    Pong,
    /// A valid close with its code, if it had a body. Nothing that follows it is to be decoded (RFC 6455, section 5.5.1).
    Close(Option<u16>),
}

/// Why the connection fails. Nothing may be decoded after one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A frame that RFC 6455 forbids.
    Protocol,
    /// A binary message.
    Binary,
    /// A text or a close reason that is not UTF-8.
    InvalidUtf8,
    /// A message over its limit of bytes or fragments.
    TooBig,
}

impl FrameError {
    /// The code to close the connection with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Protocol => CloseCode::ProtocolError,
            Self::Binary => CloseCode::UnsupportedData,
            Self::InvalidUtf8 => CloseCode::InvalidUtf8,
            Self::TooBig => CloseCode::MessageTooBig,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "a frame that RFC 6455 forbids",
            Self::Binary => "a binary message",
            Self::InvalidUtf8 => "a text that is not UTF-8",
            Self::TooBig => "a message over its limit",
        })
    }
}

impl std::error::Error for FrameError {}

impl Decoder {
    /// Takes the frame at the front of `buf`, of a peer that may send text only.
    ///
    /// # Errors
    /// The connection must be closed with the error's [`FrameError::close_code`]; `buf` may be partly unmasked by then.
    pub fn decode<'a>(&mut self, buf: &'a mut [u8], limits: FrameLimits) -> Result<Decoded<'a>, FrameError> {
        self.decode_types(buf, limits, DataTypes::TextOnly)
    }

    /// [`Decoder::decode`], of a peer that may send what `types` says. The server itself never calls this.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_types<'a>(
        &mut self,
        buf: &'a mut [u8],
        limits: FrameLimits,
        types: DataTypes,
    ) -> Result<Decoded<'a>, FrameError> {
        let (kind, mask_at, payload_bytes) = match self.decode_header(buf, limits, types)? {
            Header::Partial { need } => return Ok(Decoded::Incomplete { need }),
            Header::Whole { kind, mask_at, payload_bytes } => (kind, mask_at, payload_bytes),
        };
        let header_bytes = mask_at + MASK_BYTES;
        let consumed = header_bytes + payload_bytes;
        let Some(frame) = buf.get_mut(..consumed) else {
            return Ok(Decoded::Incomplete { need: consumed });
        };
        let (header, payload) = frame.split_at_mut(header_bytes);
        let mask = *header.last_chunk().expect("a header ends with its mask");
        unmask(payload, mask);
        let incoming = self.take(kind, payload)?;
        Ok(Decoded::Frame { consumed, incoming })
    }

    /// Judges as much of the header as is there, in the order of its bytes, so that a fault is found at the same byte however
    /// the stream was split.
    fn decode_header(&self, buf: &[u8], limits: FrameLimits, types: DataTypes) -> Result<Header, FrameError> {
        let Some(&first) = buf.first() else {
            return Ok(Header::Partial { need: MIN_CLIENT_FRAME_BYTES });
        };
        let kind = self.kind_of(first, limits, types)?;
        let Some(&second) = buf.get(1) else {
            return Ok(Header::Partial { need: MIN_CLIENT_FRAME_BYTES });
        };
        let max_message_bytes = limits.max_message_bytes.min(HARD_MAX_MESSAGE_BYTES);
        let max_bytes = match kind {
            Kind::Close | Kind::Ping | Kind::Pong => MAX_CONTROL_BYTES,
            Kind::Whole(_) | Kind::First(_) => max_message_bytes,
            Kind::Middle | Kind::Last => max_message_bytes.saturating_sub(self.reassembled_bytes()),
        };
        // Section 5.1: a client masks every frame. Section 5.5: a control frame has no extended length.
        if second & MASKED == 0 || (kind.is_control() && second & LENGTH_BITS >= LENGTH_16) {
            return Err(FrameError::Protocol);
        }
        Header::decode_length(kind, second & LENGTH_BITS, buf, max_bytes)
    }

    /// What the first byte announces, if that may come now.
    fn kind_of(&self, first: u8, limits: FrameLimits, types: DataTypes) -> Result<Kind, FrameError> {
        let fin = first & FIN != 0;
        if first & RESERVED_BITS != 0 {
            return Err(FrameError::Protocol);
        }
        let data_type = match first & OPCODE_BITS {
            TEXT => DataType::Text,
            // Amid a fragmented message it is the lesser fault: that no data frame may come there is said below.
            BINARY if types == DataTypes::TextOnly && self.reassembly.is_none() => return Err(FrameError::Binary),
            BINARY => DataType::Binary,
            CONTINUATION => {
                let message = self.reassembly.as_ref().ok_or(FrameError::Protocol)?;
                if message.fragments >= limits.max_fragments {
                    return Err(FrameError::TooBig);
                }
                return Ok(if fin { Kind::Last } else { Kind::Middle });
            }
            CLOSE if fin => return Ok(Kind::Close),
            PING if fin => return Ok(Kind::Ping),
            PONG if fin => return Ok(Kind::Pong),
            _ => return Err(FrameError::Protocol),
        };
        if self.reassembly.is_some() {
            return Err(FrameError::Protocol);
        }
        match fin {
            true => Ok(Kind::Whole(data_type)),
            false if limits.max_fragments == 0 => Err(FrameError::TooBig),
            false => Ok(Kind::First(data_type)),
        }
    }

    fn reassembled_bytes(&self) -> usize {
        self.reassembly.as_ref().map_or(0, |message| message.payload.len())
    }

    /// Takes an unmasked payload.
    fn take<'a>(&mut self, kind: Kind, payload: &'a mut [u8]) -> Result<Option<Incoming<'a>>, FrameError> {
        match kind {
            Kind::Whole(DataType::Binary) => Ok(Some(Incoming::Text(payload))),
            Kind::Whole(DataType::Text) => match std::str::from_utf8(payload) {
                Ok(_) => Ok(Some(Incoming::Text(payload))),
                Err(_) => Err(FrameError::InvalidUtf8),
            },
            Kind::First(data_type) => {
                self.reassembly.insert(Box::new(Reassembly::new(data_type))).append(payload)?;
                Ok(None)
            }
            Kind::Middle => {
                let message = self.reassembly.as_mut().ok_or(FrameError::Protocol)?;
                message.append(payload)?;
                Ok(None)
            }
            Kind::Last => {
                let mut message = self.reassembly.take().ok_or(FrameError::Protocol)?;
                message.append(payload)?;
                message.finish().map(|payload| Some(Incoming::Reassembled(payload)))
            }
            Kind::Close => close_code(payload).map(|code| Some(Incoming::Close(code))),
            Kind::Ping => Ok(Some(Incoming::Ping(payload))),
            Kind::Pong => Ok(Some(Incoming::Pong)),
        }
    }
}

/// A header as far as it has come.
enum Header {
    Partial { need: usize },
    Whole { kind: Kind, mask_at: usize, payload_bytes: usize },
}

impl Header {
    fn decode_length(kind: Kind, short: u8, buf: &[u8], max_bytes: usize) -> Result<Self, FrameError> {
        let (payload_bytes, mask_at, least) = match short {
            LENGTH_16 => match buf.get(2..4).and_then(<[u8]>::first_chunk) {
                Some(&bytes) => (u64::from(u16::from_be_bytes(bytes)), 4, u64::from(LENGTH_16)),
                None => return Ok(Self::Partial { need: 4 + MASK_BYTES }),
            },
            LENGTH_64 => match buf.get(2..10).and_then(<[u8]>::first_chunk) {
                Some(&bytes) => (u64::from_be_bytes(bytes), 10, u64::from(u16::MAX) + 1),
                None => return Ok(Self::Partial { need: 10 + MASK_BYTES }),
            },
            short => (u64::from(short), 2, 0),
        };
        // Section 5.2: the shortest encoding, and the top bit of the longest is 0.
        if payload_bytes < least || payload_bytes > i64::MAX as u64 {
            return Err(FrameError::Protocol);
        }
        match usize::try_from(payload_bytes) {
            Ok(payload_bytes) if payload_bytes <= max_bytes => Ok(Self::Whole { kind, mask_at, payload_bytes }),
            Ok(_) | Err(_) => Err(FrameError::TooBig),
        }
    }
}

/// What a frame is, given what came before it.
#[derive(Clone, Copy)]
enum Kind {
    Whole(DataType),
    First(DataType),
    Middle,
    Last,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Whole(_) | Self::First(_) | Self::Middle | Self::Last => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum DataType {
    Text,
    Binary,
}

/// A fragmented message under way.
#[derive(Debug)]
struct Reassembly {
    data_type: DataType,
    payload: Vec<u8>,
    fragments: usize,
    /// Bytes at the front that are known to be UTF-8. A character may straddle fragments, so up to three more may wait.
    valid_bytes: usize,
}

impl Reassembly {
    fn new(data_type: DataType) -> Self {
        Self { data_type, payload: Vec::new(), fragments: 0, valid_bytes: 0 }
    }

    /// Adds a fragment. What no later byte could make UTF-8 fails here, and no byte is looked at again in later fragments.
    fn append(&mut self, fragment: &[u8]) -> Result<(), FrameError> {
        self.fragments += 1;
        self.payload.extend_from_slice(fragment);
        self.valid_bytes = match self.data_type {
            DataType::Binary => self.payload.len(),
            DataType::Text => match std::str::from_utf8(&self.payload[self.valid_bytes..]) {
                Ok(_) => self.payload.len(),
                Err(error) if error.error_len().is_none() => self.valid_bytes + error.valid_up_to(),
                Err(_) => return Err(FrameError::InvalidUtf8),
            },
        };
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, FrameError> {
        if self.valid_bytes < self.payload.len() {
            return Err(FrameError::InvalidUtf8);
        }
        Ok(self.payload)
    }
}

/// The code of a close frame's body (RFC 6455, sections 5.5.1 and 7.4).
fn close_code(body: &[u8]) -> Result<Option<u16>, FrameError> {
    let Some((&code, reason)) = body.split_first_chunk() else {
        return if body.is_empty() { Ok(None) } else { Err(FrameError::Protocol) };
    };
    let code = u16::from_be_bytes(code);
    // 1004 is reserved, 1005, 1006 and 1015 never stand in a frame, and below 3000 the rest has no meaning yet.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::Protocol);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(FrameError::InvalidUtf8),
    }
}

/// Unmasks in place, eight bytes at a time, in a form that the compiler turns into wider vectors.
fn unmask(payload: &mut [u8], mask: [u8; MASK_BYTES]) {
    let [a, b, c, d] = mask;
    let wide_mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide_mask).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}
