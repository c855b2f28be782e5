//! What the run says about the machine, and the checks before it starts.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fault::Fault;
use crate::outcome::Machine;

/// Descriptors that are not connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// This machine, as its kernel describes it.
pub(crate) fn this() -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cpu: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        kernel: format!("Linux {}", release.trim()),
    }
}

/// Makes room for that many connections in each process: raises the soft limit of open files, which is often far below what may be
/// had, and says what to do where even the hard one is too low.
pub(crate) fn allow_connections(connections: u32) -> Result<(), Fault> {
    let wanted = u64::from(connections) + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < wanted) {
        let processes = u64::from(connections).div_ceil(maximum.saturating_sub(OTHER_DESCRIPTORS).max(1));
        return Err(Fault::new(format!(
            "{connections} connections in one process need {wanted} open files, and it may have {maximum}. \
             Raise the hard limit (as root: ulimit -Hn {wanted}; ulimit -n {wanted}), or use --processes {processes}. \
             The server needs as many: check its limit too"
        )));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).map_err(Fault::while_doing("setrlimit"))
}

/// The time now, as RFC 3339 in UTC.
pub(crate) fn now_rfc3339() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs())
}

/// Days to a date after Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last one.
fn rfc3339(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_connections_are_refused_with_advice() {
        assert!(allow_connections(10).is_ok());
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let fault = allow_connections(u32::MAX).unwrap_err().to_string();
            assert!(fault.contains("ulimit -Hn") && fault.contains("--processes"), "{fault}");
        }
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn the_machine_is_known() {
        let machine = this();
        assert!(machine.cores > 0 && machine.kernel.starts_with("Linux "));
    }
}
