//! A proxy that is honest but for one fault: bytes of the client's pass as they are, frames of the server's one by one.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::tamper::Tamper;

/// Longest frame that is passed on.
const MAX_FRAME_BYTES: usize = 4 << 20;
/// Longest head of an HTTP answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Bytes for the client, and when they may be sent.
struct Waiting {
    bytes: Vec<u8>,
    until: Instant,
}

/// Accepts and passes on until it is dropped.
pub(super) async fn pass_on(listener: TcpListener, server: SocketAddr, tamper: Arc<Mutex<Tamper>>) {
    let mut connection = 0;
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        connection += 1;
        let tamper = Arc::clone(&tamper);
        tokio::spawn(async move {
            // A connection that breaks is what the client's side finds out by itself.
            let _ = pass_one(client, server, connection, &tamper).await;
        });
    }
}

async fn pass_one(client: TcpStream, server: SocketAddr, connection: u64, tamper: &Mutex<Tamper>) -> io::Result<()> {
    let upstream = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = upstream.into_split();
    let upwards = async move {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    // Bounded by what the server sends in a run of a few seconds.
    let (frames, waiting) = unbounded_channel();
    let downwards = read_frames(from_server, connection, tamper, frames);
    tokio::select! {
        done = upwards => done,
        done = downwards => done,
        done = write_frames(to_client, waiting) => done,
    }
}

/// Takes the server's answer and frames apart, and hands on what becomes of them.
async fn read_frames(
    mut server: OwnedReadHalf,
    connection: u64,
    tamper: &Mutex<Tamper>,
    frames: UnboundedSender<Waiting>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut in_head = true;
    loop {
        if server.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if in_head {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
            match end {
                Some(end) => {
                    send(&frames, bytes.drain(..end).collect(), Duration::ZERO);
                    in_head = false;
                }
                None if bytes.len() > MAX_HEAD_BYTES => return Err(io::ErrorKind::InvalidData.into()),
                None => continue,
            }
        }
        while let Some(frame) = take_frame(&mut bytes)? {
            let Some(text) = frame.text() else {
                send(&frames, frame.encode(), Duration::ZERO);
                continue;
            };
            let passed = tamper.lock().unwrap_or_else(PoisonError::into_inner).pass(connection, text);
            for text in passed.on {
                send(&frames, Frame::of_text(&text).encode(), passed.wait);
            }
            if let Some((delay, text)) = passed.later {
                let frames = frames.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    send(&frames, Frame::of_text(&text).encode(), Duration::ZERO);
                });
            }
        }
    }
}

/// A client that has gone takes nothing more.
fn send(frames: &UnboundedSender<Waiting>, bytes: Vec<u8>, wait: Duration) {
    let _ = frames.send(Waiting { bytes, until: Instant::now() + wait });
}

async fn write_frames(mut client: OwnedWriteHalf, mut waiting: UnboundedReceiver<Waiting>) -> io::Result<()> {
    while let Some(Waiting { bytes, until }) = waiting.recv().await {
        tokio::time::sleep_until(until).await;
        client.write_all(&bytes).await?;
    }
    client.shutdown().await
}

/// A frame of the server's: not masked (RFC 6455 section 5.1).
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    first_byte: u8,
    payload: Vec<u8>,
}

impl Frame {
    fn of_text(text: &str) -> Self {
        Self { first_byte: 0x81, payload: text.as_bytes().to_vec() }
    }

    /// The text of a whole text message.
    fn text(&self) -> Option<&str> {
        (self.first_byte == 0x81).then(|| std::str::from_utf8(&self.payload).ok()).flatten()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.first_byte];
        match self.payload.len() {
            short @ 0..=125 => bytes.push(short as u8),
            medium @ 126..=0xffff => {
                bytes.push(126);
                bytes.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Takes a whole frame from the front, if there is one.
fn take_frame(bytes: &mut Vec<u8>) -> io::Result<Option<Frame>> {
    let [first_byte, short, rest @ ..] = bytes.as_slice() else { return Ok(None) };
    let (length, head) = match short & 0x7f {
        126 => match rest {
            [a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(long) => (usize::try_from(u64::from_be_bytes(*long)).unwrap_or(usize::MAX), 10),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    if short & 0x80 != 0 || length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if bytes.len() < head + length {
        return Ok(None);
    }
    let frame = Frame { first_byte: *first_byte, payload: bytes[head..head + length].to_vec() };
    bytes.drain(..head + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_pass_unchanged_however_they_are_cut() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame { first_byte: 0x81, payload: vec![b'x'; length] };
            let encoded = frame.encode();
            let mut bytes = encoded[..encoded.len() - 1].to_vec();
            if length > 0 {
                assert_eq!(take_frame(&mut bytes).unwrap(), None);
            }
            bytes = [encoded.as_slice(), b"\x89"].concat();
            assert_eq!(take_frame(&mut bytes).unwrap(), Some(frame));
            assert_eq!(bytes, b"\x89");
        }
    }

    #[test]
    fn a_masked_or_enormous_frame_is_refused() {
        assert!(take_frame(&mut vec![0x81, 0x80, 0, 0, 0, 0]).is_err());
        assert!(take_frame(&mut vec![0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
