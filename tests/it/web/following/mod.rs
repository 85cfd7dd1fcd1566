//! Following a bucket: `?since=`, event streams, and clients that lose their connection.

mod event_streams;
mod new_buckets;
mod pages_of_changes;
mod reconnecting;
mod stream_ends;

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use kvs::model::Revision;
use kvs::web::Body;
use serde_json::Value;

use crate::support::endpoint::{Endpoint, Headers};

/// The header of a request for an event stream.
pub(super) const EVENTS: (&str, &str) = ("accept", "text/event-stream");

/// The longest time until something that must happen has happened, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// The revision of a bucket, as a list has it.
async fn revision(kvs: &Endpoint, bucket: &str) -> String {
    let answer = kvs.ask("GET", &format!("/kv/{bucket}?keys"), &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let revision = answer.header("kvs-revision").to_owned();
    assert!(!revision.is_empty());
    revision
}

fn number(revision: &Value) -> u64 {
    revision.as_str().unwrap().parse::<Revision>().unwrap().number()
}

/// The events and keys of changes.
fn kinds(changes: &[Value]) -> Vec<String> {
    changes.iter().map(|c| format!("{} {}", c["event"].as_str().unwrap(), c["key"].as_str().unwrap())).collect()
}

/// A Server-Sent Event.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data: Value,
}

impl Event {
    /// Its name and key.
    fn kind(&self) -> String {
        assert_eq!((self.data["event"].as_str(), self.data["id"].as_str()), (Some(&*self.name), Some(&*self.id)));
        format!("{} {}", self.name, self.data["key"].as_str().unwrap_or_default()).trim_end().to_owned()
    }
}

/// What a stream sends.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Block {
    Event(Event),
    /// A comment with the position of the stream.
    Comment(String),
    Retry(u64),
}

/// An open event stream.
pub(super) struct Stream {
    body: Body,
    text: Vec<u8>,
}

impl Stream {
    /// Opens a stream and checks its headers and its greeting.
    pub(super) async fn open(kvs: &Endpoint, uri: &str, headers: Headers<'_>) -> Self {
        let mut stream = Self::begin(kvs, uri, headers).await;
        assert_eq!(stream.block().await, Some(Block::Retry(1_000)), "{uri}");
        stream
    }

    /// Opens a stream and checks its headers.
    pub(super) async fn begin(kvs: &Endpoint, uri: &str, headers: Headers<'_>) -> Self {
        Self::of(kvs.open(uri, &[&[EVENTS], headers].concat()).await)
    }

    pub(super) fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!((parts.status.as_u16(), header("content-type")), (200, "text/event-stream"));
        assert_eq!(header("x-accel-buffering"), "no");
        assert!(header("cache-control").contains("no-") && header("vary").contains("Accept"), "{parts:?}");
        Self { body, text: vec![] }
    }

    /// The next bytes; `None` at the end.
    async fn frame(&mut self) -> Option<Bytes> {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("a frame within the time");
        Some(frame?.expect("no error").into_data().unwrap())
    }

    /// The next block, as the HTML standard parses it: lines end with CR LF, LF or CR, and an empty line ends a block.
    pub(super) async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let rest = self.text.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut self.text, rest)).expect("UTF-8");
                return Some(parse(&block));
            }
            let Some(bytes) = self.frame().await else {
                assert!(self.text.is_empty(), "half a block: {:?}", String::from_utf8_lossy(&self.text));
                return None;
            };
            self.text.extend_from_slice(&bytes);
        }
    }

    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            match self.block().await? {
                Block::Event(event) => return Some(event),
                Block::Comment(_) => {}
                Block::Retry(_) => panic!("only the first block has a retry"),
            }
        }
    }

    /// The next event, which must be of this kind.
    async fn expect(&mut self, kind: &str) -> Event {
        let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
        assert_eq!(event.kind(), kind, "{event:?}");
        event
    }

    /// Checks that nothing comes for a while.
    pub(super) async fn assert_silent(&mut self) {
        let early = tokio::time::timeout(Duration::from_millis(300), self.block()).await;
        assert!(early.is_err(), "{early:?}");
    }
}

fn parse(block: &str) -> Block {
    let lines: Vec<&str> = block.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
    let field = |name: &str| {
        let found: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
        assert!(found.len() <= 1, "{name} twice in {block:?}");
        found.first().copied()
    };
    if let [":", id] = lines[..] {
        return Block::Comment(id.strip_prefix("id: ").unwrap().to_owned());
    }
    if let Some(retry) = field("retry") {
        assert_eq!(lines.len(), 1, "{block:?}");
        return Block::Retry(retry.parse().unwrap());
    }
    let (Some(event), Some(id), Some(data), 3) = (field("event"), field("id"), field("data"), lines.len()) else {
        panic!("not an event: {block:?}")
    };
    Block::Event(Event { name: event.into(), id: id.into(), data: serde_json::from_str(data).unwrap() })
}
