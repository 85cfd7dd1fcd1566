//! Servers on one store that are killed and started again, and clients that record the responses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::recorder::Recorder;
use super::register::{Op, Ret};
use crate::support::disks::seed::Seed;
use crate::support::served::SECRET;

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

struct Running {
    child: Child,
    address: String,
}

/// Several `kvs serve` on one folder, or on one database.
pub(super) struct Fleet {
    folder: TempDir,
    flags: Vec<String>,
    servers: Vec<Mutex<Running>>,
    /// Grows when something is about to be broken, and when it works again. So it is odd meanwhile.
    pub(super) faults: AtomicU64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &TempDir, flags: &[String]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.env_clear().env("KVS_HOME", folder.path()).current_dir(folder.path());
    command.args(["serve", "--http", "127.0.0.1:0"]).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.rsplit("http://").next().unwrap().split('/').next().unwrap().to_owned();
    Running { child, address }
}

/// A complete response.
struct Answer {
    status: u16,
    tag: Option<String>,
    body: String,
}

/// What a client knows after a request.
enum Known {
    Answer(Answer),
    /// The request was not sent, so nothing was done.
    NotSent,
    /// The connection broke.
    Nothing,
}

impl Fleet {
    pub(super) fn start(number: usize, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut auth = std::fs::File::create(folder.path().join("auth.txt")).unwrap();
        auth.write_all(SECRET.as_bytes()).unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let servers = (0..number).map(|_| Mutex::new(start(&folder, &flags))).collect();
        Self { folder, flags, servers, faults: AtomicU64::new(0) }
    }

    /// Breaks something and repairs it.
    pub(super) fn fault(&self, breaks: impl FnOnce()) {
        self.faults.fetch_add(1, Ordering::SeqCst);
        breaks();
        self.faults.fetch_add(1, Ordering::SeqCst);
    }

    /// Kills a server, and starts it again after a pause.
    pub(super) fn kill(&self, number: usize, pause: Duration) {
        self.fault(|| {
            let mut server = self.servers[number % self.servers.len()].lock();
            let _ = server.child.kill();
            let _ = server.child.wait();
            std::thread::sleep(pause);
            *server = start(&self.folder, &self.flags);
        });
    }

    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Waits until all servers answer reads and writes.
    pub(super) fn recover(&self) {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        for server in 0..self.servers.len() {
            while !matches!(
                self.ask(server, "PUT /kv/default/probe", "", "1"),
                Known::Answer(Answer { status: 200 | 201, .. })
            ) {
                assert!(std::time::Instant::now() < end, "server {server} does not recover");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn ask(&self, server: usize, method_and_target: &str, field: &str, body: &str) -> Known {
        let is_broken = || !self.faults.load(Ordering::SeqCst).is_multiple_of(2);
        let address = loop {
            match self.servers[server].try_lock_for(Duration::from_millis(5)) {
                Some(server) => break server.address.clone(),
                None if is_broken() => return Known::NotSent,
                // Another client reads the address.
                None => {}
            }
        };
        let Ok(mut socket) = TcpStream::connect(address) else { return Known::NotSent };
        socket.set_read_timeout(Some(REQUEST_TIMEOUT)).unwrap();
        let request = format!(
            "{method_and_target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n{field}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut bytes = vec![];
        if socket.write_all(request.as_bytes()).is_err() || socket.read_to_end(&mut bytes).is_err() {
            return Known::Nothing;
        }
        answer(&String::from_utf8_lossy(&bytes)).map_or(Known::Nothing, Known::Answer)
    }

    /// Does an operation and records it. Returns the tag of the entry, if the client knows it now, and whether the request
    /// failed although nothing was broken.
    pub(super) fn act(&self, place: Place<'_>, op: Op, history: &Recorder) -> (Option<String>, bool) {
        let target = format!("/kv/default/{}", place.key);
        let faults = self.faults.load(Ordering::SeqCst);
        let call = history.call(place.client, op.clone());
        let known = match &op {
            Op::Get => self.ask(place.server, &format!("GET {target}"), "", ""),
            Op::Put(value) => self.ask(place.server, &format!("PUT {target}"), "", &value.to_string()),
            Op::PutIfMatch(tag, value) => {
                self.ask(place.server, &format!("PUT {target}"), &format!("If-Match: {tag}\r\n"), &value.to_string())
            }
            Op::Delete => self.ask(place.server, &format!("DELETE {target}"), "", ""),
            Op::Increment => self.ask(place.server, &format!("POST {target}?op=incr"), "", ""),
        };
        let was_whole = faults.is_multiple_of(2) && self.faults.load(Ordering::SeqCst) == faults;
        match known {
            Known::NotSent => {
                history.not_done(call);
                (None, was_whole)
            }
            Known::Nothing => (None, was_whole),
            Known::Answer(answer) => {
                if let Some(ret) = ret(&op, &answer) {
                    history.answered(call, ret);
                    return (answer.tag, false);
                }
                if answer.status == 503 {
                    assert!(answer.body.contains("nothing was"), "{}", answer.body);
                    history.not_done(call);
                }
                (None, was_whole)
            }
        }
    }
}

/// Who does something, and where.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) key: &'a str,
}

/// What a response says. `None`: it is an error of the server.
fn ret(op: &Op, answer: &Answer) -> Option<Ret> {
    let number = || answer.body.trim().parse::<i64>().unwrap_or_else(|_| panic!("{op:?}: {}", answer.body));
    Some(match (op, answer.status) {
        (_, 500..) => return None,
        (Op::Get | Op::Delete, 404) => Ret::Missing,
        (Op::Get, 200) => Ret::Value(number(), answer.tag.clone().expect("a tag")),
        (Op::Put(value) | Op::PutIfMatch(_, value), 200 | 201) => Ret::Stored(*value, answer.tag.clone()),
        (Op::PutIfMatch(..), 412) => Ret::NoMatch,
        (Op::Delete, 200) => Ret::Deleted,
        (Op::Increment, 200) => Ret::Stored(number(), answer.tag.clone()),
        (op, status) => panic!("{op:?}: {status} {}", answer.body),
    })
}

/// The response, if it is complete.
fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length: usize = field("content-length")?.parse().ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    (body.len() == length).then(|| Answer { status, tag: field("etag"), body: body.to_owned() })
}

/// What a client does next. It knows the tag that it has seen last.
pub(super) fn choose(seed: &mut Seed, unique: i64, tag: Option<&String>) -> Op {
    match (seed.below(10), tag) {
        (0..=2, _) => Op::Get,
        (3, _) => Op::Delete,
        (4..=5, _) => Op::Increment,
        (6..=8, Some(tag)) => Op::PutIfMatch(tag.clone(), unique),
        _ => Op::Put(unique),
    }
}
