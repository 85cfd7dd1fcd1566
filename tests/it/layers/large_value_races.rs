//! Large values that are replaced while they are read, and writes of them whose caller gives up while the store commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use kvs::client::{Client, Options};
use kvs::layers::{LargeValues, ReadPolicy, Tiered, WritePolicy};
use kvs::memory::MemoryStore;
use kvs::model::{BlobRef, Bucket, Result};
use kvs::store::{Limits, Store};
use tokio::sync::Semaphore;

use crate::support::doubles::{Around, Call, PassThrough};

fn large(byte: u8) -> Vec<u8> {
    vec![byte; BlobRef::FROM_BYTES + 1]
}

fn large_values(inner: Arc<dyn Store>) -> Arc<LargeValues> {
    Arc::new(LargeValues::new(inner, Limits::default()).unwrap())
}

/// Holds back every commit until there is a permit for it.
#[derive(Clone)]
struct Gate {
    arrived: Arc<Semaphore>,
    permits: Arc<Semaphore>,
}

#[async_trait]
impl Around for Gate {
    async fn before(&self, _: &Bucket, call: Call<'_>) -> Result<()> {
        if call == Call::Apply {
            self.arrived.add_permits(1);
            self.permits.acquire().await.unwrap().forget();
        }
        Ok(())
    }
}

struct Bench {
    layer: Arc<LargeValues>,
    client: Client,
    gate: Gate,
}

fn bench() -> Bench {
    let gate = Gate { arrived: Arc::new(Semaphore::new(0)), permits: Arc::new(Semaphore::new(0)) };
    let inner = PassThrough { inner: Arc::new(MemoryStore::default()), around: gate.clone() };
    let layer = large_values(Arc::new(inner));
    Bench { client: Client::new(layer.clone()), layer, gate }
}

/// Starts a write, and drops it when the store is about to commit. Then another caller removes unused blobs, and then
/// the store commits.
async fn committed_after_its_caller_gave_up(bench: &Bench, write: impl Future<Output = ()> + Send + 'static) {
    let Bench { layer, client, gate } = bench;
    let writing = tokio::spawn(write);
    gate.arrived.acquire().await.unwrap().forget();
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());

    let value = large(7);
    let mut same = layer.blobs().unwrap().create_blob(client.bucket()).await.unwrap();
    same.write(value.clone().into()).await.unwrap();
    let id = same.finish().await.unwrap().id;
    layer.blobs().unwrap().remove_unused_blobs(client.bucket(), &[id]).await.unwrap();

    gate.permits.add_permits(1);
    let started = std::time::Instant::now();
    let found = loop {
        match client.get("k").await.unwrap() {
            None => assert!(started.elapsed() < Duration::from_secs(10), "the write was not done"),
            Some(found) => break found,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(found == value);
}

#[tokio::test]
async fn the_blob_of_a_whole_value_is_kept() {
    let bench = bench();
    let client = bench.client.clone();
    let write = async move {
        client.set("k", large(7)).await.unwrap();
    };
    committed_after_its_caller_gave_up(&bench, write).await;
}

#[tokio::test]
async fn the_blob_of_a_stream_is_kept() {
    let bench = bench();
    let client = bench.client.clone();
    let write = async move {
        let parts = [Bytes::from(vec![7; BlobRef::FROM_BYTES]), Bytes::from(vec![7])].map(Ok);
        client.put_stream("k", futures_util::stream::iter(parts), &Options::default()).await.unwrap();
    };
    committed_after_its_caller_gave_up(&bench, write).await;
}

/// Another client, which replaces a value right after the first read.
struct Replacing {
    other: Client,
    is_done: AtomicBool,
}

#[async_trait]
impl Around for Replacing {
    async fn after(&self, _: &Bucket, call: Call<'_>) -> Result<()> {
        if matches!(call, Call::Get(_)) && !self.is_done.swap(true, Ordering::SeqCst) {
            self.other.set("k", large(2)).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_value_that_is_replaced_after_it_was_found_is_read_again() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let other = Client::new(large_values(inner.clone()));
    other.set("k", large(1)).await.unwrap();
    other.set("same", large(2)).await.unwrap();
    let around = Replacing { other, is_done: AtomicBool::new(false) };
    let client = Client::new(large_values(Arc::new(PassThrough { inner, around })));
    let found = client.get_many(&["k", "same", "none"]).await.unwrap();
    assert!(found[0].as_deref() == Some(&large(2)[..]) && found[1] == found[0] && found[2].is_none());
}

#[tokio::test]
async fn an_old_front_is_updated_when_its_blob_was_removed() {
    let back: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let other = Client::new(large_values(back.clone()));
    other.set("k", large(1)).await.unwrap();
    let read = ReadPolicy::FrontFirst { max_age: Duration::from_secs(3_600) };
    let front = Arc::new(MemoryStore::default());
    let tiered = Arc::new(Tiered::new(front, back, WritePolicy::Through, read).unwrap());
    let client = Client::new(large_values(tiered.clone()));
    for byte in 2..4 {
        tiered.warm_up(client.bucket()).await.unwrap();
        other.set("k", large(byte)).await.unwrap();
        let found = if byte == 2 {
            client.get("k").await.unwrap().unwrap().to_vec()
        } else {
            let parts = client.get_stream("k").await.unwrap().unwrap().parts(0);
            parts.try_collect::<Vec<_>>().await.unwrap().concat()
        };
        assert!(found == large(byte), "{byte}");
    }
}
