//! `blast`: sends messages, counts what arrives, and accounts the server's processor time to it.

use std::num::NonZeroU64;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::fault::Fault;
use crate::procfs::{Share, Usage};
use crate::raw::cli::{BlastOptions, Dialect};
use crate::raw::cpu::Cpu;
use crate::raw::dialect::{self, Incoming};
use crate::raw::dialogue::{answer_control, refuse_error, unexpected};
use crate::raw::histogram::Histogram;
use crate::raw::member::{Member, ReplyStamps, Template};
use crate::raw::poller::{Poller, Ready};
use crate::raw::report::Report;
use crate::raw::rooms::{Entered, Rooms};
use crate::raw::socket::{SCRATCH_BYTES, Socket};
use crate::raw::tenths::Tenths;
use crate::raw::wire::{Frames, Opcode};

/// How many of a room's connections send unless told otherwise.
const DEFAULT_SENDERS_PER_ROOM: u32 = 50;
/// Overdue sends made before looking at the sockets again.
const MAX_SENDS_PER_TURN: usize = 64;
/// After the last send, silence that means that nothing more will come.
const DRAIN_SILENCE: Duration = Duration::from_secs(5);
/// After the last expected delivery, how long to look for ones too many.
const SURPLUS_WAIT: Duration = Duration::from_millis(200);
/// Longest wait for the rest.
const MAX_DRAIN: Duration = Duration::from_secs(60);

/// What has been counted since sending began.
#[derive(Clone, Copy, Default)]
struct Counts {
    sends: u64,
    replies: u64,
    deliveries: u64,
}

/// Everything that is read at the edges of the measured window.
struct Snapshot {
    at: Instant,
    counts: Counts,
    cpu: Cpu,
    server: Usage,
    own: Usage,
}

/// Latencies of what was sent in the window, in nanoseconds.
struct Latencies {
    reply: Histogram,
    reply_tenths: Tenths,
    delivery: Histogram,
    /// From when a message was due to when it was handed to its socket; open loop only.
    lateness: Histogram,
}

impl Latencies {
    fn new() -> Self {
        Self { reply: Histogram::new(), reply_tenths: Tenths::new(), delivery: Histogram::new(), lateness: Histogram::new() }
    }
}

/// What happens at this moment of the run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Warmup,
    Window,
    Drain,
}

struct Blast<'a> {
    options: &'a BlastOptions,
    poller: Poller,
    sockets: Vec<Socket>,
    members: Vec<Member>,
    senders: Vec<usize>,
    room_sizes: Vec<u64>,
    room_sends: Vec<u64>,
    expected_deliveries: u64,
    counts: Counts,
    latencies: Latencies,
    reply_stamps: ReplyStamps,
    stage: Stage,
    origin: Instant,
    /// Of the stamps whose latencies count: nanoseconds since `origin`.
    window: Range<u64>,
}

/// Runs the whole load and reports on it.
pub(crate) fn run(options: &BlastOptions) -> Result<Report, Fault> {
    let rooms = Rooms::create(&options.target)?;
    let entered = rooms.enter()?;
    // Else the kernel would round waits of open-loop sending up by 50 us.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).map_err(Fault::while_doing("timer slack"))?;
    let mut blast = Blast::new(options, &rooms, entered);
    let (begin, end) = blast.drive()?;
    Ok(blast.report(&begin, &end))
}

impl<'a> Blast<'a> {
    fn new(options: &'a BlastOptions, rooms: &Rooms<'_>, entered: Entered) -> Self {
        let dialect = options.target.dialect;
        let senders_per_room = options.senders_per_room.unwrap_or(DEFAULT_SENDERS_PER_ROOM) as usize;
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let mut members: Vec<Member> = (0..entered.sockets.len()).map(|index| Member::new(rooms.room_of(index), None)).collect();
        // Neighbours in this order are in different rooms, so that open-loop sending does not dwell on one room.
        let mut senders = Vec::new();
        for position in 0..senders_per_room.min(options.target.room_size as usize) {
            senders.extend((0..rooms.count()).filter_map(|room| rooms.connections_of(room).nth(position)));
        }
        for &index in &senders {
            let client_ids = options.client_ids.then_some(run);
            members[index].template =
                Some(Template::new(dialect, rooms.conversation_of(index), options.body_bytes as usize, client_ids));
        }
        let window_start = options.warmup.as_nanos() as u64;
        Self {
            options,
            poller: entered.poller,
            sockets: entered.sockets,
            members,
            senders,
            room_sizes: (0..rooms.count()).map(|room| rooms.connections_of(room).len() as u64).collect(),
            room_sends: vec![0; rooms.count()],
            expected_deliveries: 0,
            counts: Counts::default(),
            latencies: Latencies::new(),
            reply_stamps: ReplyStamps::new(dialect),
            stage: Stage::Warmup,
            origin: Instant::now(),
            window: window_start..window_start + options.seconds.as_nanos() as u64,
        }
    }

    /// Warm-up, measured window, drain; returns the window's edges.
    fn drive(&mut self) -> Result<(Snapshot, Snapshot), Fault> {
        let mut scratch = vec![0; SCRATCH_BYTES];
        let mut ready = Ready::new();
        self.origin = Instant::now();
        self.fill_closed_loop()?;
        self.drive_until(self.window.start, &mut scratch, &mut ready)?;
        let begin = self.snapshot()?;
        self.stage = Stage::Window;
        self.drive_until(self.window.end, &mut scratch, &mut ready)?;
        let end = self.snapshot()?;
        self.stage = Stage::Drain;
        self.drain(&mut scratch, &mut ready)?;
        Ok((begin, end))
    }

    fn drive_until(&mut self, until: u64, scratch: &mut [u8], ready: &mut Ready) -> Result<(), Fault> {
        loop {
            let now = self.now();
            if now >= until {
                return Ok(());
            }
            let next_due = self.send_due(now)?.unwrap_or(until).min(until);
            let wait = Duration::from_nanos(next_due.saturating_sub(self.now()));
            self.turn(wait, scratch, ready)?;
        }
    }

    /// Takes what comes after the last send, until all has come or nothing comes any more.
    fn drain(&mut self, scratch: &mut [u8], ready: &mut Ready) -> Result<(), Fault> {
        let begin = Instant::now();
        let mut last = (begin, self.counts.replies + self.counts.deliveries);
        while begin.elapsed() < MAX_DRAIN {
            let complete = self.counts.replies >= self.counts.sends && self.counts.deliveries >= self.expected_deliveries;
            let patience = if complete { SURPLUS_WAIT } else { DRAIN_SILENCE };
            let waited = last.0.elapsed();
            if waited >= patience {
                break;
            }
            self.turn(patience - waited, scratch, ready)?;
            let seen = self.counts.replies + self.counts.deliveries;
            if seen != last.1 {
                last = (Instant::now(), seen);
            }
        }
        Ok(())
    }

    /// One wait, and everything that it found.
    fn turn(&mut self, wait: Duration, scratch: &mut [u8], ready: &mut Ready) -> Result<(), Fault> {
        self.poller.wait(wait, ready)?;
        for readiness in ready.iter() {
            if readiness.readable {
                self.handle_readable(readiness.index, scratch)?;
            }
            if readiness.writable {
                self.sockets[readiness.index].flush(&self.poller, readiness.index)?;
            }
        }
        Ok(())
    }

    fn handle_readable(&mut self, index: usize, scratch: &mut [u8]) -> Result<(), Fault> {
        let length = self.sockets[index].read(scratch)?;
        let now = self.now();
        let mut frames = Frames::new(&scratch[..length]);
        while let Some(frame) = frames.next_frame() {
            let frame = frame.map_err(unexpected)?;
            if frame.opcode != Opcode::Text || !self.handle_message(index, frame.payload, now)? {
                answer_control(self.options.target.dialect, &frame, self.sockets[index].outbox())?;
            }
        }
        self.sockets[index].carry_over(frames.rest());
        self.sockets[index].flush(&self.poller, index)
    }

    /// False if it is for [`answer_control`] to take.
    fn handle_message(&mut self, index: usize, message: &[u8], now: u64) -> Result<bool, Fault> {
        let dialect = self.options.target.dialect;
        match dialect::classify(dialect, message) {
            Incoming::MessageCreated => {
                self.counts.deliveries += 1;
                let seq_is_dense = dialect == Dialect::Parlor;
                let sent = self.members[index].handle_delivery(message, seq_is_dense);
                if let Some(sent) = sent.filter(|sent| self.window.contains(sent)) {
                    self.latencies.delivery.record(now.saturating_sub(sent));
                }
            }
            Incoming::SendReply => {
                self.counts.replies += 1;
                let sent = self.reply_stamps.of(message);
                if let Some(sent) = sent.filter(|sent| self.window.contains(sent)) {
                    let latency = now.saturating_sub(sent);
                    self.latencies.reply.record(latency);
                    self.latencies.reply_tenths.record(sent - self.window.start, latency);
                }
                if self.options.rate.is_none() && self.stage != Stage::Drain {
                    self.enqueue(index, now);
                }
            }
            Incoming::Error => refuse_error(dialect, message)?,
            Incoming::Ping => return Ok(false),
            Incoming::Typing(_) | Incoming::Other => {}
        }
        Ok(true)
    }

    /// The first messages of a closed loop; every reply then brings the next one.
    fn fill_closed_loop(&mut self) -> Result<(), Fault> {
        if self.options.rate.is_some() {
            return Ok(());
        }
        for position in 0..self.senders.len() {
            let index = self.senders[position];
            for _ in 0..self.options.in_flight {
                self.enqueue(index, self.now());
            }
            self.sockets[index].flush(&self.poller, index)?;
        }
        Ok(())
    }

    /// In an open loop, sends what is due and returns when the next message is; `None` in a closed loop.
    fn send_due(&mut self, now: u64) -> Result<Option<u64>, Fault> {
        let Some(rate) = self.options.rate else { return Ok(None) };
        let due = |number: u64| (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64;
        for _ in 0..MAX_SENDS_PER_TURN {
            let intended = due(self.counts.sends);
            if intended > now || intended >= self.window.end {
                break;
            }
            let index = self.senders[(self.counts.sends % self.senders.len() as u64) as usize];
            self.enqueue(index, intended);
            self.sockets[index].flush(&self.poller, index)?;
            if self.window.contains(&intended) {
                self.latencies.lateness.record(self.now().saturating_sub(intended));
            }
        }
        Ok(Some(due(self.counts.sends)))
    }

    /// Puts a message into the connection's outbox. Its stamp is the time it should be sent, or a little later if that one is taken.
    fn enqueue(&mut self, index: usize, at: u64) {
        let member = &mut self.members[index];
        let Some(template) = &mut member.template else { return };
        let stamp = at.max(member.last_stamp + 1);
        member.last_stamp = stamp;
        self.sockets[index].outbox().extend_from_slice(template.stamped(stamp));
        self.counts.sends += 1;
        self.room_sends[member.room] += 1;
        self.expected_deliveries += self.room_sizes[member.room];
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn snapshot(&self) -> Result<Snapshot, Fault> {
        let server = Usage::of(self.options.target.server_pid)?;
        let own = Usage::of(std::process::id())?;
        let cpu = Cpu::of(self.options.target.server_pid)?;
        Ok(Snapshot { at: Instant::now(), counts: self.counts, cpu, server, own })
    }

    fn report(&self, begin: &Snapshot, end: &Snapshot) -> Report {
        let seconds = (end.at - begin.at).as_secs_f64();
        let sends = (end.counts.sends - begin.counts.sends) as f64;
        let replies = (end.counts.replies - begin.counts.replies) as f64;
        let deliveries = (end.counts.deliveries - begin.counts.deliveries) as f64;
        let server = end.server.share_since(&begin.server, seconds);
        let own = end.own.share_since(&begin.own, seconds);
        let server_micros = end.cpu.micros_since(&begin.cpu);
        let mut report = Report::default();
        report.figure("connections", self.members.len() as f64);
        report.figure("rooms", self.room_sends.len() as f64);
        report.figure("sends_per_second", sends / seconds);
        report.figure("replies_per_second", replies / seconds);
        report.figure("deliveries_per_second", deliveries / seconds);
        report.figure("server_cpu_us_per_delivery", server_micros / deliveries);
        report.figure("server_cpu_us_per_send", server_micros / replies);
        report.shares(own, server);
        report.latencies(["reply_p50_us", "reply_p99_us"], &self.latencies.reply);
        report.figure(
            "reply_p99_median_tenth_us",
            self.latencies.reply_tenths.median_quantile(0.99).map(|nanos| nanos as f64 / 1e3),
        );
        report.figure("reply_max_us", self.latencies.reply.max().map(|nanos| nanos as f64 / 1e3));
        report.latencies(["delivery_p50_us", "delivery_p99_us"], &self.latencies.delivery);
        report.figure("send_lateness_p99_us", self.latencies.lateness.quantile(0.99).map(|nanos| nanos as f64 / 1e3));
        self.judge_load(&mut report, own, server, replies / seconds);
        self.judge_promises(&mut report);
        report
    }

    /// Whether the figures say anything about the server.
    fn judge_load(&self, report: &mut Report, own: Share, server: Share, replies_per_second: f64) {
        report.judge_cores(own, server);
        match self.options.rate {
            None if server.demand() < 0.95 => {
                report.warn(format!(
                    "the server used or wanted only {:.0} % of a core: it was not saturated",
                    server.demand() * 100.0
                ));
            }
            Some(rate) if replies_per_second < 0.99 * f64::from(rate) => {
                report.warn(format!(
                    "only {replies_per_second:.0} of {rate} messages a second were answered: the load was not sustained"
                ));
            }
            None | Some(_) => {}
        }
    }

    /// Over the whole run, warm-up and drain included: every send answered once, every member of the room given it once, in order.
    fn judge_promises(&self, report: &mut Report) {
        let unanswered = self.counts.sends as f64 - self.counts.replies as f64;
        let (mut lost, mut surplus, mut out_of_order) = (0, 0, 0);
        for member in &self.members {
            let expected = self.room_sends[member.room];
            lost += expected.saturating_sub(member.received);
            surplus += member.received.saturating_sub(expected);
            out_of_order += member.out_of_order;
        }
        report.figure("sends_total", self.counts.sends as f64);
        report.figure("deliveries_total", self.counts.deliveries as f64);
        report.figure("unanswered", unanswered);
        report.figure("lost", lost as f64);
        report.figure("surplus", surplus as f64);
        report.figure("out_of_order", out_of_order as f64);
        if self.counts.sends == 0 || unanswered != 0.0 {
            report.violation(format!("{unanswered} of {} sends were not answered", self.counts.sends));
        }
        if lost + surplus > 0 {
            report.violation(format!("{lost} deliveries are missing and {surplus} are too many"));
        }
        if out_of_order > 0 {
            report.violation(format!("{out_of_order} deliveries did not follow the seq before them"));
        }
    }
}
