//! Starts and stops the measured servers, each on a free port of 127.0.0.1.
//!
//! What always holds: when a [`Servers`] is dropped, also during a panic, its processes are stopped and its folder is
//! removed.

mod apache;
mod etcd;
mod nginx;
mod redis;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) use self::apache::{CONNECTIONS, Mode};
pub(crate) use self::redis::Durability;
use crate::client;
use crate::{data, places};

/// The secret of `auth.txt`.
pub(crate) const SECRET: &str = "Secret-of-the-benchmark-4Tz8";

/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A folder, and the servers that run in it.
pub(crate) struct Servers {
    folder: TempDir,
    /// In the order in which they are stopped.
    children: Vec<Child>,
    pub(crate) port: u16,
}

impl Servers {
    /// No servers yet, in a folder on the disk of the project.
    fn new() -> Self {
        Self::in_folder(places::data_folder())
    }

    fn in_folder(folder: TempDir) -> Self {
        places::open_to_all(folder.path());
        let this = Self { folder, children: vec![], port: free_port() };
        for name in ["run", "site", "site/ours"] {
            fs::create_dir(this.path(name)).unwrap();
            give_to_web_server(&this.path(name));
        }
        fs::write(this.path("site/ours/auth.txt"), format!("{SECRET}\n")).unwrap();
        this
    }

    /// `kvs serve --http` with this number of entries and these flags.
    pub(crate) fn kvs(entries: usize, flags: &[&str]) -> Self {
        let mut this = Self::new();
        if entries > 0 {
            data::write_store(&this.data(), entries);
        }
        this.start_kvs(flags);
        this.wait();
        this
    }

    /// A C program that only appends, syncs and responds, for one connection.
    pub(crate) fn append_server() -> Self {
        let mut this = Self::new();
        let program = this.path("run/append_server");
        places::compile("append_server.c", &[], &program);
        let mut command = Command::new(program);
        command.arg(this.port.to_string()).arg(this.path("run/appended"));
        this.spawn(command);
        this.wait();
        this
    }

    /// Starts `kvs serve --http` on the data of this folder, and does not wait for it.
    pub(crate) fn start_kvs(&mut self, flags: &[&str]) {
        let mut command = self.serve(&places::kvs());
        command.arg("--http").arg(format!("127.0.0.1:{}", self.port)).args(flags);
        self.spawn(command);
    }

    /// A folder with data, in which no server runs yet.
    pub(crate) fn with_data(entries: usize) -> Self {
        let this = Self::new();
        data::write_store(&this.data(), entries);
        this
    }

    /// Stops all of them, but keeps the data.
    pub(crate) fn stop(&mut self) {
        self.children.drain(..).for_each(stop);
    }

    /// Stops the server that was started last.
    fn stop_last(&mut self) {
        stop(self.children.remove(0));
    }

    /// The folder of the store of kvs.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("site/ours/data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server that was started last.
    pub(crate) fn last_process(&self) -> u32 {
        self.children[0].id()
    }

    /// The memory of the server that was started last, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.last_process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Runs a command of kvs on the data of this folder.
    pub(crate) fn run_kvs(&self, arguments: &[&str]) {
        let mut command = Command::new(places::kvs());
        command.args(arguments).arg("--store").arg(self.store_url()).env_remove("KVS_HOME");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn store_url(&self) -> String {
        format!("yaml:{}", self.data().display())
    }

    /// Stores a value through kvs. `base` is the base path of kvs on this port.
    pub(crate) fn store(&self, base: &str, key: &str, value: &str) {
        let form = format!("auth={SECRET}&{key}={value}");
        client::answer(self.port, &client::post(&format!("{base}/"), client::FORM, &form));
    }

    fn serve(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("serve").arg("--store").arg(self.store_url());
        command.arg("--auth").arg(self.path("site/ours/auth.txt"));
        command
    }

    fn spawn(&mut self, mut command: Command) {
        command.stdin(Stdio::null());
        self.spawn_with_input(command);
    }

    fn spawn_with_input(&mut self, mut command: Command) {
        let log = fs::File::options().create(true).append(true).open(self.path("run/stderr.log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).env_remove("KVS_HOME");
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; see tests/packages.sh"));
        self.children.insert(0, child);
    }

    fn wait(&self) {
        self.wait_for(self.port);
    }

    fn wait_for(&self, port: u16) {
        self.until("an open port", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    /// Waits until something is so, and shows the output of the servers if it takes too long.
    fn until(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let start = Instant::now();
        while !happened() {
            let log = || fs::read_to_string(self.path("run/stderr.log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(30), "timed out waiting for {what}: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn stop(mut child: Child) {
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > STOP_TIMEOUT {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes `www-data` the owner of a file: if root starts Apache, it runs as this user and must be able to write.
fn give_to_web_server(path: &Path) {
    places::open_to_all(path);
    if rustix::process::geteuid().is_root() {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.starts_with("www-data:")).expect("the user www-data");
        let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
        chown(path, ids.next(), ids.next()).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
