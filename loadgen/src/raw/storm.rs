//! `storm`: everybody is cut off at once and comes back; what was missed must come back with them.
//!
//! Before the storm half of each room is away while messages are written, so half of the recoveries bring messages and half bring
//! none. The peers have no log: they are only connected to and joined again.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::procfs::{Share, Usage};
use crate::raw::cli::{Dialect, StormOptions};
use crate::raw::cpu::Cpu;
use crate::raw::crowd::Crowd;
use crate::raw::dialect::{self, Incoming, Position};
use crate::raw::dialogue::settle;
use crate::raw::histogram::Histogram;
use crate::raw::member::{Member, Template};
use crate::raw::report::Report;
use crate::raw::rooms::{Entered, Rooms};

/// Silence after which messages that are still missing count as lost.
const MAX_SILENCE: Duration = Duration::from_secs(10);
/// After the last expected delivery, how long to look for ones too many.
const SURPLUS_WAIT: Duration = Duration::from_millis(200);
/// Length of the messages' content.
const BODY_BYTES: usize = 64;

/// What a join reply says of the log.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    position: Position,
    recovered: bool,
    /// Of the events in the reply.
    seqs: Vec<u64>,
}

/// What was found wrong.
#[derive(Default)]
struct Breaches {
    unreadable: u64,
    not_recovered: u64,
    not_dense: u64,
    lost: u64,
    surplus: u64,
    out_of_order: u64,
}

/// How the storm went.
struct Return {
    entered: Entered,
    caught_up: Histogram,
    seconds: f64,
    recovered_events: u64,
    server_micros: f64,
    server: Share,
    own: Share,
}

struct Storm<'a> {
    options: &'a StormOptions,
    rooms: &'a Rooms<'a>,
    /// Up to where each one knows its log.
    positions: Vec<Position>,
    breaches: Breaches,
}

/// Runs the whole load and reports on it.
pub(crate) fn run(options: &StormOptions) -> Result<Report, Fault> {
    let rooms = Rooms::create(&options.target)?;
    let positions = vec![Position::default(); options.target.connections as usize];
    let mut storm = Storm { options, rooms: &rooms, positions, breaches: Breaches::default() };
    let mut crowd = storm.come()?;
    if options.target.dialect == Dialect::Parlor {
        storm.write_while_half_is_away(&mut crowd)?;
    }
    let mut back = storm.come_back(crowd)?;
    settle(options.target.dialect, &mut back.entered.sockets, &back.entered.poller, options.quiet)?;
    let report = storm.report(&back);
    storm.write_once_more(back.entered)?;
    Ok(storm.judge_promises(report))
}

impl Storm<'_> {
    /// Everybody in for the first time.
    fn come(&mut self) -> Result<Crowd, Fault> {
        let dialect = self.options.target.dialect;
        let (positions, breaches) = (&mut self.positions, &mut self.breaches);
        let mut entered = self.rooms.enter_from(&|_| None, &mut |index, reply| {
            match (dialect, parse_join(reply)) {
                (Dialect::Parlor, Some(joined)) => positions[index] = joined.position,
                (Dialect::Parlor, None) => breaches.unreadable += 1,
                (Dialect::Peer | Dialect::Socketio, _) => {}
            }
            Ok(())
        })?;
        settle(dialect, &mut entered.sockets, &entered.poller, self.options.quiet)?;
        Ok(Crowd::new(dialect, entered))
    }

    /// Every second one of each room goes; the others are told messages, and know the log that much further.
    fn write_while_half_is_away(&mut self, crowd: &mut Crowd) -> Result<(), Fault> {
        for room in 0..self.rooms.count() {
            self.rooms.connections_of(room).skip(1).step_by(2).for_each(|index| crowd.cut(index));
        }
        let members = self.write(crowd, self.options.missed)?;
        for (index, member) in members.iter().enumerate().filter(|(index, _)| crowd.has(*index)) {
            self.positions[index].seq = member.last_seq.unwrap_or_default();
        }
        Ok(())
    }

    /// The storm itself, from the cut to when the last one has caught up.
    fn come_back(&mut self, mut crowd: Crowd) -> Result<Return, Fault> {
        let target = &self.options.target;
        let heads: Vec<u64> = (0..self.rooms.count()).map(|room| self.head_of(room)).collect();
        let (mut caught_up, mut recovered_events) = (Histogram::new(), 0);
        let (server_begin, own_begin) = (Usage::of(target.server_pid)?, Usage::of(std::process::id())?);
        let cpu = Cpu::of(target.server_pid)?;
        let begin = Instant::now();
        (0..target.connections as usize).for_each(|index| crowd.cut(index));
        let (rooms, positions, breaches) = (self.rooms, &self.positions, &mut self.breaches);
        let since = |index: usize| Some(&positions[index]);
        let mut entered = rooms.enter_from(&since, &mut |index, reply| {
            caught_up.record(begin.elapsed().as_nanos() as u64);
            if target.dialect == Dialect::Parlor {
                recovered_events += breaches.judge_recovery(reply, &positions[index], heads[rooms.room_of(index)]);
            }
            Ok(())
        })?;
        let seconds = begin.elapsed().as_secs_f64();
        let own = Usage::of(std::process::id())?.share_since(&own_begin, seconds);
        let share = Usage::of(target.server_pid)?.share_since(&server_begin, seconds);
        // What the server still had to do when the last reply was out belongs to the storm too.
        settle(target.dialect, &mut entered.sockets, &entered.poller, self.options.quiet)?;
        let server_micros = Cpu::of(target.server_pid)?.micros_since(&cpu);
        for position in 0..self.positions.len() {
            self.positions[position].seq = heads[self.rooms.room_of(position)];
        }
        Ok(Return { entered, caught_up, seconds, recovered_events, server_micros, server: share, own })
    }

    /// The newest `seq` that somebody of the room knows.
    fn head_of(&self, room: usize) -> u64 {
        self.rooms.connections_of(room).map(|index| self.positions[index].seq).max().unwrap_or_default()
    }

    /// One message in each room, to see that what is live follows what was recovered.
    fn write_once_more(&mut self, entered: Entered) -> Result<(), Fault> {
        let mut crowd = Crowd::new(self.options.target.dialect, entered);
        self.write(&mut crowd, 1).map(drop)
    }

    /// The first of each room writes `count` messages, and everybody who is there must get each once, in order.
    fn write(&mut self, crowd: &mut Crowd, count: u32) -> Result<Vec<Member>, Fault> {
        let dialect = self.options.target.dialect;
        let member = |index: usize| {
            let mut member = Member::new(self.rooms.room_of(index), None);
            member.last_seq = Some(self.positions[index].seq);
            member
        };
        let mut members: Vec<Member> = (0..self.positions.len()).map(member).collect();
        let (mut replies, mut deliveries) = (0, 0);
        let here = (0..members.len()).filter(|index| crowd.has(*index)).count() as u64;
        let (expected_replies, expected) = (self.rooms.count() as u64 * u64::from(count), here * u64::from(count));
        for room in 0..self.rooms.count() {
            let Some(writer) = self.rooms.connections_of(room).next() else { continue };
            let mut template = Template::new(dialect, self.rooms.conversation_of(writer), BODY_BYTES, None);
            for number in 0..count {
                crowd.send_frame(writer, |outbox| outbox.extend_from_slice(template.stamped(u64::from(number))))?;
            }
        }
        let mut last = (Instant::now(), 0);
        loop {
            let patience = if replies >= expected_replies && deliveries >= expected { SURPLUS_WAIT } else { MAX_SILENCE };
            let waited = last.0.elapsed();
            if waited >= patience {
                break;
            }
            crowd.turn(patience - waited, &mut |index, message| match dialect::classify(dialect, message) {
                Incoming::MessageCreated => {
                    deliveries += 1;
                    members[index].handle_delivery(message, dialect == Dialect::Parlor);
                }
                Incoming::SendReply => replies += 1,
                Incoming::Typing(_) | Incoming::Error | Incoming::Ping | Incoming::Other => {}
            })?;
            if replies + deliveries != last.1 {
                last = (Instant::now(), replies + deliveries);
            }
        }
        for (_, member) in members.iter().enumerate().filter(|(index, _)| crowd.has(*index)) {
            self.breaches.lost += u64::from(count).saturating_sub(member.received);
            self.breaches.surplus += member.received.saturating_sub(u64::from(count));
            self.breaches.out_of_order += member.out_of_order;
        }
        self.breaches.lost += expected_replies.saturating_sub(replies);
        Ok(members)
    }

    fn report(&self, back: &Return) -> Report {
        let connections = f64::from(self.options.target.connections);
        let mut report = Report::default();
        report.figure("connections", connections);
        report.figure("rooms", self.rooms.count() as f64);
        report.figure("connects_per_second", connections / back.seconds);
        report.figure("storm_seconds", back.seconds);
        report.latencies(["caught_up_p50_us", "caught_up_p99_us"], &back.caught_up);
        report.figure("server_cpu_us_per_recovery", back.server_micros / connections);
        report.figure("recovered_events", back.recovered_events as f64);
        report.shares(back.own, back.server);
        report.judge_cores(back.own, back.server);
        report
    }

    fn judge_promises(&self, mut report: Report) -> Report {
        let Breaches { unreadable, not_recovered, not_dense, lost, surplus, out_of_order } = self.breaches;
        report.figure("unreadable", unreadable as f64);
        report.figure("not_recovered", not_recovered as f64);
        report.figure("not_dense", not_dense as f64);
        report.figure("lost", lost as f64);
        report.figure("surplus", surplus as f64);
        report.figure("out_of_order", out_of_order as f64);
        for (count, what) in [
            (unreadable, "join replies say nothing of the log"),
            (not_recovered, "connections were told that they cannot recover"),
            (not_dense, "recoveries had gaps, repeats or too few events"),
            (lost, "replies or deliveries of live messages are missing"),
            (surplus, "deliveries of live messages are too many"),
            (out_of_order, "live deliveries did not follow the seq before them"),
        ] {
            if count > 0 {
                report.violation(format!("{count} {what}"));
            }
        }
        report
    }
}

impl Breaches {
    /// Judges a reply to a join from `since`, in a conversation that has come to `head`; returns how many events it brought.
    fn judge_recovery(&mut self, reply: &[u8], since: &Position, head: u64) -> u64 {
        let Some(joined) = parse_join(reply) else {
            self.unreadable += 1;
            return 0;
        };
        if !joined.recovered || joined.position.epoch != since.epoch {
            self.not_recovered += 1;
        } else if joined.position.seq != head || !joined.seqs.iter().copied().eq(since.seq + 1..=head) {
            self.not_dense += 1;
        }
        joined.seqs.len() as u64
    }
}

/// The part of a join reply that is about the log; it comes after the conversation, which has a `head` too.
fn parse_join(reply: &[u8]) -> Option<Joined> {
    let reply = std::str::from_utf8(reply).ok()?;
    let (_, log) = reply.split_once(r#","epoch":""#)?;
    let (epoch, log) = log.split_once(r#"","head":"#)?;
    let (head, log) = log.split_once(r#","recovered":"#)?;
    let (recovered, log) = log.split_once(r#","events":["#)?;
    let (events, _) = log.split_once(r#"],"members":"#)?;
    let seq = |event: &str| event.split(',').next().and_then(|digits| digits.parse().ok());
    Some(Joined {
        position: Position { epoch: epoch.to_owned(), seq: head.parse().ok()? },
        recovered: recovered.parse().ok()?,
        seqs: events.split(r#""seq":"#).skip(1).map(seq).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(head: u64, recovered: bool, seqs: &[u64]) -> String {
        let event = |seq: &u64| format!(r#"{{"type":"message_created","payload":{{"id":"a","seq":{seq},"content":"x"}}}}"#);
        let events: Vec<String> = seqs.iter().map(event).collect();
        format!(
            r#"{{"type":"join_conversation","payload":{{"conversation":{{"head":{head}}},"epoch":"e1","head":{head},"recovered":{recovered},"events":[{}],"members":[{{"readSeq":0}}],"typing":[]}}}}"#,
            events.join(",")
        )
    }

    fn judged(reply: &str) -> (u64, u64, u64) {
        let mut breaches = Breaches::default();
        breaches.judge_recovery(reply.as_bytes(), &Position { epoch: "e1".to_owned(), seq: 3 }, 5);
        (breaches.unreadable, breaches.not_recovered, breaches.not_dense)
    }

    #[test]
    fn a_reply_is_read() {
        let joined = parse_join(reply(5, true, &[4, 5]).as_bytes()).unwrap();
        let position = Position { epoch: "e1".to_owned(), seq: 5 };
        assert_eq!(joined, Joined { position, recovered: true, seqs: vec![4, 5] });
        assert_eq!(parse_join(reply(0, false, &[]).as_bytes()).unwrap().seqs, Vec::<u64>::new());
        assert_eq!(parse_join(b"{}"), None);
    }

    #[test]
    fn only_a_whole_and_dense_recovery_is_good() {
        assert_eq!(judged(&reply(5, true, &[4, 5])), (0, 0, 0));
        for bad in [&[5][..], &[4], &[], &[4, 4, 5], &[5, 4], &[3, 4, 5], &[4, 5, 6]] {
            assert_eq!(judged(&reply(5, true, bad)), (0, 0, 1), "{bad:?}");
        }
        assert_eq!(judged(&reply(4, true, &[4])), (0, 0, 1));
        assert_eq!(judged(&reply(5, false, &[4, 5])), (0, 1, 0));
        assert_eq!(judged(&reply(5, true, &[4, 5]).replace("e1", "e2")), (0, 1, 0));
        assert_eq!(judged("{}"), (1, 0, 0));
    }
}
