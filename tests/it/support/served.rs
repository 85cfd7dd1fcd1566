//! A real `kvs serve` in its own folder, stopped at the end of the test, and what the system knows about its process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A secret with all rights.
pub(crate) const SECRET: &str = "secret-of-the-served";

/// The name of the file with its log.
const LOG: &str = "stderr.log";

/// A running `kvs serve` over plain HTTP.
pub(crate) struct Served {
    child: Child,
    /// `HOST:PORT`.
    pub(crate) address: String,
    folder: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// Starts it with these flags and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::started(program, flags)
    }

    /// The same with a limit on open files.
    pub(crate) fn limited(files: u32, flags: &[&str]) -> Self {
        Self::started(
            |folder| {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
                within(command.arg(env!("CARGO_BIN_EXE_kvs")), folder);
                command
            },
            flags,
        )
    }

    /// The same in a folder that `prepare` fills, as the argument of a tool that runs it, and without the environment of
    /// the test.
    pub(crate) fn under(tool: &[&str], flags: &[&str], prepare: fn(&Path)) -> Self {
        Self::started(
            |folder| {
                prepare(folder.path());
                let mut command = Command::new(tool[0]);
                command.env_clear().env("PATH", "/usr/bin:/bin");
                within(command.args(&tool[1..]).arg(env!("CARGO_BIN_EXE_kvs")), folder);
                command
            },
            flags,
        )
    }

    /// The same, as the command that `program` makes for its folder.
    pub(crate) fn started(program: impl Fn(&TempDir) -> Command, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut auth = std::fs::File::create(folder.path().join("auth.txt")).unwrap();
        auth.write_all(SECRET.as_bytes()).unwrap();
        let (child, address) = spawn(program(&folder), &folder, flags);
        Self { child, address, folder }
    }

    /// Starts another program in the same folder after this one has ended, as a supervisor does.
    pub(crate) fn start_again(&mut self, program: impl Fn(&TempDir) -> Command, flags: &[&str]) {
        (self.child, self.address) = spawn(program(&self.folder), &self.folder, flags);
    }

    /// The same program, as a command on the same data.
    pub(crate) fn command(&self, args: &[&str]) {
        let status = program(&self.folder).args(args).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{args:?}");
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join(LOG)).unwrap()).into_owned()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data file of a bucket.
    pub(crate) fn file(&self, bucket: &str) -> PathBuf {
        self.folder.path().join("data").join(format!("{bucket}.yaml"))
    }

    /// A connection with a long timeout.
    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        socket
    }

    /// Sends a request that asks to close the connection, and returns the complete response.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut socket = self.connect();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![];
        socket.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads a target.
    pub(crate) fn get(&self, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    }

    /// Stores a value.
    #[track_caller]
    pub(crate) fn put(&self, target: &str, value: &str) {
        let head = format!("PUT {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
        let answer = self.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{value}", value.len()));
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// Stops it as an administrator does.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.id(), rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end and returns the exit status, or `None` after `within`.
    pub(crate) fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Its process id.
    pub(crate) fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// The number of open files.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The peak memory so far, in MiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The current memory, in MiB.
    pub(crate) fn present_memory(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

/// Starts a server, waits until it is ready, and returns its address.
fn spawn(mut command: Command, folder: &TempDir, flags: &[&str]) -> (Child, String) {
    command.args(["serve", "--http", "127.0.0.1:0"]).args(flags).stdout(Stdio::piped());
    command.stderr(std::fs::File::create(folder.path().join(LOG)).unwrap());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.rsplit("http://").next().unwrap().split('/').next().unwrap().to_owned();
    (child, address)
}

fn program(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    within(&mut command, folder);
    command
}

fn within(command: &mut Command, folder: &TempDir) {
    command.current_dir(folder.path()).env("KVS_HOME", folder.path()).stdin(Stdio::null());
}
