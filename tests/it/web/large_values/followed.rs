//! Waiting for large values, and following them.

use std::time::Duration;

use super::{KEY, binary, cases_with_blobs, endpoint, pieces, text};
use crate::store::Make;
use crate::support::endpoint::Endpoint;
use crate::web::following::Stream;

cases_with_blobs! {
    a_long_poll_returns_a_new_large_value,
    a_list_of_changes_has_large_values,
    an_event_stream_has_large_values,
}

/// Waits until a long poll of the endpoint waits.
async fn until_it_waits(kvs: &Endpoint) {
    let waits = async {
        while !kvs.get("/metrics").await.text().contains("\nkvs_waiters 1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("a long poll waits");
}

async fn a_long_poll_returns_a_new_large_value(make: Make) {
    let kvs = endpoint(make);
    let mut seen = "none".to_owned();
    for n in 0..3 {
        let value = binary(n, 200_000);
        let uri = format!("{KEY}?wait=20&seen={seen}");
        let write = async {
            until_it_waits(&kvs).await;
            kvs.put(KEY, pieces(&value, 9_999)).await
        };
        let (answer, written) = tokio::join!(kvs.get(&uri), write);
        assert_eq!((answer.status, answer.tag()), (200, written.tag()));
        assert!(answer.body == value, "{n}: {} bytes", answer.body.len());
        written.tag().trim_matches('"').clone_into(&mut seen);
    }
    let (answer, _) = tokio::join!(async { kvs.get(&format!("{KEY}?wait=20&seen={seen}")).await }, async {
        until_it_waits(&kvs).await;
        kvs.delete(KEY).await
    });
    assert_eq!(answer.status, 404);
}

async fn a_list_of_changes_has_large_values(make: Make) {
    let kvs = endpoint(make);
    kvs.put("/kv/default/first", "1").await;
    let list = kvs.ask("GET", "/kv/default", &[], "").await;
    let since = list.header("kvs-revision").to_owned();
    let value = text(5, 200_000);
    let uri = format!("/kv/default?since={since}&wait=20");
    let (changes, written) = tokio::join!(kvs.ask("GET", &uri, &[], ""), async {
        until_it_waits(&kvs).await;
        kvs.put(KEY, value.clone()).await
    });
    let changes = changes.json();
    let change = &changes["changes"][0];
    assert_eq!((change["event"].as_str(), change["key"].as_str()), (Some("put"), Some("image")));
    assert!(change["value"] == value);
    assert_eq!(change["revision"], written.tag().trim_matches('"'));
    kvs.delete(KEY).await;
    let later = kvs.ask("GET", &format!("/kv/default?since={}", changes["since"].as_str().unwrap()), &[], "").await;
    assert_eq!(later.json()["changes"][0]["event"], "delete");
}

async fn an_event_stream_has_large_values(make: Make) {
    let kvs = endpoint(make);
    let (first, second) = (text(6, 200_000), text(7, 300_000));
    kvs.put(KEY, first.clone()).await;
    let mut stream = Stream::open(&kvs, KEY, &[]).await;
    let event = stream.next().await.unwrap();
    assert!(event.name == "put" && event.data["value"] == first);
    kvs.put(KEY, pieces(second.as_bytes(), 9_999)).await;
    let event = stream.next().await.unwrap();
    assert!(event.name == "put" && event.data["value"] == second);
    kvs.delete(KEY).await;
    assert_eq!(stream.next().await.unwrap().name, "delete");
}
