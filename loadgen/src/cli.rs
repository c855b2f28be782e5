//! The command line.

use clap::{Parser, Subcommand};

use crate::find_max::FindMaxOptions;
use crate::raw::cli::RawCommand;
use crate::results::cli::{CompareCommand, ReportCommand};
use crate::run::RunOptions;
use crate::selftest::SelftestOptions;

/// Loads a chat server and checks that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunOptions>),
    FindMax(Box<FindMaxOptions>),
    Selftest(SelftestOptions),
    Report(ReportCommand),
    Compare(CompareCommand),
    Raw(RawCommand),
    /// A process of `run --processes`
    #[command(hide = true)]
    Worker,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
