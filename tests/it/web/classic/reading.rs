//! Reads: values, several keys, preconditions, content types, and errors.

use std::time::Duration;

use kvs::model::Revision;
use kvs::web::{ApiSettings, Reads};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, cases};

cases! {
    values_are_returned_byte_for_byte,
    newest_entry_is_returned_for_several_keys,
    errors_of_reads_are_one_line,
    reads_of_a_secret_bucket_need_a_secret,
    read_preconditions_are_evaluated,
    future_last_modified_is_not_sent,
    active_content_types_are_served_as_bytes,
    index_page_is_sent_if_accept_lists_html,
}

async fn values_are_returned_byte_for_byte(make: Make) {
    let kvs = Endpoint::new(make);
    let answer = kvs.form("greeting=%00%ff+caf%C3%A9%0A&auth=s3cret").await;
    assert_eq!((answer.status, answer.text()), (200, "OK"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let answer = kvs.get("/?k=greeting").await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, &b"\0\xff caf\xc3\xa9\n"[..]));
    assert_eq!(answer.header("content-length"), "9");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("kvs-key"), "greeting");
    assert_eq!(answer.header("last-modified"), "Fri, 20 Nov 2026 12:00:00 GMT");
    let tag = answer.header("etag");
    assert!(tag.starts_with('"') && tag.trim_matches('"').parse::<Revision>().is_ok(), "{tag}");
    let head = kvs.plain("HEAD", "/?k=greeting", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-length", "content-type", "etag", "last-modified", "kvs-key"] {
        assert_eq!(head.header(name), answer.header(name), "{name}");
    }
    kvs.form("empty=&auth=s3cret").await;
    let empty = kvs.get("/?k=empty").await;
    assert_eq!((empty.status, empty.body.len(), empty.header("content-length")), (200, 0, "0"));
}

async fn newest_entry_is_returned_for_several_keys(make: Make) {
    let kvs = Endpoint::new(make);
    for form in ["a=1&auth=s3cret", "auth=s3cret&b%2C=2", "c+%C3%A4=3&auth=s3cret"] {
        assert_eq!(kvs.form(form).await.status, 200, "{form}");
    }
    let cases = [
        ("/?k=a,c+%C3%A4", "3", "c%20%C3%A4"),
        ("/?k=a%2Cc%20%C3%A4", "3", "c%20%C3%A4"),
        ("/?k=c%20%C3%A4,a", "3", "c%20%C3%A4"),
        ("/?k=x,a,y&_=17", "1", "a"),
        ("/?k=a&k=x", "1", "a"),
        ("http://host/?k=a", "1", "a"),
    ];
    for (uri, value, winner) in cases {
        let answer = kvs.get(uri).await;
        assert_eq!((answer.status, answer.text(), answer.header("kvs-key")), (200, value, winner), "{uri}");
    }
    let before = kvs.get("/?k=a,c+%C3%A4").await.header("etag").to_owned();
    kvs.form("a=4&auth=s3cret").await;
    let after = kvs.get("/?k=a,c+%C3%A4").await;
    assert_eq!(after.text(), "4");
    assert_ne!(after.header("etag"), before);
}

async fn errors_of_reads_are_one_line(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.form("a=1&auth=s3cret").await;
    let cases = [
        ("GET", "/?k=missing", 404),
        ("GET", "/?k=", 400),
        ("GET", "/?k=,", 400),
        ("GET", "/?k=..", 400),
        ("GET", "/?k=%zz", 400),
        ("GET", "/?k=%ff", 400),
        ("GET", "/?k=%00", 400),
        ("GET", "/?k=a&wait=x", 400),
        ("GET", "/?k=a&wait=5s&seen=none", 400),
        ("GET", "/?k=a&auth=s3cret", 400),
        ("POST", "/?auth=s3cret", 400),
        ("GET", "/status?auth=s3cret", 400),
        ("GET", "/nowhere?auth=s3cret", 400),
        ("PUT", "/kv/_kvs.throttle?%61uth=s3cret", 400),
        ("GET", "/nowhere", 404),
        ("GET", "//", 400),
        ("GET", "/%2e%2e/etc/passwd", 400),
        ("GET", "/kv/_kvs.throttle", 404),
        ("PUT", "/", 405),
        ("DELETE", "/?k=a", 405),
        ("TRACE", "/", 405),
        ("POST", "/status", 405),
        ("PUT", "/kv/default", 405),
    ];
    for (method, uri, status) in cases {
        let answer = kvs.plain(method, uri, &[]).await;
        assert_eq!(answer.status, status, "{method} {uri}");
        let text = answer.text();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{method} {uri}: {text:?}");
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(answer.header("vary"), "Accept", "{method} {uri}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {uri}");
        let json = kvs.plain(method, uri, &[("accept", "application/json")]).await;
        assert_eq!((json.status, json.header("content-type")), (status, "application/problem+json"));
        assert!(json.text().contains(&format!("\"status\":{status}")), "{}", json.text());
    }
    assert_eq!(kvs.plain("PUT", "/", &[]).await.header("allow"), "GET, HEAD, POST, OPTIONS");
    let options = kvs.plain("OPTIONS", "/", &[]).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, POST, OPTIONS"));
    assert!(!options.headers.contains_key("access-control-allow-origin"));
    assert_eq!(kvs.plain("OPTIONS", "*", &[]).await.status, 204);
}

async fn reads_of_a_secret_bucket_need_a_secret(make: Make) {
    let kvs = Endpoint::with(make, |s| ApiSettings { policies: Reads::Secret.into(), ..s });
    kvs.form("a=1&auth=s3cret").await;
    assert_eq!(kvs.get("/?k=a").await.status, 401);
    assert_eq!(kvs.plain("GET", "/?k=a", &[("x-kvs-auth", "wrong")]).await.status, 401);
    assert_eq!(kvs.plain("GET", "/?k=a", &[("x-kvs-auth", "elsewhere")]).await.status, 403);
    let answer = kvs.plain("GET", "/?k=a", &[("authorization", "Bearer reader")]).await;
    assert_eq!((answer.status, answer.text(), answer.header("cache-control")), (200, "1", "private, no-cache"));
}

async fn read_preconditions_are_evaluated(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.form("a=1&auth=s3cret").await;
    let tag = kvs.get("/?k=a").await.header("etag").to_owned();
    let zipped = tag.trim_end_matches('"').to_owned() + "-gzip\"";
    let now = "Fri, 20 Nov 2026 12:00:00 GMT";
    let earlier = "Fri, 20 Nov 2026 11:59:59 GMT";
    let cases: [(Headers<'_>, u16); 12] = [
        (&[("if-none-match", &tag)], 304),
        (&[("if-none-match", &format!("\"x\", W/{tag}"))], 304),
        (&[("if-none-match", &zipped)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\""), ("if-modified-since", now)], 200),
        (&[("if-modified-since", now)], 304),
        (&[("if-modified-since", earlier)], 200),
        (&[("if-modified-since", "nonsense")], 200),
        (&[("if-match", &tag), ("if-none-match", &tag)], 304),
        (&[("if-match", "\"x\""), ("if-none-match", &tag)], 412),
        (&[("if-unmodified-since", earlier)], 412),
        (&[("if-unmodified-since", now)], 200),
    ];
    for (headers, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = kvs.plain(method, "/?k=a", headers).await;
            assert_eq!(answer.status, status, "{method} {headers:?}");
            if status == 304 {
                assert_eq!((answer.header("etag"), answer.header("last-modified")), (tag.as_str(), now));
                assert!(answer.body.is_empty() && !answer.headers.contains_key("content-length"));
                assert!(!answer.headers.contains_key("content-type"));
            }
            assert_eq!(kvs.plain(method, "/?k=missing", headers).await.status, 404, "{headers:?}");
        }
    }
    assert_eq!(kvs.get(&format!("/?k=a&seen={}", tag.trim_matches('"'))).await.status, 304);
    assert_eq!(kvs.get("/?k=a&seen=x").await.status, 200);
    assert_eq!(kvs.get("/?k=a&seen=none").await.status, 200);
}

async fn future_last_modified_is_not_sent(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.form("a=1&auth=s3cret").await;
    kvs.clock.advance(Duration::from_secs(5));
    kvs.form("a=2&auth=s3cret").await;
    kvs.clock.set("2026-11-20T12:00:01Z".parse().unwrap());
    assert_eq!(kvs.get("/?k=a").await.header("last-modified"), "Fri, 20 Nov 2026 12:00:01 GMT");
}

async fn active_content_types_are_served_as_bytes(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.ask("PUT", "/kv/default/json", &[("content-type", "application/json")], "{}").await;
    kvs.ask("PUT", "/kv/default/html", &[("content-type", "text/html")], "<script>").await;
    kvs.ask("PUT", "/kv/default/two", &[("content-type", "text/plain;a=,text/html")], "<script>").await;
    let json = kvs.get("/?k=json").await;
    assert_eq!((json.header("content-type"), json.header("content-disposition")), ("application/json", ""));
    for key in ["html", "two"] {
        let answer = kvs.get(&format!("/?k={key}")).await;
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-disposition"), "attachment");
        assert_eq!(answer.header("content-security-policy"), "sandbox");
        assert_eq!(answer.text(), "<script>");
    }
}

async fn index_page_is_sent_if_accept_lists_html(make: Make) {
    let kvs = Endpoint::new(make);
    let page = kvs.plain("GET", "/", &[("accept", "text/html,*/*;q=0.8")]).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none';", "script-src 'sha256-", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert!(page.text().contains("<form"));
    for accept in ["*/*", "application/json", "text/html;q=0"] {
        let usage = kvs.plain("GET", "/?_=1", &[("accept", accept)]).await;
        assert_eq!((usage.status, usage.header("content-type")), (200, "text/plain; charset=utf-8"));
        assert_eq!((usage.text().lines().count(), usage.header("vary")), (1, "Accept"));
    }
    let head = kvs.plain("HEAD", "/", &[("accept", "text/html")]).await;
    assert_eq!((head.body.len(), head.header("content-length")), (0, page.header("content-length")));
    assert_eq!(kvs.get("/status").await.text(), "ok");
}
