//! The tables: how they are created, the parameters of the URL, and the removal of expired entries.

use std::sync::Arc;
use std::time::Duration;

use kvs::client::{Client, Options as Set};
use kvs::model::{Bucket, ErrorKind};
use kvs::postgres::{PostgresOptions, PostgresStore};
use kvs::store::Task;
use kvs::store::suite::TestClock;

use super::{Server, client, client_at, empty, open, table};

#[tokio::test]
async fn layout_partitioned_creates_a_partition_per_bucket() {
    let (server, table) = (Server::shared(), table());
    let url = server.url(&format!("table={table}&layout=partitioned&mode=unlogged"));
    let client = client(&url);
    let long = "x".repeat(64);
    for bucket in ["default", "a.b-C", &long] {
        let client = client.with_bucket(Bucket::new(bucket).unwrap());
        assert_eq!(client.get("k").await.unwrap(), None);
        client.set("k", bucket.to_owned()).await.unwrap();
        assert_eq!(client.get_string("k").await.unwrap().as_deref(), Some(bucket));
    }
    let sql = "SELECT c.relname, c.relpersistence FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = 'TABLE'::regclass ORDER BY 1"
        .replace("TABLE", &table);
    let partitions = server.psql(&sql);
    let partitions: Vec<&str> = partitions.lines().collect();
    assert_eq!(partitions.len(), 3, "{partitions:?}");
    assert!(partitions.iter().all(|line| line.ends_with("|u")), "{partitions:?}");
    assert_eq!(partitions[0], format!("{table}_of_a.b-C|u"));
    assert_eq!(client.buckets().await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_existing_partitioned_table_works_with_layout_flat() {
    let (server, table) = (Server::shared(), table());
    let url = |more: &str| server.url(&format!("table={table}&{more}"));
    client(&url("layout=partitioned")).set("k", "1").await.unwrap();
    let flat = client(&url("layout=flat"));
    assert_eq!(flat.get_string("k").await.unwrap().as_deref(), Some("1"));
    let other = flat.with_bucket(Bucket::new("other").unwrap());
    other.set_many(&[("k", "2"), ("l", "3")]).await.unwrap();
    assert_eq!(other.increment("n", 1).await.unwrap(), 1);
}

#[tokio::test]
async fn the_url_sets_schema_mode_and_connection_parameters() {
    let (server, table) = (Server::shared(), table());
    let url = server.url(&format!("table={table}&schema=elsewhere&mode=unlogged&application_name=web&pool_size=1"));
    let client = client(&url);
    client.set("k", "wörld").await.unwrap();
    assert_eq!(
        server.psql(&format!("SELECT relpersistence FROM pg_class WHERE oid = 'elsewhere.{table}'::regclass")),
        "u"
    );
    assert_eq!(server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'web'"), "1");
    let row = server.psql(&format!(
        "SELECT bucket, key, value, type, updated_at > now() - interval '1 minute' FROM elsewhere.{table}_readable"
    ));
    assert_eq!(row, r"default|k|w\303\266rld|text/plain; charset=utf-8|t");
}

#[tokio::test]
async fn a_user_who_cannot_create_tables_is_sent_to_store_init() {
    let (server, table) = (Server::shared(), table());
    server.psql(&format!("CREATE ROLE {table}_reader LOGIN"));
    let url = |user: &str| server.url(&format!("table={table}")).replace("user=kvs", &format!("user={user}"));
    let reader = client(&url(&format!("{table}_reader")));
    let error = reader.get("k").await.unwrap_err();
    assert!(error.to_string().contains("`kvs store init`"), "{error}");
    let owner = PostgresStore::open(&url("kvs"), PostgresOptions::default()).unwrap();
    owner.init(false).await.unwrap();
    owner.init(false).await.unwrap();
    server.psql(&format!("GRANT SELECT ON {table}, {table}_buckets TO {table}_reader"));
    assert_eq!(reader.get("k").await.unwrap(), None);
    let error = reader.set("k", "1").await.unwrap_err();
    assert!(error.to_string().contains("PostgreSQL denied permission"), "{error}");
}

#[tokio::test]
async fn tables_dropped_while_in_use_are_created_again() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}")));
    client.set("k", "1").await.unwrap();
    server.psql(&format!("DROP TABLE {table} CASCADE; DROP TABLE {table}_buckets"));
    assert_eq!(client.get("k").await.unwrap(), None);
    client.increment("n", 1).await.unwrap();
}

#[tokio::test]
async fn distributing_the_tables_without_citus_is_an_error() {
    let store = PostgresStore::open(&empty(""), PostgresOptions::default()).unwrap();
    assert!(store.sql(true).contains("create_distributed_table"));
    let error = store.init(true).await.unwrap_err();
    assert!(error.to_string().contains("distribute"), "{error}");
}

/// The number of rows.
fn rows(table: &str) -> String {
    Server::shared().psql(&format!("SELECT count(*) FROM {table}"))
}

/// A client of a store with one expired entry and one other.
async fn with_expired(table: &str, policy: &str) -> Client {
    let clock = Arc::new(TestClock::default());
    let client = client_at(&Server::shared().url(&format!("table={table}&expired={policy}")), clock.clone());
    client.set_with("gone", "1", &Set::ttl(Duration::from_secs(1))).await.unwrap();
    client.set("there", "1").await.unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(client.keys("").await.unwrap().len(), 1);
    assert_eq!(client.count("").await.unwrap(), 1);
    assert_eq!(client.get_many(&["gone", "there"]).await.unwrap(), [None, Some("1".into())]);
    client
}

#[tokio::test]
async fn expired_on_read_removes_expired_entries_after_a_read() {
    let table = table();
    let _client = with_expired(&table, "on-read").await;
    for _ in 0..200 {
        if rows(&table) == "1" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the row still exists");
}

#[tokio::test]
async fn expired_entries_stay_until_a_sweep_or_forever() {
    for (policy, left) in [("sweep", "1"), ("never", "2")] {
        let table = table();
        let client = with_expired(&table, policy).await;
        assert_eq!(rows(&table), "2", "{policy}");
        for task in [Task::RemoveExpired, Task::Compact] {
            client.store().maintain(client.bucket(), task).await.unwrap();
        }
        assert_eq!(rows(&table), left, "{policy}");
        assert_eq!(client.get("gone").await.unwrap(), None);
        assert!(client.set_nx("gone", "2").await.unwrap(), "an expired entry does not exist");
    }
}

#[tokio::test]
async fn a_check_finds_rows_that_kvs_cannot_have_written() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}")));
    client.set("good", "1").await.unwrap();
    for (key, kind, revision) in [("E'a\\nb'", "NULL", "1"), ("'t'", "'no type'", "1"), ("'r'", "NULL", "9e18::bigint")]
    {
        server.psql(&format!("INSERT INTO {table} VALUES ('default', {key}, '', {kind}, {revision}, 1)"));
    }
    let report = client.store().maintain(client.bucket(), Task::Check).await.unwrap();
    let findings: Vec<_> = report.findings.iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(findings.len(), 3, "{findings:?}");
    assert!(
        findings.iter().zip(["\"a\\nb\"", "\"r\"", "\"t\""]).all(|(text, key)| text.starts_with(key)),
        "{findings:?}"
    );
    assert_eq!(client.keys("").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(client.get_string("good").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_nul_in_the_bounds_of_a_scan_works() {
    let store = open(&empty(""), PostgresOptions::default());
    let client = Client::new(store);
    client.set_many(&[("a", "1"), ("ab", "2"), ("b", "3")]).await.unwrap();
    let query = |start: Option<&str>, end: Option<&str>| kvs::model::Scan {
        start: start.map(str::to_owned),
        end: end.map(str::to_owned),
        ..kvs::model::Scan::default()
    };
    let keys = async |query| -> Vec<String> {
        client.scan(query).await.unwrap().entries.iter().map(|(key, _)| key.to_string()).collect()
    };
    assert_eq!(keys(query(Some("a\0"), None)).await, ["ab", "b"]);
    assert_eq!(keys(query(None, Some("a\0"))).await, ["a"]);
    assert_eq!(client.count("a\0").await.unwrap(), 0);
}
