//! What a message costs in the steady state, exactly: so many allocations for itself and none for a receiver; one read, and one
//! write for each receiver.
//!
//! A binary of its own, because it counts the allocations of the whole process. The server runs in it, with one worker.

mod steady;

use std::alloc::System;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::channel;

use clap::Parser;
use parlor::cli::{Cli, Command};
use parlor::config::Config;
use parlor::protocol::UserId;
use parlor::server::Server;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use steady::{Client, DEADLINE, Room, WARM_UP, get, name};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: usize = 200;
/// What one message allocates, however many receive it.
const ALLOCATIONS: usize = 9;

/// A server in this process, and how to end it.
struct InProcess {
    address: SocketAddr,
    tokens: Vec<String>,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl InProcess {
    /// Starts it with a token for each of so many users.
    fn start(users: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (started, start) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let data = directory.path().to_str().expect("a temporary path in UTF-8");
            let unlimited = ["--messages-per-second=0", "--actions-per-second=0", "--ping-interval=0"];
            let flags = ["parlor", "serve", "--dev", "--listen=127.0.0.1:0", "--workers=1", "--database=memory:", "--data", data];
            let Command::Serve(args) = Cli::parse_from(flags.iter().chain(&unlimited)).command else { panic!("not serve") };
            let config = Config::from_args(&args).expect("a good configuration");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            runtime.expect("a runtime").block_on(async {
                let server = Server::start(&config).await.expect("it starts");
                let token = |user: String| server.dev_token(&UserId::parse(&user).expect("an id"), &user).expect("--dev");
                let tokens = (0..users).map(|user| token(name(user))).collect();
                started.send((server.address(), tokens)).expect("the test waits");
                let stopped = async { drop(stopped.await) };
                server.run(stopped).await;
            });
        });
        let (address, tokens) = start.recv_timeout(DEADLINE).expect("it starts");
        Self { address, tokens, stop, thread }
    }

    fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.thread.join().expect("it ends");
    }

    /// The value of a counter. Nothing of a room happens meanwhile.
    fn metric(&self, name: &str) -> u64 {
        let text = get(self.address, "/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

/// What [`MESSAGES`] messages cost in a room of so many connections, each of a user of its own.
#[derive(Debug)]
struct Cost {
    receivers: usize,
    /// For each message.
    allocations: Vec<usize>,
    reads: u64,
    writes: u64,
    /// The same where all come at once.
    writes_in_burst: u64,
}

impl Cost {
    fn of(receivers: usize) -> Self {
        let server = InProcess::start(receivers);
        let clients = server.tokens.iter().map(|token| Client::login(server.address, token)).collect();
        let mut room = Room::open(clients);
        let (warm_up, messages, burst) = (room.write(WARM_UP), room.write(MESSAGES), room.write(MESSAGES).concat());
        warm_up.iter().for_each(|message| room.send(message));

        let counted = || ["reads", "writes", "deliveries"].map(|name| server.metric(&format!("parlor_{name}_total")));
        let before = counted();
        let mut allocations = vec![0; MESSAGES];
        for (message, allocations) in messages.iter().zip(&mut allocations) {
            let region = Region::new(ALLOCATOR);
            room.send(message);
            *allocations = region.change().allocations;
        }
        let lock_step = counted();
        room.clients[0].stream.write_all(&burst).expect("it reads");
        room.clients.iter_mut().for_each(|client| client.take_messages(MESSAGES));
        let in_burst = counted();

        for (before, after) in [(before, lock_step), (lock_step, in_burst)] {
            assert_eq!(after[2] - before[2], (receivers * MESSAGES) as u64);
        }
        drop(room);
        server.stop();
        let (reads, writes) = (lock_step[0] - before[0], lock_step[1] - before[1]);
        Self { receivers, allocations, reads, writes, writes_in_burst: in_burst[1] - lock_step[1] }
    }

    /// Most messages cost the same. Some cost more: queues and logs grow by many places at a time, and ten times a second the
    /// worker looks after what time brought.
    fn allocations_of_a_message(&self) -> usize {
        let mut sorted = self.allocations.clone();
        sorted.sort_unstable();
        sorted[MESSAGES / 2]
    }
}

#[test]
fn a_message_costs_a_fixed_number_of_allocations_and_a_delivery_none_but_one_write() {
    let (few, many) = (Cost::of(4), Cost::of(64));
    println!("{few:?}\n{many:?}");
    for cost in [&few, &many] {
        assert_eq!(cost.allocations_of_a_message(), ALLOCATIONS, "whatever the number of receivers: {cost:?}");
        // The sender's frame; and what its reply and all receivers' events are written with.
        assert_eq!(cost.reads, MESSAGES as u64, "{cost:?}");
        assert_eq!(cost.writes, (cost.receivers * MESSAGES) as u64, "{cost:?}");
        assert!(cost.writes_in_burst < cost.writes, "{cost:?}");
    }
}
