//! Large values over HTTP, on the stores that have blobs.

mod bodies_in_pieces;
mod followed;
mod json_parts;
mod listed;
mod many_at_once;
mod refused_values;
mod unused_blobs;
mod written_in_place;

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs::model::{BlobId, Bucket};
use kvs::web::Body;
use sha2::{Digest, Sha256};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, streamed};

/// Makes tests of cases like `cases!`, for the stores that have blobs.
macro_rules! cases_with_blobs {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::support::endpoint::case;

            case!(#[tokio::test] $case memory);
            case!(#[tokio::test] $case yaml);
        }
    )+};
}

use cases_with_blobs;

/// The URI of most values.
const KEY: &str = "/kv/default/image";

/// As `max_value: 1GiB` sets it.
fn endpoint(make: Make) -> Endpoint {
    Endpoint::with_large_values(make, 100 << 20, |settings| settings)
}

/// A text of ASCII that is different for each seed and does not repeat.
fn text(seed: u64, length: usize) -> String {
    let words = (0..).map(|n: u64| format!("{:x} ", (seed << 32 | n).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let mut text = String::with_capacity(length + 20);
    for word in words {
        if text.len() >= length {
            break;
        }
        text.push_str(&word);
    }
    text.truncate(length);
    text
}

/// Bytes that are not UTF-8.
fn binary(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = text(seed, length).into_bytes();
    bytes.iter_mut().step_by(7).for_each(|byte| *byte |= 0x80);
    bytes
}

/// A body without a length that arrives in pieces of this size.
fn pieces(value: &[u8], size: usize) -> Body {
    let pieces: Vec<_> =
        value.chunks(size).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    streamed(futures_util::stream::iter(pieces))
}

/// The name of the blob with these bytes.
fn name(bytes: &[u8]) -> String {
    id(bytes).to_string()
}

fn id(bytes: &[u8]) -> BlobId {
    BlobId::new(Sha256::digest(bytes).into())
}

/// Whether the store has a blob with these bytes in the bucket.
async fn has_blob(kvs: &Endpoint, bucket: &str, bytes: &[u8]) -> bool {
    let blobs = kvs.store.blobs().expect("a store with blobs");
    blobs.open_blob(&Bucket::new(bucket).unwrap(), id(bytes)).await.unwrap().is_some()
}

/// Waits until the blob with these bytes is removed.
#[track_caller]
fn assert_removed<'a>(kvs: &'a Endpoint, bytes: &'a [u8], what: &'a str) -> impl Future<Output = ()> + 'a {
    let at = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while has_blob(kvs, "default", bytes).await {
            assert!(begun.elapsed() < Duration::from_secs(5), "{at}: the blob is still there: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Checks that a key has exactly this value, with its length.
#[track_caller]
fn assert_value<'a>(kvs: &'a Endpoint, uri: &'a str, expected: &'a [u8]) -> impl Future<Output = ()> + 'a {
    let at = std::panic::Location::caller();
    async move {
        let answer = kvs.get(uri).await;
        assert_eq!((answer.status, answer.body.len()), (200, expected.len()), "{at}: {uri}");
        assert!(answer.body == expected, "{at}: {uri} has other bytes");
        assert_eq!(answer.header("content-length"), expected.len().to_string(), "{at}: {uri}");
    }
}
