//! Plain HTTP/1.1, spelled out, so that a test can also misspell it.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Raw, within};

/// A response. Header names are in lower case.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// `GET path`, on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Response {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).await
}

/// One sample of `/metrics`, by its name and labels.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> u64 {
    let metrics = get(address, "/metrics").await.body;
    let sample = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().expect("a count")
}

/// Sends `head` as it is and reads one response.
pub(crate) async fn request(address: SocketAddr, head: &str) -> Response {
    let mut raw = Raw::tcp(address).await;
    raw.write(head.as_bytes()).await.expect("a fresh connection takes a request");
    let (mut stream, mut buffer) = raw.into_parts();
    within("an HTTP response", read_response(&mut stream, &mut buffer)).await.expect("an HTTP response")
}

/// Reads one response; what follows a 101 stays in `buffer`. `None` when the connection ends first.
pub(crate) async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Response> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).expect("a head in ASCII");
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: String::new() };
    if status == 101 {
        return Some(response);
    }
    let length: usize = response.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(usize::MAX);
    while buffer.len() < length {
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    response.body = String::from_utf8_lossy(buffer).into_owned();
    Some(response)
}
