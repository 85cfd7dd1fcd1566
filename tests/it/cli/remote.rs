//! The commands on a store over HTTP, against a real `kvs serve`.

use std::time::Duration;

use super::{Place, Run};
use crate::support::served::{SECRET, Served};

/// A place whose commands use the store of a server.
struct Laptop {
    place: Place,
    server: Served,
}

impl Laptop {
    fn new() -> Self {
        Self { place: Place::new(), server: Served::start(&[]) }
    }

    fn address(&self) -> String {
        format!("http://{}/", self.server.address)
    }

    fn run(&self, args: &[&str]) -> Run {
        self.with(args, &[], b"")
    }

    fn with(&self, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Run {
        let address = self.address();
        let env = [&[("KVS_STORE", address.as_str()), ("KVS_SECRET", SECRET)], env].concat();
        self.place.with(args, &env, input)
    }
}

#[test]
fn values_are_read_and_written_from_another_machine() {
    let laptop = Laptop::new();
    laptop.run(&["set", "kitchen/temp", "21.5"]).ok();
    laptop.run(&["set", "door", "open", "--ttl", "1h", "--bucket", "hall"]).ok();
    assert_eq!(laptop.run(&["get", "kitchen/temp"]).ok().text(), "21.5");
    assert_eq!(laptop.run(&["incr", "visits", "5"]).ok().text().trim_end(), "5");
    assert_eq!(laptop.run(&["list"]).ok().text(), "kitchen/temp\t21.5\nvisits\t5\n");
    assert_eq!(laptop.run(&["buckets"]).ok().text(), "default\nhall\n");
    laptop.run(&["delete", "visits"]).ok();
    laptop.run(&["get", "visits"]).fails(1, "visits");
    assert!(laptop.server.get("/?k=kitchen/temp").ends_with("21.5"), "others see it");
    let report = laptop.run(&["check"]).ok();
    assert!(report.text().contains("1 entry") || report.err.contains("1 entry"), "{report:?}");
    laptop.run(&["compact"]).ok();
    laptop.run(&["get", "a", "--bucket", "hal"]).fails(1, "did you mean hall?");
}

#[test]
fn logs_and_changes_are_followed() {
    let laptop = Laptop::new();
    for value in ["20", "21"] {
        laptop.run(&["append", "kitchen/temp", value]).ok();
    }
    assert!(laptop.run(&["log", "kitchen/temp"]).ok().text().contains("21"));
    let mut watch = laptop.place.command(&["watch", "a"]);
    watch.env("KVS_STORE", laptop.address()).env("KVS_SECRET", SECRET);
    let mut watch = watch.spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let (sender, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    // It prints what changes after its start, which takes a moment.
    let line = (0..100).find_map(|n| {
        laptop.run(&["set", "a", &format!("value {n}")]).ok();
        received.recv_timeout(Duration::from_millis(300)).ok()
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(line.is_some_and(|line| line.contains("value ")));
}

#[test]
fn a_bucket_is_edited_from_another_machine() {
    let laptop = Laptop::new();
    for key in ["a", "b", "c"] {
        laptop.run(&["set", key, "old"]).ok();
    }
    let editor = laptop.place.editor("sed -i -e '/^b:/d' -e 's/^a:.*/a: new/' \"$1\"; echo 'd: added' >> \"$1\"");
    let run = laptop.with(&["edit"], &[("EDITOR", &editor)], b"").ok();
    assert_eq!(run.err.trim_end(), "default: 2 written, 1 deleted");
    assert_eq!(laptop.run(&["list"]).ok().text(), "a\tnew\nc\told\nd\tadded\n");
    // Others write the same key while the editor is open.
    let kvs = env!("CARGO_BIN_EXE_kvs");
    let editor = laptop.place.editor(&format!(
        "if grep -q CONFLICT \"$1\"; then sed -i 's/^a:.*/a: both/' \"$1\"; else {kvs} set a theirs; sed -i 's/^a:.*/a: mine/' \"$1\"; fi"
    ));
    let run = laptop.with(&["edit"], &[("EDITOR", &editor)], b"e\n").ok();
    assert!(run.err.contains("changed by somebody else"), "{run:?}");
    assert_eq!(laptop.run(&["get", "a"]).ok().text(), "both");
}

#[test]
fn a_server_is_backed_up_and_restored_with_all_revisions_and_logs() {
    let laptop = Laptop::new();
    let lines: String = (0..700).map(|n| format!("key{n}: value {n}\n")).collect();
    laptop.place.file("many.yaml", lines);
    assert!(laptop.run(&["import", "many.yaml"]).ok().err.contains("700 keys stored"));
    laptop.with(&["set", "large", "-"], &[], "x".repeat(300_000).as_bytes()).ok();
    laptop.run(&["append", "kitchen/temp", "20"]).ok();
    let (address, secret) = (laptop.address(), [("KVS_SECRET", SECRET)]);
    let copy = |from: &str, to: &str| laptop.place.with(&["copy", from, to], &secret, b"");
    // 701 entries, and one of a log.
    assert!(copy(&address, "yaml:backup").ok().err.contains("702 entries in 1 bucket"));
    let etag = |text: &str| text.lines().find(|line| line.to_ascii_lowercase().starts_with("etag")).map(str::to_owned);
    let before = etag(&laptop.server.get("/?k=key7")).unwrap();
    laptop.run(&["set", "key7", "broken"]).ok();
    laptop.run(&["delete", "large"]).ok();
    // The server has changed since, so its data is replaced only on request.
    copy("yaml:backup", &address).fails(1, "--replace");
    laptop.place.with(&["copy", "--replace", "yaml:backup", &address], &secret, b"").ok();
    assert_eq!(laptop.run(&["get", "key7"]).ok().text(), "value 7");
    assert_eq!(etag(&laptop.server.get("/?k=key7")).unwrap(), before);
    assert_eq!(laptop.run(&["get", "large"]).ok().out.len(), 300_000);
    // To a new server, and again after a change, without --replace.
    let other = Served::start(&[]);
    let other_address = format!("http://{}/", other.address);
    copy("yaml:backup", &other_address).ok();
    laptop.place.with(&["set", "key1", "changed", "--store", "yaml:backup"], &[], b"").ok();
    copy("yaml:backup", &other_address).ok();
    assert!(other.get("/?k=key1").ends_with("changed"));
    assert!(other.get("/log/default/kitchen/temp?format=text").ends_with("20\n"));
    laptop.place.with(&["copy", "--verify", "yaml:backup", &other_address], &secret, b"").ok();
    let exported = laptop.run(&["export", "--format", "json"]).ok();
    assert!(exported.text().contains("value 699"));
}

#[test]
fn the_secret_comes_from_a_file_and_never_from_the_address() {
    let laptop = Laptop::new();
    let address = laptop.address();
    let file = laptop.place.file("secret", format!("# the shop\n{SECRET}\n"));
    let run =
        |args: &[&str], env: &[(&str, &str)]| laptop.place.with(&[args, &["--store", &address]].concat(), env, b"");
    run(&["set", "a", "1", "--secret-file", &file], &[]).ok();
    run(&["set", "a", "2"], &[("KVS_SECRET_FILE", &file)]).ok();
    assert_eq!(run(&["get", "a"], &[]).ok().text(), "2", "reads are open");
    run(&["set", "a", "3"], &[]).fails(1, "a secret is needed");
    run(&["list"], &[]).fails(1, "a secret is needed");
    run(&["set", "a", "3"], &[("KVS_SECRET", "wrong")]).fails(1, "wrong secret");
    run(&["set", "a", "3", "--secret-file", "none"], &[]).fails(1, "--secret-file");
    let with_secret = format!("http://me:{SECRET}@{}/", laptop.server.address);
    let refused = laptop.place.run(&["get", "a", "--store", &with_secret]);
    assert!(!refused.err.contains(SECRET), "{refused:?}");
    refused.fails(2, "KVS_SECRET");
    run(&["get", "a", "--compress", "1KiB"], &[]).fails(2, "compress");
    // A secret is for one server only.
    let copied = laptop.place.with(&["copy", &address, "https://example.org/"], &[("KVS_SECRET", SECRET)], b"");
    copied.fails(2, "copy to yaml:DIR first");
    laptop.place.run(&["get", "a", "--store", "http://127.0.0.1:1/"]).fails(1, "nothing was done");
}

#[test]
fn a_gateway_serves_reads_while_its_server_is_down() {
    let laptop = Laptop::new();
    laptop.run(&["set", "a", "1"]).ok();
    let file = laptop.place.file("secret", SECRET);
    let gateway = Served::start(&["--store", &laptop.address(), "--secret-file", &file, "--memory-copy", "any"]);
    assert!(gateway.get("/?k=a").ends_with("\r\n\r\n1"), "{}", gateway.get("/?k=a"));
    gateway.put("/kv/default/b", "2");
    assert!(laptop.server.get("/?k=b").ends_with("\r\n\r\n2"));
    drop(laptop.server);
    assert!(gateway.get("/?k=b").ends_with("\r\n\r\n2"), "the copy answers");
    let form = format!("b=3&auth={SECRET}");
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close";
    let refused = gateway.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()));
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("nothing was"), "{refused}");
}
