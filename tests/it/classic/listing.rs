//! Lists, and the status page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kvs::model::{Batch, Bucket, Error, Key, Kind, Outcome, Page, Query, Result, Revision, Snapshot, SystemClock};
use kvs::service::router;
use kvs::store::{Report, Store, Task};
use tokio_util::sync::CancellationToken;

use super::{Answer, Endpoint, Headers, settings};

const SECRET: Headers<'_> = &[("x-kvs-auth", "reader")];

async fn filled() -> Endpoint {
    let kvs = Endpoint::new();
    let form = "c=3&a=1&b%2Fx=2&b%2Fy=%ff&%C3%A4=5&auth=s3cret";
    assert_eq!(kvs.post(form).await.status, 200);
    kvs
}

async fn list(kvs: &Endpoint, query: &str) -> Answer {
    kvs.ask("GET", &format!("/kv/default?{query}"), SECRET).await
}

#[tokio::test]
async fn no_secret_no_list() {
    let kvs = filled().await;
    let cases: [(Headers<'_>, u16); 6] = [
        (&[], 401),
        (&[("x-kvs-auth", "wrong")], 401),
        (&[("x-kvs-auth", "elsewhere")], 403),
        (&[("x-kvs-auth", "reader")], 200),
        (&[("authorization", "Bearer s3cret")], 200),
        (&[("authorization", "Basic bWU6czNjcmV0")], 200),
    ];
    for (headers, status) in cases {
        for uri in ["/kv/default", "/kv/default/", "/kv/default?keys&limit=5000"] {
            let status = if status == 200 && uri.contains("5000") { 400 } else { status };
            let answer = kvs.ask("GET", uri, headers).await;
            assert_eq!(answer.status, status, "{uri} {headers:?}");
            assert_eq!(status == 200, answer.text().contains("b/x"), "{uri} {headers:?}");
        }
        // A guess a case is enough; the next is not to be paused.
        kvs.clock.move_on(Duration::from_secs(16 * 60));
    }
}

#[tokio::test]
async fn pages_of_a_list() {
    let kvs = filled().await;
    let cases = [
        ("keys", r#"{"keys":["a","b/x","b/y","c","ä"],"cursor":null}"#),
        ("keys=1&limit=2", r#"{"keys":["a","b/x"],"cursor":"b/x"}"#),
        ("keys&limit=2&after=b/x", r#"{"keys":["b/y","c"],"cursor":"c"}"#),
        ("keys&prefix=b%2F", r#"{"keys":["b/x","b/y"],"cursor":null}"#),
        ("keys&start=b&end=c", r#"{"keys":["b/x","b/y"],"cursor":null}"#),
        ("keys&reverse&limit=2", r#"{"keys":["ä","c"],"cursor":"c"}"#),
        ("keys&reverse=0&limit=1", r#"{"keys":["a"],"cursor":"a"}"#),
        ("count&prefix=b", r#"{"count":2}"#),
        ("keys&prefix=z", r#"{"keys":[],"cursor":null}"#),
        ("prefix=z", r#"{"entries":[],"cursor":null}"#),
    ];
    for (query, expected) in cases {
        let answer = list(&kvs, query).await;
        assert_eq!((answer.status, answer.text()), (200, expected), "{query}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "private, no-cache");
    }
    let text = list(&kvs, "format=text&limit=2").await;
    assert_eq!((text.text(), text.header("kvs-cursor")), ("a\nb/x\n", "b%2Fx"));
    assert_eq!(list(&kvs, "format=text&count").await.text(), "5\n");
    for bad in ["limit=1001", "limit=0", "limit=x", "format=xml", "prefix=%ff"] {
        assert_eq!(list(&kvs, bad).await.status, 400, "{bad}");
    }
    assert_eq!(
        kvs.ask("GET", "/kv/nobody", &[("x-kvs-auth", "s3cret")]).await.text(),
        r#"{"entries":[],"cursor":null}"#
    );
    let entries: serde_json::Value = serde_json::from_slice(&list(&kvs, "").await.body).unwrap();
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["value"], &entries[2]["base64"]), (5, &"1".into(), &"/w==".into()));
    let tag = kvs.get("/?k=a").await.header("etag").trim_matches('"').to_owned();
    assert_eq!(entries[0]["revision"], tag);
    assert!(entries[0]["updated"].as_str().unwrap().starts_with("2026-11-20T12:00:00.25"));
}

#[tokio::test]
async fn the_tag_of_a_list_changes_with_what_it_shows() {
    let kvs = filled().await;
    let tag = |answer: Answer| answer.header("etag").to_owned();
    let before = tag(list(&kvs, "prefix=b").await);
    assert_ne!(before, tag(list(&kvs, "prefix=c").await));
    kvs.post("c=4&auth=s3cret").await;
    assert_eq!(before, tag(list(&kvs, "prefix=b").await));
    let answer = kvs.ask("GET", "/kv/default?prefix=b", &[SECRET[0], ("if-none-match", &before)]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    kvs.post("b%2Fz=1&auth=s3cret").await;
    assert_ne!(before, tag(list(&kvs, "prefix=b").await));
}

#[tokio::test]
async fn a_list_can_be_waited_for() {
    let kvs = filled().await;
    let seen = list(&kvs, "").await.header("etag").trim_matches('"').to_owned();
    let start = Instant::now();
    let query = format!("wait=20&seen={seen}");
    let later = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        kvs.post("new=1&auth=s3cret").await;
    };
    let (answer, ()) = tokio::join!(list(&kvs, &query), later);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\"new\""));
    assert!(start.elapsed() >= Duration::from_millis(150) && start.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_news_for_a_list_though_nobody_wrote() {
    // Where entries are shown their ends are known; keys and numbers are looked at again and again.
    for (shape, seconds) in [("entries", 1), ("keys", 5), ("count", 5)] {
        let kvs = filled().await;
        let form = axum::body::Body::from("ends=1&auth=s3cret");
        assert_eq!(kvs.send(super::request("POST", "/?ttl=1", &[], form)).await.status, 200);
        let seen = list(&kvs, shape).await.header("etag").trim_matches('"').to_owned();
        let start = tokio::time::Instant::now();
        let query = format!("{shape}&wait=20&seen={seen}");
        let ask = async { (list(&kvs, &query).await, start.elapsed().as_secs()) };
        let later = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            kvs.clock.move_on(Duration::from_secs(1));
        };
        let ((answer, took), ()) = tokio::join!(ask, later);
        assert_eq!((answer.status, took), (200, seconds), "{shape}");
        assert!(!answer.text().contains("\"ends\""), "{shape}");
    }
}

#[tokio::test]
async fn a_list_of_large_values_comes_in_parts() {
    static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];
    let kvs = Endpoint::new();
    for key in 10..30 {
        kvs.put(&key.to_string(), &LARGE, "text/plain").await;
    }
    let first = list(&kvs, "limit=1000").await;
    assert!(first.body.len() < 17 << 20 && first.text().ends_with(r#""cursor":"25"}"#));
    let second = list(&kvs, "limit=1000&after=25").await;
    assert!(second.text().contains(r#""key":"26""#) && second.text().ends_with(r#""cursor":null}"#));
}

/// Serves reads of nothing, and answers every write with one error.
struct RefusingStore(Kind);

impl RefusingStore {
    fn error(&self) -> Error {
        Error::new(self.0, "/srv/kvs/data/default.yaml, line 12: not YAML; mend it by hand")
    }
}

#[async_trait]
impl Store for RefusingStore {
    async fn get(&self, _: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        Ok(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] })
    }

    async fn apply(&self, _: &Bucket, _: Batch) -> Result<Outcome> {
        Err(self.error())
    }

    async fn scan(&self, _: &Bucket, _: Query) -> Result<Page> {
        Ok(Page::default())
    }

    async fn changed(&self, _: &Bucket, _: Revision) -> Result<Revision> {
        std::future::pending().await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        Ok(vec![Bucket::default()])
    }

    async fn upkeep(&self, _: &Bucket, _: Task) -> Result<Report> {
        Err(self.error())
    }
}

#[tokio::test]
async fn a_store_that_refuses_is_told_of_without_its_folder() {
    let cases = [
        (Kind::Damaged, 500, 500, "default.yaml, line 12: not YAML; mend it by hand\n"),
        (Kind::Failed, 500, 500, ""),
        (Kind::Full, 507, 507, ""),
        (Kind::Busy, 503, 200, "ok"),
    ];
    for (kind, write, status, text) in cases {
        let mut kvs = Endpoint::new();
        kvs.app = router(Arc::new(RefusingStore(kind)), settings(Arc::new(SystemClock), CancellationToken::new()));
        let answer = kvs.post("a=1&auth=s3cret").await;
        assert_eq!(answer.status, write, "{kind:?}");
        assert_eq!(answer.headers.contains_key("retry-after"), kind == Kind::Busy);
        assert!(!answer.text().contains("srv") && !answer.text().contains("default.yaml"));
        let answer = kvs.get("/status").await;
        assert_eq!(answer.status, status, "{kind:?}");
        assert!(!answer.text().contains("srv") && answer.text().contains(text), "{}", answer.text());
        // A count that cannot be stored opens nothing and breaks nothing.
        for _ in 0..5 {
            assert_eq!(kvs.post("a=1&auth=wrong").await.status, 401, "{kind:?}");
        }
        assert_eq!(kvs.post("a=1&auth=s3cret").await.status, 429, "{kind:?}");
    }
}
