//! Programs on one folder, as a web server starts them: a CGI process for each request, or several FastCGI processes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::server::fastcgi_client::{params, whole};

pub(crate) const SECRET: &str = "the-secret";

/// A folder with an auth file that only its owner can read.
pub(crate) struct Place(TempDir);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// What a CGI process wrote to the log.
    pub(crate) log: String,
}

/// A FastCGI process of the folder.
pub(crate) struct FastCgi {
    child: Child,
    socket: PathBuf,
}

impl Drop for FastCgi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.auth(SECRET, 0o600);
        this
    }

    /// Writes the auth file.
    pub(crate) fn auth(&self, text: &str, mode: u32) {
        let path = self.path("auth.txt");
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.current_dir(self.0.path()).env_clear().env("KVS_HOME", self.0.path()).stdin(Stdio::null());
        command
    }

    /// A form from this address, answered by a new process.
    pub(crate) fn cgi(&self, address: &str, form: &str) -> Answer {
        answered(self.program(), address, form)
    }

    /// The same, while every write to a file fails, as on a full disk.
    pub(crate) fn cgi_without_room(&self, address: &str, form: &str) -> Answer {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_kvs");
        // The signal is ignored, so that the write fails and the program continues.
        command.args(["-c", &format!("trap '' XFSZ; ulimit -f 0; exec {program}")]);
        command.current_dir(self.0.path()).env("KVS_HOME", self.0.path());
        answered(command, address, form)
    }

    pub(crate) fn fastcgi(&self, number: usize) -> FastCgi {
        let socket = self.path(&format!("s{number}"));
        let listener = UnixListener::bind(&socket).unwrap();
        let mut command = self.program();
        command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
        FastCgi { child: command.spawn().unwrap(), socket }
    }
}

fn answered(mut command: Command, address: &str, form: &str) -> Answer {
    let length = form.len().to_string();
    let variables = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", "/kvs.cgi"),
        ("SCRIPT_FILENAME", "/srv/kvs.cgi"),
        ("REQUEST_URI", "/kvs.cgi"),
        ("CONTENT_TYPE", "application/x-www-form-urlencoded"),
        ("CONTENT_LENGTH", &length),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", address),
    ];
    command.envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(form.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    Answer { status: status(&text, "Status: "), text, log }
}

impl FastCgi {
    /// A form from this address.
    pub(crate) fn send(&self, address: &str, form: &str) -> u16 {
        let length = form.len().to_string();
        let list = params(&[
            ("REQUEST_METHOD", b"POST"),
            ("SCRIPT_NAME", b"/kvs.fcgi"),
            ("SCRIPT_FILENAME", b"/srv/kvs.fcgi"),
            ("REQUEST_URI", b"/kvs.fcgi"),
            ("CONTENT_TYPE", b"application/x-www-form-urlencoded"),
            ("CONTENT_LENGTH", length.as_bytes()),
            ("REMOTE_ADDR", address.as_bytes()),
        ]);
        let mut socket = UnixStream::connect(&self.socket).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(&whole(1, false, &list, form.as_bytes())).unwrap();
        let mut answer = vec![];
        socket.read_to_end(&mut answer).unwrap();
        status(&String::from_utf8_lossy(&answer), "Status: ")
    }
}

#[track_caller]
fn status(answer: &str, before: &str) -> u16 {
    let found = answer.split_once(before).and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    found.unwrap_or_else(|| panic!("no status: {answer:?}"))
}
