//! `/help`, `/livez`, `/readyz`, `/metrics` and `/openapi.json`: open to all, cheap, and without private data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::model::{ErrorKind, Time};
use kvs::web::{ApiSettings, LongPollLimit, LongPollSettings, Metrics, MetricsAccess};

use crate::store::Make;
use crate::support::doubles::Failing;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    resources_are_open_to_all_and_not_cached,
    help_lists_every_path_in_short_ascii_lines,
    process_is_live_but_not_ready_at_shutdown,
    requests_are_counted_by_route_method_and_status,
    long_polls_do_not_count_as_slow_requests,
    auth_failures_and_pauses_are_counted,
    metrics_are_secret_or_off_if_so_configured,
    metrics_have_a_process_label_if_there_are_several,
}

const SECRET: (&str, &str) = ("x-kvs-auth", "s3cret");
const PATHS: [&str; 6] = ["/status", "/help", "/livez", "/readyz", "/metrics", "/openapi.json"];

/// At most one long poll.
fn endpoint(make: Make, metrics: Metrics) -> Endpoint {
    let long_polls =
        LongPollSettings { max_wait: Duration::from_secs(25), limit: LongPollLimit::new(1), short_streams: false };
    Endpoint::with(make, |settings| ApiSettings { long_polls, metrics: Arc::new(metrics), ..settings })
}

fn showing(make: Make, exposure: MetricsAccess) -> Endpoint {
    endpoint(make, Metrics::new(exposure, None, Time::from_secs(7)))
}

/// The value of the metric with this name and these labels, if there is one.
async fn number(kvs: &Endpoint, series: &str) -> Option<f64> {
    let metrics = kvs.get("/metrics").await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|number| number.parse().unwrap())
}

async fn resources_are_open_to_all_and_not_cached(make: Make) {
    let kvs = endpoint(make, Metrics::default());
    for path in PATHS {
        let answer = kvs.get(path).await;
        assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()), "{path}");
        let head = kvs.plain("HEAD", path, &[]).await;
        assert_eq!((head.status, &head.headers["content-type"]), (200, &answer.headers["content-type"]), "{path}");
        let options = kvs.plain("OPTIONS", path, &[]).await;
        assert_eq!(
            (options.status, &options.headers["allow"]),
            (204, &"GET, HEAD, OPTIONS".parse().unwrap()),
            "{path}"
        );
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = kvs.plain(method, path, &[SECRET]).await;
            assert_eq!((answer.status, &answer.headers["allow"]), (405, &options.headers["allow"]), "{method} {path}");
        }
        assert_eq!(kvs.get(&format!("{path}?auth=s3cret")).await.status, 400, "{path}");
        assert_eq!(kvs.get(&format!("{path}/")).await.status, 404, "{path}");
    }
}

async fn help_lists_every_path_in_short_ascii_lines(make: Make) {
    let kvs = endpoint(make, Metrics::default());
    let help = kvs.get("/help").await;
    assert_eq!(help.headers["content-type"], "text/plain; charset=utf-8");
    let document: serde_json::Value = kvs.get("/openapi.json").await.json();
    for path in document["paths"].as_object().unwrap().keys() {
        let shown = path.replace("{bucket}", "BUCKET").replace("{key}", "KEY");
        let line = help.text().lines().find(|line| line.contains(&shown));
        assert!(line.is_some(), "{shown} is not in /help");
    }
    assert!(help.text().is_ascii() && help.text().lines().all(|line| line.len() <= 120));
}

#[tokio::test]
async fn process_is_live_but_not_ready_when_the_store_fails() {
    let text = "/home/someone/data/default.yaml cannot be opened";
    let kind = ErrorKind::Unavailable;
    let kvs = Endpoint::failing(Failing { kind, text, serves_reads: false, spares_reserved: false }.store());
    assert_eq!(kvs.get("/livez").await.text(), "ok");
    assert_eq!(number(&kvs, "kvs_store_reads_total").await, Some(0.0), "the store was called");
    let ready = kvs.get("/readyz").await;
    assert_eq!((ready.status, &ready.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert!(!ready.text().contains("home"), "{}", ready.text());
    assert_eq!(kvs.get("/?k=a").await.status, 500);
    // The check of the health is not counted.
    assert_eq!(number(&kvs, "kvs_store_reads_total").await, Some(1.0));
    assert_eq!(number(&kvs, "kvs_store_errors_total{kind=\"failed\"}").await, Some(1.0));
    assert_eq!(number(&kvs, "kvs_ready").await, Some(0.0));
}

async fn process_is_live_but_not_ready_at_shutdown(make: Make) {
    let kvs = endpoint(make, Metrics::default());
    assert_eq!(kvs.get("/readyz").await.text(), "ok");
    kvs.stop.cancel();
    let ready = kvs.get("/readyz").await;
    assert_eq!((ready.status, &ready.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(kvs.get("/livez").await.status, 200);
}

async fn requests_are_counted_by_route_method_and_status(make: Make) {
    let kvs = endpoint(make, Metrics::default());
    kvs.ask("PUT", "/kv/quetzal/zanzibar", &[SECRET], "12345").await;
    kvs.ask("POST", "/kv/quetzal/zanzibar", &[SECRET, ("x-http-method-override", "PUT")], "67").await;
    for path in ["/kv/quetzal/zanzibar", "/kv/quetzal/zanzibar?meta", "/kv/quetzal/missing", "/zanzibar"] {
        kvs.get(path).await;
    }
    kvs.plain("HEAD", "/kv/quetzal/zanzibar", &[]).await;
    kvs.plain("BREW", "/kv/quetzal/zanzibar", &[]).await;
    for (labels, count) in [
        (r#"route="entry",method="PUT",status="201""#, 1.0),
        (r#"route="entry",method="PUT",status="200""#, 1.0),
        (r#"route="entry",method="GET",status="200""#, 2.0),
        (r#"route="entry",method="GET",status="404""#, 1.0),
        (r#"route="entry",method="HEAD",status="200""#, 1.0),
        (r#"route="entry",method="other",status="405""#, 1.0),
        (r#"route="other",method="GET",status="404""#, 1.0),
    ] {
        assert_eq!(number(&kvs, &format!("kvs_requests_total{{{labels}}}")).await, Some(count), "{labels}");
    }
    assert_eq!(number(&kvs, "kvs_request_body_bytes_total").await, Some(7.0));
    assert_eq!(number(&kvs, "kvs_store_writes_total").await, Some(2.0));
    let gets = r#"kvs_request_duration_seconds_count{route="entry",method="GET"}"#;
    assert_eq!(number(&kvs, gets).await, Some(3.0));
    let metrics = kvs.get("/metrics").await;
    let text = metrics.text();
    for chosen in ["quetzal", "zanzibar", "BREW", "s3cret", "192.0.2.1"] {
        assert!(!text.contains(chosen), "{chosen}");
    }
}

async fn long_polls_do_not_count_as_slow_requests(make: Make) {
    let kvs = endpoint(make, Metrics::default());
    let held = kvs.get("/?k=a&seen=none&wait=3");
    let second = async {
        let start = Instant::now();
        while number(&kvs, "kvs_waiters").await != Some(1.0) {
            assert!(start.elapsed() < Duration::from_secs(2), "it does not wait");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(kvs.get("/?k=a&seen=none&wait=3").await.headers["retry-after"], "2");
    };
    assert_eq!(tokio::join!(held, second).0.status, 404);
    assert_eq!(number(&kvs, "kvs_waiters").await, Some(0.0));
    assert_eq!(number(&kvs, "kvs_waiters_max").await, Some(1.0));
    assert_eq!(number(&kvs, "kvs_long_polls_rejected_total").await, Some(1.0));
    assert_eq!(number(&kvs, "kvs_wait_duration_seconds_count").await, Some(1.0));
    assert!(number(&kvs, "kvs_wait_duration_seconds_sum").await.unwrap() >= 2.9);
    let spent = r#"kvs_request_duration_seconds_sum{route="root",method="GET"}"#;
    assert!(number(&kvs, spent).await.unwrap() < 2.9);
}

async fn auth_failures_and_pauses_are_counted(make: Make) {
    let kvs = endpoint(make, Metrics::default());
    for n in 0..5 {
        assert_eq!(kvs.plain("DELETE", "/kv/b/k", &[("x-kvs-auth", &format!("guess{n}"))]).await.status, 401);
    }
    assert_eq!(kvs.plain("DELETE", "/kv/b/k", &[SECRET]).await.status, 429);
    assert_eq!(number(&kvs, "kvs_auth_failures_total").await, Some(5.0));
    assert_eq!(number(&kvs, "kvs_auth_throttled_total").await, Some(1.0));
}

async fn metrics_are_secret_or_off_if_so_configured(make: Make) {
    let kvs = showing(make, MetricsAccess::Secret);
    assert_eq!(kvs.get("/metrics").await.status, 401);
    for (secret, status) in [("s3cret", 200), ("writer", 403), ("elsewhere", 403), ("guess", 401)] {
        assert_eq!(kvs.plain("GET", "/metrics", &[("x-kvs-auth", secret)]).await.status, status, "{secret}");
    }
    let kvs = showing(make, MetricsAccess::Off);
    for method in ["GET", "HEAD", "OPTIONS", "POST"] {
        assert_eq!(kvs.plain(method, "/metrics", &[SECRET]).await.status, 404, "{method}");
    }
}

async fn metrics_have_a_process_label_if_there_are_several(make: Make) {
    let metrics = Metrics::new(MetricsAccess::Open, Some(4711), Time::from_secs(7));
    let kvs = endpoint(make, metrics);
    kvs.get("/livez").await;
    let several = kvs.get("/metrics").await;
    let several = several.text();
    let numbers =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert!(numbers(several).len() > 50);
    for line in numbers(several) {
        assert!(line.contains("process=\"4711\""), "{line}");
    }
    let alone = endpoint(make, Metrics::default()).get("/metrics").await;
    assert!(!alone.text().contains("process=\""));
    assert_eq!(alone.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(alone.text().ends_with("# EOF\n"));
    assert!(alone.text().contains(&format!("kvs_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))));
}
