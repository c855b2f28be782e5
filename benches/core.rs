//! How long each path of a message takes, for people: `cargo bench --bench core [-- --quick] [FILTER]`.
//!
//! What is measured is in `paths`. Times depend on the machine and on what else runs there: compare them within one day and one
//! machine. What CI holds the server to are the instructions of the same paths, which `instructions` counts.

mod paths;

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use paths::{APPENDS, Commit, Decode, EncodeEvent, EncodeReply, Hall, MemoryAppends, Parse, Release, TIMES};

/// As in the server, see `main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each time stands for [`TIMES`] messages; the throughput is in messages.
fn pure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protocol");
    group.throughput(Throughput::Elements(TIMES as u64));
    let frames = Decode::new();
    group.bench_function("decode", |b| b.iter_batched_ref(|| frames.clone(), Decode::run, BatchSize::SmallInput));
    group.bench_function("parse", |b| b.iter_batched_ref(Parse::new, Parse::run, BatchSize::SmallInput));
    let mut event = EncodeEvent::new();
    group.bench_function("encode_event", |b| b.iter(|| event.run()));
    let mut reply = EncodeReply::new();
    group.bench_function("encode_reply", |b| b.iter(|| reply.run()));
    group.finish();
    let mut group = criterion.benchmark_group("rooms");
    group.throughput(Throughput::Elements(TIMES as u64));
    group.bench_function("release", |b| b.iter_batched_ref(Release::new, Release::run, BatchSize::SmallInput));
    group.finish();
}

/// The throughput is in deliveries. What the clients do is not timed, but for the kernel's part of it.
fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan_out");
    for (members, messages) in [(2, 1), (20, 1), (200, 1), (20, 20)] {
        let mut hall = Hall::new(members);
        group.throughput(Throughput::Elements((members * messages) as u64));
        group.bench_function(format!("{messages}_to_{members}"), |b| {
            b.iter_custom(|times| {
                time(
                    times,
                    &mut hall,
                    |hall| hall.say(messages),
                    Hall::run,
                    |hall| {
                        assert_eq!(hall.hear(), members * messages);
                    },
                )
            });
        });
    }
    group.finish();
}

/// The throughput is in messages.
fn stores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(APPENDS as u64));
    group.bench_function("memory", |b| b.iter_batched_ref(MemoryAppends::new, MemoryAppends::run, BatchSize::SmallInput));
    for messages in [1, TIMES] {
        let mut commit = Commit::new(0);
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(format!("sqlite_{messages}"), |b| {
            b.iter_custom(|times| time(times, &mut commit, |commit| commit.prepare(messages), Commit::run, |_| ()));
        });
    }
    group.finish();
}

/// The time of `run` alone.
fn time<T>(times: u64, on: &mut T, before: impl Fn(&mut T), run: impl Fn(&mut T), after: impl Fn(&mut T)) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..times {
        before(on);
        let started = Instant::now();
        run(on);
        sum += started.elapsed();
        after(on);
    }
    sum
}

criterion_group!(benches, pure, fan_out, stores);
criterion_main!(benches);
