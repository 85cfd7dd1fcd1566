//! Values: stored, read, replaced, incremented and deleted, one at a time and many.

use bytes::Bytes;
use kvs::client::CasOutcome;

use super::on_each_store;

#[test]
fn test_set_and_get() {
    on_each_store(|client, _| {
        client.set("bytes", &b"raw"[..]).unwrap();
        client.set("text", "a text").unwrap();
        assert_eq!(client.get("bytes").unwrap(), Some(Bytes::from("raw")));
        assert_eq!(client.get_string("text").unwrap().as_deref(), Some("a text"));
        client.set("bytes", "replaced").unwrap();
        assert_eq!(client.get("bytes").unwrap(), Some(Bytes::from("replaced")));
    });
}

/// A missing key is `None`; `ok_or` makes it an error of the caller.
#[test]
fn test_get_or_err() {
    on_each_store(|client, _| {
        assert_eq!(client.get("missing").unwrap().ok_or("nothing there"), Err("nothing there"));
        client.set("there", "1").unwrap();
        assert_eq!(client.get("there").unwrap().ok_or("nothing there"), Ok("1".into()));
    });
}

#[test]
fn test_delete() {
    on_each_store(|client, _| {
        client.set("a", "1").unwrap();
        assert!(client.delete("a").unwrap());
        assert!(!client.exists("a").unwrap());
        assert!(!client.delete("a").unwrap() && !client.delete("never there").unwrap());
    });
}

#[test]
fn test_exists() {
    on_each_store(|client, _| {
        assert!(!client.exists("a").unwrap());
        client.set("a", "").unwrap();
        assert!(client.exists("a").unwrap(), "though it is empty");
        client.delete("a").unwrap();
        assert!(!client.exists("a").unwrap());
    });
}

#[test]
fn test_set_nx() {
    on_each_store(|client, _| {
        assert!(client.set_nx("a", "first").unwrap());
        assert!(!client.set_nx("a", "second").unwrap());
        assert_eq!(client.get_string("a").unwrap().as_deref(), Some("first"));
    });
}

/// The values are in the order of the request, with `None` for missing keys.
#[test]
fn test_set_many_get_many() {
    on_each_store(|client, _| {
        client.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).unwrap();
        let found = client.get_many(&["c", "missing", "a", "b"]).unwrap();
        assert_eq!(found, [Some("3".into()), None, Some("1".into()), Some("2".into())]);
        client.set_many(&[("", ""); 0]).unwrap();
        assert_eq!(client.get_many(&[""; 0]).unwrap(), [None; 0]);
    });
}

#[test]
fn test_delete_many() {
    on_each_store(|client, _| {
        client.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).unwrap();
        assert_eq!(client.delete_many(&["a", "missing", "b"]).unwrap(), 2);
        assert_eq!(client.keys("").unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(), ["c"]);
    });
}

#[test]
fn test_increment() {
    on_each_store(|client, _| {
        assert_eq!(client.increment("n", 7).unwrap(), 7, "a missing number counts as 0");
        assert_eq!(client.increment("n", 5).unwrap(), 12);
        assert_eq!(client.decrement("n", 2).unwrap(), 10);
        assert_eq!(client.increment("n", -13).unwrap(), -3);
        assert_eq!(client.get_string("n").unwrap().as_deref(), Some("-3"));
    });
}

#[test]
fn test_compare_and_swap() {
    on_each_store(|client, _| {
        assert!(client.compare_and_swap("a", None, "1").unwrap().is_done());
        assert!(!client.compare_and_swap("a", Some(b"other"), "2").unwrap().is_done());
        assert!(client.compare_and_swap("a", Some(b"1"), "2").unwrap().is_done());
        assert_eq!(client.get_string("a").unwrap().as_deref(), Some("2"));
        // The current entry is returned.
        match client.compare_and_swap("a", None, "3").unwrap() {
            CasOutcome::Mismatch(Some(found)) => assert_eq!(found.value, "2"),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.compare_and_swap("missing", Some(b"1"), "2").unwrap(), CasOutcome::Mismatch(None));
    });
}

#[test]
fn test_get_and_set() {
    on_each_store(|client, _| {
        assert_eq!(client.get_and_set("a", "1").unwrap(), None);
        assert_eq!(client.get_and_set("a", "2").unwrap(), Some("1".into()));
        assert_eq!(client.get("a").unwrap(), Some("2".into()));
    });
}

#[test]
fn test_get_and_delete() {
    on_each_store(|client, _| {
        client.set("a", "1").unwrap();
        assert_eq!(client.get_and_delete("a").unwrap(), Some("1".into()));
        assert!(!client.exists("a").unwrap());
        assert_eq!(client.get_and_delete("a").unwrap(), None);
    });
}

#[test]
fn test_binary_values() {
    on_each_store(|client, _| {
        let all: Vec<u8> = (0..=255).chain([0, 0, 13, 10, 255, 254]).collect();
        client.set("binary", all.clone()).unwrap();
        assert_eq!(client.get("binary").unwrap(), Some(Bytes::from(all)));
        assert!(client.get_string("binary").unwrap_err().is_invalid());
    });
}
