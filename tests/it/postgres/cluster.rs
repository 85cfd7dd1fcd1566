//! A private cluster of Patroni: one etcd, and two nodes with Patroni and PostgreSQL, from Debian's packages.
//!
//! The nodes run `deploy/patroni/patroni.yml` with their own addresses and folders. No process can outlive its test: a
//! shell supervises each program, and the standard input of the shell is a pipe from this process. When the pipe
//! closes, the shell kills the program, and the PostgreSQL that Patroni has started, and removes the folder.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::server::{command, folder, programs};

const ETCD: &str = "/usr/bin/etcd";
const PATRONI: &str = "/usr/bin/patroni";

/// The longest time that a change of the cluster may take. A lost node is noticed after the `ttl` of 20 s.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a program, waits for the end of its input, and kills the program. `$1` is the folder, the rest the program.
/// PostgreSQL is no child of Patroni.
const SUPERVISOR: &str = r#"
folder=$1
shift
"$@" >>"$folder/log" 2>&1 </dev/null &
program=$!
echo $program >"$folder/pid"
trap '' INT TERM HUP
cat >/dev/null
pkill -KILL -P $program
kill -KILL $program 2>/dev/null
wait $program
if server=$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null); then
  tries=0
  while kill -QUIT $server 2>/dev/null && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
fi
rm -rf "$folder"
"#;

/// A program and its folder.
struct Supervised {
    folder: PathBuf,
    arguments: Vec<String>,
    supervisor: Option<Child>,
}

impl Supervised {
    /// Starts the program, which is the first of the arguments.
    fn start(folder: PathBuf, arguments: Vec<String>) -> Self {
        let mut supervised = Self { folder, arguments, supervisor: None };
        supervised.launch();
        supervised
    }

    fn launch(&mut self) {
        let mut shell = command("/bin/sh");
        shell.args(["-c", SUPERVISOR, "supervisor"]).arg(&self.folder).args(&self.arguments);
        self.supervisor = Some(shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    }

    /// Starts the program again after it was killed.
    fn restart(&mut self) {
        // The old supervisor would remove the folder, so it is killed.
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill().unwrap();
            supervisor.wait().unwrap();
        }
        self.launch();
    }

    /// The process whose id is in the first line of a file of the folder.
    fn process(&self, file: &str) -> Pid {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // At the end of its input, the supervisor kills the program.
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start_etcd(port: u16) -> Supervised {
    let folder = folder();
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let (data, members) = (folder.join("data").display().to_string(), format!("one={peer}"));
    let options = [
        ("--name", "one"),
        ("--data-dir", data.as_str()),
        ("--listen-client-urls", client.as_str()),
        ("--advertise-client-urls", client.as_str()),
        ("--listen-peer-urls", peer.as_str()),
        ("--initial-advertise-peer-urls", peer.as_str()),
        ("--initial-cluster", members.as_str()),
    ];
    let mut arguments = vec![ETCD.to_owned()];
    for (option, value) in options {
        arguments.extend([option.to_owned(), value.to_owned()]);
    }
    Supervised::start(folder, arguments)
}

/// Patroni and its PostgreSQL.
pub(crate) struct Node {
    program: Supervised,
    /// The port of PostgreSQL. It is also in the name of the Unix socket.
    port: u16,
    /// The port of Patroni's REST API.
    rest: u16,
}

impl Node {
    /// Starts a member of the cluster that uses the etcd on this port.
    fn start(name: &str, etcd: u16) -> Self {
        let (folder, port, rest) = (folder(), free_port(), free_port());
        let path = folder.join("patroni.yml");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(configuration(name, &folder, etcd, port, rest).as_bytes()).unwrap();
        let arguments = vec![PATRONI.to_owned(), path.display().to_string()];
        Self { program: Supervised::start(folder, arguments), port, rest }
    }

    /// Kills PostgreSQL's first process. The others notice it and end.
    pub(crate) fn crash(&self) {
        kill_process(self.program.process("data/postmaster.pid"), Signal::KILL).unwrap();
    }

    /// Kills Patroni and all processes of PostgreSQL, like a crash of the machine.
    pub(crate) fn kill(&self) {
        kill_process(self.program.process("pid"), Signal::KILL).unwrap();
        let server = self.program.process("data/postmaster.pid");
        // The children must be listed before their parent is killed. After that there are no new ones.
        let id = server.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        kill_process(server, Signal::KILL).unwrap();
        for child in children.split_whitespace() {
            // The process may already have ended.
            let _ = kill_process(Pid::from_raw(child.parse().unwrap()).unwrap(), Signal::KILL);
        }
    }

    /// Starts it again after it was killed.
    pub(crate) fn restart(&mut self) {
        self.program.restart();
    }

    /// The output of SQL; `None` if the server is not running, or refuses it.
    fn psql(&self, sql: &str) -> Option<String> {
        let output = command("/usr/bin/psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(&self.program.folder)
            .args(["-p", &self.port.to_string(), "-c", sql, "postgres"])
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    fn accepts_writes(&self) -> bool {
        self.psql("SELECT pg_is_in_recovery()").as_deref() == Some("f")
    }

    /// Whether Patroni would promote it.
    fn is_synchronous(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.rest)) else { return false };
        socket.set_read_timeout(Some(CLUSTER_TIMEOUT)).unwrap();
        let mut answer = String::new();
        let asked = socket.write_all(b"GET /synchronous HTTP/1.0\r\n\r\n");
        asked.is_ok() && socket.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.0 200")
    }
}

/// The configuration in `deploy/`, for a node with these ports of PostgreSQL and of the REST API.
fn configuration(name: &str, folder: &Path, etcd: u16, port: u16, rest: u16) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/patroni/patroni.yml");
    let mut text = std::fs::read_to_string(file).unwrap();
    let (programs, folder) = (programs(), folder.display());
    for (from, to) in [
        ("name: db1", format!("name: {name}")),
        ("10.0.0.21:2379,10.0.0.22:2379,10.0.0.23:2379", format!("127.0.0.1:{etcd}")),
        ("10.0.0.21:5432", format!("127.0.0.1:{port}")),
        ("10.0.0.21:8008", format!("127.0.0.1:{rest}")),
        ("10.0.0.0/24", "127.0.0.1/32".to_owned()),
        ("/var/lib/postgresql/patroni-kvs", format!("{folder}/data")),
        ("/var/lib/postgresql/patroni.pgpass", format!("{folder}/pgpass")),
        ("/usr/lib/postgresql/15/bin", programs.display().to_string()),
        ("/var/run/postgresql", folder.to_string()),
        // The user of the system is not `postgres`.
        ("local all all peer", "local all all trust".to_owned()),
        ("auth-local: peer", "auth-local: trust".to_owned()),
        ("loop_wait: 5", "loop_wait: 1".to_owned()),
        // With two nodes, the one that is left must accept writes.
        ("synchronous_mode_strict: true", "synchronous_mode_strict: false".to_owned()),
        // A test must not reset the machine.
        ("mode: automatic", "mode: 'off'".to_owned()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    text
}

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) nodes: [Node; 2],
    /// Is dropped last.
    _etcd: Supervised,
}

impl Cluster {
    /// A new cluster with a primary, a synchronous standby, and the database `kvs`.
    pub(crate) fn start() -> Self {
        for program in [ETCD, PATRONI] {
            assert!(Path::new(program).exists(), "{program}: tests/packages.sh installs it");
        }
        let port = free_port();
        let etcd = start_etcd(port);
        let cluster = Self { nodes: ["db1", "db2"].map(|name| Node::start(name, port)), _etcd: etcd };
        cluster.wait_until_synchronous();
        let primary = &cluster.nodes[cluster.primary().unwrap()];
        for sql in [
            "CREATE ROLE kvs LOGIN PASSWORD 'secret'",
            "CREATE DATABASE kvs OWNER kvs TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
        ] {
            primary.psql(sql).unwrap();
        }
        cluster
    }

    /// The URL of the store, for the node that accepts writes.
    pub(crate) fn url(&self) -> String {
        let [one, two] = [0, 1].map(|n| self.nodes[n].port);
        format!("postgresql://kvs:secret@127.0.0.1:{one},127.0.0.1:{two}/kvs?target_session_attrs=read-write")
    }

    /// The index of the node that accepts writes.
    pub(crate) fn primary(&self) -> Option<usize> {
        (0..2).find(|n| self.nodes[*n].accepts_writes())
    }

    /// Waits until a node other than `old` accepts writes.
    pub(crate) fn wait_for_successor(&self, old: usize) {
        self.wait_until("no other primary", || self.nodes[1 - old].accepts_writes());
    }

    /// Waits until the other node follows the primary, and Patroni would promote it.
    pub(crate) fn wait_until_synchronous(&self) {
        let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        self.wait_until("no synchronous standby", || {
            self.primary().is_some_and(|primary| {
                self.nodes[1 - primary].is_synchronous()
                    && self.nodes[primary].psql(synchronous).as_deref() == Some("1")
            })
        });
    }

    fn wait_until(&self, what: &str, is_done: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_done() {
            let logs = || self.nodes.each_ref().map(|node| node.program.log()).join("\n\n");
            assert!(started.elapsed() < CLUSTER_TIMEOUT, "{what}: {}", logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the standby the primary by command. Returns when the command is done.
    pub(crate) fn switch_over(&self) {
        let output = command("/usr/bin/patronictl")
            .arg("-c")
            .arg(self.nodes[0].program.folder.join("patroni.yml"))
            .args(["switchover", "kvs", "--force"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
