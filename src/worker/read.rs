//! From a socket that is ready to requests: read, decode, parse. Frames are decoded where the socket's bytes were read to.

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::protocol::CloseCode;
use crate::protocol::frame::{Decoded, FrameLimits, Incoming, push_pong};
use crate::protocol::request::Parser;
use crate::rooms::Moment;

use super::connection::{Connection, Phase};
use super::context::Context;
use super::input::ConnectionKey;
use super::outgoing::{Flushed, flush, socket_error};
use super::pace::Pace;
use super::poller::{Interest, Ready};
use super::sessions::Sessions;

/// Bytes read from one socket in one turn; what else has come is read in the next.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;

/// What a run of frames came to.
enum Drive {
    /// All whole frames were handled; so many bytes were used.
    Used(usize),
    /// The connection is not ours any more, or is closing: nothing else of the buffer counts.
    Over,
}

impl Sessions {
    /// Handles one socket that epoll told of.
    pub(super) fn handle_ready(&mut self, ready: Ready, context: &mut Context) {
        let key = ConnectionKey::from_u64(ready.token);
        if ready.writable {
            self.flush_connection(key, context);
        }
        if ready.readable {
            self.read_connection(key, context);
        }
    }

    fn read_connection(&mut self, key: ConnectionKey, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        context.metrics().reads.add(1);
        let read = match rustix::net::recv(&connection.stream, &mut self.scratch[..], RecvFlags::DONTWAIT) {
            Ok((_, read)) => read,
            Err(error) if error == Errno::AGAIN || error == Errno::INTR => return,
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                return self.drop_connection(key, context);
            }
        };
        if read == 0 {
            return self.drop_connection(key, context);
        }
        context.metrics().bytes_in.add(read as u64);
        connection.heard_at = context.now;
        connection.pinged_at = None;
        if connection.is_paused {
            connection.partial.extend_from_slice(&self.scratch[..read]);
            return;
        }
        if connection.partial.is_empty() {
            let mut scratch = std::mem::take(&mut self.scratch);
            let used = self.drive(key, &mut scratch[..read], context);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.partial.extend_from_slice(&scratch[used..read]);
            }
            self.scratch = scratch;
        } else {
            connection.partial.extend_from_slice(&self.scratch[..read]);
            self.resume(key, context);
        }
    }

    /// Handles what a connection keeps in `partial`.
    pub(super) fn resume(&mut self, key: ConnectionKey, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_paused {
            return;
        }
        let mut received = std::mem::take(&mut connection.partial);
        let used = self.drive(key, &mut received, context);
        if let Some(connection) = self.connections.get_mut(key)
            && used < received.len()
        {
            // The buffer itself goes back: a frame that drips in is not copied for each drop.
            received.drain(..used);
            let wanted = std::mem::replace(&mut connection.partial, received).capacity();
            connection.partial.reserve_exact(wanted.saturating_sub(connection.partial.len()));
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        let interest = Interest { read: !connection.is_paused, ..connection.interest };
        Self::set_interest(&self.poller, connection, interest);
    }

    /// Handles every whole frame in `received`; how many bytes are of no more use.
    fn drive(&mut self, key: ConnectionKey, received: &mut [u8], context: &mut Context) -> usize {
        let mut parser = self.parser.take().expect("frames are driven one connection after the other");
        let drive = self.drive_frames(key, received, &mut parser, context);
        self.parser = Some(parser);
        match drive {
            Drive::Used(used) => used,
            Drive::Over => received.len(),
        }
    }

    fn drive_frames(&mut self, key: ConnectionKey, received: &mut [u8], parser: &mut Parser, context: &mut Context) -> Drive {
        let mut used = 0;
        while used < received.len() {
            let Some(connection) = self.connections.get_mut(key) else { return Drive::Over };
            let is_closing = connection.is_closing();
            if !is_closing && (is_busy(connection, context) || self.is_draining) {
                Self::pause(connection, context);
                Self::set_interest(&self.poller, connection, Interest { read: false, ..connection.interest });
                break;
            }
            let limits = frame_limits(connection, context);
            let left = received.len() - used;
            let (consumed, incoming) = match connection.decoder.decode(&mut received[used..], limits) {
                Ok(Decoded::Frame { consumed, incoming }) => (consumed, incoming),
                Ok(Decoded::Incomplete { need }) => {
                    // Grows with what has come, not with what was declared: a header alone reserves at most one read.
                    connection.partial.reserve_exact(need.min(left + SCRATCH_BYTES));
                    break;
                }
                Err(_) if is_closing => return Drive::Over,
                Err(error) => {
                    self.close(key, error.close_code(), context);
                    return Drive::Over;
                }
            };
            used += consumed;
            match incoming {
                None | Some(Incoming::Pong) => {}
                Some(Incoming::Close(code)) => {
                    self.answer_close(key, code, context);
                    return Drive::Over;
                }
                Some(_) if is_closing => {}
                Some(Incoming::Ping(body)) => self.handle_ping(key, body, context),
                Some(Incoming::Text(text)) => {
                    // What follows the text goes along if the connection moves to another worker.
                    let end = used;
                    let moved = self.handle_text(key, text, parser, context);
                    if let Some(login) = moved {
                        let rest = received[end..].to_vec();
                        self.send_home(key, login.identity, login.request_id, &rest, context);
                    }
                }
                Some(Incoming::Reassembled(mut text)) => {
                    if let Some(login) = self.handle_text(key, &mut text, parser, context) {
                        let rest = received[used..].to_vec();
                        self.send_home(key, login.identity, login.request_id, &rest, context);
                    }
                }
            }
        }
        Drive::Used(used)
    }

    fn pause(connection: &mut Connection, context: &Context) {
        if !connection.is_paused {
            connection.is_paused = true;
            context.metrics().pauses.add(1);
        }
    }

    fn handle_ping(&mut self, key: ConnectionKey, body: &[u8], context: &mut Context) {
        if self.count_ping(key, context) {
            let mut pong = Vec::with_capacity(body.len() + 2);
            push_pong(&mut pong, body);
            self.push_frame(key, &pong);
        }
    }

    /// Counts a ping; whether it may be answered. One too many closes the connection.
    pub(super) fn count_ping(&mut self, key: ConnectionKey, context: &mut Context) -> bool {
        let max_pings = context.limits().max_pings_per_minute;
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let misdeeds = connection.misdeeds(context.now);
        misdeeds.pings += 1;
        let may_answer = misdeeds.pings as usize <= max_pings;
        if !may_answer {
            self.close(key, CloseCode::RateLimited, context);
        }
        may_answer
    }

    /// Writes what a connection's outbox holds.
    pub(super) fn flush_connection(&mut self, key: ConnectionKey, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_dirty = false;
        match flush(&connection.stream, &mut connection.outbox, &mut self.write_buffer, context.metrics()) {
            Flushed::All => {
                connection.stuck_since = None;
                Self::set_interest(&self.poller, connection, Interest { write: false, ..connection.interest });
                if connection.is_closing() {
                    self.shut_if_done(key);
                }
            }
            Flushed::Blocked { took_some } => {
                if took_some || connection.stuck_since.is_none() {
                    connection.stuck_since = Some(context.now);
                }
                let is_over = connection.outbox.pace(context.limits().max_outbox_bytes) == Pace::Slow;
                Self::set_interest(&self.poller, connection, Interest { write: true, ..connection.interest });
                if is_over {
                    self.close(key, CloseCode::SlowConsumer, context);
                }
            }
            Flushed::Broken => {
                let error = socket_error(&connection.stream);
                tracing::debug!(?error, "a connection broke");
                self.drop_connection(key, context);
            }
        }
        self.resume_if_time(key, context);
    }

    /// Writes a connection that has something new, unless its socket is known to be full: then epoll tells when it is not, and
    /// only whether it has fallen too far behind is looked at.
    fn flush_dirty(&mut self, key: ConnectionKey, context: &mut Context) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.interest.write {
            return self.flush_connection(key, context);
        }
        connection.is_dirty = false;
        if connection.outbox.pace(context.limits().max_outbox_bytes) == Pace::Slow {
            self.close(key, CloseCode::SlowConsumer, context);
        }
    }

    /// The end of the turn: hands out the batches and writes each connection that has something to write, once.
    pub(super) fn flush_all(&mut self, context: &mut Context) {
        let (audiences, mut outgoing) = self.outgoing(context);
        audiences.hand_out_all(context.now, &mut outgoing);
        // A connection that ends while it is flushed makes others dirty; they have their turn right after.
        while !self.dirty.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            for key in dirty.drain(..) {
                self.flush_dirty(key, context);
            }
            if self.dirty.is_empty() {
                self.dirty = dirty;
                break;
            }
        }
    }
}

impl Connection {
    /// The counts of the present minute.
    pub(super) fn misdeeds(&mut self, now: Moment) -> &mut super::connection::Misdeeds {
        const WINDOW: std::time::Duration = std::time::Duration::from_secs(60);
        if now.since(self.misdeeds.since) >= WINDOW {
            self.misdeeds = super::connection::Misdeeds { since: now, ..Default::default() };
        }
        &mut self.misdeeds
    }
}

/// Whether a connection has as many requests unanswered, or as much of their answers unread, as it may.
fn is_busy(connection: &Connection, context: &Context) -> bool {
    let limits = context.limits();
    connection.in_flight >= limits.max_in_flight || connection.outbox.bytes() > limits.max_outbox_bytes / 2
}

fn frame_limits(connection: &Connection, context: &Context) -> FrameLimits {
    let limits = context.limits();
    let max_message_bytes = match connection.phase {
        Phase::Anonymous { .. } => limits.max_unauthenticated_bytes,
        Phase::Live(_) | Phase::Closing { .. } => limits.max_message_bytes,
    };
    FrameLimits { max_message_bytes, max_fragments: limits.max_fragments }
}
