//! How well a reader keeps up.

/// How much waits to be written to a connection, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Little or nothing waits.
    Keeping,
    /// More than a quarter of the limit: typing, presence and hints are dropped.
    Behind,
    /// Over the limit: the connection is closed.
    Slow,
}
