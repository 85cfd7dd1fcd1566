//! `/multi/{bucket}`: many keys in one request and one commit. Each row has its own result; an invalid row rejects all.

use std::time::Duration;

use serde_json::{Value, json};

use super::date;
use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    many_keys_are_set_read_and_deleted,
    rows_have_type_expiry_and_preconditions,
    rows_of_a_get_accept_a_date,
    row_with_a_date_passes_if_the_entry_is_not_later,
    same_date_passes_once_even_within_a_request,
    all_rows_are_one_commit,
    one_invalid_row_rejects_the_request_and_is_named,
    number_and_size_of_rows_are_limited,
}

const THEN: &str = "Fri, 20 Nov 2026 12:00:00 GMT";
const EARLIER: &str = "Fri, 20 Nov 2026 11:59:59 GMT";

impl Endpoint {
    async fn multi(&self, method: &str, query: &str, rows: impl ToString) -> (u16, Value) {
        let answer = self.json(method, &format!("/multi/default{query}"), rows).await;
        (answer.status, if answer.status == 200 { answer.json() } else { answer.text().into() })
    }
}

async fn many_keys_are_set_read_and_deleted(make: Make) {
    for (set, get, delete) in [
        (("PUT", ""), ("POST", ""), ("DELETE", "")),
        (("POST", "?op=set"), ("POST", "?op=get"), ("POST", "?op=delete")),
    ] {
        let kvs = Endpoint::new(make);
        let rows = json!([{"key": "a", "data": "1"}, {"key": "b//", "data": ""}, {"key": "ä", "data": "\u{0}é"}]);
        let inserted = json!([{"result": "inserted"}, {"result": "inserted"}, {"result": "inserted"}]);
        assert_eq!(kvs.multi(set.0, set.1, &rows).await, (200, inserted));
        assert_eq!(kvs.multi(set.0, set.1, json!([{"key": "a", "data": "2"}])).await.1, json!([{"result": "updated"}]));
        let rows = json!([{"key": "a"}, "ä", {"key": "none"}, "b//", "a", "missing"]);
        let values = json!({"a": "2", "b//": "", "ä": "\u{0}é"});
        assert_eq!(kvs.multi(get.0, get.1, &rows).await, (200, values));
        let rows = json!(["a", {"key": "b//"}, "none", "a"]);
        let results: Vec<_> = ["deleted", "deleted", "missing", "missing"].map(|r| json!({"result": r})).into();
        assert_eq!(kvs.multi(delete.0, delete.1, &rows).await, (200, json!(results)));
        assert_eq!(kvs.multi(get.0, get.1, json!(["a", "ä"])).await.1, json!({"ä": "\u{0}é"}));
        for (method, query) in [set, delete] {
            assert_eq!(kvs.multi(method, query, "[]").await, (200, json!([])));
        }
        assert_eq!(kvs.multi(get.0, get.1, "[]").await, (200, json!({})));
    }
}

async fn rows_have_type_expiry_and_preconditions(make: Make) {
    let kvs = Endpoint::new(make);
    let rows = json!([{"key": "a", "data": "{}", "content_type": "application/json", "ttl": 60, "modified_at": null}]);
    assert_eq!(kvs.multi("PUT", "", rows).await.0, 200);
    assert_eq!(kvs.get("/kv/default/a").await.header("content-type"), "application/json");
    kvs.clock.advance(Duration::from_secs(60));
    assert_eq!(kvs.get("/kv/default/a").await.status, 404);
    kvs.ask("PUT", "/kv/default/bytes", &[], vec![0xff]).await;
    assert_eq!(kvs.multi("POST", "", json!(["bytes"])).await.1, json!({"bytes": {"base64": "/w=="}}));
}

async fn rows_of_a_get_accept_a_date(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for (at, found) in
        [(THEN, json!({"a": "1"})), (EARLIER, json!({})), ("Friday, 20-Nov-26 12:00:00 GMT", json!({"a": "1"}))]
    {
        assert_eq!(kvs.multi("POST", "", json!([{"key": "a", "modified_at": at}])).await.1, found, "{at}");
    }
}

async fn row_with_a_date_passes_if_the_entry_is_not_later(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "0").await;
    kvs.clock.advance(Duration::from_secs(10));
    let row = |value: &str, at: &str| json!({"key": "a", "data": value, "modified_at": at});
    let rows = json!([row("1", EARLIER), {"key": "b", "data": "1"}, {"key": "c", "data": "1", "modified_at": EARLIER}]);
    let results = json!([{"result": "rejected"}, {"result": "inserted"}, {"result": "inserted"}]);
    assert_eq!(kvs.multi("PUT", "", rows).await, (200, results));
    assert_eq!(kvs.multi("PUT", "", json!([row("2", THEN)])).await.1, json!([{"result": "updated"}]));
    assert_eq!(kvs.multi("PUT", "", json!([row("3", THEN)])).await.1, json!([{"result": "rejected"}]));
    assert_eq!(kvs.get("/kv/default/a").await.text(), "2");
    let before = kvs.stored("default", "a").await.unwrap();
    let now = date(before.last_modified());
    assert_eq!(kvs.multi("PUT", "", json!([row("4", &now)])).await.1, json!([{"result": "updated"}]));
    let after = kvs.stored("default", "a").await.unwrap();
    assert!(after.last_modified() > before.last_modified(), "a whole second later");
}

async fn same_date_passes_once_even_within_a_request(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "0").await;
    // The clock does not move, so the new entry is from the next second.
    let row = |value: &str| json!({"key": "a", "data": value, "modified_at": THEN});
    let results = json!([{"result": "updated"}, {"result": "rejected"}]);
    assert_eq!(kvs.multi("PUT", "", json!([row("1"), row("2")])).await.1, results);
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
    // A row without a precondition does not help one with a precondition.
    kvs.clock.advance(Duration::from_secs(10));
    let since = date(kvs.stored("default", "a").await.unwrap().last_modified());
    let rows = json!([{"key": "a", "data": "3"}, {"key": "a", "data": "4", "modified_at": since}]);
    assert_eq!(kvs.multi("PUT", "", rows).await.1, results);
    assert_eq!(kvs.get("/kv/default/a").await.text(), "3");
}

async fn all_rows_are_one_commit(make: Make) {
    let kvs = Endpoint::new(make);
    let rows = json!([{"key": "a", "data": "1"}, {"key": "b", "data": "2"}, {"key": "a", "data": "3"}]);
    let results = json!([{"result": "inserted"}, {"result": "inserted"}, {"result": "updated"}]);
    assert_eq!(kvs.multi("PUT", "", rows).await.1, results);
    assert_eq!(kvs.get("/?k=a,b").await.text(), "3", "in their order");
    assert!(kvs.stored("default", "a").await.unwrap().revision > kvs.stored("default", "b").await.unwrap().revision);
}

async fn one_invalid_row_rejects_the_request_and_is_named(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "0").await;
    let bad_sets = [
        "1",
        "null",
        "[]",
        r#"["b","x",null,null,null,null,null]"#,
        r#""b""#,
        "{}",
        r#"{"key":"b"}"#,
        r#"{"data":"x"}"#,
        r#"{"key":1,"data":"x"}"#,
        r#"{"key":"b","data":1}"#,
        r#"{"key":"b","data":null}"#,
        r#"{"key":"b","data":{"x":1}}"#,
        r#"{"key":"","data":"x"}"#,
        r#"{"key":"..","data":"x"}"#,
        r#"{"key":"b\n","data":"x"}"#,
        r#"{"key":"b","data":"x","kee":"c"}"#,
        r#"{"key":"b","data":"x","modified_at":"soon"}"#,
        r#"{"key":"b","data":"x","modified_at":5}"#,
        r#"{"key":"b","data":"x","content_type":"png"}"#,
        r#"{"key":"b","data":"x","content_type":"text/plain\r\nx: y"}"#,
        r#"{"key":"b","key":"c","data":"x"}"#,
        r#"{"key":"b","data":"x","data":"y"}"#,
    ];
    let bad_names = [
        "1",
        "null",
        "[]",
        r#""""#,
        r#"".""#,
        r#""b\u0085""#,
        "{}",
        r#"{"kee":"b"}"#,
        r#"{"key":["b"]}"#,
        r#"{"key":"b","data":"x"}"#,
        r#"{"key":"b","ttl":5}"#,
        r#"{"key":"b","modified_at":"soon"}"#,
        r#"{"key":"b","key":"c"}"#,
    ];
    let sets = bad_sets.iter().map(|bad| ("PUT", format!(r#"[{{"key":"a","data":"1"}},{bad}]"#)));
    let deletes = bad_names.iter().map(|bad| ("DELETE", format!(r#"["a",{bad}]"#)));
    let gets = bad_names.iter().map(|bad| ("POST", format!(r#"["a",{bad}]"#)));
    for (method, rows) in sets.chain(deletes).chain(gets) {
        let (status, text) = kvs.multi(method, "", &rows).await;
        assert_eq!(status, 400, "{method} {rows}");
        assert!(text.as_str().unwrap().contains("row 2"), "{method} {rows}: {text}");
        assert_eq!(kvs.get("/kv/default/a").await.text(), "0", "{method} {rows}");
    }
    assert_eq!(kvs.ask("GET", "/kv/default?count", &[], "").await.json()["count"], 1);
}

async fn number_and_size_of_rows_are_limited(make: Make) {
    let kvs = Endpoint::new(make);
    let rows = |n: usize| json!((0..n).map(|n| json!({"key": format!("{n}"), "data": ""})).collect::<Vec<_>>());
    assert_eq!(kvs.multi("PUT", "", rows(10_001)).await.0, 413);
    assert_eq!(kvs.stored("default", "0").await, None);
    assert_eq!(kvs.multi("PUT", "", rows(10_000)).await.0, 200);
    let most = kvs::store::Limits::default().max_value_bytes;
    let row = |n: usize| json!([{"key": "other", "data": "1"}, {"key": "large", "data": "x".repeat(n)}]);
    assert_eq!(kvs.multi("PUT", "", row(most + 1)).await.0, 413);
    assert_eq!(kvs.stored("default", "other").await, None);
    assert_eq!(kvs.multi("PUT", "", row(most)).await.0, 200);
}
