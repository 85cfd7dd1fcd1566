//! Which requests are answered from the cache.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::{Endpoint, Headers, TRANSPORTS, Transport};
use crate::server::echo::random;
use crate::server::fastcgi_client::params;

/// A little longer than the second for which a response is cached.
const LONG: Duration = Duration::from_millis(1100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_request_is_answered_from_the_cache_for_one_second() {
    for transport in TRANSPORTS {
        let endpoint = Endpoint::new(transport);
        endpoint.put("default", "a", "1").await;
        let first = endpoint.fresh_response().await;
        assert!(first.ends_with("\r\n\r\n1"), "{first}");
        for _ in 0..3 {
            let (again, called) = endpoint.ask(("GET", "/?k=a"), &[]).await;
            assert_eq!((again.as_str(), called), (first.as_str(), false));
        }
        sleep(LONG).await;
        assert_eq!(endpoint.fresh_response().await, first);
        endpoint.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_response_depends_on_the_request_and_not_on_the_client() {
    let endpoint = Endpoint::new(Transport::Spawned);
    endpoint.put("default", "a", "1").await;
    let asked = |pairs: &[(&str, &str)]| {
        let usual =
            [("REMOTE_ADDR", "192.0.2.1"), ("REMOTE_PORT", "4000"), ("HTTP_USER_AGENT", "Roku"), ("UNIQUE_ID", "x")];
        let address = [("HTTP_ACCEPT", "*/*"), ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/?k=a")];
        let all = usual.into_iter().chain(address).map(|(name, value)| {
            let changed = pairs.iter().find(|(changed, _)| *changed == name).map_or(value, |(_, value)| value);
            (name, changed.as_bytes())
        });
        params(&all.collect::<Vec<_>>())
    };
    let first = endpoint.sent(&asked(&[]), b"").await;
    let others =
        [("REMOTE_ADDR", "2001:db8::7"), ("REMOTE_PORT", "50000"), ("HTTP_USER_AGENT", "ESP32"), ("UNIQUE_ID", "y")];
    assert_eq!(endpoint.sent(&asked(&others), b"").await, first);
    assert_eq!(endpoint.calls.load(Ordering::SeqCst), 1);
    for (n, (name, value)) in [
        ("REQUEST_METHOD", "HEAD"),
        ("REQUEST_URI", "/?k=b"),
        ("REQUEST_URI", "/kv/default/a"),
        ("REQUEST_URI", "/?k=a&"),
        ("HTTP_ACCEPT", "application/json"),
    ]
    .into_iter()
    .enumerate()
    {
        endpoint.sent(&asked(&[(name, value)]), b"").await;
        assert_eq!(endpoint.calls.load(Ordering::SeqCst), n + 2, "{name}: {value}");
    }
    // A body that was not announced.
    let refused = endpoint.sent(&asked(&[]), b"x").await;
    assert!(refused.starts_with("Status: 411 "), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_the_request_are_respected_each_time() {
    for transport in TRANSPORTS {
        let endpoint = Endpoint::new(transport);
        endpoint.put("default", "a", "1").await;
        let (first, _) = endpoint.ask(("GET", "/?k=a"), &[]).await;
        let tag = first.split("\r\nEtag: ").nth(1).unwrap().split('\r').next().unwrap();
        let requests: [(Headers<'_>, &str); 6] = [
            (&[], "200"),
            (&[("if-none-match", tag)], "304"),
            (&[("if-none-match", "\"other\"")], "200"),
            (&[("if-match", "\"other\"")], "412"),
            (&[("origin", "https://app.example")], "200"),
            (&[("x-kvs-auth", "wrong")], "200"),
        ];
        let mut cached = 0;
        for _ in 0..3 {
            for (headers, status) in requests {
                let (text, called) = endpoint.ask(("GET", "/?k=a"), headers).await;
                assert!(text.starts_with(&format!("Status: {status} ")), "{headers:?}: {text}");
                assert!(called || status != "412", "{text}");
                cached += usize::from(!called);
            }
        }
        // At most ten, if it takes less than a second.
        assert!(cached >= 3, "{cached} responses came from the cache");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_long_polls_go_to_the_api_each_time() {
    for transport in TRANSPORTS {
        let endpoint = Endpoint::new(transport);
        endpoint.put("secret", "a", "hidden").await;
        let right: Headers<'_> = &[("x-kvs-auth", "s3cret")];
        for (uri, headers, status) in [
            ("/kv/secret/a", right, "200"),
            ("/kv/secret/a", &[][..], "401"),
            ("/kv/secret", right, "200"),
            ("/kv/default?limit=3", right, "200"),
            ("/?k=a&seen=none&wait=1", &[], "404"),
            ("/metrics", &[], "200"),
            ("/status", &[], "200"),
        ] {
            for _ in 0..2 {
                let before = endpoint.calls.load(Ordering::SeqCst);
                let text = endpoint.server_response(("GET", uri), headers).await;
                assert!(text.starts_with(&format!("Status: {status} ")), "{uri}: {text}");
                assert_eq!(endpoint.calls.load(Ordering::SeqCst) - before, 1, "{uri}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_is_counted() {
    for transport in TRANSPORTS {
        let endpoint = Endpoint::new(transport);
        endpoint.put("default", "a", "four").await;
        for _ in 0..10 {
            endpoint.server_response(("GET", "/?k=a"), &[]).await;
        }
        assert_eq!(endpoint.calls.load(Ordering::SeqCst), 1);
        let text = endpoint.server_response(("GET", "/metrics"), &[]).await;
        let number =
            |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().rsplit(' ').next().unwrap();
        assert_eq!(number("kvs_requests_total{route=\"root\",method=\"GET\",status=\"200\"}"), "10", "{text}");
        assert_eq!(number("kvs_response_body_bytes_total"), "40", "{text}");
    }
}

/// The next response on a kept connection.
async fn next_response(from: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> String {
    loop {
        if let Some(end) = memchr::memmem::find(received, b"\r\n\r\n").map(|at| at + 4) {
            let head = std::str::from_utf8(&received[..end]).unwrap().to_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            if received.len() >= end + length {
                let rest = received.split_off(end + length);
                return String::from_utf8(std::mem::replace(received, rest)).unwrap();
            }
        }
        assert!(from.read_buf(received).await.unwrap() > 0, "broken off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_sees_each_write_between_its_reads() {
    let endpoint = Endpoint::new(Transport::Http);
    let mut requests = String::new();
    for n in 1..=20 {
        let form = format!("a={n}&auth=s3cret");
        let head = "POST / HTTP/1.1\r\nHost: kvs.test\r\nContent-Type: application/x-www-form-urlencoded";
        write!(requests, "{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()).unwrap();
        requests.push_str(&"GET /?k=a HTTP/1.1\r\nHost: kvs.test\r\nConnection: keep-alive\r\n\r\n".repeat(3));
    }
    let mut socket = UnixStream::connect(endpoint.folder.path().join("s")).await.unwrap();
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut received = vec![];
    for n in 1..=20 {
        assert!(next_response(&mut socket, &mut received).await.ends_with("\r\n\r\nOK"));
        for _ in 0..3 {
            let text = next_response(&mut socket, &mut received).await;
            assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with(&format!("\r\n\r\n{n}")), "{n}: {text}");
        }
    }
    assert!(endpoint.calls.load(Ordering::SeqCst) < 80, "some responses are sent again");
}

/// The client reads late, so that responses wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_get_their_own_responses() {
    let endpoint = Endpoint::new(Transport::Http);
    let value = |name: &str| format!("{name} ").repeat(if name == "a" { 7_000 } else { 900 });
    for name in ["a", "b", "c"] {
        endpoint.put("default", name, &value(name)).await;
    }
    let mut state = 0x0717;
    let names: Vec<&str> =
        (0..600).map(|_| ["a", "b", "c", "none"][usize::try_from(random(&mut state) % 4).unwrap()]).collect();
    let requests: String =
        names.iter().map(|name| format!("GET /?k={name} HTTP/1.1\r\nHost: kvs.test\r\n\r\n")).collect();
    let socket = UnixStream::connect(endpoint.folder.path().join("s")).await.unwrap();
    let (mut from, mut to) = socket.into_split();
    let sending = tokio::spawn(async move {
        to.write_all(requests.as_bytes()).await.unwrap();
        to
    });
    sleep(Duration::from_millis(300)).await;
    let mut received = vec![];
    for (n, name) in names.iter().enumerate() {
        let (status, expected) = if *name == "none" { (404, String::new()) } else { (200, value(name)) };
        if n % 50 == 0 {
            sleep(Duration::from_millis(2)).await;
        }
        let text = next_response(&mut from, &mut received).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{n}: {name}: {text:.200}");
        assert!(status == 404 || text.ends_with(&format!("\r\n\r\n{expected}")), "{n}: {name}: {text:.200}");
    }
    drop(sending.await.unwrap());
    assert!(received.is_empty());
    assert!(endpoint.calls.load(Ordering::SeqCst) < names.len(), "some responses are sent again");
}
