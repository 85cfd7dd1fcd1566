//! The settings `compress` and `encryption_keys`, and `kvs rekey`.

use super::Place;

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
