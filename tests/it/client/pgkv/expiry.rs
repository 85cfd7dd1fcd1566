//! Expiry, and the removal of expired entries.
//!
//! The test sets the time, so nothing waits. pgkv has three strategies: it removes expired entries on read, on request,
//! or never. Ours all show the same; only the time at which a store reclaims the space differs.

use std::time::Duration;

use super::{MINUTE, on_each_store};

#[test]
fn test_set_ex() {
    on_each_store(|client, clock| {
        client.set_ex("a", "1", MINUTE).unwrap();
        assert!(client.exists("a").unwrap());
        assert_eq!(client.ttl("a").unwrap(), Some(MINUTE));
        clock.advance(Duration::from_secs(59));
        assert_eq!(client.ttl("a").unwrap(), Some(Duration::from_secs(1)));
    });
}

#[test]
fn test_expire_and_persist() {
    on_each_store(|client, _| {
        client.set("a", "1").unwrap();
        assert_eq!(client.ttl("a").unwrap(), None);
        assert!(client.expire("a", MINUTE).unwrap());
        assert_eq!(client.ttl("a").unwrap(), Some(MINUTE));
        assert!(client.persist("a").unwrap());
        assert_eq!(client.ttl("a").unwrap(), None);
        assert!(!client.expire("missing", MINUTE).unwrap() && !client.persist("missing").unwrap());
    });
}

#[test]
fn test_expiration() {
    on_each_store(|client, clock| {
        client.set_ex("a", "1", Duration::from_millis(50)).unwrap();
        clock.advance(Duration::from_millis(49));
        assert!(client.exists("a").unwrap());
        clock.advance(Duration::from_millis(1));
        assert_eq!(client.get("a").unwrap(), None);
        assert_eq!((client.ttl("a").unwrap(), client.count("").unwrap()), (None, 0));
        assert!(!client.delete("a").unwrap() && !client.persist("a").unwrap());
        assert!(client.set_nx("a", "2").unwrap(), "its key is free");
    });
}

#[test]
fn test_cleanup_expired() {
    on_each_store(|client, clock| {
        client.set("stays", "1").unwrap();
        for name in ["a", "b"] {
            client.set_ex(name, "1", Duration::from_millis(1)).unwrap();
        }
        client.set_ex("later", "1", MINUTE).unwrap();
        clock.advance(Duration::from_millis(50));
        assert_eq!(client.cleanup_expired().unwrap(), 2);
        assert_eq!(client.cleanup_expired().unwrap(), 0);
        assert!(client.exists("stays").unwrap() && client.exists("later").unwrap());
    });
}

/// Whether or not a read reclaims the space: expired entries are invisible, and at the end take no space.
#[test]
fn test_ttl_cleanup_on_read() {
    on_each_store(|client, clock| {
        client.set("kept", "1").unwrap();
        client.set_ex("ended", "x".repeat(5000), Duration::from_millis(10)).unwrap();
        clock.advance(Duration::from_millis(50));
        assert_eq!(client.get("ended").unwrap(), None);
        client.cleanup_expired().unwrap();
        assert!(client.stats().unwrap().stored_bytes < 5000);
    });
}

#[test]
fn test_ttl_cleanup_manual() {
    on_each_store(|client, clock| {
        client.set_ex("ended", "1", Duration::from_millis(10)).unwrap();
        clock.advance(Duration::from_millis(50));
        assert_eq!(client.cleanup_expired().unwrap(), 1);
        assert_eq!(client.get("ended").unwrap(), None);
        assert_eq!(client.cleanup_expired().unwrap(), 0);
    });
}

/// Ours differs: expired entries are invisible even if nobody removes them. pgkv shows them.
#[test]
fn test_ttl_cleanup_disabled() {
    on_each_store(|client, clock| {
        client.set_ex("ended", "1", Duration::from_millis(10)).unwrap();
        clock.advance(Duration::from_millis(50));
        assert_eq!(client.get("ended").unwrap(), None);
        assert_eq!(client.get_and_set("ended", "2").unwrap(), None, "nor is it what was replaced");
        assert_eq!((client.get("ended").unwrap(), client.ttl("ended").unwrap()), (Some("2".into()), None));
    });
}
