//! The secret for a store over HTTP: from `--secret-file`, from `KVS_SECRET`, or from the terminal.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::stderr::{prompt, say};
use crate::model::{Error, ErrorKind, Result};
use crate::remote::RemoteAddress;

/// Ctrl-C, which is a character while the terminal shows nothing.
const INTERRUPT: char = '\u{3}';

/// The secret for a server. `None` if there is none: reads may be open.
///
/// # Errors
/// If the file cannot be read or has no secret, or if the user breaks off.
pub(crate) fn find(file: Option<&Path>, address: &RemoteAddress) -> Result<Option<String>> {
    let given = given(file)?;
    if given.is_some() {
        return Ok(given);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    ask(address)
}

/// The secret of the file or of the variable.
///
/// # Errors
/// If the file cannot be read or has no secret.
pub(crate) fn given(file: Option<&Path>) -> Result<Option<String>> {
    match file {
        Some(file) => read(file).map(Some),
        None => Ok(std::env::var("KVS_SECRET").ok().filter(|secret| !secret.is_empty())),
    }
}

/// The secret in the first line of a file that has one.
fn read(file: &Path) -> Result<String> {
    let invalid = |why: String| Error::new(ErrorKind::Invalid, format!("--secret-file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let first = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).find_map(|line| {
        // The rights that may follow in an auth.txt.
        line.split_whitespace().next()
    });
    let secret = first.ok_or_else(|| invalid("it has no secret".to_owned()))?;
    if secret.starts_with("sha256:") {
        return Err(invalid("it has the hash of a secret; the secret itself is needed".to_owned()));
    }
    Ok(secret.to_owned())
}

/// Asks on the terminal, without showing the answer.
fn ask(address: &RemoteAddress) -> Result<Option<String>> {
    let failed = |error: io::Error| Error::io("cannot ask for the secret on the terminal", error);
    let terminal = File::open("/dev/tty").map_err(failed)?;
    let shown = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut hidden = shown.clone();
    // Without signals, so that Ctrl-C cannot end the program while the terminal shows nothing.
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    prompt(&format!("secret for {address} (empty: none): "));
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).map_err(|error| failed(error.into()))?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    // If this fails, the terminal is gone.
    let _ = tcsetattr(&terminal, OptionalActions::Now, &shown);
    say("");
    read.map_err(failed)?;
    if line.contains(INTERRUPT) {
        return Err(Error::new(ErrorKind::Invalid, "interrupted; nothing was done"));
    }
    Ok(Some(line.trim().to_owned()).filter(|secret| !secret.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn secret_in(text: &str) -> Result<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    #[test]
    fn the_secret_is_the_first_word_that_is_no_comment() {
        assert_eq!(secret_in("hunter2\n").unwrap(), "hunter2");
        assert_eq!(secret_in("\u{feff}# mine\r\n\r\n  hunter2 write # the laptop\r\nother\r\n").unwrap(), "hunter2");
        for bad in ["", "# only a comment\n", "sha256:abc\n"] {
            let error = secret_in(bad).unwrap_err().to_string();
            assert!(error.starts_with("--secret-file ") && !error.contains("abc"), "{error}");
        }
        assert!(read(Path::new("/nonexistent/secret")).is_err());
    }
}
