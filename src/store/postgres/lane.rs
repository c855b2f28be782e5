//! A lane: one connection that writes, with the queue of the writes to its share of the conversations. A conversation is always
//! on the same lane, so that its writes keep their order. The next batch is what has arrived while the last one was committed.
//!
//! When the connection is lost, whether the batch under way was committed is not known. It is kept until there is a connection
//! again, and carried out once more: every write finds what an earlier attempt of it has left, so that it happens once. What
//! comes in meanwhile is refused at once. A batch with which connections are lost again and again is halved, so that the write
//! that ends them is refused alone.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::StoreLimits;
use super::batch::{BatchError, WriterLink};
use super::connect::Connector;
use super::error::{PostgresOpenError, Verdict};
use super::plan::Plan;
use super::write::{Outcome, Write};
use crate::metrics::Histogram;
use crate::protocol::ConversationId;

/// Most writes in one transaction: bounds how long the first of them waits for the last.
const MAX_BATCH: usize = 512;
/// Most content in one transaction.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most writes that wait for a lane.
const MAX_QUEUED: usize = 16_384;
/// Most memory of the writes that wait for a lane.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Pauses between attempts to connect: short at first, since a restart takes little, and never long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// How long an attempt to connect again may take at first: one that began while the server was away must not delay those after its
/// return. An attempt that takes longer is followed by more patient ones, up to `--database-timeout`.
pub(super) const RECONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Within this of the server's return everything works again.
pub(super) const RECOVERY: Duration = Duration::from_secs(5);
/// An attempt that began while the server was away and comes to nothing, a pause, and there is still time to connect.
const _: () = assert!(MAX_PAUSE.as_millis() + RECONNECT_PATIENCE.as_millis() < RECOVERY.as_millis());
/// How often a transaction is tried that PostgreSQL rolled back for the sake of another one, and a write alone whose connections are lost.
pub(super) const MAX_TRIES: usize = 4;
/// Losses of the connection after which a batch is halved: one may be anybody's, two are likely its own.
const LOSSES_BEFORE_SPLIT: usize = 2;
/// How often what is left of a batch is halved because somebody holds a row: enough to find one conversation among as many as fit.
const MAX_HELD_SPLITS: usize = MAX_BATCH.ilog2() as usize;
/// How often the writes to one conversation are tried while somebody holds a row.
const MAX_HELD_TRIES: usize = 2;
/// How long after the first loss a write whose outcome is not known may wait for a connection on which to ask.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(10);

/// Which of so many lanes a conversation is on, by the random end of its id.
pub(super) fn lane_of(conversation: ConversationId, lanes: usize) -> usize {
    let [.., high, low] = *conversation.as_bytes();
    usize::from(u16::from_be_bytes([high, low])) % lanes
}

/// The way into a lane's queue.
#[derive(Clone)]
pub(super) struct LaneQueue {
    sender: mpsc::Sender<Write>,
    bytes: Arc<AtomicUsize>,
    is_up: Arc<AtomicBool>,
}

impl LaneQueue {
    /// Queues a write, or refuses it when there are too many.
    pub(super) fn push(&self, write: Write) {
        let bytes = write.bytes();
        // The count may be a little ahead of the queue, never behind it.
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES || self.sender.try_send(write).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether there is a connection, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }
}

/// Owns a connection and the writes that are next.
pub(super) struct Lane {
    index: usize,
    queue: mpsc::Receiver<Write>,
    /// Of the writes in the queue.
    bytes: Arc<AtomicUsize>,
    is_up: Arc<AtomicBool>,
    /// Taken from the queue, in order.
    pending: VecDeque<Write>,
    connector: Connector,
    limits: StoreLimits,
    commit_times: Arc<Histogram>,
    /// How long a batch may take before the connection is given up.
    patience: Duration,
}

impl Lane {
    pub(super) fn new(
        index: usize,
        connector: Connector,
        limits: StoreLimits,
        commit_times: Arc<Histogram>,
        patience: Duration,
    ) -> (Self, LaneQueue) {
        let (sender, queue) = mpsc::channel(MAX_QUEUED);
        let (bytes, is_up) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let way_in = LaneQueue { sender, bytes: Arc::clone(&bytes), is_up: Arc::clone(&is_up) };
        (Self { index, queue, bytes, is_up, pending: VecDeque::new(), connector, limits, commit_times, patience }, way_in)
    }

    /// Writes until the queue is closed and empty.
    pub(super) async fn run(mut self, link: WriterLink) {
        let mut link = Some(link);
        loop {
            let Some(mut open) = link.take() else {
                link = self.reconnect(None).await;
                if link.is_none() {
                    return;
                }
                continue;
            };
            let batch = tokio::select! {
                biased;
                () = open.link.closed() => continue,
                batch = self.next_batch() => batch,
            };
            match batch {
                Some(batch) => link = self.carry_out(open, batch).await,
                None => return,
            }
        }
    }

    /// The writes that are next, at least one; `None` when there will be no more. Cancel-safe: what was taken stays pending.
    async fn next_batch(&mut self) -> Option<Vec<Write>> {
        if self.pending.is_empty() {
            let mut taken = Vec::new();
            if self.queue.recv_many(&mut taken, MAX_BATCH).await == 0 {
                return None;
            }
            self.note_taken(&taken);
            self.pending.extend(taken);
        }
        while self.pending.len() < MAX_BATCH
            && let Ok(write) = self.queue.try_recv()
        {
            self.note_taken(std::slice::from_ref(&write));
            self.pending.push_back(write);
        }
        Some(self.compose())
    }

    fn note_taken(&self, writes: &[Write]) {
        self.bytes.fetch_sub(writes.iter().map(Write::bytes).sum(), Ordering::Relaxed);
    }

    /// Moves from the pending writes, of which there are some, what makes a batch.
    fn compose(&mut self) -> Vec<Write> {
        let (mut batch, mut bytes) = (Vec::with_capacity(self.pending.len()), 0);
        while let Some(next) = self.pending.front() {
            bytes += next.bytes();
            if !batch.is_empty() && bytes > MAX_BATCH_BYTES {
                break;
            }
            batch.extend(self.pending.pop_front());
        }
        let (_, planned) = Plan::of(&batch);
        for write in batch.drain(planned..).rev() {
            self.pending.push_front(write);
        }
        batch
    }

    /// Carries out a batch and answers it. Returns the connection if it can be used further.
    async fn carry_out(&mut self, link: WriterLink, batch: Vec<Write>) -> Option<WriterLink> {
        let mut link = link;
        let mut pieces = VecDeque::from([Piece { writes: batch, tries: 0, losses: 0, deadline: None }]);
        let mut held_splits = 0;
        while let Some(mut piece) = pieces.pop_front() {
            piece.tries += 1;
            match self.attempt(&link, &piece).await {
                Ok(outcomes) => piece.answer(outcomes),
                Err(Verdict::Bad) if piece.writes.len() > 1 => {
                    let second = piece.split();
                    pieces.push_front(second);
                    pieces.push_front(piece);
                }
                Err(Verdict::Held) if piece.is_of_one_conversation() => {
                    if piece.tries < MAX_HELD_TRIES {
                        pieces.push_front(piece);
                    }
                }
                Err(Verdict::Held) if held_splits < MAX_HELD_SPLITS => {
                    held_splits += 1;
                    let second = piece.split_by_conversation();
                    pieces.push_front(second);
                    pieces.push_front(piece);
                }
                Err(Verdict::Again) if piece.tries < MAX_TRIES => pieces.push_front(piece),
                // Dropping writes refuses them.
                Err(Verdict::Bad | Verdict::Held | Verdict::Again | Verdict::Failed) => drop(piece),
                Err(Verdict::Lost) => {
                    drop(link);
                    let deadline = piece.note_loss();
                    piece.after_loss().rev().for_each(|piece| pieces.push_front(piece));
                    // At the deadline all that is left is dropped, and so refused.
                    link = self.reconnect(Some(deadline)).await?;
                }
            }
        }
        Some(link)
    }

    async fn attempt(&self, link: &WriterLink, piece: &Piece) -> Result<Vec<(usize, Outcome)>, Verdict> {
        let (phases, planned) = Plan::of(&piece.writes);
        if planned < piece.writes.len() {
            // A part of a batch may need more phases than all of it did; its halves, or theirs, do not.
            return Err(Verdict::Bad);
        }
        let begin = Instant::now();
        let running = link.run(&piece.writes, &phases, self.limits, piece.deadline.is_some());
        let Ok(result) = timeout(self.patience, running).await else {
            tracing::error!(lane = self.index, "PostgreSQL does not answer; the connection is given up");
            return Err(Verdict::Lost);
        };
        if result.is_ok() {
            self.commit_times.record(begin.elapsed());
        }
        result.map_err(|error| match error {
            BatchError::Postgres(error) => {
                let (verdict, writes) = (error.verdict(), piece.writes.len());
                tracing::warn!(lane = self.index, %error, ?verdict, writes, "a transaction failed");
                verdict
            }
            BatchError::Unreadable(error) => {
                tracing::error!(lane = self.index, %error, "PostgreSQL's answer makes no sense");
                Verdict::Failed
            }
        })
    }

    /// Connects again, trying until it succeeds, and refuses what comes in meanwhile. `None` when nothing will come any more or,
    /// where there is a deadline, it has passed.
    async fn reconnect(&mut self, deadline: Option<Instant>) -> Option<WriterLink> {
        self.is_up.store(false, Ordering::Relaxed);
        self.pending.clear();
        let (connector, mut pause, mut patience) = (self.connector.clone(), FIRST_PAUSE, RECONNECT_PATIENCE);
        for attempt in 1_u64.. {
            let opening = async {
                sleep(pause).await;
                let opening = timeout(patience, WriterLink::open(&connector)).await;
                opening.unwrap_or(Err(PostgresOpenError::Timeout("connecting again")))
            };
            let opened = self.refuse_during(opening, deadline).await?;
            if matches!(opened, Err(PostgresOpenError::Timeout(_))) {
                patience = connector.more_patience(patience);
            }
            match opened {
                Ok(link) => {
                    tracing::info!(lane = self.index, attempt, "connected to PostgreSQL again");
                    self.is_up.store(true, Ordering::Relaxed);
                    return Some(link);
                }
                Err(error) if attempt == 1 => {
                    tracing::warn!(lane = self.index, %error, "the connection is lost; writes are refused until it is back");
                }
                Err(error) => tracing::debug!(lane = self.index, attempt, %error, "cannot connect"),
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
        None
    }

    /// Waits for `opening`, refusing what comes in. `None` at the deadline and, without one, when nothing will come any more.
    async fn refuse_during(
        &mut self,
        opening: impl Future<Output = Result<WriterLink, PostgresOpenError>>,
        deadline: Option<Instant>,
    ) -> Option<Result<WriterLink, PostgresOpenError>> {
        let refusing = async {
            let mut refused = Vec::new();
            while self.queue.recv_many(&mut refused, MAX_BATCH).await > 0 {
                self.bytes.fetch_sub(refused.iter().map(Write::bytes).sum(), Ordering::Relaxed);
                refused.clear();
            }
        };
        let Some(deadline) = deadline else {
            return tokio::select! {
                opened = opening => Some(opened),
                () = refusing => None,
            };
        };
        let opening = timeout_at(deadline, opening);
        tokio::pin!(opening, refusing);
        let opened = tokio::select! {
            opened = &mut opening => opened,
            // The store is being closed, but somebody still waits for an answer.
            () = &mut refusing => opening.await,
        };
        opened.ok()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Also when it ends by a panic: nothing is written any more.
        self.is_up.store(false, Ordering::Relaxed);
    }
}

/// A batch, or what is left of one that failed as a whole.
struct Piece {
    writes: Vec<Write>,
    tries: usize,
    /// How many connections were lost with it.
    losses: usize,
    /// Set at the first loss, when an attempt may have been committed: no connection is waited for any longer.
    deadline: Option<Instant>,
}

impl Piece {
    /// Cuts off and returns the second half.
    fn split(&mut self) -> Self {
        self.tries = 0;
        let writes = self.writes.split_off(self.writes.len() / 2);
        Self { writes, tries: 0, losses: self.losses, deadline: self.deadline }
    }

    fn is_of_one_conversation(&self) -> bool {
        let mut conversations = self.writes.iter().map(Write::conversation);
        let first = conversations.next();
        conversations.all(|conversation| Some(conversation) == first)
    }

    /// Takes out and returns the writes to half of the conversations. Each conversation's writes stay together, in order.
    fn split_by_conversation(&mut self) -> Self {
        let mut conversations: Vec<_> = self.writes.iter().map(Write::conversation).collect();
        conversations.sort_unstable();
        conversations.dedup();
        let middle = conversations[conversations.len() / 2];
        self.tries = 0;
        let (writes, second) = std::mem::take(&mut self.writes).into_iter().partition(|write| write.conversation() < middle);
        self.writes = writes;
        Self { writes: second, tries: 0, losses: self.losses, deadline: self.deadline }
    }

    /// Notes that a connection was lost with it. Gives until when another is waited for.
    fn note_loss(&mut self) -> Instant {
        self.losses += 1;
        *self.deadline.get_or_insert_with(|| Instant::now() + UNKNOWN_PATIENCE)
    }

    /// What is tried again after a loss, in order: it, its halves or, if it is a single write and was often enough, nothing.
    fn after_loss(mut self) -> impl DoubleEndedIterator<Item = Self> {
        if self.losses < LOSSES_BEFORE_SPLIT {
            return [Some(self), None].into_iter().flatten();
        }
        if self.writes.len() > 1 {
            let second = self.split();
            return [Some(self), Some(second)].into_iter().flatten();
        }
        let again = (self.tries < MAX_TRIES).then_some(self);
        [again, None].into_iter().flatten()
    }

    fn answer(self, outcomes: Vec<(usize, Outcome)>) {
        let mut writes: Vec<Option<Write>> = self.writes.into_iter().map(Some).collect();
        // In the order of the phases, and so for each conversation in that of its `seq`.
        for (place, outcome) in outcomes {
            if let Some(write) = writes.get_mut(place).and_then(Option::take) {
                write.answer(outcome);
            }
        }
    }
}
