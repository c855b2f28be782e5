//! RFC 6455 frames as the client's side writes and reads them. Written apart from the server's own code, so that the two check each other.

/// Section 5.2: what a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opcode(pub(crate) u8);

impl Opcode {
    pub(crate) const CONTINUATION: Self = Self(0);
    pub(crate) const TEXT: Self = Self(1);
    pub(crate) const BINARY: Self = Self(2);
    pub(crate) const CLOSE: Self = Self(8);
    pub(crate) const PING: Self = Self(9);
    pub(crate) const PONG: Self = Self(10);
}

/// One frame. `first` is the whole first byte, so that tests can set what is forbidden.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

impl Frame {
    /// A whole message or control frame.
    pub(crate) fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        Self { first: FIN | opcode.0, payload: payload.into() }
    }

    /// A frame that another one continues.
    pub(crate) fn unfinished(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        Self { first: opcode.0, payload: payload.into() }
    }

    /// What it is.
    pub(crate) fn opcode(&self) -> Opcode {
        Opcode(self.first & 0x0f)
    }

    /// The bytes of a client's frame, masked as section 5.3 demands.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Any key is legal; a fixed one keeps failures the same from run to run.
        const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut out = header(self.first, self.payload.len() as u64, MASKED);
        out.extend_from_slice(&KEY);
        out.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ KEY[i % 4]));
        out
    }

    /// The same without a mask, which no client may send.
    pub(crate) fn encode_unmasked(&self) -> Vec<u8> {
        let mut out = header(self.first, self.payload.len() as u64, 0);
        out.extend_from_slice(&self.payload);
        out
    }

    /// Takes one frame of the server off the front of `buffer`; `None` while it is not whole.
    pub(crate) fn decode(buffer: &mut Vec<u8>) -> Option<Self> {
        let [first, second, ..] = **buffer else { return None };
        assert_eq!(second & MASKED, 0, "a server must not mask");
        assert_eq!(first & 0x70, 0, "no extension was negotiated, yet a reserved bit is set");
        assert_ne!(first & FIN, 0, "the server fragments");
        let (length, start) = match second {
            126 => (u64::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().expect("two bytes"))), 4),
            127 => (u64::from_be_bytes(buffer.get(2..10)?.try_into().expect("eight bytes")), 10),
            short => (u64::from(short), 2),
        };
        let end = start + usize::try_from(length).expect("a length that fits memory");
        let payload = buffer.get(start..end)?.to_vec();
        buffer.drain(..end);
        Some(Self { first, payload })
    }
}

/// A frame's head with a declared length that need not be true.
pub(crate) fn header(first: u8, length: u64, masked: u8) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..=125 => out.push(masked | length as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out
}
