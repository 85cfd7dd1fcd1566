//! Messages to people, on standard error. A message that cannot be written is lost: there is nowhere to report that.

use std::io::{self, Write as _};

/// Prints a line.
pub(crate) fn say(text: &str) {
    prompt(&format!("{text}\n"));
}

/// Prints a question without a line end, so that the answer follows on the same line.
pub(crate) fn prompt(text: &str) {
    // In one call, so that lines of several threads and programs do not mix.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
