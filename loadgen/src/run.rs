//! `loadgen run`: one run, its results in every form, and what they come to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::fault::Fault;
use crate::outcome::Outcome;
use crate::people::cli::{LoadOptions, command_line, parse_rate, parse_time};
use crate::people::conduct::{Run, conduct};
use crate::people::live::Live;
use crate::tokens;

/// Loads the server with people who chat, times it, and verifies that nothing is lost, doubled or out of order
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    /// Messages a second of all people; beginnings of typing in `typing`, connects in `connect-storm` [default: by scenario]
    #[arg(long, value_name = "N", value_parser = parse_rate, conflicts_with = "closed_loop")]
    pub(crate) rate: Option<f64>,
    /// Length of the measured window; storms end when everybody is back
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time)]
    pub(crate) duration: Duration,
    /// Directory for the results: report.html, run.json, CSV, .hgrm and .hlog files
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs it.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode, Fault> {
    let load = &options.load;
    let plan = load.plan(options.rate, options.duration);
    let mut live = Live::new(load.quiet);
    live.phase("getting tokens");
    let tokens = tokens::obtain(&load.identity, load.url.address, load.clients as usize)?;
    let run = Run {
        plan,
        tokens: &tokens,
        spread: load.spread(),
        server_pid: load.server_pid,
        void: load.void_limits(),
        command: command_line(std::env::args()),
        url: load.url(),
        give_up: &|_: &Outcome| false,
    };
    let conducted = conduct(&run, &mut live);
    live.finish();
    let outcome = conducted?.outcome;
    println!("{}", serde_json::to_string_pretty(&outcome).map_err(Fault::while_doing("JSON"))?);
    Ok(ExitCode::SUCCESS)
}
