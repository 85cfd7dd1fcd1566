//! Hostile strings as keys and values, in every kind of read and write.

use bytes::Bytes;

use super::cases::cases;
use super::hostile_strings::{hostile_keys, hostile_strings};
use super::store_under_test::{TestBench, expect};
use crate::model::{Condition, End, Key, Outcome, Projection, Scan, Write};

cases![
    any_value_is_kept_exactly,
    any_key_is_kept_exactly,
    any_key_can_be_deleted,
    any_value_can_be_expected,
    any_value_can_be_appended,
    any_text_can_bound_a_scan,
    any_type_is_kept,
];

async fn put_all(bench: &TestBench, of: impl Fn(&Key) -> Bytes) -> Vec<Key> {
    let mut keys = hostile_keys();
    // In one batch and in many, because a store may write them differently.
    let alone = keys.split_off(keys.len() / 2);
    bench.commit(keys.iter().map(|key| Write::put(key.clone(), of(key))).collect()).await;
    for key in &alone {
        bench.write(Write::put(key.clone(), of(key))).await;
    }
    keys.extend(alone);
    keys
}

async fn any_value_is_kept_exactly(bench: TestBench) {
    let name = Key::new("a").unwrap();
    for value in hostile_strings() {
        let after = bench.write(Write::put(name.clone(), value.clone())).await.after;
        assert_eq!(after.as_ref().unwrap().value, value);
        assert_eq!(bench.entry("a").await, after, "{value:?}");
    }
    let names: Vec<Key> = (0..hostile_strings().len()).map(|n| Key::new(&format!("v{n}")).unwrap()).collect();
    bench.commit(names.iter().cloned().zip(hostile_strings()).map(|(name, v)| Write::put(name, v)).collect()).await;
    let found = bench.store.get(&bench.bucket, &names).await.unwrap().entries;
    for (entry, value) in found.into_iter().zip(hostile_strings()) {
        assert_eq!(entry.unwrap().value, value);
    }
}

async fn any_key_is_kept_exactly(bench: TestBench) {
    let keys = put_all(&bench, |key| Bytes::from(key.as_str().to_owned())).await;
    let found = bench.store.get(&bench.bucket, &keys).await.unwrap().entries;
    for (key, entry) in keys.iter().zip(found) {
        assert_eq!(entry.unwrap_or_else(|| panic!("{key:?} is missing")).value, key.as_str(), "{key:?}");
    }
    let listed: Vec<Key> = bench.seen().await.entries.into_iter().map(|(key, _)| key).collect();
    assert_eq!(listed, keys, "all of them, ordered by their bytes");
}

async fn any_key_can_be_deleted(bench: TestBench) {
    let keys = put_all(&bench, |_| Bytes::from_static(b"x")).await;
    for key in keys.iter().step_by(2) {
        assert!(bench.write(Write::Delete { key: key.clone() }).await.before.is_some(), "{key:?}");
    }
    let left: Vec<Key> = bench.seen().await.entries.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, keys.iter().skip(1).step_by(2).cloned().collect::<Vec<_>>());
}

async fn any_value_can_be_expected(bench: TestBench) {
    for value in hostile_strings() {
        bench.put("a", value.clone()).await;
        let other = Bytes::from([&value[..], b" "].concat());
        let refused = bench.apply(vec![expect("a", Condition::ValueIs(other))], vec![]).await;
        assert!(matches!(refused, Outcome::PreconditionFailed { index: 0, .. }), "{value:?}");
        let held = bench.apply(vec![expect("a", Condition::ValueIs(value.clone()))], vec![]).await;
        assert!(matches!(held, Outcome::Committed { .. }), "{value:?}");
    }
}

async fn any_value_can_be_appended(bench: TestBench) {
    let name = Key::new("a").unwrap();
    for value in hostile_strings().into_iter().filter(|v| v.len() < 100) {
        bench.put("a", "|").await;
        for end in [End::Prepend, End::Append] {
            bench.write(Write::Append { key: name.clone(), value: value.clone(), end }).await;
        }
        let whole = [&value[..], b"|", &value[..]].concat();
        assert_eq!(bench.value("a").await.unwrap(), whole, "{value:?}");
    }
}

async fn any_text_can_bound_a_scan(bench: TestBench) {
    let keys = put_all(&bench, |_| Bytes::from_static(b"x")).await;
    for text in hostile_strings().iter().filter_map(|s| std::str::from_utf8(s).ok()) {
        let count = |query: Scan| bench.scan(Scan { projection: Projection::Count, ..query });
        let number = |held: &dyn Fn(&str) -> bool| Some(keys.iter().filter(|key| held(key.as_str())).count() as u64);
        let found = count(Scan { prefix: text.to_owned(), ..Scan::default() }).await.count;
        assert_eq!(found, number(&|key| key.starts_with(text)), "prefix {text:?}");
        let found = count(Scan { start: Some(text.to_owned()), ..Scan::default() }).await.count;
        assert_eq!(found, number(&|key| key >= text), "start {text:?}");
        let found = count(Scan { end: Some(text.to_owned()), ..Scan::default() }).await.count;
        assert_eq!(found, number(&|key| key < text), "end {text:?}");
        let found = count(Scan { after: Some(text.to_owned()), ..Scan::default() }).await.count;
        assert_eq!(found, number(&|key| key > text), "after {text:?}");
    }
}

async fn any_type_is_kept(bench: TestBench) {
    let long = format!("text/{}", "x".repeat(250));
    for text in [
        "a/b",
        "text/plain",
        "text/plain; charset=utf-8",
        "a/b; c=\"d: #e, {f}\"",
        "! / *",
        "/",
        "yes/no",
        "'/'",
        "\\/\"",
        &long,
    ] {
        let content_type = crate::model::ContentType::new(text).unwrap();
        let (key, value) = (Key::new("a").unwrap(), Bytes::from_static(b"1"));
        let (expires, modified) = (None, None);
        bench.write(Write::Put { key, value, content_type: content_type.clone(), expires, modified }).await;
        assert_eq!(bench.entry("a").await.unwrap().content_type, content_type);
    }
}
