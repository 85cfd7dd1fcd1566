//! `kvs edit`: a bucket in an editor, as `visudo` does it: a private copy, the editor, judging, replacing.
//!
//! The copy is never thrown away while it holds something that is not stored, and never left when it holds nothing new.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Done, Failure};
use super::open::Opened;
use super::output::{ask, say};
use super::settings::Settings;
use crate::model::{Bucket, Error, Kind};
use crate::yaml::{Conflict, Draft, YamlStore, write_text};

/// What Debian offers first, then what is on nearly every machine.
const EDITORS: [&str; 5] = ["sensible-editor", "editor", "nano", "vim", "vi"];

const EXAMPLES: &str = "\
Examples:
  kvs edit
  EDITOR='code --wait' kvs edit --bucket sensors

In the editor, `key: value` is enough for a new entry:
  greeting: hello
Removing an entry deletes the key. Comments, empty lines and the order are kept as you leave them.
Entries that you do not change keep their times, and what others make of them meanwhile.";

/// Edit a bucket in your editor
///
/// Opens a copy in $VISUAL, else $EDITOR, else what the machine has. When the editor ends, the text is judged; only if
/// all of it is right are the changed entries stored, in one step. Others may read and write meanwhile. If they changed a key
/// that you changed too, nothing of yours is stored, the editor shows both, and you decide.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {}

pub(super) async fn run(settings: &Settings, _: Given) -> Done {
    let opened = settings.open()?;
    let Some(yaml) = &opened.yaml else {
        return Err(Failure::Usage(format!("edit works on a store of files (yaml:DIR), not on {}", settings.store)));
    };
    let bucket = settings.bucket();
    let mut draft = yaml.draft(&bucket)?;
    let original = draft.text.clone();
    // Ctrl-C in the editor is for the editor. The handler lasts as long as the program.
    let _ours = signal(SignalKind::interrupt()).map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
    let copy = Copy::of(&bucket, &draft.text)?;
    let editor = editor();
    loop {
        copy.open_in(&editor).map_err(|why| copy.left(&why, &original))?;
        let text = without_conflicts(&copy.text()?);
        if text == original {
            copy.remove();
            settings.note("nothing was changed");
            return Ok(());
        }
        let error = match store(&opened, (yaml, &bucket), &mut draft, &text).await? {
            Stored::Done(note) => {
                copy.remove();
                settings.note(&note);
                return Ok(());
            }
            Stored::Conflicts(error, conflicts) => {
                copy.write(&with_conflicts(&conflicts, &text))?;
                error
            }
            Stored::Not(error) => error,
        };
        let done = if error.is_outcome_open() { "not known whether it is stored" } else { "nothing is stored" };
        say(&format!("kvs: {done}: {error}"));
        if !again()? {
            return Err(copy.kept("what you wrote is kept"));
        }
    }
}

/// What became of a text.
enum Stored {
    /// It is stored; what to tell of it.
    Done(String),
    /// Others changed the same keys.
    Conflicts(Error, Vec<Conflict>),
    /// It is not.
    Not(Error),
}

/// So often a text is tried that others get ahead of, although they change nothing that it changes otherwise.
const TRIES: usize = 10;

async fn store(opened: &Opened, (yaml, bucket): (&YamlStore, &Bucket), draft: &mut Draft, text: &str) -> Done<Stored> {
    let mut tries = TRIES;
    loop {
        let error = match yaml.replace_through(&*opened.store, (bucket, draft), text).await {
            Ok(done) => {
                return Ok(Stored::Done(format!("{bucket}: {} written, {} deleted", done.written, done.deleted)));
            }
            Err(error) => error,
        };
        tries -= 1;
        if error.kind() != Kind::Busy || tries == 0 {
            return Ok(Stored::Not(error));
        }
        let now = yaml.draft(bucket)?;
        let conflicts = draft.conflicts(&now, text)?;
        draft.resolve(&now, text)?;
        if !conflicts.is_empty() {
            return Ok(Stored::Conflicts(error, conflicts));
        }
    }
}

/// How each line begins that shows what somebody else wrote meanwhile.
const CONFLICT: &str = "# CONFLICT ";

/// The text, with what others made of the keys that it changes in front.
fn with_conflicts(conflicts: &[Conflict], text: &str) -> String {
    let mut lines =
        format!("{CONFLICT}Others changed these keys meanwhile. What you save now replaces what they wrote:\n");
    for Conflict { key, theirs } in conflicts {
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

/// The text without these lines.
fn without_conflicts(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(CONFLICT)).collect()
}

/// Asks what to do. At the end of the input: give up.
fn again() -> Done<bool> {
    let mut lines = io::stdin().lock().lines();
    loop {
        ask("(e)dit again, or e(x)it and keep the copy? ");
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

/// The command that edits a file.
fn editor() -> OsString {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| EDITORS.iter().find(is_there).unwrap_or(&"vi").into())
}

/// The copy that is edited, in a folder that only its owner can enter.
struct Copy {
    folder: PathBuf,
    file: PathBuf,
}

impl Copy {
    fn of(bucket: &Bucket, text: &str) -> Done<Self> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|e| Failure::Failed(format!("the operating system gave no random numbers: {e}")))?;
        let folder = std::env::temp_dir().join(format!("kvs-edit-{:016x}", u64::from_be_bytes(random)));
        DirBuilder::new().mode(0o700).create(&folder).map_err(|e| Failure::file("make the folder", &folder, &e))?;
        let copy = Self { file: folder.join(format!("{bucket}.yaml")), folder };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy.file);
        let written = file.as_mut().map_err(|e| io::Error::from(e.kind())).and_then(|f| f.write_all(text.as_bytes()));
        written.map_err(|e| Failure::file("write", &copy.file, &e))?;
        Ok(copy)
    }

    /// Opens it and waits until the editor ends; or says why it did not end well.
    fn open_in(&self, editor: &OsString) -> Result<(), String> {
        // By the shell, since $EDITOR may hold arguments; the name of the file is an argument of its own.
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

    fn write(&self, text: &str) -> Done {
        let file = OpenOptions::new().write(true).truncate(true).open(&self.file);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| self.kept(&format!("cannot write the copy: {e}")))
    }

    fn text(&self) -> Done<String> {
        let bytes = std::fs::read(&self.file).map_err(|e| self.kept(&format!("cannot read the copy: {e}")))?;
        String::from_utf8(bytes).map_err(|_| self.kept("the copy is no longer UTF-8"))
    }

    /// The failure that ends it all: the copy is kept if it holds anything but `original`.
    fn left(&self, text: &str, original: &str) -> Failure {
        if self.text().is_ok_and(|now| now == original) {
            self.remove();
            return Failure::Failed(format!("{text}; nothing was changed"));
        }
        self.kept(text)
    }

    /// The failure that says where the copy is.
    fn kept(&self, text: &str) -> Failure {
        Failure::Failed(format!("{text}; nothing is stored; the copy is {}", self.file.display()))
    }

    /// Takes it away, with what the editor left beside it. Failing that does no harm: it is private.
    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The terminal for the editor, even if our own input is a pipe; else our input.
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
    fn the_copy_is_private_and_can_be_removed() {
        let copy = Copy::of(&Bucket::default(), "a: 1\n").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&copy.folder), mode(&copy.file)), (0o700, 0o600));
        assert_eq!(copy.text().unwrap(), "a: 1\n");
        copy.open_in(&OsString::from("sh -c 'echo \"b: 2\" >> \"$0\"'")).unwrap();
        assert_eq!(copy.text().unwrap(), "a: 1\nb: 2\n");
        let why = copy.open_in(&OsString::from("false")).unwrap_err();
        let Failure::Failed(text) = copy.left(&why, "a: 1\n") else { panic!("another failure") };
        assert!(text.contains("ended with") && text.contains(&copy.file.display().to_string()), "{text}");
        assert!(copy.file.exists(), "it holds something new");
        let Failure::Failed(text) = copy.left(&why, "a: 1\nb: 2\n") else { panic!("another failure") };
        assert!(text.contains("nothing was changed") && !copy.folder.exists(), "{text}");
    }
}
