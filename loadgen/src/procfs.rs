//! What the kernel has accounted to a process: processor time, time spent waiting for a processor, and resident memory.

use std::fs;
use std::time::Duration;

use crate::fault::Fault;

/// What a process has used and wanted of its core.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    cpu: Duration,
    waiting: Duration,
}

impl Usage {
    /// Of `pid` since it was started.
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        Ok(Self { cpu: cpu_time(pid)?, waiting: waiting_time(pid)? })
    }

    /// From `earlier` to now, as shares of `seconds`.
    pub(crate) fn share_since(&self, earlier: &Self, seconds: f64) -> Share {
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / seconds;
        Share { cpu: share(self.cpu, earlier.cpu), waiting: share(self.waiting, earlier.waiting) }
    }
}

/// Shares of one core.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    /// Used.
    pub(crate) cpu: f64,
    /// Ready to run while others had the core: what a busy machine took away.
    pub(crate) waiting: f64,
}

impl Share {
    /// Used and wanted together.
    pub(crate) fn demand(self) -> f64 {
        self.cpu + self.waiting
    }
}

/// Processor time of all threads of `pid`, in user and kernel mode. Counted in the kernel's ticks, usually of 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, Fault> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Fault::while_doing(&path))?;
    let ticks = parse_ticks(&text).ok_or_else(|| Fault::new(format!("{path} is not as proc(5) says")))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// How long threads of `pid` were ready to run while something else had their core. Zero where the kernel does not count it.
fn waiting_time(pid: u32) -> Result<Duration, Fault> {
    let path = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&path).map_err(Fault::while_doing(&path))?;
    // A thread may end between listing and reading; it then counts for nothing.
    let texts = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    Ok(Duration::from_nanos(texts.filter_map(|text| parse_waiting(&text)).sum()))
}

/// Resident memory of `pid` in bytes. The kernel's socket buffers are not in it.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Fault> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(Fault::while_doing(&path))?;
    parse_resident(&text).ok_or_else(|| Fault::new(format!("{path} has no VmRSS")))
}

/// Fields 14 and 15 (utime, stime). Field 2, the name, may hold spaces and brackets, so counting starts after the last bracket.
fn parse_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

/// The second of three numbers: nanoseconds on the run queue.
fn parse_waiting(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        assert_eq!(parse_ticks("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20"), Some(42));
        assert_eq!(parse_ticks("7 (a"), None);
    }

    #[test]
    fn waiting_is_the_second_number() {
        assert_eq!(parse_waiting("123 456 7\n"), Some(456));
        assert_eq!(parse_waiting(""), None);
    }

    #[test]
    fn resident_memory_is_in_kibibytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(cpu_time(std::process::id()).is_ok());
        assert!(waiting_time(std::process::id()).is_ok());
        assert!(resident_bytes(std::process::id()).unwrap() > 0);
    }
}
