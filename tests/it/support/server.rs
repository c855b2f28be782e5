//! The server under test, as a child process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use super::{cluster, token, within};

/// Rates that no test runs into by accident; the tests about them set their own.
const DEFAULTS: [(&str, &str); 11] = [
    ("--listen", "127.0.0.1:0"),
    // Two, on any machine, so that what crosses from worker to worker is exercised.
    ("--workers", "2"),
    ("--messages-per-second", "0"),
    ("--actions-per-second", "0"),
    ("--invite-attempts-per-minute", "0"),
    ("--creations-per-minute", "0"),
    ("--max-errors-per-minute", "0"),
    ("--max-rate-limited-per-minute", "0"),
    ("--max-pings-per-minute", "0"),
    ("--max-connections-per-user", "0"),
    ("--drain-time", "10s"),
];

/// Whether this run is about servers on PostgreSQL, where a test does not say otherwise: `PARLOR_TEST_DATABASE=postgres`.
pub(crate) fn is_on_postgres() -> bool {
    match std::env::var("PARLOR_TEST_DATABASE").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("PARLOR_TEST_DATABASE is {other:?}, neither sqlite nor postgres"),
    }
}

/// A running `parlor serve`. Dropping it ends the process and, when the test fails, shows what the server said.
pub(crate) struct Server {
    directory: TempDir,
    flags: Vec<(String, String)>,
    ulimit: Option<u32>,
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Starts a server with the given flags in place of or beside [`DEFAULTS`].
    pub(crate) async fn start(flags: &[(&str, &str)]) -> Self {
        Self::start_limited(flags, None).await
    }

    /// The same under `ulimit -n`.
    pub(crate) async fn start_limited(flags: &[(&str, &str)], ulimit: Option<u32>) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        write_secret(&directory.path().join("secret"), token::SECRET);
        let mut all: Vec<(String, String)> = DEFAULTS.iter().map(owned).collect();
        all.push(owned(&("--data", path_text(&directory.path().join("data")))));
        all.push(owned(&("--jwt-secret-file", path_text(&directory.path().join("secret")))));
        for flag in flags {
            // A flag given twice is a usage error, so the test's own value takes the default's place.
            all.retain(|(name, _)| name != flag.0);
            all.push(owned(flag));
        }
        if is_on_postgres() && !all.iter().any(|(name, _)| name == "--database") {
            all.push(owned(&("--database", cluster::shared_url())));
            all.push(owned(&("--database-schema", &cluster::fresh_schema())));
        }
        let (process, address) = launch(&all, ulimit).await;
        Self { directory, flags: all, ulimit, process, address }
    }

    /// Starts it again on the same data, after it ended. The port is another one.
    pub(crate) async fn restart(&mut self) {
        self.wait().await;
        (self.process, self.address) = launch(&self.flags, self.ulimit).await;
    }

    /// The same on the same port, as a client that comes back expects.
    pub(crate) async fn restart_in_place(&mut self) {
        self.flags.retain(|(name, _)| name != "--listen");
        self.flags.push(("--listen".to_owned(), self.address.to_string()));
        self.restart().await;
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory that the test and its server share.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// SIGKILL, as a power cut would end it.
    pub(crate) fn kill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// SIGTERM, as an operator would end it.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// SIGSTOP: the kernel goes on, the server does not.
    pub(crate) fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Waits for the process to end by itself: its exit code, or `None` if a signal ended it.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        let status = within("the server to end", self.process.exit.wait_for(Option::is_some)).await;
        let status = (*status.expect("the waiting thread reports")).expect("waited for Some");
        assert!(status.code().is_some() || status.signal().is_some());
        status.code()
    }

    /// Resident memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a live process");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr.lock().expect("no reader panicked").join("\n")
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process.exit.borrow().is_none()
    }
}

/// `parlor serve --dev`: no secret, no tokens of ours, everything as a newcomer gets it.
pub(crate) struct Development {
    directory: TempDir,
    process: Process,
    address: SocketAddr,
    printed: Vec<String>,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Development {
    /// Starts it on a directory of its own.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data", path_text(&directory.path().join("data"))]);
        let (process, mut lines) = spawn(command);
        let (printed, address) = within("the server's URL on stdout", read_to_address(&mut lines)).await;
        let address = address.expect("the development mode starts");
        Self { directory, process, address, printed, lines }
    }

    /// Where it keeps what it writes.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A raw connection to it.
    pub(crate) async fn connect(&self) -> super::Raw {
        super::Raw::open(self.address).await
    }

    /// All that it prints when it starts.
    pub(crate) async fn printed(&mut self) -> &[String] {
        // Its last line says how to stop it.
        while !self.printed.iter().any(|line| line.contains("Ctrl-C")) {
            let line = within("the last line that is printed", self.lines.recv()).await;
            self.printed.push(line.unwrap_or_else(|| panic!("it ended: {:?}", self.process.exit.borrow())));
        }
        &self.printed
    }

    /// The tokens among it, before or after its URL.
    pub(crate) async fn tokens(&mut self) -> Vec<String> {
        let words = self.printed().await.iter().flat_map(|line| line.split_whitespace());
        let words = words.map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-'));
        words.filter(|word| word.starts_with("eyJ") && word.split('.').count() == 3).map(str::to_owned).collect()
    }
}

/// Runs `parlor` with `arguments` until it ends, for commands that end by themselves.
pub(crate) async fn run_to_exit(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.args(arguments).stdin(Stdio::null()).env_clear();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let pid = child.id();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    match tokio::time::timeout(super::DEADLINE, output).await {
        Ok(output) => output.expect("the waiting thread ends").expect("the child can be waited for"),
        Err(_) => {
            send_signal(pid, Signal::KILL);
            panic!("parlor {arguments:?} does not end by itself");
        }
    }
}

/// Writes a secret as a careful operator would: readable by its owner only.
pub(crate) fn write_secret(path: &Path, secret: &str) {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(secret.as_bytes())).expect("the secret can be written");
}

struct Process {
    pid: u32,
    exit: watch::Receiver<Option<ExitStatus>>,
    stderr: Arc<Mutex<Vec<String>>>,
    waiter: Option<JoinHandle<()>>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        // Once it was waited for, its id may belong to somebody else.
        if self.exit.borrow().is_none() {
            send_signal(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(waiter) = self.waiter.take() {
            waiter.join().ok();
        }
        if std::thread::panicking() {
            let lines = self.stderr.lock().expect("no reader panicked");
            eprintln!("--- the server's stderr ---\n{}\n---", lines.join("\n"));
        }
    }
}

fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, signal).ok();
}

async fn launch(flags: &[(String, String)], ulimit: Option<u32>) -> (Process, SocketAddr) {
    let binary = env!("CARGO_BIN_EXE_parlor");
    let mut command = match ulimit {
        None => Command::new(binary),
        Some(files) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(binary);
            shell
        }
    };
    command.arg("serve");
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("PARLOR_")) {
        // Flags have variables of their own; a developer's must not change what is tested.
        command.env_remove(variable);
    }
    for (flag, value) in flags {
        command.arg(flag);
        if !value.is_empty() {
            command.arg(value);
        }
    }
    let (process, mut lines) = spawn(command);
    let (_, address) = within("the server's URL on stdout", read_to_address(&mut lines)).await;
    let address = address.unwrap_or_else(|| panic!("the server ended before it listened: {flags:?}"));
    (process, address)
}

/// Reads lines up to the one with the URL; no address when the output ends before.
async fn read_to_address(lines: &mut mpsc::UnboundedReceiver<String>) -> (Vec<String>, Option<SocketAddr>) {
    let mut printed = Vec::new();
    while let Some(line) = lines.recv().await {
        let address = address_in(&line);
        printed.push(line);
        if address.is_some() {
            return (printed, address);
        }
    }
    (printed, None)
}

/// Starts the child with a thread for each of its pipes and one that waits for it, so that no test blocks on any of them.
fn spawn(mut command: Command) -> (Process, mpsc::UnboundedReceiver<String>) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let pid = child.id();
    let stdout = child.stdout.take().expect("piped");
    let errors = child.stderr.take().expect("piped");
    // Bounded by what the server prints.
    let (line_tx, line_rx) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            line_tx.send(line).ok();
        }
    });
    let stderr = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&stderr);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            kept.lock().expect("no reader panicked").push(line);
        }
    });
    let (exit_tx, exit) = watch::channel(None);
    let waiter = std::thread::spawn(move || {
        let status = child.wait().expect("the child can be waited for");
        reader.join().ok();
        exit_tx.send(Some(status)).ok();
    });
    (Process { pid, exit, stderr, waiter: Some(waiter) }, line_rx)
}

/// The address in a line with `ws://127.0.0.1:PORT/ws`.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("ws://")?;
    rest.split_once("/ws")?.0.parse().ok()
}

fn owned(flag: &(&str, &str)) -> (String, String) {
    (flag.0.to_owned(), flag.1.to_owned())
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a temporary path in UTF-8")
}

/// The files below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files_below(&path) } else { vec![path] }
        })
        .collect()
}
