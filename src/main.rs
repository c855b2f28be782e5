//! The chat server: arguments to configuration to server to exit code.

use std::io::{BufWriter, Write, stdout};
use std::process::ExitCode;

use parlor::cli::{self, Command, ConfigCommand};
use parlor::commands;
use parlor::config::{Config, DEV_USERS};
use parlor::protocol::UserId;
use parlor::server::{Server, StartError};
use tokio::signal::unix::{SignalKind, signal};

/// A message's parts are made on one thread and freed on another: this allocator takes a fifth less time for all of a delivery
/// in small rooms than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut out = BufWriter::new(stdout().lock());
    match cli::parse().command {
        Command::Token(args) => commands::finish(commands::token(&args, &mut out)),
        Command::Migrate(args) => commands::finish(commands::migrate(&args, &mut out)),
        Command::Import(args) => commands::finish(commands::import(&args, &mut out)),
        Command::Config(ConfigCommand::Check(args)) => commands::finish(commands::config_check(&args, &mut out)),
        Command::Serve(args) => match Config::from_args(&args) {
            Ok(config) => serve(&config, &mut out),
            Err(faults) => commands::finish(Err(faults.into())),
        },
    }
}

fn serve(config: &Config, out: &mut impl Write) -> ExitCode {
    parlor::logging::start(config.log);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("parlor: the runtime did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(start_and_run(config, out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start_and_run(config: &Config, out: &mut impl Write) -> Result<(), StartError> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate()).map_err(StartError::Workers)?,
        signal(SignalKind::interrupt()).map_err(StartError::Workers)?,
    );
    let server = Server::start(config).await?;
    if let Err(error) = greet(&server, config, out) {
        tracing::warn!(%error, "nobody reads standard output");
    }
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; a second signal ends at once");
        tokio::task::spawn_local(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    };
    server.run(shutdown).await;
    Ok(())
}

fn greet(server: &Server, config: &Config, out: &mut impl Write) -> std::io::Result<()> {
    let address = server.address();
    writeln!(out, "parlor {} listens on ws://{address}/ws", env!("CARGO_PKG_VERSION"))?;
    if config.dev {
        writeln!(out, "\nOpen http://{address}/ in a browser and choose who you are.")?;
        writeln!(out, "\nDevelopment: anyone on this machine gets a token. One for each demo user, good for a day:\n")?;
        for (id, name) in DEV_USERS {
            let token = UserId::parse(id).ok().and_then(|user| server.dev_token(&user, name));
            writeln!(out, "  {id:<6} {}", token.unwrap_or_default())?;
        }
        writeln!(out, "\nMore: curl 'http://{address}/dev/token?sub=grace&name=Grace'")?;
        writeln!(out, "Or connect a WebSocket to ws://{address}/ws and send\n")?;
        writeln!(out, r#"  {{"type":"auth","requestId":"1","payload":{{"token":"<a token from above>"}}}}"#)?;
        writeln!(out, r#"  {{"type":"create_conversation","requestId":"2","payload":{{"memberIds":["bob"]}}}}"#)?;
        writeln!(
            out,
            r#"  {{"type":"send_message","requestId":"3","payload":{{"conversationId":"<its id>","content":"Hello!"}}}}"#
        )?;
        writeln!(out, "\nREADME.md has a client in ten lines, PROTOCOL.md all actions and events. Ctrl-C stops.")?;
    } else if config.page {
        writeln!(out, "The page is at http://{address}/; it asks for a token.")?;
    }
    out.flush()
}
