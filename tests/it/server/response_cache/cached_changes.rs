//! No change of the data is hidden by the cache.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use kvs::model::{Key, SystemClock, Time, Write};
use tokio::time::sleep;

use super::{Endpoint, TRANSPORTS, apply, open};
use crate::server::echo::random;

fn with_expiry(value: &'static str, expiry: Time) -> Write {
    let Write::Put { key, value, content_type, modified, .. } = Write::put(Key::new("a").unwrap(), value) else {
        panic!()
    };
    Write::Put { key, value, content_type, expires: Some(expiry), modified }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_visible_at_once() {
    for transport in TRANSPORTS {
        let endpoint = Endpoint::new(transport);
        let file = endpoint.folder.path().join("data/default.yaml");
        endpoint.settled().await;
        assert!(endpoint.server_response(("GET", "/?k=a"), &[]).await.starts_with("Status: 404 "));
        endpoint.put("default", "a", "1").await;
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n1"));
        endpoint.settled().await;
        // By another process.
        apply(&open(endpoint.folder.path()), "default", Write::put(Key::new("a").unwrap(), "2")).await;
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n2"));
        endpoint.settled().await;
        // A person changes the value but not its time, removes the line, and restores it.
        let text = std::fs::read_to_string(&file).unwrap();
        let edit = |text: String| File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        edit(text.replace("value: \"2\"", "value: \"3\""));
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n3"));
        endpoint.settled().await;
        edit("b: 1\n...\n".to_owned());
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
        endpoint.settled().await;
        edit(text.clone());
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n2"));
        endpoint.settled().await;
        // A missing file is not an empty one.
        std::fs::remove_file(&file).unwrap();
        assert!(endpoint.ask(("GET", "/?k=a"), &[]).await.0.ends_with("\r\n\r\n2"));
        edit("---\n".to_owned());
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
        endpoint.settled().await;
        edit(text);
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n2"));
        endpoint.settled().await;
        let key = Key::new("a").unwrap();
        apply(&endpoint.store, "default", Write::Delete { key }).await;
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_expire_in_time() {
    for transport in TRANSPORTS {
        let endpoint = Endpoint::new(transport);
        endpoint.put("default", "a", "1").await;
        endpoint.settled().await;
        let now = || kvs::model::Clock::now(&SystemClock);
        let expiry = now().plus(Duration::from_millis(400));
        apply(&endpoint.store, "default", Write::Touch { key: Key::new("a").unwrap(), expires: Some(expiry) }).await;
        endpoint.fresh_response().await;
        endpoint.fresh_response().await;
        sleep(Duration::from_millis(450)).await;
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
        // An older entry becomes visible when the newer one expires.
        endpoint.put("default", "b", "behind").await;
        apply(&endpoint.store, "default", with_expiry("before", now().plus(Duration::from_millis(1900)))).await;
        let newest = async || endpoint.ask(("GET", "/?k=a,b"), &[]).await.0;
        assert!(newest().await.ends_with("before") && newest().await.ends_with("before"));
        sleep(Duration::from_secs(2)).await;
        assert!(newest().await.ends_with("behind"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_are_those_of_the_api_under_random_changes() {
    for (transport, seed) in TRANSPORTS.into_iter().zip([0x5eed, 0xbeef, 0xcafe]) {
        let endpoint = Endpoint::new(transport);
        let other = open(endpoint.folder.path());
        let mut state = seed;
        let mut spared = 0;
        for n in 0..3000 {
            let name = |number: u64| format!("k{}", number % 50);
            let key = Key::new(&name(random(&mut state))).unwrap();
            let bucket = ["default", "listed"][usize::from(random(&mut state).is_multiple_of(3))];
            let store = if random(&mut state).is_multiple_of(2) { &other } else { &endpoint.store };
            match random(&mut state) % 30 {
                0 => apply(store, bucket, Write::put(key, format!("v{n}"))).await,
                1 => apply(store, bucket, Write::Delete { key }).await,
                2 => apply(store, bucket, Write::Touch { key, expires: None }).await,
                _ => {}
            }
            let (one, two) = (name(random(&mut state) % 4), name(random(&mut state)));
            let uri = match random(&mut state) % 5 {
                0 => format!("/?k={one},{two}"),
                1 => format!("/kv/listed/{one}"),
                2 => "/kv/listed?prefix=k1".to_owned(),
                3 => format!("/kv/default/{one}?meta"),
                _ => format!("/?k={one}"),
            };
            let method = if random(&mut state).is_multiple_of(4) { "HEAD" } else { "GET" };
            spared += usize::from(!endpoint.ask((method, &uri), &[]).await.1);
        }
        assert!(spared > 500, "only {spared} of 3000 without the service");
    }
}
