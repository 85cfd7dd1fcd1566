//! Changes since a revision: the table that remembers them, its creation in a database of an older version, the removal
//! of old changes, and the plans of its statements.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::client::{Client, Options as Set};
use kvs::model::{Batch, ChangesPage, ChangesQuery, Condition, Expectation, Key, Revision, Write};
use kvs::store::Task;
use kvs::store::suite::TestClock;
use tokio::task::JoinSet;

use super::{Server, client, client_at, empty, table};

const HOUR: Duration = Duration::from_secs(3600);

async fn page(client: &Client, query: ChangesQuery) -> Option<ChangesPage> {
    client.store().changes().unwrap().changes_since(client.bucket(), query).await.unwrap()
}

/// The keys that have changed since then, each with a sign that says whether it exists; `None` if that is unknown.
async fn since(client: &Client, since: Revision) -> Option<String> {
    let page = page(client, ChangesQuery::since(since)).await?;
    let sign = |present: bool| if present { '+' } else { '-' };
    let changes = page.changes.iter().map(|change| format!("{}{}", sign(change.entry.is_some()), change.key));
    Some(changes.collect::<Vec<_>>().join(" "))
}

async fn revision(client: &Client) -> Revision {
    client.store().get(client.bucket(), &[]).await.unwrap().revision
}

/// Makes the tables as older versions have left them.
fn make_old(server: &Server, table: &str) {
    server.psql(&format!("DROP TABLE {table}_changes; DROP INDEX {table}_revisions"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_an_older_version_are_completed_at_the_first_use() {
    for layout in ["flat", "partitioned", "flat&mode=unlogged"] {
        let (server, table) = (Server::shared(), table());
        let url = server.url(&format!("table={table}&layout={layout}"));
        let old = client(&url);
        let first = old.set("a", "1").await.unwrap();
        old.set("b", "1").await.unwrap();
        old.delete("b").await.unwrap();
        let last = revision(&old).await;
        make_old(server, &table);
        let mut tasks = JoinSet::new();
        for n in 0..6 {
            // Each is a process that uses the tables for the first time. Its URL may differ in how tables are created.
            let client =
                client(&server.url(&format!("table={table}&layout={}", if n % 2 == 0 { layout } else { "flat" })));
            tasks.spawn(async move {
                assert_eq!(since(&client, first).await, None, "the deletion is not known");
                assert_eq!(since(&client, Revision::ZERO).await.as_deref(), Some("+a"));
                assert_eq!(since(&client, last).await.as_deref(), Some(""));
            });
        }
        tasks.join_all().await;
        let new = client(&url);
        new.delete("a").await.unwrap();
        new.set("c", "1").await.unwrap();
        assert_eq!(since(&new, last).await.as_deref(), Some("-a +c"), "{layout}");
        let kinds = format!(
            "SELECT count(DISTINCT relpersistence) FROM pg_class \
             WHERE relname IN ('{table}_buckets', '{table}_changes')"
        );
        assert_eq!(server.psql(&kinds), "1", "{layout}");
        // Tables that are complete do not lose what they know.
        kvs::postgres::PostgresStore::open(&url, kvs::postgres::PostgresOptions::default())
            .unwrap()
            .init(false)
            .await
            .unwrap();
        assert_eq!(since(&new, last).await.as_deref(), Some("-a +c"), "{layout}");
        assert_eq!(new.buckets().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_user_who_cannot_complete_the_tables_is_sent_to_store_init() {
    let (server, table) = (Server::shared(), table());
    let url = server.url(&format!("table={table}"));
    client(&url).set("a", "1").await.unwrap();
    make_old(server, &table);
    server.psql(&format!(
        "CREATE ROLE {table}_user LOGIN; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {table}, {table}_buckets TO {table}_user"
    ));
    let user = client(&url.replace("user=kvs", &format!("user={table}_user")));
    let error = user.get("a").await.unwrap_err();
    assert!(error.to_string().contains("`kvs store init`"), "{error}");
    client(&url).get("a").await.unwrap();
    assert_eq!(user.get_string("a").await.unwrap().as_deref(), Some("1"), "a read needs no further privilege");
    let error = user.delete("a").await.unwrap_err();
    assert!(error.to_string().contains(&format!("\"{table}_blob_parts\" TO \"{table}_user\"")), "{error}");
    server.psql(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table}_changes TO {table}_user"));
    assert!(user.delete("a").await.unwrap());
}

#[tokio::test]
async fn changes_are_unknown_if_the_tables_were_emptied() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}")));
    let first = client.set("a", "1").await.unwrap();
    // As after a crash, if the tables are unlogged.
    server.psql(&format!("TRUNCATE {table}, {table}_buckets, {table}_changes"));
    assert_eq!(since(&client, first).await, None);
    let again = client.set("b", "1").await.unwrap();
    assert_eq!(since(&client, first).await, None, "the deletion of a is not known");
    client.delete("b").await.unwrap();
    assert_eq!(since(&client, again).await.as_deref(), Some("-b"));
    server.psql(&format!("TRUNCATE {table}_changes"));
    assert_eq!(since(&client, again).await, None);
    client.store().maintain(client.bucket(), Task::RemoveExpired).await.unwrap();
    let last = revision(&client).await;
    client.set("c", "1").await.unwrap();
    assert_eq!((since(&client, again).await, since(&client, last).await), (None, Some("+c".to_owned())));
}

#[tokio::test]
async fn old_changes_are_removed_and_positions_before_them_unknown() {
    for by_a_write in [false, true] {
        let (server, table, clock) = (Server::shared(), table(), Arc::new(TestClock::default()));
        let client = client_at(&server.url(&format!("table={table}")), clock.clone());
        let rows = || server.psql(&format!("SELECT count(*) FROM {table}_changes WHERE key <> ''"));
        let first = client.set_many(&[("a", "1"), ("b", "1"), ("c", "1")]).await;
        first.unwrap();
        let first = revision(&client).await;
        client.delete("a").await.unwrap();
        assert!(client.expire("b", 100 * HOUR).await.unwrap());
        let later = revision(&client).await;
        clock.advance(HOUR / 2);
        client.delete("c").await.unwrap();
        let tidy = async || {
            if by_a_write {
                client.set("t", "1").await.unwrap();
                client.delete("t").await.unwrap();
            } else {
                client.store().maintain(client.bucket(), Task::RemoveExpired).await.unwrap();
            }
        };
        tidy().await;
        assert_eq!(since(&client, first).await.unwrap().get(..8), Some("-a +b -c"), "{by_a_write}");
        clock.advance(HOUR / 2 + HOUR / 4);
        let revision = revision(&client).await;
        tidy().await;
        // After a write, the removal continues in the background.
        let started = Instant::now();
        while since(&client, first).await.is_some() {
            assert!(by_a_write && started.elapsed() < Duration::from_secs(20), "not removed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(since(&client, later).await.unwrap().get(..2), Some("-c"), "{by_a_write}");
        let expected = if by_a_write { "-t" } else { "" };
        assert_eq!(since(&client, revision).await.as_deref(), Some(expected));
        assert_eq!(since(&client, Revision::ZERO).await.unwrap().matches('+').count(), 1, "all entries are known");
        assert_eq!(rows(), if by_a_write { "2" } else { "1" });
    }
}

#[tokio::test]
async fn the_last_change_of_an_expired_entry_is_known_after_its_removal() {
    for (policy, mixed) in [("sweep", false), ("on-read", false), ("sweep", true)] {
        let (server, table, clock) = (Server::shared(), table(), Arc::new(TestClock::default()));
        let client = client_at(&server.url(&format!("table={table}&expired={policy}")), clock.clone());
        let first = client.set("a", "old").await.unwrap();
        client.set_with("a", "new", &Set::ttl(Duration::from_secs(1))).await.unwrap();
        clock.advance(Duration::from_secs(2));
        if mixed {
            let writes = vec![Write::Delete { key: Key::new("a").unwrap() }, Write::put(Key::new("b").unwrap(), "1")];
            client.store().apply(client.bucket(), Batch::new(writes)).await.unwrap();
        }
        assert_eq!(client.get("a").await.unwrap(), None);
        client.store().maintain(client.bucket(), Task::RemoveExpired).await.unwrap();
        let started = Instant::now();
        while server.psql(&format!("SELECT count(*) FROM {table} WHERE key = 'a'")) != "0" {
            assert!(started.elapsed() < Duration::from_secs(20), "the row still exists");
        }
        assert_eq!(since(&client, first).await.as_deref(), Some(if mixed { "-a +b" } else { "-a" }), "{policy}");
        // An entry that was written long ago takes no room, but its removal is not known to earlier callers.
        client.set_with("long", "1", &Set::ttl(2 * HOUR)).await.unwrap();
        let revision = revision(&client).await;
        clock.advance(3 * HOUR);
        client.store().maintain(client.bucket(), Task::RemoveExpired).await.unwrap();
        assert_eq!((since(&client, first).await, since(&client, revision).await.as_deref()), (None, Some("")));
        assert_eq!(server.psql(&format!("SELECT count(*) FROM {table}_changes")), "1", "the mark");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_see_the_changes_of_each_other() {
    for layout in ["flat", "partitioned"] {
        let url = empty(&format!("layout={layout}"));
        let (a, b) = (client(&url), client(&url));
        let mut last = a.set("first", "1").await.unwrap();
        let mut seen: HashMap<String, bool> = HashMap::new();
        for n in 0..30 {
            let (writer, reader) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
            let name = format!("k{}", n % 5);
            let expected = match n % 3 {
                0 => writer.set(&name, n.to_string()).await.map(|_| true).unwrap(),
                1 => !writer.delete("k0").await.unwrap(),
                _ => {
                    // An evaluated batch.
                    let key = Key::new(&name).unwrap();
                    let present = Expectation { key: Key::new("first").unwrap(), condition: Condition::Present };
                    let writes = vec![Write::put(key.clone(), "x"), Write::Delete { key }];
                    let batch = Batch::new(writes).with_expectations(vec![present]);
                    writer.store().apply(writer.bucket(), batch).await.unwrap();
                    false
                }
            };
            let page = page(reader, ChangesQuery::since(last)).await.unwrap();
            last = page.next;
            for change in page.changes {
                assert_eq!(change.entry.is_some(), n % 3 == 0 && expected, "step {n}");
                seen.insert(change.key.to_string(), change.entry.is_some());
            }
        }
        seen.retain(|_, present| *present);
        let mut seen: Vec<_> = seen.into_keys().chain(["first".to_owned()]).collect();
        seen.sort();
        let keys: Vec<String> = a.keys("").await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(keys, seen);
    }
}

/// The rows that were read from the tables and by each index, by name.
fn reads(server: &Server, table: &str) -> HashMap<String, i64> {
    let own = format!("relname LIKE '{table}\\_%' OR relname = '{table}'");
    let sql = format!(
        "SELECT indexrelname, idx_tup_read FROM pg_stat_all_indexes WHERE {own} UNION ALL \
         SELECT relname || ' whole', coalesce(seq_tup_read, 0) FROM pg_stat_all_tables WHERE {own}"
    );
    let text = server.psql(&sql);
    text.lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(name, n)| (name.to_owned(), n.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn plans_for_empty_tables_use_the_right_index_when_they_have_grown() {
    for layout in ["flat", "partitioned"] {
        let (server, table) = (Server::shared(), table());
        // One connection, whose plans are made while the tables have one row, but statistics.
        let client = client(&server.url(&format!("table={table}&pool_size=1&layout={layout}")));
        let start = client.set("first", "1").await.unwrap();
        client.store().maintain(client.bucket(), Task::Compact).await.unwrap();
        for _ in 0..10 {
            client.set("first", "1").await.unwrap();
            client.get("first").await.unwrap();
            client.get_many(&["first", "none"]).await.unwrap();
            page(&client, ChangesQuery::since(start)).await.unwrap();
            client.expire("first", HOUR).await.unwrap();
            client.delete("first").await.unwrap();
        }
        let items: Vec<(String, &str)> = (0..20_000).map(|n| (format!("k{n:05}"), "v")).collect();
        client.set_many(&items).await.unwrap();
        let middle = revision(&client).await;
        let names: Vec<&String> = items.iter().step_by(2).map(|(name, _)| name).collect();
        client.delete_many(&names).await.unwrap();
        let deleted = revision(&client).await;
        client.set_many(&items[..300]).await.unwrap();
        let settle = async || {
            // A server process reports its statistics at most once a second, and only when it is active.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            client.get("k00001").await.unwrap();
            reads(server, &table)
        };
        let before = settle().await;
        for _ in 0..20 {
            let changes = page(&client, ChangesQuery { limit: 10, ..ChangesQuery::since(middle) }).await.unwrap();
            assert!(changes.has_more && changes.changes.iter().all(|change| change.entry.is_none()));
            let changes = page(&client, ChangesQuery::since(deleted)).await.unwrap();
            assert!(changes.has_more && changes.changes.iter().all(|change| change.entry.is_some()));
            assert_eq!(changes.changes.len(), 100);
            client.get("k00001").await.unwrap();
            client.get_many(&["k00001", "none"]).await.unwrap();
            client.set("k00001", "w").await.unwrap();
            client.expire("k00003", HOUR).await.unwrap();
            client.persist("k00003").await.unwrap();
            client.delete("k00005").await.unwrap();
            client.set("k00005", "w").await.unwrap();
        }
        let after = settle().await;
        let read: i64 = after.iter().map(|(name, n)| n - before.get(name).copied().unwrap_or(0)).sum();
        // Each round reads about 520 rows, some of them because a later put of the key has replaced a deletion. A plan
        // that reads a whole bucket reads more than ten thousand, often for each row.
        assert!(read < 20 * 2_000, "{layout}: {read} rows were read: {before:?} {after:?}");
    }
}
