//! The settings `compress` and `encryption_keys`, and `kvs rekey`.

use super::Place;
use super::serving::Server;

const OLD: &str = "2025 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n";
const NEW: &str = "2026 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

fn data(place: &Place) -> String {
    String::from_utf8(place.read("data/default.yaml")).unwrap()
}

#[test]
fn values_are_encrypted_and_keys_can_be_changed() {
    let place = Place::new();
    place.run(&["set", "plain", "from before"]).ok();
    place.file("keys.txt", OLD);
    place.file("config.yaml", "encryption_keys: keys.txt\n");
    place.run(&["set", "door", "open sesame"]).ok();
    assert_eq!(place.run(&["get", "door"]).ok().text(), "open sesame");
    assert_eq!(place.run(&["get", "plain"]).ok().text(), "from before");
    assert!(data(&place).contains("from before") && !data(&place).contains("sesame"), "{}", data(&place));
    assert_eq!(place.run(&["incr", "visits", "41"]).ok().text(), "41\n");
    assert_eq!(place.run(&["incr", "visits"]).ok().text(), "42\n");

    assert!(place.run(&["rekey"]).ok().err.contains("default: 1 value encrypted"));
    assert!(!data(&place).contains("from before"), "{}", data(&place));
    assert_eq!(place.run(&["get", "plain"]).ok().text(), "from before");

    place.file("keys.txt", [NEW, OLD].concat());
    assert!(place.run(&["rekey"]).ok().err.contains("default: 3 values encrypted"));
    place.file("keys.txt", NEW);
    assert_eq!(place.run(&["get", "door"]).ok().text(), "open sesame");
    assert!(place.run(&["export"]).ok().text().contains("open sesame"));
    place.run(&["check"]).ok();
    place.file("keys.txt", OLD);
    place.run(&["get", "door"]).fails(1, "\"door\" in bucket default cannot be decrypted");
    assert!(place.run(&["check"]).fails(1, "").text().contains("the encryption key \"2026\" is missing"));
}

#[test]
fn unusable_keys_are_errors_that_name_the_file() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    place.run(&["get", "a", "--encryption-keys", "none.txt"]).fails(1, "none.txt");
    place.file("keys.txt", "2026 short\n");
    let run = place.run(&["get", "a", "--encryption-keys", "keys.txt"]).fails(2, "keys.txt: encryption keys, line 1");
    assert!(!run.err.contains("short"));
    place.run(&["rekey"]).fails(2, "--encryption-keys FILE");
}

#[test]
fn values_are_compressed_from_a_size_on() {
    let place = Place::new();
    let text = "a long text ".repeat(500);
    place.run(&["set", "--compress", "1KiB", "text", &text]).ok();
    place.run(&["set", "--compress", "1KiB", "short", "a short text"]).ok();
    assert!(data(&place).len() < 1000 && data(&place).contains("a short text"), "{}", data(&place));
    assert_eq!(place.run(&["get", "--compress", "1KiB", "text"]).ok().text(), text);
    place.run(&["get", "--compress", "much", "text"]).fails(2, "--compress");
}

#[test]
fn a_program_without_the_keys_never_returns_the_stored_form() {
    let place = Place::new();
    place.file("keys.txt", OLD);
    let (key, long) = ("--encryption-keys", "a long text ".repeat(9000));
    place.run(&["set", key, "keys.txt", "door", "open"]).ok();
    place.run(&["append", key, "keys.txt", "sensor", "21.5"]).ok();
    place.run(&["set", "--compress", "1KiB", "text", &long]).ok();
    place.run(&["set", "plain", "seen"]).ok();
    for (command, name) in [("get", "door"), ("get", "text"), ("log", "sensor")] {
        let run =
            place.run(&[command, name]).fails(1, &format!("{name:?} in bucket default is compressed or encrypted"));
        assert_eq!(run.text(), "");
        assert!(run.err.contains("use the settings compress and encryption_keys"), "{}", run.err);
    }
    place.run(&["export"]).fails(1, "is compressed or encrypted");
    assert_eq!(place.run(&["get", "plain"]).ok().text(), "seen");
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    for target in ["/kv/default/door", "/?k=door", "/?k=plain,door"] {
        let answer = server.get(target);
        assert!(answer.starts_with("HTTP/1.1 500 "), "{target}: {answer}");
    }
    assert!(server.get("/kv/default/plain").ends_with("\r\n\r\nseen"));
    server.stop();
    let reserved = ["set", "--type", "application/vnd.kvs.encrypted; key=2025", "fake", "x"];
    place.run(&reserved).fails(1, "reserved");
    // A command with both settings reads all of it.
    let both = ["--encryption-keys", "keys.txt", "--compress", "1KiB"];
    assert_eq!(place.run(&[&["get", "door"][..], &both].concat()).ok().text(), "open");
    assert_eq!(place.run(&[&["get", "text"][..], &both].concat()).ok().text(), long);
    assert!(place.run(&[&["log", "sensor", "--values"][..], &both].concat()).ok().text().starts_with("21.5"));
}

#[test]
fn a_server_uses_a_changed_key_file_at_once() {
    let place = Place::new();
    place.file("auth.txt", "some-secret\n");
    place.file("keys.txt", OLD);
    place.file("config.yaml", "encryption_keys: keys.txt\ncompress: 1KiB\n");
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    assert!(server.post("a=first&auth=some-secret").starts_with("HTTP/1.1 200"));
    place.file("keys.txt", [NEW, OLD].concat());
    assert!(server.post("b=second&auth=some-secret").starts_with("HTTP/1.1 200"));
    assert!(data(&place).contains("key=2025") && data(&place).contains("key=2026"), "{}", data(&place));
    assert!(place.run(&["rekey"]).ok().err.contains("default: 1 value encrypted"));
    assert!(place.run(&["rekey"]).ok().err.contains("default: 0 values encrypted"));
    place.file("keys.txt", NEW);
    assert!(server.get("/?k=a").ends_with("first") && server.get("/?k=b").ends_with("second"));
    // A broken file changes nothing.
    place.file("keys.txt", "half a li");
    assert!(server.get("/?k=a").ends_with("first"));
    assert!(server.post("c=third&auth=some-secret").starts_with("HTTP/1.1 200"));
    let log = server.stop();
    assert!(log.contains("keys.txt: encryption keys, line 1") && log.contains("from before stay in use"), "{log}");
    place.file("keys.txt", NEW);
    assert_eq!(place.run(&["get", "c"]).ok().text(), "third");
}

#[test]
fn large_values_are_encrypted_and_limited() {
    let place = Place::new();
    place.file("keys.txt", OLD);
    let text = "a long text ".repeat(20_000);
    place.run(&["set", "--max-value", "1MiB", "text", &text[..100_000]]).ok();
    assert!(place.run(&["rekey", "--encryption-keys", "keys.txt"]).ok().err.contains("1 value encrypted"));
    for file in std::fs::read_dir(place.path("data/blobs/default")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|part| part == b"a long text "));
    }
    let get = ["get", "--encryption-keys", "keys.txt", "text"];
    assert_eq!(place.run(&get).ok().text(), &text[..100_000]);
    let args = ["set", "--encryption-keys", "keys.txt", "--max-value", "1GiB", "a", "b"];
    place.run(&args).fails(2, "at most 100 MiB with compress or encryption_keys");
}

#[test]
fn a_copy_in_memory_is_as_old_as_its_setting_allows() {
    let place = Place::new();
    place.file("auth.txt", "a-long-secret\n");
    place.run(&["set", "door", "open"]).ok();
    let start = |age| Server::start(&place, &["--http", "127.0.0.1:0", "--memory-copy", age]);
    let value = |server: &Server| server.get("/?k=door").rsplit("\r\n\r\n").next().unwrap().to_owned();

    let (old, current) = (start("1h"), start("0s"));
    assert_eq!((value(&old), value(&current)), ("open".to_owned(), "open".to_owned()));
    place.run(&["set", "door", "shut"]).ok();
    assert_eq!((value(&old), value(&current)), ("open".to_owned(), "shut".to_owned()));
    // A write through a server updates its copy.
    assert!(old.post("window=open&auth=a-long-secret").starts_with("HTTP/1.1 200"));
    assert_eq!(value(&old), "shut");
    assert!(current.get("/?k=window").ends_with("\r\n\r\nopen"));

    let long = "a long text ".repeat(9000);
    place.run(&["set", "text", &long]).ok();
    assert!(current.get("/?k=text").ends_with(&long), "the copy has a reference to it");

    // A value from before a lower limit.
    place.run(&["set", "text", &"a text ".repeat(1000)]).ok();
    let limited = Server::start(&place, &["--http", "127.0.0.1:0", "--memory-copy", "0s", "--max-value", "1KiB"]);
    assert!(limited.get("/?k=text").ends_with(&"a text ".repeat(1000)));

    let any = start("any");
    assert_eq!(value(&any), "shut");
    place.run(&["set", "door", "ajar"]).ok();
    let started = std::time::Instant::now();
    while value(&any) != "ajar" {
        assert!(started.elapsed().as_secs() < 10, "the copy does not follow the store");
    }
    place.run(&["serve", "--memory-copy", "old"]).fails(2, "--memory-copy");
}
