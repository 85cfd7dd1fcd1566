//! Where data and notes go: data to standard output, all else to standard error.
//!
//! A reader that has gone (`kvs list | head -1`) is no failure. What cannot be written to standard error is lost, and
//! nothing else happens: there is nowhere to say so, and the work itself may have gone well.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::failure::{Done, Failure};

/// Standard output, buffered. What was written counts only once [`Output::done`] has been called.
pub(super) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Whether a person is looking.
    pub(super) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Done {
        self.0.write_all(bytes).map_err(unwritten)
    }

    pub(super) fn line(&mut self, text: &str) -> Done {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Hands out the writer itself; errors are to be given to [`unwritten`].
    pub(super) fn writer(&mut self) -> &mut impl Write {
        &mut self.0
    }

    /// Writes what is still held back.
    pub(super) fn done(mut self) -> Done {
        self.0.flush().map_err(unwritten)
    }
}

/// What an error on standard output means.
pub(super) fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::Unread
    } else {
        Failure::Failed(format!("cannot write to standard output: {error}"))
    }
}

/// The width in cells of the terminal that shows standard output: what `COLUMNS` says, else what the terminal does.
pub(super) fn columns() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    // A terminal that does not know says zero.
    set.filter(|columns| *columns > 0).or_else(|| asked().filter(|columns| *columns > 0)).unwrap_or(80)
}

/// Says something on standard error, on a line of its own.
pub(super) fn say(text: &str) {
    ask(&format!("{text}\n"));
}

/// The same without an end of the line, for an answer to follow.
pub(super) fn ask(text: &str) {
    // In one piece, so that lines of several threads and programs stay apart.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A progress bar over `length` things, drawn on standard error if that is a terminal and `quiet` is not wished.
pub(super) fn progress(length: usize, doing: &'static str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target).with_message(doing);
    match ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Text in which each control character stands as an escape, so that a value can neither break a line nor steer a
/// terminal. Bytes that are not UTF-8 stand as `\xNN`, a backslash as two.
pub(super) fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing into a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_to_one_line_and_can_be_told_apart() {
        assert_eq!(escaped(b"plain \xc3\xa4"), "plain ä");
        assert_eq!(escaped(b"a\tb\nc\rd\\n"), "a\\tb\\nc\\rd\\\\n");
        assert_eq!(escaped(b"\x1b[31m"), "\\u{1b}[31m");
        assert_eq!(escaped(b"\xff\x00ok"), "\\xff\\u{0}ok");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        assert!(matches!(unwritten(io::Error::from(io::ErrorKind::BrokenPipe)), Failure::Unread));
        assert!(matches!(unwritten(io::Error::from(io::ErrorKind::StorageFull)), Failure::Failed(_)));
    }
}
