//! What a store over HTTP needs of the API: whole entries at one moment, exact batches and logs, buckets, maintenance.

use kvs::model::Revision;
use serde_json::{Value, json};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, FORM, NOBODY, cases};

cases! {
    entries_are_read_at_one_moment,
    a_transaction_returns_its_changes_or_nothing,
    an_entry_is_restored_with_its_times,
    a_revision_far_ahead_of_the_clock_is_refused,
    the_buckets_that_a_secret_may_list_are_listed,
    maintenance_needs_the_right_to_write_unless_it_only_looks,
    a_log_is_copied_exactly,
    a_removed_log_ends_a_wait,
    a_list_may_have_its_parameters_in_a_form,
    records_of_copies_need_a_secret,
    errors_in_json_have_their_kind,
}

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

async fn entries_are_read_at_one_moment(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let bytes = [0_u8, 0xff];
    kvs.put("/kv/default/b?ttl=60", bytes.to_vec()).await;
    let answer = kvs.json("POST", "/multi/default?meta", json!(["b", "none", "a", "a"])).await;
    let body = answer.json();
    let entries = body["entries"].as_array().unwrap();
    let list = kvs.ask("GET", "/kv/default", &[], "").await;
    assert_eq!(body["revision"], list.header("kvs-revision"));
    let listed = list.json();
    assert_eq!(entries[0], listed["entries"][1]);
    assert_eq!((&entries[1], &entries[2], &entries[2]), (&Value::Null, &listed["entries"][0], &entries[3]));
    assert_eq!(entries[0]["base64"], "AP8=");
    let nothing = kvs.json("POST", "/multi/other?meta", json!([])).await.json();
    assert_eq!(nothing, json!({"revision": Revision::ZERO.to_string(), "entries": []}));
    let dated = json!([{"key": "a", "modified_at": "Sun, 06 Nov 1994 08:49:37 GMT"}]);
    assert_eq!(kvs.json("POST", "/multi/default?meta", dated).await.status, 400);
    let nobody = kvs.ask("POST", "/multi/secret?meta", &[NOBODY, ("content-type", "application/json")], "[]").await;
    assert_eq!(nobody.status, 401);
}

async fn a_transaction_returns_its_changes_or_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let body = json!({"ops": [{"op": "set", "key": "a", "value": "2"}, {"op": "delete", "key": "none"}]});
    let changes = kvs.json("POST", "/txn/default?return=changes", &body).await.json();
    assert_eq!(
        (&changes["changes"][0]["before"]["value"], &changes["changes"][0]["after"]["value"]),
        (&json!("1"), &json!("2"))
    );
    assert_eq!(changes["changes"][1], json!({"before": null, "after": null}));
    assert_eq!(changes.get("results"), None);
    let nothing = kvs.json("POST", "/txn/default?return=none", &body).await.json();
    assert_eq!(nothing.as_object().unwrap().keys().collect::<Vec<_>>(), ["revision"]);
    assert_eq!(kvs.json("POST", "/txn/default?return=all", &body).await.status, 400);
    let write = [("x-kvs-auth", "writer"), ("content-type", "application/json")];
    let status = async |uri: &str| kvs.ask("POST", uri, &write, body.to_string()).await.status;
    assert_eq!((status("/txn/default").await, status("/txn/secret").await), (200, 200));
    assert_eq!(status("/txn/secret?return=changes").await, 403, "it may not read");
}

async fn an_entry_is_restored_with_its_times(make: Make) {
    let kvs = Endpoint::new(make);
    let restore = json!({"op": "restore", "key": "a", "value": "old", "type": "application/json", "revision": "c000000000",
        "created": "2001-02-03T04:05:06.000000007Z", "modified": "1999-12-31T23:59:59Z", "expires": "2261-01-01T00:00:00Z"});
    assert_eq!(kvs.json("POST", "/txn/default", json!({"ops": [restore]})).await.status, 200);
    let entry = kvs.get("/kv/default/a?meta").await.json();
    for name in ["value", "type", "revision", "created", "modified", "expires"] {
        assert_eq!(entry[name], restore[name], "{name}");
    }
    let again =
        json!({"op": "restore", "key": "a", "value": "other", "revision": "b", "created": "2001-02-03T04:05:06Z"});
    let answer = kvs.json("POST", "/txn/default", json!({"ops": [again]})).await;
    assert!(answer.status == 400 && answer.text().contains("newer"), "{}", answer.text());
    // Exact conditions on it.
    let check =
        |expires: &str| json!({"checks": [{"key": "a", "revision": "c000000000", "expires": expires}], "ops": []});
    assert_eq!(kvs.json("POST", "/txn/default", check("2261-01-01T00:00:00Z")).await.status, 200);
    assert_eq!(kvs.json("POST", "/txn/default", check("never")).await.status, 409);
    // An exact time may be in the past: the entry is gone at once.
    let ended = json!({"ops": [{"op": "set", "key": "a", "value": "x", "expires": "2001-01-01T00:00:00Z"}]});
    assert_eq!(kvs.json("POST", "/txn/default", ended).await.status, 200);
    assert_eq!(kvs.get("/kv/default/a").await.status, 404);
}

async fn a_revision_far_ahead_of_the_clock_is_refused(make: Make) {
    let kvs = Endpoint::new(make);
    let restore = |revision: String| {
        let op =
            json!({"op": "restore", "key": "a", "value": "1", "revision": revision, "created": "2026-01-01T00:00:00Z"});
        json!({"ops": [op]}).to_string()
    };
    let now = Revision::from(kvs::model::Clock::now(&*kvs.clock)).number();
    let hour = 3_600_000_000_000;
    for (ahead, status) in [(25 * hour, 400), (23 * hour, 200)] {
        let body = restore(Revision::new(now + ahead).to_string());
        assert_eq!(kvs.json("POST", "/txn/default", body).await.status, status, "{ahead}");
    }
}

async fn the_buckets_that_a_secret_may_list_are_listed(make: Make) {
    let kvs = Endpoint::new(make);
    for bucket in ["default", "other", "listed", "secret"] {
        kvs.put(&format!("/kv/{bucket}/a"), "1").await;
    }
    let buckets = async |secret: &str| kvs.ask("GET", "/kv", &[("x-kvs-auth", secret)], "").await;
    assert_eq!(buckets("s3cret").await.json(), json!({"buckets": ["default", "listed", "other", "secret"]}));
    assert_eq!(buckets("elsewhere").await.json(), json!({"buckets": ["listed", "other"]}));
    assert_eq!(buckets("").await.json(), json!({"buckets": ["listed"]}), "without a secret");
    assert_eq!((buckets("writer").await.status, buckets("wrong").await.status), (403, 401));
    assert_eq!(kvs.ask("GET", "/kv/?format=text", &[], "").await.text(), "default\nlisted\nother\nsecret\n");
    assert_eq!(kvs.ask("GET", "/kv?format=csv", &[], "").await.status, 400);
    kvs.post("/log/logged/a", "1").await;
    assert_eq!(kvs.ask("GET", "/log", &[], "").await.json(), json!({"buckets": ["logged"]}));
    assert_eq!(kvs.ask("PUT", "/kv", &[], "x").await.status, 405);
}

async fn maintenance_needs_the_right_to_write_unless_it_only_looks(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let run = async |secret: &str, task: &str| {
        kvs.ask("POST", &format!("/maintenance/default?task={task}"), &[("x-kvs-auth", secret)], "").await
    };
    for task in ["compact", "remove-expired", "remove-leftovers", "check", "status"] {
        let answer = run("s3cret", task).await;
        assert_eq!((answer.status, &answer.json()["findings"]), (200, &json!([])), "{task}");
    }
    assert_eq!(run("s3cret", "check").await.json()["entries"], 1);
    assert_eq!((run("reader", "check").await.status, run("reader", "compact").await.status), (200, 403));
    assert_eq!((run("writer", "check").await.status, run("writer", "compact").await.status), (403, 200));
    assert_eq!((run("", "status").await.status, run("", "compact").await.status), (401, 401));
    assert_eq!((run("s3cret", "").await.status, run("s3cret", "tidy").await.status), (400, 400));
    assert_eq!(kvs.ask("GET", "/maintenance/default?task=check", &[], "").await.status, 405);
}

async fn a_log_is_copied_exactly(make: Make) {
    let kvs = Endpoint::new(make);
    let lines = "{\"value\":\"21.5\",\"updated\":\"2001-02-03T04:05:06.007Z\"}\n\
                 {\"value\":\"{\\n}\",\"type\":\"application/json\",\"updated\":\"2001-02-03T04:05:07Z\"}\n\
                 {\"base64\":\"/w==\",\"type\":\"image/png\",\"updated\":\"2001-02-03T04:05:08Z\"}\n";
    let append = "/log/default/a?entries&index=7&keep=10&keep_for=1500ms";
    // A time in the past would be forgotten at once.
    let append = append.replace("1500ms", "36500d");
    assert_eq!(kvs.ask("POST", &append, &[NDJSON], lines).await.json(), json!({"index": 7, "count": 3}));
    let page = kvs.get("/log/default/a?format=json&exact").await.json();
    assert_eq!((&page["keep"], &page["keep_for"], &page["end"]), (&json!(10), &json!("3153600000000ms"), &json!(10)));
    let entries = page["entries"].as_array().unwrap();
    assert_eq!(entries[0], json!({"index": 7, "value": "21.5", "updated": "2001-02-03T04:05:06.007Z"}));
    assert_eq!((&entries[1]["value"], &entries[1]["type"]), (&json!("{\n}"), &json!("application/json")));
    assert_eq!((&entries[2]["base64"], &entries[2]["index"]), (&json!("/w=="), &json!(9)));
    // What a read returns can be appended to another log.
    let read = kvs.get("/log/default/a?exact").await;
    assert_eq!(kvs.ask("POST", "/log/default/b?entries", &[NDJSON], read.body).await.status, 201);
    let copied = kvs.get("/log/default/b?format=json&exact").await.json();
    assert_eq!((copied["entries"].as_array().unwrap().len(), &copied["keep"]), (3, &Value::Null));
    // Only the retention.
    assert_eq!(kvs.ask("POST", "/log/default/b?entries&keep=1", &[NDJSON], "").await.status, 201);
    assert_eq!(kvs.get("/log/default/b?format=json").await.json()["keep"], 1);
    let bad = kvs.ask("POST", "/log/default/b?entries", &[NDJSON], "{\"value\":\"a\"}\n{\"value\":1}").await;
    assert!(bad.status == 400 && bad.text().starts_with("line 2 "), "{}", bad.text());
    assert_eq!(kvs.ask("POST", "/log/default/b?entries", &[], lines).await.status, 415);
    let taken = kvs.ask("POST", "/log/default/b?index=0", &[("accept", "application/json")], "x").await;
    assert_eq!((taken.status, &taken.json()["next"]), (409, &json!(3)));
}

async fn a_removed_log_ends_a_wait(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    for value in ["1", "2"] {
        kvs.post("/log/default/a", value).await;
    }
    // Nothing new: the body is a page without entries, not an empty text.
    let page = kvs.get("/log/default/a?from=2&wait=1&format=json").await.json();
    assert_eq!((&page["entries"], &page["end"]), (&json!([]), &json!(2)));
    let wait = kvs.get("/log/default/a?from=2&wait=20");
    let remove = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        kvs.delete("/log/default/a").await
    };
    let started = std::time::Instant::now();
    let (answer, removed) = tokio::join!(wait, remove);
    assert_eq!((answer.status, removed.status), (404, 200));
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
    kvs.post("/log/default/a", "again").await;
    let answer = kvs.get("/log/default/a?from=2&wait=20").await;
    assert_eq!((answer.status, answer.header("kvs-end"), answer.text()), (200, "1", ""), "it begins again");
}

async fn a_list_may_have_its_parameters_in_a_form(make: Make) {
    let kvs = Endpoint::new(make);
    let long = "\u{e9}".repeat(500);
    for key in ["a", "b", &long] {
        let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
        kvs.put(&format!("/kv/default?key={key}"), "1").await;
    }
    let form = format!("start=b&end={long}z&limit=5&keys");
    let listed = kvs.ask("POST", "/kv/default", &[FORM], form).await;
    assert_eq!(listed.json(), json!({"keys": ["b", long], "cursor": null}));
    let same = kvs.ask("GET", "/kv/default?limit=1", &[], "").await;
    assert_eq!(kvs.ask("POST", "/kv/default", &[FORM], "limit=1").await.body, same.body);
    assert_eq!(kvs.ask("POST", "/kv/default", &[NOBODY, FORM], "limit=1").await.status, 401);
    assert_eq!(kvs.ask("POST", "/kv/default", &[FORM], "limit=x").await.status, 400);
    assert_eq!(kvs.ask("POST", "/kv/default", &[FORM], "auth=s3cret").await.status, 400);
    let forgotten = kvs.ask("POST", "/kv/default", &[FORM], "greeting=hello").await;
    assert!(forgotten.status == 400 && forgotten.text().contains("nothing was stored"), "{}", forgotten.text());
    assert_eq!(kvs.ask("POST", "/kv/default", &[("content-type", "text/plain")], "limit=1").await.status, 415);
}

async fn records_of_copies_need_a_secret(make: Make) {
    let kvs = Endpoint::new(make);
    let json = ("content-type", "application/json");
    let write = json!({"ops": [{"op": "set", "key": "default", "value": "x"}]}).to_string();
    assert_eq!(kvs.ask("POST", "/txn/_kvs.copy", &[json], write.clone()).await.status, 200);
    assert_eq!(kvs.ask("POST", "/multi/_kvs.copy?meta", &[json], "[\"default\"]").await.status, 200);
    assert_eq!(kvs.ask("POST", "/multi/_kvs.copy?meta", &[json, NOBODY], "[\"default\"]").await.status, 401);
    assert_eq!(
        kvs.ask("POST", "/txn/_kvs.copy", &[json, ("x-kvs-auth", "elsewhere")], write.clone()).await.status,
        403
    );
    for uri in ["/kv/_kvs.copy", "/kv/_kvs.copy/default", "/log/_kvs.copy", "/?k=default&bucket=_kvs.copy"] {
        assert_eq!(kvs.ask("GET", uri, &[], "").await.status, 404, "{uri}");
    }
    assert_eq!(kvs.ask("POST", "/txn/_kvs.throttle", &[json], write).await.status, 404);
    assert_eq!(kvs.ask("GET", "/kv", &[], "").await.json(), json!({"buckets": []}));
}

async fn errors_in_json_have_their_kind(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "text").await;
    let accept = ("accept", "application/json");
    let problem = kvs.ask("POST", "/kv/default/a?op=incr", &[accept], "").await.json();
    assert_eq!((&problem["kind"], &problem["status"]), (&json!("invalid"), &json!(400)));
    let missing = kvs.ask("GET", "/kv/default/none", &[accept], "").await.json();
    assert_eq!(missing.get("kind"), None, "it is not an error of the store");
}
