//! Connections that have joined, and one turn of waiting for what they are told.

use std::time::Duration;

use crate::fault::Fault;
use crate::raw::cli::Dialect;
use crate::raw::dialogue::{answer_control, refuse_error, unexpected};
use crate::raw::poller::{Poller, Ready};
use crate::raw::rooms::Entered;
use crate::raw::socket::{SCRATCH_BYTES, Socket};
use crate::raw::wire::Frames;

/// Takes a connection's index and a message to it.
pub(crate) type Told<'a> = dyn FnMut(usize, &[u8]) + 'a;

/// Connections, some of which may have left.
pub(crate) struct Crowd {
    dialect: Dialect,
    poller: Poller,
    sockets: Vec<Option<Socket>>,
    scratch: Vec<u8>,
    ready: Ready,
}

impl Crowd {
    /// Of those who have entered.
    pub(crate) fn new(dialect: Dialect, entered: Entered) -> Self {
        let sockets = entered.sockets.into_iter().map(Some).collect();
        Self { dialect, poller: entered.poller, sockets, scratch: vec![0; SCRATCH_BYTES], ready: Ready::new() }
    }

    /// How they speak.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether this connection is still there.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.sockets[index].is_some()
    }

    /// Cuts a connection off, without a word to the server.
    pub(crate) fn cut(&mut self, index: usize) {
        self.sockets[index] = None;
    }

    /// Sends the frame that `write` appends; one that has left says nothing.
    pub(crate) fn send_frame(&mut self, index: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Fault> {
        let Some(socket) = &mut self.sockets[index] else { return Ok(()) };
        write(socket.outbox());
        socket.flush(&self.poller, index)
    }

    /// One wait, and everything that it found. A refusal ends the run.
    pub(crate) fn turn(&mut self, wait: Duration, told: &mut Told<'_>) -> Result<(), Fault> {
        self.poller.wait(wait, &mut self.ready)?;
        for readiness in self.ready.iter() {
            let index = readiness.index;
            let Some(socket) = &mut self.sockets[index] else { continue };
            if readiness.readable {
                let length = socket.read(&mut self.scratch)?;
                let mut frames = Frames::new(&self.scratch[..length]);
                while let Some(frame) = frames.next_frame() {
                    let frame = frame.map_err(unexpected)?;
                    if !answer_control(self.dialect, &frame, socket.outbox())? {
                        refuse_error(self.dialect, frame.payload)?;
                        told(index, frame.payload);
                    }
                }
                socket.carry_over(frames.rest());
            }
            socket.flush(&self.poller, index)?;
        }
        Ok(())
    }
}
