//! Secrets that are limited to keys, buckets to which everybody may write, and policies for many buckets.

use kvs::web::{ApiSettings, Policies, Policy, Reads, SecretList, Timestamps, Writes};
use serde_json::json;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, FORM, JSON, NOBODY, cases};

cases! {
    a_secret_with_a_prefix_writes_only_its_keys,
    a_secret_with_a_prefix_lists_only_its_keys,
    a_secret_with_a_prefix_reads_only_its_keys_of_a_closed_bucket,
    an_open_bucket_needs_no_secret,
    a_page_of_another_site_may_not_write_to_an_open_bucket,
    a_policy_for_many_buckets_counts_unless_a_bucket_has_its_own,
    commands_of_poky_work_without_a_secret,
    lists_need_a_secret_unless_the_bucket_is_public,
}

/// The secret `kitchen` may do all below `kitchen/`.
fn endpoint(make: Make) -> Endpoint {
    let secrets = "s3cret\nkitchen prefix=kitchen/\n";
    let open = Policy { writes: Writes::Open, ..Policy::default() };
    let closed = Policy { reads: Reads::Secret, ..Policy::default() };
    let poky = Policy { writes: Writes::Open, timestamps: Timestamps::Client, ..Policy::default() };
    let bucket = |name| kvs::model::Bucket::new(name).unwrap();
    let policies = Policies {
        by_bucket: [(bucket("open"), open), (bucket("closed"), closed.clone()), (bucket("poky-own"), closed)].into(),
        by_prefix: vec![("poky-".to_owned(), poky)],
        ..Policies::default()
    };
    Endpoint::with(make, |s| ApiSettings { secrets: SecretList::parse(secrets).unwrap(), policies, ..s })
}

const RESTORE: &str =
    r#"{"ops":[{"op":"restore","key":"kitchen/r","value":"1","revision":"a","created":"2026-01-01T00:00:00Z"}]}"#;

const KITCHEN: (&str, &str) = ("x-kvs-auth", "kitchen");

/// Sends each request as JSON with this header, and compares the status.
async fn assert_statuses(kvs: &Endpoint, header: (&str, &str), requests: &[(&str, &str, &str, u16)]) {
    for (method, uri, body, status) in requests {
        let answer = kvs.ask(method, uri, &[header, JSON], (*body).to_owned()).await;
        assert_eq!(answer.status, *status, "{method} {uri} {body}");
    }
}

async fn a_secret_with_a_prefix_writes_only_its_keys(make: Make) {
    let kvs = endpoint(make);
    let form = async |pairs: &str| kvs.ask("POST", "/", &[FORM, NOBODY], pairs.to_owned()).await.status;
    assert_eq!(form("kitchen/temp=21&kitchen/hum=40&auth=kitchen").await, 200);
    assert_eq!(form("kitchen/temp=22&hall=1&auth=kitchen").await, 403);
    assert_eq!(form("kitchen=1&auth=kitchen").await, 403);
    assert_eq!(form("kitchen/temp=22&auth=wrong").await, 401);
    assert_eq!(kvs.get("/?k=kitchen/temp").await.text(), "21", "all pairs are stored, or none");
    let requests = [
        ("PUT", "/kv/default/kitchen/a", "1", 201),
        ("PUT", "/kv/default/hall", "1", 403),
        ("PUT", "/kv/default?key=kitchen", "1", 403),
        ("POST", "/kv/default/kitchen/n?op=incr", "", 200),
        ("POST", "/kv/default/n?op=incr", "", 403),
        ("DELETE", "/kv/default/kitchen/n", "", 200),
        ("DELETE", "/kv/default/hall", "", 403),
        ("PUT", "/kv/default/hall?path=/a", "1", 403),
        ("DELETE", "/kv/default?prefix=kitchen/x", "", 200),
        ("DELETE", "/kv/default?prefix=", "", 403),
        ("DELETE", "/kv/default?prefix=kit", "", 403),
        ("PUT", "/multi/default", r#"[{"key":"kitchen/b","data":"1"}]"#, 200),
        ("PUT", "/multi/default", r#"[{"key":"kitchen/b","data":"2"},{"key":"b","data":"1"}]"#, 403),
        ("DELETE", "/multi/default", r#"["b"]"#, 403),
        ("POST", "/txn/default", r#"{"ops":[{"op":"incr","key":"kitchen/n"}]}"#, 200),
        ("POST", "/txn/default", r#"{"ops":[{"op":"incr","key":"kitchen/n"},{"op":"delete","key":"n"}]}"#, 403),
        ("POST", "/log/default/kitchen/temp", "1", 201),
        ("POST", "/log/default/temp", "1", 403),
        ("DELETE", "/log/default/temp", "", 403),
        ("POST", "/maintenance/default?task=compact", "", 403),
        // It would move the revision of all keys.
        ("POST", "/txn/default", RESTORE, 403),
    ];
    assert_statuses(&kvs, KITCHEN, &requests).await;
    assert_eq!(kvs.get("/kv/default/kitchen/b").await.text(), "1");
}

async fn lists_need_a_secret_unless_the_bucket_is_public(make: Make) {
    for (reads, status) in [(Reads::Open, 401), (Reads::Secret, 401), (Reads::PublicList, 200)] {
        let public = Policy { reads, ..Policy::default() };
        let by_bucket = [(kvs::model::Bucket::new("public").unwrap(), public)].into();
        let policies = Policies { by_bucket, ..Policies::default() };
        let kvs = Endpoint::with(make, |s| ApiSettings { policies, ..s });
        for bucket in ["public", "default"] {
            kvs.put(&format!("/kv/{bucket}/a"), "1").await;
        }
        let form = async |uri: &str| kvs.ask("POST", uri, &[FORM, NOBODY], "limit=1".to_owned()).await.status;
        assert_eq!((form("/kv/public").await, form("/kv/default").await), (status, 401), "{reads:?}");
        assert_statuses(&kvs, NOBODY, &[("GET", "/kv/public", "", status), ("GET", "/kv/default", "", 401)]).await;
        // The buckets that are public are named to everybody.
        let buckets = kvs.ask("GET", "/kv", &[NOBODY], "").await;
        assert_eq!(buckets.status, status, "{reads:?}");
        assert_eq!(buckets.text().contains("public"), status == 200, "{}", buckets.text());
        assert!(!buckets.text().contains("default"), "{}", buckets.text());
    }
}

async fn a_secret_with_a_prefix_lists_only_its_keys(make: Make) {
    let kvs = endpoint(make);
    for key in ["kitchen/a", "hall/a"] {
        kvs.put(&format!("/kv/default/{key}"), "1").await;
        kvs.post(&format!("/log/default/{key}"), "1").await;
    }
    let requests = [
        ("GET", "/kv/default", "", 403),
        ("GET", "/kv/default?prefix=kitchen/", "", 200),
        ("GET", "/kv/default?prefix=kitchen/a&keys", "", 200),
        ("GET", "/kv/default?prefix=kit", "", 403),
        ("GET", "/kv/default?prefix=kitchen/&prefix=", "", 403),
        ("GET", "/kv/default?start=kitchen/", "", 403),
        ("GET", "/kv/default?since=0", "", 403),
        ("GET", "/kv/default?since=0&prefix=kitchen/", "", 200),
        ("GET", "/log/default", "", 403),
        ("GET", "/log/default?prefix=kitchen/", "", 200),
        ("GET", "/kv", "", 200),
    ];
    assert_statuses(&kvs, KITCHEN, &requests).await;
    let form = async |form: &str| kvs.ask("POST", "/kv/default", &[KITCHEN, FORM], form.to_owned()).await.status;
    assert_eq!((form("prefix=kitchen/").await, form("limit=1").await), (200, 403));
    let refused = kvs.ask("GET", "/kv/default?prefix=hall/", &[KITCHEN], "").await;
    assert!(refused.text().contains("the keys that begin with \"hall/\""), "{}", refused.text());
    let refused = kvs.ask("GET", "/kv/default", &[KITCHEN], "").await;
    assert!(refused.text().contains("reading bucket default, or not this part of it"), "{}", refused.text());
}

async fn a_secret_with_a_prefix_reads_only_its_keys_of_a_closed_bucket(make: Make) {
    let kvs = endpoint(make);
    for key in ["kitchen/a", "hall"] {
        kvs.put(&format!("/kv/closed/{key}"), "1").await;
    }
    let requests = [
        ("GET", "/kv/closed/kitchen/a", "", 200),
        ("GET", "/kv/closed/hall", "", 403),
        ("GET", "/?k=kitchen/a&bucket=closed", "", 200),
        ("GET", "/?k=kitchen/a,hall&bucket=closed", "", 403),
        ("POST", "/multi/closed", r#"["kitchen/a"]"#, 200),
        ("POST", "/multi/closed", r#"["kitchen/a","hall"]"#, 403),
        ("POST", "/multi/closed?meta", r#"["hall"]"#, 403),
        ("POST", "/txn/closed", r#"{"ops":[{"op":"get","key":"hall"}]}"#, 403),
        ("POST", "/txn/closed", r#"{"checks":[{"key":"hall","absent":false}],"ops":[]}"#, 403),
        ("POST", "/txn/closed", r#"{"checks":[{"key":"kitchen/a","absent":false}],"ops":[]}"#, 200),
        ("GET", "/log/closed/hall", "", 403),
    ];
    assert_statuses(&kvs, KITCHEN, &requests).await;
}

async fn an_open_bucket_needs_no_secret(make: Make) {
    let kvs = endpoint(make);
    let requests = [
        ("PUT", "/kv/open/a", "1", 201),
        ("POST", "/kv/open/a?op=incr", "", 200),
        ("PUT", "/multi/open", r#"[{"key":"b","data":"1"}]"#, 200),
        ("POST", "/txn/open", r#"{"ops":[{"op":"incr","key":"b"}]}"#, 200),
        ("POST", "/log/open/a", "1", 201),
        ("DELETE", "/kv/open?prefix=", "", 200),
        // What concerns the whole bucket is not open, nor are lists and other buckets.
        ("POST", "/txn/open", RESTORE, 401),
        ("POST", "/maintenance/open?task=compact", "", 401),
        ("POST", "/maintenance/open?task=check", "", 401),
        ("GET", "/kv/open", "", 401),
        ("PUT", "/kv/default/a", "1", 401),
    ];
    assert_statuses(&kvs, NOBODY, &requests).await;
    assert_eq!(kvs.form_to("/?bucket=open", "a=1").await.status, 200);
    assert_eq!(kvs.form("a=1").await.status, 401);
    // A secret is not needed, and not a guess.
    assert_eq!(kvs.form_to("/?bucket=open", "a=2&auth=wrong").await.status, 200);
}

async fn a_page_of_another_site_may_not_write_to_an_open_bucket(make: Make) {
    let kvs = endpoint(make);
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let headers = [FORM, NOBODY, ("host", "kvs.example"), (name, value)];
        let answer = kvs.ask("POST", "/?bucket=open", &headers, "a=1").await;
        assert!(answer.status == 403 && answer.text().contains("nothing was stored"), "{}", answer.text());
    }
    assert_eq!(kvs.get("/kv/open/a").await.status, 404);
}

async fn a_policy_for_many_buckets_counts_unless_a_bucket_has_its_own(make: Make) {
    let kvs = endpoint(make);
    let put = async |bucket: &str| kvs.ask("PUT", &format!("/kv/{bucket}/a"), &[NOBODY], "1").await.status;
    assert_eq!((put("poky-a").await, put("poky-b.c").await), (200, 200), "as in Poky");
    assert_eq!((put("poky-own").await, put("pokyx").await), (401, 401));
}

async fn commands_of_poky_work_without_a_secret(make: Make) {
    let kvs = endpoint(make);
    let [now, old] = ["Thu, 19 Nov 2026 10:00:00 GMT", "Thu, 19 Nov 2026 09:00:00 GMT"];
    let ask = async |method: &str, headers: &[(&str, &str)], body: &str| {
        let headers = [headers, &[NOBODY]].concat();
        let answer = kvs.ask(method, "/kv/poky-a/key", &headers, body.to_owned()).await;
        (answer.status, answer.header("last-modified").to_owned(), answer.body)
    };
    assert_eq!(ask("PUT", &[("if-unmodified-since", now)], "new").await.0, 200);
    assert_eq!(ask("PUT", &[("if-unmodified-since", old)], "late").await.0, 412);
    let (status, modified, body) = ask("GET", &[], "").await;
    assert_eq!((status, modified.as_str(), &body[..]), (200, now, &b"new"[..]));
    assert_eq!(ask("GET", &[("if-match", old)], "").await.0, 412);
    let rows = json!([{"key": "key", "data": "multi", "modified_at": now}]).to_string();
    let multi = kvs.ask("PUT", "/multi/poky-a", &[NOBODY, JSON], rows).await;
    assert_eq!((multi.status, multi.json()), (200, json!([{"result": "updated"}])));
    assert_eq!(ask("DELETE", &[("if-unmodified-since", now)], "").await.0, 200);
    assert_eq!(ask("GET", &[], "").await.0, 404);
}
