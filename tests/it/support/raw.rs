//! A socket that speaks as well or as badly as a test wants.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::frame::{self, Frame, Opcode};
use super::http::{self, Response};
use super::{Server, token, within};

/// A raw connection. Reading keeps what is not a whole frame yet, so a read that is dropped half-way loses nothing.
pub(crate) struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    /// Opens TCP and sends nothing.
    pub(crate) async fn tcp(address: SocketAddr) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(address)).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a live socket");
        Self { stream, buffer: Vec::new() }
    }

    /// Opens a WebSocket whose kernel buffers little, so that not reading it is soon felt by the server.
    pub(crate) async fn connect_narrow(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a smaller buffer");
        let stream = within("a TCP connection", socket.connect(server.address())).await.expect("the server accepts");
        let raw = Self { stream, buffer: Vec::new() };
        raw.open_websocket(server.address(), &[]).await.expect("the upgrade is accepted").0
    }

    /// Opens a WebSocket at an address.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::tcp(address).await.open_websocket(address, &[]).await.expect("the upgrade is accepted").0
    }

    /// Opens a WebSocket.
    pub(crate) async fn connect(server: &Server) -> Self {
        match Self::upgrade(server, &[]).await {
            Ok((raw, _)) => raw,
            Err(response) => panic!("the upgrade was refused: {response:?}"),
        }
    }

    /// Opens a WebSocket and authenticates it.
    pub(crate) async fn login(server: &Server, user: &str) -> Self {
        let mut raw = Self::connect(server).await;
        raw.request("auth", json!({"token": token::mint(user)})).await;
        let reply = raw.receive().await;
        assert_eq!(reply["type"], "auth", "{reply}");
        raw
    }

    /// Tries to open a WebSocket with more header fields; what is not 101 comes back as `Err`.
    pub(crate) async fn upgrade(server: &Server, headers: &[(&str, &str)]) -> Result<(Self, Response), Response> {
        Self::tcp(server.address()).await.open_websocket(server.address(), headers).await
    }

    async fn open_websocket(mut self, address: SocketAddr, headers: &[(&str, &str)]) -> Result<(Self, Response), Response> {
        let mut head = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            address
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.write(head.as_bytes()).await.expect("a fresh connection takes a request");
        let response = within("the answer to an upgrade", http::read_response(&mut self.stream, &mut self.buffer)).await;
        let response = response.expect("an HTTP response");
        if response.status != 101 {
            return Err(response);
        }
        // The answer to the key above, as RFC 6455 section 1.3 works it out.
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok((self, response))
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("a write", self.stream.write_all(bytes)).await
    }

    /// Writes a masked frame.
    pub(crate) async fn send(&mut self, frame: Frame) {
        // A peer that closed while we still write is what many tests provoke; the close frame says why.
        self.write(&frame.encode()).await.ok();
    }

    /// Writes a frame's head only, masked, declaring `length` bytes that do not follow.
    pub(crate) async fn declare(&mut self, opcode: Opcode, length: u64) {
        let mut bytes = frame::header(0x80 | opcode.0, length, 0x80);
        bytes.extend_from_slice(&[0; 4]);
        self.write(&bytes).await.ok();
    }

    /// Sends a text.
    pub(crate) async fn text(&mut self, text: &str) {
        self.send(Frame::new(Opcode::TEXT, text)).await;
    }

    /// Sends an envelope with the request id `raw`.
    pub(crate) async fn request(&mut self, kind: &str, payload: Value) {
        self.text(&json!({"type": kind, "requestId": "raw", "payload": payload}).to_string()).await;
    }

    /// The next frame; `None` when the server ended the connection. Dropping the future loses nothing.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer) {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next text as JSON; pings are answered on the way.
    pub(crate) async fn receive(&mut self) -> Value {
        let text = async {
            loop {
                let frame = self.frame().await.expect("the connection stays open");
                match frame.opcode() {
                    Opcode::TEXT => return serde_json::from_slice(&frame.payload).expect("the server sends JSON"),
                    Opcode::PING => self.send(Frame::new(Opcode::PONG, frame.payload)).await,
                    Opcode::PONG => {}
                    other => panic!("{other:?} instead of a text: {:?}", frame.payload),
                }
            }
        };
        within("a text", text).await
    }

    /// Skips to the server's close frame, answers it, and waits for the end of the connection.
    pub(crate) async fn expect_close(&mut self) -> (u16, String) {
        let closed = within("a close frame", self.skip_to_close()).await.expect("the server closes with a close frame");
        self.write(&Frame::new(Opcode::CLOSE, closed.0.to_be_bytes()).encode()).await.ok();
        self.expect_end().await;
        closed
    }

    /// Reads to the end of the connection, whatever comes before.
    pub(crate) async fn expect_end(&mut self) {
        within("the end of the connection", async { while self.frame().await.is_some() {} }).await;
    }

    /// The same where what comes need not be frames.
    pub(crate) async fn expect_end_of_bytes(&mut self) {
        within("the end of the connection", async {
            // A reset is an end too.
            while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0) {
                self.buffer.clear();
            }
        })
        .await;
    }

    async fn skip_to_close(&mut self) -> Option<(u16, String)> {
        loop {
            let frame = self.frame().await?;
            if frame.opcode() == Opcode::CLOSE {
                let [high, low, reason @ ..] = &frame.payload[..] else { panic!("a close without a code") };
                let reason = std::str::from_utf8(reason).expect("a reason in UTF-8");
                return Some((u16::from_be_bytes([*high, *low]), reason.to_owned()));
            }
        }
    }

    /// Bytes read so far that are not a whole frame or response, for tests of HTTP.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }
}
