//! A nonblocking client connection: what has been read but is not a whole frame yet, and what could not be written yet.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with, sockopt,
};

use crate::fault::Fault;
use crate::raw::poller::{Interest, Poller};

/// Size of the buffer that all connections read into, one after the other. No frame may be larger.
pub(crate) const SCRATCH_BYTES: usize = 1 << 20;
/// A server that lets this much pile up has stopped reading.
const MAX_OUTBOX_BYTES: usize = 4 << 20;
/// Local ports that one source address safely has, with Linux's default range.
const CONNECTIONS_PER_SOURCE: usize = 28_000;

/// A connection.
pub(crate) struct Socket {
    fd: OwnedFd,
    carry: Vec<u8>,
    outbox: Vec<u8>,
    interest: Interest,
}

impl Socket {
    /// Connects; blocks for the handshake of TCP, which on loopback the kernel completes within the call.
    /// `index` picks the source address, since one has not enough ports for all.
    pub(crate) fn connect(address: SocketAddrV4, index: usize) -> Result<Self, Fault> {
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(Fault::while_doing("socket"))?;
        let source = index / CONNECTIONS_PER_SOURCE;
        if source > 0 && address.ip().is_loopback() {
            let source = SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + source as u32), 0);
            bind(&fd, &source).map_err(Fault::while_doing("bind"))?;
        }
        connect(&fd, &address).map_err(Fault::while_doing("connect"))?;
        sockopt::set_tcp_nodelay(&fd, true).map_err(Fault::while_doing("TCP_NODELAY"))?;
        ioctl_fionbio(&fd, true).map_err(Fault::while_doing("FIONBIO"))?;
        Ok(Self { fd, carry: Vec::new(), outbox: Vec::new(), interest: Interest::Read })
    }

    /// Reads once. `scratch` then starts with that many bytes: what was carried over, and what is new. 0: nothing new.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> Result<usize, Fault> {
        let carried = self.carry.len();
        if carried >= scratch.len() {
            return Err(Fault::new("the server sent a frame that is larger than the buffer"));
        }
        scratch[..carried].copy_from_slice(&self.carry);
        match recv(&self.fd, &mut scratch[carried..], RecvFlags::empty()) {
            Ok((0, _)) => Err(Fault::new("the server closed a connection")),
            Ok((length, _)) => {
                self.carry.clear();
                Ok(carried + length)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(Fault::while_doing("recv")(error)),
        }
    }

    /// Keeps the start of an incomplete frame for the next read.
    pub(crate) fn carry_over(&mut self, rest: &[u8]) {
        self.carry.extend_from_slice(rest);
    }

    /// Where to append what is to be sent; follow with [`Self::flush`].
    pub(crate) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Writes what can be written, and watches for room if that was not all.
    pub(crate) fn flush(&mut self, poller: &Poller, index: usize) -> Result<(), Fault> {
        if !self.outbox.is_empty() {
            match send(&self.fd, &self.outbox, SendFlags::NOSIGNAL) {
                Ok(length) if length == self.outbox.len() => self.outbox.clear(),
                Ok(length) => drop(self.outbox.drain(..length)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(Fault::while_doing("send")(error)),
            }
        }
        if self.outbox.len() > MAX_OUTBOX_BYTES {
            return Err(Fault::new("the server has stopped reading"));
        }
        let wanted = if self.outbox.is_empty() { Interest::Read } else { Interest::ReadAndWrite };
        if wanted != self.interest {
            poller.change(&self.fd, index, wanted)?;
            self.interest = wanted;
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
