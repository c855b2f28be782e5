//! A proxy between a store and its server, which loses answers, delays them, and cuts connections.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Stands between a store and its server.
pub(super) struct Proxy {
    address: SocketAddr,
    state: Arc<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    swallows: AtomicBool,
    /// What cuts a connection that sends it.
    poison: Mutex<Option<&'static str>>,
    /// After what is sent answers disappear.
    mute: Mutex<Option<&'static str>>,
    /// How long each connection's first answer takes.
    delay: Mutex<Duration>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Stands before the server of the URL, and gives its own.
    pub(super) fn new(url: &str) -> (Self, String) {
        let (before, rest) = url.split_once('@').unwrap();
        let (target, after) = rest.split_once('/').unwrap();
        let target: SocketAddr = target.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ProxyState::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is down is so for the client too.
                let Ok(server) = TcpStream::connect(target) else { continue };
                for (from, to, is_answer) in [(&client, &server, false), (&server, &client, true)] {
                    let (from, to, state) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&shared));
                    std::thread::spawn(move || state.forward(from, to, is_answer));
                }
                shared.open.lock().unwrap().extend([client, server]);
            }
        });
        (Self { address, state }, format!("{before}@{address}/{after}"))
    }

    /// Has the server's answers disappear from now on.
    pub(super) fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }

    /// Has them disappear from when somebody sends this on.
    pub(super) fn swallow_after(&self, marker: &'static str) {
        *self.state.mute.lock().unwrap() = Some(marker);
    }

    /// Has each new connection's first answer take so long.
    pub(super) fn delay(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    /// Has every connection that sends this be cut.
    pub(super) fn cut_at(&self, marker: &'static str) {
        *self.state.poison.lock().unwrap() = Some(marker);
    }

    /// Has answers come through again.
    pub(super) fn pass(&self) {
        *self.state.mute.lock().unwrap() = None;
        self.state.swallows.store(false, Ordering::SeqCst);
    }

    /// Cuts every connection; those to come work.
    pub(super) fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
        self.pass();
    }
}

impl ProxyState {
    fn forward(&self, mut from: TcpStream, mut to: TcpStream, is_answer: bool) {
        let mut buffer = [0; 16 * 1024];
        let mut is_first = is_answer;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..count];
            if std::mem::take(&mut is_first) {
                let delay = *self.delay.lock().unwrap();
                std::thread::sleep(delay);
            }
            if is_answer && self.swallows.load(Ordering::SeqCst) {
                continue;
            }
            if !is_answer && has(&self.mute, bytes) {
                self.swallows.store(true, Ordering::SeqCst);
            }
            if !is_answer && has(&self.poison, bytes) {
                from.shutdown(Shutdown::Both).ok();
                break;
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
    }
}

/// Whether the marker, if there is one, is in what was sent.
fn has(marker: &Mutex<Option<&'static str>>, bytes: &[u8]) -> bool {
    let marker = *marker.lock().unwrap();
    marker.is_some_and(|marker| bytes.windows(marker.len()).any(|part| part == marker.as_bytes()))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        // The listening thread ends with the process.
        let _ = self.address;
    }
}
