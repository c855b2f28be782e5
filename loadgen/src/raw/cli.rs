//! The command line of `loadgen raw`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// The shortest message body: a time stamp of 16 hexadecimal digits is hidden in it.
pub(crate) const MIN_BODY_BYTES: u64 = 16;
/// The longest: Parlor takes 4,000 characters.
const MAX_BODY_BYTES: u64 = 4_000;

/// The generator of the benches: one thread, one epoll, cheaper than any server it measures; speaks three dialects.
///
/// One thread, so at most one core: pin it to a core of its own and the server to another. Exit status: 0 when every promise held,
/// 1 when a message was lost, came twice or came out of order, 2 when the run could not take place. Limits of what it measures: it
/// is on the same machine as the server, so the kernel's work of receiving is partly billed to whoever sent; latencies are those
/// that this process saw, its own queueing included; a run with a saturated generator says nothing about the server.
#[derive(Debug, Args)]
pub(crate) struct RawCommand {
    /// What to do.
    #[command(subcommand)]
    pub(crate) load: Load,
}

/// The loads.
#[derive(Debug, Subcommand)]
pub(crate) enum Load {
    /// Send messages and count what arrives.
    ///
    /// Without --rate: closed loop; each sender keeps --in-flight messages unanswered, which saturates the server. With --rate: open
    /// loop; evenly spaced sends at that rate, whatever the server does, and latencies from the intended time of sending.
    Blast(BlastOptions),
    /// Open many connections that do nothing; report connects a second and memory for each.
    Idle(IdleOptions),
    /// Everybody types and stops typing, evenly spaced at a rate; count what the others of the room are told.
    ///
    /// The requests ask for no reply. Typing events are hints, which a server may leave out: missing ones are counted and warned of,
    /// those that are too many or went to the wrong place fail the run.
    Typing(TypingOptions),
    /// Everybody is cut off at once and comes back.
    ///
    /// Parlor: while a part is away, messages are written; all come back with `since`, and what they recover must be dense and whole.
    /// The others keep nothing that could be recovered, so they are only connected to and joined again.
    Storm(StormOptions),
}

/// What all loads need.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Where the server is: ws://A.B.C.D:PORT/PATH
    #[arg(long, value_name = "URL")]
    pub(crate) url: Endpoint,
    /// Process to account processor time and memory to, with all its threads
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: u32,
    /// Connections to open
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
    /// Connections in each room; the last room takes the remainder
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) room_size: u32,
    /// How the server wants to be spoken to
    #[arg(long, value_enum, default_value_t = Dialect::Parlor)]
    pub(crate) dialect: Dialect,
    /// Tokens, one a line, each of another user (`parlor token --sub u --count N`); the parlor dialect needs them
    #[arg(long, value_name = "FILE", required_if_eq("dialect", "parlor"))]
    pub(crate) tokens: Option<PathBuf>,
    /// Connections being set up at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) connecting: u32,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `blast`.
#[derive(Debug, Args)]
pub(crate) struct BlastOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Length of the measured window
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Sending before the window, not measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) warmup: Duration,
    /// Open loop: sends a second in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
    /// Closed loop: unanswered messages of each sender
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) in_flight: u32,
    /// How many connections of each room send; the others only listen [default: all, but at most 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) senders_per_room: Option<u32>,
    /// Length of each message's content
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(MIN_BODY_BYTES as i64..=MAX_BODY_BYTES as i64))]
    pub(crate) body_bytes: u32,
    /// Give every message a clientMessageId, as an application that retries would
    #[arg(long)]
    pub(crate) client_ids: bool,
}

/// Options of `idle`.
#[derive(Debug, Args)]
pub(crate) struct IdleOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Silence to wait for before memory is read
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) quiet: Duration,
}

/// Options of `typing`.
#[derive(Debug, Args)]
pub(crate) struct TypingOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Length of the measured window
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Typing before the window, not measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) warmup: Duration,
    /// Requests a second in all, starts and stops by turns
    #[arg(long, value_name = "N", default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
}

/// Options of `storm`.
#[derive(Debug, Args)]
pub(crate) struct StormOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Messages written in each room while a part of it is away
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) missed: u32,
    /// Silence that means that the server is done
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = parse_seconds)]
    pub(crate) quiet: Duration,
}

/// How a server wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Parlor: tokens, groups with members, dense `seq`
    Parlor,
    /// The peers under benches/peers: any token, rooms by name
    Peer,
    /// The same in the packets of Socket.IO, over WebSocket only; the path is /socket.io/?EIO=4&transport=websocket
    Socketio,
}

/// An address and a path.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Where to connect.
    pub(crate) address: SocketAddrV4,
    /// What to ask for; starts with a slash.
    pub(crate) path: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("ws://").ok_or("only ws:// is spoken here")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = authority.rsplit_once(':').ok_or("the port is missing")?;
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        let ip: Ipv4Addr = host.parse().map_err(|_| "the host must be an IPv4 address")?;
        let port = port.parse().map_err(|_| "the port must be a number below 65536")?;
        Ok(Self { address: SocketAddrV4::new(ip, port), path: path.to_owned() })
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    if (0.0..=3_600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("0 to 3600 seconds".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint: Endpoint = "ws://127.0.0.1:9001/ws".parse().unwrap();
        assert_eq!((endpoint.address.port(), endpoint.path.as_str()), (9001, "/ws"));
        assert_eq!("ws://localhost:1".parse::<Endpoint>().unwrap().path, "/");
        assert!("http://127.0.0.1:1/".parse::<Endpoint>().is_err());
        assert!("ws://127.0.0.1/".parse::<Endpoint>().is_err());
    }
}
