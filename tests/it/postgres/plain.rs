//! Plain writes, in a single statement, have the same results as evaluated writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kvs::memory::MemoryStore;
use kvs::model::{
    Batch, Bucket, Clock, ContentType, ErrorKind, Key, Outcome, Returning, Revision, Scan, SystemClock, Time, Write,
};
use kvs::postgres::PostgresOptions;
use kvs::store::suite::TestClock;
use kvs::store::{Limits, Store};
use tokio::time::timeout;

use super::{Server, client, client_at, empty, open, table};

/// A deterministic random number generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[usize::try_from(self.below(these.len() as u64)).unwrap()]
    }

    fn end(&mut self, now: Time) -> Option<Time> {
        let spans = [None, None, Some(1), Some(3), Some(0)];
        self.one_of(&spans).map(|span| now.plus(Duration::from_secs(span)))
    }

    /// Some times are a little ahead of now, as after a date precondition.
    fn modified(&mut self, now: Time) -> Option<Time> {
        let ahead = |millis| Some(now.plus(Duration::from_millis(millis)));
        let times = [None, None, None, Some(Time::from_secs(7)), ahead(999), ahead(1500), ahead(2400), ahead(3100)];
        self.one_of(&times)
    }

    fn write(&mut self, now: Time) -> Write {
        let key = Key::new(self.one_of(&["a", "b", "c"])).unwrap();
        let values: [&[u8]; 13] = [
            b"1",
            b"-0",
            b"+5",
            b" 7 ",
            b"8\n",
            b"007",
            b"999999999999999999",
            b"1000000000000000000",
            b"9223372036854775807",
            b"-9223372036854775808",
            b"123456789012345678901234567890",
            b"",
            b"\xff\\061",
        ];
        match self.below(8) {
            0..=2 => Write::Put {
                key,
                value: Bytes::from_static(self.one_of(&values)),
                content_type: ContentType::new(self.one_of(&["text/html", ContentType::default().as_str()])).unwrap(),
                expires: self.end(now),
                modified: self.modified(now),
            },
            3 => Write::Delete { key },
            4 | 5 => Write::Touch { key, expires: self.end(now) },
            _ => {
                let by = [1, -1, 0, i64::MAX, i64::MIN, 8_000_000_000_000_000_000, -8_000_000_000_000_000_000];
                Write::Increment { key, by: self.one_of(&by) }
            }
        }
    }
}

#[tokio::test]
async fn random_writes_have_the_same_results_as_in_memory() {
    let clock = Arc::new(TestClock::default());
    let options = PostgresOptions { clock: clock.clone(), ..PostgresOptions::default() };
    let (ours, reference) = (open(&empty(""), options), MemoryStore::new(clock.clone(), Limits::default()));
    let (bucket, mut dice) = (Bucket::default(), Dice(1));
    let keys = ["a", "b", "c", "a"].map(|name| Key::new(name).unwrap());
    for step in 0..2500 {
        match dice.below(12) {
            0 => clock.advance(Duration::from_millis(700)),
            1 => clock.step_back(Duration::from_millis(200)),
            _ => {}
        }
        // Mostly single writes, which have their own statements.
        let count = dice.one_of(&[1, 1, 1, 1, 2, 3]);
        let writes: Vec<Write> = (0..count).map(|_| dice.write(clock.now())).collect();
        let returning = match dice.below(3) {
            0 => Returning::Nothing,
            1 => Returning::Metadata,
            _ => Returning::Entries,
        };
        let batch = Batch::new(writes).returning(returning);
        let done = ours.apply(&bucket, batch.clone()).await.map_err(|error| error.kind());
        let expected = reference.apply(&bucket, batch.clone()).await.map_err(|error| error.kind());
        assert_eq!(done, expected, "step {step}: {batch:?}");
        assert_eq!(
            ours.get(&bucket, &keys).await.unwrap(),
            reference.get(&bucket, &keys).await.unwrap(),
            "step {step}"
        );
        let one = std::slice::from_ref(&keys[0]);
        assert_eq!(ours.get(&bucket, one).await.unwrap(), reference.get(&bucket, one).await.unwrap(), "step {step}");
    }
    let pages = (ours.scan(&bucket, Scan::default()).await, reference.scan(&bucket, Scan::default()).await);
    assert_eq!(pages.0.unwrap().entries, pages.1.unwrap().entries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_writes_wake_other_processes_unless_without_effect() {
    let url = empty("");
    let (a, b) = (client(&url), client(&url));
    a.increment("n", 1).await.unwrap();
    let changed = async |since| {
        let woken = b.store().changed(b.bucket(), since);
        timeout(Duration::from_secs(10), woken).await.unwrap().unwrap()
    };
    let revision = async || b.store().get(b.bucket(), &[]).await.unwrap().revision;
    for step in 0..3 {
        let since = revision().await;
        match step {
            0 => assert_eq!(a.increment("n", 1).await.unwrap(), 2),
            1 => assert!(a.expire("n", Duration::from_secs(60)).await.unwrap()),
            _ => assert!(a.delete("n").await.unwrap()),
        }
        assert!(changed(since).await > since, "{step}");
    }
    let since = revision().await;
    assert!(!a.delete("n").await.unwrap() && !a.persist("n").await.unwrap());
    assert_eq!(revision().await, since, "a write without effect does not change the revision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_plain_writes_lose_nothing_and_revisions_grow() {
    let url = empty("");
    let clients = [client(&url), client(&url), client(&url)];
    let mut tasks = tokio::task::JoinSet::new();
    for (n, client) in clients.iter().cloned().enumerate() {
        tasks.spawn(async move {
            let key = Key::new("n").unwrap();
            let mut last = Revision::ZERO;
            for _ in 0..60 {
                let mut writes = vec![Write::Increment { key: key.clone(), by: 1 }];
                if n == 2 {
                    writes.push(Write::put(Key::new("x").unwrap(), "1"));
                }
                let batch = Batch::new(writes);
                let outcome = client.store().apply(client.bucket(), batch).await.unwrap();
                let Outcome::Committed { revision, changes } = outcome else { panic!("refused") };
                let written = changes[0].after.as_ref().unwrap().revision;
                assert!(last < written && written <= revision, "{last:?} {written:?} {revision:?}");
                last = revision;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(clients[0].get_string("n").await.unwrap().as_deref(), Some("180"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_concurrent_write_with_the_later_revision_is_stored() {
    let url = empty("");
    client(&url).set("shared", "first").await.unwrap();
    let created = client(&url).get_entry("shared").await.unwrap().unwrap().created;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..2 {
        let client = client(&url);
        tasks.spawn(async move {
            let mut written = vec![];
            for step in 0..80 {
                let value = format!("{n}.{step}");
                let own = format!("of_{n}_{step}");
                let names = ["shared", own.as_str()];
                let writes = names.map(|name| Write::put(Key::new(name).unwrap(), value.clone())).into();
                let batch = Batch::new(writes).returning(Returning::Nothing);
                let outcome = client.store().apply(client.bucket(), batch).await.unwrap();
                let Outcome::Committed { revision, changes } = outcome else { panic!("refused") };
                assert!(changes.is_empty());
                // The last of the two writes has the bucket's revision, the first the one before.
                let entry = client.get_entry(&own).await.unwrap().unwrap();
                assert_eq!((entry.revision, &entry.value[..]), (revision, value.as_bytes()));
                written.push((revision, value));
            }
            written
        });
    }
    let mut written: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    written.sort();
    assert!(written.is_sorted_by(|a, b| a.0.number() + 2 <= b.0.number()), "each batch has two revisions of its own");
    let (last, value) = written.pop().unwrap();
    let entry = client(&url).get_entry("shared").await.unwrap().unwrap();
    assert_eq!((entry.revision.number() + 1, &entry.value[..]), (last.number(), value.as_bytes()));
    assert_eq!(entry.created, created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_values_are_returned_in_a_mixed_group() {
    let client = client(&empty("pool_size=1"));
    let name = |n: usize| format!("k{n}");
    let before: Vec<(String, String)> = (0..64).map(|n| (name(n), format!("old {n}"))).collect();
    client.set_many(&before).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let client = client.clone();
        tasks.spawn(async move {
            if n % 2 == 0 {
                client.set(&name(n), "new").await.unwrap();
            } else {
                let old = client.get_and_set(&name(n), "new").await.unwrap();
                assert_eq!(old, Some(format!("old {n}").into()));
            }
        });
    }
    tasks.join_all().await;
    let names: Vec<String> = (0..64).map(name).collect();
    assert!(client.get_many(&names).await.unwrap().into_iter().all(|value| value == Some("new".into())));
}

#[tokio::test]
async fn a_write_that_waited_for_a_lock_has_the_time_of_its_commit() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}")));
    client.set_many(&[("a", "1"), ("b", "1")]).await.unwrap();
    for many in [false, true] {
        // Another process holds the bucket for two seconds and moves it by one.
        let sql = format!("UPDATE {table}_buckets SET revision = revision + 1; SELECT pg_sleep(2)");
        let other = tokio::task::spawn_blocking(move || Server::shared().psql(&format!("BEGIN; {sql}; COMMIT")));
        let holds = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%{table}_buckets%'"
        );
        while server.psql(&holds) != "1" {
            assert!(!other.is_finished(), "it did not lock the bucket");
        }
        let started = SystemClock.now();
        let pairs = [("a", "2"), ("b", "2")];
        if many {
            client.set_many(&pairs).await.unwrap();
        } else {
            client.set("a", "2").await.unwrap();
        }
        other.await.unwrap();
        let revision = client.get_entry("a").await.unwrap().unwrap().revision;
        let waited = revision.time().since(started);
        assert!(waited > Duration::from_millis(300), "{waited:?}");
    }
}

#[tokio::test]
async fn incrementing_an_expired_number_starts_from_zero() {
    let clock = Arc::new(TestClock::default());
    let client = client_at(&empty(""), clock.clone());
    client.set_ex("n", "41", Duration::from_secs(1)).await.unwrap();
    assert_eq!(client.increment("n", 1).await.unwrap(), 42);
    clock.advance(Duration::from_secs(1));
    let revision = client.set("other", "x").await.unwrap();
    assert_eq!(client.increment("n", 1).await.unwrap(), 1);
    let entry = client.get_entry("n").await.unwrap().unwrap();
    assert_eq!((entry.expires, entry.created), (None, entry.revision.time()));
    assert!(entry.revision > revision);
}

#[tokio::test]
async fn a_write_over_a_row_damaged_by_hand_is_acknowledged() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}")));
    let damage = || server.psql(&format!("UPDATE {table} SET type = 'no type'"));
    client.set_many(&[("a", "1"), ("b", "2")]).await.unwrap();
    damage();
    assert_eq!(client.get_entry("a").await.unwrap_err().kind(), ErrorKind::Corrupt);
    client.set("a", "3").await.unwrap();
    assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("3"));
    client.set_many(&[("a", "4"), ("b", "5")]).await.unwrap();
    assert_eq!(client.get_many(&["a", "b"]).await.unwrap(), [Some("4".into()), Some("5".into())]);
    damage();
    assert!(client.expire("a", Duration::from_secs(60)).await.unwrap());
    assert_eq!(client.increment("a", 1).await.unwrap(), 5);
    assert!(client.delete("a").await.unwrap());
    assert_eq!(client.delete_many(&["a", "b"]).await.unwrap(), 1);
}
