//! `idle`: how fast connections come in, and what one costs while nothing happens.

use crate::fault::Fault;
use crate::procfs::{self, Usage};
use crate::raw::cli::IdleOptions;
use crate::raw::cpu::Cpu;
use crate::raw::dialogue::settle;
use crate::raw::report::Report;
use crate::raw::rooms::Rooms;

/// Opens the connections, waits for silence and reads the server's memory.
pub(crate) fn run(options: &IdleOptions) -> Result<Report, Fault> {
    let target = &options.target;
    let server = target.server_pid;
    let fresh = procfs::resident_bytes(server)?;
    let rooms = Rooms::create(target)?;
    settle(target.dialect, &mut [], &crate::raw::poller::Poller::new()?, options.quiet)?;
    let before = procfs::resident_bytes(server)?;
    let (server_begin, own_begin) = (Usage::of(server)?, Usage::of(std::process::id())?);
    let cpu_begin = Cpu::of(server)?;
    let mut entered = rooms.enter()?;
    let micros = Cpu::of(server)?.micros_since(&cpu_begin);
    let (server_end, own_end) = (Usage::of(server)?, Usage::of(std::process::id())?);
    settle(target.dialect, &mut entered.sockets, &entered.poller, options.quiet)?;
    let after = procfs::resident_bytes(server)?;

    let connections = f64::from(target.connections);
    let seconds = entered.took.as_secs_f64();
    let server = server_end.share_since(&server_begin, seconds);
    let own = own_end.share_since(&own_begin, seconds);
    let mut report = Report::default();
    report.figure("connections", connections);
    report.figure("rooms", rooms.count() as f64);
    report.figure("connects_per_second", connections / seconds);
    report.figure("server_cpu_us_per_connect", micros / connections);
    report.shares(own, server);
    report.figure("resident_bytes_fresh", fresh as f64);
    report.figure("resident_bytes_before", before as f64);
    report.figure("resident_bytes_after", after as f64);
    report.figure("bytes_per_connection", (after as f64 - before as f64) / connections);
    report.figure("bytes_per_connection_and_rooms", (after as f64 - fresh as f64) / connections);
    report.judge_cores(own, server);
    Ok(report)
}
