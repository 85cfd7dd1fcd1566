//! Checks for other tests that `src/web/handlers/assets/openapi.json` describes a response.

use std::sync::OnceLock;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Statuses that no operation has to describe: of unknown paths and methods.
const OF_NOTHING: &[u16] = &[400, 404, 405];

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT
        .get_or_init(|| serde_json::from_str(include_str!("../../../src/web/handlers/assets/openapi.json")).unwrap())
}

/// The path in the document that matches the path of a request.
fn template(path: &str) -> String {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = path.trim_start_matches('/').splitn(3, '/');
    match (segments.next(), segments.next(), segments.next()) {
        (Some(first @ ("kv" | "log")), Some(_), Some(key)) if !key.is_empty() => format!("/{first}/{{bucket}}/{{key}}"),
        (Some(first @ ("kv" | "log" | "multi" | "txn" | "maintenance")), Some(name), _) if !name.is_empty() => {
            format!("/{first}/{{bucket}}")
        }
        (Some(first @ ("kv" | "log")), Some(""), None) => format!("/{first}"),
        _ => path.into_owned(),
    }
}

/// Fails if the document does not describe this response.
#[track_caller]
pub(crate) fn assert_described(method: &str, path: &str, status: u16) {
    let operation = &document()["paths"][template(path)][method.to_ascii_lowercase()];
    let described = match &operation["responses"] {
        Value::Null => OF_NOTHING.contains(&status) || (path == "*" && status == 204),
        responses => !responses[status.to_string()].is_null(),
    };
    assert!(described, "{status} to {method} {path} is not described in openapi.json");
}

#[test]
fn undescribed_responses_are_found() {
    assert_described("GET", "/kv/b/a/c", 304);
    assert_described("PATCH", "/txn/b", 405);
    for (method, path, status) in [("GET", "/kv/b/a", 402), ("PATCH", "/txn/b", 200), ("GET", "/nothing", 200)] {
        assert!(
            std::panic::catch_unwind(|| assert_described(method, path, status)).is_err(),
            "{method} {path} {status}"
        );
    }
}
