//! `GET /kv/BUCKET?since=REVISION`: pages of changes, their rights, and long polls for the next change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::web::LongPollLimit;
use serde_json::{Value, json};

use super::{EVENTS, kinds, number, revision};
use crate::store::Make;
use crate::support::doubles::{Forgetful, PassThrough};
use crate::support::endpoint::{Answer, Endpoint, NOBODY, assert_passed, cases};

cases! {
    changes_are_returned_in_order_with_all_their_members,
    each_key_is_returned_once_with_its_last_change,
    values_that_are_not_text_are_in_base64,
    touch_has_an_id_after_its_revision,
    expired_entry_is_a_deletion,
    only_keys_with_the_prefix_are_returned,
    pages_end_at_the_limit_and_continue,
    since_zero_returns_all_entries,
    malformed_parameters_are_400,
    unknown_revision_is_410,
    rights_are_those_of_a_list,
    reserved_buckets_are_not_found,
    changes_are_compared_with_the_list,
    long_poll_returns_at_a_change_of_its_prefix,
    long_poll_over_the_limit_gets_retry_after,
    long_poll_is_answered_at_the_stop,
    store_without_changes_is_501,
}

cases! { in paused time:
    long_poll_is_empty_when_its_time_is_up,
}

async fn since(kvs: &Endpoint, uri: &str) -> (Vec<Value>, String) {
    let answer = kvs.ask("GET", uri, &[], "").await;
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    page(&answer)
}

fn page(answer: &Answer) -> (Vec<Value>, String) {
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.header("cache-control").contains("no-"), "{:?}", answer.headers);
    let json = answer.json();
    let members: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(members, ["changes", "since"]);
    (json["changes"].as_array().unwrap().clone(), json["since"].as_str().unwrap().to_owned())
}

async fn changes_are_returned_in_order_with_all_their_members(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/gone", "1").await;
    let start = revision(&kvs, "default").await;
    kvs.ask("PUT", "/kv/default/b?ttl=60", &[("content-type", "application/json")], "{\"x\": 1}").await;
    kvs.put("/kv/default/a", "zwei \"\n\u{1f642}").await;
    kvs.delete("/kv/default/gone").await;
    let (changes, next) = since(&kvs, &format!("/kv/default?since={start}")).await;
    assert_eq!(kinds(&changes), ["put b", "put a", "delete gone"]);
    let ids: Vec<u64> = changes.iter().map(|change| number(&change["id"])).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert_eq!(next, revision(&kvs, "default").await);
    assert_eq!(changes[2], json!({"event": "delete", "id": next, "bucket": "default", "key": "gone"}));
    let list = kvs.ask("GET", "/kv/default", &[], "").await.json();
    for (change, entry) in [(&changes[0], &list["entries"][1]), (&changes[1], &list["entries"][0])] {
        let mut expected = entry.clone();
        let members = [("event", json!("put")), ("id", change["revision"].clone())];
        expected.as_object_mut().unwrap().extend(members.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(change, &expected);
        assert_eq!(change.as_object().unwrap().len(), 11, "{change}");
    }
    assert_eq!(since(&kvs, &format!("/kv/default?since={next}")).await, (vec![], next));
    let answer = kvs.ask("HEAD", &format!("/kv/default?since={start}"), &[], "").await;
    assert_eq!((answer.status, answer.text()), (200, ""));
}

async fn each_key_is_returned_once_with_its_last_change(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let start = revision(&kvs, "default").await;
    for n in ["1", "2", "3"] {
        kvs.put("/kv/default/a", n).await;
        kvs.put("/kv/default/b", n).await;
    }
    kvs.delete("/kv/default/b").await;
    kvs.delete("/kv/default/a").await;
    kvs.put("/kv/default/a", "last").await;
    let (changes, _) = since(&kvs, &format!("/kv/default?since={start}")).await;
    assert_eq!(kinds(&changes), ["delete b", "put a"]);
    assert_eq!(changes[1]["value"], "last");
}

async fn values_that_are_not_text_are_in_base64(make: Make) {
    let kvs = Endpoint::new(make);
    let start = revision(&kvs, "default").await;
    kvs.put("/kv/default/a", vec![0xff, 0, 0xfe]).await;
    let (changes, _) = since(&kvs, &format!("/kv/default?since={start}")).await;
    assert_eq!((&changes[0]["base64"], &changes[0]["value"]), (&json!("/wD+"), &Value::Null));
    assert_eq!(changes[0]["type"], "application/octet-stream");
}

async fn touch_has_an_id_after_its_revision(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let start = revision(&kvs, "default").await;
    for op in ["touch&ttl=60", "persist"] {
        assert_eq!(kvs.post(&format!("/kv/default/a?op={op}"), "").await.status, 200);
        let (changes, next) = since(&kvs, &format!("/kv/default?since={start}")).await;
        assert_eq!((kinds(&changes), &changes[0]["revision"]), (vec!["put a".to_owned()], &json!(start)), "{op}");
        assert!(number(&changes[0]["id"]) > number(&changes[0]["revision"]), "{op}");
        assert_eq!((&changes[0]["id"], changes[0]["expires"].is_null()), (&json!(next), op == "persist"));
    }
}

async fn expired_entry_is_a_deletion(make: Make) {
    let kvs = Endpoint::new(make);
    let start = revision(&kvs, "default").await;
    kvs.put("/kv/default/a?ttl=5", "1").await;
    let (changes, next) = since(&kvs, &format!("/kv/default?since={start}")).await;
    assert_eq!(kinds(&changes), ["put a"]);
    kvs.clock.advance(Duration::from_secs(5));
    let (changes, _) = since(&kvs, &format!("/kv/default?since={start}")).await;
    assert_eq!((kinds(&changes), changes[0].as_object().unwrap().len()), (vec!["delete a".to_owned()], 4));
    // An expiry is not a change.
    assert_eq!(since(&kvs, &format!("/kv/default?since={next}")).await, (vec![], next));
}

async fn only_keys_with_the_prefix_are_returned(make: Make) {
    let kvs = Endpoint::new(make);
    let start = revision(&kvs, "default").await;
    for key in ["a/1", "a", "A/2", "a/%25", "b/a/1", "a/%C3%A4"] {
        assert_eq!(kvs.put(&format!("/kv/default/{key}"), "1").await.status, 201);
    }
    let (changes, next) = since(&kvs, &format!("/kv/default?since={start}&prefix=a/")).await;
    assert_eq!(kinds(&changes), ["put a/1", "put a/%", "put a/ä"]);
    assert_eq!(next, revision(&kvs, "default").await);
    let (changes, next) = since(&kvs, &format!("/kv/default?since={start}&prefix=none")).await;
    assert_eq!((changes, next), (vec![], revision(&kvs, "default").await));
}

async fn pages_end_at_the_limit_and_continue(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let start = revision(&kvs, "default").await;
    let rows: Vec<Value> = (0..120).map(|n| json!({"key": format!("k{n:03}"), "data": "1"})).collect();
    assert_eq!(kvs.json("PUT", "/multi/default", Value::from(rows)).await.status, 200);
    assert_eq!(kvs.json("DELETE", "/multi/default", json!(["k000", "k100"])).await.status, 200);
    let whole = since(&kvs, &format!("/kv/default?since={start}&limit=1000")).await;
    assert_eq!(whole.0.len(), 120);
    let (first, _) = since(&kvs, &format!("/kv/default?since={start}")).await;
    assert_eq!(first, whole.0[..100], "100 by default");
    for limit in [1, 7, 119, 120] {
        let (mut at, mut all) = (start.clone(), vec![]);
        loop {
            let (changes, next) = since(&kvs, &format!("/kv/default?since={at}&limit={limit}")).await;
            assert!(changes.len() <= limit);
            if changes.is_empty() {
                break;
            }
            all.extend(changes);
            at = next;
        }
        assert_eq!((&all, &at), (&whole.0, &whole.1), "{limit}");
    }
}

async fn since_zero_returns_all_entries(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(since(&kvs, "/kv/default?since=0").await, (vec![], "0".to_owned()), "of a missing bucket");
    kvs.put("/kv/default/a", "1").await;
    kvs.put("/kv/default/b", "1").await;
    kvs.delete("/kv/default/a").await;
    let (changes, next) = since(&kvs, "/kv/default?since=0").await;
    let puts: Vec<String> = kinds(&changes).into_iter().filter(|kind| kind.starts_with("put")).collect();
    assert_eq!((puts, next), (vec!["put b".to_owned()], revision(&kvs, "default").await));
}

async fn malformed_parameters_are_400(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for bad in ["", "-1", "1.5", "UPPER", "%22dn0n56z1fq2r%22", "a%20b", "zzzzzzzzzzzzzz", "%00", "%ff"] {
        let answer = kvs.ask("GET", &format!("/kv/default?since={bad}"), &[], "").await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    for bad in [
        "start=a",
        "end=a",
        "after=a",
        "reverse",
        "keys",
        "count",
        "format=text",
        "format=json",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "wait=-1",
        "wait=x",
        "wait=",
    ] {
        let answer = kvs.ask("GET", &format!("/kv/default?since=0&{bad}"), &[], "").await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    // A secret in a URL, and other methods.
    assert_eq!(kvs.ask("GET", "/kv/default?since=0&auth=s3cret", &[], "").await.status, 400);
    assert_eq!(kvs.ask("PUT", "/kv/default?since=0", &[], "").await.status, 405);
}

async fn unknown_revision_is_410(make: Make) {
    let kvs = Endpoint::new(make);
    let future = kvs::model::Revision::new(u64::MAX).to_string();
    for bucket in ["default", "missing"] {
        for revision in [&future, "3000000000000"] {
            let answer = kvs.ask("GET", &format!("/kv/{bucket}?since={revision}"), &[], "").await;
            assert_eq!(answer.status, 410, "{}", answer.text());
            assert!(answer.text().contains("read the list again"), "{}", answer.text());
            let answer = kvs.ask("GET", &format!("/kv/{bucket}?since={revision}&wait=20"), &[], "").await;
            assert_eq!(answer.status, 410, "it does not wait");
        }
        kvs.put("/kv/default/a", "1").await;
    }
    assert_eq!(kvs.ask("GET", "/kv/missing?keys", &[], "").await.json()["keys"], json!([]));
}

async fn rights_are_those_of_a_list(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/listed/a", "1").await;
    let secrets = [NOBODY.1, "wrong", "reader", "writer", "elsewhere", "s3cret"];
    for (bucket, expected) in
        [("listed", [200; 6]), ("default", [401, 401, 200, 403, 403, 200]), ("secret", [401, 401, 200, 403, 403, 200])]
    {
        for (secret, status) in secrets.into_iter().zip(expected) {
            // The streams over the API end when their body is dropped.
            let list = kvs.open(&format!("/kv/{bucket}"), &[(NOBODY.0, secret)]).await.status();
            assert_eq!(list, status, "the list of {bucket}, {secret:?}");
            let changes = kvs.open(&format!("/kv/{bucket}?since=0"), &[(NOBODY.0, secret)]).await;
            assert_eq!(changes.status(), status, "{bucket}, {secret:?}");
            for uri in [format!("/kv/{bucket}?since=0"), format!("/kv/{bucket}")] {
                let events = kvs.open(&uri, &[(NOBODY.0, secret), EVENTS]).await;
                assert_eq!(events.status(), status, "events of {bucket}, {secret:?}");
            }
        }
    }
    // A key needs the right to read, which everybody has unless reads are closed.
    for (bucket, expected) in [("default", [200; 6]), ("secret", [401, 401, 200, 403, 403, 200])] {
        for (secret, status) in secrets.into_iter().zip(expected) {
            let read = kvs.open(&format!("/kv/{bucket}/a?meta"), &[(NOBODY.0, secret)]).await.status();
            assert!(read == status || read == 404 && status == 200, "{bucket}, {secret:?}: {read}");
            let events = kvs.open(&format!("/kv/{bucket}/a"), &[(NOBODY.0, secret), EVENTS]).await;
            assert_eq!(events.status(), status, "{bucket}, {secret:?}");
        }
    }
}

async fn reserved_buckets_are_not_found(make: Make) {
    let kvs = Endpoint::new(make);
    for uri in ["/kv/_kvs.throttle?since=0", "/kv/_kvs.throttle?since=X", "/kv/_kvsx?since=0&wait=20"] {
        assert_eq!(kvs.ask("GET", uri, &[], "").await.status, 404, "{uri}");
    }
    for uri in ["/kv/_kvs.throttle", "/kv/_kvs.throttle/a", "/kv/_kvs.throttle?key=a", "/kv/_kvs.throttle?since=0"] {
        assert_eq!(kvs.ask("GET", uri, &[EVENTS], "").await.status, 404, "{uri}");
    }
}

async fn changes_are_compared_with_the_list(make: Make) {
    let kvs = Endpoint::new(make);
    let start = revision(&kvs, "default").await;
    for n in 0..60_u32 {
        let key = n * 7 % 10;
        match n % 4 {
            0 => kvs.delete(&format!("/kv/default/k{key}")).await,
            1 => kvs.post(&format!("/kv/default/k{key}?op=touch&ttl=900"), "").await,
            _ => kvs.put(&format!("/kv/default/k{key}"), n.to_string()).await,
        };
    }
    let (changes, _) = since(&kvs, &format!("/kv/default?since={start}")).await;
    let mut puts: Vec<Value> = changes.into_iter().filter(|change| change["event"] == "put").collect();
    puts.sort_by_key(|change| change["key"].as_str().unwrap().to_owned());
    for put in &mut puts {
        put.as_object_mut().unwrap().retain(|name, _| name != "event" && name != "id");
    }
    assert_eq!(Value::from(puts), kvs.ask("GET", "/kv/default", &[], "").await.json()["entries"]);
}

async fn long_poll_returns_at_a_change_of_its_prefix(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a/1", "1").await;
    for (method, other, key, kind) in [("PUT", "b", "a/2", "put a/2"), ("DELETE", "c", "a/1", "delete a/1")] {
        let start = revision(&kvs, "default").await;
        let uri = format!("/kv/default?prefix=a/&wait=25&since={start}");
        let began = Instant::now();
        let wait = async { (since(&kvs, &uri).await, began.elapsed()) };
        let write = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            kvs.put(&format!("/kv/default/{other}"), "1").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            kvs.ask(method, &format!("/kv/default/{key}"), &[], "2").await;
        };
        let (((changes, next), took), ()) = tokio::join!(wait, write);
        assert_eq!((kinds(&changes), next), (vec![kind.to_owned()], revision(&kvs, "default").await));
        assert!(took > Duration::from_millis(150) && took < Duration::from_secs(15), "{took:?}");
    }
    // What is there already does not wait.
    let began = Instant::now();
    let (changes, _) = since(&kvs, "/kv/default?prefix=a/&wait=25&since=0").await;
    assert!(kinds(&changes).contains(&"put a/2".to_owned()), "{changes:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn long_poll_is_empty_when_its_time_is_up(make: Make) {
    let kvs = Endpoint::waiting(make, 2, LongPollLimit::new(100));
    kvs.put("/kv/default/a", "1").await;
    let start = revision(&kvs, "default").await;
    for (query, header, seconds) in [("&wait=1", "", 1), ("&wait=99", "", 2), ("&wait=0", "", 0), ("", "wait=1", 1)] {
        let began = tokio::time::Instant::now();
        let uri = format!("/kv/default?since={start}&prefix=a{query}");
        let headers = [("prefer", header)];
        let wait = kvs.ask("GET", &uri, &headers, "");
        let others = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            kvs.put("/kv/default/b", seconds.to_string()).await;
        };
        let mut took = Duration::ZERO;
        let wait = async {
            let answer = wait.await;
            took = began.elapsed();
            answer
        };
        let (answer, ()) = tokio::join!(wait, others);
        let (changes, next) = page(&answer);
        assert_eq!((changes, answer.header("retry-after")), (vec![], ""), "{uri}");
        assert!(took >= Duration::from_secs(seconds) && took < Duration::from_secs(seconds + 3), "{uri}: {took:?}");
        // The position has moved past the changes of other keys.
        let (others, _) = since(&kvs, &format!("/kv/default?since={next}")).await;
        assert_eq!(others.is_empty(), seconds > 0, "{uri}");
    }
}

async fn long_poll_over_the_limit_gets_retry_after(make: Make) {
    let kvs = Endpoint::waiting(make, 25, LongPollLimit::new(0));
    kvs.put("/kv/default/a", "1").await;
    let start = revision(&kvs, "default").await;
    let began = tokio::time::Instant::now();
    let answer = kvs.ask("GET", &format!("/kv/default?since={start}&wait=20"), &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (200, "2"));
    assert_eq!(page(&answer), (vec![], start));
    // With changes there is nothing to wait for.
    let answer = kvs.ask("GET", "/kv/default?since=0&wait=20", &[], "").await;
    assert_eq!((page(&answer).0.len(), answer.header("retry-after")), (1, ""));
    assert_passed(0, began, "neither waits");
}

async fn long_poll_is_answered_at_the_stop(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let start = revision(&kvs, "default").await;
    let uri = format!("/kv/default?since={start}&wait=25");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        kvs.stop.cancel();
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(kvs.ask("GET", &uri, &[], ""), stop);
    assert_eq!((page(&answer), answer.header("retry-after")), ((vec![], start), "1"));
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn store_without_changes_is_501(make: Make) {
    let kvs = Endpoint::around(make, |inner| Arc::new(PassThrough { inner, around: Forgetful }));
    kvs.put("/kv/default/a", "1").await;
    for (uri, headers) in [
        ("/kv/default?since=0", &[][..]),
        ("/kv/default?since=0&wait=20", &[]),
        ("/kv/default", &[EVENTS]),
        ("/kv/default/a", &[EVENTS]),
    ] {
        let answer = kvs.ask("GET", uri, headers, "").await;
        assert_eq!(answer.status, 501, "{uri}");
        assert!(answer.text().contains("poll the list"), "{uri}: {}", answer.text());
    }
    // A client without the right does not learn it.
    assert_eq!(kvs.get("/kv/default?since=0").await.status, 401);
}
