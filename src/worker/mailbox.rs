//! How other threads reach a worker: a queue and an eventfd that is written only while the worker sleeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use super::input::Input;

/// Inputs that wait in a mailbox from which on no worker reads its sockets. A worker handles as many in some tens of milliseconds.
const CONGESTED: usize = 65_536;

/// The sending side, shared by everybody.
///
/// Sending never fails and never waits, so that no two workers can wait for each other. What bounds the queue is that every worker
/// stops reading its sockets while any mailbox is congested: past [`CONGESTED`] only the consequences of what was read before are
/// added, each request's a few.
pub(crate) struct Mailbox {
    queue: Sender<Input>,
    /// Inputs sent and not yet taken.
    depth: AtomicUsize,
    is_asleep: AtomicBool,
    bell: OwnedFd,
}

/// The receiving side, owned by the worker.
pub(super) struct Letters {
    queue: Receiver<Input>,
    mailbox: Arc<Mailbox>,
    /// What was found while falling asleep.
    first: Option<Input>,
}

/// Makes both sides.
///
/// # Errors
/// When the kernel has no eventfd to give.
pub(super) fn mailbox() -> std::io::Result<(Arc<Mailbox>, Letters)> {
    let (sender, receiver) = channel();
    let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let (depth, is_asleep) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mailbox = Arc::new(Mailbox { queue: sender, depth, is_asleep, bell });
    let letters = Letters { queue: receiver, mailbox: Arc::clone(&mailbox), first: None };
    Ok((mailbox, letters))
}

impl Mailbox {
    /// Hands an input to the worker. After the worker has ended, it is dropped: nobody is left to be told.
    pub(crate) fn send(&self, input: Input) {
        self.depth.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(input).is_err() {
            return;
        }
        // Pairs with the fence in `fall_asleep`: either this sees the worker asleep, or the worker sees the input.
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Inputs that wait.
    pub(super) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Whether so much waits that nothing more should be read from sockets.
    pub(super) fn is_congested(&self) -> bool {
        self.depth() >= CONGESTED
    }

    /// Writing to an eventfd fails only when its counter is full, and then the worker is woken already.
    fn ring(&self) {
        let _woken_already = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl Letters {
    /// The descriptor that becomes readable when there is something to receive.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.mailbox.bell.as_fd()
    }

    /// Announces that the worker is about to wait; whether it may. Whoever sends from now on rings.
    pub(super) fn fall_asleep(&mut self) -> bool {
        self.mailbox.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.first = self.next();
        if self.first.is_some() {
            self.mailbox.is_asleep.store(false, Ordering::Relaxed);
        }
        self.first.is_none()
    }

    /// The worker is awake: nobody needs to ring.
    pub(super) fn wake_up(&self) {
        self.mailbox.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Inputs that wait.
    pub(super) fn depth(&self) -> usize {
        self.mailbox.depth()
    }

    /// Waits for the bell alone, at most so long.
    pub(super) fn wait_for_bell(&self, timeout: Duration) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        let mut bell = [PollFd::new(&self.mailbox.bell, PollFlags::IN)];
        // Being interrupted is as good as having waited.
        let _ready = rustix::event::poll(&mut bell, Some(&timeout));
        // Else it would go on ringing, and the next wait be none.
        self.answer_bell();
    }

    /// Silences the bell.
    pub(super) fn answer_bell(&self) {
        let mut count = [0; 8];
        let _silent_already = rustix::io::read(&self.mailbox.bell, &mut count);
    }

    /// The next input, if there is one.
    pub(super) fn next(&mut self) -> Option<Input> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let input = self.queue.try_recv().ok()?;
        self.mailbox.depth.fetch_sub(1, Ordering::Relaxed);
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell_rang(letters: &Letters) -> bool {
        let mut bell = [PollFd::new(&letters.mailbox.bell, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut bell, Some(&now)).expect("an eventfd can be polled") > 0
    }

    #[test]
    fn the_bell_rings_only_for_a_worker_that_sleeps_and_once() {
        let (mailbox, mut letters) = mailbox().expect("an eventfd");
        mailbox.send(Input::Drain);
        assert!(!bell_rang(&letters), "it is awake and looks by itself");
        assert!(!letters.fall_asleep(), "there is something to do");
        assert!(matches!(letters.next(), Some(Input::Drain)));
        assert!(letters.fall_asleep());
        mailbox.send(Input::Stop);
        mailbox.send(Input::Drain);
        assert!(bell_rang(&letters));
        letters.answer_bell();
        assert!(!bell_rang(&letters));
        assert!(matches!((letters.next(), letters.next()), (Some(Input::Stop), Some(Input::Drain))));
        assert!(letters.next().is_none());
    }

    #[test]
    fn waiting_for_the_bell_alone_silences_it() {
        let (mailbox, mut letters) = mailbox().expect("an eventfd");
        assert!(letters.fall_asleep());
        mailbox.send(Input::Drain);
        letters.wait_for_bell(Duration::from_millis(1));
        assert!(!bell_rang(&letters));
        assert!(letters.next().is_some(), "what rang is still there");
    }

    #[test]
    fn a_mailbox_is_congested_until_what_waits_is_taken() {
        let (mailbox, mut letters) = mailbox().expect("an eventfd");
        for _ in 0..CONGESTED {
            assert!(!mailbox.is_congested());
            mailbox.send(Input::Drain);
        }
        assert!(mailbox.is_congested());
        assert!(letters.next().is_some());
        assert!(!mailbox.is_congested());
        assert_eq!(letters.depth(), CONGESTED - 1);
    }
}
