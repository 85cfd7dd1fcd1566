//! Lists, and the status page.

use std::time::{Duration, Instant};

use kvs::model::ErrorKind;

use crate::store::Make;
use crate::support::doubles::Failing;
use crate::support::endpoint::{Answer, Endpoint, Headers, assert_passed, cases, request};

cases! {
    lists_need_a_secret,
    lists_have_pages,
    etag_of_a_list_changes_with_its_content,
    long_poll_waits_for_a_list,
    pages_of_large_values_are_shorter,
}

cases! { in paused time:
    long_poll_of_a_list_returns_when_an_entry_expires,
}

const SECRET: Headers<'_> = &[("x-kvs-auth", "reader")];

async fn filled(make: Make) -> Endpoint {
    let kvs = Endpoint::new(make);
    let form = "c=3&a=1&b%2Fx=2&b%2Fy=%ff&%C3%A4=5&auth=s3cret";
    assert_eq!(kvs.form(form).await.status, 200);
    kvs
}

async fn list(kvs: &Endpoint, query: &str) -> Answer {
    kvs.plain("GET", &format!("/kv/default?{query}"), SECRET).await
}

async fn lists_need_a_secret(make: Make) {
    let kvs = filled(make).await;
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
            let answer = kvs.plain("GET", uri, headers).await;
            assert_eq!(answer.status, status, "{uri} {headers:?}");
            assert_eq!(status == 200, answer.text().contains("b/x"), "{uri} {headers:?}");
        }
        // One wrong secret per case, so that the next case is not paused.
        kvs.clock.advance(Duration::from_secs(16 * 60));
    }
}

async fn lists_have_pages(make: Make) {
    let kvs = filled(make).await;
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
        kvs.plain("GET", "/kv/nobody", &[("x-kvs-auth", "s3cret")]).await.text(),
        r#"{"entries":[],"cursor":null}"#
    );
    let entries: serde_json::Value = serde_json::from_slice(&list(&kvs, "").await.body).unwrap();
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["value"], &entries[2]["base64"]), (5, &"1".into(), &"/w==".into()));
    let tag = kvs.get("/?k=a").await.header("etag").trim_matches('"').to_owned();
    assert_eq!(entries[0]["revision"], tag);
    assert!(entries[0]["updated"].as_str().unwrap().starts_with("2026-11-20T12:00:00.25"));
}

async fn etag_of_a_list_changes_with_its_content(make: Make) {
    let kvs = filled(make).await;
    let tag = |answer: Answer| answer.header("etag").to_owned();
    let before = tag(list(&kvs, "prefix=b").await);
    assert_ne!(before, tag(list(&kvs, "prefix=c").await));
    kvs.form("c=4&auth=s3cret").await;
    assert_eq!(before, tag(list(&kvs, "prefix=b").await));
    let answer = kvs.plain("GET", "/kv/default?prefix=b", &[SECRET[0], ("if-none-match", &before)]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    kvs.form("b%2Fz=1&auth=s3cret").await;
    assert_ne!(before, tag(list(&kvs, "prefix=b").await));
}

async fn long_poll_waits_for_a_list(make: Make) {
    let kvs = filled(make).await;
    let seen = list(&kvs, "").await.header("etag").trim_matches('"').to_owned();
    let start = Instant::now();
    let query = format!("wait=20&seen={seen}");
    let later = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        kvs.form("new=1&auth=s3cret").await;
    };
    let (answer, ()) = tokio::join!(list(&kvs, &query), later);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\"new\""));
    assert!(start.elapsed() >= Duration::from_millis(150) && start.elapsed() < Duration::from_secs(10));
}

async fn long_poll_of_a_list_returns_when_an_entry_expires(make: Make) {
    // If the list shows entries, the expiry is known; keys and counts are checked again and again.
    for (shape, seconds) in [("entries", 1), ("keys", 5), ("count", 5)] {
        let kvs = filled(make).await;
        let form = kvs::web::Body::from("ends=1&auth=s3cret");
        assert_eq!(kvs.send(request("POST", "/?ttl=1", &[], form)).await.status, 200);
        let seen = list(&kvs, shape).await.header("etag").trim_matches('"').to_owned();
        let start = tokio::time::Instant::now();
        let query = format!("{shape}&wait=20&seen={seen}");
        let ask = async {
            let answer = list(&kvs, &query).await;
            assert_passed(seconds, start, shape);
            answer
        };
        let later = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            kvs.clock.advance(Duration::from_secs(1));
        };
        let (answer, ()) = tokio::join!(ask, later);
        assert_eq!(answer.status, 200, "{shape}");
        assert!(!answer.text().contains("\"ends\""), "{shape}");
    }
}

async fn pages_of_large_values_are_shorter(make: Make) {
    static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];
    let kvs = Endpoint::new(make);
    for key in 10..30 {
        assert_eq!(kvs.put(&format!("/kv/default/{key}"), &LARGE[..]).await.status, 201);
    }
    let first = list(&kvs, "limit=1000").await;
    assert!(first.body.len() < 17 << 20 && first.text().ends_with(r#""cursor":"25"}"#));
    let second = list(&kvs, "limit=1000&after=25").await;
    assert!(second.text().contains(r#""key":"26""#) && second.text().ends_with(r#""cursor":null}"#));
}

#[tokio::test]
async fn store_errors_do_not_show_the_folder() {
    let cases = [
        (ErrorKind::Corrupt, 500, 500, "default.yaml, line 12: not YAML; mend it by hand\n"),
        (ErrorKind::Unavailable, 500, 500, ""),
        (ErrorKind::StorageFull, 507, 507, ""),
        (ErrorKind::Busy, 503, 200, "ok"),
    ];
    for (kind, write, status, text) in cases {
        let text_of_it = "/srv/kvs/data/default.yaml, line 12: not YAML; mend it by hand";
        let failing = Failing { kind, text: text_of_it, serves_reads: true, spares_reserved: true };
        let kvs = Endpoint::failing(failing.store());
        let answer = kvs.form("a=1&auth=s3cret").await;
        assert_eq!(answer.status, write, "{kind:?}");
        assert_eq!(answer.headers.contains_key("retry-after"), kind == ErrorKind::Busy);
        assert!(!answer.text().contains("srv") && !answer.text().contains("default.yaml"));
        let answer = kvs.get("/status").await;
        assert_eq!(answer.status, status, "{kind:?}");
        assert!(!answer.text().contains("srv") && answer.text().contains(text), "{}", answer.text());
        for n in 0..5 {
            assert_eq!(kvs.form(&format!("a=1&auth=wrong{n}")).await.status, 401, "{kind:?}");
        }
        assert_eq!(kvs.form("a=1&auth=s3cret").await.status, 429, "{kind:?}");
    }
}
