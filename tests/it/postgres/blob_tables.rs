//! Large values in their tables: who removes what, and when, and what a check finds.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use kvs::client::{Client, Options as Set};
use kvs::model::{BlobId, BlobRef, Key};
use kvs::store::{Blobs, NewBlob, Task};

use super::{Server, client, table};

const PART: usize = 1 << 20;

/// Two and a half parts.
fn large(seed: u8) -> Vec<u8> {
    (0..PART * 5 / 2).map(|n| u8::try_from(n * 7 % 251).unwrap() ^ seed).collect()
}

/// A client whose large values are blobs, and one that sees the references, each with its own connections.
struct Tables {
    server: &'static Server,
    table: String,
    client: Client,
    inside: Client,
}

impl Tables {
    fn new() -> Self {
        let (server, table) = (Server::shared(), table());
        let url = server.url(&format!("table={table}"));
        Self { server, client: kvs::open(&url).unwrap(), inside: client(&url), table }
    }

    fn blobs(&self) -> &dyn Blobs {
        self.inside.store().blobs().unwrap()
    }

    async fn set(&self, name: &str, seed: u8) {
        let all = large(seed);
        let pieces: Vec<_> = all.chunks(100_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        self.client.put_stream(name, stream::iter(pieces), &Set::default()).await.unwrap();
    }

    fn psql(&self, sql: &str) -> String {
        self.server.psql(&sql.replace("kvs_", &format!("{}_", self.table)))
    }

    async fn maintain(&self) {
        self.client.store().maintain(self.client.bucket(), Task::RemoveLeftovers).await.unwrap();
    }

    /// The numbers of named uploads, of others, and of parts.
    fn counts(&self) -> String {
        self.psql(
            "SELECT (SELECT count(*) FROM kvs_blobs WHERE id IS NOT NULL), \
             (SELECT count(*) FROM kvs_blobs WHERE id IS NULL), (SELECT count(*) FROM kvs_blob_parts)",
        )
    }

    /// Maintains the tables until they have these numbers of rows.
    async fn reach(&self, counts: &str) {
        for _ in 0..500 {
            self.maintain().await;
            if self.counts() == counts {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("there are {} and not {counts}", self.counts());
    }

    /// Lets the time pass in which others wait for whoever writes or reads.
    fn pass_an_hour(&self) {
        self.psql("UPDATE kvs_blobs SET held_until = '-infinity', kept_until = '-infinity'");
    }

    async fn id(&self, name: &str) -> BlobId {
        let keys = [Key::new(name).unwrap()];
        let found = self.blobs().get_references(self.inside.bucket(), &keys).await.unwrap().entries.remove(0);
        BlobRef::of(&found.unwrap()).unwrap().id
    }

    async fn begun(&self) -> Box<dyn NewBlob> {
        let mut blob = self.blobs().create_blob(self.inside.bucket()).await.unwrap();
        blob.write(Bytes::from(large(0))).await.unwrap();
        blob
    }

    async fn findings(&self) -> Vec<String> {
        let report = self.client.store().maintain(self.client.bucket(), Task::Check).await.unwrap();
        report.findings.into_iter().map(|finding| finding.text).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_is_in_parts_and_not_in_the_row() {
    let tables = Tables::new();
    tables.set("a", 1).await;
    assert_eq!(tables.client.get("a").await.unwrap().unwrap(), large(1));
    assert_eq!(tables.counts(), "1|0|3");
    assert_eq!(tables.psql("SELECT sum(octet_length(data)) FROM kvs_blob_parts"), (PART * 5 / 2).to_string());
    let reference = tables.inside.get_string("a").await.unwrap().unwrap();
    assert!(reference.starts_with("{\"sha-256\":") && reference.len() < 200, "{reference}");
    tables.set("a", 2).await;
    assert_eq!(tables.client.get("a").await.unwrap().unwrap(), large(2));
    assert_eq!(tables.findings().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_replaced_value_stay_for_its_readers() {
    let tables = Tables::new();
    tables.set("a", 1).await;
    let id = tables.id("a").await;
    let reader = tables.blobs().open_blob(tables.inside.bucket(), id).await.unwrap().unwrap();
    tables.client.set("a", "small").await.unwrap();
    tables.reach("0|1|3").await;
    assert_eq!(reader.read(PART as u64, PART).await.unwrap(), large(1)[PART..2 * PART]);
    assert!(tables.blobs().open_blob(tables.inside.bucket(), id).await.unwrap().is_none());
    tables.pass_an_hour();
    tables.maintain().await;
    assert_eq!(tables.counts(), "0|0|0");
    let error = reader.read(0, PART).await.unwrap_err();
    assert!(error.to_string().contains(&format!("blob {id}")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_given_up_leaves_no_rows() {
    let tables = Tables::new();
    let upload = tables.begun().await;
    assert_eq!(tables.counts(), "0|1|2");
    tables.maintain().await;
    assert_eq!(tables.counts(), "0|1|2", "it may go on");
    drop(upload);
    tables.reach("0|0|0").await;
    // A process that was killed cannot give up its upload.
    std::mem::forget(tables.begun().await);
    tables.pass_an_hour();
    tables.maintain().await;
    assert_eq!(tables.counts(), "0|0|0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_took_too_long_is_refused() {
    let tables = Tables::new();
    for is_removed in [false, true] {
        let upload = tables.begun().await;
        tables.pass_an_hour();
        if is_removed {
            tables.maintain().await;
        }
        let error = upload.finish().await.err().unwrap();
        assert!(error.is_retryable() && error.to_string().contains("nothing was stored"), "{error}");
        tables.reach("0|0|0").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_stored_twice_is_kept_once() {
    let tables = Tables::new();
    tables.set("a", 1).await;
    tables.set("b", 1).await;
    assert_eq!(tables.counts(), "2|0|6");
    tables.reach("1|1|6").await;
    tables.pass_an_hour();
    tables.reach("1|0|3").await;
    tables.client.delete("a").await.unwrap();
    tables.reach("1|0|3").await;
    assert_eq!(tables.client.get("b").await.unwrap().unwrap(), large(1));
    tables.client.delete("b").await.unwrap();
    tables.reach("0|1|3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_does_not_remove_what_is_being_stored() {
    let tables = Tables::new();
    let mut upload = tables.begun().await;
    tables.maintain().await;
    upload.write(Bytes::from("end")).await.unwrap();
    let stored = upload.finish().await.unwrap();
    tables.maintain().await;
    let all = tables.client.store().blobs().unwrap();
    assert!(!all.remove_unused_blobs(tables.client.bucket(), &[stored.id]).await.unwrap(), "it is held");
    assert_eq!(tables.counts(), "1|0|3");
    drop(stored);
    tables.reach("0|1|3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_damaged_and_missing_blobs() {
    let tables = Tables::new();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        tables.set(name, seed).await;
    }
    assert_eq!(tables.findings().await, [""; 0]);
    let [a, b, c] = [tables.id("a").await, tables.id("b").await, tables.id("c").await];
    let upload = |id: BlobId| format!("(SELECT upload FROM kvs_blobs WHERE id = '\\x{id}')");
    tables.psql(&format!(
        "UPDATE kvs_blob_parts SET data = set_byte(data, 7, 0) WHERE part = 1 AND upload = {}",
        upload(a)
    ));
    tables.psql(&format!("DELETE FROM kvs_blob_parts WHERE part = 2 AND upload = {}", upload(b)));
    tables.psql(&format!("DELETE FROM kvs_blobs WHERE id = '\\x{c}'"));
    let findings = tables.findings().await.join("\n");
    assert!(findings.contains(&format!("blob {a} has other bytes")), "{findings}");
    assert!(findings.contains(&format!("blob {b} of bucket default lacks its part 2")), "{findings}");
    assert!(findings.contains(&format!("the value of \"c\" is blob {c}, which is missing")), "{findings}");
    assert_eq!(findings.lines().count(), 3, "{findings}");
    let error = kvs::open(&tables.server.url(&format!("table={}", tables.table))).unwrap().get("c").await.unwrap_err();
    assert!(error.to_string().contains("\"c\"") && error.to_string().contains(&c.to_string()), "{error}");
}
