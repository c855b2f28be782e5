//! For the benches in `benches/` alone: one worker without its thread, so that what a turn costs can be counted exactly.
//!
//! It is the real worker, over one end of socket pairs. Time stands still unless it is passed, so that no turn does more than
//! another because a clock went on. The server itself uses nothing of this.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::{Input, SessionInput, Shared, Upgraded, Worker, mailbox};
use crate::auth::{AuthConfig, Identity, InviteKey, Secret, Verifier};
use crate::protocol::{Limits, UnixMillis, UserId};
use crate::store::Store;

/// The wall clock, which stands still: 2026-11-24.
const WALL: UnixMillis = UnixMillis::new(1_795_512_600_000);

/// A worker that turns when it is told to.
pub struct LoneWorker {
    worker: Worker,
    shared: Arc<Shared>,
}

impl LoneWorker {
    /// The only worker of a server that limits no rates.
    ///
    /// # Errors
    /// When the kernel has no epoll or eventfd to give.
    pub fn new(store: Arc<dyn Store>) -> io::Result<Self> {
        let limits = Limits { messages_per_second: 0, actions_per_second: 0, ..Limits::default() };
        let secret = Secret::new(b"a secret that nobody uses, as nobody sends a token").map_err(io::Error::other)?;
        let verifier = Verifier::new(&AuthConfig { secret: Some(secret), ..AuthConfig::default() }).map_err(io::Error::other)?;
        let invites = InviteKey::random()?;
        let shared = Arc::new(Shared::new(limits, store, verifier, invites, 1));
        let (mailbox, letters) = mailbox::mailbox()?;
        let mut worker = Worker::new(0, Arc::clone(&shared), Arc::from([mailbox]), letters)?;
        worker.context.wall = WALL;
        Ok(Self { worker, shared })
    }

    /// Connects a user who has logged in with the handshake: the client's end.
    ///
    /// # Errors
    /// When the kernel has no more descriptors to give.
    pub fn connect(&mut self, user: &UserId) -> io::Result<UnixStream> {
        let (client, server) = UnixStream::pair()?;
        server.set_nonblocking(true)?;
        let expires_at = UnixMillis::new(WALL.get() + 1_000_000_000);
        let upgraded = Upgraded {
            stream: TcpStream::from(OwnedFd::from(server)),
            admission: self.shared.admit().ok_or(io::ErrorKind::QuotaExceeded)?,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: Vec::new(),
            identity: Some(Identity { user: user.clone(), name: user.shared(), expires_at }),
        };
        self.worker.context.mailbox().send(Input::Session(SessionInput::Upgraded(Box::new(upgraded))));
        Ok(client)
    }

    /// One turn: waits for sockets, for a tick at most, reads what is ready, handles it and writes what that caused.
    pub fn turn(&mut self) {
        self.worker.wait();
        self.worker.turn();
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.worker.context.now = self.worker.context.now + time;
    }
}
