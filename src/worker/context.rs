//! What both sides of a worker need: the clock of this turn, limits, the store, the way to other workers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::auth::{InviteKey, Verifier};
use crate::metrics::{Metrics, WorkerMetrics};
use crate::protocol::frame::FrameBuilder;
use crate::protocol::request::ActionName;
use crate::protocol::{ConversationId, ErrorCode, Limits, MessageId, UnixMillis, UserId, encode};
use crate::rooms::{InviteHash, Moment, Rate};
use crate::store::{Store, StoreError};

use super::input::{Asker, Input, RoomInput, SessionInput, weight};
use super::invites::InviteGuard;
use super::mailbox::Mailbox;

/// What the whole server shares. Immutable, or safe to share.
pub struct Shared {
    /// Every limit.
    pub limits: Limits,
    /// Where conversations are kept.
    pub store: Arc<dyn Store>,
    /// Whose tokens are good.
    pub verifier: Verifier,
    /// From which invite codes follow.
    pub invites: InviteKey,
    /// Counters.
    pub metrics: Metrics,
    /// Zero of [`Moment`].
    pub started: Instant,
    /// Connections that were admitted and have not ended, wherever they are on their way.
    admitted: Arc<AtomicUsize>,
    /// Wrong invite codes by address.
    pub(super) invite_guard: InviteGuard,
}

impl Shared {
    /// Puts together what all workers use.
    pub fn new(limits: Limits, store: Arc<dyn Store>, verifier: Verifier, invites: InviteKey, workers: usize) -> Self {
        let invite_guard = InviteGuard::new(Rate::per_minute(limits.invite_attempts_per_minute));
        Self {
            limits,
            store,
            verifier,
            invites,
            metrics: Metrics::new(workers),
            started: Instant::now(),
            admitted: Arc::default(),
            invite_guard,
        }
    }

    /// Admits one more connection, unless there are `max_connections`.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let max_connections = self.limits.max_connections;
        let one_more = |count: usize| (count < max_connections).then_some(count + 1);
        self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Admission(Arc::clone(&self.admitted)))
    }

    /// Number of connections.
    pub fn connections(&self) -> usize {
        self.admitted.load(Ordering::Relaxed)
    }

    /// The wall clock.
    pub fn wall_clock(&self) -> UnixMillis {
        to_millis(since_epoch())
    }
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Admission(Arc<AtomicUsize>);

#[cfg(test)]
impl Admission {
    /// The only one of its count.
    pub(super) fn alone() -> Self {
        Self(Arc::new(AtomicUsize::new(1)))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One worker's own part.
pub(super) struct Context {
    pub(super) worker: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) mailboxes: Arc<[Arc<Mailbox>]>,
    /// Inputs of this worker to itself, in order.
    pub(super) local: VecDeque<Input>,
    pub(super) now: Moment,
    pub(super) wall: UnixMillis,
    pub(super) builder: FrameBuilder,
    pub(super) epoch: Arc<str>,
    random: RandomPool,
}

impl Context {
    pub(super) fn new(worker: usize, shared: Arc<Shared>, mailboxes: Arc<[Arc<Mailbox>]>) -> Self {
        let epoch = shared.store.epoch();
        let wall = shared.wall_clock();
        Self {
            worker,
            shared,
            mailboxes,
            local: VecDeque::new(),
            now: Moment::default(),
            wall,
            builder: FrameBuilder::default(),
            epoch,
            random: RandomPool::new(),
        }
    }

    /// Reads the clocks, once for each turn.
    pub(super) fn read_clocks(&mut self) {
        let millis = self.shared.started.elapsed().as_millis();
        self.now = Moment::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        self.wall = self.shared.wall_clock();
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(super) fn metrics(&self) -> &WorkerMetrics {
        self.shared.metrics.worker(self.worker)
    }

    pub(super) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailboxes[self.worker])
    }

    /// The worker that owns a conversation's room. A UUIDv7 ends in random bits.
    pub(super) fn owner_of(&self, conversation: ConversationId) -> usize {
        let bytes = conversation.as_bytes();
        usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % self.mailboxes.len()
    }

    /// The worker at which a user's connections live. FNV-1a: it need only be the same on every worker, and spread.
    pub(super) fn home_of(&self, user: &UserId) -> usize {
        let hash = user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (hash >> 32) as usize % self.mailboxes.len()
    }

    /// Hands an input to a worker, in order.
    pub(super) fn send(&mut self, worker: usize, input: Input) {
        if worker == self.worker {
            self.local.push_back(input);
        } else {
            self.mailboxes[worker].send(input);
        }
    }

    pub(super) fn send_to_room(&mut self, conversation: ConversationId, input: RoomInput) {
        self.send(self.owner_of(conversation), Input::Room(conversation, input));
    }

    pub(super) fn send_to_session(&mut self, worker: usize, input: SessionInput) {
        self.send(worker, Input::Session(input));
    }

    /// Encodes one frame; the text is what `write` appends.
    pub(super) fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Arc<[u8]> {
        write(self.builder.begin());
        Arc::from(self.builder.finish())
    }

    /// Encodes an event of which the payload is what `payload` appends.
    pub(super) fn event(&mut self, name: &'static str, payload: impl FnOnce(&mut Vec<u8>)) -> Arc<[u8]> {
        let wall = self.wall;
        self.frame(|out| encode::event(out, name, wall, payload))
    }

    /// Encodes the reply to a request; `None` when it had no `requestId`.
    pub(super) fn reply_frame(
        &mut self,
        action: ActionName,
        request_id: Option<&str>,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Arc<[u8]>> {
        let request_id = request_id?;
        let wall = self.wall;
        Some(self.frame(|out| encode::reply(out, action.as_str(), request_id, wall, payload)))
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, asker: &Asker, payload: impl FnOnce(&mut Vec<u8>)) {
        let frame = self.reply_frame(asker.action, asker.request_id.as_deref(), payload);
        let weight = weight(asker.action);
        self.send_to_session(asker.worker, SessionInput::Reply { connection: asker.connection, frame, weight });
    }

    /// Answers a request with an error.
    pub(super) fn refuse(&mut self, asker: &Asker, code: ErrorCode, message: &str) {
        let frame = self.error_frame(asker.request_id.as_deref(), code, message, None);
        let (frame, weight) = (Some(frame), weight(asker.action));
        self.send_to_session(asker.worker, SessionInput::Reply { connection: asker.connection, frame, weight });
    }

    /// Answers a request that the store refused.
    pub(super) fn refuse_by_store(&mut self, asker: &Asker, error: StoreError) {
        let (code, message) = explain(error);
        self.refuse(asker, code, message);
    }

    /// Encodes an error.
    pub(super) fn error_frame(
        &mut self,
        request_id: Option<&str>,
        code: ErrorCode,
        message: &str,
        retry_after: Option<Duration>,
    ) -> Arc<[u8]> {
        self.metrics().count_error(code);
        let wall = self.wall;
        // Rounded up: who comes back at that time must not be refused again.
        let retry_after_ms = retry_after.map(|after| u64::try_from(after.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX));
        self.frame(|out| encode::error(out, request_id, wall, code, message, retry_after_ms))
    }

    /// The invite code of a conversation, if it still belongs to the stored hash (it does not after the key was lost).
    pub(super) fn invite_code(&self, conversation: ConversationId, hash: &InviteHash) -> Option<Box<str>> {
        let code = self.shared.invites.code(conversation);
        (crate::auth::invite_hash(&code) == *hash).then_some(code)
    }

    /// An id and its time. The clock is read anew: what comes later within one turn has a later id.
    pub(super) fn new_message_id(&mut self) -> (MessageId, UnixMillis) {
        let now = since_epoch();
        (MessageId::new_v7(now, self.random.take()), to_millis(now))
    }

    /// An id and its time, as [`Context::new_message_id`].
    pub(super) fn new_conversation_id(&mut self) -> (ConversationId, UnixMillis) {
        let now = since_epoch();
        (ConversationId::new_v7(now, self.random.take()), to_millis(now))
    }

    /// A number below `bound`, to spread what would otherwise happen at once. 0 when `bound` is 0.
    pub(super) fn spread(&mut self, bound: u64) -> u64 {
        let bytes = self.random.take();
        let number = u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
        number.checked_rem(bound).unwrap_or(0)
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

fn to_millis(since_epoch: Duration) -> UnixMillis {
    UnixMillis::new(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// The error that a client sees for a refusal of the store.
fn explain(error: StoreError) -> (ErrorCode, &'static str) {
    match error {
        StoreError::NotFound => (ErrorCode::NotFound, "no such conversation, or it is not yours to see"),
        StoreError::Conflict => {
            (ErrorCode::Conflict, "this clientMessageId was used for another message; use a new one for each message")
        }
        StoreError::Forbidden => (ErrorCode::Forbidden, "a direct conversation cannot be left"),
        StoreError::MembersFull => (ErrorCode::LimitExceeded, "the conversation has as many members as it may have"),
        StoreError::TooManyConversations => {
            (ErrorCode::LimitExceeded, "a member is in as many conversations as one may be; leave some first")
        }
        StoreError::Unavailable => (ErrorCode::Unavailable, "the store is not answering; retry with the same clientMessageId"),
    }
}

/// Random bytes for ids, fetched from the system in large portions: a system call for each message would be felt.
struct RandomPool {
    bytes: Box<[u8; Self::LEN]>,
    used: usize,
}

impl RandomPool {
    const LEN: usize = 4_000;

    fn new() -> Self {
        Self { bytes: Box::new([0; Self::LEN]), used: Self::LEN }
    }

    fn take(&mut self) -> [u8; 10] {
        if self.used == Self::LEN {
            aws_lc_rs::rand::fill(&mut self.bytes[..]).expect("the operating system provides random bytes");
            self.used = 0;
        }
        let mut taken = [0; 10];
        taken.copy_from_slice(&self.bytes[self.used..self.used + 10]);
        self.used += 10;
        taken
    }
}
