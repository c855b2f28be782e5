//! How many instructions each path of a message takes, for CI: `scripts/instructions` runs this and holds it to
//! `counts.json`.
//!
//! What is measured is in `paths`. Each runs once, under Valgrind, which counts; the machine and what else runs on it do not
//! matter. System calls count as the one instruction that makes them.

#![allow(missing_docs, reason = "the attribute of a bench makes public modules without any")]

#[path = "../paths/mod.rs"]
mod paths;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use paths::{Commit, Decode, EncodeEvent, EncodeReply, Hall, MemoryAppends, Parse, Release, TIMES};

/// As in the server, see `main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// Each takes what it measures and gives it back, so that neither its beginning nor its end is counted.

#[library_benchmark]
#[bench::frames(Box::new(Decode::new()))]
fn decode(mut path: Box<Decode>) -> Box<Decode> {
    path.run();
    path
}

#[library_benchmark]
#[bench::send_message(Box::new(Parse::new()))]
fn parse(mut path: Box<Parse>) -> Box<Parse> {
    path.run();
    path
}

#[library_benchmark]
#[bench::message_created(Box::new(EncodeEvent::new()))]
fn encode_event(mut path: Box<EncodeEvent>) -> Box<EncodeEvent> {
    path.run();
    path
}

#[library_benchmark]
#[bench::send_message(Box::new(EncodeReply::new()))]
fn encode_reply(mut path: Box<EncodeReply>) -> Box<EncodeReply> {
    path.run();
    path
}

#[library_benchmark]
#[bench::message_created(Box::new(Release::new()))]
fn release(mut path: Box<Release>) -> Box<Release> {
    path.run();
    path
}

fn hall(members: usize, messages: usize) -> Box<Hall> {
    let mut hall = Hall::new(members);
    hall.say(messages);
    Box::new(hall)
}

#[library_benchmark]
#[bench::one_to_2(hall(2, 1))]
#[bench::one_to_20(hall(20, 1))]
#[bench::one_to_200(hall(200, 1))]
#[bench::twenty_to_20(hall(20, 20))]
fn fan_out(mut path: Box<Hall>) -> Box<Hall> {
    path.run();
    path
}

#[library_benchmark]
#[bench::memory(Box::new(MemoryAppends::new()))]
fn append(mut path: Box<MemoryAppends>) -> Box<MemoryAppends> {
    path.run();
    path
}

#[library_benchmark]
#[bench::one(Box::new(Commit::new(1)))]
#[bench::hundred(Box::new(Commit::new(TIMES)))]
fn commit(mut path: Box<Commit>) -> Box<Commit> {
    path.run();
    path
}

library_benchmark_group!(name = protocol; benchmarks = decode, parse, encode_event, encode_reply);
library_benchmark_group!(name = rooms; benchmarks = release);
library_benchmark_group!(name = worker; benchmarks = fan_out);
library_benchmark_group!(name = store; benchmarks = append, commit);

main!(
    // Instructions are exact; what a simulated cache makes of them is a guess that takes time.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"]));
    library_benchmark_groups = protocol, rooms, worker, store
);
