//! PostgreSQL servers for tests, from `scripts/postgres`: one that the tests of a process share, and others to be ended. The unit
//! tests of the store use this file too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server that goes when this is dropped or the process ends: it runs as long as its standard input is open.
pub(crate) struct Cluster {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    url: String,
    authority: String,
}

impl Cluster {
    pub(crate) fn start() -> Self {
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
            let line = self.answers.next().expect("no PostgreSQL for the tests: see what scripts/postgres said");
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
    pub(crate) fn command(&mut self, command: &str) {
        writeln!(self.commands.as_mut().expect("open until dropped"), "{command}").expect("the script listens");
        self.read_to_ready();
    }

    /// Its URL, with the superuser's password and no options.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The file with the certificate of the authority that signed the server's, which is for `localhost`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.commands = None;
        self.child.wait().expect("the script ends by itself");
    }
}

/// The URL of the server that all tests of this process share, each with a schema of its own. It is not to be ended.
pub(crate) fn shared_url() -> &'static str {
    static SHARED: OnceLock<(String, std::sync::Mutex<Cluster>)> = OnceLock::new();
    let start = || {
        let cluster = Cluster::start();
        (cluster.url().to_owned(), std::sync::Mutex::new(cluster))
    };
    &SHARED.get_or_init(start).0
}

/// The name of a schema that nobody else has.
pub(crate) fn fresh_schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
