//! Processor time of another process, finer than the kernel's ticks: the sum over its threads, in nanoseconds.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::fault::Fault;
use crate::procfs;

/// The ticks are rounded twice, in user and in kernel mode. Past this the threads that ended meanwhile have used the difference.
const MAX_ROUNDING: Duration = Duration::from_millis(25);

/// What a process has used so far.
pub(crate) struct Cpu {
    /// In nanoseconds, by thread; empty where the kernel does not count it.
    threads: HashMap<String, u64>,
    ticks: Duration,
}

impl Cpu {
    /// Of `pid`, user and kernel mode.
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        let path = format!("/proc/{pid}/task");
        let listing = fs::read_dir(&path).map_err(Fault::while_doing(&path))?;
        // A thread may end between listing and reading.
        let threads = listing.flatten().filter_map(|thread| {
            let nanos = parse_nanos(&fs::read_to_string(thread.path().join("schedstat")).ok()?)?;
            Some((thread.file_name().into_string().ok()?, nanos))
        });
        Ok(Self { threads: threads.collect(), ticks: procfs::cpu_time(pid)? })
    }

    /// From `earlier` to now, in microseconds.
    pub(crate) fn micros_since(&self, earlier: &Self) -> f64 {
        let used = |(thread, now): (&String, &u64)| now.saturating_sub(earlier.threads.get(thread).copied().unwrap_or_default());
        let fine = Duration::from_nanos(self.threads.iter().map(used).sum());
        let coarse = self.ticks.saturating_sub(earlier.ticks);
        let used = if coarse > fine + MAX_ROUNDING { coarse } else { fine };
        used.as_secs_f64() * 1e6
    }
}

/// The first of three numbers.
fn parse_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(threads: &[(&str, u64)], ticks: u64) -> Cpu {
        let threads = threads.iter().map(|(thread, nanos)| ((*thread).to_owned(), *nanos)).collect();
        Cpu { threads, ticks: Duration::from_millis(ticks) }
    }

    #[test]
    fn threads_are_added_up_also_those_that_are_new() {
        let earlier = cpu(&[("1", 5_000), ("2", 1_000)], 0);
        assert_eq!(cpu(&[("1", 7_000), ("2", 1_000), ("3", 4_000)], 20).micros_since(&earlier), 6.0);
    }

    #[test]
    fn what_a_thread_used_that_has_ended_is_in_the_ticks() {
        let earlier = cpu(&[("1", 5_000_000), ("2", 1_000_000)], 10);
        assert_eq!(cpu(&[("1", 6_000_000)], 60).micros_since(&earlier), 50_000.0);
        assert_eq!(cpu(&[], 60).micros_since(&cpu(&[], 10)), 50_000.0);
    }

    #[test]
    fn this_process_has_used_some() {
        assert_eq!(parse_nanos("123 456 7\n"), Some(123));
        assert!(Cpu::of(std::process::id()).unwrap().micros_since(&cpu(&[], 0)) > 0.0);
    }
}
