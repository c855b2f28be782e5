//! PostgreSQL servers for tests, from `scripts/postgres`: one that the tests of a process share, and others to be ended.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::super::super::{DatabaseServer, SchemaName, ServerUrl};

/// A server that goes when this is dropped or the process ends: it runs as long as its standard input is open.
pub(super) struct Cluster {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    pub(super) url: String,
    pub(super) authority: String,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let spawned = Command::new(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let commands = child.stdin.take();
        let mut cluster = Self { child, commands, answers, url: String::new(), authority: String::new() };
        cluster.read_to_ready();
        cluster
    }

    fn read_to_ready(&mut self) {
        loop {
            let line = self.answers.next().expect("no PostgreSQL for the tests: see what scripts/postgres said above");
            let line = line.expect("text");
            match line.split_once(' ') {
                Some(("url", url)) => self.url = url.to_owned(),
                Some(("ca", path)) => self.authority = path.to_owned(),
                Some(_) => {}
                None => return assert_eq!(line, "ready"),
            }
        }
    }

    /// Gives it one of the script's commands and waits until it is done.
    pub(super) fn command(&mut self, command: &str) {
        writeln!(self.commands.as_mut().expect("open until dropped"), "{command}").expect("the script listens");
        self.read_to_ready();
    }

    /// Options for a schema that nobody else has.
    pub(super) fn server(&self) -> DatabaseServer {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let schema = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        DatabaseServer {
            url: ServerUrl::parse(&format!("{}?sslmode=disable", self.url)).expect("a URL"),
            schema: SchemaName::parse(&schema).expect("a name"),
            allow_unsafe: false,
            connections: 2,
            timeout: Duration::from_secs(20),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.commands = None;
        self.child.wait().expect("the script ends by itself");
    }
}

/// The server that all tests of this process share, each with a schema of its own.
pub(super) fn shared() -> &'static SharedCluster {
    static SHARED: OnceLock<SharedCluster> = OnceLock::new();
    SHARED.get_or_init(|| SharedCluster(std::sync::Mutex::new(Cluster::start())))
}

pub(super) struct SharedCluster(std::sync::Mutex<Cluster>);

impl SharedCluster {
    pub(super) fn server(&self) -> DatabaseServer {
        self.0.lock().expect("no test panics here").server()
    }
}
