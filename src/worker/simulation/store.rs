//! A store that answers late, fails and forgets, as far as the contract of `store/mod.rs` lets it, and not further.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::protocol::{ConversationId, LogEvent, Seq, UnixMillis, UserId};
use crate::store::{
    Appended, ConversationCursor, ConversationPage, ConversationView, Created, Done, InviteHash, Joined, Left, MemoryStore,
    MessagePage, MessageRange, NewConversation, NewMessage, ReadMark, RoomSnapshot, Store, StoreError,
};

/// One write in this many is answered before the operation returns.
const INLINE_ONE_IN: usize = 8;
/// Most writes of one conversation that are committed together.
const MAX_BATCH: usize = 8;

type Callback = Box<dyn FnOnce() + Send>;
type Commit = Box<dyn FnOnce(&MemoryStore, Fate) -> Callback + Send>;
type Load = Box<dyn FnOnce(&MemoryStore, bool) -> Callback + Send>;
type Replay = Arc<dyn Fn(&MemoryStore) + Send + Sync>;

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    FailedBefore,
    /// Committed, but the caller is told that the store did not answer.
    OutcomeUnknown,
}

struct Write {
    run: Commit,
    replay: Replay,
}

/// One conversation's writes, in the order of the calls, and the answers to those that were committed, in the order of `seq`.
#[derive(Default)]
struct Line {
    writes: VecDeque<Write>,
    answers: VecDeque<Callback>,
}

struct State {
    random: fastrand::Rng,
    has_faults: bool,
    /// What becomes of every batch, if it is not left to chance.
    fate: Option<Fate>,
    epoch: Arc<str>,
    epochs: u64,
    /// What was synced. What was not is in `lines` only and goes with a crash.
    synced: MemoryStore,
    /// All that was synced, in order, so that an older state can be made again.
    history: Vec<Replay>,
    /// So many of these are never lost: the conversations themselves.
    never_lost: usize,
    invites: BTreeMap<InviteHash, ConversationId>,
    lines: BTreeMap<Option<ConversationId>, Line>,
    reads: Vec<Load>,
    /// Answers that may be called in any order.
    answers: Vec<Callback>,
    /// Newest seq that this node wrote, by conversation.
    own_heads: BTreeMap<ConversationId, Seq>,
}

/// See the module.
pub(super) struct FaultyStore {
    state: Mutex<State>,
}

impl FaultyStore {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            has_faults: true,
            fate: None,
            epoch: Arc::from("epoch-0"),
            epochs: 0,
            synced: MemoryStore::new(),
            history: Vec::new(),
            never_lost: 0,
            invites: BTreeMap::new(),
            lines: BTreeMap::new(),
            reads: Vec::new(),
            answers: Vec::new(),
            own_heads: BTreeMap::new(),
        };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the lock")
    }

    /// Commits, reads or answers something, if there is anything to do.
    pub(super) fn step(&self) -> bool {
        let mut state = self.lock();
        let first = state.random.usize(..3);
        for kind in (0..3).map(|offset| (first + offset) % 3) {
            match kind {
                0 => {
                    let waiting: Vec<_> =
                        state.lines.iter().filter(|(_, line)| !line.writes.is_empty()).map(|(key, _)| *key).collect();
                    if let Some(key) = state.random.choice(waiting) {
                        state.commit(key);
                        return true;
                    }
                }
                1 if !state.reads.is_empty() => {
                    state.read();
                    return true;
                }
                1 => {}
                _ => {
                    if let Some(answer) = state.next_answer() {
                        drop(state);
                        answer();
                        return true;
                    }
                }
            }
        }
        false
    }

    /// The process is gone: with it what was not synced and every answer that was not called.
    pub(super) fn crash(&self) {
        let mut state = self.lock();
        state.lines.clear();
        state.reads.clear();
        state.answers.clear();
    }

    /// Brings a backup back in which the last `lost` writes are missing. That is a new epoch, unless the store lies.
    pub(super) fn rewind(&self, lost: usize, is_told: bool) {
        let mut state = self.lock();
        let kept = state.history.len().saturating_sub(lost).max(state.never_lost);
        state.history.truncate(kept);
        state.synced = MemoryStore::new();
        state.history.iter().for_each(|replay| replay(&state.synced));
        state.own_heads.clear();
        if is_told {
            state.epochs += 1;
            state.epoch = Arc::from(format!("epoch-{}", state.epochs));
        }
    }

    pub(super) fn end_faults(&self) {
        self.lock().has_faults = false;
    }

    /// Decides what becomes of every batch, or leaves it to chance again.
    pub(super) fn set_fate(&self, fate: Option<Fate>) {
        self.lock().fate = fate;
    }

    /// A write by another node, of which this one never hears.
    pub(super) fn write_elsewhere<T: Send + 'static>(
        &self,
        apply: impl Fn(&MemoryStore, Done<T>) + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        let result = ask(|done| apply(&state.synced, done));
        state.history.push(Arc::new(move |store| apply(store, Box::new(|_| ()))));
        result
    }

    pub(super) fn create(&self, new: NewConversation) {
        if let Some(invite) = new.invite {
            self.lock().invites.insert(invite, new.id);
        }
        let created = self.write_elsewhere(move |store, done| store.create_conversation(new.clone(), done));
        assert!(created.is_ok_and(|created| !created.existed));
        let mut state = self.lock();
        state.never_lost = state.history.len();
    }

    /// What the log durably holds after `after`.
    pub(super) fn synced_after(&self, conversation: ConversationId, after: Seq) -> Vec<LogEvent> {
        let state = self.lock();
        ask(|done| state.synced.load_events(conversation, after, usize::MAX, done)).expect("the conversation exists")
    }

    /// The newest seq that this node wrote, whether it knows that or not.
    pub(super) fn own_head(&self, conversation: ConversationId) -> Seq {
        self.lock().own_heads.get(&conversation).copied().unwrap_or(Seq::ZERO)
    }

    fn write<T: Send + 'static>(
        &self,
        conversation: Option<ConversationId>,
        done: Done<T>,
        apply: impl Fn(&MemoryStore, Done<T>) + Send + Sync + 'static,
    ) {
        let apply = Arc::new(apply);
        let again = Arc::clone(&apply);
        let run = Box::new(move |store: &MemoryStore, fate: Fate| -> Callback {
            let result = match fate {
                Fate::FailedBefore => Err(StoreError::Unavailable),
                Fate::Committed => ask(|done| apply(store, done)),
                Fate::OutcomeUnknown => {
                    let _nobody_is_told = ask(|done| apply(store, done));
                    Err(StoreError::Unavailable)
                }
            };
            Box::new(move || done(result))
        });
        let replay: Replay = Arc::new(move |store| again(store, Box::new(|_| ())));
        let mut state = self.lock();
        let line = state.lines.entry(conversation).or_default();
        let is_first = line.writes.is_empty() && line.answers.is_empty();
        line.writes.push_back(Write { run, replay });
        if is_first && state.random.usize(..INLINE_ONE_IN) == 0 {
            state.commit(conversation);
            let answer = state.lines.get_mut(&conversation).and_then(|line| line.answers.pop_front());
            drop(state);
            if let Some(answer) = answer {
                answer();
            }
        }
    }

    fn read<T: Send + 'static>(&self, done: Done<T>, read: impl FnOnce(&MemoryStore, Done<T>) + Send + 'static) {
        let run = Box::new(move |store: &MemoryStore, fails: bool| -> Callback {
            let result = if fails { Err(StoreError::Unavailable) } else { ask(|done| read(store, done)) };
            Box::new(move || done(result))
        });
        self.lock().reads.push(run);
    }
}

impl State {
    fn commit(&mut self, conversation: Option<ConversationId>) {
        let fate = self.fate.unwrap_or(match self.random.usize(..16) {
            0 if self.has_faults => Fate::FailedBefore,
            1 | 2 if self.has_faults => Fate::OutcomeUnknown,
            _ => Fate::Committed,
        });
        let before = conversation.map(|id| self.head(id));
        let count = self.random.usize(1..=MAX_BATCH);
        let line = self.lines.entry(conversation).or_default();
        for Write { run, replay } in line.writes.drain(..count.min(line.writes.len())) {
            let answer = run(&self.synced, fate);
            if fate != Fate::FailedBefore {
                self.history.push(replay);
            }
            match fate {
                Fate::Committed => line.answers.push_back(answer),
                Fate::FailedBefore | Fate::OutcomeUnknown => self.answers.push(answer),
            }
        }
        if let Some(id) = conversation
            && let head = self.head(id)
            && Some(head) != before
        {
            self.own_heads.insert(id, head);
        }
    }

    fn head(&self, conversation: ConversationId) -> Seq {
        ask(|done| self.synced.open_room(conversation, 0, done)).map_or(Seq::ZERO, |snapshot| snapshot.head)
    }

    /// Reads now; the answer may be called much later.
    fn read(&mut self) {
        let at = self.random.usize(..self.reads.len());
        let fails = self.has_faults && self.random.usize(..16) == 0;
        let read = self.reads.swap_remove(at);
        self.answers.push(read(&self.synced, fails));
    }

    fn next_answer(&mut self) -> Option<Callback> {
        let mut lines: Vec<_> = self.lines.values_mut().filter(|line| !line.answers.is_empty()).collect();
        let at = self.random.usize(..=lines.len());
        if let Some(line) = lines.get_mut(at) {
            return line.answers.pop_front();
        }
        if self.answers.is_empty() {
            return lines.first_mut().and_then(|line| line.answers.pop_front());
        }
        let at = self.random.usize(..self.answers.len());
        Some(self.answers.swap_remove(at))
    }
}

/// Calls the store in memory, which answers at once.
fn ask<T: Send + 'static>(call: impl FnOnce(Done<T>)) -> Result<T, StoreError> {
    let (sender, receiver) = channel();
    call(Box::new(move |result| sender.send(result).expect("the receiver waits")));
    receiver.try_recv().expect("a store in memory answers before it returns")
}

impl Store for FaultyStore {
    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.lock().epoch)
    }

    fn append_message(&self, message: NewMessage, done: Done<Appended>) {
        self.write(Some(message.conversation), done, move |store, done| store.append_message(message.clone(), done));
    }

    fn mark_read(&self, conversation: ConversationId, user: UserId, seq: Seq, done: Done<ReadMark>) {
        self.write(Some(conversation), done, move |store, done| store.mark_read(conversation, user.clone(), seq, done));
    }

    fn create_conversation(&self, new: NewConversation, done: Done<Created>) {
        self.write(None, done, move |store, done| store.create_conversation(new.clone(), done));
    }

    fn join_by_invite(&self, invite: InviteHash, user: UserId, name: Arc<str>, at: UnixMillis, done: Done<Joined>) {
        let conversation = self.lock().invites.get(&invite).copied();
        self.write(conversation, done, move |store, done| {
            store.join_by_invite(invite, user.clone(), Arc::clone(&name), at, done);
        });
    }

    fn leave(&self, conversation: ConversationId, user: UserId, at: UnixMillis, done: Done<Left>) {
        self.write(Some(conversation), done, move |store, done| store.leave(conversation, user.clone(), at, done));
    }

    fn put_user(&self, user: UserId, name: Arc<str>, done: Done<()>) {
        self.write(None, done, move |store, done| store.put_user(user.clone(), Arc::clone(&name), done));
    }

    fn put_last_seen(&self, users: Vec<(UserId, UnixMillis)>, done: Done<()>) {
        self.write(None, done, move |store, done| store.put_last_seen(users.clone(), done));
    }

    fn open_room(&self, conversation: ConversationId, recent: usize, done: Done<RoomSnapshot>) {
        self.read(done, move |store, done| store.open_room(conversation, recent, done));
    }

    fn load_events(&self, conversation: ConversationId, after: Seq, limit: usize, done: Done<Vec<LogEvent>>) {
        self.read(done, move |store, done| store.load_events(conversation, after, limit, done));
    }

    fn load_messages(
        &self,
        conversation: ConversationId,
        user: UserId,
        range: MessageRange,
        limit: usize,
        done: Done<MessagePage>,
    ) {
        self.read(done, move |store, done| store.load_messages(conversation, user, range, limit, done));
    }

    fn load_conversation(&self, conversation: ConversationId, user: UserId, done: Done<ConversationView>) {
        self.read(done, move |store, done| store.load_conversation(conversation, user, done));
    }

    fn load_conversations(&self, user: UserId, cursor: Option<ConversationCursor>, limit: usize, done: Done<ConversationPage>) {
        self.read(done, move |store, done| store.load_conversations(user, cursor, limit, done));
    }

    fn check(&self, done: Done<()>) {
        done(Ok(()));
    }
}
