//! Concurrent readers, and the plans with which the server finds their keys.

use std::time::Duration;

use kvs::model::{Bucket, ErrorKind, Key};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Server, client, empty, table};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_concurrent_reader_gets_its_own_entries() {
    let house = client(&empty("pool_size=2"));
    let garden = house.with_bucket(Bucket::new("garden").unwrap());
    let items: Vec<(String, String)> = (0..300).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
    house.set_many(&items).await.unwrap();
    garden.set_many(&[("k0", "garden")]).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..300 {
        let (house, garden) = (house.clone(), garden.clone());
        tasks.spawn(async move {
            let names = [format!("k{n}"), "none".to_owned(), format!("k{}", 299 - n), format!("k{n}")];
            let expected = [Some(format!("v{n}")), None, Some(format!("v{}", 299 - n)), Some(format!("v{n}"))]
                .map(|v| v.map(Into::into));
            assert_eq!(house.get_many(&names).await.unwrap(), expected);
            assert_eq!(house.get_string(&names[0]).await.unwrap(), Some(format!("v{n}")));
            assert_eq!(house.get_many(&[] as &[&str]).await.unwrap(), []);
            assert_eq!(garden.get_string("k0").await.unwrap().as_deref(), Some("garden"));
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_an_acknowledged_write_sees_it_even_in_a_batch() {
    let client = client(&empty("pool_size=2"));
    client.set("n", "0").await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                let written = client.increment("n", 1).await.unwrap();
                let seen: i64 = client.get_string("n").await.unwrap().unwrap().parse().unwrap();
                assert!(seen >= written, "{seen} after {written}");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_entry_is_an_error_only_for_its_readers() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}&pool_size=1")));
    client.set_many(&[("good", "1"), ("bad", "2")]).await.unwrap();
    server.psql(&format!("UPDATE {table} SET type = 'no type' WHERE key = 'bad'"));
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let client = client.clone();
        tasks.spawn(async move {
            if n % 2 == 0 {
                assert_eq!(client.get_entry("good").await.unwrap().unwrap().value, "1");
            } else {
                assert_eq!(client.get_entry("bad").await.unwrap_err().kind(), ErrorKind::Corrupt);
                assert_eq!(client.get("bad").await.unwrap(), Some("2".into()), "its value is readable");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_readers_do_not_block_others() {
    let client = client(&empty("pool_size=1"));
    client.set("k", "1").await.unwrap();
    for _ in 0..20 {
        let readers: Vec<_> = (0..50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.get("k").await })
            })
            .collect();
        tokio::task::yield_now().await;
        for reader in readers.iter().step_by(2) {
            reader.abort();
        }
        for reader in readers.into_iter().skip(1).step_by(2) {
            let value = timeout(Duration::from_secs(20), reader).await.unwrap().unwrap().unwrap();
            assert_eq!(value, Some("1".into()));
        }
    }
}

#[tokio::test]
async fn long_lists_of_keys_have_the_same_results_as_short_ones() {
    for layout in ["flat", "partitioned"] {
        let client = client(&empty(&format!("layout={layout}")));
        let other = client.with_bucket(Bucket::new("other").unwrap());
        let names: Vec<String> = (0..700).map(|n| format!("k{}", n * 7 % 1500)).chain(["k7".to_owned()]).collect();
        assert!(other.get_many(&names).await.unwrap().iter().all(Option::is_none), "the bucket does not exist");
        other.set("k7", "of the other").await.unwrap();
        // With the longest values the table is not small for 700 keys. Longer values would be compressed.
        for length in [3, 30, 1500] {
            let items: Vec<(String, String)> = (0..1000).map(|n| (format!("k{n}"), format!("{n:0length$}"))).collect();
            client.set_many(&items).await.unwrap();
            client.set_ex("k14", "ends", Duration::from_secs(3600)).await.unwrap();
            let keys: Vec<Key> = names.iter().map(|name| Key::new(name).unwrap()).collect();
            let long = client.store().get(client.bucket(), &keys).await.unwrap();
            let mut short = vec![];
            for keys in keys.chunks(90) {
                let snapshot = client.store().get(client.bucket(), keys).await.unwrap();
                assert_eq!(snapshot.revision, long.revision);
                short.extend(snapshot.entries);
            }
            assert_eq!(long.entries, short, "{length}");
            assert_eq!(client.get_many(&names).await.unwrap(), long.clone().into_values(), "{length}");
            let value = |at: usize| long.entries[at].as_ref().map(|entry| entry.value.clone());
            assert_eq!((value(1), value(700)), (Some(format!("{:0length$}", 7).into()), value(1)));
            assert_eq!(value(2).as_deref(), Some(&b"ends"[..]));
            assert_eq!(short.iter().flatten().count(), names.iter().filter(|name| name.len() < 5).count());
        }
        let found = other.get_many(&names).await.unwrap();
        assert_eq!(found.iter().flatten().collect::<Vec<_>>(), ["of the other", "of the other"]);
    }
}

#[tokio::test]
async fn long_lists_work_on_a_server_without_relation_sizes() {
    let server = Server::start("fsync = off");
    let client = client(&server.url(""));
    let items: Vec<(String, String)> = (0..300).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
    client.set_many(&items).await.unwrap();
    server.psql("ALTER FUNCTION pg_relation_size(regclass) RENAME TO nobody_knows_this");
    let names: Vec<&str> = items.iter().map(|(name, _)| name.as_str()).collect();
    let values = client.get_many(&names).await.unwrap();
    assert!(values.iter().flatten().eq(items.iter().map(|(_, value)| value)));
}

#[tokio::test]
async fn plans_for_a_small_table_use_the_index_when_it_has_grown() {
    let (server, table) = (Server::shared(), table());
    // One connection, whose plans are made while the table is almost empty.
    let client = client(&server.url(&format!("table={table}&pool_size=1")));
    let items: Vec<(String, &str)> = (0..9000).map(|n| (format!("k{n:05}"), "v")).collect();
    let some: Vec<&String> = items.iter().step_by(450).map(|(key, _)| key).collect();
    let more: Vec<&String> = items.iter().step_by(42).map(|(key, _)| key).collect();
    for _ in 0..10 {
        client.set_many(&items[..20]).await.unwrap();
        client.get_many(&some).await.unwrap();
        client.get_many(&more).await.unwrap();
    }
    client.set_many(&items).await.unwrap();
    let read = async || -> i64 {
        // A server process reports its statistics at most once a second, and only when it is active.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        client.get("k00000").await.unwrap();
        let sql = format!("SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = '{table}_pkey'");
        server.psql(&sql).parse().unwrap()
    };
    let before = read().await;
    for _ in 0..20 {
        assert!(client.get_many(&some).await.unwrap().iter().all(Option::is_some));
        assert!(client.get_many(&more).await.unwrap().iter().all(Option::is_some));
        client.set_many(&items[..20]).await.unwrap();
    }
    let read = read().await - before;
    // Twenty times twenty and twenty times 215, two or three times over; all of the bucket each time would be 360,000.
    assert!((4_700..30_000).contains(&read), "{read} rows were read");
}
