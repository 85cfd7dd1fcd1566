//! What an encrypted store keeps from a reader of its files, what it notices, and the change of keys.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use kvs::client::{Client, Options};
use kvs::layers::{Encrypted, EncryptionKeys};
use kvs::model::{Batch, ContentType, End, Entry, ErrorKind, SystemClock, Write};
use kvs::store::{Limits, Severity, Store, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use super::{bucket, inner_limits, key, keys};

const NEW_KEYS: &str =
    "k2 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nk1 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

fn layer(inner: &Arc<dyn Store>, keys: EncryptionKeys) -> Encrypted {
    Encrypted::new(Arc::clone(inner), keys, Arc::new(SystemClock), Limits::default())
}

fn inner() -> Arc<dyn Store> {
    Arc::new(kvs::memory::MemoryStore::new(Arc::new(SystemClock), inner_limits(Limits::default())))
}

async fn stored(inner: &Arc<dyn Store>, name: &str) -> Entry {
    inner.get(&bucket("default"), &[key(name)]).await.unwrap().entries.pop().unwrap().unwrap()
}

async fn put(inner: &Arc<dyn Store>, name: &str, entry: &Entry) {
    let write = Write::Put {
        key: key(name),
        value: entry.value.clone(),
        content_type: entry.content_type.clone(),
        expires: None,
        modified: None,
    };
    inner.apply(&bucket("default"), Batch::new(vec![write])).await.unwrap();
}

/// The parts of 9 bytes of `secret`, and how base64 writes each of them. Shorter ones occur by chance in what is random.
fn parts(secret: &str) -> Vec<String> {
    let parts = secret.as_bytes().windows(9);
    parts.flat_map(|part| [String::from_utf8_lossy(part).into_owned(), STANDARD.encode(part)]).collect()
}

fn holds_any(bytes: &[u8], parts: &[String]) -> bool {
    parts.iter().any(|part| bytes.windows(part.len()).any(|window| window == part.as_bytes()))
}

#[tokio::test]
async fn files_contain_nothing_of_the_values() {
    let folder = tempfile::tempdir().unwrap();
    let options = YamlOptions { limits: inner_limits(Limits::default()), ..YamlOptions::default() };
    let yaml: Arc<dyn Store> = Arc::new(YamlStore::open(folder.path(), options).unwrap());
    let client = Client::new(Arc::new(layer(&yaml, keys())));
    let json = Options { content_type: ContentType::new("application/x-secret-type").unwrap(), ..Options::default() };
    client.set("a", "the quick brown fox").await.unwrap();
    client.set_with("b", "jumps over the lazy dog", &json).await.unwrap();
    let append = Write::Append { key: key("a"), value: " and more foxes".into(), end: End::Append };
    client.store().apply(&bucket("default"), Batch::new(vec![append])).await.unwrap();
    client.increment("visits", 1_234_567_890_123).await.unwrap();
    client.compare_and_swap("a", Some(b"the quick brown fox and more foxes"), "swapped foxes").await.unwrap();
    assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("swapped foxes"));
    assert_eq!(client.get_string("visits").await.unwrap().as_deref(), Some("1234567890123"));
    assert_eq!(client.get_entry("b").await.unwrap().unwrap().content_type, json.content_type);
    yaml.maintain(&bucket("default"), Task::Compact).await.unwrap();
    let secrets = [
        "the quick brown fox",
        "jumps over the lazy dog",
        " and more foxes",
        "swapped foxes",
        "1234567890123",
        "x-secret-type",
    ];
    let parts: Vec<String> = secrets.into_iter().flat_map(parts).collect();
    assert!(holds_any(b"value: anVtcHMgb3ZlciB0aGUgbGF6eSBkb2c=", &parts) && holds_any(b"a brown foxtrot", &parts));
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        assert!(!holds_any(&std::fs::read(&file).unwrap(), &parts), "{}", file.display());
        files += 1;
    }
    assert!(files >= 2);
}

#[tokio::test]
async fn values_that_were_changed_or_moved_are_errors_that_name_the_key() {
    let inner = inner();
    let store = Arc::new(layer(&inner, keys()));
    let client = Client::new(store.clone());
    client.set("a", "value of a").await.unwrap();
    client.set("b", "value of b").await.unwrap();
    let (a, b) = (stored(&inner, "a").await, stored(&inner, "b").await);
    assert_ne!(a.value, b.value);
    for at in 0..a.value.len() {
        let mut bytes = a.value.to_vec();
        bytes[at] ^= 1 << (at % 8);
        put(&inner, "a", &Entry { value: bytes.into(), ..a.clone() }).await;
        let error = client.get("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
        assert!(error.to_string().contains("\"a\" in bucket default cannot be decrypted"), "{error}");
    }
    for length in [0, 10, 23, 24, 40, a.value.len() - 1] {
        put(&inner, "a", &Entry { value: a.value.slice(..length), ..a.clone() }).await;
        assert_eq!(client.get("a").await.unwrap_err().kind(), ErrorKind::Corrupt, "{length} bytes");
    }
    put(&inner, "a", &b).await;
    let error = client.get("a").await.unwrap_err();
    assert!(error.to_string().contains("\"a\"") && error.to_string().contains("moved"), "{error}");
    assert!(client.scan(kvs::model::Scan::default()).await.is_err());
    let report = store.maintain(&bucket("default"), Task::Check).await.unwrap();
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].severity == Severity::Damage && report.findings[0].text.contains("\"a\""));

    // The entry can be replaced.
    client.set_many(&[("a", "new")]).await.unwrap();
    assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("new"));
    // In another bucket it cannot be read either.
    let other = client.with_bucket(bucket("other"));
    other.set("a", "x").await.unwrap();
    let moved = inner.get(&bucket("other"), &[key("a")]).await.unwrap().entries.pop().unwrap().unwrap();
    put(&inner, "a", &moved).await;
    assert_eq!(client.get("a").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn wrong_and_missing_keys_are_errors_that_name_the_key() {
    let inner = inner();
    Client::new(Arc::new(layer(&inner, keys()))).set("a", "1").await.unwrap();
    let wrong = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".parse().unwrap();
    let error = Client::new(Arc::new(layer(&inner, wrong))).get("a").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("\"a\""), "{error}");
    let missing = "k3 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".parse().unwrap();
    let error = Client::new(Arc::new(layer(&inner, missing))).get("a").await.unwrap_err();
    assert!(error.to_string().contains("\"a\"") && error.to_string().contains("\"k1\" is missing"), "{error}");
}

#[tokio::test]
async fn rekeying_encrypts_everything_with_the_first_key_and_changes_nothing_else() {
    let inner = inner();
    let (plain, old) = (Client::new(Arc::clone(&inner)), Client::new(Arc::new(layer(&inner, keys()))));
    plain.set("plain", "from before the layer").await.unwrap();
    old.set_ex("a", "1", std::time::Duration::from_secs(600)).await.unwrap();
    for n in 0..250 {
        old.set(&format!("n/{n}"), n.to_string()).await.unwrap();
    }
    let before = old.scan(kvs::model::Scan { limit: 1000, ..kvs::model::Scan::default() }).await.unwrap().entries;
    assert_eq!(before.len(), 252);
    let new_keys: EncryptionKeys = NEW_KEYS.parse().unwrap();
    let store = layer(&inner, new_keys);
    assert_eq!(store.rekey(&bucket("default")).await.unwrap(), 252);
    assert_eq!(store.rekey(&bucket("default")).await.unwrap(), 0);
    let only_new = NEW_KEYS.lines().next().unwrap().parse().unwrap();
    let new = Client::new(Arc::new(layer(&inner, only_new)));
    let after = new.scan(kvs::model::Scan { limit: 1000, ..kvs::model::Scan::default() }).await.unwrap().entries;
    assert_eq!(after, before, "values, types, revisions and times");
    assert!(stored(&inner, "plain").await.content_type.as_str().ends_with("key=k2"));
}

#[tokio::test]
async fn one_damaged_value_does_not_keep_the_others_from_a_new_key() {
    let inner = inner();
    let old = Client::new(Arc::new(layer(&inner, keys())));
    old.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).await.unwrap();
    let damaged = stored(&inner, "b").await;
    put(&inner, "b", &Entry { value: damaged.value.slice(1..), ..damaged.clone() }).await;
    let store = layer(&inner, NEW_KEYS.parse().unwrap());
    let error = store.rekey(&bucket("default")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("\"b\""), "{error}");
    for name in ["a", "c"] {
        assert!(stored(&inner, name).await.content_type.as_str().ends_with("key=k2"), "{name}");
    }
    put(&inner, "b", &damaged).await;
    assert_eq!(store.rekey(&bucket("default")).await.unwrap(), 1);
}

#[test]
fn keys_are_checked_and_never_shown() {
    let good: EncryptionKeys = format!("# the newest first\n\n{NEW_KEYS}\n").parse().unwrap();
    assert_eq!(good.current_id(), "k2");
    assert_eq!(format!("{good:?}"), "[\"k2\", \"k1\"]");
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (text, what) in [
        (String::new(), "no encryption key"),
        ("# k1\n".to_owned(), "no encryption key"),
        ("k1".to_owned(), "line 1"),
        (secret.to_owned(), "line 1"),
        (format!("a b {secret}"), "line 1"),
        (format!("\n\u{e4} {secret}"), "line 2: an id has"),
        ("k1 AAEC".to_owned(), "3 bytes"),
        (format!("k1 {secret}\nk1 {secret}"), "line 2: the id k1 occurs twice"),
    ] {
        let error = text.parse::<EncryptionKeys>().unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains("AAEC"), "{error}");
    }
}
