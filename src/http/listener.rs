//! Accepting sockets, also when there is no file descriptor left for them.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::Http;

/// Most sockets whose request is being read or answered; others wait in the kernel's queue. Each has a deadline.
const MAX_HANDSHAKES: usize = 4_096;
/// Connections that the kernel holds until they are accepted; it takes fewer where `net.core.somaxconn` is lower. Past it a client's
/// first packet is dropped and comes again a second later, which a crowd that reconnects at once would feel: 128, the usual number,
/// cost one in eight of 2,000 that second.
const MAX_UNACCEPTED: u32 = 4_096;
/// How long accepting rests after a failure that is not one client's.
const REST: Duration = Duration::from_millis(50);

/// A descriptor kept back, so that a client for whom there is none can still be accepted and closed instead of left to hang.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

/// Binds an address, with room for a crowd that comes back at once.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does: a restarted server does not wait for its old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_UNACCEPTED)
}

/// Accepts until it is dropped; each socket gets a task of its own, which the handshake's deadline ends.
pub(crate) async fn accept_forever(listener: TcpListener, http: Rc<Http>) {
    let mut reserve = Reserve::new();
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        // Never closed, so that there is always a place in the end.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                http.shared.metrics.accepted.add_shared();
                // Small frames must not wait for an acknowledgement of the one before. Failing costs time only.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY was not set");
                }
                let serving = Rc::clone(&http).serve(stream, peer);
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                http.shared.metrics.accept_errors.add_shared();
                handle_failure(&error, &listener, &mut reserve).await;
            }
        }
    }
}

async fn handle_failure(error: &io::Error, listener: &TcpListener, reserve: &mut Reserve) {
    let is_out_of_descriptors =
        [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return tracing::debug!(%error, "a client left before it was accepted");
    }
    if !is_out_of_descriptors {
        tracing::warn!(%error, "a socket was not accepted");
        return tokio::time::sleep(REST).await;
    }
    tracing::warn!(%error, "no file descriptor is left for a new client; raise the limit (ulimit -n)");
    drop(reserve.0.take());
    if let Ok(turned_away) = tokio::time::timeout(REST, listener.accept()).await {
        drop::<io::Result<(TcpStream, _)>>(turned_away);
    }
    *reserve = Reserve::new();
    tokio::time::sleep(REST).await;
}
