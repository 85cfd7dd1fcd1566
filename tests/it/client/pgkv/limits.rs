//! Valid and invalid keys and values.

use kvs::model::{ErrorKind, Key};
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

/// The limit is not a setting: it is 1024 bytes in every store, so that data can be copied.
#[test]
fn test_key_too_long() {
    on_each_store(|client, _| {
        let longest = "k".repeat(Key::MAX_BYTES);
        assert!(client.set(&format!("{longest}k"), "1").unwrap_err().is_invalid());
        client.set(&longest, "1").unwrap();
        assert_eq!(client.keys("").unwrap(), [Key::new(&longest).unwrap()]);
    });
}

#[test]
fn test_value_too_large() {
    within(Limits { max_value_bytes: 100 }, |client, _| {
        let error = client.set("a", vec![0; 101]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.is_invalid() && !error.is_retryable() && !error.is_outcome_unknown());
        client.set("a", vec![0; 100]).unwrap();
        assert_eq!(client.set_many(&[("b", vec![0; 1]), ("c", vec![0; 101])]).unwrap_err().kind(), ErrorKind::TooLarge);
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
        assert_eq!(client.count("").unwrap(), 6, "two encodings of an accent are two keys");
    });
}

/// Ours differs: a key cannot have a tab or another control character, because people read the file.
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
