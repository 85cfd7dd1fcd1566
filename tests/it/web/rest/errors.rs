//! Errors are one line of text or problem details in JSON (RFC 9457), and never have status 200.

use std::time::Duration;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, JSON, NOBODY, cases};

cases! {
    errors_are_a_line_of_text_or_problem_json,
    failed_transactions_return_json_whatever_is_accepted,
    line_ends_in_names_are_not_copied_into_errors,
}

async fn errors_are_a_line_of_text_or_problem_json(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let large = "x".repeat((1 << 20) + 1);
    let wrong = [("x-kvs-auth", "wrong")];
    let cases: [(&str, &str, Headers<'_>, &str, u16); 16] = [
        ("GET", "/kv/default/none", &[], "", 404),
        ("GET", "/kv/default/none?meta", &[], "", 404),
        ("GET", "/nothing", &[], "", 404),
        ("GET", "/kv/default/a//b", &[], "", 400),
        ("GET", "/kv/default?limit=0", &[], "", 400),
        ("GET", "/kv/default/a", &[("if-match", "\"zzz\"")], "", 412),
        ("PUT", "/kv/default/a", &[("if-match", "\"zzz\"")], "2", 412),
        ("PUT", "/kv/default/a?ttl=0", &[], "2", 400),
        ("PUT", "/kv/default/a", &[NOBODY], "2", 401),
        ("PUT", "/kv/default/a", &wrong, "2", 401),
        ("PUT", "/kv/default/a", &[("x-kvs-auth", "reader")], "2", 403),
        ("PUT", "/kv/default/a", &[], &large, 413),
        ("PATCH", "/kv/default/a", &[], "2", 415),
        ("PUT", "/multi/default", &[], "[]", 415),
        ("PUT", "/multi/default", &[JSON], "[1]", 400),
        ("POST", "/txn/default", &[JSON], "{", 400),
    ];
    for (method, uri, headers, body, status) in cases {
        // By then, the wrong secrets are forgotten.
        kvs.clock.advance(Duration::from_secs(3600));
        let answer = kvs.ask(method, uri, headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{method} {uri}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(answer.text().ends_with('\n') && answer.text().lines().count() == 1, "{:?}", answer.text());
        for accept in ["application/json", "application/problem+json", "text/plain, application/json;q=0.5"] {
            let headers: Vec<_> = headers.iter().copied().chain([("accept", accept)]).collect();
            let problem = kvs.ask(method, uri, &headers, body.to_owned()).await;
            assert_eq!(problem.status, status, "{method} {uri}");
            assert_eq!(problem.header("content-type"), "application/problem+json");
            let problem_body = problem.json();
            assert_eq!(problem_body["status"], status);
            assert_eq!(problem_body["detail"], answer.text().trim_end());
            assert!(problem_body["title"].is_string() && problem_body["type"].is_string());
        }
        let accepts_none: Vec<_> = headers.iter().copied().chain([("accept", "application/json;q=0, */*")]).collect();
        let answer = kvs.ask(method, uri, &accepts_none, body.to_owned()).await;
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
}

async fn failed_transactions_return_json_whatever_is_accepted(make: Make) {
    let kvs = Endpoint::new(make);
    let body = r#"{"checks":[{"key":"a","absent":false}],"ops":[]}"#;
    for accept in ["*/*", "text/plain", "application/json"] {
        let answer = kvs.ask("POST", "/txn/default", &[JSON, ("accept", accept)], body).await;
        assert_eq!((answer.status, answer.header("content-type")), (409, "application/problem+json"), "{accept}");
        assert_eq!(answer.json()["check"], 0);
    }
}

async fn line_ends_in_names_are_not_copied_into_errors(make: Make) {
    let kvs = Endpoint::new(make);
    let row = r#"[{"key":"a\r\nset-cookie: x","data":"1"}]"#;
    for (method, uri, body) in [
        ("PUT", "/kv/default?key=a%0D%0Ab", ""),
        ("PUT", "/multi/default", row),
        ("PUT", "/multi/default", "[{\"key\":\"a\",\"data\":\"1\",\"x\\ny\":1}]"),
        ("POST", "/kv/default/a?op=incr&by=%0A", ""),
    ] {
        let answer = kvs.json(method, uri, body).await;
        assert_eq!(answer.status, 400, "{uri}");
        assert_eq!(answer.text().lines().count(), 1, "{:?}", answer.text());
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}
