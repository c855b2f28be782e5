//! Arguments of `loadgen run`, and the plan that they become.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::conduct::VoidLimits;
use super::machine;
use super::plan::{Plan, Sizes};
use super::process;
use super::scenario::Scenario;
use super::team::Spread;
use crate::fault::Fault;
use crate::raw::cli::Endpoint;

/// Local ports that one source address safely has, with Linux's default range, when all that use them may come twice in a minute.
const CONNECTIONS_PER_SOURCE: u32 = 12_000;

/// Where the server is, who the people are, and what they do. Shared by `run` and `find-max`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadOptions {
    /// Where the server is: ws://HOST:PORT/PATH, with an IPv4 address or localhost for HOST
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: Endpoint,
    /// What people do
    #[arg(long, value_enum, default_value_t = Scenario::Chat)]
    pub(crate) scenario: Scenario,
    /// How many people, each with one connection
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: u32,
    /// Members of a conversation, or several sizes with weights, like 2:60,8:30,50:10 [default: by scenario]
    #[arg(long, value_name = "SIZES")]
    pub(crate) group_size: Option<Sizes>,
    /// In how many conversations each person is
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) memberships: u32,
    /// Each sender waits for the reply before sending again. Says how much the server can take, not how long people wait
    #[arg(long)]
    pub(crate) closed_loop: bool,
    /// Characters of each message
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) content_chars: u32,
    /// Same seed, same choices: who writes when, to whom, and who goes away
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Time before the measured window, in which the traffic goes on already; storms have none
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    pub(crate) warmup: Duration,
    /// Longest wait at the end for what is still under way
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_time)]
    pub(crate) drain: Duration,
    /// Connects a second while everybody arrives, before the traffic
    #[arg(long, value_name = "N", default_value_t = 1_000.0, value_parser = parse_rate)]
    pub(crate) connect_rate: f64,
    /// Connections of one worker being set up at the same time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connecting: u32,
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,
    /// Processes to use: more where one may not open enough files
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) processes: u32,
    /// Threads of each process [default: half of the cores, at least one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: Option<u32>,
    /// Loopback addresses to connect from, 127.0.0.1 and up; each has ports for some 28,000 connections [default: as needed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=250))]
    pub(crate) source_addresses: Option<u32>,
    /// The server's process on this machine: adds its processor time and memory to the results
    #[arg(long, value_name = "PID", value_parser = parse_pid)]
    pub(crate) server_pid: Option<u32>,
    /// The run is void when 99 % of what the tester had to do was done later than this
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = parse_time)]
    pub(crate) max_lag: Duration,
    /// The run is void when the tester's busiest thread used more of a core than this
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = parse_share)]
    pub(crate) max_generator_cpu: f64,
    /// Show nothing while it runs
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// How the people prove who they are. Without any of these, tokens are fetched from the server, which `serve --dev` allows.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Who the people are")]
pub(crate) struct IdentityOptions {
    /// Tokens, one a line, each of another user (`parlor token --sub u --count N` makes some)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["jwt_secret", "jwt_secret_file"])]
    pub(crate) tokens: Option<PathBuf>,
    /// The server's HS256 secret, to sign tokens with. Others on this machine can see it: prefer the file or the variable
    #[arg(long, value_name = "SECRET", env = "PARLOR_JWT_SECRET", hide_env_values = true, conflicts_with = "jwt_secret_file")]
    pub(crate) jwt_secret: Option<String>,
    /// A file with the server's HS256 secret
    #[arg(long, value_name = "FILE", env = "PARLOR_JWT_SECRET_FILE")]
    pub(crate) jwt_secret_file: Option<PathBuf>,
    /// `iss` of signed tokens
    #[arg(long, value_name = "URL", env = "PARLOR_JWT_ISSUER")]
    pub(crate) jwt_issuer: Option<String>,
    /// `aud` of signed tokens
    #[arg(long, value_name = "NAME", env = "PARLOR_JWT_AUDIENCE")]
    pub(crate) jwt_audience: Option<String>,
    /// Users are called this and a number
    #[arg(long, value_name = "TEXT", default_value = "load-")]
    pub(crate) user_prefix: String,
}

impl LoadOptions {
    /// The plan of a run at `rate` messages a second (`None`: as the scenario has it) for so long.
    pub(crate) fn plan(&self, rate: Option<f64>, duration: Duration) -> Arc<Plan> {
        let scenario = self.scenario;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let loopback = self.url.address.ip().is_loopback();
        let sources =
            self.source_addresses.unwrap_or(if loopback { self.clients.div_ceil(CONNECTIONS_PER_SOURCE).min(250) } else { 1 });
        Arc::new(Plan {
            address: self.url.address,
            path: self.url.path.clone(),
            scenario,
            behaviour: scenario.behaviour(),
            people: self.clients,
            sizes: self.group_size.clone().unwrap_or_else(|| scenario.sizes()),
            memberships: self.memberships,
            rate: rate.or_else(|| scenario.rate(self.clients)),
            closed_loop: self.closed_loop,
            content_chars: self.content_chars,
            connect_rate: self.connect_rate,
            connecting: self.connecting,
            seed: self.seed,
            run: format!("{begun:x}"),
            warmup_ns: self.warmup.as_nanos() as u64,
            duration_ns: duration.as_nanos() as u64,
            drain_ns: self.drain.as_nanos() as u64,
            sources,
        })
    }

    /// How many processes and threads it takes.
    pub(crate) fn spread(&self) -> Spread {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        Spread { processes: self.processes, workers: self.workers.unwrap_or((cores / 2 / self.processes).max(1)) }
    }

    /// Whether as many connections can be opened; says what to do where not.
    pub(crate) fn check_limits(&self) -> Result<(), Fault> {
        machine::allow_connections(self.clients.div_ceil(self.processes))
    }

    /// Whether the server's process can be watched; remarks when another one is what listens where the server should.
    pub(crate) fn check_server(&self) -> Result<(), Fault> {
        let Some(pid) = self.server_pid else { return Ok(()) };
        if let Some(remark) = process::check(pid, self.url.address)? {
            eprintln!("loadgen: note: {remark}");
        }
        Ok(())
    }

    /// When the tester is the bottleneck.
    pub(crate) fn void_limits(&self) -> VoidLimits {
        VoidLimits { max_lag: self.max_lag, max_cpu: self.max_generator_cpu }
    }

    /// The URL as text.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}{}", self.url.address, self.url.path)
    }
}

/// The command line as it was given, but for secrets.
pub(crate) fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut hide = false;
    let shown = arguments.map(|argument| {
        if std::mem::replace(&mut hide, argument == "--jwt-secret") {
            return "***".to_owned();
        }
        match argument.split_once('=') {
            Some(("--jwt-secret", _)) => "--jwt-secret=***".to_owned(),
            _ if argument.contains([' ', '<', '>', '\'', '*']) => format!("'{}'", argument.replace('\'', r"'\''")),
            _ => argument,
        }
    });
    let mut words: Vec<String> = shown.collect();
    if let Some(program) = words.first_mut() {
        *program = "loadgen".to_owned();
    }
    words.join(" ")
}

/// `10s`, `500ms`, `2m`, `1h`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let wanted = || format!("'{text}': a time is a number and a unit, like 500ms, 10s, 2m or 1h");
    let at = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wanted)?;
    let number: f64 = text[..at].trim().parse().map_err(|_| wanted())?;
    let seconds = match &text[at..] {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(wanted()),
    };
    if (0.0..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("0 to 24 hours".to_owned()) }
}

/// A number a second.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number a second is wanted".to_owned())?;
    if (0.01..=10_000_000.0).contains(&rate) { Ok(rate) } else { Err("0.01 to 10,000,000 a second".to_owned()) }
}

/// The id of a process, as `pgrep` prints it.
fn parse_pid(text: &str) -> Result<u32, String> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [] => {
            Err("no process is named; if a command was to name it, it found none: is the server running on this machine?"
                .to_owned())
        }
        [one] => one.parse().ok().filter(|pid| *pid > 0).ok_or_else(|| "a process id is a number, such as 4711".to_owned()),
        [_, _, ..] => Err("several processes are named; pgrep -n names the newest only".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "a share of a core, like 0.9".to_owned())?;
    if (0.01..=1.0).contains(&share) { Ok(share) } else { Err("0.01 to 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["10", "s", "10d", "-1s", "25h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_is_one_number() {
        assert_eq!(parse_pid("4711\n"), Ok(4711));
        for (text, said) in
            [("", "found none"), ("1\n2", "several"), ("parlor", "is a number"), ("-1", "is a number"), ("0", "is a number")]
        {
            assert!(parse_pid(text).unwrap_err().contains(said), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        let given = ["/x/loadgen", "run", "--jwt-secret", "hunter2", "--threshold", "ack:p99<25ms", "--jwt-secret=x"];
        let shown = command_line(given.into_iter().map(str::to_owned));
        assert_eq!(shown, "loadgen run --jwt-secret *** --threshold 'ack:p99<25ms' --jwt-secret=***");
    }
}
