//! Why a run could not take place. Nothing branches on the kind, so it is a sentence for whoever reads the terminal.

use std::fmt;

/// A sentence that says what failed.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    /// A fault that says `what`.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// For `map_err`: puts what was being done before the operating system's reason.
    pub(crate) fn while_doing<E: fmt::Display>(action: &str) -> impl FnOnce(E) -> Self + '_ {
        move |error| Self(format!("{action}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
