//! A fast store in front of a slow one: what the policies promise if others write to the back or it cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kvs::client::{Client, UpdateAction};
use kvs::layers::{ReadPolicy, Tiered, WritePolicy};
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, Error, ErrorKind, Result, SystemClock};
use kvs::store::{Limits, Store};
use kvs::yaml::{YamlOptions, YamlStore};

use super::bucket;
use crate::store::own_store::MapStore;
use crate::support::doubles::{Around, Call, PassThrough};

/// Counts the calls of a store, and fails them while it is cut off.
#[derive(Clone, Default)]
struct Line(Arc<LineState>);

#[derive(Default)]
struct LineState {
    is_cut: AtomicBool,
    reads: AtomicUsize,
}

#[async_trait]
impl Around for Line {
    async fn before(&self, _: &Bucket, call: Call<'_>) -> Result<()> {
        if matches!(call, Call::Get(_) | Call::Scan | Call::Changes) {
            self.0.reads.fetch_add(1, Ordering::SeqCst);
        }
        if self.0.is_cut.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the line is down"));
        }
        Ok(())
    }
}

/// A tiered store, a client of it, and a client that writes to the back directly.
struct Bench {
    tiered: Arc<Tiered>,
    client: Client,
    other: Client,
    line: Line,
}

fn bench(front: Arc<dyn Store>, write: WritePolicy, read: ReadPolicy) -> Bench {
    let back: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let line = Line::default();
    let distant = Arc::new(PassThrough { inner: Arc::clone(&back), around: line.clone() });
    let tiered = Arc::new(Tiered::new(front, distant, write, read).unwrap());
    Bench { client: Client::new(tiered.clone()), tiered, other: Client::new(back), line }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

const HOUR: ReadPolicy = ReadPolicy::FrontFirst { max_age: Duration::from_secs(3_600) };

/// Waits until the client reads this value.
async fn reads(client: &Client, key: &str, value: Option<&str>) {
    for _ in 0..1_000 {
        if client.get_string(key).await.unwrap().as_deref() == value {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{key} did not become {value:?}");
}

#[tokio::test]
async fn reads_within_the_bound_do_not_ask_the_back() {
    let bench = bench(memory(), WritePolicy::Through, HOUR);
    bench.other.set("a", "1").await.unwrap();
    assert_eq!(bench.client.get_string("a").await.unwrap().as_deref(), Some("1"));
    let asked = bench.line.0.reads.load(Ordering::SeqCst);
    bench.other.set("a", "theirs").await.unwrap();
    for _ in 0..10 {
        assert_eq!(bench.client.get_string("a").await.unwrap().as_deref(), Some("1"), "within the bound");
        assert_eq!(bench.client.keys("").await.unwrap().len(), 1);
    }
    assert_eq!(bench.line.0.reads.load(Ordering::SeqCst), asked);
    bench.client.set("b", "ours").await.unwrap();
    assert_eq!(bench.client.get_string("a").await.unwrap().as_deref(), Some("theirs"), "a write brings all changes");
    bench.other.delete("a").await.unwrap();
    bench.tiered.warm_up(&Bucket::default()).await.unwrap();
    assert_eq!(bench.client.get_string("a").await.unwrap(), None);
}

#[tokio::test]
async fn reads_after_the_bound_see_all_changes() {
    let read = ReadPolicy::FrontFirst { max_age: Duration::from_millis(50) };
    let bench = bench(memory(), WritePolicy::Through, read);
    bench.client.set("a", "1").await.unwrap();
    bench.other.set("a", "2").await.unwrap();
    bench.other.set_many(&[("b", "1"), ("c", "1")]).await.unwrap();
    bench.other.delete("b").await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let values = bench.client.get_many(&["a", "b", "c"]).await.unwrap();
    assert_eq!(values, [Some("2".into()), None, Some("1".into())]);
}

#[tokio::test]
async fn an_update_does_not_spin_on_an_old_entry() {
    for (write, read) in [
        (WritePolicy::Through, HOUR),
        (WritePolicy::Around, HOUR),
        (WritePolicy::Through, ReadPolicy::FrontOnly),
        (WritePolicy::Around, ReadPolicy::FrontOnly),
    ] {
        let bench = bench(memory(), write, read);
        bench.client.set("n", "1").await.unwrap();
        assert_eq!(bench.client.get_string("n").await.unwrap().as_deref(), Some("1"));
        bench.other.set("n", "5").await.unwrap();
        let plus_one = |old: Option<&kvs::model::Entry>| {
            let n: u32 = old.and_then(|old| old.as_text()).unwrap().parse().unwrap();
            UpdateAction::Set((n + 1).to_string().into())
        };
        bench.client.update("n", plus_one).await.unwrap();
        assert_eq!(bench.other.get_string("n").await.unwrap().as_deref(), Some("6"), "{write:?} {read:?}");
        let revision = bench.other.get_entry("n").await.unwrap().unwrap().revision;
        reads(&bench.client, "n", Some("6")).await;
        assert_eq!(bench.client.get_entry("n").await.unwrap().unwrap().revision, revision);
    }
}

#[tokio::test]
async fn the_front_answers_while_the_line_is_down() {
    let bench = bench(memory(), WritePolicy::Through, ReadPolicy::FrontOnly);
    bench.other.set_many(&[("a", "1"), ("b", "1")]).await.unwrap();
    assert_eq!(bench.client.get_string("a").await.unwrap().as_deref(), Some("1"));
    bench.other.set("a", "2").await.unwrap();
    reads(&bench.client, "a", Some("2")).await;
    bench.line.0.is_cut.store(true, Ordering::SeqCst);
    bench.other.set("a", "3").await.unwrap();
    bench.other.delete("b").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(bench.client.set("a", "4").await.is_err(), "writes need the back");
    assert!(!bench.client.keys("").await.unwrap().is_empty());
    bench.line.0.is_cut.store(false, Ordering::SeqCst);
    reads(&bench.client, "a", Some("3")).await;
    reads(&bench.client, "b", None).await;
}

#[tokio::test]
async fn a_front_on_disk_is_used_and_corrected_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let front = || Arc::new(YamlStore::open(folder.path(), YamlOptions::default()).unwrap());
    let first = bench(front(), WritePolicy::Through, HOUR);
    first.client.set_many(&[("a", "1"), ("b", "1"), ("c", "1")]).await.unwrap();
    drop((first.client, first.tiered));
    first.other.set("b", "2").await.unwrap();
    first.other.delete("c").await.unwrap();
    // The same back again.
    let tiered = Tiered::new(front(), first.other.store().clone(), WritePolicy::Through, HOUR).unwrap();
    let again = Client::new(Arc::new(tiered));
    let values = again.get_many(&["a", "b", "c"]).await.unwrap();
    assert_eq!(values, [Some("1".into()), Some("2".into()), None]);
    // Another back, with older entries under the same keys.
    let other = bench(front(), WritePolicy::Through, HOUR);
    other.other.set("a", "other").await.unwrap();
    assert_eq!(other.client.get_many(&["a", "b"]).await.unwrap(), [Some("other".into()), None]);
    // The back cannot be reached at the start.
    let cut_off = bench(front(), WritePolicy::Through, ReadPolicy::FrontOnly);
    cut_off.line.0.is_cut.store(true, Ordering::SeqCst);
    assert_eq!(cut_off.client.get_string("a").await.unwrap().as_deref(), Some("other"));
}

#[tokio::test]
async fn an_unreachable_back_is_an_error_after_the_bound() {
    let bench = bench(memory(), WritePolicy::Through, ReadPolicy::FrontFirst { max_age: Duration::ZERO });
    bench.client.set("a", "1").await.unwrap();
    bench.line.0.is_cut.store(true, Ordering::SeqCst);
    assert!(bench.client.get("a").await.is_err());
    bench.line.0.is_cut.store(false, Ordering::SeqCst);
    assert_eq!(bench.client.get_string("a").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_back_without_changes_is_refused() {
    let forgetful = Arc::new(MapStore::new(Arc::new(SystemClock), Limits::default()));
    let error = Tiered::new(memory(), forgetful, WritePolicy::Through, HOUR).err().unwrap();
    assert!(error.is_invalid() && error.to_string().contains("must remember changes"), "{error}");
}

#[tokio::test]
async fn names_of_missing_buckets_are_not_kept() {
    let bench = bench(memory(), WritePolicy::Through, ReadPolicy::FrontOnly);
    for n in 0..100 {
        let client = bench.client.with_bucket(bucket(&format!("b{n}")));
        assert_eq!(client.get("a").await.unwrap(), None);
    }
    assert_eq!(bench.client.buckets().await.unwrap(), []);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert!(metrics.num_alive_tasks() < 5, "{} tasks", metrics.num_alive_tasks());
}
