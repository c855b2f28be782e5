//! The workers: one thread for each core, each with connections, users, audiences and rooms that are its own, and no lock
//! between them. What one wants of another goes through the other's mailbox.
//!
//! A turn of a worker's loop reads as its named steps: wait, read what is ready, handle what that and the other workers and the
//! store brought, look after what time brought, write. Nobody writes to a socket before the turn's end.
//!
//! `sessions` is the side that has sockets, `shard` the side that has rooms. They speak to each other by `input::Input`
//! only, also within one worker, so that the order of what a connection gets is that of one queue.

mod announcements;
mod audience;
#[doc(hidden)]
pub mod bench;
mod connection;
mod context;
mod input;
mod invites;
mod join;
mod lifecycle;
mod mailbox;
mod outbox;
mod outgoing;
mod pace;
mod pages;
mod poller;
mod read;
mod requests;
mod room_entry;
mod sessions;
mod shard;
#[cfg(test)]
mod simulation;
mod sweep;
mod unsaved;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use context::Admission;
pub use context::Shared;
pub(crate) use input::Upgraded;
use input::{Input, SessionInput};
use mailbox::{Letters, Mailbox};
use poller::{Interest, Ready};

use context::Context;
use sessions::Sessions;
use shard::Shard;

use crate::protocol::UserId;
use crate::rooms::Moment;

/// Longest wait, and how often leases, receipts and hints are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How long a worker leaves its sockets alone when a mailbox is congested, before it looks again.
const CONGESTION_PAUSE: Duration = Duration::from_millis(1);
/// How often a stopping worker looks for connections whose requests are all answered.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);
/// How often every connection is looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Inputs handled before what they caused is written.
const MAX_INPUTS_A_TURN: usize = 8_192;
/// Names the mailbox's bell among the sockets: no connection has all bits set, its index would be 2^32 - 1.
const BELL: u64 = u64::MAX;

/// The workers of one server.
pub struct Workers {
    mailboxes: Arc<[Arc<Mailbox>]>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
}

impl Workers {
    /// Starts one thread for each worker that `shared` was made for.
    ///
    /// # Errors
    /// When the kernel has no thread, epoll or eventfd to give.
    pub fn start(shared: Arc<Shared>, count: usize) -> std::io::Result<Self> {
        let pairs = (0..count).map(|_| mailbox::mailbox()).collect::<std::io::Result<Vec<_>>>()?;
        let mailboxes: Arc<[Arc<Mailbox>]> = pairs.iter().map(|(mailbox, _)| Arc::clone(mailbox)).collect();
        let mut threads = Vec::with_capacity(count);
        for (index, (_, letters)) in pairs.into_iter().enumerate() {
            let (shared, mailboxes) = (Arc::clone(&shared), Arc::clone(&mailboxes));
            let (started, start) = std::sync::mpsc::channel();
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                match Worker::new(index, shared, mailboxes, letters) {
                    Ok(mut worker) => {
                        let _starter_is_waiting = started.send(Ok(()));
                        worker.run();
                    }
                    Err(error) => {
                        let _starter_is_waiting = started.send(Err(error));
                    }
                }
            })?;
            threads.push(thread);
            start.recv().map_err(std::io::Error::other)??;
        }
        Ok(Self { mailboxes, shared, threads: Mutex::new(threads), next: AtomicUsize::new(0) })
    }

    /// Hands a socket that has done its handshake to the worker with the fewest connections.
    pub(crate) fn adopt(&self, upgraded: Upgraded) {
        let count = self.mailboxes.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let connections = |index: &usize| self.shared.metrics.worker(*index).connections.get();
        // Starting at another one each time spreads a burst that comes before the counts move.
        let fewest = (0..count).map(|offset| (first + offset) % count).min_by_key(connections);
        if let Some(index) = fewest {
            self.mailboxes[index].send(Input::Session(SessionInput::Upgraded(Box::new(upgraded))));
        }
    }

    /// Ends every connection of a user with 4503.
    pub(crate) fn remove(&self, user: &UserId) {
        self.tell(|| Input::Session(SessionInput::Remove(user.clone())));
    }

    /// Tells every client that the server is stopping, answers what was accepted and closes with 4000.
    pub fn drain(&self) {
        self.tell(|| Input::Drain);
    }

    /// Ends every worker without waiting for clients any longer, and waits for that.
    pub fn stop(&self) {
        self.tell(|| Input::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
    }

    fn tell(&self, input: impl Fn() -> Input) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(input());
        }
    }
}

struct Worker {
    context: Context,
    sessions: Sessions,
    shard: Shard,
    letters: Letters,
    ready: Vec<Ready>,
    ticked_at: Moment,
    swept_at: Moment,
    drained_at: Moment,
    is_stopping: bool,
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>, mailboxes: Arc<[Arc<Mailbox>]>, letters: Letters) -> std::io::Result<Self> {
        let context = Context::new(index, shared, mailboxes);
        let sessions = Sessions::new(&context)?;
        sessions.poller.add(letters.bell(), BELL, Interest::READ)?;
        Ok(Self {
            context,
            sessions,
            shard: Shard::default(),
            letters,
            ready: Vec::new(),
            ticked_at: Moment::default(),
            swept_at: Moment::default(),
            drained_at: Moment::default(),
            is_stopping: false,
        })
    }

    fn run(&mut self) {
        while !self.is_stopping {
            self.wait();
            self.context.read_clocks();
            self.turn();
        }
        self.sessions.leave_presence(&self.context);
    }

    /// What follows a wait, at the time that the clocks were read.
    fn turn(&mut self) {
        self.read_sockets();
        self.handle_inputs();
        self.resume_paused();
        self.look_after_time();
        self.sessions.flush_all(&mut self.context);
    }

    fn wait(&mut self) {
        let has_work = !self.context.local.is_empty() || !self.sessions.resumable.is_empty();
        let may_sleep = !has_work && self.letters.fall_asleep();
        if self.context.mailboxes.iter().any(|mailbox| mailbox.is_congested()) {
            // Somebody is behind: no new requests until they have caught up. Answers of the store and of others still come.
            self.ready.clear();
            if may_sleep {
                self.letters.wait_for_bell(CONGESTION_PAUSE);
            }
        } else {
            let longest = match (self.sessions.audiences.is_lingering(), self.sessions.is_draining) {
                (true, _) => audience::LINGER,
                (false, true) => DRAIN_INTERVAL,
                (false, false) => TICK,
            };
            let timeout = if may_sleep { longest } else { Duration::ZERO };
            if let Err(error) = self.sessions.poller.wait(timeout, &mut self.ready) {
                // Cannot happen with a valid descriptor and buffer. Its rooms and connections would hang: like a panic, it ends
                // the process, so that a supervisor starts anew.
                tracing::error!(%error, "waiting for sockets failed");
                std::process::abort();
            }
        }
        self.letters.wake_up();
    }

    fn read_sockets(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        for &socket in &ready {
            if socket.token == BELL {
                self.letters.answer_bell();
            } else {
                self.sessions.handle_ready(socket, &mut self.context);
            }
        }
        self.ready = ready;
    }

    /// Handles inputs in their order, those to itself before those of others: an answer of this turn is written in this turn.
    fn handle_inputs(&mut self) {
        for _ in 0..MAX_INPUTS_A_TURN {
            let Some(input) = self.context.local.pop_front().or_else(|| self.letters.next()) else { return };
            match input {
                Input::Session(input) => self.sessions.handle(input, &mut self.context),
                Input::Room(conversation, input) => self.shard.handle(conversation, input, &mut self.context),
                Input::Presence(change) => self.shard.handle_presence(change),
                Input::Drain => self.sessions.drain(&mut self.context),
                Input::Stop => self.is_stopping = true,
            }
        }
    }

    /// Goes on with connections that were not read for a while, also when there is more to do than fits into a turn.
    fn resume_paused(&mut self) {
        if self.sessions.resumable.is_empty() {
            return;
        }
        for key in std::mem::take(&mut self.sessions.resumable) {
            self.sessions.resume(key, &mut self.context);
        }
        self.handle_inputs();
    }

    fn look_after_time(&mut self) {
        let now = self.context.now;
        if self.sessions.is_draining && now.since(self.drained_at) >= DRAIN_INTERVAL {
            self.drained_at = now;
            self.sessions.continue_drain(&mut self.context);
        }
        if now.since(self.ticked_at) < TICK {
            return;
        }
        self.ticked_at = now;
        self.context.metrics().mailbox_depth.set(self.letters.depth() as u64);
        self.sessions.tick_presence(&mut self.context);
        self.shard.tick(&mut self.context);
        if now.since(self.swept_at) >= SWEEP {
            self.swept_at = now;
            self.sessions.sweep(&mut self.context);
            self.shard.sweep(&self.context);
        }
        // What the tick caused in this worker goes out in this turn.
        self.handle_inputs();
    }
}
