//! `/kv/{bucket}`: scans, and deleting by prefix.

use super::{json, write};
use crate::script::{Step, ask};
use crate::site::{READER, SECRET};

pub(super) fn steps() -> Vec<Step> {
    [scans(), pages(), refused(), clearing()].into_iter().flatten().collect()
}

fn scan(name: &'static str, query: &str) -> Step {
    ask(name, &format!("GET /kv/scan{query}"), &format!("X-KVS-Auth: {READER}\r\n"))
}

fn entry(key: &str, value: &str) -> String {
    format!(
        "{{\"bucket\":\"scan\",\"key\":\"{key}\",\"value\":\"{value}\",\"type\":\"text/plain; charset=utf-8\",\
         \"revision\":\"?\",\"updated\":\"?\",\"created\":\"?\",\"modified\":null,\"expires\":null}}"
    )
}

fn scans() -> Vec<Step> {
    let rows = r#"[{"key":"b/1","data":"1"},{"key":"a","data":"2"},{"key":"b/2","data":"3"},{"key":"c","data":"4"}]"#;
    let inserted = format!("[{}]", [r#"{"result":"inserted"}"#; 4].join(","));
    vec![
        scan("empty bucket", "").body(r#"{"entries":[],"cursor":null}"#),
        scan("count of an empty bucket", "?count").body(r#"{"count":0}"#),
        json("four to scan", "PUT /multi/scan", rows).body(inserted),
        scan("two", "?limit=2").body(format!(
            "{{\"entries\":[{},{}],\"cursor\":\"b/1\"}}",
            entry("a", "2"),
            entry("b/1", "1")
        )),
        scan("the next two", "?limit=2&after=b%2F1").body(format!(
            "{{\"entries\":[{},{}],\"cursor\":null}}",
            entry("b/2", "3"),
            entry("c", "4")
        )),
        scan("keys", "?keys").body(r#"{"keys":["a","b/1","b/2","c"],"cursor":null}"#),
        scan("keys, with a slash after the bucket", "/?keys").body(r#"{"keys":["a","b/1","b/2","c"],"cursor":null}"#),
        scan("keys of a prefix", "?keys&prefix=b/").body(r#"{"keys":["b/1","b/2"],"cursor":null}"#),
        scan("keys from and to", "?keys&start=b/1&end=c").body(r#"{"keys":["b/1","b/2"],"cursor":null}"#),
        scan("keys from the end", "?keys&reverse=1&limit=3").body(r#"{"keys":["c","b/2","b/1"],"cursor":"b/1"}"#),
        scan("the rest from the end", "?keys&reverse&limit=3&after=b/1").body(r#"{"keys":["a"],"cursor":null}"#),
        scan("count", "?count").body(r#"{"count":4}"#),
        scan("count of a prefix", "?count&prefix=b").body(r#"{"count":2}"#),
        scan("text", "?format=text").body("a\nb/1\nb/2\nc\n"),
        scan("text, a page of it", "?format=text&limit=2").body("a\nb/1\n").header("kvs-cursor", "b%2F1"),
        scan("count as text", "?format=text&count").body("4\n"),
        scan("flags with values", "?keys=true&count=0&reverse=false")
            .body(r#"{"keys":["a","b/1","b/2","c"],"cursor":null}"#),
        ask("HEAD", "HEAD /kv/scan", &format!("X-KVS-Auth: {READER}\r\n")).body(""),
    ]
}

fn pages() -> Vec<Step> {
    let page = |name, headers: &str| ask(name, "GET /kv/scan?keys", &format!("X-KVS-Auth: {SECRET}\r\n{headers}\r\n"));
    vec![
        page("a page has a tag", "").body(r#"{"keys":["a","b/1","b/2","c"],"cursor":null}"#),
        page("page of that tag", "If-None-Match: \"{tag}\"\r\n").status(304),
        page("wait times out for a page", "If-None-Match: \"{tag}\"\r\nPrefer: wait=1\r\n").status(304),
        page("page of another tag", "If-None-Match: \"x\"\r\n").status(200),
        page("page wanted of another tag", "If-Match: \"x\"\r\n").status(412),
    ]
}

fn refused() -> Vec<Step> {
    vec![
        ask("list without a secret", "GET /kv/scan", "").status(401),
        scan("too many", "?limit=1001").status(400),
        scan("limit of zero", "?limit=0").status(400),
        scan("as many as there may be", "?keys&limit=1000").status(200),
        scan("half an escape", "?prefix=%zz").status(400),
        scan("bytes that are not UTF-8", "?start=%ff").status(400),
        scan("another form", "?format=xml").status(400),
        write("PUT of a bucket", "PUT /kv/scan", "", "x")
            .status(405)
            .header("allow", "GET, HEAD, POST, DELETE, OPTIONS"),
        write("POST to a bucket", "POST /kv/scan", "", "x").status(415),
    ]
}

fn clearing() -> Vec<Step> {
    let delete = |name, target: &str| write(name, &format!("DELETE {target}"), "", "");
    vec![
        delete("DELETE of a bucket without a prefix", "/kv/scan").status(400),
        ask("DELETE without a secret", "DELETE /kv/scan?prefix=", "").status(401),
        ask("DELETE by a reader", "DELETE /kv/scan?prefix=", &format!("X-KVS-Auth: {READER}\r\n")).status(403),
        scan("all are still there", "?count").body(r#"{"count":4}"#),
        write("a list by a form", "POST /kv/scan", "Content-Type: application/x-www-form-urlencoded\r\n", "count=1")
            .body(r#"{"count":4}"#),
        ask("the buckets", "GET /kv?format=text", &format!("X-KVS-Auth: {READER}\r\n")).status(200),
        delete("DELETE of a prefix", "/kv/scan?prefix=b/").body(r#"{"deleted":2}"#),
        delete("DELETE of it again", "/kv/scan?prefix=b/").body(r#"{"deleted":0}"#),
        write("DELETE of a prefix by POST", "POST /kv/scan?prefix=c", "X-HTTP-Method-Override: DELETE\r\n", "")
            .body(r#"{"deleted":1}"#),
        write("DELETE of a prefix on a condition", "DELETE /kv/scan?prefix=", "If-Match: *\r\n", "").status(400),
        scan("one is left", "?keys").body(r#"{"keys":["a"],"cursor":null}"#),
        delete("DELETE of all", "/kv/scan?prefix=").body(r#"{"deleted":1}"#),
        scan("none is left", "?count").body(r#"{"count":0}"#),
        delete("DELETE of all in a missing bucket", "/kv/never?prefix=").body(r#"{"deleted":0}"#),
    ]
}
