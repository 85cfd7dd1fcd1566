//! The command line from outside: the built program in a temporary folder. Every run has its own environment, without
//! the variables of this machine.

mod edit;
mod formats;
mod hooks;
mod init;
mod layers;
mod logs;
mod once;
mod remote;
pub(super) mod serving;
mod settings;
mod settings_checked;
mod sweeping;
mod values;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A temporary working folder for runs of the program.
pub(super) struct Place(pub(super) TempDir);

/// The result of a run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) code: i32,
    pub(super) out: Vec<u8>,
    pub(super) err: String,
}

impl Run {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    #[track_caller]
    pub(super) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(super) fn fails(self, code: i32, expected: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(expected), "{expected:?} is not in {self:?}");
        self
    }
}

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(content.as_ref()).unwrap();
        if name == "auth.txt" {
            // As `kvs passcode` creates it; another mode gives a warning.
            file.set_permissions(PermissionsExt::from_mode(0o600)).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.args(args).current_dir(self.0.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("TMPDIR", self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Run {
        self.with(args, &[], b"")
    }

    pub(super) fn with(&self, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Run {
        let mut child = self.command(args).envs(env.iter().copied()).spawn().unwrap();
        // A program that does not read its input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let err = String::from_utf8(stderr).unwrap();
        Run { code: status.code().unwrap_or(-1), out: stdout, err }
    }

    /// A command for `EDITOR` that runs these lines of shell with the copy as `$1`.
    fn editor(&self, lines: &str) -> String {
        format!("sh {}", self.file("editor.sh", format!("{lines}\n")))
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("kvs-edit-")).collect()
    }
}
