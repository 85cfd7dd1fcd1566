//! Date preconditions do not move a bucket into the future.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kvs::model::{Batch, Bucket, Clock, Condition, Expectation, Key, Outcome, Time, Write};
use kvs::store::suite::TestClock;
use kvs::store::{Limits, Store as _};
use kvs::yaml::{YamlOptions, YamlStore};
use serde_json::json;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    date_precondition_does_not_change_other_keys,
    date_preconditions_do_not_move_the_bucket_into_the_future,
    multi_accepts_the_last_modified_that_was_sent,
    same_date_changes_a_value_in_a_limited_bucket_only_once,
}

mod at_once {
    use super::*;

    cases! { on threads:
        one_of_two_writers_with_the_same_date_passes,
    }
}

const FUTURE: &str = "Fri, 01 Jan 2038 00:00:00 GMT";

impl Endpoint {
    async fn last_modified(&self, uri: &str) -> String {
        self.get(uri).await.header("last-modified").to_owned()
    }

    async fn put_since(&self, uri: &str, date: &str) -> u16 {
        self.ask("PUT", uri, &[("if-unmodified-since", date)], "1").await.status
    }

    /// How far the time of the last write of a key is after the clock.
    async fn ahead(&self, key: &str) -> Duration {
        self.stored("d", key).await.unwrap().updated().since(self.clock.now())
    }
}

async fn date_precondition_does_not_change_other_keys(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/d/a", "1").await;
    for _ in 0..10 {
        assert_eq!(kvs.put_since("/kv/d/a", FUTURE).await, 200);
    }
    kvs.put("/kv/d/b", "1").await;
    for key in ["a", "b"] {
        assert!(kvs.ahead(key).await < Duration::from_micros(1), "{key}");
    }
    let date = kvs.last_modified("/kv/d/b").await;
    assert_eq!(kvs.put_since("/kv/d/b", &date).await, 200);
    assert_eq!(kvs.put_since("/kv/d/b", &date).await, 412);
    kvs.clock.advance(Duration::from_secs(1));
    for key in ["/kv/d/a", "/kv/d/b"] {
        let date = kvs.last_modified(key).await;
        assert_eq!(kvs.put_since(key, &date).await, 200, "{key}: the second has passed");
        assert_eq!(kvs.put_since(key, &date).await, 412, "{key}");
    }
}

async fn date_preconditions_do_not_move_the_bucket_into_the_future(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/d/a", "1").await;
    let precondition = [("if-unmodified-since", FUTURE)];
    for (method, uri) in [
        ("PUT", "/kv/d/a"),
        ("POST", "/kv/d/a?op=incr"),
        ("POST", "/kv/d/a?op=append"),
        ("POST", "/kv/d/a?op=touch&ttl=60"),
        ("DELETE", "/kv/d/a"),
        ("PUT", "/kv/d/a"),
    ] {
        let answer = kvs.ask(method, uri, &precondition, "1").await;
        assert!(matches!(answer.status, 200 | 201), "{method} {uri}: {}", answer.text());
        let rows = json!([{"key": "a", "data": "1", "modified_at": FUTURE}]);
        assert_eq!(kvs.json("PUT", "/multi/d", rows).await.status, 200);
        kvs.put("/kv/d/b", "1").await;
        assert!(kvs.ahead("b").await < Duration::from_micros(1), "{method} {uri}");
    }
}

async fn multi_accepts_the_last_modified_that_was_sent(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/d/a", "0").await;
    kvs.put("/kv/d/b", "2").await;
    assert_eq!(kvs.put_since("/kv/d/a", &kvs.last_modified("/kv/d/a").await).await, 200);
    for _ in 0..2 {
        let rows = json!([{"key": "a", "modified_at": kvs.last_modified("/kv/d/a").await},
                          {"key": "b", "modified_at": kvs.last_modified("/kv/d/b").await}]);
        let answer = kvs.json("POST", "/multi/d", rows).await;
        assert_eq!(answer.json(), json!({"a": "1", "b": "2"}));
        kvs.clock.advance(Duration::from_secs(1));
    }
}

async fn same_date_changes_a_value_in_a_limited_bucket_only_once(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/small/a", "1").await;
    let date = kvs.last_modified("/kv/small/a").await;
    let precondition = [("if-unmodified-since", date.as_str())];
    for status in [200, 412] {
        assert_eq!(kvs.ask("POST", "/kv/small/a?op=append", &precondition, "2").await.status, status);
    }
    assert_eq!(kvs.get("/kv/small/a").await.text(), "12");
}

async fn one_of_two_writers_with_the_same_date_passes(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    kvs.put("/kv/d/other", "1").await;
    for round in 0..18 {
        let uri = format!("/kv/d/fresh{round}");
        assert_eq!(kvs.put_since("/kv/d/other", FUTURE).await, 200);
        kvs.put(&uri, "1").await;
        let date = kvs.last_modified(&uri).await;
        let (one, other) = tokio::join!(kvs.put_since(&uri, &date), kvs.put_since(&uri, &date));
        let mut statuses = [one, other];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "round {round}");
    }
}

/// `text` without the field, up to the next.
fn without(text: &str, field: &str) -> String {
    let (before, after) = text.split_once(field).unwrap();
    format!("{before}{}", after.split_once(", ").unwrap().1)
}

#[tokio::test]
async fn value_edited_by_hand_gets_a_new_date() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    // Later than the times of the file system.
    clock.advance(Duration::from_secs(20 * 365 * 24 * 3600));
    let options = YamlOptions { clock: clock.clone(), limits: Limits::default(), ..YamlOptions::default() };
    let store = YamlStore::open(folder.path(), options).unwrap();
    let (bucket, path) = (Bucket::default(), folder.path().join("default.yaml"));
    let key = || Key::new("a").unwrap();
    let entry = async || store.get(&bucket, &[key()]).await.unwrap().entries.remove(0).unwrap();
    let put_with_date = async |value: &'static str| {
        let condition = Condition::NotModifiedSince(clock.now());
        let batch =
            Batch::new(vec![Write::put(key(), value)]).with_expectations(vec![Expectation { key: key(), condition }]);
        assert!(matches!(store.apply(&bucket, batch).await.unwrap(), Outcome::Committed { .. }));
        assert_eq!(entry().await.modified, Some(Time::from_secs(clock.now().secs() + 1)));
        clock.advance(Duration::from_secs(3600));
    };

    put_with_date("old").await;
    let draft = store.begin_edit(&bucket).unwrap();
    store.save_edit(&bucket, &draft, &draft.text.replace("old", "edited")).await.unwrap();
    let edited = entry().await;
    assert_eq!((&*edited.value, edited.last_modified()), (&b"edited"[..], clock.now().floor_to_second()));

    // In the file itself, without and with the fields that the person should remove.
    for thorough in [false, true] {
        clock.advance(Duration::from_secs(3600));
        put_with_date("old").await;
        let text = std::fs::read_to_string(&path).unwrap();
        let (rest, line) = text.rsplit_once("a: ").unwrap();
        assert!(line.contains("modified: "), "{line}");
        let line = if thorough { without(line, "updated: ") } else { line.to_owned() };
        let text = format!("{rest}a: {}", line.replace("old", "by hand"));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        let by_hand = entry().await;
        assert_eq!((&*by_hand.value, by_hand.modified), (&b"by hand"[..], None), "{thorough}");
    }
}
