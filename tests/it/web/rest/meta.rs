//! `?meta`: an entry as JSON, with all its metadata.

use std::time::Duration;

use serde_json::{Value, json};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, cases};

cases! {
    meta_shows_the_whole_entry,
    times_are_in_rfc_3339,
    binary_values_are_in_base64,
    content_type_does_not_depend_on_accept,
}

async fn meta_shows_the_whole_entry(make: Make) {
    let kvs = Endpoint::new(make);
    let put = kvs.ask("PUT", "/kv/default/a/%C3%A4", &[("content-type", "application/json")], "{\"x\":\"é\"}").await;
    for query in ["meta", "meta=1", "meta=true", "meta="] {
        let answer = kvs.get(&format!("/kv/default/a/%C3%A4?{query}")).await;
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.tag(), put.tag());
        let revision = put.tag().trim_matches('"');
        let expected = json!({"bucket": "default", "key": "a/ä", "value": "{\"x\":\"é\"}", "type": "application/json",
            "revision": revision, "updated": "2026-11-20T12:00:00.25Z", "created": "2026-11-20T12:00:00.25Z",
            "modified": null, "expires": null});
        assert_eq!(answer.json(), expected, "{query}");
        assert!(revision.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()), "{revision}");
    }
    for query in ["meta=0", "meta=false", ""] {
        assert_eq!(kvs.get(&format!("/kv/default/a/%C3%A4?{query}")).await.text(), "{\"x\":\"é\"}");
    }
    assert_eq!(kvs.get("/kv/default/none?meta").await.status, 404);
}

async fn times_are_in_rfc_3339(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    kvs.clock.advance(Duration::from_millis(1500));
    kvs.put("/kv/default/a?ttl=60", "2").await;
    let meta = kvs.get("/kv/default/a?meta").await.json();
    assert_eq!(meta["created"], "2026-11-20T12:00:00.25Z");
    assert_eq!(meta["updated"], "2026-11-20T12:00:01.75Z");
    assert_eq!(meta["expires"], "2026-11-20T12:01:01.75Z");
    kvs.put("/kv/default/a?expires=1795176100", "3").await;
    assert_eq!(kvs.get("/kv/default/a?meta").await.json()["expires"], "2026-11-20T12:01:40Z");
    let at = [("if-unmodified-since", "Fri, 20 Nov 2020 12:00:00 GMT")];
    kvs.ask("PUT", "/kv/poky/a", &at, "1").await;
    let answer = kvs.get("/kv/poky/a?meta").await;
    assert_eq!(answer.json()["modified"], "2020-11-20T12:00:00Z");
    assert_eq!(answer.tag(), "\"Fri, 20 Nov 2020 12:00:00 GMT\"");
}

async fn binary_values_are_in_base64(make: Make) {
    let kvs = Endpoint::new(make);
    for (value, name, text) in [
        (&b"\xff\0"[..], "base64", "/wA="),
        (b"\0", "value", "\0"),
        (b"", "value", ""),
        (b"\xc3\xa4", "value", "ä"),
        (b"\xc3", "base64", "ww=="),
    ] {
        kvs.ask("PUT", "/kv/default/a", &[], value.to_vec()).await;
        let meta = kvs.get("/kv/default/a?meta").await.json();
        assert_eq!(meta[name], text, "{value:?}");
        let other = if name == "value" { "base64" } else { "value" };
        assert!(meta.get(other).is_none(), "{value:?}");
        let listed = kvs.ask("GET", "/kv/default", &[], "").await.json();
        assert_eq!(listed["entries"], Value::Array(vec![meta]), "a list has the same");
    }
}

async fn content_type_does_not_depend_on_accept(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for accept in ["application/json", "application/json, text/plain, */*", "text/html", "image/png", "nonsense"] {
        let headers = [NOBODY, ("accept", accept)];
        assert_eq!(kvs.ask("GET", "/kv/default/a", &headers, "").await.text(), "1", "{accept}");
        assert_eq!(kvs.ask("GET", "/kv/default/a?meta", &headers, "").await.json()["value"], "1", "{accept}");
    }
}
