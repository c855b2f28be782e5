//! Opens many connections, several at a time, and leads each through a script: upgrade, then one request after the other, each after
//! the reply to the one before.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::raw::cli::{Dialect, Endpoint};
use crate::raw::dialect::{self, Incoming, PONG, Step};
use crate::raw::poller::{Poller, Ready};
use crate::raw::socket::{SCRATCH_BYTES, Socket};
use crate::raw::wire::{self, Frame, Frames, Opcode, Unexpected};

/// Longest silence while connections are being set up.
const MAX_SILENCE: Duration = Duration::from_secs(20);
/// Longest wait for a server to become silent.
const MAX_SETTLING: Duration = Duration::from_secs(60);

/// Where a connection is in its script.
enum Progress {
    /// Waiting for the answer to the upgrade.
    Upgrading(std::vec::IntoIter<Step>),
    /// Waiting for a reply that starts like this.
    Asked(&'static [u8], std::vec::IntoIter<Step>),
    /// At the end; whatever comes now is skipped.
    Done,
}

/// Takes a connection's index and its last reply.
pub(crate) type Finished<'a> = dyn FnMut(usize, &[u8]) -> Result<(), Fault> + 'a;

/// Many connections in the making.
pub(crate) struct Dialogue<'a> {
    /// Where the server is.
    pub(crate) endpoint: &'a Endpoint,
    /// How it wants to be spoken to.
    pub(crate) dialect: Dialect,
    /// How many connections to open.
    pub(crate) count: usize,
    /// How many may be in the making at the same time.
    pub(crate) connecting: usize,
    /// What each of them says.
    pub(crate) script: &'a dyn Fn(usize) -> Vec<Step>,
    /// Called with each one's last reply.
    pub(crate) finished: &'a mut Finished<'a>,
}

impl Dialogue<'_> {
    /// Leads all to the end of their scripts. The sockets are watched by `poller` under their indices.
    pub(crate) fn hold(mut self, poller: &Poller) -> Result<Vec<Socket>, Fault> {
        let mut sockets: Vec<Socket> = Vec::with_capacity(self.count);
        let mut progress: Vec<Progress> = Vec::with_capacity(self.count);
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut ready = Ready::new();
        let mut done = 0;
        let mut last_step = Instant::now();
        while done < self.count {
            while sockets.len() < self.count && sockets.len() - done < self.connecting {
                let index = sockets.len();
                let mut socket = Socket::connect(self.endpoint.address, index)?;
                poller.add(&socket, index)?;
                upgrade_request(self.endpoint, socket.outbox());
                socket.flush(poller, index)?;
                sockets.push(socket);
                progress.push(Progress::Upgrading((self.script)(index).into_iter()));
            }
            poller.wait(Duration::from_secs(1), &mut ready)?;
            for readiness in ready.iter() {
                let index = readiness.index;
                if readiness.readable && self.advance(index, &mut sockets[index], &mut progress[index], &mut scratch)? {
                    done += 1;
                    last_step = Instant::now();
                }
                sockets[index].flush(poller, index)?;
            }
            if last_step.elapsed() > MAX_SILENCE {
                return Err(Fault::new(format!("only {done} of {} connections were set up; then nothing happened", self.count)));
            }
        }
        Ok(sockets)
    }

    /// Takes what has arrived; true when that brought the connection to the end of its script.
    fn advance(&mut self, index: usize, socket: &mut Socket, progress: &mut Progress, scratch: &mut [u8]) -> Result<bool, Fault> {
        let length = socket.read(scratch)?;
        let mut bytes = &scratch[..length];
        let mut finished = false;
        if let Progress::Upgrading(steps) = progress {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                socket.carry_over(bytes);
                return Ok(false);
            };
            check_upgrade(&bytes[..end])?;
            bytes = &bytes[end + 4..];
            let steps = std::mem::take(steps);
            *progress = ask_next(steps, socket);
            finished = matches!(progress, Progress::Done);
        }
        let mut frames = Frames::new(bytes);
        while let Some(frame) = frames.next_frame() {
            let frame = frame.map_err(unexpected)?;
            if answer_control(self.dialect, &frame, socket.outbox())? {
                continue;
            }
            refuse_error(self.dialect, frame.payload)?;
            let Progress::Asked(awaited, steps) = progress else { continue };
            if !frame.payload.starts_with(awaited) {
                continue;
            }
            let steps = std::mem::take(steps);
            *progress = ask_next(steps, socket);
            if matches!(progress, Progress::Done) {
                (self.finished)(index, frame.payload)?;
                finished = true;
            }
        }
        socket.carry_over(frames.rest());
        Ok(finished)
    }
}

/// Reads and skips what arrives until nothing has for `quiet`.
pub(crate) fn settle(dialect: Dialect, sockets: &mut [Socket], poller: &Poller, quiet: Duration) -> Result<(), Fault> {
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut ready = Ready::new();
    let begin = Instant::now();
    let mut last = begin;
    while last.elapsed() < quiet {
        poller.wait(quiet.saturating_sub(last.elapsed()), &mut ready)?;
        for readiness in ready.iter() {
            let socket = &mut sockets[readiness.index];
            let length = socket.read(&mut scratch)?;
            let mut frames = Frames::new(&scratch[..length]);
            while let Some(frame) = frames.next_frame() {
                let frame = frame.map_err(unexpected)?;
                answer_control(dialect, &frame, socket.outbox())?;
            }
            socket.carry_over(frames.rest());
            socket.flush(poller, readiness.index)?;
            last = Instant::now();
        }
        if begin.elapsed() > MAX_SETTLING {
            return Err(Fault::new("the server does not become silent"));
        }
    }
    Ok(())
}

/// Pings are answered; a close ends the run, since no server here has a reason to close. True when that was all there was to `frame`.
pub(crate) fn answer_control(dialect: Dialect, frame: &Frame<'_>, outbox: &mut Vec<u8>) -> Result<bool, Fault> {
    match frame.opcode {
        Opcode::Text if dialect::classify(dialect, frame.payload) == Incoming::Ping => wire::encode(Opcode::Text, PONG, outbox),
        Opcode::Text => return Ok(false),
        Opcode::Ping => wire::encode(Opcode::Pong, frame.payload, outbox),
        Opcode::Pong => return Ok(true),
        Opcode::Close => {
            let code = frame.payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code));
            let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
            return Err(Fault::new(format!("the server closed a connection with {code} {reason}")));
        }
    };
    Ok(true)
}

/// For `map_err`.
pub(crate) fn unexpected(header: Unexpected) -> Fault {
    Fault::new(format!("the server sent a frame that starts with {:02x?}", header.0))
}

/// No request here is one that a server may refuse.
pub(crate) fn refuse_error(dialect: Dialect, message: &[u8]) -> Result<(), Fault> {
    match dialect::classify(dialect, message) {
        Incoming::Error => Err(Fault::new(format!("the server refused a request: {}", String::from_utf8_lossy(message)))),
        Incoming::MessageCreated | Incoming::Typing(_) | Incoming::SendReply | Incoming::Ping | Incoming::Other => Ok(()),
    }
}

fn ask_next(mut steps: std::vec::IntoIter<Step>, socket: &mut Socket) -> Progress {
    match steps.next() {
        Some(step) => {
            if let Some(request) = step.request {
                wire::encode(Opcode::Text, request.as_bytes(), socket.outbox());
            }
            Progress::Asked(step.reply, steps)
        }
        None => Progress::Done,
    }
}

fn upgrade_request(endpoint: &Endpoint, out: &mut Vec<u8>) {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
        endpoint.path,
        endpoint.address,
        wire::HANDSHAKE_KEY
    );
    out.extend_from_slice(request.as_bytes());
}

fn check_upgrade(response: &[u8]) -> Result<(), Fault> {
    if response.starts_with(b"HTTP/1.1 101") && find(response, wire::HANDSHAKE_ACCEPT.as_bytes()).is_some() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(response);
    Err(Fault::new(format!("the upgrade was answered with {:?}", text.lines().next().unwrap_or_default())))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
