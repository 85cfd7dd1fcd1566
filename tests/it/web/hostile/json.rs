//! JSON that tries to fill the memory or the stack, or that is ambiguous.

use super::{Case, message};

pub(crate) fn cases() -> Vec<Case> {
    [bombs(), rows(), steps()].concat()
}

fn json(name: &str, line: &str, body: impl AsRef<[u8]>) -> Case {
    let body = body.as_ref();
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    (format!("{line} {name}"), message(line, &headers, body))
}

/// The same for each path that accepts JSON.
fn bombs() -> Vec<Case> {
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let million = 1 << 20;
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nested arrays", deep("[", "]", million).into()),
        ("open arrays", "[".repeat(million).into()),
        ("nested objects", deep("{\"a\":", "}", 200_000).into()),
        ("open objects", "{\"a\":".repeat(200_000).into()),
        ("nested arrays in an object", format!("{{\"ops\":{}}}", deep("[", "]", 100_000)).into()),
        (
            "nested objects in a row",
            format!("[{{\"key\":\"a\",\"data\":{}1{}}}]", "{\"a\":".repeat(100_000), "}".repeat(100_000)).into(),
        ),
        ("a number of a million digits", format!("[{}]", "9".repeat(million)).into()),
        ("a number beyond all", b"[1e999999999]".to_vec()),
        ("a string that does not end", format!("[\"{}", "x".repeat(million)).into()),
        ("bytes that are no text", b"[\"\xff\xfe\"]".to_vec()),
        ("overlong UTF-8", b"[\"\xc0\xaf\"]".to_vec()),
        ("UTF-16", b"[\0\"\0a\0\"\0]\0".to_vec()),
        ("a mark of the byte order", b"\xef\xbb\xbf[]".to_vec()),
        ("half a surrogate", br#"["\ud800"]"#.to_vec()),
        ("surrogates in the wrong order", br#"["\udc00\ud800"]"#.to_vec()),
        ("NUL in a key", br#"["\u0000"]"#.to_vec()),
        ("line feed in a key", br#"["\n"]"#.to_vec()),
        ("bare control character", b"[\"a\x01\"]".to_vec()),
        ("NaN", b"[NaN]".to_vec()),
        ("comments", b"/* a */ [\"a\"]".to_vec()),
        ("single quotes", b"['a']".to_vec()),
        ("a comma too many", b"[\"a\",]".to_vec()),
        ("two texts", b"[\"a\"] [\"b\"]".to_vec()),
        ("nothing", vec![]),
        ("null", b"null".to_vec()),
        ("YAML", b"- a\n- b\n".to_vec()),
        ("a prototype", br#"{"__proto__":{"admin":true}}"#.to_vec()),
        ("zeros", vec![0; 100_000]),
        ("more than is taken", vec![b' '; 5 << 20]),
    ];
    let lines = ["PUT /multi/default", "DELETE /multi/default", "POST /multi/default", "POST /txn/default"];
    lines.iter().flat_map(|line| bodies.iter().map(|(name, body)| json(name, line, body))).collect()
}

fn rows() -> Vec<Case> {
    let many = |row: &str, n: usize| format!("[{}]", vec![row; n].join(","));
    let mut cases = vec![
        json("10,001 rows", "PUT /multi/default", many(r#"{"key":"a","data":"no"}"#, 10_001)),
        json("10,001 keys", "POST /multi/default", many("\"a\"", 10_001)),
        json("10,001 deletions", "DELETE /multi/default", many("\"a\"", 10_001)),
        json(
            "a value that is too large",
            "PUT /multi/default",
            format!("[{{\"key\":\"a\",\"data\":\"{}\"}}]", "x".repeat((1 << 20) + 1)),
        ),
        json(
            "a key that is too long",
            "PUT /multi/default",
            format!("[{{\"key\":\"{}\",\"data\":\"\"}}]", "k".repeat(1025)),
        ),
        json("another op", "POST /multi/default?op=eval", "[]"),
        json("another bucket", "PUT /multi/..%2Fdefault", "[]"),
        json("our own bucket", "PUT /multi/_kvs.throttle", r#"[{"key":"a","data":"no"}]"#),
    ];
    for row in [
        r#"{"key":"a","key":"b","data":"no"}"#,
        r#"{"key":"a","data":"no","data":"yes"}"#,
        r#"{"key":"a","data":{"no":1}}"#,
        r#"{"key":"a","data":null}"#,
        r#"{"key":["a"],"data":"no"}"#,
        r#"["a","no",null,null,null,null,null]"#,
        r#"{"key":"a","data":"no","ttl":-1}"#,
        r#"{"key":"a","data":"no","ttl":1e3}"#,
        r#"{"key":"a","data":"no","ttl":99999999999999999999}"#,
        r#"{"key":"a","data":"no","expires":1}"#,
        r#"{"key":"a","data":"no","content_type":"text/plain\r\nX-Evil: 1"}"#,
        r#"{"key":"a","data":"no","content_type":"text/plain\u0000"}"#,
        r#"{"key":"a","data":"no","modified_at":"soon"}"#,
        r#"{"key":"a\u0085","data":"no"}"#,
        r#"{"key":"..","data":"no"}"#,
        r#"{"KEY":"a","data":"no"}"#,
    ] {
        cases.push(json(row, "PUT /multi/default", format!("[{{\"key\":\"a\",\"data\":\"no\"}},{row}]")));
    }
    cases
}

fn steps() -> Vec<Case> {
    let many = |n: usize| vec![r#"{"op":"get","key":"a"}"#; n].join(",");
    let checks = |n: usize| vec![r#"{"key":"a","value":"1"}"#; n].join(",");
    let mut cases = vec![
        json("100,001 steps", "POST /txn/default", format!("{{\"ops\":[{}]}}", many(100_001))),
        json("100,001 checks", "POST /txn/default", format!("{{\"checks\":[{}],\"ops\":[]}}", checks(100_001))),
        json("an array for the object", "POST /txn/default", r#"[[],[{"op":"delete","key":"a"}]]"#),
        json("no ops", "POST /txn/default", r#"{"checks":[]}"#),
        json("ops twice", "POST /txn/default", r#"{"ops":[],"ops":[{"op":"delete","key":"a"}]}"#),
        json("more than is known", "POST /txn/default", r#"{"ops":[{"op":"delete","key":"a"}],"force":true}"#),
        json(
            "a check that fails",
            "POST /txn/default",
            r#"{"checks":[{"key":"a","absent":true}],"ops":[{"op":"delete","key":"a"}]}"#,
        ),
        json("our own bucket", "POST /txn/_kvs.throttle", r#"{"ops":[{"op":"delete","key":"a"}]}"#),
    ];
    for step in [
        r#"{"op":"eval","key":"a"}"#,
        r#"{"op":"get","op":"delete","key":"a"}"#,
        r#"{"op":"delete","key":"a","key":"n"}"#,
        r#"["delete","a"]"#,
        r#"{"op":"set","key":"a","value":"1","base64":"MQ=="}"#,
        r#"{"op":"set","key":"a","base64":"*"}"#,
        r#"{"op":"set","key":"a","base64":"MQ"}"#,
        r#"{"op":"set","key":"a","value":"1","type":"text/plain\nX-Evil: 1"}"#,
        r#"{"op":"set","key":"a","value":"1","ttl":0}"#,
        r#"{"op":"set","key":"a","value":"1","ttl":-5}"#,
        r#"{"op":"incr","key":"n","by":1e400}"#,
        r#"{"op":"incr","key":"n","by":9223372036854775807}"#,
        r#"{"op":"incr","key":"n","by":99999999999999999999}"#,
        r#"{"op":"incr","key":"json"}"#,
        r#"{"op":"incr","key":"n","by":"1"}"#,
        r#"{"op":"touch","key":"a"}"#,
        r#"{"op":"delete","key":"\ud800"}"#,
        r#"{"op":"delete","key":""}"#,
    ] {
        let body = format!("{{\"ops\":[{{\"op\":\"set\",\"key\":\"a\",\"value\":\"no\"}},{step}]}}");
        cases.push(json(step, "POST /txn/default", body));
    }
    let large = format!("{{\"ops\":[{{\"op\":\"append\",\"key\":\"a\",\"value\":\"{}\"}}]}}", "x".repeat(1 << 20));
    cases.push(json("append too much", "POST /txn/default", large));
    cases
}
