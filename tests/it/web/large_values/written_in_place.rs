//! Requests that change a large value without sending all of it: they work on the value, not on its reference.

use super::{KEY, assert_removed, assert_value, binary, cases_with_blobs, endpoint, pieces, text};
use crate::store::Make;
use crate::support::endpoint::Endpoint;

cases_with_blobs! {
    appends_and_prepends_change_the_value,
    appends_make_a_value_large,
    an_append_that_exceeds_the_limit_changes_nothing,
    a_large_value_is_no_number,
    touch_and_persist_keep_the_value_and_its_tag,
    small_changes_of_a_large_value_are_atomic,
}

async fn appends_and_prepends_change_the_value(make: Make) {
    let kvs = endpoint(make);
    let value = binary(1, 200_000);
    kvs.ask("PUT", &format!("{KEY}?ttl=100"), &[("content-type", "image/png")], pieces(&value, 9_999)).await;
    let expires = kvs.get(&format!("{KEY}?meta")).await.json()["expires"].clone();
    assert!(expires.is_string());
    let more = binary(2, 100_000);
    let answer = kvs.post(&format!("{KEY}?op=append"), more.clone()).await;
    assert_eq!((answer.status, answer.text()), (200, "OK"), "{}", answer.text());
    assert_eq!(kvs.get(KEY).await.tag(), answer.tag());
    assert_value(&kvs, KEY, &[&value[..], &more].concat()).await;
    assert_eq!(kvs.post(&format!("{KEY}?op=prepend"), "first").await.status, 200);
    assert_value(&kvs, KEY, &[b"first", &value[..], &more].concat()).await;
    assert_eq!(kvs.get(KEY).await.header("content-type"), "image/png");
    let meta = kvs.get(&format!("{KEY}?meta")).await.json();
    assert_eq!((&meta["type"], &meta["expires"]), (&"image/png".into(), &expires));
    let old = kvs.post(&format!("{KEY}?op=append&return=old"), "last").await;
    assert!(old.body == [b"first", &value[..], &more].concat(), "{} {}", old.status, old.body.len());
    assert_value(&kvs, KEY, &[b"first", &value[..], &more, b"last"].concat()).await;
}

async fn appends_make_a_value_large(make: Make) {
    let kvs = endpoint(make);
    let mut expected = vec![];
    for n in 0..20 {
        let part = text(n, 10_000);
        expected.extend_from_slice(part.as_bytes());
        assert!(kvs.post(&format!("{KEY}?op=append"), part).await.status < 300, "{n}");
        assert_value(&kvs, KEY, &expected).await;
    }
    let end = kvs.ask("GET", KEY, &[("range", "bytes=-10")], "").await;
    assert_eq!((end.status, &end.body[..]), (206, &expected[expected.len() - 10..]));
    kvs.delete(KEY).await;
    assert_removed(&kvs, &expected, "the appended value").await;
}

async fn an_append_that_exceeds_the_limit_changes_nothing(make: Make) {
    let kvs = Endpoint::with_large_values(make, 300_000, |settings| settings);
    let value = binary(3, 200_000);
    kvs.put(KEY, value.clone()).await;
    for op in ["append", "prepend"] {
        assert_eq!(kvs.post(&format!("{KEY}?op={op}"), binary(4, 100_001)).await.status, 413, "{op}");
        assert_value(&kvs, KEY, &value).await;
    }
    assert_eq!(kvs.post(&format!("{KEY}?op=append"), binary(4, 100_000)).await.status, 200);
    assert_eq!(kvs.get(KEY).await.body.len(), 300_000);
}

async fn a_large_value_is_no_number(make: Make) {
    let kvs = endpoint(make);
    let digits = vec![b'1'; 100_000];
    kvs.put(KEY, digits.clone()).await;
    assert_eq!(kvs.post(&format!("{KEY}?op=incr"), "").await.status, 400);
    assert_value(&kvs, KEY, &digits).await;
}

async fn touch_and_persist_keep_the_value_and_its_tag(make: Make) {
    let kvs = endpoint(make);
    let value = binary(5, 200_000);
    kvs.put(KEY, value.clone()).await;
    let tag = kvs.get(KEY).await.tag().to_owned();
    for op in ["touch&ttl=60", "persist"] {
        assert_eq!(kvs.post(&format!("{KEY}?op={op}"), "").await.status, 200);
        let answer = kvs.get(KEY).await;
        assert_eq!(answer.tag(), tag, "{op}");
        assert!(answer.body == value);
        let meta = kvs.get(&format!("{KEY}?meta")).await.json();
        assert_eq!(meta["expires"].is_string(), op != "persist");
        assert_eq!(meta["revision"], tag.trim_matches('"'));
    }
}

async fn small_changes_of_a_large_value_are_atomic(make: Make) {
    let kvs = endpoint(make);
    kvs.put(KEY, text(6, 100_000)).await;
    let appends = (0..12).map(|n| {
        let kvs = kvs.clone();
        tokio::spawn(async move { kvs.post(&format!("{KEY}?op=append"), format!("<{n}>")).await.status })
    });
    for append in appends.collect::<Vec<_>>() {
        assert_eq!(append.await.unwrap(), 200);
    }
    let answer = kvs.get(KEY).await;
    let added = answer.text().strip_prefix(&text(6, 100_000)).expect("the value that was there").to_owned();
    for n in 0..12 {
        assert_eq!(added.matches(&format!("<{n}>")).count(), 1, "{n}: {added}");
    }
}
