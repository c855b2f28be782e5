//! `loadgen` against the real server, as somebody would run it: what it finds, and what its exit status says.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::io::AsyncBufReadExt;

use crate::support::{Server, within};

/// Far beyond what a run of seconds takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The binary beside the server's. Cargo makes it only for its own package's tests, so it is asked to.
fn binary() -> &'static Path {
    static BUILT: OnceLock<std::path::PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let server = Path::new(env!("CARGO_BIN_EXE_parlor"));
        let path = server.with_file_name("loadgen");
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--package", "loadgen"]);
        if server.parent().is_some_and(|profile| profile.ends_with("release")) {
            cargo.arg("--release");
        }
        let status = cargo.status().expect("cargo runs the tests");
        assert!(status.success() && path.exists(), "cargo build --package loadgen");
        path
    })
}

/// Six people in groups of three for two seconds, however busy the machine is.
const BRIEF: [&str; 12] =
    ["--clients", "6", "--group-size", "3", "--max-generator-cpu", "1", "--warmup", "200ms", "--rate", "30", "--duration", "2s"];
pub(crate) const PATIENT: [&str; 2] = ["--max-lag", "1h"];

fn command(server: &Server, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(binary());
    command.args(&arguments[..1]);
    command.args(["--url", &format!("ws://{}/ws", server.address())]);
    command.arg("--jwt-secret-file").arg(server.directory().join("secret"));
    command.args(&arguments[1..]).stdin(Stdio::null()).kill_on_drop(true).env_remove("GITHUB_ACTIONS");
    command
}

async fn loadgen(server: &Server, arguments: &[&[&str]]) -> Output {
    let arguments = arguments.concat();
    let output = tokio::time::timeout(DEADLINE, command(server, &arguments).output()).await;
    output.expect("loadgen ends in time").expect("loadgen starts")
}

/// The results of a run that ended with `status`.
fn results(output: &Output, status: i32) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(status), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn every_scenario_is_run_and_kept_promise() {
    let server = Server::start(&[]).await;
    let pid = server.pid().to_string();
    for (scenario, metric) in [
        ("chat", "ack"),
        ("fanout", "delivery"),
        ("typing", "typing"),
        ("mixed", "delivery_service"),
        ("connect-storm", "connect"),
        ("reconnect-storm", "recovery"),
        ("idle", "auth"),
    ] {
        // People type for seconds: more often than this, and they would not stop in between.
        let pace = if scenario == "typing" { ["--rate", "2", "--duration", "6s"] } else { ["--rate", "30", "--duration", "2s"] };
        let run = ["run", "--scenario", scenario, "--json", "--server-pid", &pid];
        let output = loadgen(&server, &[&run, &BRIEF[..8], &pace, &PATIENT]).await;
        let results = results(&output, 0);
        assert!(results["metrics"][metric]["count"].as_u64() > Some(0), "{scenario} {results}");
        assert_eq!(
            (&results["verifier"]["breaches"], &results["counts"]["errors"]),
            (&0.into(), &serde_json::json!({})),
            "{scenario}"
        );
        assert!(results["server"]["rss_after"].as_u64() > Some(0));
    }
}

#[tokio::test]
async fn processes_merge_what_they_measured() {
    let server = Server::start(&[]).await;
    let spread = ["--processes", "2", "--workers", "2", "--clients", "24", "--source-addresses", "3"];
    let brief: Vec<&str> = BRIEF[2..].to_vec();
    let output = loadgen(&server, &[&["run", "--scenario", "fanout", "--json"], &spread, &brief, &PATIENT]).await;
    let results = results(&output, 0);
    let counts = &results["counts"];
    assert_eq!((&results["metrics"]["connect"]["count"], &results["verifier"]["conversations"]), (&24.into(), &8.into()));
    assert!(counts["sent"].as_u64() > Some(30), "{counts}");
    assert_eq!(results["metrics"]["ack"]["count"], counts["sent"]);
    // Three members of each room, and nobody away.
    assert_eq!(results["metrics"]["delivery"]["count"].as_u64(), counts["sent"].as_u64().map(|sent| 3 * sent));
}

#[tokio::test]
async fn a_closed_loop_says_so() {
    let server = Server::start(&[]).await;
    let closed = ["--closed-loop", "--clients", "4", "--group-size", "2", "--duration", "500ms", "--warmup", "100ms"];
    let output = loadgen(&server, &[&["run", "--scenario", "fanout"], &closed, &PATIENT, &["--max-generator-cpu", "1"]]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.to_lowercase().contains("closed loop"), "{text}");
}

#[tokio::test]
async fn thresholds_baselines_and_void_runs_have_their_exit_status() {
    let server = Server::start(&[]).await;
    let directory = server.directory().join("results");
    let out = directory.to_str().expect("UTF-8").to_owned();
    let run: [&[&str]; 3] = [&["run", "--scenario", "fanout", "--json"], &BRIEF, &PATIENT];
    let passed = ["--threshold", "ack:count>10", "--threshold", "errors:count==0", "--out", &out];
    let results_of_first = results(&loadgen(&server, &[run[0], run[1], run[2], &passed]).await, 0);
    assert_eq!(results_of_first["gates"].as_array().map(Vec::len), Some(2));
    for name in ["report.html", "run.json", "run.hlog", "ack.hgrm", "summary.csv", "timeline.csv"] {
        assert!(directory.join(name).metadata().is_ok_and(|file| file.len() > 0), "{name}");
    }
    let failed = ["--threshold", "ack:p50<1us"];
    assert_eq!(results(&loadgen(&server, &[run[0], run[1], run[2], &failed]).await, 99)["gates"][0]["passed"], false);
    let base = directory.join("run.json");
    let other = ["--baseline", base.to_str().expect("UTF-8"), "--seed", "2", "--closed-loop"];
    let refused = loadgen(&server, &[&["run", "--scenario", "fanout", "--clients", "6", "--duration", "300ms"], &other]).await;
    assert_eq!(refused.status.code(), Some(2), "another setup cannot be compared: {refused:?}");
    let void = loadgen(&server, &[&["run", "--scenario", "fanout", "--json"], &BRIEF, &["--max-lag", "0ms"]]).await;
    assert!(!results(&void, 3)["generator"]["void"].as_array().expect("reasons").is_empty());
}

#[tokio::test]
async fn a_run_that_has_failed_can_end_early() {
    let server = Server::start(&[]).await;
    let load = ["--clients", "20", "--group-size", "20", "--rate", "500", "--duration", "1h", "--warmup", "0s"];
    let fail = ["--threshold", "ack:p50<1us", "--abort-on-fail", "--max-generator-cpu", "1"];
    let output = loadgen(&server, &[&["run", "--scenario", "fanout", "--json"], &load, &fail, &PATIENT]).await;
    assert!(results(&output, 99)["seconds"].as_f64() < Some(60.0));
}

#[tokio::test]
async fn find_max_reports_the_knee() {
    let server = Server::start(&[]).await;
    let search = ["--scenario", "fanout", "--start-rate", "20", "--max-rate", "40", "--step", "1s", "--warmup", "100ms"];
    let limits = ["--clients", "6", "--group-size", "3", "--threshold", "errors:count==0", "--max-generator-cpu", "1"];
    let directory = server.directory().join("knee");
    let out = ["--out", directory.to_str().expect("UTF-8")];
    let output = loadgen(&server, &[&["find-max"], &search, &limits, &PATIENT, &out]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text} {output:?}");
    assert!(text.contains("40 a second held 2 of 2 times"), "{text}");
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let steps: Value = serde_json::from_slice(&read("find-max.json")).expect("JSON");
    assert_eq!(
        (&steps["held"]["rate"], &steps["broke"], steps["steps"].as_array().map(Vec::len)),
        (&40.0.into(), &Value::Null, Some(4))
    );
    let run: Value = serde_json::from_slice(&read("run.json")).expect("JSON");
    assert_eq!(run["setup"]["rate"], 40.0, "the files are of the highest rate that held");
    assert!(read("report.html").starts_with(b"<!doctype html>"));
    let impossible = ["--clients", "6", "--group-size", "3", "--threshold", "ack:p50<1us", "--max-generator-cpu", "1"];
    let output = loadgen(&server, &[&["find-max"], &search, &impossible, &PATIENT]).await;
    assert_eq!(output.status.code(), Some(99), "{output:?}");
}

/// What a file holds.
fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Waits until the server has stored more messages than these, and says how many.
pub(crate) async fn more_are_stored(server: &Server, before: u64) -> u64 {
    within("messages to be stored", async {
        loop {
            let metrics = crate::support::http::get(server.address(), "/metrics").await.body;
            let stored = metrics.lines().find_map(|line| line.strip_prefix("parlor_messages_total "));
            let stored = stored.and_then(|number| number.parse().ok()).expect("a number");
            if stored > before {
                return stored;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// `find-max` while it runs: its process, and what it says on standard error.
pub(crate) struct Running {
    child: tokio::process::Child,
    said: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStderr>>,
}

impl Running {
    /// In a process group of its own, as a shell starts it.
    pub(crate) fn start(server: &Server, arguments: &[&[&str]]) -> Self {
        let mut command = command(server, &arguments.concat());
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("loadgen starts");
        let said = tokio::io::BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, said }
    }

    /// Reads on until it says this.
    pub(crate) async fn says(&mut self, what: &str) {
        let mut heard = String::new();
        let hear = async {
            while let Some(line) = self.said.next_line().await.expect("it can be read") {
                heard += &line;
                heard.push('\n');
                if line.contains(what) {
                    return;
                }
            }
            panic!("it ended without {what:?}");
        };
        if tokio::time::timeout(DEADLINE, hear).await.is_err() {
            panic!("it does not say {what:?}: {heard}");
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(Pid::from_raw).expect("it has not been waited for")
    }

    /// Its exit status, and what it printed.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let drain = async { while let Ok(Some(_)) = self.said.next_line().await {} };
        let end = async { tokio::join!(self.child.wait_with_output(), drain).0 };
        let output = tokio::time::timeout(DEADLINE, end).await.expect("loadgen ends in time").expect("loadgen runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    }
}

/// Ctrl-C reaches every process of the group; those that carry the people end with the first, when it has heard them.
#[tokio::test]
async fn find_max_that_is_interrupted_keeps_what_it_has_found() {
    let server = Server::start(&[]).await;
    let search = ["--scenario", "fanout", "--start-rate", "20", "--step", "1s", "--warmup", "100ms", "--processes", "2"];
    let limits = ["--clients", "6", "--group-size", "3", "--threshold", "errors:count==0", "--max-generator-cpu", "1"];
    let directory = server.directory().join("cut");
    let out = ["--out", directory.to_str().expect("UTF-8")];
    let mut running = Running::start(&server, &[&["find-max"], &search, &limits, &PATIENT, &out]);
    running.says("step 3:").await;
    running.says("the traffic begins").await;
    rustix::process::kill_process_group(running.pid(), Signal::INT).expect("it runs");
    let (status, text) = running.end().await;
    assert_eq!(status, Some(130), "{text}");
    assert!(text.contains("Cut short by SIGINT, so where the knee is is not known. The best "), "{text}");
    let steps: Value = json(&directory.join("find-max.json"));
    let held = |index: usize| steps["steps"][index]["ending"] == "held";
    assert!(steps["cut_short"] == "SIGINT" && held(0) && held(1), "{steps}");
    let run: Value = json(&directory.join("run.json"));
    assert_eq!(run["setup"]["rate"], steps["held"]["rate"], "the files are of the highest rate that held");
}

#[tokio::test]
async fn find_max_measures_up_to_a_signal() {
    let server = Server::start(&[]).await;
    let search = ["--scenario", "fanout", "--start-rate", "20", "--step", "1h", "--warmup", "0s", "--drain", "1h"];
    let limits = ["--clients", "6", "--group-size", "3", "--threshold", "errors:count==0", "--max-generator-cpu", "1"];
    let directory = server.directory().join("cut");
    let out = ["--out", directory.to_str().expect("UTF-8")];
    let running = Running::start(&server, &[&["find-max"], &search, &limits, &PATIENT, &out]);
    more_are_stored(&server, 0).await;
    rustix::process::kill_process(running.pid(), Signal::TERM).expect("it runs");
    let (status, text) = running.end().await;
    assert_eq!(status, Some(143), "{text}");
    assert!(text.contains("was cut short") && text.contains("Cut short by SIGTERM"), "{text}");
    assert!(text.contains("No rate held so far"), "{text}");
    let steps: Value = json(&directory.join("find-max.json"));
    assert!(steps["steps"][0]["answered"].as_f64() > Some(0.0), "{steps}");
    assert!(!directory.join("run.json").exists(), "no step came to its end");
}

/// With a server that stands still, all that is under way would be waited for.
const LONG_DRAIN: [&str; 14] = [
    "--scenario",
    "fanout",
    "--warmup",
    "0s",
    "--drain",
    "1h",
    "--clients",
    "6",
    "--group-size",
    "3",
    "--threshold",
    "errors:count==0",
    "--max-generator-cpu",
    "1",
];

#[tokio::test]
async fn find_max_that_is_told_to_end_twice_waits_for_nothing_and_loses_nothing() {
    let server = Server::start(&[]).await;
    let directory = server.directory().join("twice");
    let out = ["--out", directory.to_str().expect("UTF-8")];
    let mut running =
        Running::start(&server, &[&["find-max", "--start-rate", "20", "--step", "4s"], &LONG_DRAIN, &PATIENT, &out]);
    running.says("step 2:").await;
    let stored = more_are_stored(&server, 0).await;
    more_are_stored(&server, stored).await;
    server.pause();
    rustix::process::kill_process(running.pid(), Signal::TERM).expect("it runs");
    running.says("waiting for what is still under way").await;
    rustix::process::kill_process(running.pid(), Signal::TERM).expect("it waits");
    let (status, text) = running.end().await;
    server.resume();
    assert_eq!(status, Some(143), "{text}");
    let best = "Cut short by SIGTERM, so where the knee is is not known. The best step so far: 20 a second, which held once;";
    assert!(text.contains(best), "{text}");
    let steps: Value = json(&directory.join("find-max.json"));
    assert_eq!((&steps["steps"][0]["ending"], &steps["steps"][1]["ending"]), (&"held".into(), &"was cut short".into()));
    assert_eq!(json(&directory.join("run.json"))["setup"]["rate"], 20.0);
}

#[tokio::test]
async fn a_run_that_is_told_to_end_twice_waits_for_nothing_and_loses_nothing() {
    let server = Server::start(&[]).await;
    let mut running = Running::start(&server, &[&["run", "--rate", "20", "--duration", "1h"], &LONG_DRAIN, &PATIENT]);
    more_are_stored(&server, 0).await;
    server.pause();
    rustix::process::kill_process(running.pid(), Signal::INT).expect("it runs");
    running.says("told to end; waiting").await;
    rustix::process::kill_process(running.pid(), Signal::TERM).expect("it waits");
    let (status, text) = running.end().await;
    server.resume();
    assert_eq!(status, Some(130), "{text}");
    assert!(text.contains("not cut short by SIGINT") && !text.contains("without an answer"), "{text}");
}

#[tokio::test]
async fn a_run_that_is_interrupted_reports_what_it_has_measured() {
    let server = Server::start(&[]).await;
    let load = ["--scenario", "fanout", "--rate", "50", "--duration", "1h", "--warmup", "0s"];
    let crowd = ["--clients", "6", "--group-size", "3", "--threshold", "errors:count==0", "--max-generator-cpu", "1"];
    let directory = server.directory().join("cut");
    let out = ["--out", directory.to_str().expect("UTF-8")];
    let running = Running::start(&server, &[&["run"], &load, &crowd, &PATIENT, &out]);
    more_are_stored(&server, 0).await;
    rustix::process::kill_process(running.pid(), Signal::INT).expect("it runs");
    let (status, text) = running.end().await;
    assert_eq!(status, Some(130), "{text}");
    assert!(text.contains("not cut short by SIGINT"), "{text}");
    let run: Value = json(&directory.join("run.json"));
    let gates = run["gates"].as_array().expect("gates");
    let gate = |part: &str| gates.iter().find(|gate| gate["condition"].as_str().is_some_and(|text| text.contains(part)));
    assert_eq!(gate("errors:count").expect("the threshold")["passed"], true, "{run}");
    assert_eq!(gate("SIGINT").expect("what cut it short")["passed"], false, "{run}");
    assert!(run["metrics"]["ack"]["count"].as_u64() > Some(0), "{run}");
    assert!(directory.join("report.html").exists());
}

#[tokio::test]
async fn a_run_that_is_interrupted_before_it_has_measured_anything_says_so() {
    let server = Server::start(&[]).await;
    let load = ["--scenario", "fanout", "--rate", "50", "--duration", "1h", "--warmup", "1h"];
    let crowd = ["--clients", "6", "--group-size", "3", "--max-generator-cpu", "1"];
    let mut running = Running::start(&server, &[&["run"], &load, &crowd, &PATIENT]);
    running.says("the traffic begins").await;
    rustix::process::kill_process(running.pid(), Signal::TERM).expect("it runs");
    running.says("SIGTERM came before anything was measured").await;
    let (status, text) = running.end().await;
    assert_eq!((status, text.as_str()), (Some(143), ""));
}

/// Six people of whom each may send five a second carry thirty; the machine carries more.
#[tokio::test]
async fn find_max_tells_a_limit_for_each_user_from_the_knee() {
    let server = Server::start(&[("--messages-per-second", "5"), ("--message-burst", "5")]).await;
    let search = ["--scenario", "fanout", "--start-rate", "120", "--step", "4s", "--warmup", "100ms"];
    let limits = ["--clients", "6", "--group-size", "3", "--threshold", "ack:p99<3600s", "--max-generator-cpu", "1"];
    let directory = server.directory().join("limit");
    let out = ["--out", directory.to_str().expect("UTF-8")];
    let output = loadgen(&server, &[&["find-max"], &search, &limits, &PATIENT, &out]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text} {output:?}");
    assert!(text.contains("At 120 a second, 20 of each user, the server refused "), "{text}");
    assert!(text.contains("have more --clients, or run the server with a higher limit"), "{text}");
    let steps: Value = json(&directory.join("find-max.json"));
    assert_eq!((steps["steps"].as_array().map(Vec::len), &steps["broke"]), (Some(1), &Value::Null), "{steps}");
    assert_eq!(steps["steps"][0]["ending"], "met a limit");
}

/// The store is on disk, so that a kill loses nothing that was acknowledged; the people come back by themselves.
#[tokio::test]
async fn a_killed_server_costs_errors_but_no_promise() {
    let mut server = Server::start(&[]).await;
    let pid = server.pid().to_string();
    let load =
        ["--clients", "12", "--group-size", "4", "--rate", "60", "--duration", "6s", "--warmup", "100ms", "--drain", "60s"];
    let mut running = command(
        &server,
        &[&["run", "--scenario", "chat", "--json", "--server-pid", &pid], &load[..], &PATIENT, &["--max-generator-cpu", "1"]]
            .concat(),
    );
    let running = running.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loadgen starts");
    more_are_stored(&server, 0).await;
    server.kill();
    server.restart_in_place().await;
    let output = tokio::time::timeout(DEADLINE, running.wait_with_output()).await;
    let output = output.expect("loadgen ends in time").expect("loadgen runs");
    let results = results(&output, 0);
    assert!(results["counts"]["errors"]["connection_lost"].as_u64() > Some(0), "{}", results["counts"]);
    assert!(results["verifier"]["recoveries"].as_u64() >= Some(12), "{}", results["verifier"]);
    assert_eq!(results["verifier"]["breaches"], 0);
}

#[tokio::test]
async fn the_verifier_finds_every_fault_in_front_of_the_real_server() {
    let server = Server::start(&[]).await;
    let output = loadgen(&server, &[&["selftest"]]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text} {output:?}");
}

#[tokio::test]
async fn the_verifier_finds_every_fault_without_a_server() {
    let selftest = tokio::process::Command::new(binary()).arg("selftest").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(DEADLINE, selftest).await.expect("loadgen ends in time").expect("loadgen starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
