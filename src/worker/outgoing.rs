//! The end of a turn: which connections have something to be written, and one write for each of them.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::metrics::WorkerMetrics;

use super::connection::{Connection, Connections};
use super::input::ConnectionKey;
use super::outbox::Outbox;

/// Chunks up to this many bytes together are copied into one buffer and sent with one `send`: cheaper than a vector of them.
const MAX_COPIED_BYTES: usize = 16 * 1024;
/// Most chunks in one `writev`.
const MAX_SLICES: usize = 64;

/// The pushing side: marks what is to be flushed.
pub(super) struct Outgoing<'a> {
    pub(super) connections: &'a mut Connections,
    pub(super) dirty: &'a mut Vec<ConnectionKey>,
    pub(super) metrics: &'a WorkerMetrics,
    pub(super) max_outbox_bytes: usize,
}

impl Outgoing<'_> {
    /// Appends whole frames to a connection's outbox. Nothing is written before the end of the turn.
    pub(super) fn push(&mut self, index: u32, chunk: Rc<[u8]>) {
        if let Some(connection) = self.connections.at_mut(index) {
            push(connection, self.dirty, chunk);
        }
    }
}

/// Appends whole frames to a connection's outbox and marks it.
pub(super) fn push(connection: &mut Connection, dirty: &mut Vec<ConnectionKey>, chunk: Rc<[u8]>) {
    connection.outbox.push(chunk);
    mark(connection, dirty);
}

/// Appends an answer to a connection's outbox and marks it.
pub(super) fn push_owed(connection: &mut Connection, dirty: &mut Vec<ConnectionKey>, chunk: Rc<[u8]>) {
    connection.outbox.push_owed(chunk);
    mark(connection, dirty);
}

fn mark(connection: &mut Connection, dirty: &mut Vec<ConnectionKey>) {
    if !connection.is_dirty {
        connection.is_dirty = true;
        dirty.push(connection.key);
    }
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is with the kernel.
    All,
    /// The socket takes no more now; whether it took anything.
    Blocked { took_some: bool },
    /// The peer is gone.
    Broken,
}

/// Writes as much of the outbox as the socket takes.
pub(super) fn flush(stream: &TcpStream, outbox: &mut Outbox, buffer: &mut Vec<u8>, metrics: &WorkerMetrics) -> Flushed {
    let mut took_some = false;
    while !outbox.is_empty() {
        let offered = outbox.bytes();
        metrics.writes.add(1);
        match write_once(stream, outbox, buffer) {
            Ok(written) => {
                metrics.bytes_out.add(written as u64);
                outbox.handle_written(written);
                took_some |= written > 0;
                // A short write means a full socket buffer: trying again would only be told so.
                if written < offered.min(MAX_COPIED_BYTES) {
                    return Flushed::Blocked { took_some };
                }
            }
            Err(Errno::INTR) => {}
            Err(error) if error == Errno::AGAIN => return Flushed::Blocked { took_some },
            Err(_) => return Flushed::Broken,
        }
    }
    Flushed::All
}

fn write_once(stream: &TcpStream, outbox: &Outbox, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if outbox.chunks() == 1 {
        let only = outbox.slices().next().unwrap_or(&[]);
        return rustix::net::send(stream, only, flags);
    }
    if outbox.bytes() <= MAX_COPIED_BYTES {
        buffer.clear();
        outbox.slices().for_each(|slice| buffer.extend_from_slice(slice));
        return rustix::net::send(stream, buffer, flags);
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (place, slice) in slices.iter_mut().zip(outbox.slices()) {
        *place = IoSlice::new(slice);
        count += 1;
    }
    rustix::io::writev(stream, &slices[..count])
}

/// The error that made a socket unusable, for the log.
pub(super) fn socket_error(stream: &TcpStream) -> Option<io::Error> {
    stream.take_error().ok().flatten()
}
