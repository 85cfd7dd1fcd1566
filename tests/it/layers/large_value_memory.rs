//! Large values that would take too much memory together: reads of several keys, pages and batches are bounded.

use std::sync::Arc;

use kvs::client::Client;
use kvs::layers::LargeValues;
use kvs::memory::MemoryStore;
use kvs::model::{Batch, ChangesQuery, End, ErrorKind, Revision, Scan, SystemClock, Write};
use kvs::store::{Limits, Store};

use super::{bucket, key};

const MIB: usize = 1 << 20;

/// A store with values of these sizes in MiB under the keys a, b, ...
async fn store_with(sizes: &[usize]) -> (Arc<LargeValues>, Client) {
    let limits = Limits { max_value_bytes: 100 * MIB };
    let inner = Arc::new(MemoryStore::new(Arc::new(SystemClock), limits));
    let layer = Arc::new(LargeValues::new(inner, limits).unwrap());
    let client = Client::new(layer.clone());
    for (name, size) in ('a'..).zip(sizes) {
        client.set(&name.to_string(), vec![b'x'; size * MIB]).await.unwrap();
    }
    (layer, client)
}

#[tokio::test]
async fn values_of_up_to_64_mib_together_or_a_single_one_are_read_at_once() {
    let (_, client) = store_with(&[32, 32, 70]).await;
    assert_eq!(
        client.get_many(&["a", "b"]).await.unwrap().iter().flatten().map(bytes::Bytes::len).sum::<usize>(),
        64 * MIB
    );
    assert_eq!(client.get("c").await.unwrap().unwrap().len(), 70 * MIB);
    for names in [&["a", "c"][..], &["c", "a"], &["a", "b", "c"]] {
        let error = client.get_many(names).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{names:?}");
        assert!(error.to_string().contains("read fewer keys at once"), "{error}");
    }
}

#[tokio::test]
async fn pages_end_before_their_values_take_too_much_memory() {
    let (layer, _) = store_with(&[24, 24, 24, 70, 1]).await;
    let (mut pages, mut after) = (vec![], None);
    loop {
        let page = layer.scan(&bucket("default"), Scan { after, ..Scan::default() }).await.unwrap();
        pages.push(page.entries.iter().map(|(key, _)| key.to_string()).collect::<String>());
        assert!(page.entries.iter().all(|(_, entry)| entry.as_ref().is_some_and(|entry| entry.value.len() >= MIB)));
        let Some(cursor) = page.cursor else { break };
        after = Some(cursor.to_string());
    }
    assert_eq!(pages, ["ab", "c", "d", "e"]);
}

#[tokio::test]
async fn pages_of_changes_end_before_their_values_take_too_much_memory() {
    let (layer, _) = store_with(&[24, 24, 24, 70, 1]).await;
    let (mut pages, mut since) = (vec![], Revision::ZERO);
    loop {
        let query = ChangesQuery::since(since);
        let page = layer.changes().unwrap().changes_since(&bucket("default"), query).await.unwrap().unwrap();
        pages.push(page.changes.iter().map(|change| change.key.to_string()).collect::<String>());
        assert!(page.next > since);
        assert_eq!(page.has_more, pages.len() < 4, "{pages:?}");
        since = page.next;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(pages, ["ab", "c", "d", "e"]);
}

#[tokio::test]
async fn batches_that_change_too_large_values_together_are_refused() {
    let (layer, client) = store_with(&[24, 24, 24, 70]).await;
    let append = |name: &str| Write::Append { key: key(name), value: "!".into(), end: End::Append };
    let apply = async |names: &[&str]| {
        let batch = Batch::new(names.iter().map(|name| append(name)).collect());
        layer.apply(&bucket("default"), batch).await
    };
    let error = apply(&["a", "b", "c"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("use several batches"), "{error}");
    for (name, mib) in [("a", 24), ("b", 24), ("c", 24)] {
        assert_eq!(client.get(name).await.unwrap().unwrap().len(), mib * MIB, "nothing was stored");
    }
    apply(&["a", "b"]).await.unwrap();
    apply(&["d"]).await.unwrap();
    for (name, mib) in [("a", 24), ("b", 24), ("d", 70)] {
        assert_eq!(client.get(name).await.unwrap().unwrap().len(), mib * MIB + 1);
    }
}
