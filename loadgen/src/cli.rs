//! The command line.

use clap::{Parser, Subcommand};

use crate::raw::cli::RawCommand;
use crate::results::cli::{CompareCommand, ReportCommand};

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
    Raw(RawCommand),
    Report(ReportCommand),
    Compare(CompareCommand),
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
