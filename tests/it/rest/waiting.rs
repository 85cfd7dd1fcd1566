//! Waiting reads of `/kv`: held until their tag would differ, answered at the end of their time.

use std::time::{Duration, Instant};

use super::{Answer, Endpoint, Headers, NOBODY};

/// Long enough to be told from an answer at once, on a machine that is busy.
const HELD: Duration = Duration::from_millis(150);
const SOON: Duration = Duration::from_secs(10);

/// Asks, does something a little later, and tells how long the answer took.
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

async fn told(kvs: &Endpoint, uri: &str) -> String {
    kvs.ask("GET", uri, &[], "").await.tag().trim_matches('"').to_owned()
}

#[tokio::test]
async fn news_of_an_entry_ends_the_wait() {
    let kvs = Endpoint::in_real_time();
    for (uri, question) in [("/kv/default/a", ""), ("/kv/default/a?meta", "&"), ("/kv/default?key=a//b", "&")] {
        kvs.put(uri, "1").await;
        let tag = told(&kvs, uri).await;
        let mark = if question.is_empty() { "?" } else { "&" };
        let quoted = format!("\"{tag}\"");
        let put = async |value: &'static str| kvs.put(uri, value).await.status;
        let prefers = [("prefer", "wait=20"), ("if-none-match", quoted.as_str())];
        let (answer, took) = meanwhile(&kvs, uri, &prefers, put("2")).await;
        assert!(answer.status == 200 && answer.tag() != quoted && took < SOON, "{uri}: {} {took:?}", answer.status);
        for seen in [told(&kvs, uri).await, format!("%22{}%22", told(&kvs, uri).await)] {
            let waiting = format!(
                "{uri}{mark}wait=20&seen={}",
                if seen.contains('%') { format!("%22{}%22", told(&kvs, uri).await) } else { seen }
            );
            let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], put("3")).await;
            assert!(answer.status == 200 && answer.text().contains('3') && took < SOON, "{waiting}");
        }
        let waiting = format!("{uri}{mark}wait=20&seen={}", told(&kvs, uri).await);
        let delete = async { kvs.delete(uri).await.status };
        let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], delete).await;
        assert!(answer.status == 404 && took < SOON, "{waiting}: {}", answer.status);
        let waiting = format!("{uri}{mark}wait=20&seen=none");
        let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], put("4")).await;
        assert!(answer.status == 200 && answer.text().contains('4') && took < SOON, "{waiting}");
    }
}

#[tokio::test]
async fn the_end_of_an_entry_ends_the_wait() {
    let kvs = Endpoint::in_real_time();
    kvs.put("/kv/default/a", "1").await;
    let waiting = format!("/kv/default/a?wait=20&seen={}", told(&kvs, "/kv/default/a").await);
    // A touch alone is no news of the entry, but who waits learns of the new end.
    let touch = async { kvs.post("/kv/default/a?op=touch&ttl=1", "").await.status };
    let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], touch).await;
    assert!(answer.status == 404 && took > Duration::from_secs(1) && took < SOON, "{} {took:?}", answer.status);
}

#[tokio::test]
async fn every_way_to_write_wakes_who_waits() {
    let kvs = Endpoint::in_real_time();
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
            if kvs.stored("default", "a").await.is_some() { told(&kvs, "/kv/default/a").await } else { "none".into() };
        let waiting = format!("/kv/default/a?wait=20&seen={seen}");
        let change = async {
            let headers: Headers<'_> = if uri.starts_with("/kv") { &[] } else { &[super::JSON] };
            kvs.ask(method, uri, headers, body).await.status
        };
        let (answer, took) = meanwhile(&kvs, &waiting, &[NOBODY], change).await;
        let due = if method == "DELETE" { 404 } else { 200 };
        assert!(answer.status == due && took < SOON, "{method} {uri}: {} {took:?}", answer.status);
    }
}

#[tokio::test]
async fn news_of_a_list_ends_the_wait() {
    let kvs = Endpoint::in_real_time();
    kvs.put("/kv/listed/p1", "1").await;
    for uri in ["/kv/listed?prefix=p", "/kv/listed?keys&prefix=p", "/kv/listed?count", "/kv/listed?format=text"] {
        let waiting = format!("{uri}&wait=20&seen={}", told(&kvs, uri).await);
        let (answer, took) =
            meanwhile(&kvs, &waiting, &[NOBODY], async { kvs.put("/kv/listed/p2", "1").await.status }).await;
        assert!(answer.status == 200 && took < SOON, "{uri}: {}", answer.status);
        kvs.delete("/kv/listed/p2").await;
    }
    let uri = "/kv/listed?prefix=p";
    let touch = async { kvs.post("/kv/listed/p1?op=touch&ttl=60", "").await.status };
    let (answer, took) =
        meanwhile(&kvs, &format!("{uri}&wait=20&seen={}", told(&kvs, uri).await), &[NOBODY], touch).await;
    assert!(answer.status == 200 && took < SOON, "an end that moved is news of a list: {}", answer.status);
}

#[tokio::test(start_paused = true)]
async fn the_wait_ends_and_what_is_no_news_does_not_end_it() {
    let kvs = Endpoint::new();
    kvs.put("/kv/default/a", "1").await;
    kvs.put("/kv/listed/a", "1").await;
    let tag = told(&kvs, "/kv/default/a").await;
    let list = told(&kvs, "/kv/listed?prefix=a").await;
    for (uri, status, seconds) in [
        (format!("/kv/default/a?wait=3&seen={tag}"), 304, 3),
        (format!("/kv/default/a?meta&wait=3&seen={tag}"), 304, 3),
        (format!("/kv/default/a?wait=9999&seen={tag}"), 304, 25),
        (format!("/kv/default/a?wait=0&seen={tag}"), 304, 0),
        ("/kv/default/a?wait=20&seen=other".to_owned(), 200, 0),
        ("/kv/default/a?wait=20&seen=none".to_owned(), 200, 0),
        ("/kv/default/a?wait=20".to_owned(), 200, 0),
        ("/kv/default/none?wait=4&seen=none".to_owned(), 404, 4),
        (format!("/kv/default/none?wait=4&seen={tag}"), 404, 0),
        (format!("/kv/listed?prefix=a&wait=3&seen={list}"), 304, 3),
        ("/kv/default/a?wait=soon".to_owned(), 400, 0),
    ] {
        let start = tokio::time::Instant::now();
        let others = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            kvs.put("/kv/default/b", "2").await;
            kvs.put("/kv/listed/b", "2").await;
            kvs.post("/kv/default/a?op=touch&ttl=600", "").await;
        };
        let ask = async {
            let answer = kvs.get(&uri).await;
            (answer.status, start.elapsed().as_secs())
        };
        let (found, ()) = tokio::join!(ask, others);
        assert_eq!(found, (status, seconds), "{uri}");
    }
}

#[tokio::test]
async fn a_bucket_by_dates_waits_for_its_tags_as_well() {
    let kvs = Endpoint::in_real_time();
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
