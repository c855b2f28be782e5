//! `loadgen selftest`: proves the verifier. People chat through a proxy that does one thing wrong, and the verifier must say so;
//! through a proxy that does nothing, it must not.

mod faults;
mod host;
pub(crate) mod house;
mod proxy;
mod tamper;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::fault::Fault as CannotRun;
use crate::outcome::{Gate, Outcome};
use crate::people::cli::IdentityOptions;
use crate::people::conduct::{Run, VoidLimits, conduct};
use crate::people::live::Live;
use crate::people::plan::{MILLISECOND, Plan, SECOND, Sizes};
use crate::people::scenario::{Behaviour, Scenario};
use crate::people::team::Spread;
use crate::raw::cli::Endpoint;
use crate::results::gates::Threshold;
use crate::results::table::Table;
use crate::run::{ANSWERED, unanswered};
use crate::say;
use crate::tokens::{self, Token};
use faults::{Expected, Fault};
use tamper::Tamper;

/// How long a run waits at its end for what is under way, and how long where one answer never comes.
const DRAIN_NS: u64 = 10 * SECOND;
const DRAIN_IN_VAIN_NS: u64 = 4 * SECOND;
/// A fault was not caught, or the honest run was blamed.
const EXIT_NOT_CAUGHT: u8 = 1;
/// What shows that everything came late.
const LATENCY_GATE: &str = "delivery:p50<200ms";
/// People of each run, in groups of four.
const PEOPLE: u32 = 12;
/// How often a run is tried: on a machine that is busy with something else people may come to do too little for one fault.
const MAX_TRIES: u64 = 3;
/// How long people chat.
const CHAT: Duration = Duration::from_secs(5);
/// How long where an indicator must get stuck: after its lease comes the verifier's patience. A real server's leases are longer.
const CHAT_PAST_A_LEASE: Duration = Duration::from_secs(10);
const CHAT_PAST_A_REAL_LEASE: Duration = Duration::from_secs(16);

/// Prove the verifier: a proxy that drops, repeats, reorders, delays and alters what the server says, and each fault must be caught
///
/// Without --url it talks to a small server of its own. Exit status: 0 when each fault was caught and the honest run passed, 1 when not,
/// 2 when it could not take place. Takes about twenty seconds.
#[derive(Debug, Args)]
pub(crate) struct SelftestOptions {
    /// A real server to put behind the proxy, such as ws://127.0.0.1:8080/ws
    #[arg(long, value_name = "URL")]
    url: Option<Endpoint>,
    #[command(flatten)]
    identity: IdentityOptions,
}

/// Runs it.
pub(crate) fn run(options: &SelftestOptions) -> Result<ExitCode, CannotRun> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CannotRun::while_doing("a runtime"))?;
    let (server, past_a_lease, all_tokens) = match &options.url {
        Some(url) => {
            let tokens = tokens::obtain(&options.identity, url.address, PEOPLE as usize * Fault::ALL.len())?;
            (url.clone(), CHAT_PAST_A_REAL_LEASE, tokens)
        }
        None => {
            let listener = bind(&runtime)?;
            let address = local(&listener)?;
            runtime.spawn(host::serve(listener));
            (Endpoint { address, path: "/ws".to_owned() }, CHAT_PAST_A_LEASE, tokens::made_up(PEOPLE as usize * Fault::ALL.len()))
        }
    };
    eprintln!("loadgen: {} runs of some seconds each, all at once", Fault::ALL.len());
    let shares = all_tokens.chunks(PEOPLE as usize);
    let outcomes: Vec<(Fault, Result<Tried, CannotRun>)> = std::thread::scope(|scope| {
        let started: Vec<_> = Fault::ALL
            .into_iter()
            .zip(shares)
            .map(|(fault, tokens)| {
                let (runtime, server) = (&runtime, &server);
                let chat = if fault == Fault::StuckTyping { past_a_lease } else { CHAT };
                (fault, scope.spawn(move || until_struck(|seed| try_one(runtime, server, (fault, seed), tokens, chat))))
            })
            .collect();
        started
            .into_iter()
            .map(|(fault, run)| (fault, run.join().unwrap_or_else(|_| Err(CannotRun::new("a run panicked")))))
            .collect()
    });
    let outcomes = outcomes.into_iter().map(|(fault, tried)| Ok((fault, tried?))).collect::<Result<Vec<_>, CannotRun>>()?;
    Ok(if report(&outcomes)? { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_CAUGHT) })
}

/// Prints how each run ended; whether all ended as they must.
fn report(outcomes: &[(Fault, Tried)]) -> Result<bool, CannotRun> {
    let mut table = Table::with_head(&["fault", "found", "at", "verdict"]);
    let mut all_right = true;
    let mut problems = Vec::new();
    for (fault, tried) in outcomes {
        let (fault, problem) = (*fault, problem(*fault, tried));
        all_right &= problem.is_none();
        let details = &tried.outcome.verifier.details;
        let kinds = match fault.expected() {
            Expected::Breach(kinds) => kinds,
            Expected::Nothing | Expected::Late | Expected::Unanswered => &[],
        };
        let found = details.iter().find(|breach| kinds.contains(&breach.kind.as_str())).or(details.first());
        let missed = fault.gate().and_then(|condition| tried.missed(condition));
        let missed = missed.map(|gate| if gate.condition == ANSWERED { "unanswered".to_owned() } else { gate.measured.clone() });
        let what = found.map(|breach| breach.kind.clone()).or(missed);
        table.row([
            fault.name().to_owned(),
            what.unwrap_or_else(|| "nothing".to_owned()),
            found.and_then(|breach| breach.seq).map_or_else(|| "-".to_owned(), |seq| format!("seq {seq}")),
            if problem.is_none() { "as it must be".to_owned() } else { "WRONG".to_owned() },
        ]);
        problems.extend(problem.map(|problem| format!("{}: {problem}", fault.name())));
    }
    let mut lines = table.lines("");
    lines.extend(problems);
    let verdict = match all_right {
        true => "The verifier found every fault, and none where there was none.",
        false => "The verifier cannot be trusted.",
    };
    lines.push(verdict.to_owned());
    say::line(&lines.join("\n"))?;
    Ok(all_right)
}

/// A run through a proxy.
struct Tried {
    outcome: Outcome,
    struck: bool,
}

impl Tried {
    /// The gate of that condition, if it was not met.
    fn missed(&self, condition: &str) -> Option<&Gate> {
        self.outcome.gates.iter().find(|gate| gate.condition == condition && !gate.passed)
    }
}

impl Fault {
    /// The gate that must not be met, where that is how it shows.
    const fn gate(self) -> Option<&'static str> {
        match self.expected() {
            Expected::Late => Some(LATENCY_GATE),
            Expected::Unanswered => Some(ANSWERED),
            Expected::Nothing | Expected::Breach(_) => None,
        }
    }
}

/// What is wrong with how it ended, if anything is.
fn problem(fault: Fault, tried: &Tried) -> Option<String> {
    let found: Vec<&str> = tried.outcome.verifier.details.iter().map(|breach| breach.kind.as_str()).collect();
    if !tried.struck && !found.is_empty() {
        return Some(format!("found {found:?} before the proxy did anything"));
    }
    if !tried.struck {
        return Some("the proxy had no occasion for it".to_owned());
    }
    match (fault.expected(), fault.gate()) {
        (Expected::Breach(kinds), _) if found.iter().any(|kind| kinds.contains(kind)) => None,
        (Expected::Breach(kinds), _) => Some(format!("found {found:?}, not one of {kinds:?}")),
        _ if !found.is_empty() => Some(format!("found {found:?} where no promise was broken")),
        (_, Some(gate)) if tried.missed(gate).is_none() => Some(format!("'{gate}' was met")),
        (Expected::Nothing, _) => tried.missed(ANSWERED).map(|gate| format!("{} where everything was answered", gate.measured)),
        (Expected::Late | Expected::Unanswered, _) => None,
    }
}

/// Tries with other people's doings each time, until the proxy has had its occasion. The last try counts whatever came of it.
fn until_struck(mut one: impl FnMut(u64) -> Result<Tried, CannotRun>) -> Result<Tried, CannotRun> {
    let mut tried = one(0)?;
    for seed in 1..MAX_TRIES {
        // What was found where the proxy has done nothing is not forgotten.
        if tried.struck || tried.outcome.verifier.breaches > 0 {
            break;
        }
        tried = one(seed)?;
    }
    Ok(tried)
}

fn try_one(
    runtime: &Runtime,
    server: &Endpoint,
    (fault, seed): (Fault, u64),
    tokens: &[Token],
    chat: Duration,
) -> Result<Tried, CannotRun> {
    let tamper = Arc::new(Mutex::new(Tamper::new(fault)));
    let listener = bind(runtime)?;
    let address = local(&listener)?;
    let proxy = runtime.spawn(proxy::pass_on(listener, SocketAddr::V4(server.address), Arc::clone(&tamper)));
    let threshold: Threshold = LATENCY_GATE.parse().map_err(CannotRun::new)?;
    let run = Run {
        plan: Arc::new(plan(Endpoint { address, path: server.path.clone() }, (fault, seed), chat)),
        tokens,
        spread: Spread { processes: 1, workers: 1 },
        server_pid: None,
        // How busy the machine is does not matter here.
        void: VoidLimits { max_lag: Duration::from_secs(3_600), max_cpu: 1.0 },
        command: "loadgen selftest".to_owned(),
        url: format!("ws://{address}{}", server.path),
        give_up: None,
        interrupt: None,
        keep_seconds: false,
    };
    let conducted = conduct(&run, &mut Live::new(true));
    proxy.abort();
    let mut outcome = conducted?.outcome;
    outcome.gates = vec![threshold.check(&outcome)];
    outcome.gates.extend(unanswered(&outcome));
    let struck = tamper.lock().unwrap_or_else(PoisonError::into_inner).has_struck();
    Ok(Tried { outcome, struck })
}

/// A few people who type and write. They drop out only where that is what is tested: who resumes gets what was lost after all. Where an
/// indicator must get stuck they only type: a message that comes late on a busy machine would excuse it. Where a message is forgotten
/// nobody pages back: it must be missed when the log is read again.
fn plan(server: Endpoint, (fault, seed): (Fault, u64), chat: Duration) -> Plan {
    let (scenario, rate) = if fault == Fault::StuckTyping { (Scenario::Typing, 4.0) } else { (Scenario::Chat, 25.0) };
    let drops = matches!(fault, Fault::None | Fault::CutRecovery | Fault::HoleInRecovery | Fault::AlterRecovery);
    let drain_ns = if fault == Fault::SwallowReply { DRAIN_IN_VAIN_NS } else { DRAIN_NS };
    let behaviour = Behaviour {
        composing: Some((0.05, 0.3)),
        reads_after: Some((0.1, 0.5)),
        pages_every: (fault != Fault::Forget).then_some(1.0),
        idles_every: None,
        drops_every: drops.then_some(2.0),
        away_for: (0.3, 0.8),
        ..Scenario::Chat.behaviour()
    };
    Plan {
        address: server.address,
        path: server.path,
        scenario,
        behaviour,
        people: PEOPLE,
        sizes: Sizes::all(4),
        memberships: 1,
        rate: Some(rate),
        closed_loop: false,
        content_chars: 48,
        connect_rate: 1_000.0,
        connecting: PEOPLE,
        seed: (seed << 8) | fault as u64,
        run: format!("selftest-{}-{}-{seed}", std::process::id(), fault as u8),
        warmup_ns: 200 * MILLISECOND,
        duration_ns: chat.as_nanos() as u64,
        drain_ns,
        sources: 1,
    }
}

fn bind(runtime: &Runtime) -> Result<TcpListener, CannotRun> {
    let anywhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    runtime.block_on(TcpListener::bind(anywhere)).map_err(CannotRun::while_doing("a port on this machine"))
}

fn local(listener: &TcpListener) -> Result<SocketAddrV4, CannotRun> {
    match listener.local_addr() {
        Ok(SocketAddr::V4(address)) => Ok(address),
        Ok(SocketAddr::V6(_)) | Err(_) => Err(CannotRun::new("the port on this machine has no IPv4 address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn a_run_without_an_occasion_is_tried_again_but_not_for_ever() {
        for (strikes_at, tries) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
            let mut seeds = Vec::new();
            let tried = until_struck(|seed| {
                seeds.push(seed);
                Ok(Tried { outcome: fixture::outcome(), struck: seed == strikes_at })
            });
            assert_eq!(tried.expect("no try failed").struck, strikes_at < MAX_TRIES);
            assert_eq!(seeds, (0..tries).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_found_where_nothing_was_done_is_not_tried_away() {
        let mut seeds = Vec::new();
        let tried = until_struck(|seed| {
            seeds.push(seed);
            let mut outcome = fixture::outcome();
            outcome.verifier = fixture::broken().verifier;
            Ok(Tried { outcome, struck: false })
        });
        assert_eq!(seeds, [0]);
        let problem = problem(Fault::CutRecovery, &tried.expect("no try failed"));
        assert!(problem.is_some_and(|problem| problem.contains("before the proxy did anything")));
    }
}
