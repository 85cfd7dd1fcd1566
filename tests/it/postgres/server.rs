//! A private PostgreSQL server, in a temporary folder, from Debian's package.
//!
//! It cannot outlive its test: a shell supervises it, and the standard input of the shell is a pipe from this process.
//! When the pipe closes, because the server is dropped or this process ends, the shell stops the server and removes the
//! folder.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The user of the server if the tests run as root, which PostgreSQL refuses.
const NOBODY: u32 = 65_534;

/// The password over TCP. The Unix socket needs none.
pub(crate) const PASSWORD: &str = "hunter2/?@";

/// The longest time that a server may take to start or to stop.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the server, waits for the end of its input, and stops the server. `$1` is the program, `$2` the folder.
const SUPERVISOR: &str = r#"
"$1" -D "$2/data" >>"$2/log" 2>&1 </dev/null &
server=$!
trap '' INT TERM HUP
cat >/dev/null
kill -QUIT $server 2>/dev/null
wait $server
[ -n "$KEEP" ] || rm -rf "$2"
"#;

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    supervisor: Option<Child>,
}

/// The programs of the newest installed PostgreSQL.
pub(crate) fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("install postgresql: tests/packages.sh does");
    // A folder may contain only the client programs.
    let whole = versions.map(|entry| entry.unwrap().path()).filter(|path| path.join("bin/initdb").exists());
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    whole.max_by_key(number).expect("a PostgreSQL server").join("bin")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that runs as a user that the server accepts.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A new folder that belongs to the user of the server.
pub(crate) fn folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("kvs-postgres-").tempdir().unwrap().keep();
    if is_root() {
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    folder
}

impl Server {
    /// A new server with these lines in its configuration.
    pub(crate) fn start(settings: &str) -> Self {
        let folder = folder();
        let password = folder.join("password");
        let file = std::fs::File::create(&password);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, PASSWORD.as_bytes())).unwrap();
        let mut make = command(programs().join("initdb"));
        make.args(["--no-sync", "--username=kvs", "--encoding=UTF8", "--locale=C"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg(format!("--pwfile={}", password.display()));
        Self::create(folder, &mut make, settings)
    }

    /// A synchronous standby of this server.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::create(folder(), &mut self.copy(), "");
        self.wait_for(&standby);
        standby
    }

    /// Makes this server, which was killed, the synchronous standby of another one. Its addresses stay.
    pub(crate) fn follow(&mut self, primary: &Self) {
        self.end_supervisor();
        std::fs::remove_dir_all(self.folder.join("data")).unwrap();
        self.make_data(&mut primary.copy(), "");
        self.start_supervised();
        primary.wait_for(self);
    }

    /// Accepts writes from now on, as a standby whose primary was killed.
    pub(crate) fn promote(&self) {
        self.psql("SELECT pg_promote()");
    }

    /// The command that copies the data of this server for a standby.
    fn copy(&self) -> Command {
        let mut copy = command(programs().join("pg_basebackup"));
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--username=kvs", "-h"]);
        copy.arg(&self.folder).args(["-p", &self.port.to_string()]);
        copy
    }

    /// Waits until a standby has everything. From then on no write is acknowledged without it.
    fn wait_for(&self, standby: &Self) {
        self.psql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.psql("SELECT pg_reload_conf()");
        let started = Instant::now();
        while self.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
            assert!(started.elapsed() < SERVER_TIMEOUT, "the standby does not follow: {}", standby.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A server whose data folder `make` creates.
    fn create(folder: PathBuf, make: &mut Command, settings: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, port, supervisor: None };
        server.make_data(make, settings);
        server.start_supervised();
        server
    }

    /// Lets `make` create the data folder, and adds these lines to its configuration.
    fn make_data(&self, make: &mut Command, settings: &str) {
        let output = make.arg("-D").arg(self.folder.join("data")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (folder, port) = (self.folder.display(), self.port);
        let own = format!(
            "unix_socket_directories = '{folder}'\nlisten_addresses = '127.0.0.1'\nport = {port}\n\
             max_connections = 300\n{settings}\n"
        );
        let mut file = std::fs::OpenOptions::new().append(true).open(self.folder.join("data/postgresql.conf")).unwrap();
        std::io::Write::write_all(&mut file, own.as_bytes()).unwrap();
    }

    /// The server that most tests share. It does not sync, since no test of it simulates a power failure.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("fsync = off\nsynchronous_commit = off\nshared_buffers = 32MB"))
    }

    /// Starts it.
    fn start_supervised(&mut self) {
        let supervisor = command("/bin/sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(programs().join("postgres"))
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .env("KEEP", "")
            .spawn()
            .unwrap();
        self.supervisor = Some(supervisor);
        let started = Instant::now();
        loop {
            let ready = command(programs().join("pg_isready"))
                .args(["-q", "-h"])
                .arg(&self.folder)
                .args(["-p", &self.port.to_string()])
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            assert!(started.elapsed() < SERVER_TIMEOUT, "the server does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it at once, like a crash: connections break, and recovery restores the committed data.
    pub(crate) fn crash(&mut self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let pid: i32 = pid.lines().next().unwrap().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
        let started = Instant::now();
        while self.folder.join("data/postmaster.pid").exists() {
            assert!(started.elapsed() < SERVER_TIMEOUT, "the server does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it and all its processes, like a crash of its machine: no connection is closed properly.
    pub(crate) fn kill(&mut self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let mut lines = pid.lines();
        let server: i32 = lines.next().unwrap().parse().unwrap();
        let kill = |pid: i32| {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            // The process may already have ended.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        };
        // The children must be listed before their parent is killed. After that there are no new ones.
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
        kill(server);
        children.split_whitespace().for_each(|child| kill(child.parse().unwrap()));
        // A shared memory segment remains and must be removed. Its id is the last number in the seventh line.
        let segment = lines.nth(5).and_then(|line| line.split_whitespace().last()).unwrap();
        command("/usr/bin/ipcrm").args(["--shmem-id", segment]).status().unwrap();
    }

    /// Starts it again after a crash.
    pub(crate) fn restart(&mut self) {
        self.end_supervisor();
        self.start_supervised();
    }

    /// Kills the supervisor of a server that has ended, because it would remove the folder.
    fn end_supervisor(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill().unwrap();
            supervisor.wait().unwrap();
        }
    }

    /// A URL of a database on it, over the Unix socket.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!("postgresql:///postgres?host={}&port={}&user=kvs&{parameters}", self.folder.display(), self.port)
    }

    /// The URL of this server and its standby, for the one that accepts writes.
    pub(crate) fn pair_url(&self, other: &Self) -> String {
        let (folder, port) = (other.folder.display(), other.port);
        let own = format!("host={},{folder}&port={},{port}", self.folder.display(), self.port);
        format!("postgresql:///postgres?{own}&user=kvs&target_session_attrs=read-write")
    }

    /// A URL over TCP. The password must be percent-encoded.
    pub(crate) fn tcp_url(&self, password: &str, parameters: &str) -> String {
        format!("postgresql://kvs:{password}@127.0.0.1:{}/postgres?{parameters}", self.port)
    }

    /// The port. It is also in the name of the Unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs SQL in `psql` and returns the output.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let output = command("/usr/bin/psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "kvs", "-h"])
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-c", sql, "postgres"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let file = std::fs::File::open(self.folder.join("log"));
        let _ = file.and_then(|mut file| file.read_to_string(&mut text));
        text
    }
}

/// Makes the server the only user that can read a file.
pub(crate) fn hand_over(file: &Path) {
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    if is_root() {
        chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // At the end of its input, the supervisor stops the server.
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}
