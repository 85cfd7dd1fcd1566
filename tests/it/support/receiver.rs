//! A private HTTP server that records every request and returns the configured replies. Hooks are sent to it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The timeout of the expected requests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The events in its body.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// How to reply to a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status, and an additional header line.
    Status(u16, &'static str),
    /// No response; the connection stays open.
    Silence,
    /// No response; the connection is closed.
    Close,
}

#[derive(Default)]
struct State {
    seen: Vec<Request>,
    replies: VecDeque<Reply>,
    usual: Option<Reply>,
}

/// The server. Its threads end with the test.
#[derive(Clone)]
pub(crate) struct Receiver {
    port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Receiver {
    /// Starts a receiver that replies with 200.
    pub(crate) fn start() -> Self {
        Self::replying([])
    }

    /// Starts a receiver that gives these replies first, then 200.
    pub(crate) fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { replies: replies.into_iter().collect(), ..State::default() };
        let this = Self { port, shared: Arc::new((Mutex::new(state), Condvar::new())) };
        let server = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        this
    }

    /// Sets the reply for all requests after the given replies.
    pub(crate) fn usually(&self, reply: Reply) {
        self.shared.0.lock().unwrap().usual = Some(reply);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.0.lock().unwrap().seen.clone()
    }

    /// Waits for at least `count` requests and returns all.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Request> {
        self.wait_until(&format!("{count} requests"), |seen| seen.len() >= count)
    }

    /// Waits until `good` is true for the requests, and returns all.
    pub(crate) fn wait_until(&self, what: &str, mut good: impl FnMut(&[Request]) -> bool) -> Vec<Request> {
        let (state, came) = &*self.shared;
        let waited = came.wait_timeout_while(state.lock().unwrap(), PATIENCE, |state| !good(&state.seen)).unwrap();
        assert!(!waited.1.timed_out(), "timed out waiting for {what}: {:?}", waited.0.seen);
        waited.0.seen.clone()
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read(&mut reader) {
            let (state, came) = &*self.shared;
            let reply = {
                let mut state = state.lock().unwrap();
                state.seen.push(request);
                let usual = state.usual.clone().unwrap_or(Reply::Status(200, ""));
                state.replies.pop_front().unwrap_or(usual)
            };
            came.notify_all();
            match reply {
                Reply::Status(status, line) => {
                    let line = if line.is_empty() { String::new() } else { format!("{line}\r\n") };
                    let answer = format!("HTTP/1.1 {status} Answer\r\nContent-Length: 2\r\n{line}\r\nok");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
                Reply::Silence => {}
                Reply::Close => return,
            }
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ').map(ToOwned::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = vec![];
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body, at: Instant::now() })
}
