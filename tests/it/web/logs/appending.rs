//! Appending to logs, removing and listing them, and the rights for that.

use std::time::Duration;

use serde_json::json;

use super::{append, bounds, lines, values};
use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, cases};

cases! {
    entries_are_numbered_and_typed,
    each_line_is_an_entry_or_nothing_is_appended,
    an_append_can_be_repeated,
    a_ring_keeps_its_last_entries,
    a_ring_forgets_old_entries,
    wrong_parameters_are_refused_and_nothing_is_appended,
    values_over_the_limit_are_refused,
    logs_and_their_entries_are_removed,
    logs_are_listed,
    writing_needs_a_secret_and_reading_the_right_of_the_bucket,
    methods_are_those_of_the_contract,
}

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const LOG: &str = "/log/default/kitchen/temp";

async fn entries_are_numbered_and_typed(make: Make) {
    let kvs = Endpoint::new(make);
    let typed = |content_type: &'static str| [("content-type", content_type)];
    let first = kvs.ask("POST", LOG, &typed("application/x-www-form-urlencoded"), "21.5").await;
    assert_eq!((first.status, first.text(), first.header("content-type")), (201, "{\"index\":0}", "application/json"));
    for (content_type, value, index) in [
        ("application/json", &b"{\"t\":\n 21.50, \"n\": 123456789012345678901234567890}"[..], 1),
        ("image/png", b"\x89\xff", 2),
        ("text/csv", b"a,b", 3),
        ("application/json", b"no json", 4),
    ] {
        let answer = kvs.ask("POST", LOG, &typed(content_type), value.to_vec()).await;
        assert_eq!(answer.json(), json!({"index": index}));
    }
    let answer = kvs.get(LOG).await;
    assert!(answer.text().contains("{\"t\":  21.50, \"n\": 123456789012345678901234567890}"), "{}", answer.text());
    let at = "2026-11-20T12:00:00.25Z";
    let entries = lines(&answer);
    assert_eq!(entries[0], json!({"index": 0, "value": "21.5", "updated": at}));
    assert_eq!(entries[2], json!({"index": 2, "base64": "if8=", "type": "image/png", "updated": at}));
    assert_eq!(entries[3], json!({"index": 3, "value": "a,b", "type": "text/csv", "updated": at}));
    assert_eq!(entries[4], json!({"index": 4, "value": "no json", "type": "application/json", "updated": at}));
    assert_eq!(kvs.get("/kv/default/kitchen/temp").await.status, 404, "a log is not the value of its key");
}

async fn each_line_is_an_entry_or_nothing_is_appended(make: Make) {
    let kvs = Endpoint::new(make);
    let body = "{\"t\":1.50}\r\n\n 7 \n\"x\"\n";
    let answer = kvs.ask("POST", LOG, &[NDJSON], body).await;
    assert_eq!((answer.status, answer.json()), (201, json!({"index": 0, "count": 3})));
    for (bad, line) in [("1\n{", "line 2"), ("1\n\n2 3\n", "line 3"), ("", "no lines"), ("\n\r\n", "no lines")] {
        let answer = kvs.ask("POST", LOG, &[NDJSON], bad).await;
        assert_eq!(answer.status, 400, "{bad:?}");
        assert!(answer.text().contains(line), "{}", answer.text());
    }
    let many = "1\n".repeat(10_001);
    assert_eq!(kvs.ask("POST", LOG, &[NDJSON], many).await.status, 413);
    let answer = kvs.get(LOG).await;
    assert_eq!(
        lines(&answer).iter().map(|line| line["json"].clone()).collect::<Vec<_>>(),
        [json!({"t": 1.5}), json!(7), json!("x")]
    );
    assert_eq!(bounds(&answer), [0, 3, 3]);
}

async fn an_append_can_be_repeated(make: Make) {
    let kvs = Endpoint::new(make);
    let uri = format!("{LOG}?index=0");
    assert_eq!(append(&kvs, &uri, "a").await, 0);
    let again = kvs.post(&uri, "a").await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("next index of this log is 1"), "{}", again.text());
    assert_eq!(values(&kvs.get(LOG).await), ["a"]);
    assert_eq!(append(&kvs, &format!("{LOG}?index=5"), "b").await, 5);
    assert_eq!(bounds(&kvs.get(LOG).await), [0, 6, 6]);
}

async fn a_ring_keeps_its_last_entries(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..5 {
        append(&kvs, &format!("{LOG}?keep=3"), &n.to_string()).await;
    }
    let answer = kvs.get(LOG).await;
    assert_eq!((values(&answer), bounds(&answer)), (vec!["2".to_owned(), "3".into(), "4".into()], [2, 5, 5]));
    append(&kvs, LOG, "5").await;
    assert_eq!(values(&kvs.get(LOG).await), ["3", "4", "5"], "the limit holds until it is changed");
    append(&kvs, &format!("{LOG}?keep=all"), "6").await;
    append(&kvs, LOG, "7").await;
    assert_eq!(values(&kvs.get(&format!("{LOG}?from=-9")).await), ["3", "4", "5", "6", "7"]);
}

async fn a_ring_forgets_old_entries(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, &format!("{LOG}?keep_for=1m"), "a").await;
    kvs.clock.advance(Duration::from_secs(50));
    append(&kvs, LOG, "b").await;
    assert_eq!(values(&kvs.get(LOG).await), ["a", "b"]);
    kvs.clock.advance(Duration::from_secs(11));
    let answer = kvs.get(LOG).await;
    assert_eq!((values(&answer), bounds(&answer)), (vec!["b".to_owned()], [1, 2, 2]));
    kvs.clock.advance(Duration::from_secs(3_600));
    let answer = kvs.get(LOG).await;
    assert_eq!((answer.status, answer.text(), bounds(&answer)), (200, "", [2, 2, 2]));
    assert_eq!(append(&kvs, LOG, "c").await, 2);
}

async fn wrong_parameters_are_refused_and_nothing_is_appended(make: Make) {
    let kvs = Endpoint::new(make);
    for query in [
        "keep=0",
        "keep=-1",
        "keep=x",
        "keep=",
        "keep_for=0",
        "keep_for=x",
        "keep_for=1h30",
        "keep_for=40000d",
        "index=-1",
        "index=x",
        "index=9223372036854775807",
        "index=99999999999999999999",
        "auth=s3cret",
    ] {
        assert_eq!(kvs.post(&format!("{LOG}?{query}"), "a").await.status, 400, "{query}");
    }
    for condition in
        [("if-match", "*"), ("if-none-match", "*"), ("if-unmodified-since", "Fri, 20 Nov 2026 12:00:00 GMT")]
    {
        assert_eq!(kvs.ask("POST", LOG, &[condition], "a").await.status, 400, "{condition:?}");
    }
    let digest = ("content-digest", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
    assert_eq!(kvs.ask("POST", LOG, &[digest], "a").await.status, 400);
    assert_eq!(kvs.get(LOG).await.status, 404);
    assert_eq!(kvs.post("/log/_kvs.throttle/a", "a").await.status, 404);
    assert_eq!(kvs.post("/log/default/a?key=b", "a").await.status, 400);
}

async fn values_over_the_limit_are_refused(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(kvs.post("/log/small/a", "12345678901").await.status, 413);
    assert_eq!(kvs.ask("POST", "/log/small/a", &[NDJSON], "1\n12345678901\n").await.status, 413);
    assert_eq!(kvs.get("/log/small/a").await.status, 404);
    assert_eq!(append(&kvs, "/log/small/a", "1234567890").await, 0);
}

async fn logs_and_their_entries_are_removed(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..5 {
        append(&kvs, LOG, &n.to_string()).await;
    }
    assert_eq!(kvs.delete(&format!("{LOG}?before=2")).await.json(), json!({"removed": 2}));
    assert_eq!(kvs.delete(&format!("{LOG}?before=2")).await.json(), json!({"removed": 0}));
    assert_eq!(bounds(&kvs.get(LOG).await), [2, 5, 5]);
    for query in ["before=x", "before=", "befor=3", "limit=1", "from=0"] {
        assert_eq!(kvs.delete(&format!("{LOG}?{query}")).await.status, 400, "{query}");
    }
    assert_eq!(values(&kvs.get(LOG).await), ["2", "3", "4"]);
    assert_eq!(kvs.delete(LOG).await.json(), json!({"removed": 3}));
    assert_eq!((kvs.delete(LOG).await.status, kvs.get(LOG).await.status), (404, 404));
    assert_eq!(append(&kvs, LOG, "new").await, 0);
    let headers = [("x-http-method-override", "DELETE")];
    assert_eq!(kvs.ask("POST", LOG, &headers, "").await.json(), json!({"removed": 1}));
}

async fn logs_are_listed(make: Make) {
    let kvs = Endpoint::new(make);
    for key in ["b/1", "a", "b/2", "c%2F%2Fd"] {
        append(&kvs, &format!("/log/default?key={key}"), "x").await;
    }
    let list = async |query: &str| kvs.ask("GET", &format!("/log/default{query}"), &[], "").await;
    assert_eq!(list("").await.json(), json!({"keys": ["a", "b/1", "b/2", "c//d"], "cursor": null}));
    assert_eq!(list("?limit=2").await.json(), json!({"keys": ["a", "b/1"], "cursor": "b/1"}));
    assert_eq!(list("?after=b%2F1").await.json(), json!({"keys": ["b/2", "c//d"], "cursor": null}));
    assert_eq!(list("?prefix=b/").await.json(), json!({"keys": ["b/1", "b/2"], "cursor": null}));
    let text = list("?format=text&limit=2").await;
    assert_eq!((text.text(), text.header("kvs-cursor")), ("a\nb/1\n", "b%2F1"));
    assert_eq!(values(&kvs.get("/log/default?key=c//d").await), ["x"]);
    for query in ["?limit=0", "?format=xml", "?after="] {
        assert_eq!(list(query).await.status, 400, "{query}");
    }
    assert_eq!(kvs.get("/log/default").await.status, 401);
    assert_eq!(kvs.get("/log/listed").await.json(), json!({"keys": [], "cursor": null}));
}

async fn writing_needs_a_secret_and_reading_the_right_of_the_bucket(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, "/log/secret/a", "x").await;
    for (method, uri) in [("POST", LOG), ("DELETE", LOG), ("GET", "/log/secret/a"), ("DELETE", "/log/secret/a")] {
        assert_eq!(kvs.plain(method, uri, &[]).await.status, 401, "{method} {uri}");
        assert_eq!(kvs.plain(method, uri, &[("x-kvs-auth", "wrong")]).await.status, 401, "{method} {uri}");
    }
    let events = kvs.plain("GET", "/log/secret/a", &[("accept", "text/event-stream")]).await;
    assert_eq!(events.status, 401);
    assert_eq!(values(&kvs.ask("GET", "/log/secret/a", &[], "").await), ["x"]);
    assert_eq!(kvs.ask("GET", LOG, &[NOBODY], "").await.status, 404);
}

async fn methods_are_those_of_the_contract(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, LOG, "x").await;
    let options = kvs.plain("OPTIONS", LOG, &[]).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, POST, DELETE, OPTIONS"));
    for method in ["PUT", "PATCH"] {
        assert_eq!(kvs.ask(method, LOG, &[], "y").await.status, 405);
    }
    assert_eq!(kvs.post("/log/default", "y").await.status, 405);
    let head = kvs.plain("HEAD", LOG, &[]).await;
    assert_eq!((head.status, head.text(), bounds(&head)), (200, "", [0, 1, 1]));
    assert_eq!(kvs.plain("HEAD", "/log/default/none", &[]).await.status, 404);
    let length: usize = head.header("content-length").parse().unwrap();
    assert_eq!(length, kvs.get(LOG).await.text().len());
}
