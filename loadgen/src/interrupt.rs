//! Being told to end, by SIGINT or SIGTERM: the first time and the second are remembered for whoever looks, the third ends the process
//! at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::fault::Fault;

/// What told the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// As people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// What a shell says of a command that the signal has ended: 128 and its number.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// From now on neither signal does anything to this process: another one says when it ends.
///
/// # Errors
///
/// When they cannot be heard.
pub(crate) fn leave_to_another() -> Result<(), Fault> {
    // Whoever has heard a signal once hears it until the process ends, whether or not anybody listens.
    Signals::hear(&runtime()?).map(|_| ())
}

fn runtime() -> Result<Runtime, Fault> {
    Builder::new_current_thread().enable_io().build().map_err(Fault::while_doing("a runtime"))
}

/// Both signals.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn hear(runtime: &Runtime) -> Result<Self, Fault> {
        let hear = |kind| {
            let _inside = runtime.enter();
            signal(kind).map_err(Fault::while_doing("hearing signals"))
        };
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    first: OnceLock<Signal>,
    again: AtomicBool,
}

impl Interrupt {
    /// Hears the signals from now on, until the process ends: what is written at the end may take its time, too.
    ///
    /// # Errors
    ///
    /// When they cannot be heard.
    pub(crate) fn listen() -> Result<Self, Fault> {
        let runtime = runtime()?;
        let mut signals = Signals::hear(&runtime)?;
        let told = Self::default();
        let heard = Arc::clone(&told.0);
        let listen = async move {
            loop {
                let signal = signals.next().await;
                if heard.first.set(signal).is_err() && heard.again.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(signal.exit_code()));
                }
            }
        };
        let work = move || runtime.block_on(listen);
        thread::Builder::new().name("loadgen-signals".to_owned()).spawn(work).map_err(Fault::while_doing("a thread"))?;
        Ok(told)
    }

    /// What told the process to end, if anything has.
    pub(crate) fn told(&self) -> Option<Signal> {
        self.0.first.get().copied()
    }

    /// Whether it was told so once more.
    pub(crate) fn told_again(&self) -> bool {
        self.0.again.load(Ordering::Relaxed)
    }
}
