//! The readiness of a worker's sockets: epoll, level-triggered.
//!
//! The worker has an epoll of its own rather than a task of a runtime for each connection. One call tells of all sockets that
//! are ready, so that they are read, handled and flushed as one batch, and an idle connection costs no waker and no task.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Most sockets told of by one wait; more come with the next.
const MAX_EVENTS: usize = 1_024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Interest {
    pub(super) const READ: Self = Self { read: true, write: false };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::RDHUP;
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        // A paused reader must not be woken for the peer's end of stream again and again.
        if !self.read {
            flags.remove(EventFlags::RDHUP);
        }
        flags
    }
}

/// One socket that is ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) token: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// An epoll instance and the buffer for what it tells.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(MAX_EVENTS) })
    }

    pub(super) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(super) fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> std::io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(super) fn remove(&self, fd: impl AsFd) -> std::io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits at most `timeout`. A signal counts as a wait that told of nothing.
    pub(super) fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> std::io::Result<()> {
        self.events.clear();
        let timeout =
            Timespec { tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX), tv_nsec: timeout.subsec_nanos().into() };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear();
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            Ready {
                token: event.data.u64(),
                readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: broken || flags.contains(EventFlags::OUT),
            }
        }));
        Ok(())
    }
}
