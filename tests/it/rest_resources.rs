//! `/help`, `/livez`, `/readyz`, `/metrics` and `/openapi.json` through the router: open to all, cheap, and silent about
//! what is nobody's business.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use kvs::memory::MemoryStore;
use kvs::model::{
    Batch, Bucket, Error, Key, Kind, Outcome, Page, Query, Result, Revision, Snapshot, SystemClock, Time,
};
use kvs::service::{Access, Caller, Cors, Exposure, Metrics, Policies, Settings, Waiters, Waiting, router};
use kvs::store::{Limits, Report, Store, Task};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const SECRET: (&str, &str) = ("x-kvs-auth", "s3cret");
const PATHS: [&str; 6] = ["/status", "/help", "/livez", "/readyz", "/metrics", "/openapi.json"];

struct Endpoint {
    app: Router,
    stop: CancellationToken,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Endpoint {
    fn new() -> Self {
        Self::over(memory(), Metrics::default())
    }

    fn showing(exposure: Exposure) -> Self {
        Self::over(memory(), Metrics::new(exposure, None, Time::from_secs(7)))
    }

    fn over(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        let stop = CancellationToken::new();
        let settings = Settings {
            stop: stop.clone(),
            clock: Arc::new(SystemClock),
            max_value: 1000,
            access: Access::parse("s3cret\nwriter write\nelsewhere buckets=other").unwrap(),
            policies: Policies::default(),
            cors: Cors::default(),
            waiting: Waiting { longest: Duration::from_secs(25), waiters: Waiters::new(1) },
            metrics: Arc::new(metrics),
        };
        Self { app: router(store, settings), stop }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let caller = Caller { address: Some(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))) };
        let mut request = Request::builder().method(method).uri(path).extension(caller);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        crate::openapi::assert_told(method, path.split('?').next().unwrap(), status);
        assert_eq!(parts.headers["x-content-type-options"], "nosniff");
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// The number behind that name and those labels; none if it is not told.
    async fn number(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|number| number.parse().unwrap())
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default()))
}

/// A store that fails, and names its folder.
struct FailingStore;

fn failure<T>() -> Result<T> {
    Err(Error::new(Kind::Failed, "/home/someone/data/default.yaml cannot be opened"))
}

#[async_trait]
impl Store for FailingStore {
    async fn get(&self, _: &Bucket, _: &[Key]) -> Result<Snapshot> {
        failure()
    }
    async fn apply(&self, _: &Bucket, _: Batch) -> Result<Outcome> {
        failure()
    }
    async fn scan(&self, _: &Bucket, _: Query) -> Result<Page> {
        failure()
    }
    async fn changed(&self, _: &Bucket, _: Revision) -> Result<Revision> {
        failure()
    }
    async fn buckets(&self) -> Result<Vec<Bucket>> {
        failure()
    }
    async fn upkeep(&self, _: &Bucket, _: Task) -> Result<Report> {
        failure()
    }
}

#[tokio::test]
async fn resources_answer_everybody_and_are_kept_by_nobody() {
    let endpoint = Endpoint::new();
    for path in PATHS {
        let answer = endpoint.get(path).await;
        assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()), "{path}");
        let head = endpoint.ask("HEAD", path, &[], "").await;
        assert_eq!((head.status, &head.headers["content-type"]), (200, &answer.headers["content-type"]), "{path}");
        let options = endpoint.ask("OPTIONS", path, &[], "").await;
        assert_eq!(
            (options.status, &options.headers["allow"]),
            (204, &"GET, HEAD, OPTIONS".parse().unwrap()),
            "{path}"
        );
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = endpoint.ask(method, path, &[SECRET], "").await;
            assert_eq!((answer.status, &answer.headers["allow"]), (405, &options.headers["allow"]), "{method} {path}");
        }
        assert_eq!(endpoint.get(&format!("{path}?auth=s3cret")).await.status, 400, "{path}");
        assert_eq!(endpoint.get(&format!("{path}/")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn help_names_every_address_and_nothing_that_is_not_there() {
    let endpoint = Endpoint::new();
    let help = endpoint.get("/help").await;
    assert_eq!(help.headers["content-type"], "text/plain; charset=utf-8");
    let document: serde_json::Value = serde_json::from_str(&endpoint.get("/openapi.json").await.text).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        let shown = path.replace("{bucket}", "BUCKET").replace("{key}", "KEY");
        let line = help.text.lines().find(|line| line.contains(&shown));
        assert!(line.is_some(), "{shown} is not in /help");
    }
    assert!(help.text.is_ascii() && help.text.lines().all(|line| line.len() <= 120));
}

#[tokio::test]
async fn a_process_lives_when_its_store_fails_but_is_not_ready() {
    let endpoint = Endpoint::over(Arc::new(FailingStore), Metrics::default());
    assert_eq!(endpoint.get("/livez").await.text, "ok");
    assert_eq!(endpoint.number("kvs_store_reads_total").await, Some(0.0), "it was asked");
    let ready = endpoint.get("/readyz").await;
    assert_eq!((ready.status, &ready.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert!(!ready.text.contains("home"), "{}", ready.text);
    assert_eq!(endpoint.get("/?k=a").await.status, 500);
    assert_eq!(endpoint.number("kvs_store_reads_total").await, Some(2.0));
    assert_eq!(endpoint.number("kvs_store_errors_total{kind=\"failed\"}").await, Some(2.0));
}

#[tokio::test]
async fn a_process_that_is_to_end_lives_but_is_not_ready() {
    let endpoint = Endpoint::new();
    assert_eq!(endpoint.get("/readyz").await.text, "ok");
    endpoint.stop.cancel();
    let ready = endpoint.get("/readyz").await;
    assert_eq!((ready.status, &ready.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(endpoint.get("/livez").await.status, 200);
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let endpoint = Endpoint::new();
    endpoint.ask("PUT", "/kv/quetzal/zanzibar", &[SECRET], "12345").await;
    endpoint.ask("POST", "/kv/quetzal/zanzibar", &[SECRET, ("x-http-method-override", "PUT")], "67").await;
    for path in ["/kv/quetzal/zanzibar", "/kv/quetzal/zanzibar?meta", "/kv/quetzal/missing", "/zanzibar"] {
        endpoint.get(path).await;
    }
    endpoint.ask("HEAD", "/kv/quetzal/zanzibar", &[], "").await;
    endpoint.ask("BREW", "/kv/quetzal/zanzibar", &[], "").await;
    for (labels, count) in [
        (r#"route="entry",method="PUT",status="201""#, 1.0),
        (r#"route="entry",method="PUT",status="200""#, 1.0),
        (r#"route="entry",method="GET",status="200""#, 2.0),
        (r#"route="entry",method="GET",status="404""#, 1.0),
        (r#"route="entry",method="HEAD",status="200""#, 1.0),
        (r#"route="entry",method="other",status="405""#, 1.0),
        (r#"route="other",method="GET",status="404""#, 1.0),
    ] {
        assert_eq!(endpoint.number(&format!("kvs_requests_total{{{labels}}}")).await, Some(count), "{labels}");
    }
    assert_eq!(endpoint.number("kvs_request_body_bytes_total").await, Some(7.0));
    assert_eq!(endpoint.number("kvs_store_writes_total").await, Some(2.0));
    let gets = r#"kvs_request_duration_seconds_count{route="entry",method="GET"}"#;
    assert_eq!(endpoint.number(gets).await, Some(3.0));
    let text = endpoint.get("/metrics").await.text;
    for chosen in ["quetzal", "zanzibar", "BREW", "s3cret", "192.0.2.1"] {
        assert!(!text.contains(chosen), "{chosen}");
    }
}

#[tokio::test]
async fn a_held_read_is_no_slow_one() {
    let endpoint = Endpoint::new();
    let held = endpoint.get("/?k=a&seen=none&wait=1");
    let second = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(endpoint.number("kvs_waiters").await, Some(1.0));
        assert_eq!(endpoint.get("/?k=a&seen=none&wait=1").await.headers["retry-after"], "2");
    };
    assert_eq!(tokio::join!(held, second).0.status, 404);
    assert_eq!(endpoint.number("kvs_waiters").await, Some(0.0));
    assert_eq!(endpoint.number("kvs_waiters_max").await, Some(1.0));
    assert_eq!(endpoint.number("kvs_waits_declined_total").await, Some(1.0));
    assert_eq!(endpoint.number("kvs_wait_duration_seconds_count").await, Some(1.0));
    assert!(endpoint.number("kvs_wait_duration_seconds_sum").await.unwrap() >= 0.9);
    let spent = r#"kvs_request_duration_seconds_sum{route="root",method="GET"}"#;
    assert!(endpoint.number(spent).await.unwrap() < 0.9);
}

#[tokio::test]
async fn wrong_secrets_and_pauses_are_counted() {
    let endpoint = Endpoint::new();
    for _ in 0..5 {
        assert_eq!(endpoint.ask("DELETE", "/kv/b/k", &[("x-kvs-auth", "guess")], "").await.status, 401);
    }
    assert_eq!(endpoint.ask("DELETE", "/kv/b/k", &[SECRET], "").await.status, 429);
    assert_eq!(endpoint.number("kvs_secrets_wrong_total").await, Some(5.0));
    assert_eq!(endpoint.number("kvs_secrets_paused_total").await, Some(1.0));
}

#[tokio::test]
async fn metrics_are_closed_when_set_so() {
    let endpoint = Endpoint::showing(Exposure::Secret);
    assert_eq!(endpoint.get("/metrics").await.status, 401);
    for (secret, status) in [("s3cret", 200), ("writer", 403), ("elsewhere", 403), ("guess", 401)] {
        assert_eq!(endpoint.ask("GET", "/metrics", &[("x-kvs-auth", secret)], "").await.status, status, "{secret}");
    }
    let endpoint = Endpoint::showing(Exposure::Off);
    for method in ["GET", "HEAD", "OPTIONS", "POST"] {
        assert_eq!(endpoint.ask(method, "/metrics", &[SECRET], "").await.status, 404, "{method}");
    }
}

#[tokio::test]
async fn every_number_tells_its_process_where_there_are_several() {
    let metrics = Metrics::new(Exposure::Open, Some(4711), Time::from_secs(7));
    let endpoint = Endpoint::over(memory(), metrics);
    endpoint.get("/livez").await;
    let several = endpoint.get("/metrics").await.text;
    let numbers =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert!(numbers(&several).len() > 50);
    for line in numbers(&several) {
        assert!(line.contains("process=\"4711\""), "{line}");
    }
    let alone = Endpoint::new().get("/metrics").await;
    assert!(!alone.text.contains("process=\""));
    assert_eq!(alone.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(alone.text.ends_with("# EOF\n"));
    assert!(alone.text.contains(&format!("kvs_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))));
}
