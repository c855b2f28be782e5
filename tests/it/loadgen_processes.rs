//! The processes of `loadgen … --processes`: they are stopped and go on with the first, and end with it, however it ends.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::loadgen::{PATIENT, Running, more_are_stored};
use crate::support::{Server, within};

/// Six people in two processes, for longer than a test may take.
const LONG: [&str; 14] = [
    "--processes",
    "2",
    "--scenario",
    "fanout",
    "--clients",
    "6",
    "--group-size",
    "3",
    "--max-generator-cpu",
    "1",
    "--warmup",
    "0s",
    "--threshold",
    "errors:count==0",
];

/// What proc(5) tells of a process. The name stands in brackets and may hold any character; what follows counts from field 3.
struct Stat {
    state: String,
    parent: i32,
    /// When it was started: with its id, what tells it from a later one of the same id.
    started: u64,
}

impl Stat {
    /// None of a process that is no more.
    fn of(pid: Pid) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let number = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
        Some(Self { state: fields[0].to_owned(), parent: i32::try_from(number(4)).expect("an id"), started: number(22) })
    }

    fn is_stopped(&self) -> bool {
        self.state == "T"
    }

    /// Of one that has ended the id may stay until somebody asks about it.
    fn has_ended(&self) -> bool {
        self.state == "Z" || self.state == "X"
    }
}

/// A process that another one has started. One that is left over at the end of the test is killed.
struct Worker {
    pid: Pid,
    started: u64,
}

impl Worker {
    /// All of this one.
    fn all_of(parent: Pid) -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
        let all = ids.filter_map(|pid| Some((pid, Stat::of(pid)?)));
        let children = all.filter(|(_, stat)| stat.parent == parent.as_raw_nonzero().get() && !stat.has_ended());
        children.map(|(pid, stat)| Self { pid, started: stat.started }).collect()
    }

    /// None once it has ended.
    fn stat(&self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.started == self.started && !stat.has_ended())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.stat().is_some() {
            // It may end at this moment.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn workers_end_when_the_process_that_leads_them_is_killed() {
    for load in [["run", "--rate", "50", "--duration", "1h"], ["find-max", "--start-rate", "50", "--step", "1h"]] {
        // One of its own: that more is stored says that this load has begun.
        let server = Server::start(&[]).await;
        let running = Running::start(&server, &[&load, &LONG, &PATIENT]);
        more_are_stored(&server, 0).await;
        let workers = Worker::all_of(running.pid());
        assert_eq!(workers.len(), 2, "{}", load[0]);
        kill_process(running.pid(), Signal::KILL).expect("it runs");
        until("the workers to end", || workers.iter().all(|worker| worker.stat().is_none())).await;
        assert_eq!(running.end().await.0, None, "a signal ended it");
    }
}

/// Ctrl-Z, `fg`, and Ctrl-C, as a terminal sends them to all processes of the group.
#[tokio::test]
async fn workers_are_stopped_and_go_on_with_the_process_that_leads_them() {
    let server = Server::start(&[]).await;
    let load = ["find-max", "--start-rate", "50", "--step", "1h"];
    let running = Running::start(&server, &[&load, &LONG, &PATIENT]);
    more_are_stored(&server, 0).await;
    let leader = running.pid();
    let workers = Worker::all_of(leader);
    assert_eq!(workers.len(), 2);
    let all = || workers.iter().map(Worker::stat).chain([Stat::of(leader)]);
    kill_process_group(leader, Signal::TSTP).expect("it runs");
    until("all to be stopped", || all().all(|stat| stat.is_some_and(|stat| stat.is_stopped()))).await;
    kill_process_group(leader, Signal::CONT).expect("it is stopped");
    until("all to go on", || all().all(|stat| stat.is_some_and(|stat| !stat.is_stopped()))).await;
    let before = more_are_stored(&server, 0).await;
    more_are_stored(&server, before).await;
    // The workers hear it, too, and leave it to the first to say when they end: nothing of what they have measured is lost.
    kill_process_group(leader, Signal::INT).expect("it runs");
    let (status, text) = running.end().await;
    assert_eq!(status, Some(130), "{text}");
    assert!(text.contains("was cut short") && text.contains("Cut short by SIGINT"), "{text}");
    until("the workers to end", || workers.iter().all(|worker| worker.stat().is_none())).await;
}

/// Workers that stand still report nothing, also not what they have measured, which is waited for whatever else is not.
#[tokio::test]
async fn a_process_that_is_told_to_end_three_times_waits_for_no_worker() {
    let server = Server::start(&[]).await;
    let load = ["find-max", "--start-rate", "50", "--step", "1h", "--drain", "1h"];
    let mut running = Running::start(&server, &[&load, &LONG, &PATIENT]);
    more_are_stored(&server, 0).await;
    let leader = running.pid();
    let workers = Worker::all_of(leader);
    workers.iter().for_each(|worker| kill_process(worker.pid, Signal::STOP).expect("it runs"));
    kill_process(leader, Signal::INT).expect("it runs");
    running.says("told to end; waiting").await;
    kill_process(leader, Signal::INT).expect("it waits");
    running.says("told once more").await;
    kill_process(leader, Signal::TERM).expect("it waits");
    // What a worker that stands still holds open would be read to its end.
    drop(workers);
    assert_eq!(running.end().await, (Some(143), String::new()));
}
