//! JSON bodies with the right secret: rows, transactions, parts and patches. A request is done completely or not at all,
//! its result is what it says, and a merge patch gives what RFC 7396 says.
#![no_main]

use http::Request;
use kvs::web::Body;
use kvs_fuzz::api::{Answer, Endpoint, SECRET, request};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MERGE_PATCH: &str = "application/merge-patch+json";

/// RFC 7396, section 2.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(members) = patch else { return patch.clone() };
    let mut result = match target {
        Value::Object(members) => members.clone(),
        _ => serde_json::Map::new(),
    };
    for (name, value) in members {
        if value.is_null() {
            result.remove(name);
        } else {
            let old = result.get(name).cloned().unwrap_or(Value::Null);
            result.insert(name.clone(), merged(&old, value));
        }
    }
    Value::Object(result)
}

fn value(endpoint: &Endpoint, target: &str) -> Option<Value> {
    let request = Request::get(target).header("x-kvs-auth", SECRET).body(Body::empty()).ok()?;
    let answer = endpoint.send(request);
    serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200)
}

/// Checks a merge patch against the RFC, if both texts are JSON that serde_json represents without a loss.
fn check_merge_patch(endpoint: &Endpoint, target: &str, body: &[u8], before: Option<Value>, answer: &Answer) {
    let (Some(before), Ok(patch)) = (before, serde_json::from_slice::<Value>(body)) else { return };
    // A member that is given twice, and numbers, have no single representation.
    if answer.status != 200 || patch.to_string().len() != body.iter().filter(|byte| !byte.is_ascii_whitespace()).count() {
        return;
    }
    if let Some(after) = value(endpoint, target) {
        assert_eq!(after, merged(&before, &patch), "{} on {before}", patch);
    }
}

fuzz_target!(|input: &[u8]| {
    let endpoint = Endpoint::new();
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).and_then(|target| std::str::from_utf8(target).ok());
    let body = input.windows(2).position(|two| two == b"\n\n").map_or(&[][..], |at| &input[at + 2..]);
    let is_plain = target.is_some_and(|target| target == "/kv/default/json" || target == "/kv/default/k2");
    let has_type = input.windows(13).any(|part| part.eq_ignore_ascii_case(b"content-type:"));
    let is_merge = input.windows(MERGE_PATCH.len()).any(|part| part == MERGE_PATCH.as_bytes());
    let mut headers = vec![("x-kvs-auth", SECRET)];
    if !has_type {
        headers.push(("content-type", "application/json"));
    }
    let Some(asked) = request(input, &headers) else { return };
    let before_value = target.filter(|_| is_plain).and_then(|target| value(&endpoint, target));
    let before = endpoint.contents();
    let answer = endpoint.send(asked);
    let after = endpoint.contents();
    if answer.status >= 300 {
        assert_eq!(after, before, "{} changed something: {:?}", answer.status, answer.body);
    }
    let kind = answer.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap_or(""));
    if kind == "application/json" && answer.status == 200 && !answer.body.is_empty() {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {:?}", answer.body));
        if line.starts_with(b"POST ") && target.and_then(|target| target.split('?').next()) == Some("/txn/default") {
            assert_eq!(json["revision"], after[0].0.to_string(), "the revision of the bucket");
        }
    }
    if is_merge && line.starts_with(b"PATCH ") && is_plain && !input.windows(3).any(|part| part == b"\nif") {
        check_merge_patch(&endpoint, target.unwrap_or_default(), body, before_value, &answer);
    }
    for name in ["default", "poky"] {
        endpoint.assert_readable(name);
    }
});
