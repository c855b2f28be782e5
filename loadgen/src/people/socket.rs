//! A person's WebSocket: fastwebsockets over tokio, read by one task and written by another.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::rc::Rc;

use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocketError, WebSocketWrite, after_handshake_split, handshake,
};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

/// Frames that may wait to be written. A server that lets so many pile up has stopped reading.
const MAX_QUEUED: usize = 4_096;
/// Longest message that is taken.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Runs hyper's side of a handshake on the same thread.
struct Spawn;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Why a connection could not be opened. Nothing branches on the kind.
pub(crate) type OpenError = Box<dyn std::error::Error>;

/// Connects from the `source`th loopback address and completes the WebSocket handshake.
pub(crate) async fn open(address: SocketAddrV4, path: &str, source: u32) -> Result<(Reader, Rc<Outbox>), OpenError> {
    let socket = TcpSocket::new_v4()?;
    if source > 0 {
        let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + source);
        socket.bind(SocketAddr::V4(SocketAddrV4::new(from, 0)))?;
    }
    let stream = socket.connect(SocketAddr::V4(address)).await?;
    stream.set_nodelay(true)?;
    let request = Request::builder()
        .uri(path)
        .header("Host", address.to_string())
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", handshake::generate_key())
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Protocol", "parlor.v1")
        .body(Empty::<Bytes>::new())?;
    let (socket, _) = handshake::client(&Spawn, request, stream).await?;
    let parts =
        socket.into_inner().into_inner().downcast::<TokioIo<TcpStream>>().map_err(|_| "hyper gave another stream back")?;
    if !parts.read_buf.is_empty() {
        return Err("the server spoke before anybody logged in".into());
    }
    let (read, write) = parts.io.into_inner().into_split();
    let (mut reader, mut writer) = after_handshake_split(read, write, Role::Client);
    reader.set_auto_pong(false);
    reader.set_auto_close(false);
    reader.set_max_message_size(MAX_MESSAGE_BYTES);
    writer.set_auto_apply_mask(true);
    let outbox = Rc::new(Outbox::default());
    tokio::task::spawn_local(write_all(writer, Rc::clone(&outbox)));
    Ok((Reader(FragmentCollectorRead::new(reader)), outbox))
}

/// What came.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A text message.
    Text(Payload<'static>),
    /// A ping that wants this back.
    Ping(Vec<u8>),
    /// The server closes, with a code if it gave one.
    Close(Option<u16>),
    /// Anything else; there is nothing to do.
    Other,
}

/// The reading half.
pub(crate) struct Reader(FragmentCollectorRead<OwnedReadHalf>);

impl Reader {
    /// The next message. Must not be dropped before it is there.
    pub(crate) async fn next(&mut self) -> Result<Incoming, WebSocketError> {
        // Pongs and closes are answered through the outbox, so nothing is ever obliged to be sent here.
        let mut nothing_to_send = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
        let frame = self.0.read_frame(&mut nothing_to_send).await?;
        Ok(match frame.opcode {
            OpCode::Text => Incoming::Text(frame.payload),
            OpCode::Ping => Incoming::Ping(frame.payload.to_vec()),
            OpCode::Close => Incoming::Close(frame.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]))),
            OpCode::Binary | OpCode::Pong | OpCode::Continuation => Incoming::Other,
        })
    }
}

/// What waits to be written. Shared by who writes and the task that does it.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: RefCell<VecDeque<Frame<'static>>>,
    wake: Notify,
    last: Cell<bool>,
}

impl Outbox {
    /// Queues a text message; `false` if too many wait already.
    pub(crate) fn send(&self, text: String) -> bool {
        self.push(Frame::text(Payload::Owned(text.into_bytes())))
    }

    /// Answers a ping.
    pub(crate) fn pong(&self, payload: Vec<u8>) -> bool {
        self.push(Frame::pong(Payload::Owned(payload)))
    }

    /// Writes a close frame after what waits, then ends.
    pub(crate) fn close(&self) {
        self.push(Frame::close(1000, b""));
        self.end();
    }

    /// Writes nothing more that is not queued already.
    pub(crate) fn end(&self) {
        self.last.set(true);
        self.wake.notify_one();
    }

    /// Writes nothing more.
    pub(crate) fn cut(&self) {
        self.queue.borrow_mut().clear();
        self.end();
    }

    fn push(&self, frame: Frame<'static>) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= MAX_QUEUED {
            return false;
        }
        queue.push_back(frame);
        self.wake.notify_one();
        true
    }
}

/// Writes until told to end or the socket fails; the reading side notices a failure by itself.
fn write_all(mut writer: WebSocketWrite<OwnedWriteHalf>, outbox: Rc<Outbox>) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        loop {
            let next = outbox.queue.borrow_mut().pop_front();
            match next {
                Some(frame) => {
                    if writer.write_frame(frame).await.is_err() {
                        return;
                    }
                }
                None if outbox.last.get() => return,
                None => outbox.wake.notified().await,
            }
        }
    })
}
