//! Layers that store values in another form, over every store: each alone and all together, and what is stored inside.

mod encryption;
mod large_value_memory;
mod large_value_races;
mod tiers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvs::client::Client;
use kvs::layers::{
    Compressed, ENCRYPTION_OVERHEAD_BYTES, Encrypted, EncryptionKeys, Hooked, LargeValues, ReadPolicy, Tiered,
    WritePolicy,
};
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, Clock, Key, SystemClock};
use kvs::store::suite;
use kvs::store::{Limits, Store};

use crate::store::named;

const KEYS: &str = "k1 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

/// From this length on the layer of these tests compresses. Small, so that it has something to do in the suite.
const COMPRESS_FROM_BYTES: usize = 20;

/// Longer values are blobs.
const BLOBS_FROM_BYTES: usize = 10;

fn keys() -> EncryptionKeys {
    KEYS.parse().unwrap()
}

/// The limits of a store under an encrypted one.
fn inner_limits(limits: Limits) -> Limits {
    Limits { max_value_bytes: limits.max_value_bytes + ENCRYPTION_OVERHEAD_BYTES }
}

type Layer = fn(&str, Arc<dyn Clock>, Limits, &Path) -> Arc<dyn Store>;

fn compressed(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let inner = named(store)(clock.clone(), limits, folder);
    Arc::new(Compressed::new(inner, COMPRESS_FROM_BYTES, clock, limits))
}

fn encrypted(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let inner = named(store)(clock.clone(), inner_limits(limits), folder);
    Arc::new(Encrypted::new(inner, keys(), clock, limits))
}

fn large_values(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let inner = named(store)(clock.clone(), limits, folder);
    Arc::new(LargeValues::new(inner, limits).unwrap().with_blobs_from(BLOBS_FROM_BYTES).with_clock(clock))
}

/// In the order in which the program has them.
fn all(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let tiered = tiered_through(store, clock.clone(), inner_limits(limits), folder);
    let blobs = LargeValues::new(tiered, inner_limits(limits)).unwrap();
    let blobs = Arc::new(blobs.with_blobs_from(BLOBS_FROM_BYTES).with_clock(clock.clone()));
    let encrypted = Arc::new(Encrypted::new(blobs, keys(), clock.clone(), limits));
    let compressed = Arc::new(Compressed::new(encrypted, COMPRESS_FROM_BYTES, clock, limits));
    Arc::new(Hooked::new(compressed, Arc::new(|events| assert!(!events.is_empty()))))
}

/// A front that gets references, and the layer that uses them.
fn large_values_over_tiered(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let tiered = tiered_through(store, clock.clone(), limits, folder);
    Arc::new(LargeValues::new(tiered, limits).unwrap().with_blobs_from(BLOBS_FROM_BYTES).with_clock(clock))
}

/// Memory in front of a store, with each pair of policies.
fn tiered(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path, policies: Policies) -> Arc<dyn Store> {
    let front = Arc::new(MemoryStore::new(clock.clone(), limits));
    let back = named(store)(clock, limits, folder);
    Arc::new(Tiered::new(front, back, policies.write, policies.read).unwrap())
}

struct Policies {
    write: WritePolicy,
    read: ReadPolicy,
}

fn tiered_through(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let read = ReadPolicy::FrontFirst { max_age: Duration::from_secs(3_600) };
    tiered(store, clock, limits, folder, Policies { write: WritePolicy::Through, read })
}

fn tiered_around(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let read = ReadPolicy::FrontFirst { max_age: Duration::ZERO };
    tiered(store, clock, limits, folder, Policies { write: WritePolicy::Around, read })
}

fn tiered_front_only(store: &str, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    tiered(store, clock, limits, folder, Policies { write: WritePolicy::Through, read: ReadPolicy::FrontOnly })
}

async fn passes_the_suite(layer: Layer, store: &str) {
    let folders = tempfile::tempdir().unwrap();
    suite::run(async |setup| {
        let folder = tempfile::tempdir_in(folders.path()).unwrap().keep();
        layer(store, setup.clock, setup.limits, &folder)
    })
    .await;
}

macro_rules! suites {
    ($($layer:ident: $($store:ident)+;)+) => {$(
        mod $layer {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $store() {
                super::passes_the_suite(super::$layer, stringify!($store)).await;
            }
        )+}
    )+};
}

suites! {
    compressed: memory yaml postgresql;
    large_values: memory yaml postgresql;
    encrypted: memory yaml postgresql;
    all: memory yaml postgresql;
    tiered_through: memory yaml postgresql;
    tiered_around: memory yaml postgresql;
    tiered_front_only: memory yaml postgresql;
    large_values_over_tiered: memory yaml postgresql;
}

#[tokio::test]
async fn only_values_that_become_smaller_are_compressed() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let layer = Compressed::new(Arc::clone(&inner), 100, Arc::new(SystemClock), Limits::default());
    let (client, inside) = (Client::new(Arc::new(layer)), Client::new(inner));
    let text = "a long text ".repeat(1000);
    let random: Vec<u8> = (0..100_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    client.set("text", &text).await.unwrap();
    client.set("short", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await.unwrap();
    client.set("random", &random).await.unwrap();
    let stored = inside.get_entry("text").await.unwrap().unwrap();
    assert!(stored.value.len() < 100 && stored.content_type.as_str() == "application/vnd.kvs.zstd");
    assert!(inside.get_entry("short").await.unwrap().unwrap().content_type.is_default());
    assert_eq!(client.get_string("text").await.unwrap(), Some(text.clone()));
    assert!(client.get_entry("text").await.unwrap().unwrap().content_type.is_default());
    assert_eq!(client.get("random").await.unwrap().unwrap(), random);

    let lower = Limits { max_value_bytes: 50 };
    let layer = Compressed::new(inside.store().clone(), 100, Arc::new(SystemClock), lower);
    assert_eq!(Client::new(Arc::new(layer)).get("text").await.unwrap().unwrap(), text, "the limit is for writes");
    let twice = client.get_many(&["text", "text"]).await.unwrap();
    assert!(twice.iter().all(|found| found.as_deref() == Some(text.as_bytes())));

    // From before the layer.
    inside.set("old", &text).await.unwrap();
    assert_eq!(client.get_string("old").await.unwrap(), Some(text.clone()));

    let damaged = kvs::client::Options { content_type: stored.content_type, ..kvs::client::Options::default() };
    inside.set_with("text", &stored.value[..stored.value.len() - 5], &damaged).await.unwrap();
    let error = client.get("text").await.unwrap_err();
    assert!(error.to_string().contains("\"text\" in bucket default"), "{error}");
    let error = client.set_with("text", "x", &damaged).await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("reserved"), "{error}");
    client.set_many(&[("text", "x")]).await.unwrap();
    assert_eq!(client.get_string("text").await.unwrap().as_deref(), Some("x"));
}

fn bucket(name: &str) -> Bucket {
    Bucket::new(name).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}
