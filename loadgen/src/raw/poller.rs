//! Level-triggered epoll, with the index of a connection as its token.

use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::fault::Fault;

/// Readiness taken over in one call.
const EVENTS_PER_WAIT: usize = 1_024;

/// What a connection is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadAndWrite,
}

/// One epoll instance.
pub(crate) struct Poller {
    epoll: OwnedFd,
}

/// Readiness of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    /// The index it was registered with.
    pub(crate) index: usize,
    /// Readable, closed, or failed: reading tells which.
    pub(crate) readable: bool,
    /// There is room to write.
    pub(crate) writable: bool,
}

/// A buffer for readiness, reused from wait to wait.
pub(crate) struct Ready(Vec<epoll::Event>);

impl Ready {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(EVENTS_PER_WAIT))
    }

    /// What the last wait found.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.0.iter().map(|event| {
            // Copied out, since the kernel's layout of the event is packed.
            let (flags, data) = (event.flags, event.data);
            Readiness {
                index: data.u64() as usize,
                readable: flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR),
                writable: flags.contains(epoll::EventFlags::OUT),
            }
        })
    }
}

impl Poller {
    /// A new instance that watches nothing.
    pub(crate) fn new() -> Result<Self, Fault> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Fault::while_doing("epoll_create"))?;
        Ok(Self { epoll })
    }

    /// Watches `fd` for reading.
    pub(crate) fn add(&self, fd: impl AsFd, index: usize) -> Result<(), Fault> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(index as u64), flags(Interest::Read))
            .map_err(Fault::while_doing("epoll_ctl"))
    }

    /// Changes what `fd` is watched for.
    pub(crate) fn change(&self, fd: impl AsFd, index: usize, interest: Interest) -> Result<(), Fault> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(index as u64), flags(interest))
            .map_err(Fault::while_doing("epoll_ctl"))
    }

    /// Waits until something is ready or `timeout` has passed; an interrupted wait counts as one that timed out.
    pub(crate) fn wait(&self, timeout: Duration, ready: &mut Ready) -> Result<(), Fault> {
        ready.0.clear();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(&mut ready.0), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Fault::while_doing("epoll_wait")(error)),
        }
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::ReadAndWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    }
}
