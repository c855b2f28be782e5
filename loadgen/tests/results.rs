//! What is done with runs that are over, by the program as a whole: exit status, files, and what GitHub is told.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A run that passed, with 1,000 people and 500 messages a second.
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/run.json");

/// A directory of one test, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("loadgen-results-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn loadgen(arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY").args(arguments);
    command.envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The run with `from` in its text replaced by `to`.
fn changed(scratch: &Scratch, from: &str, to: &str) -> String {
    let run = fs::read_to_string(RUN).unwrap();
    assert!(run.contains(from), "{from} is in the fixture");
    let path = scratch.file("changed.json");
    fs::write(&path, run.replacen(from, to, 1)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_report_ends_as_the_run_did() {
    let scratch = Scratch::new("report");
    let dir = scratch.file("out");
    let output = loadgen(&["report", RUN, "--dir", dir.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("PASSED: every promise was kept and 2 gates were met\n"));
    for name in ["report.html", "summary.csv", "timeline.csv", "ack.hgrm", "delivery.hgrm", "run.hlog"] {
        assert!(dir.join(name).metadata().unwrap().len() > 0, "{name}");
    }
    let page = scratch.file("page.html");
    let output = loadgen(&["report", RUN, "--out", page.to_str().unwrap(), "--threshold", "ack:p99<1ms"], &[]);
    assert_eq!(output.status.code(), Some(99), "{output:?}");
    assert!(text(&output.stdout).starts_with("FAILED: 1 of 1 gate was not met\n"));
    assert!(fs::read_to_string(page).unwrap().contains("ack:p99\\u003c1ms"));
}

#[test]
fn void_and_broken_runs_have_statuses_of_their_own() {
    let scratch = Scratch::new("statuses");
    let page = scratch.file("page.html");
    let page = page.to_str().unwrap();
    let void = changed(&scratch, r#""void":[]"#, r#""void":["behind"]"#);
    assert_eq!(loadgen(&["report", &void, "--out", page], &[]).status.code(), Some(3));
    let broken = changed(&scratch, r#""breaches":0"#, r#""breaches":1"#);
    assert_eq!(loadgen(&["report", &broken, "--out", page], &[]).status.code(), Some(4));
}

#[test]
fn what_cannot_be_read_or_compared_is_said() {
    let scratch = Scratch::new("faults");
    let not_json = scratch.file("not.json");
    fs::write(&not_json, "hello").unwrap();
    let output = loadgen(&["report", not_json.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not JSON"), "{output:?}");
    let other = changed(&scratch, r#""clients":1000"#, r#""clients":7"#);
    let output = loadgen(&["compare", RUN, &other], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--clients was 1,000 and is 7"), "{output:?}");
    let output = loadgen(&["report", RUN, "--threshold", "ack:p99<25"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("write its unit"), "{output:?}");
}

#[test]
fn a_regression_fails_and_github_hears_of_it() {
    let scratch = Scratch::new("compare");
    assert_eq!(loadgen(&["compare", RUN, RUN], &[]).status.code(), Some(0));
    let slower = changed(&scratch, r#""us_per_delivery":41.0"#, r#""us_per_delivery":46.0"#);
    let summary = scratch.file("summary.md");
    let environment = [("GITHUB_ACTIONS", Path::new("true")), ("GITHUB_STEP_SUMMARY", summary.as_path())];
    let output = loadgen(&["compare", RUN, &slower], &environment);
    assert_eq!(output.status.code(), Some(99), "{output:?}");
    let printed = text(&output.stdout);
    assert!(printed.starts_with("FAILED: 1 of "), "{printed}");
    assert!(
        printed.contains("\n::error title=loadgen%3A server%3Aus_per_delivery within 10.0 %25 of the baseline::measured"),
        "{printed}"
    );
    assert!(fs::read_to_string(summary).unwrap().starts_with("### ❌ loadgen: FAILED"));
    assert_eq!(loadgen(&["compare", RUN, &slower, "--max-regression", "20%"], &[]).status.code(), Some(0));
}
