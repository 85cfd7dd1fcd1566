//! Paths out of the data folder, for all that kvs stores: entries, logs, large values, and the buckets of kvs itself.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::store::named;
use crate::support::endpoint::{Endpoint, JSON};
use crate::support::served::{SECRET, Served};

/// Keys that look like paths.
const KEYS: [&str; 14] = [
    "../../x",
    "/etc/passwd",
    "..%2F..%2Fx",
    "a/../../../x",
    ".hidden",
    "..a",
    "...",
    "a\\..\\b",
    "~/x",
    "$HOME",
    "x.yaml",
    "../default.yaml",
    "lock",
    "-rf",
];

/// All files below a folder, as paths relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    all.sort();
    all
}

/// Sends a request with the key as a parameter, and the secret.
fn ask(served: &Served, method: &str, path: &str, key: &str, body: &str) -> String {
    let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
    let head = format!("{method} {path}?key={key} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    served.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn keys_that_look_like_paths_stay_in_the_data_folder() {
    let served = Served::start(&[]);
    let large = "x".repeat(100_000);
    for key in KEYS {
        for (method, path, body) in
            [("PUT", "/kv/default", "small"), ("POST", "/log/default", "entry"), ("PUT", "/kv/large", large.as_str())]
        {
            let answer = ask(&served, method, path, key, body);
            assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path} {key}: {answer}");
        }
        assert!(ask(&served, "GET", "/kv/default", key, "").ends_with("\r\n\r\nsmall"), "{key}");
        assert!(ask(&served, "GET", "/log/default", key, "").contains("\"entry\""), "{key}");
        assert!(ask(&served, "GET", "/kv/large", key, "").ends_with(&large), "{key}");
    }
    let is_expected = |path: &Path| {
        let text = path.to_str().unwrap();
        let parts: Vec<&str> = text.split('/').collect();
        let is_plain = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%~".contains(&byte);
            !name.starts_with('.') && name.bytes().all(plain)
        };
        match parts[..] {
            ["auth.txt" | "stderr.log"] | ["data", "_kvs.reserve"] => true,
            ["data", file] => ["default.", "large.", "_kvs.throttle."].iter().any(|begin| file.starts_with(begin)),
            ["data", "default.logs", file] => is_plain(file) && path.extension().is_some_and(|ending| ending == "log"),
            ["data", "blobs", "large", file] => file == "lock" || file.bytes().all(|byte| byte.is_ascii_hexdigit()),
            _ => false,
        }
    };
    let odd: Vec<_> = files(served.folder()).into_iter().filter(|path| !is_expected(path)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let logs = files(&served.folder().join("data/default.logs")).len();
    assert_eq!(logs, KEYS.len(), "each log has a file of its own");
}

/// The folders for logs and large values may be links to another disk, made by whoever runs kvs.
#[test]
fn own_links_to_folders_are_followed_and_links_of_others_refused() {
    let elsewhere = tempfile::tempdir().unwrap();
    let served = Served::start(&[]);
    served.put("/kv/default/a", "1");
    let large = "x".repeat(100_000);
    let link = served.folder().join("data/default.logs");
    std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
    assert!(ask(&served, "POST", "/log/default", "own", "1").starts_with("HTTP/1.1 201"));
    assert!(elsewhere.path().join("own.log").exists());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
        let blobs = served.folder().join("data/blobs");
        std::os::unix::fs::symlink(elsewhere.path(), &blobs).unwrap();
        std::os::unix::fs::lchown(&blobs, Some(65_534), None).unwrap();
        let before = files(elsewhere.path());
        for answer in [
            ask(&served, "POST", "/log/default", "of-others", "1"),
            ask(&served, "PUT", "/kv/default", "large", &large),
        ] {
            assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
            assert!(!answer.contains(&*elsewhere.path().to_string_lossy()), "{answer}");
        }
        assert_eq!(files(elsewhere.path()), before, "nothing was written there");
    }
}

/// The counts of wrong secrets and the records of copies are in buckets, too.
#[tokio::test]
async fn buckets_of_kvs_itself_are_out_of_reach() {
    let kvs = Endpoint::new(named("memory"));
    for n in 0..3 {
        assert_eq!(kvs.ask("GET", "/kv/default", &[("x-kvs-auth", &format!("guess{n}"))], "").await.status, 401);
    }
    let before = kvs.stored("_kvs.throttle", "192.0.2.1").await.expect("a count");
    for bucket in ["_kvs", "_kvs.throttle", "_kvs.other", "%5fkvs.throttle", "_kvs%2ethrottle"] {
        for (method, uri) in [
            ("GET", format!("/?k=192.0.2.1&bucket={bucket}")),
            ("POST", format!("/?bucket={bucket}")),
            ("GET", format!("/kv/{bucket}/192.0.2.1")),
            ("PUT", format!("/kv/{bucket}/192.0.2.1")),
            ("DELETE", format!("/kv/{bucket}/192.0.2.1")),
            ("PATCH", format!("/kv/{bucket}/192.0.2.1")),
            ("GET", format!("/kv/{bucket}")),
            ("DELETE", format!("/kv/{bucket}?prefix=")),
            ("POST", format!("/log/{bucket}/a")),
            ("GET", format!("/log/{bucket}")),
            ("POST", format!("/maintenance/{bucket}?task=compact")),
        ] {
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            let answer = kvs.ask(method, &uri, &headers, "192.0.2.1=wrong").await;
            assert_eq!(answer.status, 404, "{method} {uri}: {}", answer.text());
        }
        for (method, uri, body) in [
            ("POST", "/multi", json!(["192.0.2.1"])),
            ("PUT", "/multi", json!([{"key": "192.0.2.1", "data": "1"}])),
            ("POST", "/txn", json!({"ops": [{"op": "delete", "key": "192.0.2.1"}]})),
        ] {
            let answer = kvs.ask(method, &format!("{uri}/{bucket}"), &[JSON], body.to_string()).await;
            assert_eq!(answer.status, 404, "{method} {uri} {bucket}: {}", answer.text());
        }
    }
    let after = kvs.stored("_kvs.throttle", "192.0.2.1").await.expect("the count");
    assert_eq!(after.as_text(), before.as_text(), "the guesses are still counted");
    let names = kvs.ask("GET", "/kv", &[], "").await;
    assert!(!names.text().contains("_kvs"), "{}", names.text());
    // The records of copies: only with a secret for all buckets.
    for (secret, expected) in [("s3cret", 200), ("elsewhere", 403), ("", 401)] {
        let answer = kvs.ask("POST", "/multi/_kvs.copy", &[JSON, ("x-kvs-auth", secret)], "[\"a\"]").await;
        assert_eq!(answer.status, expected, "{secret:?}: {}", answer.text());
    }
}

/// A secret that is limited to a bucket or a prefix does not learn which other keys exist.
#[tokio::test]
async fn responses_to_a_limited_secret_do_not_show_which_keys_exist() {
    let kvs = Endpoint::new(named("memory"));
    kvs.put("/kv/secret/exists", "1").await;
    let headers = [("x-kvs-auth", "elsewhere"), JSON];
    for (method, uri, body) in [
        ("GET", "/kv/secret/KEY", ""),
        ("GET", "/kv/secret/KEY?meta", ""),
        ("GET", "/?bucket=secret&k=KEY", ""),
        ("PUT", "/kv/secret/KEY", "1"),
        ("DELETE", "/kv/secret/KEY", ""),
        ("POST", "/kv/secret/KEY?op=touch&ttl=9", ""),
        ("POST", "/multi/secret", "[\"KEY\"]"),
        ("POST", "/txn/secret", r#"{"checks":[{"key":"KEY","absent":true}],"ops":[]}"#),
        ("GET", "/log/secret/KEY", ""),
    ] {
        let mut answers = vec![];
        for key in ["exists", "exist5"] {
            let answer = kvs.ask(method, &uri.replace("KEY", key), &headers, body.replace("KEY", key)).await;
            answers.push((answer.status, answer.text().replace(key, "KEY")));
        }
        assert_eq!(answers[0], answers[1], "{method} {uri}");
        assert_eq!(answers[0].0, 403, "{method} {uri}");
    }
}
