//! Frames that the server sends: unmasked, each a whole message, with the shortest length there is.

use super::{BINARY, CLOSE, FIN, LENGTH_16, LENGTH_64, PING, PONG, TEXT};
use crate::protocol::CloseCode;
use crate::protocol::limits::MAX_CONTROL_BYTES;

/// Flags and a 64-bit length.
const MAX_HEADER_BYTES: usize = 10;

const _: () = {
    let mut i = 0;
    while i < CloseCode::ALL.len() {
        assert!(2 + CloseCode::ALL[i].reason().len() <= MAX_CONTROL_BYTES);
        i += 1;
    }
};

/// Appends the header of a text frame; the caller appends the `payload_len` bytes of payload.
pub fn push_text_header(out: &mut Vec<u8>, payload_len: usize) {
    push_header(out, TEXT, payload_len);
}

/// Appends the header of a binary frame, which only an echo for conformance suites sends.
pub fn push_binary_header(out: &mut Vec<u8>, payload_len: usize) {
    push_header(out, BINARY, payload_len);
}

/// Appends a close frame with the code's number and reason.
pub fn push_close(out: &mut Vec<u8>, code: CloseCode) {
    let reason = code.reason().as_bytes();
    push_header(out, CLOSE, 2 + reason.len());
    out.extend_from_slice(&code.number().to_be_bytes());
    out.extend_from_slice(reason);
}

/// Appends the answer to a peer's close: the same code, or none if it had none.
pub fn push_close_echo(out: &mut Vec<u8>, code: Option<u16>) {
    match code {
        Some(code) => {
            push_header(out, CLOSE, 2);
            out.extend_from_slice(&code.to_be_bytes());
        }
        None => push_header(out, CLOSE, 0),
    }
}

/// Appends an empty ping.
pub fn push_ping(out: &mut Vec<u8>) {
    push_header(out, PING, 0);
}

/// Appends a pong with the body of the ping that it answers.
///
/// # Panics
/// If `body` is longer than that of any ping, which is a bug.
pub fn push_pong(out: &mut Vec<u8>, body: &[u8]) {
    assert!(body.len() <= MAX_CONTROL_BYTES);
    push_header(out, PONG, body.len());
    out.extend_from_slice(body);
}

/// Builds complete text frames, one after another, in one buffer that it keeps.
///
/// The payload is written before its length is known, so the header is put right-aligned into the room left for the longest.
#[derive(Debug, Default)]
pub struct FrameBuilder {
    buffer: Vec<u8>,
}

impl FrameBuilder {
    /// Forgets the last frame and starts one; the caller appends the payload to what this returns.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.buffer.clear();
        self.buffer.resize(MAX_HEADER_BYTES, 0);
        &mut self.buffer
    }

    /// Writes the header and returns the whole frame.
    ///
    /// # Panics
    /// If [`FrameBuilder::begin`] was not called or its room was cut away, which is a bug.
    pub fn finish(&mut self) -> &[u8] {
        let (room, payload) = self.buffer.split_at_mut(MAX_HEADER_BYTES);
        let (header, header_bytes) = header(TEXT, payload.len());
        let start = MAX_HEADER_BYTES - header_bytes;
        room[start..].copy_from_slice(&header[..header_bytes]);
        &self.buffer[start..]
    }
}

fn push_header(out: &mut Vec<u8>, opcode: u8, payload_bytes: usize) {
    let (header, header_bytes) = header(opcode, payload_bytes);
    out.extend_from_slice(&header[..header_bytes]);
}

/// A final, unmasked header, and how many of the bytes it takes.
fn header(opcode: u8, payload_bytes: usize) -> ([u8; MAX_HEADER_BYTES], usize) {
    let mut header = [0; MAX_HEADER_BYTES];
    header[0] = FIN | opcode;
    if let Ok(short) = u8::try_from(payload_bytes)
        && short < LENGTH_16
    {
        header[1] = short;
        (header, 2)
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        header[1] = LENGTH_16;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        (header, 4)
    } else {
        header[1] = LENGTH_64;
        header[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        (header, 10)
    }
}
