//! Random operations on a store and on the model, compared after each step. A failure prints the seed that repeats it:
//! `PARLOR_SEED=… cargo test`.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::model::Model;
use super::{Subject, call, fresh_conversation, fresh_message_at, outcome, start, user};
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Message, MessageId, Role, Seq, UnixMillis, UserId};
use crate::store::{
    Appended, Created, InviteHash, Joined, Left, MessageRange, NewConversation, NewMessage, ReadMark, Store, StoreError,
};

const SEEDS: u64 = 4;
const STEPS: usize = 400;
const USERS: [&str; 6] = ["ann", "bob", "cyd", "dan", "eve", "fay"];
const MAX_CONVERSATIONS: usize = 8;

/// A small generator of random numbers (SplitMix64, Steele, Lea and Flood 2014): the same seed gives the same test.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn user(&mut self) -> UserId {
        user(USERS[self.below(USERS.len())])
    }

    fn time(&mut self) -> UnixMillis {
        UnixMillis::new(self.below(40) as u64)
    }
}

/// Runs `test` with every seed, or with the one in `PARLOR_SEED`, and prints the seed of a failure.
pub(crate) fn with_seeds(seeds: u64, test: impl Fn(u64)) {
    struct Reporter(u64);
    impl Drop for Reporter {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with PARLOR_SEED={}", self.0);
            }
        }
    }
    let given = std::env::var("PARLOR_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in given.map_or(0..seeds, |seed: u64| seed..seed + 1) {
        let _reporter = Reporter(seed);
        test(seed);
    }
}

/// One write.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Append(NewMessage),
    Mark(ConversationId, UserId, Seq),
    Create(NewConversation),
    Join(InviteHash, UserId, Arc<str>, UnixMillis),
    Leave(ConversationId, UserId, UnixMillis),
    PutUser(UserId, Arc<str>),
    PutLastSeen(Vec<(UserId, UnixMillis)>),
}

/// What came of a write, in a form that compares.
#[derive(Debug, PartialEq)]
pub(crate) enum Written {
    Append(Result<(Arc<Message>, bool), StoreError>),
    Mark(Result<ReadMark, StoreError>),
    Create(Result<(ConversationId, bool), StoreError>),
    Join(Result<(ConversationId, Option<LogEvent>, Role), StoreError>),
    Leave(Result<(LogEvent, Option<UserId>), StoreError>),
    Put(Result<(), StoreError>),
}

type Answer<T> = Receiver<Result<T, StoreError>>;

/// A write that was started.
pub(crate) enum Pending {
    Append(Answer<Appended>),
    Mark(Answer<ReadMark>),
    Create(Answer<Created>),
    Join(Answer<Joined>),
    Leave(Answer<Left>),
    Put(Answer<()>),
}

impl Write {
    /// Some write, mostly possible, sometimes not.
    pub(crate) fn random(random: &mut Random, model: &Model) -> Self {
        let count = model.conversations.len();
        if count == 0 {
            return Self::Create(random_conversation(random));
        }
        let known = &model.conversations[random.below(count)];
        let id = if random.below(50) == 0 { fresh_conversation() } else { known.new.id };
        match random.below(100) {
            0..50 => Self::Append(random_message(random, id)),
            50..75 => {
                let seq = random.below(known.head().get() as usize + 3) as u64;
                Self::Mark(id, random.user(), Seq::new(seq).expect("small"))
            }
            75..84 => {
                let invite = known.new.invite.unwrap_or([0xFF; 32]);
                Self::Join(invite, random.user(), Arc::from(format!("Joiner {}", random.below(9))), random.time())
            }
            84..88 => Self::Leave(id, random.user(), random.time()),
            88..93 if count < MAX_CONVERSATIONS || random.below(2) == 0 => Self::Create(random_conversation(random)),
            93..96 => Self::PutLastSeen((0..random.below(3)).map(|_| (random.user(), random.time())).collect()),
            _ => Self::PutUser(random.user(), Arc::from(format!("User {}", random.below(4)))),
        }
    }

    /// Whether it depends on one conversation and nothing else, so that its order with such writes is promised. A joining depends
    /// on the user's other conversations too, unless they have room in any order of it and the leavings under way. And while one
    /// is under way, no order with later writes to its conversation is promised.
    fn is_ordered(&self, model: &Model, pending: &[(Pending, Written, Self)]) -> bool {
        let conversation = self.conversation(model);
        let is_joined = |(_, _, write): &(Pending, Written, Self)| {
            matches!(write, Self::Join(..)) && write.conversation(model) == conversation
        };
        if pending.iter().any(is_joined) {
            return false;
        }
        match self {
            Self::Append(_) | Self::Mark(..) | Self::Leave(..) => true,
            Self::Join(_, user, ..) => {
                let leaves = |(_, _, write): &&(Pending, Written, Self)| matches!(write, Self::Leave(_, who, _) if who == user);
                model.has_room(user, 1 + pending.iter().filter(leaves).count())
            }
            Self::Create(_) | Self::PutUser(..) | Self::PutLastSeen(_) => false,
        }
    }

    /// The conversation that it is about, if it is one and there is one.
    fn conversation(&self, model: &Model) -> Option<ConversationId> {
        match self {
            Self::Append(message) => Some(message.conversation),
            Self::Mark(id, ..) | Self::Leave(id, ..) => Some(*id),
            Self::Create(new) => Some(new.id),
            Self::Join(invite, ..) => model.conversations.iter().find(|it| it.new.invite == Some(*invite)).map(|it| it.new.id),
            Self::PutUser(..) | Self::PutLastSeen(_) => None,
        }
    }

    pub(crate) fn start(self, store: &dyn Store) -> Pending {
        match self {
            Self::Append(message) => Pending::Append(start(|done| store.append_message(message, done))),
            Self::Mark(id, user, seq) => Pending::Mark(start(|done| store.mark_read(id, user, seq, done))),
            Self::Create(new) => Pending::Create(start(|done| store.create_conversation(new, done))),
            Self::Join(invite, user, name, at) => Pending::Join(start(|done| store.join_by_invite(invite, user, name, at, done))),
            Self::Leave(id, user, at) => Pending::Leave(start(|done| store.leave(id, user, at, done))),
            Self::PutUser(user, name) => Pending::Put(start(|done| store.put_user(user, name, done))),
            Self::PutLastSeen(seen) => Pending::Put(start(|done| store.put_last_seen(seen, done))),
        }
    }

    pub(crate) fn apply(self, model: &mut Model) -> Written {
        match self {
            Self::Append(message) => Written::Append(model.append(message).map(|a| (a.message, a.duplicate))),
            Self::Mark(id, user, seq) => Written::Mark(model.mark(id, &user, seq)),
            Self::Create(new) => Written::Create(model.create(new).map(|c| (c.conversation, c.existed))),
            Self::Join(invite, user, name, at) => {
                Written::Join(model.join(invite, &user, name, at).map(|j| (j.conversation, j.event, j.role)))
            }
            Self::Leave(id, user, at) => Written::Leave(model.leave(id, &user, at).map(|l| (l.event, l.new_owner))),
            Self::PutUser(user, name) => {
                model.put_user(&user, name);
                Written::Put(Ok(()))
            }
            Self::PutLastSeen(seen) => {
                model.put_last_seen(&seen);
                Written::Put(Ok(()))
            }
        }
    }
}

impl Pending {
    pub(crate) fn wait(self) -> Written {
        match self {
            Self::Append(answer) => Written::Append(outcome(&answer).map(|a| (a.message, a.duplicate))),
            Self::Mark(answer) => Written::Mark(outcome(&answer)),
            Self::Create(answer) => Written::Create(outcome(&answer).map(|c| (c.conversation, c.existed))),
            Self::Join(answer) => Written::Join(outcome(&answer).map(|j| (j.conversation, j.event, j.role))),
            Self::Leave(answer) => Written::Leave(outcome(&answer).map(|l| (l.event, l.new_owner))),
            Self::Put(answer) => Written::Put(outcome(&answer)),
        }
    }
}

fn random_message(random: &mut Random, conversation: ConversationId) -> NewMessage {
    // Few client message ids and bodies, so that repeats and conflicts are frequent.
    let client_message_id = (random.below(2) == 0).then(|| format!("c-{}", random.below(12)).into());
    let created_at = random.time();
    NewMessage {
        id: fresh_message_at(created_at),
        conversation,
        sender: random.user(),
        sender_name: Arc::from(format!("Sender {}", random.below(3))),
        content: format!("content {}", random.below(2)).repeat(1 + random.below(40)).into(),
        client_message_id,
        reply_to: (random.below(8) == 0).then(|| MessageId::from_bytes([7; 16])),
        created_at,
    }
}

fn random_conversation(random: &mut Random) -> NewConversation {
    let first = random.below(USERS.len());
    let count = 1 + random.below(4);
    let direct = count == 2 && random.below(3) > 0;
    let members: Vec<UserId> = (0..count).map(|offset| user(USERS[(first + offset) % USERS.len()])).collect();
    let mut invite = [0; 32];
    invite[..16].copy_from_slice(fresh_conversation().as_bytes());
    NewConversation {
        id: fresh_conversation(),
        kind: if direct { ConversationKind::Direct } else { ConversationKind::Group },
        title: if random.below(2) == 0 { "".into() } else { "Team".into() },
        creator: members[random.below(count)].clone(),
        members,
        invite: (!direct && random.below(3) > 0).then_some(invite),
        created_at: random.time(),
    }
}

/// Compares everything that can be read about every conversation and user.
pub(crate) fn compare_all(random: &mut Random, subject: &Subject, model: &Model) {
    for conversation in &model.conversations {
        let id = conversation.new.id;
        for who in USERS {
            same("view", &subject.view(id, who), &model.view(id, &user(who)));
        }
        compare_log(random, subject, model, id);
    }
    for who in USERS {
        compare_listing(random, subject, model, who);
    }
}

fn compare_log(random: &mut Random, subject: &Subject, model: &Model, id: ConversationId) {
    let conversation = model.conversation(id).expect("known");
    let bound = conversation.log.len() + 2;
    let (after, limit) = (random.below(bound), 1 + random.below(bound));
    let expected: Vec<LogEvent> = conversation.log.iter().skip(after).take(limit).cloned().collect();
    same("events", &subject.events(id, after as u64, limit), &expected);
    let room = subject.room(id, limit);
    same("members", &room.members, &model.members(conversation));
    let first = conversation.log.len().saturating_sub(limit);
    same("recent", &room.recent, &conversation.log[first..].to_vec());
    same("head", &room.head, &conversation.head());
    let seq = Seq::new(after as u64).expect("small");
    for range in [MessageRange::Latest, MessageRange::Before(seq), MessageRange::After(seq)] {
        let reader = random.user();
        let page = call(|done| subject.store().load_messages(id, reader.clone(), range, limit, done));
        let page = page.map(|page| (page.messages, page.has_more));
        same("messages", &page, &model.messages(id, &reader, range, limit));
    }
}

fn compare_listing(random: &mut Random, subject: &Subject, model: &Model, who: &str) {
    let expected = model.listing(&user(who));
    let limit = 1 + random.below(3);
    let (mut found, mut cursor) = (Vec::new(), None);
    for start in (0..=expected.len()).step_by(limit) {
        let page = subject.page(who, cursor, limit);
        assert!(page.conversations.len() <= limit);
        found.extend(page.conversations);
        let end = start + limit;
        same("cursor", &page.next, &expected.get(end.wrapping_sub(1)).map(|(at, _)| *at).filter(|_| end < expected.len()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    same("listing", &found, &expected.into_iter().map(|(_, view)| view).collect());
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) {
    assert!(found == expected, "{what} differ:\n   found {found:?}\nexpected {expected:?}");
}

/// Starts up to `burst` writes at once and compares their outcomes with the model's.
pub(crate) fn run_burst(random: &mut Random, store: &dyn Store, model: &mut Model, burst: usize) {
    let mut pending = Vec::new();
    for _ in 0..1 + random.below(burst) {
        let write = Write::random(random, model);
        let ordered = write.is_ordered(model, &pending);
        if !pending.is_empty() && !ordered {
            break;
        }
        let expected = write.clone().apply(model);
        pending.push((write.clone().start(store), expected, write));
        if !ordered {
            break;
        }
    }
    for (answer, expected, write) in pending {
        let found = answer.wait();
        assert!(found == expected, "{write:?}:\n   found {found:?}\nexpected {expected:?}");
    }
}

fn agrees(open: &dyn Fn() -> Subject, burst: usize) {
    with_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let mut subject = open();
        let mut model = Model::default();
        for step in 0..STEPS / burst {
            run_burst(&mut random, subject.store(), &mut model, burst);
            if random.below(4) == 0 {
                compare_all(&mut random, &subject, &model);
            }
            if step % 100 == 99 {
                subject.reopen();
            }
        }
        compare_all(&mut random, &subject, &model);
    });
}

pub(crate) fn agrees_with_the_model_one_at_a_time(open: &dyn Fn() -> Subject) {
    agrees(open, 1);
}

pub(crate) fn agrees_with_the_model_in_bursts(open: &dyn Fn() -> Subject) {
    agrees(open, 12);
}
