//! The program `kvs` on PostgreSQL.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::server::{PASSWORD, Server};
use super::{empty, table};
use crate::cli::Place;
use crate::cli::serving::Server as Program;

fn kvs(url: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.env_clear().env("KVS_HOME", folder.path()).env("KVS_LOG", "trace").env("KVS_STORE", url);
    command.args(args).current_dir(folder.path()).output().unwrap()
}

#[track_caller]
fn text(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap() + std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn commands_work_on_postgresql() {
    let url = empty("");
    text(&kvs(&url, &["set", "kitchen/temp", "21.5"]), 0);
    assert!(text(&kvs(&url, &["get", "kitchen/temp"]), 0).starts_with("21.5"));
    text(&kvs(&url, &["incr", "n", "5"]), 0);
    assert!(text(&kvs(&url, &["check"]), 0).contains("default: 2 entries, no damage"));
    text(&kvs(&url, &["compact"]), 0);
    text(&kvs(&url, &["sweep"]), 0);
    assert!(text(&kvs(&url, &["export"]), 0).contains("kitchen/temp"));
    text(&kvs(&url, &["delete", "n"]), 0);
    text(&kvs(&url, &["get", "n"]), 1);
}

#[test]
fn store_init_creates_or_prints_the_tables() {
    let server = Server::shared();
    let (one, other) = (table(), table());
    assert!(text(&kvs(&server.url(&format!("table={one}")), &["store", "init"]), 0).contains("the tables exist"));
    assert_eq!(server.psql(&format!("SELECT count(*) FROM {one}")), "0");
    let sql = kvs(&server.url(&format!("table={other}&mode=unlogged")), &["store", "init", "--print"]);
    let sql = String::from_utf8(sql.stdout).unwrap();
    assert!(sql.contains("CREATE UNLOGGED TABLE") && !sql.contains("create_distributed_table"), "{sql}");
    server.psql(&sql);
    assert_eq!(server.psql(&format!("SELECT count(*) FROM {other}")), "0");
    let cluster = kvs("postgresql://db/kvs", &["store", "init", "--print", "--distributed"]);
    assert!(text(&cluster, 0).contains("SELECT create_distributed_table('\"kvs\"', 'bucket')"));
    assert!(text(&kvs("yaml:data", &["store", "init"]), 2).contains("has no tables"));
}

#[test]
fn no_output_shows_the_password() {
    let server = Server::shared();
    let right = PASSWORD.replace('/', "%2F").replace('?', "%3F").replace('@', "%40");
    let good = |parameters: &str| server.tcp_url(&right, parameters);
    for (url, args, code) in [
        (good(&format!("table={}", table())), &["set", "k", "v", "-vv"][..], 0),
        (good(&format!("table={}", table())), &["store", "init", "-vv"], 0),
        (good("tabel=x"), &["get", "k", "-vv"], 2),
        (good(&format!("table={}", table())), &["check", "--bucket", "none", "-vv"], 1),
        (server.tcp_url("hunter2", ""), &["get", "k", "-vv"], 1),
        (server.tcp_url(PASSWORD, ""), &["get", "k", "-vv"], 2),
        ("postgresql://kvs:hunter2@127.0.0.1:1/db".to_owned(), &["get", "k", "-vv"], 1),
        ("postgresql:kvs:hunter2@127.0.0.1:1/db".to_owned(), &["get", "k", "-vv"], 2),
    ] {
        let output = text(&kvs(&url, args), code);
        assert!(!output.contains("hunter2"), "{output}");
    }
}

#[test]
fn a_copy_in_memory_answers_while_the_server_is_down() {
    let mut server = Server::start("shared_buffers = 32MB");
    let (place, url) = (Place::new(), server.url(""));
    let set = |value: &str| place.run(&["set", "--store", &url, "door", value]).ok();
    set("open");
    let program = Program::start(&place, &["--store", &url, "--http", "127.0.0.1:0", "--memory-copy", "any"]);
    assert!(program.get("/?k=door").ends_with("\r\n\r\nopen"));
    server.crash();
    assert!(program.get("/?k=door").ends_with("\r\n\r\nopen"));
    server.restart();
    set("shut");
    let started = Instant::now();
    while !program.get("/?k=door").ends_with("\r\n\r\nshut") {
        assert!(started.elapsed() < Duration::from_secs(60), "the copy does not follow the server again");
        std::thread::sleep(Duration::from_millis(20));
    }
}
