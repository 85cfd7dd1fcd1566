//! Names: keys in a path, keys that only `?key=` can carry, invalid keys, and reserved buckets.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, JSON, cases};

cases! {
    key_is_the_rest_of_the_path_decoded_once,
    query_carries_keys_that_a_path_cannot,
    invalid_keys_are_rejected_by_every_method,
    reserved_buckets_are_hidden,
    bucket_names_and_other_paths_are_checked,
}

async fn key_is_the_rest_of_the_path_decoded_once(make: Make) {
    let kvs = Endpoint::new(make);
    let long = "k".repeat(1024);
    for (path, key) in [
        ("a", "a"),
        ("a/b/c", "a/b/c"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("%2525", "%25"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a,b;c=d&e", "a,b;c=d&e"),
        ("%3Fkey=a", "?key=a"),
        ("%23", "#"),
        ("%C3%A4%F0%9F%99%82", "ä🙂"),
        ("...", "..."),
        ("..a", "..a"),
        (".a", ".a"),
        ("a..", "a.."),
        ("%20", " "),
        ("kv", "kv"),
        ("a:b@c", "a:b@c"),
        (&long, &long),
    ] {
        let uri = format!("/kv/default/{path}");
        assert_eq!(kvs.put(&uri, key.to_owned()).await.status, 201, "{path}");
        assert_eq!(kvs.stored("default", key).await.unwrap().value, key.to_owned(), "{path}");
        assert_eq!(kvs.get(&uri).await.text(), key, "{path}");
        assert_eq!(kvs.get(&format!("{uri}?meta")).await.json()["key"], key, "{path}");
        assert_eq!(kvs.delete(&uri).await.status, 200, "{path}");
    }
}

async fn query_carries_keys_that_a_path_cannot(make: Make) {
    let kvs = Endpoint::new(make);
    let long = "k".repeat(1024);
    for (query, key) in [
        ("a//b", "a//b"),
        ("a%2F%2Fb", "a//b"),
        ("/", "/"),
        ("/a", "/a"),
        ("a/", "a/"),
        ("a/../b", "a/../b"),
        ("./a", "./a"),
        ("..a", "..a"),
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("%20", " "),
        ("%C3%A4", "ä"),
        ("a%26b", "a&b"),
        ("a%252F", "a%2F"),
        ("a=b", "a=b"),
        (&long, &long),
    ] {
        for base in ["/kv/default", "/kv/default/"] {
            let uri = format!("{base}?key={query}");
            assert_eq!(kvs.put(&uri, "1").await.status, 201, "{uri}");
            assert_eq!(kvs.stored("default", key).await.unwrap().value, "1", "{uri}");
            assert_eq!(kvs.post(&format!("{uri}&op=incr"), "").await.text(), "2", "{uri}");
            assert_eq!(kvs.get(&format!("{uri}&meta")).await.json()["key"], key, "{uri}");
            assert_eq!(kvs.delete(&uri).await.status, 200, "{uri}");
        }
    }
}

async fn invalid_keys_are_rejected_by_every_method(make: Make) {
    let kvs = Endpoint::new(make);
    let long = "k".repeat(1025);
    let path = [
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "a/./b",
        "a/../b",
        "a/%2e%2e/b",
        "a%2F..%2Fb",
        "a//b",
        "a%2F%2Fb",
        "a/",
        "a%2F",
        "/a",
        "%2Fa",
        "%2F",
        "%zz",
        "%",
        "%4",
        "a%",
        "%ff",
        "%C3",
        "%ED%A0%80",
        "%C0%AF",
        "%00",
        "a%0Ab",
        "a%0D",
        "%1f",
        "%7F",
        "%C2%80",
        "%C2%9f",
        &long,
    ];
    let query = ["", ".", "..", "%2e%2e", "%zz", "%", "%ff", "%ED%A0%80", "%00", "a%0Ab", "%7f", "%C2%85", &long];
    let paths = path.iter().map(|key| format!("/kv/default/{key}"));
    let queries = query.iter().map(|key| format!("/kv/default?key={key}"));
    let both = ["/kv/default/a?key=a".to_owned(), "/kv/default/a?key=b".to_owned()];
    for uri in paths.chain(queries).chain(both) {
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"] {
            let answer = kvs.ask(method, &uri, &[], "1").await;
            assert_eq!(answer.status, 400, "{method} {uri}");
            assert!(method == "HEAD" || answer.text().lines().count() == 1, "{:?}", answer.text());
        }
    }
    assert_eq!(kvs.ask("GET", "/kv/default?count", &[], "").await.json()["count"], 0);
}

async fn reserved_buckets_are_hidden(make: Make) {
    let kvs = Endpoint::new(make);
    let json = [JSON];
    for bucket in ["_kvs.throttle", "_kvs", "_kvsx", "%5Fkvs.throttle"] {
        for (method, uri, body) in [
            ("GET", format!("/kv/{bucket}"), ""),
            ("DELETE", format!("/kv/{bucket}?prefix="), ""),
            ("GET", format!("/kv/{bucket}/a"), ""),
            ("GET", format!("/kv/{bucket}?key=a"), ""),
            ("PUT", format!("/kv/{bucket}/a"), "1"),
            ("POST", format!("/kv/{bucket}/a?op=incr"), ""),
            ("DELETE", format!("/kv/{bucket}/a"), ""),
            ("POST", format!("/multi/{bucket}"), r#"["a"]"#),
            ("PUT", format!("/multi/{bucket}"), r#"[{"key":"a","data":"1"}]"#),
            ("DELETE", format!("/multi/{bucket}"), r#"["a"]"#),
            ("POST", format!("/txn/{bucket}"), r#"{"ops":[{"op":"set","key":"a","value":"1"}]}"#),
        ] {
            assert_eq!(kvs.ask(method, &uri, &json, body).await.status, 404, "{method} {uri}");
        }
    }
    assert!(kvs.store.buckets().await.unwrap().is_empty());
}

async fn bucket_names_and_other_paths_are_checked(make: Make) {
    let kvs = Endpoint::new(make);
    for (uri, status) in [
        ("/kv/A.b-c_9/k", 201),
        ("/kv/%64efault/k", 201),
        ("/kv/a%20b/k", 400),
        ("/kv/.hidden/k", 400),
        ("/kv/-a/k", 400),
        ("/kv/a%2Fb/k", 400),
        ("/kv/%C3%A4/k", 400),
        (&format!("/kv/{}/k", "b".repeat(64)), 201),
        (&format!("/kv/{}/k", "b".repeat(65)), 400),
        ("/kv", 405),
        ("/kv/", 405),
        ("/multi", 404),
        ("/multi/default/a", 404),
        ("/txn/default/a", 404),
        ("/KV/default/a", 404),
        ("/nothing/default/a", 404),
    ] {
        assert_eq!(kvs.put(uri, "1").await.status, status, "{uri}");
    }
    assert_eq!(kvs.get("/kv/default/k").await.text(), "1");
    assert_eq!(kvs.get("/?k=k").await.text(), "1", "the classic form's bucket is named default");
    assert_eq!(kvs.get("/kv/other/k").await.status, 404);
}
