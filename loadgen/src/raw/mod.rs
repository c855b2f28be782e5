//! `loadgen raw`: the generator of the benches, cheap enough to share a small machine with what it measures.
//!
//! One thread, one epoll, no JSON parser: frames are told apart by their first bytes. It offers the same load to Parlor and to the
//! servers that Parlor is compared with, accounts the server's processor time to what was delivered, and fails when a message was
//! lost, came twice, or came out of order.

mod blast;
pub(crate) mod cli;
mod cpu;
mod crowd;
mod dialect;
mod dialogue;
mod histogram;
mod idle;
mod member;
mod poller;
mod report;
mod rooms;
mod socket;
mod storm;
mod tenths;
mod typing;
mod wire;

use std::process::ExitCode;

use crate::fault::Fault;
use crate::raw::cli::{Load, RawCommand};

/// The run took place, but a promise was broken.
const EXIT_VIOLATION: u8 = 1;

/// Runs one load, prints what it found and says how it ended.
pub(crate) fn run(command: &RawCommand) -> Result<ExitCode, Fault> {
    let (report, json) = match &command.load {
        Load::Blast(options) => (blast::run(options)?, options.target.json),
        Load::Idle(options) => (idle::run(options)?, options.target.json),
        Load::Typing(options) => (typing::run(options)?, options.target.json),
        Load::Storm(options) => (storm::run(options)?, options.target.json),
    };
    report.print(json);
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VIOLATION) })
}
