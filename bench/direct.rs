//! FastCGI programs without a web server: started as `mod_fcgid` starts them, with the same requests and a connection
//! for each request. So only the program itself is measured.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::comparison::rate;

/// A program that listens on its standard input.
pub(crate) struct Spawned {
    child: Child,
    socket: PathBuf,
}

impl Spawned {
    /// Starts `program` with its socket in `folder`, which is also its working folder.
    pub(crate) fn start(program: &Path, folder: &Path) -> Self {
        let socket = folder.join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(OwnedFd::from(listener)).stdout(Stdio::null()).env_remove("KVS_HOME");
        Self { child: command.spawn().unwrap(), socket }
    }

    /// Sends GET requests with this query for `time`. Returns the responses per second.
    pub(crate) fn load(&self, query: &str, time: Duration) -> f64 {
        let request = request(query);
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            assert!(memchr::memmem::find(&self.ask(&request), b"Status: 200 OK").is_some());
            count += 1;
        }
        rate(count, start)
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::with_capacity(1024);
        stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The records of a request as Apache sends it.
fn request(query: &str) -> Vec<u8> {
    let uri = format!("/?{query}");
    let mut params = vec![];
    for (name, value) in [
        ("REDIRECT_STATUS", "200"),
        ("HTTP_HOST", "kvs.test"),
        ("HTTP_USER_AGENT", "bench"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SERVER_SIGNATURE", ""),
        ("SERVER_SOFTWARE", "Apache/2.4 (Debian)"),
        ("SERVER_NAME", "kvs.test"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("SERVER_PORT", "80"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("DOCUMENT_ROOT", "/srv/kvs"),
        ("REQUEST_SCHEME", "http"),
        ("SCRIPT_FILENAME", "/srv/kvs/kvs.fcgi"),
        ("REMOTE_PORT", "40000"),
        ("REDIRECT_URL", "/"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("QUERY_STRING", query),
        ("REQUEST_URI", uri.as_str()),
        ("SCRIPT_NAME", "/kvs.fcgi"),
    ] {
        params.extend([name, value].map(|text| u8::try_from(text.len()).unwrap()));
        params.extend_from_slice(name.as_bytes());
        params.extend_from_slice(value.as_bytes());
    }
    let begin = record(1, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(4, &params), record(4, &[]), record(5, &[])].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}
