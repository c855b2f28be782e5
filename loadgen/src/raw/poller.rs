//! Level-triggered epoll, with the index of a connection as its token.

use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::fault::Fault;

/// Readiness taken over in one call.
const EVENTS_PER_WAIT: usize = 1_024;
/// Waits up to this are made as short as they are meant. epoll counts in milliseconds and rounds up: an open loop whose next message is
/// due in 40 us would send 25 of them at once.
const EXACT_UP_TO: Duration = Duration::from_millis(100);

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
        if timeout > EXACT_UP_TO {
            return self.take(timeout, ready);
        }
        self.take(Duration::ZERO, ready)?;
        if ready.0.is_empty() && !timeout.is_zero() {
            let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut epoll, Some(&timespec(timeout))) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => self.take(Duration::ZERO, ready)?,
                Err(error) => return Err(Fault::while_doing("poll")(error)),
            }
        }
        Ok(())
    }

    /// One call of epoll, whose timeout is rounded up to milliseconds.
    fn take(&self, timeout: Duration, ready: &mut Ready) -> Result<(), Fault> {
        ready.0.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut ready.0), Some(&timespec(timeout))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Fault::while_doing("epoll_wait")(error)),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::ReadAndWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_short_wait_is_not_rounded_up_to_a_millisecond() {
        let (poller, mut ready) = (Poller::new().expect("an epoll"), Ready::new());
        let took = (0..200).map(|_| {
            let begin = Instant::now();
            poller.wait(Duration::from_micros(50), &mut ready).expect("to wait");
            begin.elapsed()
        });
        // The shortest of so many: on a machine that is busy with something else most take longer.
        let shortest = took.min().expect("some waits");
        assert!(shortest >= Duration::from_micros(50), "{shortest:?}");
        assert!(shortest < Duration::from_micros(900), "{shortest:?}");
    }

    #[test]
    fn what_is_ready_ends_a_wait_of_any_length() {
        let (poller, mut ready) = (Poller::new().expect("an epoll"), Ready::new());
        let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        poller.add(&near, 7).expect("to watch it");
        std::io::Write::write_all(&mut &far, b"x").expect("to write");
        for timeout in [Duration::ZERO, Duration::from_secs(3600), EXACT_UP_TO] {
            poller.wait(timeout, &mut ready).expect("to wait");
            assert_eq!(ready.iter().map(|ready| ready.index).collect::<Vec<_>>(), [7], "{timeout:?}");
        }
    }
}
