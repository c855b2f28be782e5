//! One worker: a thread with a crowd, its sockets and its clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::clock::{Clock, Timer, thread_cpu};
use super::crowd::{Crowd, Ending, Output};
use super::orders::{News, Order, WorkerSecond};
use super::plan::{Plan, SECOND};
use super::socket::{self, Incoming, Outbox};
use crate::fault::Fault;

/// How often the engine looks whether something has come to an end.
const LOOK: Duration = Duration::from_millis(20);
/// How often overdue actions are gone through before orders are heard again: a worker that cannot keep up still ends when told to.
const MAX_TURNS: u32 = 16;
/// Longest wait for a handshake.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection that is open, or being opened.
struct Connection {
    generation: u32,
    /// The task that opens and reads it.
    task: AbortHandle,
    /// What waits to be written, once it is open.
    outbox: Option<Rc<Outbox>>,
}

struct Engine {
    plan: Arc<Plan>,
    first_person: u32,
    clock: Clock,
    crowd: RefCell<Crowd>,
    connections: RefCell<Vec<Option<Connection>>>,
    timer: Timer,
}

/// What has been reported already.
#[derive(Default)]
struct Reported {
    ready: bool,
    storm_over: bool,
    drained: bool,
}

/// Runs a crowd until it is told to finish. `first_person` is the number of its first person in the whole run.
pub(crate) fn run(
    plan: Arc<Plan>,
    first_person: u32,
    crowd: Crowd,
    clock: Clock,
    orders: UnboundedReceiver<Order>,
    report: impl Fn(News),
) {
    let outcome =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fault::while_doing("a runtime")).and_then(
            |runtime| {
                let tasks = tokio::task::LocalSet::new();
                tasks.block_on(&runtime, async {
                    let timer = Timer::new(clock).map_err(Fault::while_doing("a timer"))?;
                    let connections = RefCell::new((0..crowd.people()).map(|_| None).collect());
                    let engine = Rc::new(Engine { plan, first_person, clock, crowd: RefCell::new(crowd), connections, timer });
                    drive(engine, orders, &report).await
                })
            },
        );
    if let Err(fault) = outcome {
        report(News::Fatal(fault.to_string()));
    }
}

async fn drive(engine: Rc<Engine>, mut orders: UnboundedReceiver<Order>, report: &impl Fn(News)) -> Result<(), Fault> {
    let mut reported = Reported::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut second = Seconds::start(engine.clock);
    engine.crowd.borrow_mut().arrive(engine.clock.now());
    engine.settle()?;
    let (tally, verified) = loop {
        tokio::select! {
            woken = engine.timer.wait() => {
                woken.map_err(Fault::while_doing("a timer"))?;
                engine.advance().await?;
            }
            order = orders.recv() => match order {
                Some(Order::Begin { start, window }) => engine.crowd.borrow_mut().begin(start, window.0..window.1, engine.clock.now()),
                Some(Order::Stop) => engine.crowd.borrow_mut().stop(engine.clock.now()),
                Some(last @ (Order::Finish | Order::Abandon)) => {
                    second.close(&engine, report);
                    engine.hang_up();
                    let mut crowd = engine.crowd.borrow_mut();
                    break if last == Order::Finish { crowd.finish(engine.clock.now()) } else { crowd.abandon() };
                }
                None => return Ok(()),
            },
            _ = look.tick() => {
                second.look(&engine, report);
                engine.look(&mut reported, report);
            }
        }
        engine.settle()?;
    };
    report(News::Finished { tally: Box::new(tally), verified: Box::new(verified) });
    Ok(())
}

impl Engine {
    /// Does what is due, with a breath in between for the sockets.
    async fn advance(self: &Rc<Self>) -> Result<(), Fault> {
        for _ in 0..MAX_TURNS {
            let more = self.crowd.borrow_mut().advance(self.clock.now());
            self.settle()?;
            if !more {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        // What is left is due already, so the timer wakes at once, after whatever else waits to be heard.
        Ok(())
    }

    /// Carries out what the crowd wants, and sets the timer.
    fn settle(self: &Rc<Self>) -> Result<(), Fault> {
        loop {
            let output = self.crowd.borrow_mut().next_output();
            match output {
                Some(Output::Connect { person, generation }) => self.connect(person, generation),
                Some(Output::Send { person, text }) => self.send(person, text),
                Some(Output::Close { person, abruptly }) => self.close(person, abruptly),
                None => break,
            }
        }
        let due = self.crowd.borrow().next_due();
        due.map_or(Ok(()), |due| self.timer.set(due)).map_err(Fault::while_doing("a timer"))
    }

    fn connect(self: &Rc<Self>, person: u32, generation: u32) {
        let engine = Rc::clone(self);
        let task = tokio::task::spawn_local(async move {
            let ending = engine.live(person, generation).await;
            engine.crowd.borrow_mut().closed(person, generation, ending, engine.clock.now());
            engine.forget(person, generation);
            engine.settle_or_end();
        });
        self.connections.borrow_mut()[person as usize] = Some(Connection { generation, task: task.abort_handle(), outbox: None });
    }

    /// Opens a connection and hears what comes, until it ends.
    async fn live(self: &Rc<Self>, person: u32, generation: u32) -> Ending {
        let source = (self.first_person + person) % self.plan.sources;
        let opening = socket::open(self.plan.address, &self.plan.path, source);
        let Ok(Ok((mut reader, outbox))) = tokio::time::timeout(OPEN_TIMEOUT, opening).await else { return Ending::Refused };
        if let Some(Some(connection)) = self.connections.borrow_mut().get_mut(person as usize)
            && connection.generation == generation
        {
            connection.outbox = Some(Rc::clone(&outbox));
        }
        let ending_outbox = EndOnDrop(Rc::clone(&outbox));
        self.crowd.borrow_mut().opened(person, generation, self.clock.now());
        self.settle_or_end();
        let ending = loop {
            match reader.next().await {
                Ok(Incoming::Text(payload)) => {
                    // The reader has checked that it is UTF-8; a server that sends anything else is told of by `heard`.
                    let text = std::str::from_utf8(&payload).unwrap_or("");
                    self.crowd.borrow_mut().heard(person, generation, text, self.clock.now());
                    self.settle_or_end();
                }
                Ok(Incoming::Ping(payload)) => {
                    outbox.pong(payload);
                }
                Ok(Incoming::Close(code)) => {
                    outbox.close();
                    break code.map_or(Ending::Broken, Ending::Code);
                }
                Ok(Incoming::Other) => {}
                Err(_) => break Ending::Broken,
            }
        };
        drop(ending_outbox);
        ending
    }

    /// A timer that cannot be set cannot be mended; the run then stands still and its leader gives up waiting.
    fn settle_or_end(self: &Rc<Self>) {
        if let Err(fault) = self.settle() {
            eprintln!("loadgen: {fault}");
        }
    }

    fn send(self: &Rc<Self>, person: u32, text: String) {
        let connections = self.connections.borrow();
        let Some(Connection { outbox: Some(outbox), generation, .. }) = &connections[person as usize] else { return };
        if outbox.send(text) {
            return;
        }
        let generation = *generation;
        drop(connections);
        self.close(person, true);
        self.crowd.borrow_mut().closed(person, generation, Ending::Broken, self.clock.now());
    }

    fn close(&self, person: u32, abruptly: bool) {
        if let Some(connection) = self.connections.borrow_mut()[person as usize].take() {
            match &connection.outbox {
                Some(outbox) if !abruptly => outbox.close(),
                Some(outbox) => outbox.cut(),
                None => {}
            }
            connection.task.abort();
        }
    }

    fn forget(&self, person: u32, generation: u32) {
        let slot = &mut self.connections.borrow_mut()[person as usize];
        if slot.as_ref().is_some_and(|connection| connection.generation == generation) {
            *slot = None;
        }
    }

    fn hang_up(&self) {
        let people = self.connections.borrow().len() as u32;
        for person in 0..people {
            self.close(person, true);
        }
    }

    /// Reports what has come to be since the last look.
    fn look(&self, reported: &mut Reported, report: &impl Fn(News)) {
        let crowd = self.crowd.borrow();
        if let Some(fatal) = crowd.fatal() {
            report(News::Fatal(fatal.to_owned()));
        }
        if !reported.ready && crowd.is_ready() {
            reported.ready = true;
            report(News::Ready);
        }
        if let Some(at) = crowd.storm_end()
            && !reported.storm_over
        {
            reported.storm_over = true;
            report(News::StormOver { at });
        }
        if !reported.drained && crowd.is_drained() {
            reported.drained = true;
            report(News::Drained);
        }
    }
}

/// Lets the writing task end when the reading one does, also when that is aborted.
struct EndOnDrop(Rc<Outbox>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Cuts time into seconds, the same for all workers.
struct Seconds {
    next: u64,
    since: u64,
    cpu: u64,
}

impl Seconds {
    fn start(clock: Clock) -> Self {
        let now = clock.now();
        Self { next: now / SECOND + 1, since: now, cpu: thread_cpu() }
    }

    fn look(&mut self, engine: &Engine, report: &impl Fn(News)) {
        if engine.clock.now() >= self.next * SECOND {
            self.close(engine, report);
        }
    }

    fn close(&mut self, engine: &Engine, report: &impl Fn(News)) {
        let (now, cpu) = (engine.clock.now(), thread_cpu());
        let share = (cpu - self.cpu) as f64 / now.saturating_sub(self.since).max(1) as f64;
        let mut crowd = engine.crowd.borrow_mut();
        let second = WorkerSecond {
            at: self.next,
            tally: crowd.take_second(),
            connections: crowd.here(),
            breaches: crowd.breaches(),
            cpu: share,
        };
        *self = Self { next: (now / SECOND + 1).max(self.next + 1), since: now, cpu };
        report(News::Second(Box::new(second)));
    }
}
