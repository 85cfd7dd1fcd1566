//! Parts of JSON documents, and typed values in other formats.

use std::time::Duration;

use kvs::client::Codec;
use kvs::codecs::{Cbor, MessagePack, Yaml};
use tokio::task::JoinSet;

use super::on_each_store;

#[tokio::test]
async fn parts_are_read_stored_and_removed() {
    on_each_store(async |client, _| {
        assert_eq!(client.get_in::<u32>("a", "/n").await.unwrap(), None);
        client.assoc_in("a", "/rooms/hall", &vec![1.5, 2.0]).await.unwrap();
        client.assoc_in("a", "/rooms/hall/-", &3).await.unwrap();
        client.assoc_in("a", "/name", "H\u{e4}ll").await.unwrap();
        let entry = client.get_entry("a").await.unwrap().unwrap();
        assert_eq!(entry.value, "{\"rooms\":{\"hall\":[1.5,2.0,3]},\"name\":\"H\u{e4}ll\"}");
        assert_eq!(entry.content_type.as_str(), "application/json");
        assert_eq!(client.get_in::<Vec<f64>>("a", "/rooms/hall").await.unwrap(), Some(vec![1.5, 2.0, 3.0]));
        assert_eq!(client.get_in::<String>("a", "/name").await.unwrap().as_deref(), Some("H\u{e4}ll"));
        assert_eq!(client.get_in::<u32>("a", "/rooms/attic/0").await.unwrap(), None);
        assert!(client.dissoc_in("a", "/rooms/hall/0").await.unwrap());
        let revision = client.get_entry("a").await.unwrap().unwrap().revision;
        for path in ["/rooms/hall/2", "/rooms/attic", "/none/at/all"] {
            assert!(!client.dissoc_in("a", path).await.unwrap(), "{path}");
        }
        assert_eq!(client.get_entry("a").await.unwrap().unwrap().revision, revision, "nothing was written");
        assert!(!client.dissoc_in("none", "/a").await.unwrap());
        assert_eq!(client.get_entry("none").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn parts_that_do_not_fit_are_errors_and_change_nothing() {
    on_each_store(async |client, _| {
        client.set("a", r#"{"s":"text","list":[1]}"#).await.unwrap();
        client.set("text", "open").await.unwrap();
        client.set("bytes", [0xff_u8]).await.unwrap();
        for (key, path) in
            [("a", "s"), ("a", "/s/x"), ("a", "/list/5"), ("a", "/list/x"), ("text", "/a"), ("bytes", "/a")]
        {
            let error = client.assoc_in(key, path, &1).await.unwrap_err();
            assert!(error.is_invalid(), "{key} {path}: {error}");
        }
        assert!(client.get_in::<u32>("a", "/s").await.unwrap_err().is_invalid());
        assert!(client.get_in::<u32>("a", "/s/x").await.unwrap_err().is_invalid());
        assert!(client.get_in::<u32>("text", "").await.unwrap_err().to_string().contains("\"text\" is not JSON"));
        assert!(client.dissoc_in("a", "").await.unwrap_err().is_invalid());
        assert!(client.update_in::<u32>("a", "/s", |_| 1).await.unwrap_err().is_invalid());
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some(r#"{"s":"text","list":[1]}"#));
        assert_eq!(client.get_string("text").await.unwrap().as_deref(), Some("open"));
    })
    .await;
}

#[tokio::test]
async fn changes_keep_type_expiry_and_numbers() {
    on_each_store(async |client, clock| {
        client
            .set_ex("a", r#"{"price": 21.50, "big": 123456789012345678901234567890}"#, Duration::from_secs(60))
            .await
            .unwrap();
        client.assoc_in("a", "/n", &1).await.unwrap();
        let entry = client.get_entry("a").await.unwrap().unwrap();
        assert_eq!(entry.value, r#"{"price":21.50,"big":123456789012345678901234567890,"n":1}"#);
        assert!(entry.content_type.is_default() && entry.expires.is_some());
        clock.advance(Duration::from_secs(60));
        assert_eq!(client.update_in("a", "/n", |n: Option<&u32>| n.map_or(0, |n| n + 1)).await.unwrap(), (None, 0));
    })
    .await;
}

#[tokio::test]
async fn concurrent_updates_of_a_part_are_all_counted() {
    on_each_store(async |client, _| {
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let client = client.clone();
            tasks.spawn(async move {
                for _ in 0..10 {
                    let add = |n: Option<&u32>| n.unwrap_or(&0) + 1;
                    let (old, new) = client.update_in("a", "/count", add).await.unwrap();
                    assert_eq!(old.unwrap_or(0) + 1, new);
                    client.update_in("a", &format!("/tasks/t{task}"), add).await.unwrap();
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(client.get_in::<u32>("a", "/count").await.unwrap(), Some(40));
        assert_eq!(client.get_in::<u32>("a", "/tasks/t3").await.unwrap(), Some(10));
    })
    .await;
}

#[tokio::test]
async fn typed_values_have_the_type_of_their_format() {
    async fn stored<C: Codec>(client: &kvs::client::Client, content_type: &str) {
        let numbers = client.typed_as::<Vec<i64>, C>();
        numbers.set("a", &vec![1, -2]).await.unwrap();
        assert_eq!(client.get_entry("a").await.unwrap().unwrap().content_type.as_str(), content_type);
        numbers.update("a", |old| old.map(|old| old.into_iter().rev().collect())).await.unwrap();
        assert_eq!(numbers.get("a").await.unwrap(), Some(vec![-2, 1]));
        client.set("a", [0xc1_u8]).await.unwrap();
        let error = numbers.get("a").await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(C::NAME), "{error}");
    }
    on_each_store(async |client, _| {
        stored::<Yaml>(&client, "application/yaml").await;
        stored::<Cbor>(&client, "application/cbor").await;
        stored::<MessagePack>(&client, "application/vnd.msgpack").await;
    })
    .await;
}
