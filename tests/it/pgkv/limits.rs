//! What is taken as a key and as a value, and what is refused.

use kvs::model::{Key, Kind};
use kvs::store::Limits;

use super::{on_each_store, within};

#[test]
fn test_empty_key_error() {
    on_each_store(|client, _| {
        assert!(client.set("", "1").unwrap_err().is_invalid());
        assert!(client.get("").unwrap_err().is_invalid());
        assert_eq!(client.count("").unwrap(), 0);
    });
}

/// The limit is not a setting: 1024 bytes, with every store, so that data can move.
#[test]
fn test_key_too_long() {
    on_each_store(|client, _| {
        let longest = "k".repeat(Key::MAX);
        assert!(client.set(&format!("{longest}k"), "1").unwrap_err().is_invalid());
        client.set(&longest, "1").unwrap();
        assert_eq!(client.keys("").unwrap(), [Key::new(&longest).unwrap()]);
    });
}

#[test]
fn test_value_too_large() {
    within(Limits { value: 100 }, |client, _| {
        let error = client.set("a", vec![0; 101]).unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
        assert!(error.is_invalid() && !error.is_retryable() && !error.is_outcome_open());
        client.set("a", vec![0; 100]).unwrap();
        assert_eq!(client.set_many(&[("b", vec![0; 1]), ("c", vec![0; 101])]).unwrap_err().kind(), Kind::TooLarge);
        assert_eq!(client.count("").unwrap(), 1);
    });
}

#[test]
fn test_unicode_keys() {
    on_each_store(|client, _| {
        for name in ["smile_\u{1F600}", "ключ", "鍵", "a:b:c", "e\u{301}", "\u{e9}"] {
            client.set(name, name.to_owned()).unwrap();
        }
        for name in ["smile_\u{1F600}", "ключ", "鍵", "a:b:c", "e\u{301}", "\u{e9}"] {
            assert_eq!(client.get_string(name).unwrap().as_deref(), Some(name));
        }
        assert_eq!(client.count("").unwrap(), 6, "accents made in two ways are two keys");
    });
}

/// Ours differs: a tab, as every control character, is refused in keys, since a key is a word in a file for people.
#[test]
fn test_special_characters_in_keys() {
    on_each_store(|client, _| {
        let names =
            ["with spaces", "it's", "\"quoted\"", "back\\slash", "50%", "under_score", "{a: b}", "# no comment"];
        for name in names {
            client.set(name, "1").unwrap();
        }
        for name in names {
            assert!(client.exists(name).unwrap(), "{name}");
        }
        assert!(client.set("with\ttab", "1").unwrap_err().is_invalid());
        assert_eq!(client.count("").unwrap(), names.len() as u64);
    });
}
