//! A seeded simulation of whole workers, their clients and a store that fails, against the promises of PROTOCOL.md section 3.
//!
//! The workers are the real ones, turn by turn, over socket pairs; time is passed in. The store answers late and in another
//! order, fails before a commit or after it, loses what was not synced in a crash, comes back from a backup, and is written to
//! by another node of which nothing is heard. The clients reconnect, resume with `since` and retry with the same
//! `clientMessageId`, and check all that they get against the log.
//!
//! A failure prints its seed: `PARLOR_SEED=… cargo test simulation` runs that one, `PARLOR_SIM_SEEDS=…` so many.

mod client;
mod oracle;
mod store;

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use oracle::Oracle;
use store::{Fate, FaultyStore};

use super::{Input, Moment, SessionInput, Shared, Upgraded, Worker, mailbox};
use crate::auth::{AuthConfig, Identity, InviteKey, Secret, Verifier, invite_hash};
use crate::protocol::limits::OFF;
use crate::protocol::{ConversationId, ConversationKind, Limits, MessageId, UnixMillis, UserId};
use crate::store::{NewConversation, NewMessage, Store};

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;
/// Random steps with one seed.
const STEPS: usize = 500;
const MAX_WORKERS: usize = 3;
const USERS: [&str; 4] = ["ann", "bob", "cyd", "dan"];
const CLIENTS: usize = 7;
/// The conversation in which little is said and whose members come and go.
const CHANGEABLE: usize = 1;
/// The wall clock at the start: 2026-11-24.
const START: u64 = 1_795_512_600_000;
/// Most rounds without faults until everybody must be served.
const MAX_ROUNDS: usize = 400;
/// Rounds in which nothing is wanted any more until all is at rest: longer than every hint and gap waits.
const QUIET_ROUNDS: usize = 20;

/// What the store does beyond its contract.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Honesty {
    Honest,
    /// Answers before it syncs: a crash takes what was acknowledged.
    ForgetsSynced,
}

struct Conversation {
    id: ConversationId,
    code: Option<Box<str>>,
}

struct Simulation {
    random: fastrand::Rng,
    store: Arc<FaultyStore>,
    honesty: Honesty,
    has_rivals: bool,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    oracle: Oracle,
    conversations: Vec<Conversation>,
    millis: u64,
    rival_messages: u64,
}

impl Simulation {
    fn new(seed: u64, honesty: Honesty) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = Arc::new(FaultyStore::new(random.u64(..)));
        let secret = Secret::new(b"a secret of thirty-two bytes, or more").expect("long enough");
        let verifier = Verifier::new(&AuthConfig { secret: Some(secret), ..AuthConfig::default() }).expect("a good key");
        let invites = InviteKey::random().expect("random bytes");
        let limits = limits(&mut random);
        let recovery_limit = limits.recovery_limit;
        let dyn_store: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let shared = Arc::new(Shared::new(limits, dyn_store, verifier, invites, MAX_WORKERS));
        let clients = (0..CLIENTS).map(|device| Client::new(user(device % USERS.len()), device, recovery_limit)).collect();
        let oracle = Oracle::new(Arc::clone(&store));
        let mut simulation = Self {
            has_rivals: random.bool(),
            random,
            store,
            honesty,
            shared,
            workers: Vec::new(),
            clients,
            oracle,
            conversations: Vec::new(),
            millis: 0,
            rival_messages: 0,
        };
        simulation.create(ConversationKind::Group, 4);
        simulation.create(ConversationKind::Group, 2);
        simulation.create(ConversationKind::Direct, 2);
        simulation.start();
        simulation
    }

    fn create(&mut self, kind: ConversationKind, members: usize) {
        let id = ConversationId::new_v7(Duration::from_millis(START), std::array::from_fn(|_| self.random.u8(..)));
        let code = (kind == ConversationKind::Group).then(|| self.shared.invites.code(id));
        let members: Vec<_> = (0..members).map(user).collect();
        self.store.create(NewConversation {
            id,
            kind,
            title: "".into(),
            creator: user(0),
            members: members.clone(),
            invite: code.as_deref().map(invite_hash),
            created_at: UnixMillis::new(START),
        });
        self.oracle.note_conversation(id, members);
        self.conversations.push(Conversation { id, code });
        for _ in 0..self.random.usize(..150) {
            self.append_elsewhere(id);
        }
    }

    /// Starts the process, as it were.
    fn start(&mut self) {
        let count = self.random.usize(1..=MAX_WORKERS);
        let pairs: Vec<_> = (0..count).map(|_| mailbox::mailbox().expect("an eventfd")).collect();
        let mailboxes: Arc<[_]> = pairs.iter().map(|(mailbox, _)| Arc::clone(mailbox)).collect();
        for (index, (_, letters)) in pairs.into_iter().enumerate() {
            let worker = Worker::new(index, Arc::clone(&self.shared), Arc::clone(&mailboxes), letters);
            self.workers.push(worker.expect("an epoll"));
        }
    }

    fn crash(&mut self) {
        self.workers.clear();
        self.store.crash();
        let lost = self.random.usize(1..=20);
        if self.honesty == Honesty::ForgetsSynced {
            self.store.rewind(lost, false);
            self.clients.iter_mut().for_each(Client::disconnect);
            self.oracle.reload();
        } else if self.random.usize(..4) == 0 {
            self.store.rewind(lost, true);
            self.clients.iter_mut().for_each(Client::disconnect);
            self.oracle.reload();
            self.oracle.forgive_what_was_lost();
        } else if self.random.bool() {
            self.clients.iter_mut().for_each(Client::disconnect);
        }
        self.start();
    }

    fn connect(&mut self, client: usize) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("a socket");
        theirs.set_nonblocking(true).expect("a socket");
        // Small, so that a client that does not read is soon behind.
        rustix::net::sockopt::set_socket_send_buffer_size(&theirs, 4_096).expect("a socket");
        let client = &mut self.clients[client];
        client.connect(ours);
        let identity = Identity {
            user: client.user.clone(),
            name: client.user.shared(),
            expires_at: UnixMillis::new(START + 1_000_000_000),
        };
        let upgraded = Upgraded {
            admission: super::context::Admission::alone(),
            stream: TcpStream::from(OwnedFd::from(theirs)),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: Vec::new(),
            identity: Some(identity),
        };
        let worker = self.random.usize(..self.workers.len());
        let input = Input::Session(SessionInput::Upgraded(Box::new(upgraded)));
        self.workers[worker].context.mailbox().send(input);
    }

    /// One turn of one worker, for some of the sockets that are ready.
    fn turn(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        worker.context.now = Moment::from_millis(self.millis);
        worker.context.wall = UnixMillis::new(START + self.millis);
        worker.sessions.poller.wait(Duration::ZERO, &mut worker.ready).expect("an epoll");
        let random = &mut self.random;
        worker.ready.retain(|_| random.usize(..4) > 0);
        worker.turn();
        assert!(!worker.is_stopping);
    }

    fn append_elsewhere(&mut self, conversation: ConversationId) {
        self.rival_messages += 1;
        let message = NewMessage {
            id: MessageId::new_v7(Duration::from_millis(START), std::array::from_fn(|_| self.random.u8(..))),
            conversation,
            sender: user(self.random.usize(..USERS.len())),
            sender_name: Arc::from("elsewhere"),
            content: "elsewhere".repeat(self.random.usize(1..=30)).into(),
            client_message_id: Some(format!("elsewhere-{}", self.rival_messages).into()),
            reply_to: None,
            created_at: UnixMillis::new(START),
        };
        // Fails when the sender is not a member, which is as good.
        let _ = self.store.write_elsewhere(move |store, done| store.append_message(message.clone(), done));
    }

    fn write_elsewhere(&mut self) {
        let at = self.random.usize(..self.conversations.len());
        let Conversation { id, ref code } = self.conversations[at];
        let (who, when) = (user(self.random.usize(..USERS.len())), UnixMillis::new(START));
        match (self.random.usize(..6), code) {
            (0, _) => {
                let _ = self.store.write_elsewhere(move |store, done| store.leave(id, who.clone(), when, done));
            }
            (1, Some(code)) => {
                let invite = invite_hash(code);
                let join = move |store: &crate::store::MemoryStore, done| {
                    store.join_by_invite(invite, who.clone(), who.shared(), when, done);
                };
                let _ = self.store.write_elsewhere(join);
            }
            (2, _) => {
                for _ in 0..self.random.usize(1..=100) {
                    self.append_elsewhere(id);
                }
            }
            _ => self.append_elsewhere(id),
        }
    }

    fn step(&mut self) {
        self.millis += self.random.u64(..40);
        let client = self.random.usize(..CLIENTS);
        match self.random.usize(..1_000) {
            0..=249 => {
                let at = self.random.usize(..self.conversations.len());
                let (Conversation { id, code }, random) = (&self.conversations[at], &mut self.random);
                if at == CHANGEABLE && random.usize(..4) > 0 {
                    self.clients[client].change_membership(*id, code.as_deref(), random);
                } else {
                    self.clients[client].act(*id, code.as_deref(), random, &self.oracle);
                }
            }
            250..=449 => self.clients[client].read(&mut self.oracle),
            450..=679 => {
                let worker = self.random.usize(..self.workers.len());
                self.turn(worker);
            }
            680..=949 => {
                self.store.step();
            }
            950..=979 if !self.clients[client].is_connected() => self.connect(client),
            950..=979 => {}
            980..=984 => self.clients[client].disconnect(),
            985..=991 if self.has_rivals => self.write_elsewhere(),
            985..=991 => {}
            992..=995 => self.millis += 500,
            996 => self.millis += 35_000,
            _ => self.crash(),
        }
    }

    /// Everything works, everybody is patient: whatever is wanted must come about.
    fn come_to_rest(&mut self) {
        self.store.end_faults();
        let mut quiet_rounds = 0;
        for _ in 0..MAX_ROUNDS {
            self.round();
            let is_quiet = self.clients.iter().all(Client::is_at_rest);
            quiet_rounds = if is_quiet { quiet_rounds + 1 } else { 0 };
            if quiet_rounds == QUIET_ROUNDS {
                return;
            }
        }
        panic!("somebody waits for ever");
    }

    /// Everybody has a turn, and the store does all that it was asked.
    fn round(&mut self) {
        for client in 0..CLIENTS {
            if !self.clients[client].is_connected() {
                self.connect(client);
            }
            self.clients[client].set_stalled(false);
            self.clients[client].read(&mut self.oracle);
            self.clients[client].retry();
        }
        (0..self.workers.len()).for_each(|worker| self.turn(worker));
        while self.store.step() {}
        self.millis += 120;
    }

    /// Nothing is under way, and the rooms know who listens.
    fn check_counts(&mut self) {
        for at in 0..self.workers.len() {
            let sessions = &mut self.workers[at].sessions;
            for place in 0..sessions.connections.places() {
                let Some(connection) = sessions.connections.at_mut(place) else { continue };
                assert_eq!(connection.in_flight, 0, "every request of a connection is answered");
            }
            for (conversation, entry) in self.workers[at].shard.live() {
                assert_eq!(entry.in_flight, 0, "the store has answered all that {conversation} asked");
                let audience = |worker: &Worker| worker.sessions.audiences.connections(conversation).len();
                let audiences: Vec<_> = self.workers.iter().map(audience).collect();
                assert_eq!(*entry.audience, *audiences, "the audience of {conversation}");
            }
        }
    }

    /// Every joined connection has had every event: of those that this node wrote, or of all.
    fn check_everybody_saw(&mut self, upto: impl Fn(&mut Self, ConversationId) -> u64) {
        for at in 0..self.conversations.len() {
            let id = self.conversations[at].id;
            let upto = upto(self, id);
            for client in 0..CLIENTS {
                if let Some(next) = self.clients[client].next_seq(id) {
                    let (who, head) = (&self.clients[client].user, self.oracle.head(id));
                    assert!(next > upto, "{who} waits for {next} of {id}, which stands at {head}, and had to see {upto}");
                }
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.come_to_rest();
        self.check_counts();
        self.check_everybody_saw(|this, id| this.store.own_head(id).get());
        // Another message tells this node of what others wrote.
        for at in 0..self.conversations.len() {
            let id = self.conversations[at].id;
            for client in 0..CLIENTS {
                self.clients[client].want_to_send(id, &mut self.random);
            }
        }
        self.come_to_rest();
        self.check_everybody_saw(|this, id| this.store.own_head(id).get());
        if self.has_rivals {
            // Where only those may write of whom this node has not heard, nothing told it.
            self.workers.clear();
            self.store.crash();
            self.start();
            self.come_to_rest();
        }
        for at in 0..self.conversations.len() {
            let id = self.conversations[at].id;
            self.clients.iter_mut().for_each(|client| client.join(id, 50));
            self.come_to_rest();
        }
        self.check_everybody_saw(|this, id| this.oracle.head(id));
        self.check_members_joined();
        self.check_counts();
        self.oracle.check_acknowledged();
    }

    fn check_members_joined(&mut self) {
        for at in 0..self.conversations.len() {
            let id = self.conversations[at].id;
            let head = self.oracle.head(id);
            for client in &self.clients {
                let is_member = self.oracle.is_member(id, &client.user, head);
                assert_eq!(client.next_seq(id).is_some(), is_member, "{} joins {id} exactly as a member", client.user);
            }
        }
    }
}

/// Small where that makes a limit be reached.
fn limits(random: &mut fastrand::Rng) -> Limits {
    Limits {
        max_in_flight: random.usize(3..=8),
        max_outbox_bytes: random.usize(100_000..=200_000),
        recovery_limit: random.usize(30..=100),
        messages_per_second: 0,
        actions_per_second: 0,
        invite_attempts_per_minute: 0,
        max_errors_per_minute: OFF,
        ..Limits::default()
    }
}

fn user(index: usize) -> UserId {
    UserId::parse(USERS[index]).expect("valid")
}

/// The seeds to run: as many as the test has, or as the environment says.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("PARLOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PARLOR_SIM_SEEDS").unwrap_or(count),
    }
}

/// What a simulation must have come across to be worth anything, as series of the metrics.
const SIGHTS: [&str; 7] = [
    "parlor_recoveries_total",
    "parlor_duplicates_total",
    "parlor_pauses_total",
    "parlor_errors_total{code=\"unavailable\"}",
    "parlor_errors_total{code=\"not_found\"}",
    "parlor_errors_total{code=\"conflict\"}",
    "parlor_closes_total{code=\"4003\"}",
];

#[test]
fn the_promises_hold_whatever_store_and_network_do() {
    let mut seen = [0; SIGHTS.len()];
    for seed in seeds(SEEDS) {
        let run = || {
            let mut simulation = Simulation::new(seed, Honesty::Honest);
            simulation.run();
            simulation.shared.metrics.render(None)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(metrics) => {
                for (sum, sight) in seen.iter_mut().zip(SIGHTS) {
                    let count = metrics.lines().find_map(|line| line.strip_prefix(sight)).expect("a series");
                    *sum += count.trim().parse::<u64>().expect("a number");
                }
            }
            Err(panic) => {
                eprintln!("failed with PARLOR_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{:?}", SIGHTS.iter().zip(seen).collect::<Vec<_>>());
    assert!(seeds(SEEDS).count() < 100 || seen.iter().all(|&count| count > 0), "not all is simulated: {SIGHTS:?}, {seen:?}");
}

/// Everybody is there, ann has joined the group of ann and bob, and nothing goes wrong by chance.
fn calm() -> (Simulation, ConversationId, Box<str>) {
    let mut simulation = Simulation::new(1, Honesty::Honest);
    simulation.come_to_rest();
    let Conversation { id, ref code } = simulation.conversations[CHANGEABLE];
    let code = code.clone().expect("a group");
    simulation.clients[0].join(id, 50);
    simulation.come_to_rest();
    (simulation, id, code)
}

#[test]
fn a_message_that_was_stored_without_an_answer_reaches_the_others_unasked() {
    let (mut simulation, id, _) = calm();
    let before = simulation.oracle.head(id);
    simulation.store.set_fate(Some(Fate::OutcomeUnknown));
    simulation.clients[5].want_to_send(id, &mut simulation.random);
    (0..5).for_each(|_| simulation.round());
    simulation.store.set_fate(None);
    simulation.come_to_rest();
    assert_eq!(simulation.oracle.head(id), before + 1);
    assert_eq!(simulation.clients[0].next_seq(id), Some(before + 2));
}

#[test]
fn who_became_a_member_without_an_answer_gets_in_by_asking_again() {
    let (mut simulation, id, code) = calm();
    let before = simulation.oracle.head(id);
    simulation.store.set_fate(Some(Fate::OutcomeUnknown));
    simulation.clients[2].join_group(id, &code);
    (0..5).for_each(|_| simulation.round());
    simulation.store.set_fate(None);
    simulation.come_to_rest();
    simulation.clients[2].join(id, 50);
    simulation.come_to_rest();
    assert_eq!(simulation.clients[0].next_seq(id), Some(before + 2), "ann is told");
    assert_eq!(simulation.clients[2].next_seq(id), Some(before + 2), "cyd is in");
}

#[test]
fn a_store_that_acknowledges_before_it_syncs_is_found_out() {
    let is_caught = |seed| catch_unwind(|| Simulation::new(seed, Honesty::ForgetsSynced).run()).is_err();
    assert!((0..SEEDS).any(is_caught));
}
