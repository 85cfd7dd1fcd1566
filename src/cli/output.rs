//! Standard output, for data only, and the progress bar. Messages go to [`super::stderr`].

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::{CliResult, Failure};

/// Buffered standard output. Call [`Output::finish`] at the end, or data may be lost.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    pub(crate) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> CliResult {
        self.0.write_all(bytes).map_err(Failure::stdout)
    }

    pub(crate) fn line(&mut self, text: &str) -> CliResult {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// The writer itself; pass its errors to [`Failure::stdout`].
    pub(crate) fn writer(&mut self) -> &mut impl Write {
        &mut self.0
    }

    pub(crate) fn finish(mut self) -> CliResult {
        self.0.flush().map_err(Failure::stdout)
    }
}

/// The width of the terminal on standard output, in cells: `COLUMNS` if set, else the width that the terminal reports,
/// else 80.
pub(crate) fn terminal_width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let reported = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    // A terminal that does not know its width reports 0.
    set.filter(|columns| *columns > 0).or_else(|| reported().filter(|columns| *columns > 0)).unwrap_or(80)
}

/// A progress bar over `length` items. It is drawn on standard error if that is a terminal, unless `quiet`.
pub(crate) fn progress(length: usize, doing: &'static str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target).with_message(doing);
    match ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
