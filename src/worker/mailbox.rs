//! How other threads reach a worker: a queue and an eventfd that is written only while the worker sleeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};

use rustix::event::{EventfdFlags, eventfd};

use super::input::Input;

/// The sending side, shared by everybody.
///
/// The queue has no limit of its own: what is in it was caused by requests that `max_in_flight` bounds for each connection, by
/// connections that the number of file descriptors bounds, or is one delivery for each of those requests.
pub struct Mailbox {
    queue: Sender<Input>,
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
pub(super) fn mailbox() -> std::io::Result<(Arc<Mailbox>, Mutex<Option<Letters>>)> {
    let (sender, receiver) = channel();
    let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let mailbox = Arc::new(Mailbox { queue: sender, is_asleep: AtomicBool::new(false), bell });
    let letters = Letters { queue: receiver, mailbox: Arc::clone(&mailbox), first: None };
    Ok((mailbox, Mutex::new(Some(letters))))
}

impl Mailbox {
    /// Hands an input to the worker. After the worker has ended, it is dropped: nobody is left to be told.
    pub(crate) fn send(&self, input: Input) {
        if self.queue.send(input).is_err() {
            return;
        }
        // Pairs with the fence in `fall_asleep`: either this sees the worker asleep, or the worker sees the input.
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::Relaxed) {
            self.ring();
        }
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
        match self.queue.try_recv() {
            Ok(input) => Some(input),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}
