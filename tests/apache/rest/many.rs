//! `/multi/{bucket}` and `/txn/{bucket}`: many keys in one request.

use super::{json, request, write};
use crate::script::{Step, get, raw};
use crate::site::READER;

pub(super) fn steps() -> Vec<Step> {
    [multi(), guards(), multi_refused(), txn(), checks(), txn_refused()].into_iter().flatten().collect()
}

/// Without a secret.
fn post(name: &'static str, line: &str, body: &str) -> Step {
    raw(name, request(line, "Content-Type: application/json; charset=utf-8\r\n", body))
}

fn multi() -> Vec<Step> {
    let put = r#"[{"key":"a/b","data":"1"},{"key":"c","data":"<b>","content_type":"text/html","ttl":600}]"#;
    vec![
        json("set many", "PUT /multi/many", put).body(r#"[{"result":"inserted"},{"result":"inserted"}]"#),
        get("one of them", "/kv/many/a/b").body("1"),
        get("another, with its type", "/kv/many/c").body("<b>").header("content-disposition", "attachment"),
        post("get many", "POST /multi/many", r#"[{"key":"a/b"},"no",{"key":"c"},"c"]"#)
            .body(r#"{"a/b":"1","c":"<b>"}"#),
        post("get none", "POST /multi/many", "[]").body("{}"),
        post("get by op", "POST /multi/many?op=get", r#"["c"]"#).body(r#"{"c":"<b>"}"#),
        json("set by op", "POST /multi/many?op=set", r#"[{"key":"c","data":"2"},{"key":"d","data":""}]"#)
            .body(r#"[{"result":"updated"},{"result":"inserted"}]"#),
        json("one key twice", "PUT /multi/many", r#"[{"key":"e","data":"1"},{"key":"e","data":"2"}]"#)
            .body(r#"[{"result":"inserted"},{"result":"updated"}]"#),
        get("the later one", "/kv/many/e").body("2"),
        json("delete many", "DELETE /multi/many", r#"["c",{"key":"no"},{"key":"d"}]"#)
            .body(r#"[{"result":"deleted"},{"result":"missing"},{"result":"deleted"}]"#),
        json("delete by op", "POST /multi/many?op=delete", r#"["e"]"#).body(r#"[{"result":"deleted"}]"#),
        write(
            "set by a POST for PUT",
            "POST /multi/many",
            "Content-Type: application/json\r\nX-HTTP-Method-Override: PUT\r\n",
            r#"[{"key":"f","data":"1"}]"#,
        )
        .body(r#"[{"result":"inserted"}]"#),
        write(
            "delete by a POST for DELETE",
            "POST /multi/many",
            "Content-Type: application/json\r\nX-HTTP-Method-Override: DELETE\r\n",
            r#"["f"]"#,
        )
        .body(r#"[{"result":"deleted"}]"#),
        json("set none", "PUT /multi/many", "[]").body("[]"),
        write("bytes for JSON", "PUT /kv/many/bytes", "", b"\xff").status(201),
        post("get bytes", "POST /multi/many", r#"["bytes"]"#).body(r#"{"bytes":{"base64":"/w=="}}"#),
    ]
}

fn guards() -> Vec<Step> {
    let rows = r#"[{"key":"a/b","data":"no","modified_at":"Thu, 01 Jan 1970 00:00:01 GMT"},
        {"key":"new","data":"1","modified_at":"Thu, 01 Jan 1970 00:00:01 GMT"},
        {"key":"g","data":"2","modified_at":"Fri, 01 Jan 2100 00:00:00 GMT"}]"#;
    vec![
        json("each row by its condition", "PUT /multi/many", rows)
            .body(r#"[{"result":"rejected"},{"result":"inserted"},{"result":"inserted"}]"#),
        get("the row whose condition failed is unchanged", "/kv/many/a/b").body("1"),
        post("get of that date", "POST /multi/many", r#"[{"key":"a/b","modified_at":"{date}"}]"#)
            .body(r#"{"a/b":"1"}"#),
        post(
            "get of another date",
            "POST /multi/many",
            r#"[{"key":"a/b","modified_at":"Thu, 01 Jan 1970 00:00:01 GMT"}]"#,
        )
        .body("{}"),
    ]
}

fn multi_refused() -> Vec<Step> {
    let put = |name, body: &str| json(name, "PUT /multi/many", body).status(400);
    vec![
        post("set without a secret", "PUT /multi/many", r#"[{"key":"x","data":"1"}]"#).status(401),
        post("set by op without a secret", "POST /multi/many?op=set", r#"[{"key":"x","data":"1"}]"#).status(401),
        raw(
            "delete by a reader",
            request(
                "DELETE /multi/many",
                &format!("X-KVS-Auth: {READER}\r\nContent-Type: application/json\r\n"),
                r#"["a"]"#,
            ),
        )
        .status(403),
        write("another type", "PUT /multi/many", "Content-Type: text/plain\r\n", "[]").status(415),
        write("no type", "PUT /multi/many", "", "[]").status(415),
        put("invalid JSON", "["),
        put("no rows", "{}"),
        put("empty body", ""),
        put("row of another kind", r#"[{"key":"x","data":"1"},5]"#),
        put("row without a value", r#"[{"key":"x","data":"1"},{"key":"y"}]"#),
        put("row with an invalid key", r#"[{"key":"x","data":"1"},{"key":".."}]"#),
        put("row with an invalid date", r#"[{"key":"x","data":"1","modified_at":"soon"}]"#),
        put("row with an unknown field", r#"[{"key":"x","data":"1","date":"2"}]"#),
        put("row of one key twice", r#"[{"key":"x","key":"y","data":"1"}]"#),
        post("row without a key", "POST /multi/many", "[[]]").status(400),
        post("another op", "POST /multi/many?op=drop", "[]").status(400),
        write("on a condition", "PUT /multi/many", "Content-Type: application/json\r\nIf-Match: *\r\n", "[]")
            .status(400),
        get("GET of many", "/multi/many").status(405),
        get("multi without a bucket", "/multi").status(404),
        get("none of them was stored", "/kv/many/x").status(404),
    ]
}

fn txn() -> Vec<Step> {
    let all = r#"{"ops":[{"op":"set","key":"a","value":"1","type":"application/json","ttl":60},{"op":"set","key":"b","base64":"/w=="},
        {"op":"incr","key":"n"},{"op":"incr","key":"n","by":-3},{"op":"append","key":"a","value":"2"},{"op":"prepend","key":"a","value":"0"},
        {"op":"touch","key":"a","ttl":600},{"op":"persist","key":"b"},{"op":"persist","key":"no"},{"op":"delete","key":"b"},
        {"op":"delete","key":"b"},{"op":"get","key":"b"}]}"#;
    let results = r#"{"revision":"?","results":[{"revision":"?"},{"revision":"?"},{"revision":"?","value":1},{"revision":"?","value":-2},{"revision":"?"},{"revision":"?"},{"touched":true},{"touched":true},{"touched":false},{"deleted":true},{"deleted":false},null]}"#;
    let look = r#"{"ops":[{"op":"get","key":"n"}]}"#;
    let looked = r#"{"revision":"?","results":[{"bucket":"txn","key":"n","value":"-2","type":"text/plain; charset=utf-8","revision":"?","updated":"?","created":"?","modified":null,"expires":null}]}"#;
    vec![
        json("every operation", "POST /txn/txn", all).status(200).body(results),
        get("the result", "/kv/txn/a").body("012"),
        json("a transaction of reads", "POST /txn/txn", look).body(looked),
        json("nothing to do", "POST /txn/txn", r#"{"ops":[]}"#).body(r#"{"revision":"?","results":[]}"#),
        get("for the tag to check", "/kv/txn/n").body("-2"),
    ]
}

fn checks() -> Vec<Step> {
    let check = |name, check: &str| {
        let body = format!("{{\"checks\":[{check}],\"ops\":[{{\"op\":\"set\",\"key\":\"done\",\"value\":\"1\"}}]}}");
        json(name, "POST /txn/txn", &body)
    };
    let passed = r#"{"revision":"?","results":[{"revision":"?"}]}"#;
    vec![
        check("that it exists", r#"{"key":"done","absent":false}"#).status(409),
        check("the revision", r#"{"key":"n","revision":"{tag}"}"#).body(passed),
        get("again for the tag", "/kv/txn/n").body("-2"),
        check("the revision as a tag", r#"{"key":"n","revision":"\"{tag}\""}"#).body(passed),
        check("another revision", r#"{"key":"n","revision":"k2"}"#)
            .status(409)
            .header("content-type", "application/problem+json"),
        check("that it does not exist", r#"{"key":"no","absent":true}"#).body(passed),
        check("that an existing key does not exist", r#"{"key":"n","absent":true}"#).status(409),
        check("the value", r#"{"key":"n","value":"-2"}"#).body(passed),
        check("the value as bytes", r#"{"key":"n","base64":"LTI="}"#).body(passed),
        check("another value", r#"{"key":"n","value":"-3"}"#).status(409),
        check("the second", r#"{"key":"n","value":"-2"},{"key":"no","value":""}"#).status(409),
    ]
}

fn txn_refused() -> Vec<Step> {
    let bad = |name, ops: &str| {
        json(name, "POST /txn/txn", &format!("{{\"ops\":[{{\"op\":\"set\",\"key\":\"x\",\"value\":\"1\"}},{ops}]}}"))
            .status(400)
    };
    vec![
        post("without a secret", "POST /txn/txn", r#"{"ops":[]}"#).status(401),
        write(
            "of no JSON type",
            "POST /txn/txn",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            r#"{"ops":[]}"#,
        )
        .status(415),
        bad("no operation", "{}"),
        bad("an unknown one", r#"{"op":"drop","key":"a"}"#),
        bad("without a key", r#"{"op":"delete"}"#),
        bad("of an invalid key", r#"{"op":"delete","key":"\u0000"}"#),
        bad("with an unknown field", r#"{"op":"delete","key":"a","force":true}"#),
        bad("incr of a text", r#"{"op":"incr","key":"a/"},{"op":"set","key":"a","value":"x"},{"op":"incr","key":"a"}"#),
        bad("incr by half", r#"{"op":"incr","key":"n","by":0.5}"#),
        bad("invalid bytes", r#"{"op":"set","key":"a","base64":"!"}"#),
        json("no ops", "POST /txn/txn", "{}").status(400),
        json("rows", "POST /txn/txn", "[]").status(400),
        write(
            "on a condition",
            "POST /txn/txn",
            "Content-Type: application/json\r\nIf-None-Match: *\r\n",
            r#"{"ops":[]}"#,
        )
        .status(400),
        get("GET of a transaction", "/txn/txn").status(405),
        get("none of them was done", "/kv/txn/x").status(404),
        get("nor the increment before it", "/kv/txn/a/").status(400),
    ]
}
