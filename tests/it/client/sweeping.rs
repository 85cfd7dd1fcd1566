//! Sweeping: entries that nobody has written for a long time are deleted.

use std::time::Duration;

use kvs::client::Sweep;
use kvs::model::{Clock as _, Time};

use super::on_each_store;

const HOUR: Duration = Duration::from_secs(3600);

fn names(keys: &[kvs::model::Key]) -> Vec<&str> {
    keys.iter().map(kvs::model::Key::as_str).collect()
}

#[tokio::test]
async fn old_entries_are_deleted_and_others_stay() {
    on_each_store(async |client, clock| {
        for key in ["config/wifi", "config2", "door", "log/1", "log/2", "touched"] {
            client.set(key, "1").await.unwrap();
        }
        clock.advance(HOUR);
        client.set("new", "1").await.unwrap();
        client.set("log/2", "2").await.unwrap();
        client.expire("touched", 9 * HOUR).await.unwrap();
        let sweep = client.older_than(HOUR / 2).keep("config/*").keep("door");
        let expected = ["config2", "log/1", "touched"];
        assert_eq!(names(&client.find_swept(&sweep).await.unwrap()), expected);
        assert_eq!(client.count("").await.unwrap(), 7, "a dry run deletes nothing");
        assert_eq!(names(&client.sweep(&sweep).await.unwrap()), expected);
        assert_eq!(names(&client.keys("").await.unwrap()), ["config/wifi", "door", "log/2", "new"]);
        assert!(client.sweep(&sweep).await.unwrap().is_empty());
        assert_eq!(client.sweep(&client.older_than(HOUR / 2)).await.unwrap().len(), 2);
        assert_eq!(client.sweep(&Sweep::before(Time::default()).keep("*")).await.unwrap().len(), 0);
        assert_eq!(client.sweep(&Sweep::before(clock.now().plus(HOUR)).keep("*")).await.unwrap().len(), 0);
        assert_eq!(client.sweep(&Sweep::before(clock.now().plus(HOUR))).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn every_page_of_a_bucket_is_swept() {
    on_each_store(async |client, clock| {
        let old: Vec<(String, &str)> = (0..250).map(|n| (format!("k{n:03}"), "1")).collect();
        client.set_many(&old).await.unwrap();
        clock.advance(HOUR);
        let fresh: Vec<(String, &str)> = (0..250).step_by(3).map(|n| (format!("k{n:03}"), "2")).collect();
        client.set_many(&fresh).await.unwrap();
        assert_eq!(client.sweep(&client.older_than(HOUR)).await.unwrap().len(), 0, "an hour is not older than an hour");
        assert_eq!(client.sweep(&client.older_than(HOUR / 2)).await.unwrap().len(), 250 - fresh.len());
        assert_eq!(client.count("").await.unwrap(), fresh.len() as u64);
    })
    .await;
}
