//! The workers of a run: threads of this process, or of others that it starts.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{getpgid, getppid, setpgid};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::clock::Clock;
use super::crowd::Crowd;
use super::engine;
use super::machine;
use super::orders::{Assignment, News, Order, Report};
use super::plan::{Part, Plan};
use crate::fault::Fault;
use crate::interrupt;
use crate::tokens::Token;

/// How a run is spread over the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Processes. One: this one.
    pub(crate) processes: u32,
    /// Threads of each.
    pub(crate) workers: u32,
}

/// Where orders go. Both ends of a channel are bounded by the protocol: a run has three orders, and a report each second and at each
/// turn of events.
enum Member {
    Thread(UnboundedSender<Order>),
    Process { child: Child, orders: ChildStdin },
}

/// See the module.
pub(crate) struct Team {
    members: Vec<Member>,
    reports: Receiver<Report>,
    workers: usize,
}

impl Team {
    /// Starts everybody. `tokens` are those of all people, in order.
    pub(crate) fn start(plan: &Arc<Plan>, clock: Clock, tokens: &[Token], spread: Spread) -> Result<Self, Fault> {
        let parts = plan.parts(spread.processes * spread.workers);
        let workers = parts.len();
        let (sender, reports) = channel();
        let members = if spread.processes == 1 {
            machine::allow_connections(plan.people)?;
            let tokens_of = |part: &Part| tokens[part.people.start as usize..part.people.end as usize].to_vec();
            parts
                .into_iter()
                .map(|part| (tokens_of(&part), part))
                .map(|(tokens, part)| start_thread(plan, clock, part, tokens, &sender))
                .collect::<Result<_, _>>()?
        } else {
            let shares: Vec<&[Part]> = parts.chunks(spread.workers as usize).collect();
            shares.into_iter().map(|share| start_process(plan, clock, share, tokens, &sender)).collect::<Result<_, _>>()?
        };
        Ok(Self { members, reports, workers })
    }

    /// How many workers report.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Tells everybody.
    pub(crate) fn order(&mut self, order: Order) -> Result<(), Fault> {
        for member in &mut self.members {
            match member {
                Member::Thread(orders) => orders.send(order).map_err(Fault::while_doing("a worker thread"))?,
                Member::Process { orders, .. } => write_line(orders, &order)?,
            }
        }
        Ok(())
    }

    /// The next report, if one comes in time.
    pub(crate) fn next(&self, patience: Duration) -> Result<Option<Report>, Fault> {
        match self.reports.recv_timeout(patience) {
            Ok(report) => Ok(Some(report)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::new("all workers ended before they had reported")),
        }
    }
}

impl Drop for Team {
    /// Processes end by themselves when their orders end; one that does not is killed.
    fn drop(&mut self) {
        for member in self.members.drain(..) {
            if let Member::Process { mut child, orders } = member {
                drop(orders);
                for _ in 0..100 {
                    if !matches!(child.try_wait(), Ok(None)) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                // Both fail only if it has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn start_thread(
    plan: &Arc<Plan>,
    clock: Clock,
    part: Part,
    tokens: Vec<Token>,
    reports: &Sender<Report>,
) -> Result<Member, Fault> {
    let (sender, orders) = unbounded_channel();
    let (plan, reports) = (Arc::clone(plan), reports.clone());
    let work = move || {
        let (worker, first) = (part.worker, part.people.start);
        let crowd = Crowd::new(Arc::clone(&plan), part, tokens);
        engine::run(plan, first, crowd, clock, orders, |news| {
            // Nobody hears any more only when the run is over.
            let _ = reports.send(Report { worker, news });
        });
    };
    thread::Builder::new().name("loadgen-worker".to_owned()).spawn(work).map_err(Fault::while_doing("a worker thread"))?;
    Ok(Member::Thread(sender))
}

fn start_process(
    plan: &Arc<Plan>,
    clock: Clock,
    parts: &[Part],
    tokens: &[Token],
    reports: &Sender<Report>,
) -> Result<Member, Fault> {
    let program = std::env::current_exe().map_err(Fault::while_doing("the path of this program"))?;
    let mut child = Command::new(program)
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Out of reach of a terminal's Ctrl-C, until it hears that and leaves it to this process; see `work`.
        .process_group(0)
        .spawn()
        .map_err(Fault::while_doing("a worker process"))?;
    let (Some(mut orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Fault::new("a worker process has no pipes"));
    };
    let pairs = |part: &Part| {
        let tokens = &tokens[part.people.start as usize..part.people.end as usize];
        tokens.iter().map(|token| (token.user.clone(), token.text.clone())).collect()
    };
    let parts = parts.iter().map(|part| (part.clone(), pairs(part))).collect();
    write_line(&mut orders, &Assignment { plan: Plan::clone(plan), clock, parts })?;
    let reports = reports.clone();
    let forward = move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let report = serde_json::from_str(&line).unwrap_or_else(|error| Report {
                worker: 0,
                news: News::Fatal(format!("a worker process said nonsense: {error}")),
            });
            if reports.send(report).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("loadgen-reports".to_owned()).spawn(forward).map_err(Fault::while_doing("a thread"))?;
    Ok(Member::Process { child, orders })
}

/// What a worker process does: takes its assignment and orders from standard input, and reports on standard output.
pub(crate) fn work() -> Result<(), Fault> {
    let mut lines = std::io::stdin().lock().lines();
    let mut next = || lines.next().and_then(Result::ok);
    let assignment = next().ok_or_else(|| Fault::new("a worker process gets its assignment from `loadgen run`"))?;
    join_leader()?;
    let Assignment { plan, clock, parts } = serde_json::from_str(&assignment).map_err(Fault::while_doing("the assignment"))?;
    machine::allow_connections(parts.iter().map(|(part, _)| part.people.len() as u32).sum())?;
    let plan = Arc::new(plan);
    let (sender, reports) = channel();
    let mut members = Vec::new();
    for (part, pairs) in parts {
        let tokens = pairs.into_iter().map(|(user, text)| Token { text, user }).collect();
        members.push(start_thread(&plan, clock, part, tokens, &sender)?);
    }
    drop(sender);
    let tell = thread::spawn(move || {
        let mut output = std::io::stdout().lock();
        // The channel ends when all workers have: after their last report.
        for report in reports {
            if write_line(&mut output, &report).is_err() {
                return;
            }
        }
    });
    while let Some(order) = next() {
        let order: Order = serde_json::from_str(&order).map_err(Fault::while_doing("an order"))?;
        for member in &members {
            if let Member::Thread(orders) = member {
                // A worker that has ended has said why.
                let _ = orders.send(order);
            }
        }
        if matches!(order, Order::Finish | Order::Abandon) {
            break;
        }
    }
    drop(members);
    tell.join().map_err(|_| Fault::new("the thread that reports failed"))
}

/// Goes into the process group of the process that leads this one, so that what a terminal sends reaches both: Ctrl-Z stops both, and
/// `fg` has both go on. SIGINT and SIGTERM mean nothing here: when there is no more to do is for the leader to say, whose end is the end
/// of the orders.
fn join_leader() -> Result<(), Fault> {
    interrupt::leave_to_another()?;
    let leader = getppid().ok_or_else(|| Fault::new("a worker process needs one that leads it"))?;
    getpgid(Some(leader)).and_then(|group| setpgid(None, Some(group))).map_err(Fault::while_doing("a process group"))
}

fn write_line(to: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Fault> {
    let mut line = serde_json::to_string(value).map_err(Fault::while_doing("JSON"))?;
    line.push('\n');
    to.write_all(line.as_bytes()).and_then(|()| to.flush()).map_err(Fault::while_doing("a pipe to a worker process"))
}
