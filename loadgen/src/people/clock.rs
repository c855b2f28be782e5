//! The time of a run, the same for all its threads and processes; and a timer that is exact to the microsecond.

use std::cell::Cell;
use std::io;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use super::plan::SECOND;

/// Nanoseconds since the run began, by the machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    origin: u64,
}

impl Clock {
    /// A run begins now.
    pub(crate) fn start() -> Self {
        Self { origin: nanoseconds(clock_gettime(ClockId::Monotonic)) }
    }

    /// How long it has been going on.
    pub(crate) fn now(self) -> u64 {
        nanoseconds(clock_gettime(ClockId::Monotonic)).saturating_sub(self.origin)
    }
}

/// Processor time that this thread has used, in nanoseconds.
pub(crate) fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Wakes a task at a time of a [`Clock`]. Tokio's own timers count in milliseconds, which is as long as an answer takes.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: AsyncFd<rustix::fd::OwnedFd>,
    clock: Clock,
    /// When it will wake; never, if it is not set.
    armed: Cell<u64>,
}

impl Timer {
    /// A timer that is not set.
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its unsoundness is of types that do not own their descriptor; what replaces it is unsafe to call"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self { fd, clock, armed: Cell::new(u64::MAX) })
    }

    /// Wakes at `due`, which may be past, or earlier if that was asked for before. Setting it is a system call, and in a virtual machine
    /// a costly one (50 us were seen), so it is left alone where it wakes early enough.
    pub(crate) fn set(&self, due: u64) -> io::Result<()> {
        if due >= self.armed.get() {
            return Ok(());
        }
        self.armed.set(due);
        let at = self.clock.origin + due.max(1);
        let at = Timespec { tv_sec: (at / SECOND) as i64, tv_nsec: (at % SECOND) as i64 };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval: never, it_value: at })?;
        Ok(())
    }

    /// Waits until it is time. May be dropped and asked again.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|fd| rustix::io::read(fd, &mut count).map_err(io::Error::from)) {
                Ok(read) => {
                    self.armed.set(u64::MAX);
                    return read.map(|_| ());
                }
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_wakes_when_it_is_time_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = Clock::start();
            let timer = Timer::new(clock).unwrap();
            timer.set(clock.now() + 100 * SECOND).unwrap();
            let due = clock.now() + 5_000_000;
            timer.set(due).unwrap();
            timer.set(due + SECOND).unwrap();
            timer.wait().await.unwrap();
            assert!(clock.now() >= due);
            timer.set(0).unwrap();
            timer.wait().await.unwrap();
        });
    }
}
