//! `loadgen`: a load generator for chat servers that is cheap enough to share a small machine with what it measures.
//!
//! One thread, one epoll, no JSON parser: frames are told apart by their first bytes. It offers the same load to Parlor and to the
//! servers that Parlor is compared with, accounts the server's processor time to what was delivered, and fails when a message was
//! lost, came twice, or came out of order.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod blast;
mod cli;
mod dialect;
mod dialogue;
mod fault;
mod histogram;
mod idle;
mod member;
mod poller;
mod procfs;
mod report;
mod rooms;
mod socket;
mod tokens;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// The run took place, but a promise was broken.
const EXIT_VIOLATION: u8 = 1;
/// The run could not take place.
const EXIT_FAULT: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Blast(options) => blast::run(&options).map(|report| (report, options.target.json)),
        Command::Idle(options) => idle::run(&options).map(|report| (report, options.target.json)),
    };
    match outcome {
        Ok((report, json)) => {
            report.print(json);
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VIOLATION) }
        }
        Err(fault) => {
            eprintln!("loadgen: {fault}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}
