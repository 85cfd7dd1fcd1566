//! `GET /kv/{bucket}` against a model, its shapes, cursors while others write, and `DELETE ?prefix=`.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::races::at_once;
use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, cases};

cases! {
    scans_match_a_model,
    flags_limits_and_formats_of_scans_are_checked,
    pages_have_100_keys_by_default,
    lists_are_csv_or_lines_with_values,
    unchanged_pages_are_304,
    delete_by_prefix_deletes_only_that_prefix,
    delete_by_prefix_covers_many_pages,
}

async fn lists_are_csv_or_lines_with_values(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/listed/a", "1,\"x\"\n").await;
    kvs.ask("PUT", "/kv/listed/b?ttl=60", &[("content-type", "image/png")], &b"\xff\0"[..]).await;
    kvs.put("/kv/listed/c%2Cd", "").await;
    let lines = kvs.get("/kv/listed?format=text&values").await;
    assert_eq!(lines.text(), "a\t1,\"x\"\\n\nb\t\\xff\\u{0}\nc,d\t\n");
    assert_eq!(kvs.get("/kv/listed?format=text&values=0").await.text(), "a\nb\nc,d\n");
    let csv = kvs.get("/kv/listed?format=csv&limit=2").await;
    assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.header("kvs-cursor"), "b");
    let rows: Vec<&str> = csv.text().split("\r\n").collect();
    assert_eq!((rows[0], rows.len()), ("key,value,base64,type,updated,created,modified,expires", 4));
    assert!(
        rows[1].starts_with("a,\"1,\"\"x\"\"\n\",,text/plain") || rows[1].starts_with("a,\"1,\"\"x\"\"\n\",,,2026"),
        "{rows:?}"
    );
    assert!(rows[2].starts_with("b,,/wA=,image/png,2026") && rows[2].contains("Z,2026"), "{rows:?}");
    let rest = kvs.get("/kv/listed?format=csv&after=b").await;
    assert!(rest.text().contains("\r\n\"c,d\",,,") && rest.header("kvs-cursor").is_empty(), "{}", rest.text());
    assert_eq!(kvs.get("/kv/listed?format=csv&keys").await.text(), "key\r\na\r\nb\r\n\"c,d\"\r\n");
    assert_eq!(kvs.get("/kv/listed?format=csv&count").await.text(), "count\r\n3\r\n");
    assert_eq!(kvs.get("/kv/listed?since=0&values").await.status, 400);
    // The tag is that of this form of the page.
    let tag = csv.header("etag").to_owned();
    let again = kvs.plain("GET", "/kv/listed?format=csv&limit=2", &[("if-none-match", tag.as_str())]).await;
    assert_eq!(again.status, 304);
}

cases! { on threads:
    scans_see_unchanged_keys_once_during_writes,
    concurrent_deletions_count_each_key_once,
}

/// In the order of their bytes: upper case before lower case, one byte before two, three and four.
const KEYS: [&str; 14] = [" ", "A", "a", "a b", "a,b", "a/", "a/b", "a//c", "ab", "b", "ä", "ä\u{10ffff}", "€", "🙂"];

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

async fn filled(make: Make) -> Endpoint {
    let kvs = Endpoint::new(make);
    let rows: Vec<_> = KEYS.iter().rev().map(|key| json!({"key": key, "data": format!("of {key}")})).collect();
    assert_eq!(kvs.json("PUT", "/multi/listed", json!(rows)).await.status, 200);
    kvs
}

fn texts(keys: &serde_json::Value) -> Vec<String> {
    keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

/// Pseudorandom numbers, the same in each run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn maybe<'a>(&mut self, from: &[&'a str]) -> Option<&'a str> {
        (self.below(2) == 0).then(|| from[self.below(from.len())])
    }
}

#[derive(Debug)]
struct ScanRequest {
    prefix: Option<&'static str>,
    start: Option<&'static str>,
    end: Option<&'static str>,
    after: Option<&'static str>,
    limit: Option<usize>,
    reverse: bool,
}

impl ScanRequest {
    fn random(dice: &mut Dice) -> Self {
        let bounds = [&KEYS[..], &["", "0", "aa", "z", "\u{10ffff}", "nothing"]].concat();
        let prefixes = ["", "a", "a/", "a//", "ä", "\u{10ffff}", "zz", "🙂"];
        Self {
            prefix: dice.maybe(&prefixes),
            start: dice.maybe(&bounds),
            end: dice.maybe(&bounds),
            after: dice.maybe(&bounds),
            limit: (dice.below(2) == 0).then(|| 1 + dice.below(5)),
            reverse: dice.below(2) == 0,
        }
    }

    fn query(&self) -> String {
        let texts = [("prefix", self.prefix), ("start", self.start), ("end", self.end), ("after", self.after)];
        let mut parts: Vec<_> = texts.iter().filter_map(|(n, v)| Some(format!("{n}={}", encoded((*v)?)))).collect();
        parts.extend(self.limit.map(|limit| format!("limit={limit}")));
        parts.extend(self.reverse.then(|| "reverse".to_owned()));
        parts.join("&")
    }

    /// The expected keys of the page, whether more follow, and how many are in the range.
    fn expected(&self) -> (Vec<String>, bool, usize) {
        let mut keys: Vec<&str> = KEYS.to_vec();
        keys.sort_unstable_by_key(|key| key.as_bytes());
        keys.retain(|key| {
            self.prefix.is_none_or(|prefix| key.starts_with(prefix))
                && self.start.is_none_or(|start| key.as_bytes() >= start.as_bytes())
                && self.end.is_none_or(|end| key.as_bytes() < end.as_bytes())
                && self.after.is_none_or(|after| if self.reverse { *key < after } else { *key > after })
        });
        if self.reverse {
            keys.reverse();
        }
        let (all, limit) = (keys.len(), self.limit.unwrap_or(100));
        (keys.into_iter().take(limit).map(ToOwned::to_owned).collect(), all > limit, all)
    }
}

async fn scans_match_a_model(make: Make) {
    let kvs = filled(make).await;
    let mut dice = Dice(7);
    for _ in 0..1500 {
        let request = ScanRequest::random(&mut dice);
        let (keys, more, count) = request.expected();
        let uri = format!("/kv/listed?{}", request.query());
        let page = kvs.get(&format!("{uri}&keys")).await.json();
        assert_eq!(texts(&page["keys"]), keys, "{request:?}");
        let cursor = more.then(|| keys.last().unwrap().clone());
        assert_eq!(page["cursor"], json!(cursor), "{request:?}");
        let page = kvs.get(&uri).await.json();
        let entries: Vec<_> = page["entries"].as_array().unwrap().iter().collect();
        let found: Vec<_> = entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect();
        assert_eq!((found, &page["cursor"]), (keys.clone(), &json!(cursor)), "{request:?}");
        assert!(entries.iter().all(|e| e["value"] == format!("of {}", e["key"].as_str().unwrap())));
        assert_eq!(kvs.get(&format!("{uri}&count")).await.json(), json!({ "count": count }), "{request:?}");
        let lines = kvs.get(&format!("{uri}&format=text")).await;
        let expected: String = keys.iter().map(|key| format!("{key}\n")).collect();
        assert_eq!(lines.text(), expected, "{request:?}");
        assert_eq!(lines.header("kvs-cursor"), cursor.as_deref().map(encoded).unwrap_or_default());
    }
}

async fn flags_limits_and_formats_of_scans_are_checked(make: Make) {
    let kvs = filled(make).await;
    for (query, status) in [
        ("limit=1000", 200),
        ("limit=1001", 400),
        ("limit=0", 400),
        ("limit=-1", 400),
        ("limit=x", 400),
        ("limit=", 400),
        ("format=json", 200),
        ("format=xml", 400),
        ("prefix=%ff", 400),
        ("start=%zz", 400),
        ("after=%zz", 400),
    ] {
        assert_eq!(kvs.get(&format!("/kv/listed?{query}")).await.status, status, "{query}");
    }
    for (query, member) in [
        ("", "entries"),
        ("keys=0&count=false", "entries"),
        ("keys=false", "entries"),
        ("keys", "keys"),
        ("keys=", "keys"),
        ("keys=1", "keys"),
        ("keys=true", "keys"),
        ("keys=no", "keys"),
        ("count&keys", "count"),
        ("count&keys&limit=1", "count"),
    ] {
        let page = kvs.get(&format!("/kv/listed?{query}")).await.json();
        assert!(page.get(member).is_some(), "{query}: {page}");
        assert_eq!(page.as_object().unwrap().len(), if member == "count" { 1 } else { 2 }, "{query}");
    }
    for (query, first) in [("reverse=0", " "), ("reverse=false", " "), ("reverse", "🙂"), ("reverse=1", "🙂")] {
        assert_eq!(kvs.get(&format!("/kv/listed?keys&{query}")).await.json()["keys"][0], first, "{query}");
    }
    let lines = kvs.get("/kv/listed/?format=text&limit=2").await;
    assert_eq!((lines.text(), lines.header("content-type")), (" \nA\n", "text/plain; charset=utf-8"));
    assert_eq!(kvs.get("/kv/listed?keys").await.header("content-type"), "application/json");
    let empty = kvs.ask("GET", "/kv/nothing", &[], "").await;
    assert_eq!((empty.status, empty.json()), (200, json!({"entries": [], "cursor": null})));
}

async fn pages_have_100_keys_by_default(make: Make) {
    let kvs = Endpoint::new(make);
    let rows: Vec<_> = (0..1001).map(|n| json!({"key": format!("{n:04}"), "data": ""})).collect();
    kvs.json("PUT", "/multi/listed", json!(rows)).await;
    for (query, length, cursor) in [("", 100, "0099"), ("&limit=1000", 1000, "0999"), ("&reverse", 100, "0901")] {
        let page = kvs.get(&format!("/kv/listed?keys{query}")).await.json();
        assert_eq!((page["keys"].as_array().unwrap().len(), &page["cursor"]), (length, &json!(cursor)));
    }
    assert_eq!(kvs.get("/kv/listed?count").await.json(), json!({"count": 1001}));
}

async fn unchanged_pages_are_304(make: Make) {
    let kvs = filled(make).await;
    for query in ["", "?keys", "?count", "?format=text", "?prefix=a"] {
        let uri = format!("/kv/listed{query}");
        let tag = kvs.get(&uri).await.tag().to_owned();
        let same = [NOBODY, ("if-none-match", tag.as_str())];
        let answer = kvs.ask("GET", &uri, &same, "").await;
        assert_eq!((answer.status, answer.tag()), (304, tag.as_str()), "{uri}");
        kvs.put("/kv/listed/a0", "1").await;
        assert_eq!(kvs.ask("GET", &uri, &same, "").await.status, 200, "{uri}");
        kvs.delete("/kv/listed/a0").await;
    }
}

async fn scans_see_unchanged_keys_once_during_writes(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    let stay: BTreeSet<String> = (0..120).map(|n| format!("{n:03}.stays")).collect();
    let rows: Vec<_> = stay.iter().map(|key| json!({"key": key, "data": "1"})).collect();
    kvs.json("PUT", "/multi/listed", json!(rows)).await;
    let seen = at_once(8, |n| {
        let kvs = kvs.clone();
        async move {
            let mut walked = vec![];
            if n < 4 {
                for round in 0..30 {
                    let uri = format!("/kv/listed/{:03}.goes{n}", (round * 37 + n * 11) % 120);
                    kvs.put(&uri, "1").await;
                    kvs.delete(&uri).await;
                }
                return walked;
            }
            let reverse = if n % 2 == 0 { "&reverse" } else { "" };
            let mut uri = format!("/kv/listed?keys&limit=7{reverse}");
            loop {
                let page = kvs.get(&uri).await.json();
                walked.extend(texts(&page["keys"]));
                let Some(cursor) = page["cursor"].as_str() else { return walked };
                uri = format!("/kv/listed?keys&limit=7{reverse}&after={}", encoded(cursor));
            }
        }
    });
    for walked in seen.await.into_iter().filter(|walked| !walked.is_empty()) {
        let stayed: Vec<_> = walked.iter().filter(|key| key.ends_with("stays")).cloned().collect();
        assert_eq!(stayed.len(), stay.len(), "each once");
        assert_eq!(stayed.into_iter().collect::<BTreeSet<_>>(), stay);
        assert!(walked.is_sorted() || walked.iter().rev().is_sorted());
    }
}

async fn delete_by_prefix_deletes_only_that_prefix(make: Make) {
    let kvs = filled(make).await;
    let uri = "/kv/listed";
    assert_eq!(kvs.delete(uri).await.status, 400);
    assert_eq!(kvs.delete("/kv/listed?prefix=%zz").await.status, 400);
    assert_eq!(kvs.get("/kv/listed?count").await.json()["count"], KEYS.len());
    for (prefix, deleted) in [("zz", 0), ("a/", 3), ("a/", 0), ("ä", 2), ("a", 4), ("", 5), ("", 0)] {
        let answer = kvs.delete(&format!("{uri}?prefix={}", encoded(prefix))).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "deleted": deleted })), "{prefix}");
        let left = texts(&kvs.get("/kv/listed?keys").await.json()["keys"]);
        assert!(left.iter().all(|key| !key.starts_with(prefix)), "{prefix}: {left:?}");
    }
    kvs.put("/kv/other/a", "1").await;
    assert_eq!(kvs.delete("/kv/listed?prefix=").await.json()["deleted"], 0);
    assert_eq!(kvs.get("/kv/other/a").await.status, 200, "another bucket is not changed");
}

async fn concurrent_deletions_count_each_key_once(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    let rows: Vec<_> = (0..500).map(|n| json!({"key": format!("p/{n}"), "data": "1"})).collect();
    kvs.json("PUT", "/multi/default", json!(rows)).await;
    let counts = at_once(6, |_| {
        let kvs = kvs.clone();
        async move { kvs.delete("/kv/default?prefix=p/").await.json()["deleted"].as_u64().unwrap() }
    });
    assert_eq!(counts.await.into_iter().sum::<u64>(), 500);
}

async fn delete_by_prefix_covers_many_pages(make: Make) {
    let kvs = Endpoint::new(make);
    for part in 0..3 {
        let rows: Vec<_> = (0..7000).map(|n| json!({"key": format!("p{part}{n}"), "data": ""})).collect();
        kvs.json("PUT", "/multi/listed", json!(rows)).await;
    }
    kvs.put("/kv/listed/q", "1").await;
    assert_eq!(kvs.delete("/kv/listed?prefix=p").await.json(), json!({"deleted": 21_000}));
    assert_eq!(kvs.get("/kv/listed?keys").await.json()["keys"], json!(["q"]));
}
