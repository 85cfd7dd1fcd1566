//! When an event stream sends a comment and when it ends: the stop, an hour, the first events under a web server that
//! starts the program, and too many streams.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvs::model::Bucket;
use kvs::web::{ApiSettings, ClientAddr, LongPollLimit, LongPollSettings, Shares, WaiterGate};
use tokio::time::Instant;

use super::{Block, Stream, revision};
use crate::store::Make;
use crate::support::endpoint::{Endpoint, case, cases, request};

cases! {
    streams_end_at_the_stop,
    short_stream_ends_after_its_first_events,
    streams_over_the_limit_end_at_once,
    one_address_has_its_share_of_streams,
    stream_releases_its_slot_when_the_client_leaves,
    one_stream_or_long_poll_waits_for_a_bucket_behind_a_gate,
    streams_are_counted,
}

cases! { in paused time:
    comment_is_sent_after_fifteen_seconds,
    short_stream_without_events_ends_after_the_longest_wait,
}

mod stream_ends_after_an_hour {
    use super::case;

    // Other stores use real time.
    case!(#[tokio::test(start_paused = true)] stream_ends_after_an_hour memory);
}

fn short(make: Make, limit: LongPollLimit) -> Endpoint {
    let long_polls = LongPollSettings { max_wait: Duration::from_secs(3), limit, short_streams: true };
    Endpoint::with(make, |settings| ApiSettings { long_polls, ..settings })
}

async fn streams_end_at_the_stop(make: Make) {
    let kvs = Endpoint::new(make);
    let mut streams = vec![];
    for uri in ["/kv/default", "/kv/default/a"] {
        let mut stream = Stream::open(&kvs, uri, &[]).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    let (ends, ()) = tokio::join!(
        async {
            let mut ends = vec![];
            for stream in &mut streams {
                ends.extend([stream.block().await, stream.block().await]);
            }
            ends
        },
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            kvs.stop.cancel();
        }
    );
    let end = [Some(Block::Comment("0".into())), None];
    assert_eq!(ends, [end.clone(), end].concat());
    // A stream that begins then has its first event, and ends.
    let mut late = Stream::open(&kvs, "/kv/default", &[]).await;
    late.expect("reset").await;
    assert_eq!(late.next().await, None);
}

async fn comment_is_sent_after_fifteen_seconds(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/default?prefix=a", &[]).await;
    stream.expect("reset").await;
    let start = Instant::now();
    let others = async {
        for n in 0..7 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            kvs.put("/kv/default/b", n.to_string()).await;
        }
    };
    // Changes of other keys do not delay it.
    let (block, ()) = tokio::join!(stream.block(), others);
    // It moves the position past the changes of other keys.
    let Some(Block::Comment(id)) = block else { panic!("{block:?}") };
    assert_eq!(id, revision(&kvs, "default").await);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(19), "{took:?}");
    kvs.put("/kv/default/a", "1").await;
    stream.expect("put a").await;
}

async fn stream_ends_after_an_hour(make: Make) {
    let kvs = Endpoint::new(make);
    let start = Instant::now();
    let mut stream = Stream::open(&kvs, "/kv/default", &[]).await;
    stream.expect("reset").await;
    let mut comments = 0;
    while let Some(block) = stream.block().await {
        assert_eq!(block, Block::Comment("0".into()));
        comments += 1;
    }
    assert_eq!((comments, start.elapsed().as_secs()), (240, 3_600));
    // With changes all the time it ends as well.
    let start = Instant::now();
    let mut stream = Stream::open(&kvs, "/kv/default", &[]).await;
    let writes = async {
        while start.elapsed() < Duration::from_secs(4_000) {
            tokio::time::sleep(Duration::from_secs(7)).await;
            kvs.put("/kv/default/a", "1").await;
        }
    };
    let read = async {
        while stream.next().await.is_some() {}
        start.elapsed().as_secs()
    };
    assert_eq!(tokio::join!(read, writes).0, 3_600);
}

async fn short_stream_ends_after_its_first_events(make: Make) {
    let kvs = short(make, LongPollLimit::new(10));
    kvs.put("/kv/default/a", "1").await;
    for (uri, kind) in [("/kv/default", "reset"), ("/kv/default/a", "put a"), ("/kv/default/none", "delete none")] {
        let mut stream = Stream::open(&kvs, uri, &[]).await;
        stream.expect(kind).await;
        assert_eq!(stream.next().await, None, "{uri}");
    }
    let start = revision(&kvs, "default").await;
    let mut waiting = Stream::open(&kvs, &format!("/kv/default?since={start}"), &[]).await;
    let (event, _) = tokio::join!(waiting.expect("put b"), kvs.put("/kv/default/b", "1"));
    assert_eq!(waiting.next().await, None);
    // All changes that are there already, in one stream.
    for key in ["c", "d"] {
        kvs.put(&format!("/kv/default/{key}"), "1").await;
    }
    let mut stream = Stream::open(&kvs, "/kv/default", &[("last-event-id", &event.id)]).await;
    stream.expect("put c").await;
    stream.expect("put d").await;
    assert_eq!(stream.next().await, None);
}

async fn short_stream_without_events_ends_after_the_longest_wait(make: Make) {
    let kvs = short(make, LongPollLimit::new(10));
    kvs.put("/kv/default/a", "1").await;
    let at = revision(&kvs, "default").await;
    let start = Instant::now();
    let mut stream = Stream::open(&kvs, &format!("/kv/default?since={at}&prefix=a"), &[]).await;
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        kvs.put("/kv/default/b", "1").await;
    };
    tokio::join!(async { assert_eq!(stream.next().await, None) }, other);
    crate::support::endpoint::assert_passed(3, start, "the longest wait");
}

/// A stream that was refused: empty, with a time after which to try again.
async fn assert_refused(kvs: &Endpoint, uri: &str) {
    let mut stream = Stream::begin(kvs, uri, &[]).await;
    assert_eq!(stream.block().await, Some(Block::Retry(5_000)), "{uri}");
    assert_eq!(stream.block().await, None, "{uri}");
}

async fn streams_over_the_limit_end_at_once(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(2));
    kvs.put("/kv/default/first", "1").await;
    let mut first = Stream::open(&kvs, "/kv/default", &[]).await;
    let mut second = Stream::open(&kvs, "/kv/default/a", &[]).await;
    for uri in ["/kv/default", "/kv/default/a", "/kv/other?since=0"] {
        assert_refused(&kvs, uri).await;
    }
    // Long polls count as well.
    let answer = kvs.ask("GET", "/kv/other?since=0&wait=20", &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (200, "2"));
    first.expect("reset").await;
    second.expect("delete a").await;
    kvs.put("/kv/default/a", "1").await;
    first.expect("put a").await;
    second.expect("put a").await;
}

async fn one_address_has_its_share_of_streams(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(100).sharing(Shares::new(2)));
    let share = {
        let mut open = vec![];
        for _ in 0..100 {
            let mut stream = Stream::begin(&kvs, "/kv/default", &[]).await;
            if stream.block().await == Some(Block::Retry(5_000)) {
                break;
            }
            open.push(stream);
        }
        open
    };
    assert!(!share.is_empty() && share.len() < 100, "{}", share.len());
    // Another address still gets one.
    let other: IpAddr = Ipv4Addr::new(198, 51, 100, 7).into();
    let mut of_other = request("GET", "/kv/default/a", &[super::EVENTS], "");
    of_other.extensions_mut().insert(ClientAddr(Some(other)));
    let mut stream = Stream::of(kvs.respond(of_other).await);
    assert_eq!(stream.block().await, Some(Block::Retry(1_000)));
    drop(share);
    Stream::open(&kvs, "/kv/default", &[]).await;
}

async fn stream_releases_its_slot_when_the_client_leaves(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(1));
    for _ in 0..3 {
        let mut stream = Stream::open(&kvs, "/kv/default", &[]).await;
        stream.expect("reset").await;
        assert_refused(&kvs, "/kv/default").await;
        // While it waits.
        assert!(tokio::time::timeout(Duration::from_millis(20), stream.block()).await.is_err());
        drop(stream);
    }
    // Refused requests take no slot either.
    assert_eq!(kvs.ask("GET", "/kv/default?since=X", &[super::EVENTS], "").await.status, 400);
    assert_eq!(kvs.ask("HEAD", "/kv/default", &[super::EVENTS], "").await.status, 200);
    Stream::open(&kvs, "/kv/default", &[]).await;
}

/// Admits one waiter at a time.
struct OneGate(Arc<AtomicUsize>);

struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl WaiterGate for OneGate {
    fn enter(&self, _: &Bucket) -> Option<Box<dyn Send>> {
        let is_free = self.0.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        is_free.then(|| Box::new(Inside(Arc::clone(&self.0))) as Box<dyn Send>)
    }
}

async fn one_stream_or_long_poll_waits_for_a_bucket_behind_a_gate(make: Make) {
    let inside = Arc::<AtomicUsize>::default();
    let kvs = short(make, LongPollLimit::shared(9, Arc::new(OneGate(Arc::clone(&inside)))));
    kvs.put("/kv/default/a", "1").await;
    let at = revision(&kvs, "default").await;
    let mut stream = Stream::open(&kvs, &format!("/kv/default?since={at}"), &[]).await;
    assert_eq!(inside.load(Ordering::SeqCst), 1);
    assert_refused(&kvs, "/kv/default").await;
    let answer = kvs.ask("GET", &format!("/kv/default?since={at}&wait=20"), &[], "").await;
    assert_eq!(answer.header("retry-after"), "2");
    kvs.put("/kv/default/a", "2").await;
    stream.expect("put a").await;
    assert_eq!(stream.next().await, None);
    drop(stream);
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}

async fn streams_are_counted(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(1));
    let metric = async |name: &str| {
        let metrics = kvs.get("/metrics").await;
        let line = metrics.text().lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
        line.map_or(String::new(), |line| line.rsplit_once(' ').unwrap().1.to_owned())
    };
    assert_eq!(metric("kvs_waiters").await, "0");
    let stream = Stream::open(&kvs, "/kv/default", &[]).await;
    assert_eq!(metric("kvs_waiters").await, "1");
    assert_refused(&kvs, "/kv/default").await;
    assert_eq!(metric("kvs_long_polls_rejected_total").await, "1");
    drop(stream);
    assert_eq!(metric("kvs_waiters").await, "0");
}
