//! PATCH with a JSON Patch (RFC 6902) or a JSON Merge Patch (RFC 7396).

use serde_json::Value;

use super::json_documents::{MERGE, PATCH};
use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    official_json_patch_tests_pass,
    appendix_of_rfc_7396_passes,
    inapplicable_patches_change_nothing,
    content_type_of_a_patch_is_checked,
}

/// The cases of <https://github.com/json-patch/json-patch-tests>, all that are not disabled there.
async fn official_json_patch_tests_pass(make: Make) {
    let kvs = Endpoint::new(make);
    let suites = [
        include_str!("../../../data/json-patch-tests/tests.json"),
        include_str!("../../../data/json-patch-tests/spec_tests.json"),
    ];
    let cases = suites.iter().flat_map(|suite| serde_json::from_str::<Vec<Value>>(suite).unwrap());
    let mut count = 0;
    for case in cases.filter(|case| case["disabled"] != true && !case["patch"].is_null()) {
        kvs.json("PUT", "/kv/default/a", &case["doc"]).await;
        let answer = kvs.ask("PATCH", "/kv/default/a", &[PATCH], case["patch"].to_string()).await;
        let found = kvs.get("/kv/default/a").await.json();
        if case["error"].is_null() {
            assert_eq!(answer.status, 200, "{case}: {}", answer.text());
            assert_eq!(&found, case.get("expected").unwrap_or(&case["doc"]), "{case}");
        } else {
            assert!([400, 409].contains(&answer.status), "{case}: {}", answer.status);
            assert_eq!(found, case["doc"], "{case}");
        }
        count += 1;
    }
    assert_eq!(count, 108);
}

async fn appendix_of_rfc_7396_passes(make: Make) {
    let kvs = Endpoint::new(make);
    for (document, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        kvs.json("PUT", "/kv/default/a", document).await;
        let answer = kvs.ask("PATCH", "/kv/default/a", &[MERGE], patch).await;
        assert_eq!((answer.status, answer.text()), (200, "OK"), "{document} {patch}");
        assert_eq!(kvs.get("/kv/default/a").await.text(), result, "{document} {patch}");
    }
    let answer = kvs.ask("PATCH", "/kv/default/new", &[MERGE], r#"{"a":{"b":1.50,"c":null}}"#).await;
    assert_eq!(answer.status, 201);
    let found = kvs.get("/kv/default/new").await;
    assert_eq!((found.text(), found.tag()), (r#"{"a":{"b":1.50}}"#, answer.tag()));
    assert_eq!(found.header("content-type"), "application/json");
}

async fn inapplicable_patches_change_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", r#"{"a":[1,2]}"#).await;
    kvs.put("/kv/default/text", "open").await;
    let before = kvs.stored("default", "a").await;
    let add = r#"{"op":"add","path":"/b","value":1}"#;
    for (kind, patch, status, what) in [
        (PATCH, format!(r#"[{add},{{"op":"test","path":"/b","value":2}}]"#), 409, "operation 1 of the patch"),
        (PATCH, format!(r#"[{add},{{"op":"remove","path":"/c"}}]"#), 409, "operation 1 of the patch"),
        (PATCH, format!(r#"[{add},{{"op":"spam","path":"/c"}}]"#), 400, "\"op\" must be"),
        (PATCH, format!("[{add},1]"), 400, "must be an object"),
        (PATCH, add.to_owned(), 400, "array of operations"),
        (PATCH, "[".to_owned(), 400, "must be JSON"),
        (PATCH, format!("[{}]", vec![add; 1001].join(",")), 413, "1000 operations"),
        (MERGE, "{".to_owned(), 400, "must be JSON"),
        (MERGE, String::new(), 400, "must be JSON"),
        (MERGE, format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200)), 413, "128 levels"),
    ] {
        let answer = kvs.ask("PATCH", "/kv/default/a", &[kind], patch.clone()).await;
        assert_eq!(answer.status, status, "{patch}: {}", answer.text());
        assert!(answer.text().contains(what) && answer.text().contains("nothing was stored"), "{}", answer.text());
        assert_eq!(kvs.stored("default", "a").await, before, "{patch}");
    }
    for (kind, patch) in [(PATCH, "[]"), (MERGE, "{}")] {
        assert_eq!(kvs.ask("PATCH", "/kv/default/text", &[kind], patch).await.status, 409);
    }
    assert_eq!(kvs.ask("PATCH", "/kv/default/none", &[PATCH], "[]").await.status, 404);
    assert_eq!(kvs.get("/kv/default/text").await.text(), "open");
}

async fn content_type_of_a_patch_is_checked(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "{}").await;
    for kind in ["", "application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let answer = kvs.ask("PATCH", "/kv/default/a", &[("content-type", kind)], r#"{"a":1}"#).await;
        assert_eq!(answer.status, 415, "{kind}");
        assert_eq!(answer.header("accept-patch"), "application/json-patch+json, application/merge-patch+json");
    }
    let options = kvs.ask("OPTIONS", "/kv/default/a", &[], "").await;
    assert_eq!(options.header("accept-patch"), "application/json-patch+json, application/merge-patch+json");
    assert!(options.header("allow").contains("PATCH"));
    let kind = ("content-type", "Application/Merge-Patch+JSON; charset=utf-8");
    assert_eq!(kvs.ask("PATCH", "/kv/default/a", &[kind], r#"{"a":1}"#).await.status, 200);
    let by_post = [MERGE, ("x-http-method-override", "PATCH")];
    assert_eq!(kvs.ask("POST", "/kv/default/a", &by_post, r#"{"b":2}"#).await.status, 200);
    assert_eq!(kvs.get("/kv/default/a").await.text(), r#"{"a":1,"b":2}"#);
    assert_eq!(kvs.ask("PATCH", "/kv/default?key=a//b", &[MERGE], r#"{"b":2}"#).await.status, 201);
    assert_eq!(kvs.get("/kv/default?key=a//b&path=/b").await.text(), "2");
}
