//! What a message costs in the steady state, in system calls of the whole server, exactly and by strace's account.
//!
//! The server runs under strace from its start. HTTP requests leave an `accept4` in the trace, which parts the messages that are
//! counted from those before and after.

mod steady;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use steady::{Client, Room, WARM_UP, get, name};
use tempfile::TempDir;

const MESSAGES: usize = 100;

/// How often the count is taken again when it is not as expected. Chance and time only ever add to it: a stall of half a second, say,
/// is a silence in which SQLite folds.
const ATTEMPTS: usize = 3;
/// What is not the same for each message: waits, which end ten times a second by themselves; waking a thread (`futex`, and `write`
/// and `read` for a worker's bell), which is spared when it is awake; memory that the allocator takes or gives back.
const NOT_COUNTED: [&str; 9] =
    ["epoll_pwait", "epoll_pwait2", "epoll_wait", "futex", "madvise", "mmap", "munmap", "read", "write"];

/// How often each call was made.
type Calls = BTreeMap<String, usize>;

/// A server under strace.
struct Traced {
    strace: Child,
    server: Pid,
    address: SocketAddr,
    directory: TempDir,
    has_ended: bool,
}

impl Traced {
    fn start(database: Option<&str>) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let data = directory.path().join("data");
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--quiet=all", "--signal=none", "--output"]).arg(directory.path().join("trace"));
        command.arg(env!("CARGO_BIN_EXE_parlor")).args(["serve", "--dev", "--listen=127.0.0.1:0", "--workers=1"]);
        command.args(["--messages-per-second=0", "--actions-per-second=0", "--ping-interval=0"]);
        command
            .args(database.map(|database| format!("--database={database}")))
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut strace = command.spawn().expect("strace is installed (Debian: apt-get install strace)");
        let mut printed = BufReader::new(strace.stdout.take().expect("piped"));
        let address = loop {
            let mut line = String::new();
            assert!(printed.read_line(&mut line).expect("text") > 0, "strace or the server ended: may processes be traced here?");
            if let Some(address) = address_in(&line) {
                break address;
            }
        };
        // It prints more, which must go somewhere.
        std::thread::spawn(move || printed.read_to_end(&mut Vec::new()));
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id())).expect("Linux");
        let server = children.trim().parse().ok().and_then(Pid::from_raw).expect("strace has one child");
        Self { strace, server, address, directory, has_ended: false }
    }

    fn login(&self, user: usize) -> Client {
        let answer = get(self.address, &format!("/dev/token?sub={}", name(user)));
        let body = answer.split("\r\n\r\n").nth(1).expect("a body");
        let token: serde_json::Value = serde_json::from_str(body).expect("JSON");
        Client::login(self.address, token["token"].as_str().expect("a token"))
    }

    /// Ends the server: what its threads other than the first, which serves HTTP, called between each HTTP request and the next.
    fn finish(mut self) -> Vec<Calls> {
        self.end();
        let trace = std::fs::read_to_string(self.directory.path().join("trace")).expect("a trace");
        let first_thread = self.server.as_raw_pid().to_string();
        let mut windows = vec![Calls::new()];
        for line in trace.lines() {
            if line.contains("accept4") && line.contains("sin_port") {
                windows.push(Calls::new());
            }
            // `1234 sendto(7, …) = 99`. What another thread's line broke in two ends with `<... sendto resumed>`, which is no call.
            let mut words = line.split_whitespace();
            let (thread, call) = (words.next(), words.next().and_then(|word| word.split_once('(')));
            if let Some((call, _)) = call.filter(|_| thread != Some(&first_thread)) {
                *windows.last_mut().expect("one at least").entry(call.to_owned()).or_default() += 1;
            }
        }
        windows
    }
}

impl Traced {
    /// Ends the server, and with it strace, which then has written everything.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            kill_process(self.server, Signal::TERM).expect("it runs");
            self.strace.wait().expect("it ends");
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.end();
    }
}

/// Of the first line that the server prints.
fn address_in(line: &str) -> Option<SocketAddr> {
    let from = line.split("ws://").nth(1)?;
    from.split(|c: char| c.is_whitespace() || c == '/').next()?.parse().ok()
}

/// What [`MESSAGES`] messages make the server call in a room of so many, without what is [`NOT_COUNTED`].
fn calls(database: Option<&str>, receivers: usize) -> Calls {
    let server = Traced::start(database);
    let mut room = Room::open((0..receivers).map(|user| server.login(user)).collect());
    let (warm_up, messages) = (room.write(WARM_UP), room.write(MESSAGES));
    warm_up.iter().for_each(|message| room.send(message));
    get(server.address, "/healthz");
    messages.iter().for_each(|message| room.send(message));
    get(server.address, "/healthz");
    let mut windows = server.finish();
    // The last one holds the server's end.
    let mut counted = windows.remove(windows.len() - 2);
    println!("{database:?}, {receivers} receivers, {MESSAGES} messages: {counted:?}");
    counted.retain(|call, _| !NOT_COUNTED.contains(&call.as_str()));
    counted
}

fn assert_calls(database: Option<&str>, receivers: usize, expected: &[(&str, usize)]) {
    let expected: Calls = expected.iter().map(|&(call, count)| (call.to_owned(), count)).collect();
    let mut attempts = Vec::new();
    while attempts.len() < ATTEMPTS && attempts.last() != Some(&expected) {
        attempts.push(calls(database, receivers));
    }
    assert_eq!(attempts.last(), Some(&expected), "in a room of {receivers}: {attempts:?}");
}

#[test]
fn a_message_is_one_read_and_a_delivery_one_send() {
    for receivers in [4, 20] {
        assert_calls(Some("memory:"), receivers, &[("recvfrom", MESSAGES), ("sendto", receivers * MESSAGES)]);
    }
}

#[test]
fn a_durable_message_that_comes_alone_is_one_sync_more_and_the_same_for_any_number_of_receivers() {
    for receivers in [4, 20] {
        // A commit writes the page of the journal that it adds to, in two calls: a frame's header and the page. A page that is full
        // makes it write another one and their parent. SQLite's locks in the index of its log are six calls.
        let sqlite = [("fcntl", 6 * MESSAGES), ("fsync", MESSAGES), ("pwrite64", 212)];
        let sockets = [("recvfrom", MESSAGES), ("sendto", receivers * MESSAGES)];
        assert_calls(None, receivers, &[&sqlite[..], &sockets[..]].concat());
    }
}
