//! Values of one type, stored as JSON.

use std::time::Duration;

use kvs::model::{ErrorKind, Projection, Scan};
use serde::{Deserialize, Serialize};

use super::{key, on_each_store};

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Room {
    name: String,
    seats: u32,
}

fn room(name: &str, seats: u32) -> Room {
    Room { name: name.to_owned(), seats }
}

#[tokio::test]
async fn values_are_stored_as_json() {
    on_each_store(async |client, clock| {
        let rooms = client.typed::<Room>();
        assert_eq!(rooms.get("a").await.unwrap(), None);
        let hall = room("Hall \"7\"\n", 80);
        let revision = rooms.set("a", &hall).await.unwrap();
        assert_eq!(rooms.get("a").await.unwrap(), Some(hall.clone()));
        let entry = client.get_entry("a").await.unwrap().unwrap();
        assert_eq!((entry.revision, entry.content_type.as_str()), (revision, "application/json"));
        assert_eq!(&entry.value[..], br#"{"name":"Hall \"7\"\n","seats":80}"#);
        rooms.set_ex("a", &hall, Duration::from_secs(5)).await.unwrap();
        clock.advance(Duration::from_secs(5));
        assert_eq!(rooms.get("a").await.unwrap(), None);
        assert!(rooms.set_nx("a", &room("A", 1)).await.unwrap() && !rooms.set_nx("a", &hall).await.unwrap());
        assert!(rooms.set_nx_ex("b", &hall, Duration::from_secs(5)).await.unwrap());
        assert!(client.ttl("b").await.unwrap().is_some());
        assert_eq!(rooms.get_and_set("a", &hall).await.unwrap(), Some(room("A", 1)));
        assert_eq!(rooms.get_and_delete("a").await.unwrap(), Some(hall));
        assert_eq!(rooms.get_and_delete("a").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn many_values_and_pages_are_read() {
    on_each_store(async |client, _| {
        let rooms = client.typed::<Room>();
        let (a, b, c) = (room("A", 1), room("B", 2), room("C", 3));
        rooms.set_many(&[("r/a", &a), ("r/b", &b), ("r/c", &c)]).await.unwrap();
        client.set("x", "no room").await.unwrap();
        assert_eq!(rooms.get_many(&["r/b", "r/x", "r/a"]).await.unwrap(), [Some(b.clone()), None, Some(a.clone())]);
        let query = Scan { prefix: "r/".into(), limit: 2, projection: Projection::Keys, ..Scan::default() };
        let page = rooms.scan(query.clone()).await.unwrap();
        assert_eq!(page.entries, [(key("r/a"), a), (key("r/b"), b)]);
        let rest = rooms.scan(Scan { after: page.cursor.map(|key| key.to_string()), ..query }).await.unwrap();
        assert_eq!((rest.entries, rest.cursor), (vec![(key("r/c"), c)], None));
        assert!(rooms.scan(Scan::default()).await.unwrap_err().is_invalid(), "one value is not a room");
    })
    .await;
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error() {
    on_each_store(async |client, _| {
        let rooms = client.typed::<Room>();
        client.set("a", r#"{"name":"A"}"#).await.unwrap();
        let error = rooms.get("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("\"a\"") && error.to_string().contains("seats"), "{error}");
        assert!(rooms.update("a", |old| old).await.unwrap_err().is_invalid());
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some(r#"{"name":"A"}"#), "it is left alone");
        let maps = client.typed::<std::collections::BTreeMap<Vec<u8>, u8>>();
        let unwritable = [(vec![1], 1)].into();
        assert!(maps.set("m", &unwritable).await.unwrap_err().is_invalid(), "JSON has no such keys");
        assert!(!client.exists("m").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn updates_keep_the_expiry_and_store_json() {
    on_each_store(async |client, _| {
        client.set_ex("n", "41", Duration::from_secs(60)).await.unwrap();
        let numbers = client.typed::<u64>();
        let mut runs = 0;
        let next = |old: Option<u64>| {
            runs += 1;
            old.map(|n| n + 1)
        };
        assert_eq!(numbers.update("n", next).await.unwrap(), Some(42));
        let entry = client.get_entry("n").await.unwrap().unwrap();
        assert_eq!((runs, &entry.value[..], entry.content_type.as_str()), (1, &b"42"[..], "application/json"));
        assert!(entry.expires.is_some());
        assert_eq!(numbers.update("n", |_| None).await.unwrap(), None);
        assert!(!client.exists("n").await.unwrap());
    })
    .await;
}
