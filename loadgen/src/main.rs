//! `loadgen`: the load tester and load generator for Parlor.
//!
//! `loadgen raw` is the generator of the benches: no more than bytes over sockets, and cheaper than what it measures.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod fault;
#[allow(dead_code, reason = "filled in by the part that measures, which is not in this program yet")]
mod outcome;
mod procfs;
mod raw;
#[allow(dead_code, reason = "writing a run is for the part that measures, which is not in this program yet")]
mod results;
mod tokens;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// The run could not take place.
const EXIT_FAULT: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Raw(command) => raw::run(&command),
        Command::Report(command) => results::cli::report(&command),
        Command::Compare(command) => results::cli::compare(&command),
    };
    match outcome {
        Ok(status) => status,
        Err(fault) => {
            eprintln!("loadgen: {fault}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}
