//! An echo server over the server's own frame decoder, for the Autobahn conformance suite (`scripts/autobahn`) and nothing else.
//!
//! It takes what the suite insists on and the chat server refuses: binary messages, and texts of up to 16 MiB in any number of
//! fragments. It prints the address it listens on, on one line, and runs until it is killed.

use std::error::Error;
use std::time::Duration;

use fastwebsockets::WebSocketError;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use hyper::Request;
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parlor::protocol::frame::{
    DataTypes, Decoded, Decoder, FrameLimits, Incoming, push_binary_header, push_close, push_close_echo, push_pong,
    push_text_header,
};
use parlor::protocol::limits::{HARD_MAX_MESSAGE_BYTES, OFF};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LIMITS: FrameLimits = FrameLimits { max_message_bytes: HARD_MAX_MESSAGE_BYTES, max_fragments: OFF };
const OPCODE_BITS: u8 = 0x0f;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// How long the peer has to close after we did.
const LINGER: Duration = Duration::from_secs(2);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn serve(stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let service = service_fn(|mut request: Request<Body>| async move {
        let (response, upgraded) = upgrade(&mut request)?;
        tokio::spawn(async move {
            // A peer that breaks off is part of the suite.
            if let Err(error) = echo(upgraded).await {
                eprintln!("{error}");
            }
        });
        Ok::<_, WebSocketError>(response)
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
    Ok(())
}

async fn echo(upgraded: UpgradeFut) -> Result<(), Failure> {
    let mut io = upgraded.await?.into_inner();
    let mut connection = Connection::default();
    let mut inbox = Vec::with_capacity(64 * 1024);
    let mut outbox = Vec::new();
    loop {
        let flow = connection.answer(&mut inbox, &mut outbox);
        io.write_all(&outbox).await?;
        outbox.clear();
        let need = match flow {
            Flow::Read { need } => need,
            Flow::Closed => return linger(io).await,
        };
        inbox.reserve(need - inbox.len());
        if io.read_buf(&mut inbox).await? == 0 {
            return Ok(());
        }
    }
}

/// Closes our side, then reads the peer's to its end, lest a reset overtake the close frame.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
    io.shutdown().await?;
    let drained = tokio::time::timeout(LINGER, tokio::io::copy(&mut io, &mut tokio::io::sink())).await;
    drained.map_or(Ok(()), |end| end.map(drop).map_err(Failure::from))
}

enum Flow {
    Read { need: usize },
    Closed,
}

#[derive(Default)]
struct Connection {
    decoder: Decoder,
    /// Opcode of the last message begun, which its other fragments do not carry.
    opcode: u8,
}

impl Connection {
    /// Takes every whole frame out of `inbox` and puts the answers into `outbox`.
    fn answer(&mut self, inbox: &mut Vec<u8>, outbox: &mut Vec<u8>) -> Flow {
        let mut taken = 0;
        let flow = loop {
            let frame = &mut inbox[taken..];
            let opcode = frame.first().map_or(0, |first| first & OPCODE_BITS);
            let (consumed, incoming) = match self.decoder.decode_types(frame, LIMITS, DataTypes::TextAndBinary) {
                Ok(Decoded::Incomplete { need }) => break Flow::Read { need },
                Ok(Decoded::Frame { consumed, incoming }) => (consumed, incoming),
                Err(error) => {
                    push_close(outbox, error.close_code());
                    break Flow::Closed;
                }
            };
            if matches!(opcode, TEXT | BINARY) {
                self.opcode = opcode;
            }
            match incoming {
                Some(Incoming::Text(payload)) => push_message(outbox, self.opcode, payload),
                Some(Incoming::Reassembled(payload)) => push_message(outbox, self.opcode, &payload),
                Some(Incoming::Ping(body)) => push_pong(outbox, body),
                Some(Incoming::Pong) | None => {}
                Some(Incoming::Close(code)) => {
                    push_close_echo(outbox, code);
                    break Flow::Closed;
                }
            }
            taken += consumed;
        };
        inbox.drain(..taken);
        flow
    }
}

fn push_message(outbox: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    match opcode {
        BINARY => push_binary_header(outbox, payload.len()),
        _ => push_text_header(outbox, payload.len()),
    }
    outbox.extend_from_slice(payload);
}
