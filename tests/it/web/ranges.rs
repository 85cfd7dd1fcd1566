//! Parts of values, and digests of bodies.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, cases};

cases! {
    a_part_of_a_value_is_returned,
    a_part_is_only_of_the_same_version,
    ranges_of_other_reads_are_ignored,
    a_body_with_another_digest_is_refused,
    large_values_have_a_digest_if_it_is_wanted,
}

const KEY: &str = "/kv/default/image";
/// That of `0123456789`.
const DIGEST: &str = "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:";

async fn a_part_of_a_value_is_returned(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put(KEY, "0123456789").await;
    let whole = kvs.get(KEY).await;
    assert_eq!((whole.status, whole.header("accept-ranges"), whole.header("content-length")), (200, "bytes", "10"));
    let read = async |range: &str| kvs.ask("GET", KEY, &[NOBODY, ("range", range)], "").await;
    for (range, part, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=9-99", "9", "bytes 9-9/10"),
        ("bytes=0-", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = read(range).await;
        assert_eq!(
            (answer.status, answer.text(), answer.header("content-range")),
            (206, part, content_range),
            "{range}"
        );
        assert_eq!(answer.header("content-length"), part.len().to_string());
        assert_eq!((answer.tag(), answer.header("content-type")), (whole.tag(), whole.header("content-type")));
        assert!(answer.header("content-digest").starts_with("sha-256=:"));
    }
    for range in ["bytes=10-", "bytes=-0"] {
        let answer = read(range).await;
        assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */10"), "{range}");
    }
    for range in ["bytes=0-1,4-5", "bytes=3-1", "lines=0-1", "0-1"] {
        assert_eq!((read(range).await.status, read(range).await.text()), (200, "0123456789"), "{range}");
    }
    let head = kvs.ask("HEAD", KEY, &[NOBODY, ("range", "bytes=0-3")], "").await;
    assert_eq!((head.status, head.header("content-length"), head.header("content-digest")), (200, "10", DIGEST));
    assert_eq!(kvs.ask("GET", "/kv/default/none", &[NOBODY, ("range", "bytes=0-3")], "").await.status, 404);
    kvs.put("/kv/default/empty", "").await;
    assert_eq!(kvs.ask("GET", "/kv/default/empty", &[NOBODY, ("range", "bytes=0-3")], "").await.status, 416);
}

async fn a_part_is_only_of_the_same_version(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put(KEY, "0123456789").await;
    let old = kvs.get(KEY).await;
    let read = async |condition: (&'static str, &str)| {
        kvs.ask("GET", KEY, &[NOBODY, ("range", "bytes=5-"), condition], "").await
    };
    assert_eq!(read(("if-range", old.tag())).await.status, 206);
    assert_eq!(read(("if-none-match", old.tag())).await.status, 304);
    assert_eq!(read(("if-match", "\"other\"")).await.status, 412);
    let of_apache = format!("{}-gzip\"", old.tag().trim_end_matches('"'));
    for other in [of_apache.as_str(), "W/\"x\"", old.header("last-modified")] {
        assert_eq!(read(("if-range", other)).await.status, 200, "{other}");
    }
    kvs.put(KEY, "abcdefghij").await;
    let answer = read(("if-range", old.tag())).await;
    assert_eq!((answer.status, answer.text()), (200, "abcdefghij"));
}

async fn ranges_of_other_reads_are_ignored(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put(KEY, "{\"a\":1}").await;
    for uri in
        ["/?k=image", "/kv/default/image?meta", "/kv/default/image?path=/a", "/kv/default", "/kv/default?since=0"]
    {
        let answer = kvs.ask("GET", uri, &[("range", "bytes=0-0")], "").await;
        assert_eq!(answer.status, 200, "{uri}");
        assert!(!answer.headers.contains_key("accept-ranges"), "{uri}");
    }
}

async fn a_body_with_another_digest_is_refused(make: Make) {
    let kvs = Endpoint::new(make);
    for name in ["content-digest", "repr-digest"] {
        let put = async |body: &'static str, digest: &str| kvs.ask("PUT", KEY, &[(name, digest)], body).await;
        assert!([200, 201].contains(&put("0123456789", DIGEST).await.status));
        assert_eq!(kvs.get(KEY).await.header("content-digest"), DIGEST);
        for digest in [DIGEST, "sha-256=x", "sha-256=::", "sha-256"] {
            let answer = put("another", digest).await;
            assert_eq!(answer.status, 400, "{digest}");
        }
        assert_eq!(kvs.get(KEY).await.text(), "0123456789");
        assert!(put("another", "md5=:x:").await.status < 300, "an unknown hash is ignored");
    }
    let form = [("content-type", "application/x-www-form-urlencoded"), ("content-digest", DIGEST)];
    assert_eq!(kvs.ask("POST", "/", &form, "a=1&auth=s3cret").await.status, 400);
}

async fn large_values_have_a_digest_if_it_is_wanted(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put(KEY, vec![b'x'; 1 << 20]).await;
    assert!(kvs.get(KEY).await.headers.contains_key("content-digest"));
    let wanted = kvs.ask("GET", KEY, &[NOBODY, ("want-content-digest", "sha-256=5")], "").await;
    assert_eq!(wanted.header("content-digest"), kvs.get(KEY).await.header("content-digest"));
}
