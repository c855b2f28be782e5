//! Leads a team through a run: everybody arrives, the traffic is measured, what is under way ends; and an [`Outcome`] comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Clock, thread_cpu};
use super::crowd::Tally;
use super::live::{Live, Progress};
use super::machine;
use super::orders::{News, Order, WorkerSecond};
use super::plan::{Plan, SECOND};
use super::team::{Spread, Team};
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::outcome::{Breach, Brief, Compact, FORMAT, Generator, Metric, Outcome, Second, Server, Setup, Summary, Verified};
use crate::procfs;
use crate::tokens::Token;

/// How often the leader looks up from its reports.
const LOOK: Duration = Duration::from_millis(50);
/// How long after the last arrival was due everybody must have arrived.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(60);
/// From the order to begin to the first traffic.
const LEAD_IN: u64 = SECOND / 5;
/// From a storm's order, with which everybody goes, to its beginning.
const STORM_LEAD_IN: u64 = 5 * SECOND;
/// After everything has come to its end: what comes now comes twice.
const SURPLUS_WAIT: Duration = Duration::from_millis(300);
/// How long the last reports may take.
const FINISH_PATIENCE: Duration = Duration::from_secs(60);
/// How often the tester must have looked at its own lateness before that says anything: in less than a second it does not.
const MIN_LAGS: u64 = 100;
/// Breaches that are kept in full.
const MAX_DETAILS: usize = 20;
/// Seconds of the timeline that are kept; longer runs keep the first ones.
const MAX_SECONDS: usize = 24 * 3_600;

/// When the tester counts as the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct VoidLimits {
    /// 99th percentile of its own lateness.
    pub(crate) max_lag: Duration,
    /// Share of a core that its busiest thread may use.
    pub(crate) max_cpu: f64,
}

/// Everything that a run needs.
pub(crate) struct Run<'a> {
    pub(crate) plan: Arc<Plan>,
    pub(crate) tokens: &'a [Token],
    pub(crate) spread: Spread,
    pub(crate) server_pid: Option<u32>,
    pub(crate) void: VoidLimits,
    /// The command line, without secrets.
    pub(crate) command: String,
    pub(crate) url: String,
    /// Looks at the run so far, after each second of the measured window; `true` ends it.
    pub(crate) give_up: Option<&'a dyn Fn(&Outcome) -> bool>,
    /// What can tell it to end before the end of the window; `None`: nothing that leaves an outcome.
    pub(crate) interrupt: Option<&'a Interrupt>,
    /// Whether each second's histograms are wanted afterwards.
    pub(crate) keep_seconds: bool,
}

impl Run<'_> {
    /// What it is asked to do, as it stands in the results.
    pub(crate) fn setup(&self) -> Setup {
        let plan = &self.plan;
        Setup {
            url: self.url.clone(),
            scenario: plan.scenario.name(),
            clients: plan.people,
            group_size: plan.sizes.to_string(),
            rate: plan.rate.filter(|_| !plan.closed_loop),
            closed_loop: plan.closed_loop,
            seed: plan.seed,
            warmup_seconds: if plan.scenario.is_storm() { 0.0 } else { plan.warmup_ns as f64 / 1e9 },
            processes: self.spread.processes,
            workers: self.spread.workers,
            command: self.command.clone(),
        }
    }
}

/// An outcome, and the histograms of each second for `.hlog` files.
pub(crate) struct Conducted {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: Vec<Compact>,
    /// How it came to its end.
    pub(crate) end: End,
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As planned.
    Whole,
    /// It was given up.
    GivenUp,
    /// It was told to end. Told before the window, nothing was measured: the outcome has no seconds.
    CutShort,
}

/// Runs it.
pub(crate) fn conduct(run: &Run<'_>, live: &mut Live) -> Result<Conducted, Fault> {
    let clock = Clock::start();
    let started_at = machine::now_rfc3339();
    let rss_before = run.server_pid.map(procfs::resident_bytes).transpose()?;
    let team = Team::start(&run.plan, clock, run.tokens, run.spread)?;
    let workers = team.workers();
    let mut leader = Leader {
        run,
        team,
        clock,
        live,
        started_at,
        workers,
        window: (u64::MAX, u64::MAX),
        seconds: BTreeMap::new(),
        done: Vec::new(),
        generator_cores: 0.0,
        own_cpu: (0, 0),
        newest: BTreeMap::new(),
        judged: 0,
        end: End::Whole,
        so_far: Tally::new(),
        breaches: 0,
        waiting: Waiting::default(),
        samples: Samples { rss_before: rss_before.unwrap_or(0), ..Samples::default() },
        total: Tally::new(),
        verified: Verified::default(),
    };
    leader.lead()
}

/// How many workers have reported what.
#[derive(Default)]
struct Waiting {
    ready: usize,
    storm_over: usize,
    storm_end: u64,
    drained: usize,
    finished: usize,
}

/// What was seen of the server's process.
#[derive(Default)]
struct Samples {
    rss_before: u64,
    rss_joined: u64,
    rss_last: u64,
    rss_peak: u64,
    cpu_last: Option<(u64, Duration)>,
    /// Processor time at the edges of the window.
    cpu_begin: Option<Duration>,
    cpu_end: Option<Duration>,
    /// By second: cores used and resident memory.
    by_second: BTreeMap<u64, (f64, u64)>,
}

struct Leader<'a, 'r> {
    run: &'a Run<'r>,
    team: Team,
    clock: Clock,
    live: &'a mut Live,
    started_at: String,
    workers: usize,
    window: (u64, u64),
    /// Seconds that not all workers have reported yet.
    seconds: BTreeMap<u64, Vec<WorkerSecond>>,
    done: Vec<(Second, Compact)>,
    /// How many of these `give_up` has looked at.
    judged: usize,
    end: End,
    /// The newest second that each worker has told of.
    newest: BTreeMap<u32, u64>,
    /// Processor time of the leader's own thread at the edges of the window.
    own_cpu: (u64, u64),
    /// Cores that all threads of the tester used, summed over the measured seconds.
    generator_cores: f64,
    so_far: Tally,
    breaches: u64,
    waiting: Waiting,
    samples: Samples,
    total: Tally,
    verified: Verified,
}

impl Leader<'_, '_> {
    fn lead(&mut self) -> Result<Conducted, Fault> {
        let plan = Arc::clone(&self.run.plan);
        self.live.phase(&format!("{} people connect to {}", plan.people, self.run.url));
        let arrival = Duration::from_secs_f64(f64::from(plan.people) / plan.connect_rate) + ARRIVAL_PATIENCE;
        let everybody = self.wait(arrival, |leader| leader.is_cut_short() || leader.waiting.ready == leader.workers)?;
        if !everybody {
            let missing = "not everybody could connect and join in time; look at the server's log, or lower --connect-rate";
            return Err(Fault::new(missing));
        }
        let mut abandons = false;
        if self.end != End::CutShort {
            self.samples.rss_joined = self.sample().unwrap_or(0);
            self.measure(&plan)?;
            abandons = self.drain(&plan)?;
        }
        if abandons {
            self.live.phase("told once more; leaving what is still under way");
        }
        self.team.order(if abandons { Order::Abandon } else { Order::Finish })?;
        if !self.wait(FINISH_PATIENCE, |leader| leader.waiting.finished == leader.workers)? {
            return Err(Fault::new("not all workers reported at the end"));
        }
        self.merge_seconds(true);
        let outcome = self.outcome();
        let seconds = if self.run.keep_seconds { std::mem::take(&mut self.done) } else { Vec::new() };
        let seconds = seconds.into_iter().map(|(_, histograms)| histograms).collect();
        Ok(Conducted { outcome, seconds, end: self.end })
    }

    /// The traffic, up to the end of the window.
    fn measure(&mut self, plan: &Plan) -> Result<(), Fault> {
        let storm = plan.scenario.is_storm();
        let (lead_in, warmup) = if storm { (STORM_LEAD_IN, 0) } else { (LEAD_IN, plan.warmup_ns) };
        let start = self.clock.now() + lead_in;
        self.window = (start + warmup, start + warmup + plan.duration_ns);
        self.live.phase(match storm {
            true => "everybody goes, and comes back at once",
            false => "everybody is there; the traffic begins",
        });
        self.team.order(Order::Begin { start, window: self.window })?;
        self.wait_until(self.window.0, Self::is_cut_short)?;
        self.own_cpu.0 = thread_cpu();
        self.samples.cpu_begin = self.server_cpu();
        let is_over = |leader: &mut Self| storm && leader.waiting.storm_over == leader.workers;
        self.wait_until(self.window.1, |leader| leader.is_cut_short() || is_over(leader) || leader.gives_up())?;
        self.samples.cpu_end = self.server_cpu();
        self.own_cpu.1 = thread_cpu();
        if storm && self.waiting.storm_over == self.workers {
            self.window.1 = self.waiting.storm_end;
        } else {
            self.window.1 = self.window.1.min(self.clock.now());
        }
        Ok(())
    }

    /// What is under way comes to its end, and what comes after that comes twice. Says whether some of it was left when told once more.
    fn drain(&mut self, plan: &Plan) -> Result<bool, Fault> {
        self.live.phase(match self.end {
            End::Whole | End::GivenUp => "waiting for what is still under way",
            End::CutShort => "told to end; waiting for what is still under way, unless told once more",
        });
        self.team.order(Order::Stop)?;
        let drain = Duration::from_nanos(plan.drain_ns);
        let all = |leader: &Self| leader.waiting.drained == leader.workers;
        let is_over = self.wait(drain, |leader| all(leader) || leader.is_told_again())?;
        let abandons = is_over && !all(self);
        if abandons && self.end == End::Whole {
            self.end = End::CutShort;
        } else if is_over && !abandons {
            self.wait(SURPLUS_WAIT, |leader| leader.is_told_again())?;
        }
        Ok(abandons)
    }

    fn is_cut_short(&mut self) -> bool {
        if self.run.interrupt.is_some_and(|interrupt| interrupt.told().is_some()) {
            self.end = End::CutShort;
        }
        self.end == End::CutShort
    }

    fn is_told_again(&self) -> bool {
        self.run.interrupt.is_some_and(Interrupt::told_again)
    }

    fn gives_up(&mut self) -> bool {
        let Some(give_up) = self.run.give_up else { return false };
        let is_new = self.done.len() > self.judged && self.done.last().is_some_and(|(second, _)| second.measured);
        self.judged = self.done.len();
        if is_new && give_up(&self.outcome()) {
            self.end = End::GivenUp;
        }
        self.end == End::GivenUp
    }

    fn wait_until(&mut self, at: u64, enough: impl FnMut(&mut Self) -> bool) -> Result<bool, Fault> {
        let patience = Duration::from_nanos(at.saturating_sub(self.clock.now()));
        self.wait(patience, enough)
    }

    /// Takes reports until it is `enough` or the time is over; says whether it was.
    fn wait(&mut self, patience: Duration, mut enough: impl FnMut(&mut Self) -> bool) -> Result<bool, Fault> {
        let begin = Instant::now();
        loop {
            if enough(self) {
                return Ok(true);
            }
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            self.sample_each_second();
            if let Some(report) = self.team.next(left.min(LOOK))? {
                self.take(report.worker, report.news)?;
            }
        }
    }

    fn take(&mut self, worker: u32, news: News) -> Result<(), Fault> {
        match news {
            News::Ready => self.waiting.ready += 1,
            News::StormOver { at } => {
                self.waiting.storm_over += 1;
                self.waiting.storm_end = self.waiting.storm_end.max(at);
            }
            News::Drained => self.waiting.drained += 1,
            News::Second(second) => {
                self.newest.insert(worker, second.at);
                self.seconds.entry(second.at).or_default().push(*second);
                self.merge_seconds(false);
            }
            News::Finished { tally, verified } => {
                self.waiting.finished += 1;
                self.total.merge(&tally);
                merge_verified(&mut self.verified, *verified);
            }
            News::Fatal(what) => return Err(Fault::new(what)),
        }
        Ok(())
    }

    /// Merges the oldest seconds of which nobody has more to tell; at the end, all. A worker that stood still leaves seconds out.
    fn merge_seconds(&mut self, rest: bool) {
        while let Some(entry) = self.seconds.first_entry() {
            let at = *entry.key();
            let told = self.newest.len() == self.workers && self.newest.values().all(|newest| *newest >= at);
            if !told && !rest {
                return;
            }
            let (at, parts) = entry.remove_entry();
            self.merge_second(at, &parts);
        }
    }

    fn merge_second(&mut self, at: u64, parts: &[WorkerSecond]) {
        let mut tally = Tally::new();
        parts.iter().for_each(|part| tally.merge(&part.tally));
        let end = at * SECOND;
        let measured = end > self.window.0 && end <= self.window.1;
        if measured {
            self.so_far.merge(&tally);
            self.generator_cores += parts.iter().map(|part| part.cpu).sum::<f64>();
        }
        self.breaches = self.breaches.max(parts.iter().map(|part| part.breaches).sum());
        let used = Metric::ALL.into_iter().filter(|metric| !tally.histograms.of(*metric).is_empty());
        let second = Second {
            at: at as f64,
            measured,
            connections: parts.iter().map(|part| part.connections).sum(),
            latencies: used.map(|metric| (metric, Brief::of(tally.histograms.of(metric)))).collect(),
            generator_cpu: parts.iter().map(|part| part.cpu).fold(0.0, f64::max),
            server_cpu: None,
            server_rss: None,
            counts: tally.counts,
        };
        let progress = Progress {
            ack: Brief::of(self.so_far.histograms.of(Metric::Ack)),
            delivery: Brief::of(self.so_far.histograms.of(Metric::Delivery)),
            errors: self.done.iter().map(|(second, _)| second.counts.error_count()).sum::<u64>() + second.counts.error_count(),
            breaches: self.breaches,
        };
        self.live.second(&second, self.run.plan.rate, &progress);
        if self.done.len() < MAX_SECONDS {
            let histograms = if self.run.keep_seconds { tally.histograms.compact() } else { Compact::new() };
            self.done.push((second, histograms));
        }
    }

    /// Of the server so far. None without `--server-pid`, and none of a server that is no more: its clients find out what that means.
    fn server_cpu(&self) -> Option<Duration> {
        self.run.server_pid.and_then(|pid| procfs::cpu_time(pid).ok())
    }

    /// Memory of the server now, likewise.
    fn sample(&mut self) -> Option<u64> {
        let rss = self.run.server_pid.and_then(|pid| procfs::resident_bytes(pid).ok())?;
        self.samples.rss_last = rss;
        self.samples.rss_peak = self.samples.rss_peak.max(rss);
        Some(rss)
    }

    /// At the turn of each second.
    fn sample_each_second(&mut self) {
        let now = self.clock.now();
        let last = self.samples.cpu_last.map_or(0, |(at, _)| at);
        if self.run.server_pid.is_none() || self.samples.cpu_last.is_some() && now / SECOND == last / SECOND {
            return;
        }
        // A server that has been killed on purpose is no reason to end the run: its clients come back.
        let (Some(cpu), Some(rss)) = (self.server_cpu(), self.sample()) else { return };
        if let Some((at, before)) = self.samples.cpu_last.replace((now, cpu)) {
            let cores = cpu.saturating_sub(before).as_nanos() as f64 / (now - at).max(1) as f64;
            self.samples.by_second.insert(now / SECOND, (cores, rss));
        }
    }

    /// What is known: while the run goes on, from the seconds so far.
    fn outcome(&self) -> Outcome {
        let over = self.waiting.finished == self.workers;
        let tally = if over { &self.total } else { &self.so_far };
        let seconds = (self.window.1.min(self.clock.now()).saturating_sub(self.window.0)) as f64 / 1e9;
        let used = Metric::ALL.into_iter().filter(|metric| !tally.histograms.of(*metric).is_empty());
        let mut verifier = self.verified.clone();
        verifier.breaches = verifier.breaches.max(self.breaches);
        Outcome {
            format: FORMAT,
            loadgen: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at.clone(),
            setup: self.run.setup(),
            machine: machine::this(),
            seconds,
            metrics: used.map(|metric| (metric, Summary::of(tally.histograms.of(metric)))).collect(),
            counts: tally.counts.clone(),
            timeline: self.done.iter().map(|(second, _)| self.with_server(second)).collect(),
            generator: self.generator(tally),
            server: self.server(tally.counts.delivered, seconds),
            verifier,
            gates: Vec::new(),
        }
    }

    /// A second with what was seen of the server at its end: that is known a little after the second itself.
    fn with_server(&self, second: &Second) -> Second {
        let sampled = self.samples.by_second.get(&(second.at as u64));
        Second { server_cpu: sampled.map(|(cpu, _)| *cpu), server_rss: sampled.map(|(_, rss)| *rss), ..second.clone() }
    }

    /// What the tester found about itself, and whether it was the bottleneck.
    fn generator(&self, tally: &Tally) -> Generator {
        let measured: Vec<&Second> = self.done.iter().map(|(second, _)| second).filter(|second| second.measured).collect();
        let busiest = measured.iter().map(|second| second.generator_cpu).sum::<f64>() / measured.len().max(1) as f64;
        let limits = self.run.void;
        let mut void = Vec::new();
        if busiest > limits.max_cpu {
            void.push(format!(
                "its busiest thread used {:.0} % of a core, more than {:.0} %: use more --workers or --processes, or a lower rate",
                busiest * 100.0,
                limits.max_cpu * 100.0
            ));
        }
        let lags = tally.histograms.of(Metric::Lag);
        let lag = lags.value_at_quantile(0.99);
        if lags.len() >= MIN_LAGS && u128::from(lag) > limits.max_lag.as_micros() {
            let who = if busiest < limits.max_cpu / 2.0 {
                "something else keeps this machine busy, or the server does: stop what is not needed, or give the tester a machine of its own"
            } else {
                "use more --workers or --processes, or a lower rate"
            };
            void.push(format!(
                "99 % of what it had to do was done within {:.1} ms of when it was due, later than {:.1} ms, while its busiest thread \
                 used {:.0} % of a core: {who}",
                lag as f64 / 1_000.0,
                limits.max_lag.as_secs_f64() * 1_000.0,
                busiest * 100.0,
            ));
        }
        let window = self.window.1.min(self.clock.now()).saturating_sub(self.window.0).max(1);
        let own = self.own_cpu.1.saturating_sub(self.own_cpu.0) as f64 / window as f64;
        let cpu = self.generator_cores / measured.len().max(1) as f64 + own;
        Generator { busiest_thread: busiest, cpu, void }
    }

    fn server(&self, delivered: u64, seconds: f64) -> Option<Server> {
        let samples = &self.samples;
        let used = samples.cpu_end.or(samples.cpu_last.map(|(_, cpu)| cpu))?.saturating_sub(samples.cpu_begin?);
        let grown = samples.rss_joined.saturating_sub(samples.rss_before) as f64;
        Some(Server {
            cpu: used.as_secs_f64() / seconds.max(f64::MIN_POSITIVE),
            us_per_delivery: (delivered > 0).then(|| used.as_secs_f64() * 1e6 / delivered as f64),
            rss_before: samples.rss_before,
            rss_after: samples.rss_last,
            rss_peak: samples.rss_peak,
            bytes_per_connection: grown / f64::from(self.run.plan.people),
        })
    }
}

fn merge_verified(into: &mut Verified, from: Verified) {
    into.events += from.events;
    into.conversations += from.conversations;
    into.acked += from.acked;
    into.recoveries += from.recoveries;
    into.typing += from.typing;
    into.breaches += from.breaches;
    let room = MAX_DETAILS.saturating_sub(into.details.len());
    into.details.extend::<Vec<Breach>>(from.details.into_iter().take(room).collect());
}
