//! Starts and stops the measured servers, each on a free port of 127.0.0.1.
//!
//! kvs is the program of the same build. `apache.rs` has the servers behind Apache. What always holds: when a
//! [`Servers`] is dropped, its processes are stopped and its folder is removed.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The secret of `auth.txt`.
pub(crate) const SECRET: &str = "Secret-of-the-benchmark-4Tz8";

/// A folder, and the servers that run in it.
pub(crate) struct Servers {
    folder: TempDir,
    /// The web server first.
    pub(crate) children: Vec<Child>,
    pub(crate) port: u16,
}

impl Servers {
    pub(crate) fn new() -> Self {
        // Not below the home of the user, because the web server runs as another user.
        let folder = tempfile::Builder::new().prefix("kvs-bench-").tempdir_in("/tmp").unwrap();
        open_to_all(folder.path());
        let this = Self { folder, children: vec![], port: free_port() };
        for name in ["run", "site", "site/ours", "site/peer"] {
            fs::create_dir(this.path(name)).unwrap();
            open_to_all(&this.path(name));
            give_to_server(&this.path(name));
        }
        fs::write(this.path("site/ours/auth.txt"), format!("{SECRET}\n")).unwrap();
        this
    }

    /// `kvs serve --http`.
    pub(crate) fn http() -> Self {
        let mut this = Self::new();
        let port = this.port;
        this.serve(&["--http", &format!("127.0.0.1:{port}")]);
        this.wait();
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn serve(&mut self, listen: &[&str]) {
        let site = self.path("site/ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.arg("serve").args(listen).arg("--store").arg(format!("yaml:{}", site.join("data").display()));
        command.arg("--auth").arg(site.join("auth.txt"));
        self.spawn(command);
    }

    pub(crate) fn spawn(&mut self, mut command: Command) {
        let log = fs::File::options().create(true).append(true).open(self.path("run/stderr.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).env_remove("KVS_HOME");
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; see tests/packages.sh"));
        self.children.insert(0, child);
    }

    pub(crate) fn wait(&self) {
        until("an open port", || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok());
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            let start = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if start.elapsed() > Duration::from_secs(15) {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(30), "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes `www-data` the owner of a file: if root starts Apache, it runs as this user and must be able to write.
fn give_to_server(path: &Path) {
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
