//! `loadgen`: the load tester and load generator for Parlor.
//!
//! `loadgen raw` is the generator of the benches: no more than bytes over sockets, and cheaper than what it measures.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod fault;
mod find_max;
mod interrupt;
mod outcome;
mod people;
mod procfs;
mod raw;
mod results;
mod run;
mod say;
mod selftest;
mod tokens;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// The run could not take place.
const EXIT_FAULT: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::FindMax(options) => find_max::run(&options),
        Command::Selftest(options) => selftest::run(&options),
        Command::Worker => people::team::work().map(|()| ExitCode::SUCCESS),
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
