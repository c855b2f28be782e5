//! The chat server.

use std::io::{BufWriter, stdout};
use std::process::ExitCode;

use parlor::cli::{self, Command, ConfigCommand};
use parlor::commands;
use parlor::config::Config;

fn main() -> ExitCode {
    let mut out = BufWriter::new(stdout().lock());
    match cli::parse().command {
        Command::Token(args) => commands::finish(commands::token(&args, &mut out)),
        Command::Config(ConfigCommand::Check(args)) => commands::finish(commands::config_check(&args, &mut out)),
        Command::Serve(args) => match Config::from_args(&args) {
            Ok(_) => {
                eprintln!("parlor: there is no server in this build yet");
                ExitCode::FAILURE
            }
            Err(faults) => commands::finish(Err(faults.into())),
        },
    }
}
