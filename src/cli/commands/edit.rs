//! `kvs edit`: edits a bucket like `visudo`: a private copy, the editor, a check, then the changes are stored.
//!
//! The copy is removed at the end, unless it contains changes that are not stored.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::config::settings::CliSettings;
use crate::cli::data::open_store::OpenStore;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::random;
use crate::cli::stderr::{prompt, say};
use crate::model::{Bucket, Clock as _, Error, ErrorKind, SystemClock};
use crate::yaml::{EditConflict, EditSession, EditSummary, write_text};

/// The editors of Debian first, then those of most machines.
const EDITORS: [&str; 5] = ["sensible-editor", "editor", "nano", "vim", "vi"];

const EXAMPLES: &str = "\
Examples:
  kvs edit
  EDITOR='code --wait' kvs edit --bucket sensors

In the editor, `key: value` adds an entry:
  greeting: hello
Remove an entry to delete its key. Comments, empty lines and order stay as you leave them. Entries
that you do not change keep their times, and changes that others make at the same time.";

/// Edit a bucket in your editor
///
/// Opens a copy in $VISUAL, else in $EDITOR, else in an installed editor. The changes are stored in one step, only if
/// the whole file is valid. A bucket of PostgreSQL or of a server is shown as the file that it would be, without values
/// of more than 64 KiB. Others may read and write meanwhile. If they changed a key that you changed too, nothing is
/// stored, and the editor shows both versions.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

pub(crate) async fn run(settings: &CliSettings, _: Args) -> CliResult {
    if settings.store.location().is_none() {
        return Err(Failure::Usage("edit needs a store that lasts; memory: is empty, and lost at exit".to_owned()));
    }
    let opened = settings.open()?;
    let bucket = settings.bucket();
    let edited = EditedBucket { opened: &opened, bucket: &bucket };
    let mut session = edited.begin().await?;
    let mut original = session.text.clone();
    let mut state = NOT_STORED;
    // Ctrl-C is for the editor. The handler stays until the program ends.
    let _handler =
        signal(SignalKind::interrupt()).map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
    let copy = PrivateCopy::new(&bucket, &session.text)?;
    let editor = editor();
    loop {
        copy.open_in(&editor).map_err(|why| copy.abandon(&why, &original))?;
        let text = without_conflicts(&copy.text()?);
        if text == original && state == NOT_STORED {
            copy.remove();
            settings.note("nothing was changed");
            return Ok(());
        }
        let error = match edited.store(&mut session, &text).await? {
            SaveOutcome::Stored(note) => {
                copy.remove();
                settings.note(&note);
                return Ok(());
            }
            SaveOutcome::Conflicts(error, conflicts) => {
                copy.write(&with_conflicts(&conflicts, &text))?;
                error
            }
            SaveOutcome::NotStored(error) => error,
        };
        if error.is_outcome_unknown() {
            state = "the changes may be stored";
            // What was stored by now shows in the next attempt.
            if let Ok(now) = edited.begin().await {
                (original, session) = (now.text.clone(), now);
            }
        }
        say(&format!("kvs: {state}: {error}"));
        if !wants_to_edit_again()? {
            return Err(copy.kept("you stopped editing", state));
        }
    }
}

/// The bucket that is edited.
#[derive(Clone, Copy)]
struct EditedBucket<'a> {
    opened: &'a OpenStore,
    bucket: &'a Bucket,
}

/// What is known of the changes before one of them is certainly stored.
const NOT_STORED: &str = "nothing is stored";

enum SaveOutcome {
    /// With a message for the user.
    Stored(String),
    /// Others changed the same keys.
    Conflicts(Error, Vec<EditConflict>),
    NotStored(Error),
}

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of attempts to save if others write at the same time without a conflict.
const MAX_ATTEMPTS: usize = 10;

impl EditedBucket<'_> {
    /// A file is edited as it is, with its comments; a bucket of any other store as the file that it would be.
    async fn begin(self) -> crate::model::Result<EditSession> {
        match &self.opened.yaml {
            Some(yaml) => yaml.begin_edit(self.bucket),
            None => EditSession::begin(&*self.opened.store, self.bucket, SystemClock.now()).await,
        }
    }

    async fn save(self, session: &EditSession, text: &str) -> crate::model::Result<EditSummary> {
        let Self { opened, bucket } = self;
        match &opened.yaml {
            Some(yaml) => yaml.save_edit_through(&*opened.store, bucket, session, text).await,
            None => session.save(&*opened.store, bucket, text, SystemClock.now()).await,
        }
    }

    /// Takes what others have written into the session. Returns what they wrote to the same keys.
    async fn renew(self, session: &mut EditSession, text: &str) -> crate::model::Result<Vec<EditConflict>> {
        let now = self.begin().await?;
        let conflicts = session.conflicts(&now, text)?;
        session.resolve(&now, text)?;
        Ok(conflicts)
    }

    async fn store(self, session: &mut EditSession, text: &str) -> CliResult<SaveOutcome> {
        let bucket = self.bucket;
        let mut attempts = MAX_ATTEMPTS;
        loop {
            let error = match self.save(session, text).await {
                Ok(done) => {
                    return Ok(SaveOutcome::Stored(format!(
                        "{bucket}: {} written, {} deleted",
                        done.written, done.deleted
                    )));
                }
                Err(error) => error,
            };
            attempts -= 1;
            if error.kind() != ErrorKind::Busy || attempts == 0 {
                return Ok(SaveOutcome::NotStored(error));
            }
            // The text must survive every error.
            match self.renew(session, text).await {
                Ok(conflicts) if conflicts.is_empty() => tokio::time::sleep(PAUSE).await,
                Ok(conflicts) => return Ok(SaveOutcome::Conflicts(error, conflicts)),
                Err(error) => return Ok(SaveOutcome::NotStored(error)),
            }
        }
    }
}

/// Begins the lines that show what others wrote at the same time.
const CONFLICT: &str = "# CONFLICT ";

/// Puts the versions of others before the text.
fn with_conflicts(conflicts: &[EditConflict], text: &str) -> String {
    let mut lines = format!(
        "{CONFLICT}Others changed these keys while you were editing. If you save now, you replace their values:\n"
    );
    for EditConflict { key, theirs } in conflicts {
        let Some(entry) = theirs else {
            lines += &format!("{CONFLICT}{key:?} was deleted\n");
            continue;
        };
        for line in write_text(std::iter::once((key, entry))).lines() {
            lines += &format!("{CONFLICT}{line}\n");
        }
    }
    lines + text
}

/// Removes these lines.
fn without_conflicts(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(CONFLICT)).collect()
}

/// Asks the user. The end of the input means no.
fn wants_to_edit_again() -> CliResult<bool> {
    let mut lines = io::stdin().lock().lines();
    loop {
        prompt("(e)dit again, or e(x)it and keep the copy? ");
        match lines.next().transpose().map_err(|e| Failure::Failed(format!("cannot read the answer: {e}")))? {
            None => {
                say("");
                return Ok(false);
            }
            Some(answer) => match answer.trim() {
                "e" | "E" => return Ok(true),
                "x" | "X" => return Ok(false),
                _ => {}
            },
        }
    }
}

/// The command of the editor.
fn editor() -> OsString {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| EDITORS.iter().find(is_installed).unwrap_or(&"vi").into())
}

/// The copy in the editor, in a folder that only its owner can read.
struct PrivateCopy {
    folder: PathBuf,
    file: PathBuf,
}

impl PrivateCopy {
    fn new(bucket: &Bucket, text: &str) -> CliResult<Self> {
        let random = u64::from_be_bytes(random::bytes()?);
        let folder = std::env::temp_dir().join(format!("kvs-edit-{random:016x}"));
        DirBuilder::new().mode(0o700).create(&folder).map_err(|e| Failure::file("create the folder", &folder, &e))?;
        let copy = Self { file: folder.join(format!("{bucket}.yaml")), folder };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy.file);
        let written = file.as_mut().map_err(|e| io::Error::from(e.kind())).and_then(|f| f.write_all(text.as_bytes()));
        written.map_err(|e| Failure::file("write", &copy.file, &e))?;
        Ok(copy)
    }

    /// Runs the editor on the copy. An error says how the editor failed.
    fn open_in(&self, editor: &OsString) -> Result<(), String> {
        // Through a shell, because $EDITOR may contain arguments. The file name is a separate argument.
        let mut script = editor.clone();
        script.push(" \"$@\"");
        let status =
            Command::new("sh").arg("-c").arg(script).arg("kvs-edit").arg(&self.file).stdin(terminal()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the editor {} ended with {status}", editor.display())),
            Err(e) => Err(format!("cannot start the editor {}: {e}", editor.display())),
        }
    }

    fn write(&self, text: &str) -> CliResult {
        let file = OpenOptions::new().write(true).truncate(true).open(&self.file);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| self.kept_error(&format!("cannot write the copy: {e}")))
    }

    fn text(&self) -> CliResult<String> {
        let bytes = std::fs::read(&self.file).map_err(|e| self.kept_error(&format!("cannot read the copy: {e}")))?;
        String::from_utf8(bytes).map_err(|_| self.kept_error("the copy is no longer UTF-8"))
    }

    /// The error that ends the command. The copy is removed if it is equal to `original`.
    fn abandon(&self, text: &str, original: &str) -> Failure {
        if self.text().is_ok_and(|now| now == original) {
            self.remove();
            return Failure::Failed(format!("{text}; nothing was changed"));
        }
        self.kept_error(text)
    }

    /// The error that the copy is kept, with its path.
    fn kept_error(&self, text: &str) -> Failure {
        self.kept(text, NOT_STORED)
    }

    fn kept(&self, text: &str, state: &str) -> Failure {
        Failure::Failed(format!("{text}; {state}; your text is in {}", self.file.display()))
    }

    /// Removes the copy and the backup files of the editor. An error is harmless: the folder is private.
    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The standard input of the editor: the terminal, even if our own input is a pipe.
fn terminal() -> Stdio {
    if io::IsTerminal::is_terminal(&io::stdin()) {
        return Stdio::inherit();
    }
    File::open(Path::new("/dev/tty")).map_or_else(|_| Stdio::inherit(), Stdio::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_copy_is_private_and_is_removed_if_it_has_no_changes() {
        let copy = PrivateCopy::new(&Bucket::default(), "a: 1\n").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&copy.folder), mode(&copy.file)), (0o700, 0o600));
        assert_eq!(copy.text().unwrap(), "a: 1\n");
        copy.open_in(&OsString::from("sh -c 'echo \"b: 2\" >> \"$0\"'")).unwrap();
        assert_eq!(copy.text().unwrap(), "a: 1\nb: 2\n");
        let why = copy.open_in(&OsString::from("false")).unwrap_err();
        let Failure::Failed(text) = copy.abandon(&why, "a: 1\n") else { panic!("another failure") };
        assert!(text.contains("ended with") && text.contains(&copy.file.display().to_string()), "{text}");
        assert!(copy.file.exists(), "it has changes");
        let Failure::Failed(text) = copy.abandon(&why, "a: 1\nb: 2\n") else { panic!("another failure") };
        assert!(text.contains("nothing was changed") && !copy.folder.exists(), "{text}");
    }
}
