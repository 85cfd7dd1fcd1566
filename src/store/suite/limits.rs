//! Limits: values up to the maximum are stored, larger ones are rejected.

use bytes::Bytes;

use super::cases::cases;
use super::store_under_test::{TestBench, key};
use crate::model::{End, ErrorKind, Key, Write};

cases![
    a_value_of_the_maximum_size_is_stored,
    a_value_above_the_limit_is_too_large,
    appending_beyond_the_limit_is_too_large,
    many_values_of_the_maximum_size_fit_in_one_batch,
    a_key_of_1024_bytes_is_stored,
];

/// All kinds of bytes, different for each `seed`.
fn pattern(length: usize, seed: u8) -> Bytes {
    let byte = |n: usize| u8::try_from((n * 31 + n / 251) % 256).unwrap_or(0) ^ seed;
    (0..length).map(byte).collect()
}

async fn a_value_of_the_maximum_size_is_stored(bench: TestBench) {
    let limit = bench.limits.max_value_bytes;
    for length in [0, 1, 4095, 4096, 65_535, 65_536, 65_537, limit - 1, limit] {
        for value in [pattern(length, 0), Bytes::from("é".repeat(length / 2)), Bytes::from("\"\n".repeat(length / 2))]
        {
            bench.put("a", value.clone()).await;
            assert!(bench.value("a").await.unwrap() == value, "{length} bytes");
        }
    }
}

async fn a_value_above_the_limit_is_too_large(bench: TestBench) {
    bench.put("a", "1").await;
    let big = pattern(bench.limits.max_value_bytes + 1, 0);
    let error = bench.fails(vec![Write::put(key("a"), big.clone())]).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let error = bench.fails(vec![Write::Append { key: key("new"), value: big, end: End::Append }]).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

async fn appending_beyond_the_limit_is_too_large(bench: TestBench) {
    let limit = bench.limits.max_value_bytes;
    bench.put("a", pattern(limit - 2, 0)).await;
    for end in [End::Append, End::Prepend] {
        let error = bench.fails(vec![Write::Append { key: key("a"), value: "123".into(), end }]).await;
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let after = bench.write(Write::Append { key: key("a"), value: "1".into(), end }).await.after;
        assert!(after.is_some(), "one more byte fits");
    }
    assert_eq!(bench.value("a").await.unwrap().len(), limit);
    // The limit applies to the final value and to each step before it.
    let step = vec![Write::Append { key: key("a"), value: "1".into(), end: End::Append }, Write::put(key("a"), "")];
    assert_eq!(bench.fails(step).await.kind(), ErrorKind::TooLarge);
}

async fn many_values_of_the_maximum_size_fit_in_one_batch(bench: TestBench) {
    let names: Vec<String> = (0..8).map(|n| format!("big {n}")).collect();
    let value = |index: usize| pattern(bench.limits.max_value_bytes, u8::try_from(index).unwrap_or(0));
    bench.commit(names.iter().enumerate().map(|(i, name)| Write::put(key(name), value(i))).collect()).await;
    for (i, name) in names.iter().enumerate() {
        assert!(bench.value(name).await.unwrap() == value(i), "{name}");
    }
}

async fn a_key_of_1024_bytes_is_stored(bench: TestBench) {
    let long = "k".repeat(Key::MAX_BYTES);
    bench.put(&long, "long").await;
    bench.put(&long[..Key::MAX_BYTES - 1], "one less").await;
    assert_eq!(bench.value(&long).await.unwrap(), "long");
    let keys: Vec<_> = bench.seen().await.entries.into_iter().map(|(key, _)| key.as_str().len()).collect();
    assert_eq!(keys, [Key::MAX_BYTES - 1, Key::MAX_BYTES]);
}
