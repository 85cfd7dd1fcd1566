//! `?bucket=` on reads and forms, and `?default=` on reads.

use std::time::Duration;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    buckets_named_in_the_url_are_separate,
    secrets_and_policies_are_those_of_the_named_bucket,
    default_text_replaces_only_a_missing_key,
    long_poll_with_a_default_text_waits_for_the_key,
}

async fn text(kvs: &Endpoint, uri: &str) -> (u16, String) {
    let answer = kvs.get(uri).await;
    (answer.status, answer.text().to_owned())
}

async fn buckets_named_in_the_url_are_separate(make: Make) {
    let kvs = Endpoint::new(make);
    for (uri, form) in [("/", "a=1&auth=s3cret"), ("/?bucket=sensors", "a=2&bucket=x&auth=s3cret")] {
        assert_eq!(kvs.form_to(uri, form).await.status, 200, "{uri}");
    }
    for (uri, expected) in [
        ("/?k=a", "1"),
        ("/?k=a&bucket=default", "1"),
        ("/?k=a&bucket=sensors", "2"),
        ("/?bucket=%73ensors&k=a", "2"),
        ("/?k=a&bucket=default&bucket=sensors", "2"),
        ("/kv/sensors/a", "2"),
        // A name in the form is a key.
        ("/kv/sensors/bucket", "x"),
    ] {
        assert_eq!(text(&kvs, uri).await, (200, expected.to_owned()), "{uri}");
    }
    assert_eq!(kvs.get("/?k=a&bucket=none").await.status, 404);
    let expiring = kvs.form_to("/?bucket=sensors&ttl=60", "b=1&auth=s3cret").await;
    assert_eq!(expiring.status, 200);
    assert!(kvs.get("/kv/sensors/b?meta").await.text().contains("expires"));
    for bad in ["", ".x", "a/b", "%zz", "%ff"] {
        let uri = format!("/?k=a&bucket={bad}");
        assert_eq!(
            (kvs.get(&uri).await.status, kvs.form_to(&uri, "a=3&auth=s3cret").await.status),
            (400, 400),
            "{bad}"
        );
    }
    let reserved = "/?k=a&bucket=_kvs.x";
    assert_eq!((kvs.get(reserved).await.status, kvs.form_to(reserved, "a=3&auth=s3cret").await.status), (404, 404));
}

async fn secrets_and_policies_are_those_of_the_named_bucket(make: Make) {
    let kvs = Endpoint::new(make);
    for bucket in ["secret", "other"] {
        kvs.put(&format!("/kv/{bucket}/a"), "1").await;
    }
    assert_eq!(text(&kvs, "/?k=a&bucket=other").await, (200, "1".to_owned()));
    assert_eq!(kvs.get("/?k=a&bucket=secret").await.status, 401);
    // This secret is for the bucket `other` only.
    assert_eq!(kvs.form_to("/?bucket=other", "a=2&auth=elsewhere").await.status, 200);
    assert_eq!(kvs.form_to("/?bucket=sensors", "a=2&auth=elsewhere").await.status, 403);
    assert_eq!(kvs.form("a=2&auth=elsewhere").await.status, 403);
    assert_eq!(text(&kvs, "/?k=a&bucket=other").await, (200, "2".to_owned()));
}

async fn default_text_replaces_only_a_missing_key(make: Make) {
    let kvs = Endpoint::new(make);
    for (query, expected) in
        [("default=0", "0"), ("default=", ""), ("default=a%20b%26+%C3%A4", "a b& ä"), ("default", "")]
    {
        let answer = kvs.get(&format!("/?k=none,nothing&{query}")).await;
        assert_eq!((answer.status, answer.text()), (200, expected), "{query}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!((answer.header("etag"), answer.header("kvs-key")), ("", ""));
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    let head = kvs.plain("HEAD", "/?k=none&default=off", &[]).await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "3"));
    for bad in ["/?k=a&default=%zz", "/?k=a&default=%ff", "/?k=&default=0"] {
        assert_eq!(kvs.get(bad).await.status, 400, "{bad}");
    }
    for tag in ["*", "\"x\""] {
        assert_eq!(kvs.plain("GET", "/?k=none&default=0", &[("if-match", tag)]).await.status, 404, "{tag}");
    }
    kvs.form("a=1&auth=s3cret").await;
    let answer = kvs.get("/?k=none,a&default=0").await;
    assert_eq!((answer.status, answer.text(), answer.header("kvs-key")), (200, "1", "a"));
    let seen = answer.header("etag").to_owned();
    assert_eq!(kvs.plain("GET", "/?k=a&default=0", &[("if-none-match", seen.as_str())]).await.status, 304);
    kvs.plain("DELETE", "/kv/default/a", &[("x-kvs-auth", "s3cret")]).await;
    assert_eq!(text(&kvs, "/?k=a&default=0").await, (200, "0".to_owned()));
}

async fn long_poll_with_a_default_text_waits_for_the_key(make: Make) {
    let kvs = Endpoint::new(make);
    let write = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        kvs.form("door=open&auth=s3cret").await
    };
    let (answer, _) = tokio::join!(kvs.get("/?k=door&default=shut&wait=20&seen=none"), write);
    assert_eq!((answer.status, answer.text()), (200, "open"));
    let answer = kvs.get("/?k=window&default=shut&wait=1&seen=none").await;
    assert_eq!((answer.status, answer.text()), (200, "shut"));
}
