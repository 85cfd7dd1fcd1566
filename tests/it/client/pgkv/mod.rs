//! The integration tests of the crate `pgkv`, written for the blocking client and run on every store.
//!
//! The names are those of its tests; the cases are our own. If our behaviour differs on purpose, a comment says so, and
//! `docs/library.md` lists it.

mod expiry;
mod limits;
mod listing;
mod maintenance;
mod readme;
mod values;

use std::sync::Arc;
use std::time::Duration;

use kvs::blocking::Client;
use kvs::model::{Clock, Error, ErrorKind, Result};
use kvs::store::Limits;
use kvs::store::suite::TestClock;

use crate::store::STORES;

/// Runs a case on an empty store of each kind, with these limits.
fn within(limits: Limits, case: impl Fn(&Client, &TestClock)) {
    for (name, make) in STORES {
        println!("on {name}");
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<TestClock> = Arc::default();
        let store = make(clock.clone(), limits, folder.path());
        case(&Client::new(store).unwrap().with_clock(clock.clone()), &clock);
    }
}

/// Runs a case on an empty store of each kind.
fn on_each_store(case: impl Fn(&Client, &TestClock)) {
    within(Limits::default(), case);
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn test_get_entry() {
    on_each_store(|client, clock| {
        client.set_ex("sensor", "21.5", MINUTE).unwrap();
        let entry = client.get_entry("sensor").unwrap().unwrap();
        assert_eq!(entry.value, "21.5");
        assert_eq!((entry.created, entry.updated()), (clock.now(), clock.now()));
        assert_eq!(entry.expires, Some(clock.now().plus(MINUTE)));
        assert!(entry.is_live(clock.now()) && !entry.is_live(clock.now().plus(MINUTE)));
        assert_eq!(client.get_entry("none").unwrap(), None);
    });
}

#[test]
fn test_transaction_commit() {
    on_each_store(|client, _| {
        let answer = client.transaction(|mut t| {
            t.set("left", "1")?;
            t.set("right", "2")?;
            Ok("both")
        });
        assert_eq!(answer.unwrap(), "both");
        assert_eq!(client.get_many(&["left", "right"]).unwrap(), [Some("1".into()), Some("2".into())]);
    });
}

#[test]
fn test_transaction_rollback() {
    on_each_store(|client, _| {
        client.set("kept", "as it was").unwrap();
        let answer: Result<()> = client.transaction(|mut t| {
            t.set("new", "1")?;
            t.delete("kept")?;
            Err(Error::new(ErrorKind::Invalid, "changed my mind"))
        });
        assert_eq!(answer.unwrap_err().to_string(), "changed my mind");
        assert_eq!(client.get_many(&["new", "kept"]).unwrap(), [None, Some("as it was".into())]);
    });
}
