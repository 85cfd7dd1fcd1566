//! A page follows keys with the `EventSource` of the browser: directly and through Apache, and after a restart.

use std::fs;

use serde_json::{Value, json};

use super::chromium::Chromium;
use super::visit::{PATIENCE, Visit};
use super::{SOON, line};
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

/// Collects the events of a list: name, key and id.
const FOLLOW: &str = "(() => {
    window.seen = [];
    window.source = new EventSource('LIST');
    for (const name of ['reset', 'put', 'delete'])
        source.addEventListener(name, e => seen.push([name, JSON.parse(e.data).key ?? '', e.lastEventId]));
    return true;
})()";

/// The names and keys of the events so far.
const KINDS: &str = "seen.map(([name, key]) => `${name} ${key}`.trim()).join(', ')";

#[tokio::test]
async fn event_source_continues_after_a_restart() {
    let mut visit = Visit::with(&line("rooms/hall", "19", 60), &["--reads", "listed"]).await;
    visit.see(&FOLLOW.replace("LIST", "/kv/default?prefix=rooms/")).await;
    visit.until(&format!("{KINDS} === 'reset'")).await;
    visit.endpoint.store("other", "1").await;
    visit.endpoint.store("rooms/hall", "20").await;
    assert!(visit.until(&format!("{KINDS} === 'reset, put rooms/hall'")).await < SOON);
    // Another process on the same files.
    visit.endpoint.run(&["delete", "rooms/hall"]);
    assert!(visit.until(&format!("{KINDS} === 'reset, put rooms/hall, delete rooms/hall'")).await < SOON);

    visit.endpoint.store("rooms/attic", "1").await;
    visit.until("seen.length === 4").await;
    visit.endpoint.stop();
    visit.endpoint.run(&["set", "rooms/cellar", "2"]);
    visit.endpoint.run(&["delete", "rooms/attic"]);
    visit.endpoint.start_again().await;
    // Nothing is missed, nothing comes twice, and there is no second `reset`.
    visit.until("seen.length >= 6").await;
    visit.endpoint.store("rooms/last", "1").await;
    visit.until("seen.at(-1)[1] === 'rooms/last'").await;
    let kinds = "reset, put rooms/hall, delete rooms/hall, put rooms/attic, put rooms/cellar, delete rooms/attic, \
                 put rooms/last";
    assert_eq!(visit.see(KINDS).await, json!(kinds));
    assert_eq!(visit.see("seen.every(([, , id], n) => n === 0 || id > seen[n - 1][2])").await, json!(true));
    visit.end().await;
}

#[tokio::test]
async fn event_source_works_through_every_web_server() {
    for way in [Way::ModProxyFcgi, Way::NginxProxy, Way::ModFcgid] {
        let site = Site::new();
        fs::write(site.root().join("config.yaml"), "buckets:\n  rooms: {reads: listed}\n").unwrap();
        let server = Server::start_in(site, way);
        let browser = Chromium::start().await;
        // By itself the page would follow `rooms`, which everybody may list; under mod_fcgid only one stream waits.
        browser.client.goto(&format!("http://127.0.0.1:{}/?bucket=other", server.port)).await.unwrap();
        let see = async |script: &str| browser.client.execute(&format!("return {script};"), vec![]).await.unwrap();
        let until = async |kinds: &str| {
            let start = std::time::Instant::now();
            loop {
                let seen: Value = see(KINDS).await;
                if seen == json!(kinds) {
                    return;
                }
                assert!(start.elapsed() < PATIENCE, "{way:?}: {seen}, not {kinds}\n{}", server.site.logs());
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let write = |line: &str| {
            let head = format!("{line} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
            let answer = server.send(format!("{head}\r\nContent-Length: 1\r\n\r\n1").as_bytes());
            assert!(matches!(answer.status, 200 | 201), "{way:?}: {}", answer.text());
        };
        write("PUT /kv/rooms/attic");
        see(&FOLLOW.replace("LIST", "/kv/rooms?prefix=h")).await;
        until("reset").await;
        for (line, kinds) in [
            ("PUT /kv/rooms/hall", "reset, put hall"),
            ("PUT /kv/rooms/attic", "reset, put hall"),
            ("DELETE /kv/rooms/hall", "reset, put hall, delete hall"),
        ] {
            write(line);
            until(kinds).await;
        }
        assert_eq!(see("source.close()").await, Value::Null);
        browser.client.clone().close().await.unwrap();
    }
}
