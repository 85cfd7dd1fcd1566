//! Long polls of `/kv`: held until the tag changes, answered at the latest when the wait ends.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kvs::web::LongPollLimit;

use crate::store::Make;
use crate::support::endpoint::{Answer, Endpoint, Headers, JSON, NOBODY, assert_passed, cases};

cases! {
    change_of_an_entry_ends_the_wait,
    expiry_of_an_entry_ends_the_wait,
    each_kind_of_write_ends_the_wait,
    change_of_a_list_ends_the_wait,
    long_polls_work_in_buckets_with_client_timestamps,
    long_polls_over_the_limit_get_retry_after,
}

cases! { in paused time:
    wait_times_out_and_other_writes_do_not_end_it,
}

/// Longer than an immediate response takes on a busy machine.
const HELD: Duration = Duration::from_millis(150);
const SOON: Duration = Duration::from_secs(10);

/// Sends a read, does something a little later, and returns the response and how long it took.
async fn meanwhile(
    kvs: &Endpoint,
    uri: &str,
    headers: Headers<'_>,
    then: impl Future<Output = u16>,
) -> (Answer, Duration) {
    let start = Instant::now();
    let late = async {
        tokio::time::sleep(HELD).await;
        let status = then.await;
        assert!(matches!(status, 200 | 201), "{status}");
    };
    let ask = async {
        let answer = kvs.ask("GET", uri, headers, "").await;
        (answer, start.elapsed())
    };
    let ((answer, took), ()) = tokio::join!(ask, late);
    assert!(took >= HELD, "{uri}: was not held");
    (answer, took)
}

async fn etag(kvs: &Endpoint, uri: &str) -> String {
    kvs.ask("GET", uri, &[], "").await.tag().trim_matches('"').to_owned()
}

async fn change_of_an_entry_ends_the_wait(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    for (uri, query) in [("/kv/default/a", ""), ("/kv/default/a?meta", "&"), ("/kv/default?key=a//b", "&")] {
        kvs.put(uri, "1").await;
        let tag = etag(&kvs, uri).await;
        let mark = if query.is_empty() { "?" } else { "&" };
        let quoted = format!("\"{tag}\"");
        let put = async |value: &'static str| kvs.put(uri, value).await.status;
        let prefers = [("prefer", "wait=20"), ("if-none-match", quoted.as_str())];
        let (answer, took) = meanwhile(&kvs, uri, &prefers, put("2")).await;
        assert!(answer.status == 200 && answer.tag() != quoted && took < SOON, "{uri}: {} {took:?}", answer.status);
        for quote in ["", "%22"] {
            let waiting = format!("{uri}{mark}wait=20&seen={quote}{}{quote}", etag(&kvs, uri).await);
            let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], put("3")).await;
            assert!(answer.status == 200 && answer.text().contains('3') && took < SOON, "{waiting}");
        }
        let waiting = format!("{uri}{mark}wait=20&seen={}", etag(&kvs, uri).await);
        let delete = async { kvs.delete(uri).await.status };
        let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], delete).await;
        assert!(answer.status == 404 && took < SOON, "{waiting}: {}", answer.status);
        let waiting = format!("{uri}{mark}wait=20&seen=none");
        let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], put("4")).await;
        assert!(answer.status == 200 && answer.text().contains('4') && took < SOON, "{waiting}");
    }
}

async fn expiry_of_an_entry_ends_the_wait(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    kvs.put("/kv/default/a", "1").await;
    let waiting = format!("/kv/default/a?wait=20&seen={}", etag(&kvs, "/kv/default/a").await);
    // A touch alone does not change the entry, but the long poll learns the new expiry.
    let touch = async { kvs.post("/kv/default/a?op=touch&ttl=1", "").await.status };
    let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], touch).await;
    assert!(answer.status == 404 && took > Duration::from_secs(1) && took < SOON, "{} {took:?}", answer.status);
}

async fn each_kind_of_write_ends_the_wait(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    for (method, uri, body) in [
        ("PUT", "/kv/default/a", "1"),
        ("POST", "/kv/default/a?op=incr", ""),
        ("POST", "/kv/default/a?op=append", "1"),
        ("PUT", "/multi/default", r#"[{"key":"a","data":"7"}]"#),
        ("POST", "/txn/default", r#"{"ops":[{"op":"incr","key":"a"}]}"#),
        ("DELETE", "/multi/default", r#"["a"]"#),
        ("PUT", "/kv/default/a", "1"),
        ("DELETE", "/kv/default?prefix=a", ""),
    ] {
        let seen =
            if kvs.stored("default", "a").await.is_some() { etag(&kvs, "/kv/default/a").await } else { "none".into() };
        let waiting = format!("/kv/default/a?wait=20&seen={seen}");
        let change = async {
            let headers: Headers<'_> = if uri.starts_with("/kv") { &[] } else { &[JSON] };
            kvs.ask(method, uri, headers, body).await.status
        };
        let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], change).await;
        let expected = if method == "DELETE" { 404 } else { 200 };
        assert!(answer.status == expected && took < SOON, "{method} {uri}: {} {took:?}", answer.status);
    }
}

async fn change_of_a_list_ends_the_wait(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    kvs.put("/kv/listed/p1", "1").await;
    for uri in ["/kv/listed?prefix=p", "/kv/listed?keys&prefix=p", "/kv/listed?count", "/kv/listed?format=text"] {
        let waiting = format!("{uri}&wait=20&seen={}", etag(&kvs, uri).await);
        let (answer, took) =
            meanwhile(&kvs, &waiting, &[NOBODY], async { kvs.put("/kv/listed/p2", "1").await.status }).await;
        assert!(answer.status == 200 && took < SOON, "{uri}: {}", answer.status);
        kvs.delete("/kv/listed/p2").await;
    }
    let uri = "/kv/listed?prefix=p";
    let touch = async { kvs.post("/kv/listed/p1?op=touch&ttl=60", "").await.status };
    let (answer, took) =
        meanwhile(&kvs, &format!("{uri}&wait=20&seen={}", etag(&kvs, uri).await), &[NOBODY], touch).await;
    assert!(answer.status == 200 && took < SOON, "a changed expiry changes a list: {}", answer.status);
}

async fn wait_times_out_and_other_writes_do_not_end_it(make: Make) {
    let kvs = Endpoint::waiting(make, 5, LongPollLimit::new(100));
    kvs.put("/kv/default/a", "1").await;
    kvs.put("/kv/listed/a", "1").await;
    let tag = etag(&kvs, "/kv/default/a").await;
    let list = etag(&kvs, "/kv/listed?prefix=a").await;
    let cases = [
        (format!("/kv/default/a?wait=1&seen={tag}"), 304, 1),
        (format!("/kv/default/a?meta&wait=1&seen={tag}"), 304, 1),
        (format!("/kv/default/a?wait=9999&seen={tag}"), 304, 5),
        (format!("/kv/default/a?wait=0&seen={tag}"), 304, 0),
        ("/kv/default/a?wait=20&seen=other".to_owned(), 200, 0),
        ("/kv/default/a?wait=20&seen=none".to_owned(), 200, 0),
        ("/kv/default/a?wait=20".to_owned(), 200, 0),
        ("/kv/default/none?wait=2&seen=none".to_owned(), 404, 2),
        (format!("/kv/default/none?wait=4&seen={tag}"), 404, 0),
        (format!("/kv/listed?prefix=a&wait=1&seen={list}"), 304, 1),
        ("/kv/default/a?wait=soon".to_owned(), 400, 0),
    ];
    let start = tokio::time::Instant::now();
    let others = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            kvs.put("/kv/default/b", "2").await;
            kvs.put("/kv/listed/b", "2").await;
            kvs.post("/kv/default/a?op=touch&ttl=600", "").await;
        }
    };
    let waits = cases.iter().map(async |(uri, status, seconds)| {
        assert_eq!(kvs.get(uri).await.status, *status, "{uri}");
        assert_passed(*seconds, start, uri);
    });
    tokio::join!(join_all(waits), others);
}

async fn long_polls_work_in_buckets_with_client_timestamps(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    let (monday, tuesday) = ("Mon, 16 Nov 2026 08:00:00 GMT", "Tue, 17 Nov 2026 08:00:00 GMT");
    let put = async |at: &str| kvs.ask("PUT", "/kv/poky/a", &[("if-unmodified-since", at)], "1").await.status;
    put(monday).await;
    let quoted = format!("\"{monday}\"");
    let prefers = [("prefer", "wait=20"), ("if-none-match", quoted.as_str())];
    let (answer, took) = meanwhile(&kvs, "/kv/poky/a", &prefers, put(tuesday)).await;
    assert!(answer.status == 200 && answer.tag().contains(tuesday) && took < SOON);
    let waiting = "/kv/poky/none?wait=20&seen=none";
    let (answer, _) = meanwhile(&kvs, waiting, &[NOBODY], async { kvs.put("/kv/poky/none", "1").await.status }).await;
    assert_eq!(answer.status, 200);
}

async fn long_polls_over_the_limit_get_retry_after(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(0));
    for uri in ["/kv/default/a", "/kv/default/a?meta", "/kv/listed?keys"] {
        kvs.put("/kv/default/a", "1").await;
        let mark = if uri.contains('?') { '&' } else { '?' };
        let answer = kvs.get(&format!("{uri}{mark}wait=20&seen={}", etag(&kvs, uri).await)).await;
        assert_eq!(answer.status, 304, "{uri}");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0, "{uri}");
    }
    let answer = kvs.get("/kv/default/none?wait=20&seen=none").await;
    assert_eq!((answer.status, answer.header("retry-after").is_empty()), (404, false));
}
