//! A PostgreSQL role without write privileges: nothing is stored, and the error says what to grant.

use kvs::model::{Bucket, Error, ErrorKind};
use kvs::postgres::{PostgresOptions, PostgresStore};
use kvs::store::{Store as _, Task};

use crate::postgres::{Server, table};
use crate::support::served::{SECRET, Served};
use crate::yaml::fixtures::{batch, put};

/// A new role, and its URL for tables that another role has created.
fn role(server: &Server) -> (String, String) {
    let table = table();
    let role = format!("{table}_Guest");
    server.psql(&format!("CREATE ROLE \"{role}\" LOGIN"));
    let url = server.url(&format!("table={table}"));
    (table, url.replace("user=kvs", &format!("user={role}")))
}

async fn made(server: &Server, table: &str) {
    let owner = PostgresStore::open(&server.url(&format!("table={table}")), PostgresOptions::default()).unwrap();
    owner.init(false).await.unwrap();
}

async fn refused(store: &PostgresStore) -> Error {
    store.apply(&Bucket::default(), batch(vec![put("a", "1")])).await.unwrap_err()
}

/// The tables of a store, as a statement lists them.
fn tables(table: &str) -> String {
    ["", "_buckets", "_changes", "_logs", "_log_entries", "_blobs", "_blob_parts"]
        .map(|ending| format!("\"{table}{ending}\""))
        .join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_privilege_is_reported_with_the_grant() {
    let server = Server::shared();
    let (table, url) = role(server);
    let guest = format!("\"{table}_Guest\"");
    let store = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    let tables = tables(&table);
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {guest}");
    // It may not create tables either.
    assert_eq!(refused(&store).await.kind(), ErrorKind::PermissionDenied);
    made(server, &table).await;
    for granted in ["", "SELECT", "SELECT, INSERT", "SELECT, UPDATE, DELETE"] {
        if !granted.is_empty() {
            server.psql(&format!("REVOKE ALL ON {tables} FROM {guest}; GRANT {granted} ON {tables} TO {guest}"));
        }
        let (write, status) =
            (refused(&store).await, store.maintain(&Bucket::default(), Task::Status).await.unwrap_err());
        for error in [write, status] {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{granted}: {error}");
            assert!(error.to_string().contains(&grant) && error.to_string().contains("nothing was stored"), "{error}");
        }
        assert_eq!(server.psql(&format!("SELECT count(*) FROM \"{table}\"")), "0", "{granted}");
    }
    // The advice of the error works.
    server.psql(&grant);
    store.maintain(&Bucket::default(), Task::Status).await.unwrap();
    store.apply(&Bucket::default(), batch(vec![put("a", "1")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_role_is_reported_at_once_without_retry() {
    let server = Server::shared();
    let (table, url) = role(server);
    made(server, &table).await;
    let guest = format!("\"{table}_Guest\"");
    let tables = tables(&table);
    server.psql(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {guest}"));
    server.psql(&format!("ALTER ROLE {guest} SET default_transaction_read_only = on"));
    let store = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    assert_eq!(store.get(&Bucket::default(), &[]).await.unwrap().entries.len(), 0);
    let help = format!("ALTER ROLE {guest} RESET default_transaction_read_only");
    for error in [refused(&store).await, store.maintain(&Bucket::default(), Task::Status).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains(&help), "{error}");
    }
    server.psql(&help);
    let again = PostgresStore::open(&url, PostgresOptions::default()).unwrap();
    again.maintain(&Bucket::default(), Task::Status).await.unwrap();
    again.apply(&Bucket::default(), batch(vec![put("a", "1")])).await.unwrap();
}

#[test]
fn missing_write_privilege_is_shown_in_status() {
    let server = Server::shared();
    let (table, url) = role(server);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(made(server, &table));
    let guest = format!("\"{table}_Guest\"");
    server.psql(&format!("GRANT SELECT ON \"{table}\", \"{table}_buckets\" TO {guest}"));
    let served = Served::start(&["--store", &url]);
    let head = format!("PUT /kv/default/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {SECRET}");
    let answer = served.ask(&format!("{head}\r\nContent-Length: 1\r\n\r\n1"));
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("nothing was "), "{answer}");
    assert!(!answer.contains("may have been done") && !answer.contains(&table), "{answer}");
    let status = served.get("/status");
    assert!(status.starts_with("HTTP/1.1 500 ") && status.contains("GRANT SELECT, INSERT"), "{status}");
    assert!(served.get("/readyz").starts_with("HTTP/1.1 503 "));
    assert!(served.get("/kv/default/a").starts_with("HTTP/1.1 404 "), "it may read");
}
