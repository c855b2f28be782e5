//! `loadgen raw` against a server whose faults are known: a generator that does not notice a lost message is worse than none.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

use support::Fault;

const USERS: usize = 120;

/// A JWT's outer form around `{"sub":"u-NNN"}`.
fn token_of(user: usize) -> String {
    format!("e30.{}.sig", base64url(format!(r#"{{"sub":"u-{user:03}"}}"#).as_bytes()))
}

fn user_of(token: &str) -> String {
    (0..USERS).find(|user| token_of(*user) == token).map_or_else(|| token.to_owned(), |user| format!("u-{user:03}"))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).for_each(|digit| out.push(char::from(DIGITS[(group >> (18 - 6 * digit)) as usize & 63])));
    }
    out
}

fn tokens_file() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tokens");
    let text: String = (0..USERS).map(|user| token_of(user) + "\n").collect();
    // Every test writes the same; a rename is atomic, so none reads half a file.
    let own = path.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::write(&own, text).unwrap();
    std::fs::rename(&own, &path).unwrap();
    path
}

fn loadgen(command: &str, fault: Fault, arguments: &[&str]) -> Output {
    let pid = std::process::id().to_string();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let mut url = support::start(fault);
    if arguments.contains(&"socketio") {
        url = url.replace("/ws", "/socket.io/?EIO=4&transport=websocket");
    }
    loadgen.args(["raw", command, "--url", &url, "--server-pid", &pid, "--json"]).args(arguments);
    if !arguments.contains(&"--dialect") {
        loadgen.arg("--tokens").arg(tokens_file());
    }
    loadgen.output().unwrap()
}

fn blast(fault: Fault, arguments: &[&str]) -> Output {
    let brief = ["--connections", "6", "--room-size", "3", "--seconds", "0.3", "--warmup", "0.1"];
    loadgen("blast", fault, &[&brief, arguments].concat())
}

fn figure(output: &Output, name: &str) -> f64 {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (_, rest) = text.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {text:?}, {output:?}"));
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn an_honest_server_passes_in_all_dialects_and_both_loops() {
    for arguments in [
        &["--dialect", "peer"][..],
        &["--dialect", "socketio"],
        &["--dialect", "socketio", "--rate", "500"],
        &["--client-ids", "--in-flight", "3"],
        &["--rate", "500"],
        &["--senders-per-room", "1"],
    ] {
        let output = blast(Fault::None, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
        assert!(figure(&output, "sends_total") > 10.0);
        assert_eq!(figure(&output, "deliveries_total"), 3.0 * figure(&output, "sends_total"));
    }
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    let output = blast(Fault::None, &["--rate", "500"]);
    assert_eq!(figure(&output, "sends_total"), 200.0);
}

#[test]
fn members_past_the_first_hundred_join_by_invite() {
    let output = loadgen("idle", Fault::None, &["--connections", "110", "--room-size", "110", "--quiet", "0.1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(figure(&output, "connections"), 110.0);
}

#[test]
fn a_lost_message_fails_the_run() {
    let output = blast(Fault::LosesOne, &["--dialect", "peer"]);
    assert_eq!((output.status.code(), figure(&output, "lost")), (Some(1), 2.0), "{output:?}");
}

#[test]
fn a_repeated_message_fails_the_run() {
    let output = blast(Fault::RepeatsOne, &[]);
    assert_eq!((output.status.code(), figure(&output, "surplus")), (Some(1), 2.0), "{output:?}");
    assert_eq!(figure(&output, "out_of_order"), 2.0);
}

#[test]
fn a_gap_in_seq_fails_the_run() {
    let output = blast(Fault::SkipsSeq, &[]);
    assert_eq!((output.status.code(), figure(&output, "out_of_order")), (Some(1), 6.0), "{output:?}");
}

#[test]
fn a_refusal_ends_the_run() {
    let output = blast(Fault::Refuses, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("rate_limited"), "{output:?}");
}

fn typing(fault: Fault, arguments: &[&str]) -> Output {
    let brief = ["--connections", "6", "--room-size", "3", "--seconds", "0.3", "--warmup", "0.1", "--rate", "500"];
    loadgen("typing", fault, &[&brief, arguments].concat())
}

#[test]
fn all_others_of_the_room_are_told_of_each_typist() {
    for arguments in [&[][..], &["--dialect", "peer"], &["--dialect", "socketio"]] {
        let output = typing(Fault::None, arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!((figure(&output, "sends_total"), figure(&output, "deliveries_total")), (200.0, 400.0));
        assert_eq!((figure(&output, "missing"), figure(&output, "misdirected")), (0.0, 0.0));
    }
}

#[test]
fn a_hint_may_be_left_out_but_not_come_twice() {
    let output = typing(Fault::LosesHint, &[]);
    assert_eq!((output.status.code(), figure(&output, "missing")), (Some(0), 2.0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("2 of 400 hints were left out"), "{output:?}");
    let output = typing(Fault::RepeatsHint, &[]);
    assert_eq!((output.status.code(), figure(&output, "surplus")), (Some(1), 2.0), "{output:?}");
}

fn storm(fault: Fault, arguments: &[&str]) -> Output {
    let brief = ["--connections", "7", "--room-size", "3", "--missed", "6", "--quiet", "0.1"];
    loadgen("storm", fault, &[&brief, arguments].concat())
}

#[test]
fn whoever_was_away_recovers_what_was_missed() {
    let output = storm(Fault::None, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Of the rooms of three the second one was away, of the room of one nobody.
    assert_eq!(figure(&output, "recovered_events"), 12.0);
    let output = storm(Fault::None, &["--dialect", "peer"]);
    assert_eq!((output.status.code(), figure(&output, "recovered_events")), (Some(0), 0.0), "{output:?}");
}

#[test]
fn a_recovery_with_a_gap_fails_the_run() {
    let output = storm(Fault::RecoversWithGap, &[]);
    assert_eq!((output.status.code(), figure(&output, "not_dense")), (Some(1), 2.0), "{output:?}");
}

#[test]
fn a_refused_recovery_fails_the_run() {
    let output = storm(Fault::Forgets, &[]);
    assert_eq!((output.status.code(), figure(&output, "not_recovered")), (Some(1), 7.0), "{output:?}");
}

#[test]
fn a_message_that_comes_twice_before_the_storm_fails_the_run() {
    let output = storm(Fault::RepeatsOne, &[]);
    assert_eq!((output.status.code(), figure(&output, "surplus")), (Some(1), 3.0), "{output:?}");
}

#[test]
fn too_few_tokens_are_a_fault() {
    let output = loadgen("idle", Fault::None, &["--connections", "121"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("120 tokens, 121 are needed"), "{output:?}");
}
