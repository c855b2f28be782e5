//! `typing`: everybody types and stops, and is told of the others of the room.
//!
//! An open loop, timed from when each request was due. A hint is matched to its request by who typed and whether it is the start or
//! the stop, so a hint that comes later than the typist's next request of the same kind counts as fresher than it is.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::procfs::Usage;
use crate::raw::cli::TypingOptions;
use crate::raw::cpu::Cpu;
use crate::raw::crowd::Crowd;
use crate::raw::dialect::{self, Incoming, Typing};
use crate::raw::histogram::Histogram;
use crate::raw::member::Finder;
use crate::raw::report::Report;
use crate::raw::rooms::Rooms;
use crate::raw::wire::{self, Opcode};

/// Overdue requests made before looking at the sockets again.
const MAX_SENDS_PER_TURN: usize = 64;
/// After the last request, silence that means that no hint will come any more.
const DRAIN_SILENCE: Duration = Duration::from_secs(2);
/// After the last expected hint, how long to look for ones too many.
const SURPLUS_WAIT: Duration = Duration::from_millis(200);
/// Longest wait for the rest.
const MAX_DRAIN: Duration = Duration::from_secs(20);

/// One who types, and is told of others.
struct Typist {
    room: usize,
    /// The two frames, ready to go.
    frames: [Vec<u8>; 2],
    /// When it last should have sent each, in nanoseconds since the origin.
    sent: [u64; 2],
    requests: u64,
    received: u64,
}

/// What hints were like.
struct Hints {
    received: u64,
    /// About somebody who is not in the room, or to the typist.
    misdirected: u64,
    latency: Histogram,
    user_id: Finder,
}

struct TypingLoad {
    typists: Vec<Typist>,
    by_user: HashMap<Vec<u8>, usize>,
    /// Neighbours in this order are in different rooms.
    order: Vec<usize>,
    room_sizes: Vec<u64>,
    room_requests: Vec<u64>,
    requests: u64,
    expected: u64,
    hints: Hints,
    lateness: Histogram,
    origin: Instant,
    /// Of the requests whose latencies count: nanoseconds since `origin`.
    window: Range<u64>,
}

/// What is read at the edges of the measured window.
struct Snapshot {
    at: Instant,
    requests: u64,
    received: u64,
    cpu: Cpu,
    server: Usage,
    own: Usage,
}

/// Runs the whole load and reports on it.
pub(crate) fn run(options: &TypingOptions) -> Result<Report, Fault> {
    let rooms = Rooms::create(&options.target)?;
    let mut crowd = Crowd::new(options.target.dialect, rooms.enter()?);
    // Else the kernel would round waits of open-loop sending up by 50 us.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).map_err(Fault::while_doing("timer slack"))?;
    let mut load = TypingLoad::new(options, &rooms);
    load.drive_until(load.window.start, options.rate, &mut crowd)?;
    let begin = load.snapshot(options)?;
    load.drive_until(load.window.end, options.rate, &mut crowd)?;
    let end = load.snapshot(options)?;
    load.drain(&mut crowd)?;
    Ok(load.report(options, &begin, &end))
}

impl TypingLoad {
    fn new(options: &TypingOptions, rooms: &Rooms<'_>) -> Self {
        let target = &options.target;
        let typist = |index: usize| {
            let frame = |action| {
                let mut frame = Vec::new();
                let request = dialect::typing(target.dialect, rooms.conversation_of(index), action);
                wire::encode(Opcode::Text, request.as_bytes(), &mut frame);
                frame
            };
            let frames = [frame(Typing::Start), frame(Typing::Stop)];
            Typist { room: rooms.room_of(index), frames, sent: [0; 2], requests: 0, received: 0 }
        };
        let connections = target.connections as usize;
        let mut order = Vec::with_capacity(connections);
        for position in 0..target.room_size as usize {
            order.extend((0..rooms.count()).filter_map(|room| rooms.connections_of(room).nth(position)));
        }
        let window_start = options.warmup.as_nanos() as u64;
        Self {
            typists: (0..connections).map(typist).collect(),
            by_user: (0..connections).map(|index| (rooms.user_of(index).as_bytes().to_vec(), index)).collect(),
            order,
            room_sizes: (0..rooms.count()).map(|room| rooms.connections_of(room).len() as u64).collect(),
            room_requests: vec![0; rooms.count()],
            requests: 0,
            expected: 0,
            hints: Hints { received: 0, misdirected: 0, latency: Histogram::new(), user_id: Finder::new(r#""userId":""#) },
            lateness: Histogram::new(),
            origin: Instant::now(),
            window: window_start..window_start + options.seconds.as_nanos() as u64,
        }
    }

    fn drive_until(&mut self, until: u64, rate: u32, crowd: &mut Crowd) -> Result<(), Fault> {
        loop {
            let now = self.now();
            if now >= until {
                return Ok(());
            }
            let next_due = self.send_due(now, rate, crowd)?.min(until);
            let wait = Duration::from_nanos(next_due.saturating_sub(self.now()));
            self.turn(wait, crowd)?;
        }
    }

    /// Sends what is due and returns when the next request is.
    fn send_due(&mut self, now: u64, rate: u32, crowd: &mut Crowd) -> Result<u64, Fault> {
        let due = |number: u64| (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64;
        for _ in 0..MAX_SENDS_PER_TURN {
            let intended = due(self.requests);
            if intended > now || intended >= self.window.end {
                break;
            }
            let index = self.order[(self.requests % self.order.len() as u64) as usize];
            let typist = &mut self.typists[index];
            let kind = (typist.requests % 2) as usize;
            typist.sent[kind] = intended;
            typist.requests += 1;
            crowd.send_frame(index, |outbox| outbox.extend_from_slice(&typist.frames[kind]))?;
            self.requests += 1;
            self.room_requests[typist.room] += 1;
            self.expected += self.room_sizes[typist.room] - 1;
            if self.window.contains(&intended) {
                self.lateness.record(self.now().saturating_sub(intended));
            }
        }
        Ok(due(self.requests))
    }

    fn turn(&mut self, wait: Duration, crowd: &mut Crowd) -> Result<(), Fault> {
        let (dialect, origin) = (crowd.dialect(), self.origin);
        crowd.turn(wait, &mut |index, message| match dialect::classify(dialect, message) {
            Incoming::Typing(action) => self.handle_hint(index, message, action, origin.elapsed().as_nanos() as u64),
            Incoming::MessageCreated | Incoming::SendReply | Incoming::Error | Incoming::Ping | Incoming::Other => {}
        })
    }

    fn handle_hint(&mut self, index: usize, message: &[u8], action: Typing, now: u64) {
        self.hints.received += 1;
        self.typists[index].received += 1;
        let user = self.hints.user_id.after(message).and_then(|rest| rest.split(|byte| *byte == b'"').next());
        let typist = user.and_then(|user| self.by_user.get(user)).copied();
        let Some(typist) = typist.filter(|typist| *typist != index && self.typists[*typist].room == self.typists[index].room)
        else {
            self.hints.misdirected += 1;
            return;
        };
        let sent = self.typists[typist].sent[action as usize];
        if self.window.contains(&sent) {
            self.hints.latency.record(now.saturating_sub(sent));
        }
    }

    /// Takes what comes after the last request, until all has come or nothing comes any more.
    fn drain(&mut self, crowd: &mut Crowd) -> Result<(), Fault> {
        let begin = Instant::now();
        let mut last = (begin, self.hints.received);
        while begin.elapsed() < MAX_DRAIN {
            let patience = if self.hints.received >= self.expected { SURPLUS_WAIT } else { DRAIN_SILENCE };
            let waited = last.0.elapsed();
            if waited >= patience {
                break;
            }
            self.turn(patience - waited, crowd)?;
            if self.hints.received != last.1 {
                last = (Instant::now(), self.hints.received);
            }
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn snapshot(&self, options: &TypingOptions) -> Result<Snapshot, Fault> {
        let (server, own) = (Usage::of(options.target.server_pid)?, Usage::of(std::process::id())?);
        let cpu = Cpu::of(options.target.server_pid)?;
        Ok(Snapshot { at: Instant::now(), requests: self.requests, received: self.hints.received, cpu, server, own })
    }

    fn report(&self, options: &TypingOptions, begin: &Snapshot, end: &Snapshot) -> Report {
        let seconds = (end.at - begin.at).as_secs_f64();
        let (requests, received) = ((end.requests - begin.requests) as f64, (end.received - begin.received) as f64);
        let server = end.server.share_since(&begin.server, seconds);
        let own = end.own.share_since(&begin.own, seconds);
        let server_micros = end.cpu.micros_since(&begin.cpu);
        let mut report = Report::default();
        report.figure("connections", self.typists.len() as f64);
        report.figure("rooms", self.room_sizes.len() as f64);
        report.figure("sends_per_second", requests / seconds);
        report.figure("deliveries_per_second", received / seconds);
        report.figure("server_cpu_us_per_delivery", server_micros / received);
        report.figure("server_cpu_us_per_send", server_micros / requests);
        report.shares(own, server);
        report.latencies(["delivery_p50_us", "delivery_p99_us"], &self.hints.latency);
        report.figure("send_lateness_p99_us", self.lateness.quantile(0.99).map(|nanos| nanos as f64 / 1e3));
        report.judge_cores(own, server);
        if requests / seconds < 0.99 * f64::from(options.rate) {
            report.warn(format!("only {:.0} of {} requests a second were made", requests / seconds, options.rate));
        }
        self.judge_promises(&mut report);
        report
    }

    /// Over the whole run: nobody is told more than there was to tell, nor of somebody else's room.
    fn judge_promises(&self, report: &mut Report) {
        let (mut missing, mut surplus) = (0, 0);
        for typist in &self.typists {
            let expected = self.room_requests[typist.room] - typist.requests;
            missing += expected.saturating_sub(typist.received);
            surplus += typist.received.saturating_sub(expected);
        }
        report.figure("sends_total", self.requests as f64);
        report.figure("deliveries_total", self.hints.received as f64);
        report.figure("missing", missing as f64);
        report.figure("surplus", surplus as f64);
        report.figure("misdirected", self.hints.misdirected as f64);
        if missing > 0 {
            report.warn(format!("{missing} of {} hints were left out", self.expected));
        }
        if self.hints.received == 0 {
            report.violation("no hint came at all".to_owned());
        }
        if surplus > 0 {
            report.violation(format!("{surplus} hints are too many"));
        }
        if self.hints.misdirected > 0 {
            report.violation(format!("{} hints were about nobody of the room, or came to the typist", self.hints.misdirected));
        }
    }
}
