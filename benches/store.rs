//! What a stored message costs, and how long a durable append takes: `cargo bench --bench store [saturate|paced]
//! [memory|sqlite|postgres]`.
//!
//! `saturate` keeps a number of appends under way, over 500 conversations of two, each with a client message id, and reports the
//! process's CPU time for each. `paced` sends 6,000 a second over 50 conversations on schedule, whatever comes back, and
//! reports the latency from the intended send. PostgreSQL is a server of `scripts/postgres`, whose own CPU time is not counted. `SECONDS` (10), `MESSAGES` (400000) and `DIRECTORY` change the run.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parlor::protocol::{ConversationId, ConversationKind, MessageId, UnixMillis, UserId};
use parlor::store::{
    DatabaseServer, MemoryStore, NewConversation, NewMessage, PostgresStore, SchemaName, ServerUrl, SqliteStore, Store,
    StoreLimits,
};

#[path = "../tests/it/support/cluster.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod cluster;

/// Linux counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let chosen = |name: &str, all: &[&str]| {
        arguments.iter().any(|argument| argument == name) || !arguments.iter().any(|argument| all.contains(&argument.as_str()))
    };
    let (runs, stores) = (["saturate", "paced"], ["memory", "sqlite", "postgres"]);
    for store_name in stores.into_iter().filter(|name| chosen(name, &stores)) {
        for run in runs.into_iter().filter(|name| chosen(name, &runs)) {
            let directory = tempfile::tempdir_in(setting("DIRECTORY", std::env::temp_dir())).expect("a directory");
            let store: Box<dyn Store> = match store_name {
                "memory" => Box::new(MemoryStore::new()),
                "postgres" => Box::new(PostgresStore::open(database_server(), StoreLimits::default()).expect("opens")),
                _ => Box::new(SqliteStore::open(&directory.path().join("bench.db"), StoreLimits::default()).expect("opens")),
            };
            let conversations = create(&*store, if run == "paced" { 50 } else { 500 });
            match run {
                "paced" => paced(store_name, &*store, &conversations),
                _ => saturate(store_name, &*store, &conversations),
            }
            let closing = Instant::now();
            drop(store);
            let files = directory.path().read_dir().expect("listed").flatten();
            let bytes: u64 = files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
            println!("{store_name:>8} closed in {:.0?}, {} MiB of files", closing.elapsed(), bytes >> 20);
        }
    }
}

fn database_server() -> DatabaseServer {
    DatabaseServer {
        url: ServerUrl::parse(&format!("{}?sslmode=disable", cluster::shared_url())).expect("a URL"),
        schema: SchemaName::parse(&cluster::fresh_schema()).expect("a name"),
        allow_unsafe: false,
        connections: 4,
        writers: 1,
        timeout: Duration::from_secs(5),
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// User and system time of the process so far, from proc(5).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("a command name in brackets").split(' ').collect();
    let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
    TICK * ticks
}

fn create(store: &dyn Store, count: u64) -> Vec<ConversationId> {
    let (done, created) = channel();
    for number in 0..count {
        let done = done.clone();
        let new = NewConversation {
            // What divides conversations among threads and connections is the random end of their ids.
            id: ConversationId::new_v7(Duration::from_millis(number), [(number.wrapping_mul(0x9E37_79B9) >> 8) as u8; 10]),
            kind: ConversationKind::Group,
            title: "".into(),
            creator: member(number, 0),
            members: vec![member(number, 0), member(number, 1)],
            invite: None,
            created_at: UnixMillis::new(number),
        };
        store.create_conversation(new, Box::new(move |outcome| done.send((number, outcome)).expect("waits")));
    }
    let mut all: Vec<_> = (0..count).map(|_| created.recv().expect("answers")).collect();
    // Different conversations may be answered in any order.
    all.sort_unstable_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, outcome)| outcome.expect("created").conversation).collect()
}

fn member(conversation: u64, side: u64) -> UserId {
    UserId::parse(&format!("auth0|{:016x}{side:08x}", conversation.wrapping_mul(0x9E37_79B9_7F4A_7C15))).expect("a user id")
}

/// A client message id as `crypto.randomUUID()` makes it: 36 characters without order.
fn client_id(number: u64) -> Box<str> {
    let mixed = (number + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(29).wrapping_mul(0x94D0_49BB_1331_11EB);
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{number:012x}", mixed >> 32, mixed >> 16 & 0xFFFF, mixed >> 4 & 0xFFF, mixed & 0xFFF)
        .into()
}

fn message(conversations: &[ConversationId], number: u64) -> NewMessage {
    let index = number % conversations.len() as u64;
    NewMessage {
        id: MessageId::new_v7(Duration::from_millis(number), [3; 10]),
        conversation: conversations[index as usize],
        sender: member(index, number / conversations.len() as u64 % 2),
        sender_name: Arc::from("Somebody Else"),
        content: "A message of about the length that people write, give or take.".into(),
        client_message_id: Some(client_id(number)),
        reply_to: None,
        created_at: UnixMillis::new(1_795_512_600_000 + number / 6),
    }
}

fn append(store: &dyn Store, message: NewMessage, due: Instant, answered: &Sender<Duration>) {
    let answered = answered.clone();
    let done = move |outcome: Result<_, _>| {
        outcome.expect("stored");
        answered.send(due.elapsed()).expect("waits");
    };
    store.append_message(message, Box::new(done));
}

fn saturate(name: &str, store: &dyn Store, conversations: &[ConversationId]) {
    let messages: u64 = setting("MESSAGES", 400_000);
    let under_way: u64 = setting("UNDER_WAY", 1_000);
    let (answered, answers) = channel();
    let mut latencies = Vec::with_capacity(messages as usize);
    let (started, cpu) = (Instant::now(), cpu_time());
    for number in 0..messages {
        if number >= under_way {
            latencies.push(answers.recv().expect("answers"));
        }
        append(store, message(conversations, number), Instant::now(), &answered);
    }
    latencies.extend((0..under_way.min(messages)).map(|_| answers.recv().expect("answers")));
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    let each = cpu.as_secs_f64() * 1e6 / messages as f64;
    let rate = messages as f64 / elapsed.as_secs_f64();
    println!("{name:>8} saturated: {each:.2} us CPU for each of {messages} messages, {rate:.0} a second, {}", summary(latencies));
}

fn paced(name: &str, store: &dyn Store, conversations: &[ConversationId]) {
    let (rate, seconds): (u64, u64) = (setting("RATE", 6_000), setting("SECONDS", 10));
    let (answered, answers): (_, Receiver<Duration>) = channel();
    let (started, cpu) = (Instant::now(), cpu_time());
    let mut late = Duration::ZERO;
    for number in 0..rate * seconds {
        let due = started + Duration::from_nanos(number * 1_000_000_000 / rate);
        let wait = due.saturating_duration_since(Instant::now());
        // Sleeps are somewhat longer than asked for; sending a few at once is closer to what sockets do than spinning.
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        late = late.max(due.elapsed());
        append(store, message(conversations, number), due, &answered);
    }
    let latencies: Vec<_> = (0..rate * seconds).map(|_| answers.recv().expect("answers")).collect();
    let each = (cpu_time() - cpu).as_secs_f64() * 1e6 / (rate * seconds) as f64;
    println!(
        "{name:>8} paced at {rate} a second: {each:.2} us CPU each, sender late by at most {late:.1?}, {}",
        summary(latencies)
    );
}

fn summary(mut latencies: Vec<Duration>) -> String {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    format!("latency p50 {:.2?} p99 {:.2?} p99.9 {:.2?} max {:.2?}", at(0.5), at(0.99), at(0.999), at(1.0))
}
