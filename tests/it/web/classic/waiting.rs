//! Long polls: held until a change, answered at once if there is one already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use kvs::model::{
    Batch, Bucket, ContentType, Entry, Error, ErrorKind, Key, Outcome, Page, Result, Revision, Scan, Snapshot, Time,
    Write,
};
use kvs::store::{Blobs, Changes, Logs, Report, Store, Task};
use kvs::web::{LongPollLimit, WaiterGate};
use tokio::time::Instant;

use crate::store::Make;
use crate::support::doubles::{Done, followed};
use crate::support::endpoint::{Answer, Endpoint, Headers, assert_passed, cases, request};

cases! {
    long_poll_returns_when_the_key_changes,
    last_modified_is_not_later_than_the_long_poll_request,
    long_poll_waits_for_a_missing_key,
    long_poll_returns_when_the_key_is_deleted,
    long_poll_returns_when_the_key_expires,
    long_polls_are_answered_at_shutdown,
    long_polls_over_the_limit_get_retry_after,
    long_poll_slot_is_released,
}

cases! { in paused time:
    writes_to_other_keys_do_not_end_a_long_poll,
    wait_ends_and_is_limited,
    long_poll_returns_at_once_if_the_key_has_changed,
    change_between_read_and_wait_is_not_missed,
}

/// Longer than an immediate response takes on a busy machine.
const HELD: Duration = Duration::from_millis(150);

/// Sends a read, does something a little later, and returns the response and how long it took.
async fn meanwhile(kvs: &Endpoint, uri: &str, then: impl Future<Output = ()>) -> (Answer, Duration) {
    let start = Instant::now();
    let late = async {
        tokio::time::sleep(HELD).await;
        then.await;
    };
    let ask = async {
        let answer = kvs.get(uri).await;
        (answer, start.elapsed())
    };
    tokio::join!(ask, late).0
}

async fn post(kvs: &Endpoint, form: &str) {
    assert_eq!(kvs.form(form).await.status, 200);
}

async fn tag(kvs: &Endpoint, uri: &str) -> String {
    kvs.get(uri).await.header("etag").trim_matches('"').to_owned()
}

async fn long_poll_returns_when_the_key_changes(make: Make) {
    let kvs = Endpoint::new(make);
    post(&kvs, "a=1&auth=s3cret").await;
    let uri = format!("/?k=a,b&wait=20&seen={}", tag(&kvs, "/?k=a").await);
    let (answer, took) = meanwhile(&kvs, &uri, post(&kvs, "a=2&auth=s3cret")).await;
    assert_eq!((answer.status, answer.text()), (200, "2"));
    assert!(took >= HELD && took < Duration::from_secs(10), "{took:?}");
    assert!(!answer.headers.contains_key("retry-after"));
    // It is also a change if another key becomes the newest.
    let uri = format!("/?k=a,b&wait=20&seen=%22{}%22", tag(&kvs, "/?k=a").await);
    let (answer, _) = meanwhile(&kvs, &uri, post(&kvs, "b=3&auth=s3cret")).await;
    assert_eq!((answer.status, answer.text(), answer.header("kvs-key")), (200, "3", "b"));
}

async fn last_modified_is_not_later_than_the_long_poll_request(make: Make) {
    let kvs = Endpoint::new(make);
    post(&kvs, "a=1&auth=s3cret").await;
    let first = kvs.get("/?k=a").await;
    let uri = format!("/?k=a&wait=20&seen={}", tag(&kvs, "/?k=a").await);
    let later = async {
        kvs.clock.advance(Duration::from_secs(5));
        post(&kvs, "a=2&auth=s3cret").await;
    };
    let (answer, _) = meanwhile(&kvs, &uri, later).await;
    assert_eq!(answer.text(), "2");
    assert_eq!(answer.header("last-modified"), first.header("last-modified"), "Apache's Date is that of the arrival");
}

async fn writes_to_other_keys_do_not_end_a_long_poll(make: Make) {
    let kvs = Endpoint::new(make);
    post(&kvs, "a=1&auth=s3cret").await;
    let seen = tag(&kvs, "/?k=a").await;
    let start = Instant::now();
    let others = async {
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            post(&kvs, "b=1&auth=s3cret").await;
        }
    };
    let uri = format!("/?k=a&wait=3&seen={seen}");
    let ask = async {
        let answer = kvs.get(&uri).await;
        assert_passed(3, start, &uri);
        answer
    };
    let (answer, ()) = tokio::join!(ask, others);
    assert_eq!(answer.status, 304);
    assert_eq!(answer.header("etag").trim_matches('"'), seen);
}

async fn wait_ends_and_is_limited(make: Make) {
    let kvs = Endpoint::waiting(make, 5, LongPollLimit::new(100));
    post(&kvs, "a=1&auth=s3cret").await;
    let seen = tag(&kvs, "/?k=a").await;
    let quoted = format!("\"{seen}\"");
    let seen_query = format!("/?k=a&seen={seen}&wait=");
    let cases = [
        (format!("{seen_query}1"), None, 304, 1),
        (format!("{seen_query}99999999999999999999999"), None, 304, 5),
        (format!("{seen_query}0"), None, 304, 0),
        ("/?k=missing&seen=none&wait=2".to_owned(), None, 404, 2),
        ("/?k=a".to_owned(), Some("wait=1"), 304, 1),
        ("/?k=a&wait=4".to_owned(), Some("wait=0"), 304, 4),
        ("/?k=a".to_owned(), Some("wait=soon"), 304, 0),
    ];
    let start = Instant::now();
    let waits = cases.iter().map(async |(uri, prefer, status, seconds)| {
        let headers = prefer.map_or(vec![], |p| vec![("prefer", p), ("if-none-match", quoted.as_str())]);
        let answer = kvs.plain("GET", uri, &headers).await;
        assert_eq!(answer.status, *status, "{uri} {prefer:?}");
        assert_passed(*seconds, start, uri);
        assert!(!answer.headers.contains_key("retry-after"));
    });
    join_all(waits).await;
}

async fn long_poll_returns_at_once_if_the_key_has_changed(make: Make) {
    let kvs = Endpoint::new(make);
    post(&kvs, "a=1&auth=s3cret").await;
    let start = Instant::now();
    let cases: [(&str, Headers<'_>, u16); 6] = [
        ("/?k=a&wait=20", &[], 200),
        ("/?k=a&wait=20&seen=other", &[], 200),
        ("/?k=a&wait=20&seen=none", &[], 200),
        ("/?k=missing&wait=20", &[], 404),
        ("/?k=missing&wait=20&seen=other", &[], 404),
        ("/?k=a", &[("prefer", "wait=20"), ("if-match", "\"x\""), ("if-none-match", "*")], 412),
    ];
    for (uri, headers, status) in cases {
        assert_eq!(kvs.plain("GET", uri, headers).await.status, status, "{uri}");
    }
    assert_passed(0, start, "all of them");
}

async fn long_poll_waits_for_a_missing_key(make: Make) {
    let kvs = Endpoint::new(make);
    let (answer, took) = meanwhile(&kvs, "/?k=a&wait=20&seen=none", post(&kvs, "a=1&auth=s3cret")).await;
    assert_eq!((answer.status, answer.text()), (200, "1"));
    assert!(took >= HELD, "{took:?}");
}

async fn long_poll_returns_when_the_key_is_deleted(make: Make) {
    let kvs = Endpoint::new(make);
    post(&kvs, "a=1&auth=s3cret").await;
    let uri = format!("/?k=a&wait=20&seen={}", tag(&kvs, "/?k=a").await);
    let (answer, took) = meanwhile(&kvs, &uri, async { _ = kvs.delete("/kv/default/a").await }).await;
    assert_eq!(answer.status, 404);
    assert!(took >= HELD && took < Duration::from_secs(10), "{took:?}");
}

async fn long_poll_returns_when_the_key_expires(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    post(&kvs, "b=2&auth=s3cret").await;
    let form = kvs::web::Body::from("a=1&auth=s3cret");
    assert_eq!(kvs.send(request("POST", "/?ttl=1", &[], form)).await.status, 200);
    let start = Instant::now();
    let answer = kvs.get(&format!("/?k=a,b&wait=20&seen={}", tag(&kvs, "/?k=a").await)).await;
    assert_eq!((answer.status, answer.text()), (200, "2"));
    assert!(start.elapsed() > Duration::from_millis(700) && start.elapsed() < Duration::from_secs(10));
}

async fn long_polls_are_answered_at_shutdown(make: Make) {
    let kvs = Endpoint::new(make);
    post(&kvs, "a=1&auth=s3cret").await;
    let uri = format!("/?k=a&wait=20&seen={}", tag(&kvs, "/?k=a").await);
    let (answer, took) = meanwhile(&kvs, &uri, async { kvs.stop.cancel() }).await;
    assert_eq!((answer.status, answer.header("retry-after")), (304, "1"));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let answer = kvs.get("/?k=x&wait=20&seen=none").await;
    assert_eq!((answer.status, answer.header("retry-after")), (404, "1"));
}

/// Admits nobody while it is shut.
struct ShutGate(AtomicBool);

impl WaiterGate for ShutGate {
    fn enter(&self, _: &Bucket) -> Option<Box<dyn Send>> {
        (!self.0.load(Ordering::SeqCst)).then(|| Box::new(()) as Box<dyn Send>)
    }
}

async fn long_polls_over_the_limit_get_retry_after(make: Make) {
    let shut = LongPollLimit::shared(9, Arc::new(ShutGate(AtomicBool::new(true))));
    for waiters in [LongPollLimit::new(0), shut] {
        let kvs = Endpoint::waiting(make, 25, waiters);
        post(&kvs, "a=1&auth=s3cret").await;
        let start = Instant::now();
        let answer = kvs.get(&format!("/?k=a&wait=20&seen={}", tag(&kvs, "/?k=a").await)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (304, "2"));
        let answer = kvs.get("/?k=x&wait=20&seen=none").await;
        assert_eq!((answer.status, answer.header("retry-after")), (404, "2"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

async fn long_poll_slot_is_released(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(1));
    post(&kvs, "a=1&auth=s3cret").await;
    let uri = format!("/?k=a&wait=1&seen={}", tag(&kvs, "/?k=a").await);
    let both = || async { tokio::join!(kvs.get(&uri), kvs.get(&uri)) };
    for _ in 0..2 {
        let (one, other) = both().await;
        assert_eq!((one.status, other.status), (304, 304));
        let declined = [one, other].iter().filter(|a| a.headers.contains_key("retry-after")).count();
        assert_eq!(declined, 1);
    }
    // A client that disconnects releases its slot too.
    let left = tokio::time::timeout(Duration::from_millis(50), kvs.get(&uri)).await;
    assert!(left.is_err());
    assert!(!kvs.get(&uri).await.headers.contains_key("retry-after"));
}

async fn change_between_read_and_wait_is_not_missed(make: Make) {
    let kvs = Endpoint::around(make, |inner| {
        let (written, shared) = (AtomicBool::new(false), Arc::clone(&inner));
        // A write right after the first read, so that the result of the read is out of date when it arrives.
        let follow = move |done: Done| -> BoxFuture<'static, ()> {
            if done != Done::Get || written.swap(true, Ordering::SeqCst) {
                return Box::pin(std::future::ready(()));
            }
            let batch = Batch::new(vec![Write::put(Key::new("a").unwrap(), "1")]);
            let store = Arc::clone(&shared);
            Box::pin(async move { _ = store.apply(&Bucket::default(), batch).await.unwrap() })
        };
        followed(inner, follow)
    });
    let start = Instant::now();
    let answer = kvs.get("/?k=a&wait=20&seen=none").await;
    assert_eq!((answer.status, answer.text()), (200, "1"));
    assert_passed(0, start, "it was not missed");
}

/// Has a value under every key, and counts the owners of its values.
struct LendingStore(Arc<()>);

struct Lent(#[expect(dead_code, reason = "counted by its existence")] Arc<()>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        b"lent"
    }
}

#[async_trait]
impl Store for LendingStore {
    async fn get(&self, _: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let entry = |_: &Key| {
            Some(Entry {
                value: Bytes::from_owner(Lent(Arc::clone(&self.0))),
                content_type: ContentType::default(),
                revision: Revision::new(1),
                created: Time::default(),
                modified: None,
                expires: None,
            })
        };
        Ok(Snapshot { revision: Revision::new(1), entries: keys.iter().map(entry).collect() })
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, _: &Bucket, _: Batch) -> Result<Outcome> {
        Err(Error::new(ErrorKind::Unavailable, "this store is read-only"))
    }

    async fn scan(&self, _: &Bucket, _: Scan) -> Result<Page> {
        Ok(Page::default())
    }

    async fn changed(&self, _: &Bucket, _: Revision) -> Result<Revision> {
        std::future::pending().await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        Ok(vec![])
    }

    async fn maintain(&self, _: &Bucket, _: Task) -> Result<Report> {
        Ok(Report::default())
    }

    fn changes(&self) -> Option<&dyn Changes> {
        None
    }

    fn logs(&self) -> Option<&dyn Logs> {
        None
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn long_polls_hold_no_value_while_waiting() {
    let held = Arc::new(());
    let kvs = Endpoint::failing(Arc::new(LendingStore(Arc::clone(&held))));
    let owners_while_waiting = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Arc::strong_count(&held)
    };
    let (answer, owners) = tokio::join!(kvs.get("/?k=a&wait=2&seen=1"), owners_while_waiting);
    // The test and the store.
    assert_eq!((answer.status, owners), (304, 2));
}
