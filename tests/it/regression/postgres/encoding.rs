//! PostgreSQL databases whose encoding cannot store every key are rejected.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::model::{Bucket, ErrorKind, Key};
use kvs::postgres::{PostgresOptions, PostgresStore};
use kvs::store::{Store as _, suite};

use crate::postgres::{Server, table};
use crate::support::served::Served;

/// The URL of a new database with this encoding.
fn database(server: &Server, encoding: &str) -> String {
    let name = format!("of_{}", encoding.to_lowercase());
    let locale = "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    server.psql(&format!("CREATE DATABASE {name} ENCODING '{encoding}' {locale}"));
    server.url("").replace("///postgres?", &format!("///{name}?"))
}

/// Runs the program, and stops it if it does not end.
fn run(url: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_kvs")]).args(args).current_dir(folder.path());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KVS_HOME", folder.path()).env("KVS_STORE", url);
    command.envs(env.iter().copied()).output().unwrap()
}

#[track_caller]
fn assert_names_encoding(text: &[u8], encoding: &str) {
    let text = String::from_utf8_lossy(text);
    assert!(text.contains(encoding) && text.contains("createdb") && text.contains("--encoding=UTF8"), "{text}");
}

#[test]
fn database_with_a_limited_encoding_is_rejected_at_start() {
    for encoding in ["LATIN1", "WIN1252", "EUC_JP"] {
        let url = database(Server::shared(), encoding);
        for args in [
            &["store", "init"][..],
            &["serve", "--http", "127.0.0.1:0"],
            &["get", "k"],
            &["set", "k", "v"],
            &["incr", "k"],
            &["delete", "k"],
            &["list"],
            &["check"],
            &["export"],
        ] {
            let output = run(&url, args, &[]);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
            assert_names_encoding(&output.stderr, encoding);
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    }
}

#[test]
fn spawned_program_rejects_a_limited_encoding() {
    let url = database(Server::shared(), "LATIN2");
    for (uri, query) in [("/?k=a", "k=a"), ("/?k=%C4%80", "k=%C4%80"), ("/status", "")] {
        let env = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", ""),
            ("REQUEST_URI", uri),
            ("PATH_INFO", uri.split('?').next().unwrap()),
            ("QUERY_STRING", query),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
        ];
        let output = run(&url, &[], &env);
        assert!(output.stdout.starts_with(b"Status: 500"), "{output:?}");
        assert_names_encoding(&output.stderr, "LATIN2");
        if uri == "/status" {
            assert_names_encoding(&output.stdout, "LATIN2");
        }
    }
}

#[test]
fn encoding_is_checked_once_the_database_is_up() {
    let mut server = Server::start("fsync = off");
    let url = database(&server, "LATIN1");
    server.crash();
    let kvs = Served::start(&["--store", &url]);
    assert!(kvs.get("/?k=a").starts_with("HTTP/1.1 503"), "it starts although no server answers");
    server.restart();
    let start = Instant::now();
    let answer = loop {
        let answer = kvs.get("/status");
        if !answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{answer}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert_names_encoding(answer.as_bytes(), "LATIN1");
    assert!(kvs.get("/?k=a").starts_with("HTTP/1.1 500"), "also for a key that it could hold");
}

#[tokio::test]
async fn calls_fail_in_a_database_with_a_limited_encoding() {
    let server = Server::shared();
    let store = PostgresStore::open(&database(server, "LATIN9"), PostgresOptions::default()).unwrap();
    let error = store.get(&Bucket::default(), &[Key::new("a").unwrap()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!error.is_outcome_unknown());
    assert_eq!(store.init(false).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.check_encoding().await.unwrap_err().kind(), ErrorKind::Corrupt);
    let unreachable = PostgresStore::open("postgresql:///none?host=/nowhere", PostgresOptions::default()).unwrap();
    unreachable.check_encoding().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sql_ascii_database_passes_the_suite() {
    let url = database(Server::shared(), "SQL_ASCII");
    suite::run(async |setup| {
        let options = PostgresOptions { clock: setup.clock, limits: setup.limits, ..PostgresOptions::default() };
        Arc::new(PostgresStore::open(&format!("{url}table={}", table()), options).unwrap())
            as Arc<dyn kvs::store::Store>
    })
    .await;
}
