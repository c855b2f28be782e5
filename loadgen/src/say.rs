//! Standard output. A reader that has seen enough, like `head`, is no reason to fail.

use std::io::{ErrorKind, Write};

use crate::fault::Fault;

/// Writes a line, or several.
///
/// # Errors
///
/// When standard output takes nothing for another reason than that its reader is gone.
pub(crate) fn line(text: &str) -> Result<(), Fault> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Fault::while_doing("standard output")),
    }
}
