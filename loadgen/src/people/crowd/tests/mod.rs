//! The crowd against a house without sockets or time: what is tested is what people ask for, and what they make of the answers.
//! `lies.rs` has the house say what is not so.

mod lies;

use serde_json::Value;

use super::super::plan::{SECOND, Sizes};
use super::super::scenario::{Scenario, tests::plan};
use super::*;
use crate::selftest::house::House;
use crate::tokens;

/// Changes what the house says; whether it is said at all.
type Lie = Box<dyn FnMut(&mut Value) -> bool>;

/// A crowd and its server. Texts travel in no time, in order.
struct World {
    crowd: Crowd,
    house: House,
    lie: Option<Lie>,
    connected: Vec<Option<u32>>,
    now: u64,
    /// Everything that was sent, for comparing runs.
    sent: Vec<String>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let people = plan.people;
        let part = Part { worker: 0, people: 0..people };
        let crowd = Crowd::new(Arc::new(plan), part, tokens::made_up(people as usize));
        let connected = vec![None; people as usize];
        let mut world = Self { crowd, house: House::default(), lie: None, connected, now: 0, sent: Vec::new() };
        world.crowd.arrive(0);
        world
    }

    /// Lets time pass until `until`.
    fn run(&mut self, until: u64) {
        loop {
            self.settle();
            match self.crowd.next_due() {
                Some(due) if due <= until => self.now = due.max(self.now),
                _ => break,
            }
            self.crowd.advance(self.now);
        }
        self.now = until;
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.crowd.next_output() {
            match output {
                Output::Connect { person, generation } => {
                    self.connected[person as usize] = Some(generation);
                    self.crowd.opened(person, generation, self.now);
                }
                Output::Send { person, text } => {
                    self.sent.push(text.clone());
                    let answers = self.house.hear(u64::from(person), &text);
                    self.deliver(answers);
                }
                Output::Close { person, .. } => {
                    self.connected[person as usize] = None;
                    let answers = self.house.gone(u64::from(person));
                    self.deliver(answers);
                }
            }
        }
    }

    fn deliver(&mut self, texts: Vec<(u64, String)>) {
        for (connection, text) in texts {
            let Some(text) = self.said(text) else { continue };
            if let Some(generation) = self.connected[connection as usize] {
                self.crowd.heard(connection as u32, generation, &text, self.now);
            }
        }
    }

    /// What becomes of a text of the house's.
    fn said(&mut self, text: String) -> Option<String> {
        let Some(lie) = &mut self.lie else { return Some(text) };
        let mut value = serde_json::from_str(&text).unwrap();
        lie(&mut value).then(|| value.to_string())
    }

    /// The server drops everybody, as when it is restarted.
    fn cut_everybody(&mut self, ending: Ending) {
        for person in 0..self.connected.len() as u32 {
            if let Some(generation) = self.connected[person as usize].take() {
                let answers = self.house.gone(u64::from(person));
                self.crowd.closed(person, generation, ending, self.now);
                self.deliver(answers);
            }
        }
    }

    /// Arrives, runs the traffic for the plan's time, and ends.
    fn whole_run(&mut self) -> (Tally, Verified) {
        self.run(3 * SECOND);
        assert!(self.crowd.is_ready());
        let plan = Arc::clone(&self.crowd.plan);
        let window = self.now + plan.warmup_ns..self.now + plan.warmup_ns + plan.duration_ns;
        self.crowd.begin(self.now, window.clone(), self.now);
        self.run(window.end);
        self.end()
    }

    fn end(&mut self) -> (Tally, Verified) {
        self.crowd.stop(self.now);
        self.run(self.now + 30 * SECOND);
        assert!(self.crowd.is_drained());
        self.crowd.finish(self.now)
    }
}

fn count(tally: &Tally, metric: Metric) -> u64 {
    tally.histograms.of(metric).len()
}

#[test]
fn a_chat_is_measured_and_breaks_nothing() {
    let mut world = World::new(Plan { rate: Some(10.0), ..plan() });
    let (tally, verified) = world.whole_run();
    assert_eq!((verified.breaches, &tally.counts.errors), (0, &Default::default()), "{verified:?}");
    assert!((150..250).contains(&tally.counts.due), "{}", tally.counts.due);
    assert_eq!((tally.counts.sent, tally.counts.acked), (tally.counts.due, tally.counts.due));
    assert_eq!(count(&tally, Metric::Ack), tally.counts.due);
    // Groups of three; who is away gets a message only when they are back.
    assert!(count(&tally, Metric::Delivery) <= 3 * tally.counts.due && tally.counts.delivered > 2 * tally.counts.due);
    assert_eq!((count(&tally, Metric::Join), verified.conversations), (6, 2));
    assert!(count(&tally, Metric::Typing) > 0 && tally.counts.reads > 0 && verified.typing > 0);
}

#[test]
fn the_same_seed_does_the_same() {
    let sent = |seed| {
        let mut world = World::new(Plan { seed, ..plan() });
        world.whole_run();
        world.sent
    };
    assert_eq!(sent(1), sent(1));
    assert_ne!(sent(1), sent(2));
}

#[test]
fn everybody_comes_back_after_a_cut_and_misses_nothing() {
    let mut world = World::new(Plan { rate: Some(20.0), ..plan() });
    world.run(3 * SECOND);
    world.crowd.begin(world.now, world.now..u64::MAX, world.now);
    world.run(world.now + 5 * SECOND);
    world.cut_everybody(Ending::Broken);
    assert_eq!(world.crowd.here(), 0);
    world.run(world.now + 10 * SECOND);
    assert_eq!(world.crowd.here(), 6);
    let (tally, verified) = world.end();
    assert_eq!((verified.breaches, tally.counts.errors["connection_lost"]), (0, 6), "{verified:?}");
    assert!(verified.recoveries >= 6 && count(&tally, Metric::Recovery) >= 6);
    assert_eq!(tally.counts.sent, tally.counts.acked);
}

#[test]
fn who_is_told_not_to_come_back_does_not() {
    let mut world = World::new(plan());
    world.run(3 * SECOND);
    world.crowd.begin(world.now, world.now..u64::MAX, world.now);
    world.cut_everybody(Ending::Code(4503));
    world.run(world.now + 30 * SECOND);
    assert_eq!(world.crowd.here(), 0);
    let (tally, verified) = world.end();
    assert_eq!((tally.counts.errors["close_4503"], verified.breaches), (6, 0));
}

#[test]
fn a_storm_ends_when_the_last_is_caught_up() {
    for scenario in [Scenario::ConnectStorm, Scenario::ReconnectStorm] {
        let mut world = World::new(Plan {
            scenario,
            behaviour: scenario.behaviour(),
            rate: None,
            people: 20,
            sizes: Sizes::all(5),
            ..plan()
        });
        world.run(3 * SECOND);
        let start = world.now + 5 * SECOND;
        world.crowd.begin(start, start..start + 20 * SECOND, world.now);
        world.run(start - 1);
        assert_eq!((world.crowd.here(), world.crowd.storm_end()), (0, None));
        world.run(start + 20 * SECOND);
        assert_eq!((world.crowd.here(), world.crowd.storm_end()), (20, Some(start)), "{scenario:?}");
        let (tally, verified) = world.end();
        assert_eq!((verified.breaches, tally.counts.connects), (0, 20));
        let expected = if scenario == Scenario::ReconnectStorm { (20, 20 * 10) } else { (0, 0) };
        assert_eq!((count(&tally, Metric::Recovery), verified.events), expected, "{scenario:?}");
    }
}

#[test]
fn groups_past_a_hundred_are_entered_by_their_code() {
    let mut world = World::new(Plan { people: 130, sizes: Sizes::all(130), ..plan() });
    world.run(3 * SECOND);
    assert!(world.crowd.is_ready());
    assert_eq!(world.sent.iter().filter(|text| text.contains("\"join_group\"")).count(), 29);
}

#[test]
fn a_closed_loop_sends_after_each_reply() {
    let mut world =
        World::new(Plan { closed_loop: true, behaviour: Scenario::Fanout.behaviour(), scenario: Scenario::Fanout, ..plan() });
    world.run(3 * SECOND);
    world.crowd.begin(world.now, world.now..world.now + 1, world.now);
    // The house answers in no time, so the turn's bound is what ends it.
    world.crowd.advance(world.now);
    for _ in 0..100 {
        let Some(output) = world.crowd.next_output() else { break };
        if let Output::Send { person, text } = output {
            let answers = world.house.hear(u64::from(person), &text);
            world.deliver(answers);
        }
    }
    let sent = world.crowd.take_second().counts.sent;
    assert!(sent > 50, "{sent}");
}
