//! Cache poisoning: a shared cache keys a response by its URL, so no header that is not in `Vary` may change a response
//! that it may keep.

use std::collections::BTreeMap;
use std::time::Duration;

use kvs::model::Bucket;
use kvs::web::{ApiSettings, Cors, Policies, Policy};

use crate::store::named;
use crate::support::endpoint::{Answer, Endpoint};

const HOST: (&str, &str) = ("host", "kvs.example");

/// Headers that other programs use to find out the URL, the method or the client.
const UNKEYED: [(&str, &str); 30] = [
    ("host", "evil.example"),
    ("host", "kvs.example:1337"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-server", "evil.example"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-scheme", "nothttps"),
    ("x-forwarded-port", "1337"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1;host=evil.example;proto=http"),
    ("x-host", "evil.example"),
    ("x-original-url", "/status"),
    ("x-rewrite-url", "/status"),
    ("x-original-host", "evil.example"),
    ("x-http-method-override", "DELETE"),
    ("x-http-method-override", "POST"),
    ("x-http-method", "PUT"),
    ("x-method-override", "PUT"),
    ("x-kvs-auth", ""),
    ("cookie", "a=b"),
    ("user-agent", "<script>"),
    ("referer", "https://evil.example/"),
    ("origin", "https://evil.example"),
    ("accept-language", "xx"),
    ("accept-encoding", "gzip, br"),
    ("accept-charset", "utf-7"),
    ("content-type", "text/html"),
    ("content-encoding", "gzip"),
    ("transfer-encoding", "identity"),
];

/// Headers that may change a response, if it says so in `Vary`.
const VARYING: [(&str, &str); 9] = [
    ("accept", "text/html"),
    ("accept", "application/json"),
    ("accept", "application/problem+json"),
    ("origin", "https://app.example"),
    ("if-match", "\"x\""),
    ("if-unmodified-since", "Thu, 01 Jan 2004 00:00:00 GMT"),
    ("x-if-match", "\"x\""),
    ("prefer", "wait=0"),
    ("want-content-digest", "sha-512=1"),
];

const URLS: [&str; 9] = [
    "/kv/default/a",
    "/?k=a",
    "/kv/default/none",
    "/?k=none",
    "/",
    "/help",
    "/openapi.json",
    "/kv/default/a?meta",
    "/x",
];

async fn endpoint(cors: Cors) -> Endpoint {
    let policy = Policy { max_age: Some(Duration::from_secs(60)), ..Policy::default() };
    let policies = Policies { by_bucket: [(Bucket::default(), policy)].into(), ..Policies::default() };
    let kvs = Endpoint::with(named("memory"), |settings| ApiSettings { policies, cors, ..settings });
    kvs.put("/kv/default/a", "1").await;
    kvs
}

/// All that a cache would keep.
fn kept(answer: &Answer) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (answer.status, headers.collect(), answer.body.to_vec())
}

fn varies(answer: &Answer, name: &str) -> bool {
    answer.header("vary").split(',').any(|member| member.trim().eq_ignore_ascii_case(name))
}

#[tokio::test]
async fn headers_that_a_cache_does_not_know_change_no_response() {
    for cors in [Cors::Off, Cors::Any] {
        let kvs = endpoint(cors).await;
        for url in URLS {
            let plain = kvs.plain("GET", url, &[HOST]).await;
            for header in UNKEYED {
                let headers = if header.0 == "host" { vec![header] } else { vec![HOST, header] };
                let answer = kvs.plain("GET", url, &headers).await;
                assert_eq!(kept(&answer), kept(&plain), "{url} {header:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_response_varies_with_each_header_that_changes_it() {
    let kvs = endpoint(Cors::Of(vec!["https://app.example".parse().unwrap()])).await;
    let mut changed = 0;
    for url in URLS {
        let plain = kvs.plain("GET", url, &[HOST]).await;
        for header in VARYING {
            let answer = kvs.plain("GET", url, &[HOST, header]).await;
            if (answer.status, &answer.body) == (plain.status, &plain.body)
                && answer.header("access-control-allow-origin") == plain.header("access-control-allow-origin")
            {
                continue;
            }
            changed += 1;
            let is_kept = plain.header("cache-control").contains("s-maxage");
            assert!(!is_kept || varies(&plain, header.0), "{url} {header:?}: {:?}", plain.headers);
            let is_kept = !["no-store", "no-cache"].iter().any(|word| answer.header("cache-control").contains(word));
            assert!(!is_kept || varies(&answer, header.0), "{url} {header:?}: {:?}", answer.headers);
        }
    }
    assert!(changed >= 10, "only {changed} responses were changed, so the test shows nothing");
}

/// A response that is meant for one client is not kept by a shared cache.
#[tokio::test]
async fn responses_to_secrets_and_errors_are_not_shared() {
    let kvs = endpoint(Cors::Off).await;
    for (url, headers) in [
        ("/kv/secret/a", &[HOST, ("x-kvs-auth", "s3cret")][..]),
        ("/kv/default", &[HOST, ("x-kvs-auth", "s3cret")]),
        ("/kv/default", &[HOST, ("x-kvs-auth", "wrong")]),
        ("/kv/default", &[HOST]),
        ("/kv/default/a?x=%zz", &[HOST]),
        ("/kv/default/a?auth=s3cret", &[HOST]),
        ("/kv/default/a?wait=0", &[HOST]),
        ("/kv/default/%61", &[HOST]),
        ("/kv/default/a", &[HOST, ("if-match", "\"x\"")]),
    ] {
        let answer = kvs.plain("GET", url, headers).await;
        assert!(!answer.header("cache-control").contains("s-maxage"), "{url} {headers:?}: {:?}", answer.headers);
        assert!(!answer.header("cache-control").contains("public"), "{url} {headers:?}: {:?}", answer.headers);
    }
}
