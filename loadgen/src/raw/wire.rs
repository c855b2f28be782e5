//! RFC 6455 as a client needs it here: masked text frames out, whole frames in. Knows no socket and no JSON.

/// The handshake's key. Fixed, so that the simplest of the servers can answer with a constant (RFC 6455 section 1.3 has it).
pub(crate) const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What answers it.
pub(crate) const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// One mask for every frame, so that frames can be prepared once. It hides nothing, but servers have to undo it like any other.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// A message.
    Text,
    /// The server is closing.
    Close,
    /// Wants a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// A complete frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) opcode: Opcode,
    /// What it carries.
    pub(crate) payload: &'a [u8],
}

/// The server sent what a server here never sends: a binary or continuation frame, a reserved bit, or a masked frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unexpected(pub(crate) [u8; 2]);

/// Cuts bytes into frames; what is left over is the start of a frame that is not complete.
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Over `bytes`, which start with a frame's header.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next complete frame.
    pub(crate) fn next_frame(&mut self) -> Option<Result<Frame<'a>, Unexpected>> {
        let [first, second, rest @ ..] = self.bytes else { return None };
        let opcode = match first {
            0x81 => Opcode::Text,
            0x88 => Opcode::Close,
            0x89 => Opcode::Ping,
            0x8a => Opcode::Pong,
            _ => return Some(Err(Unexpected([*first, *second]))),
        };
        let (length, rest) = match second {
            126 => rest.split_first_chunk::<2>().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?,
            127 => rest.split_first_chunk::<8>().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
            short @ ..126 => (u64::from(*short), rest),
            _ => return Some(Err(Unexpected([*first, *second]))),
        };
        let length = usize::try_from(length).ok()?;
        let (payload, rest) = rest.split_at_checked(length)?;
        self.bytes = rest;
        Some(Ok(Frame { opcode, payload }))
    }

    /// What has not been cut off yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Appends a masked frame to `out` and returns where its payload starts there.
pub(crate) fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) -> usize {
    out.push(FIN | opcode.bits());
    match payload.len() {
        short @ ..126 => out.push(MASKED | short as u8),
        medium @ 126..0x1_0000 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        let start = encode(Opcode::Text, payload, &mut masked);
        let mut plain = masked[..start - MASK.len()].to_vec();
        plain[1] &= !MASKED;
        plain.extend_from_slice(payload);
        plain
    }

    #[test]
    fn frames_of_every_length_form_come_back_whole() {
        let payloads = [0, 1, 125, 126, 127, 65_535, 65_536].map(|length| vec![b'x'; length]);
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| server_frame(payload)).collect();
        let mut frames = Frames::new(&bytes);
        for payload in &payloads {
            assert_eq!(frames.next_frame(), Some(Ok(Frame { opcode: Opcode::Text, payload })));
        }
        assert_eq!(frames.next_frame(), None);
        assert!(frames.rest().is_empty());
    }

    #[test]
    fn a_cut_frame_is_left_over_at_every_cut() {
        let bytes = server_frame(&[b'x'; 200]);
        for cut in 0..bytes.len() {
            let mut frames = Frames::new(&bytes[..cut]);
            assert_eq!(frames.next_frame(), None);
            assert_eq!(frames.rest(), &bytes[..cut]);
        }
    }

    #[test]
    fn masked_and_binary_frames_are_unexpected() {
        assert_eq!(Frames::new(&[0x82, 0]).next_frame(), Some(Err(Unexpected([0x82, 0]))));
        assert_eq!(Frames::new(&[0x81, 0x85, 0, 0]).next_frame(), Some(Err(Unexpected([0x81, 0x85]))));
    }

    #[test]
    fn the_mask_is_its_own_inverse() {
        let mut out = Vec::new();
        let start = encode(Opcode::Text, b"hello", &mut out);
        let plain: Vec<u8> = out[start..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!((&out[..2], plain.as_slice()), ([0x81, 0x85].as_slice(), b"hello".as_slice()));
    }
}
