//! A page of another site cannot send a secret for its visitor: neither a wrong one, for which the visitor would be
//! paused, nor a right one.

use kvs::web::{ApiSettings, Cors};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, FORM, Headers, JSON, cases, request};

cases! {
    cross_site_form_is_rejected_and_not_counted,
    other_sites_cannot_send_a_secret_in_any_way,
    own_pages_and_plain_clients_are_not_affected,
    allowed_origins_can_send_secrets,
}

const HOST: (&str, &str) = ("host", "kvs.example:8080");
const OTHERS: [Headers<'_>; 6] = [
    &[HOST, ("origin", "https://evil.example")],
    &[HOST, ("origin", "null")],
    &[HOST, ("origin", "http://kvs.example")],
    &[HOST, ("sec-fetch-site", "cross-site")],
    &[HOST, ("sec-fetch-site", "cross-site"), ("origin", "http://kvs.example:8080")],
    &[HOST, ("sec-fetch-site", "same-site"), ("origin", "http://www.kvs.example")],
];
const OWN: [Headers<'_>; 6] = [
    &[],
    &[HOST],
    &[HOST, ("origin", "http://kvs.example:8080")],
    &[HOST, ("origin", "https://KVS.example:8080")],
    &[("host", "inner.local"), ("origin", "https://kvs.example"), ("sec-fetch-site", "same-origin")],
    &[HOST, ("sec-fetch-site", "none")],
];

async fn form(kvs: &Endpoint, from: Headers<'_>, secret: &str) -> u16 {
    let headers = [&[FORM], from].concat();
    kvs.send(request("POST", "/", &headers, format!("a=1&auth={secret}"))).await.status
}

async fn cross_site_form_is_rejected_and_not_counted(make: Make) {
    let kvs = Endpoint::new(make);
    for from in OTHERS {
        for n in 0..6 {
            assert_eq!(form(&kvs, from, &format!("guess{n}")).await, 403, "{from:?}");
        }
        assert_eq!(form(&kvs, from, "s3cret").await, 403, "so that nothing is learnt: {from:?}");
    }
    assert_eq!(kvs.get("/?k=a").await.status, 404);
    assert_eq!(form(&kvs, &[], "s3cret").await, 200, "nothing was counted");
}

async fn other_sites_cannot_send_a_secret_in_any_way(make: Make) {
    let kvs = Endpoint::new(make);
    for (method, uri) in [
        ("POST", "/kv/default/a?op=incr"),
        ("POST", "/kv/default/a"),
        ("PUT", "/kv/default/a"),
        ("DELETE", "/kv/default?prefix="),
        ("POST", "/multi/default?op=get"),
        ("PUT", "/multi/default"),
        ("POST", "/txn/default"),
        ("GET", "/kv/default"),
        ("GET", "/kv/secret/a"),
    ] {
        for n in 0..6 {
            // A browser that has a name and password for the site sends them with every request of a page.
            let secret = format!("Bearer {}", if n == 0 { "s3cret".to_owned() } else { format!("guess{n}") });
            let headers = [OTHERS[0], &[JSON, ("authorization", secret.as_str())]].concat();
            let status = kvs.send(request(method, uri, &headers, "1")).await.status;
            let is_open = uri == "/multi/default?op=get";
            assert_eq!(status == 403, !is_open, "{method} {uri}");
        }
    }
    assert_eq!(form(&kvs, &[], "s3cret").await, 200, "nothing was counted");
}

async fn own_pages_and_plain_clients_are_not_affected(make: Make) {
    let kvs = Endpoint::new(make);
    for from in OWN {
        assert_eq!(form(&kvs, from, "s3cret").await, 200, "{from:?}");
    }
    for from in OTHERS {
        assert_eq!(kvs.plain("GET", "/?k=a", from).await.status, 200, "an open read needs no secret: {from:?}");
    }
    for (n, from) in OWN.into_iter().enumerate() {
        assert_eq!(form(&kvs, from, &format!("guess{n}")).await, if n < 5 { 401 } else { 429 }, "{from:?}");
    }
}

async fn allowed_origins_can_send_secrets(make: Make) {
    let app = "https://app.example";
    let of = |cors: Cors| Endpoint::with(make, |settings| ApiSettings { cors, ..settings });
    let kvs = of(Cors::Of(vec![app.parse().unwrap()]));
    let from: Headers<'_> = &[HOST, ("origin", app), ("sec-fetch-site", "cross-site")];
    assert_eq!(form(&kvs, from, "s3cret").await, 200);
    assert_eq!(form(&kvs, from, "guess").await, 401);
    assert_eq!(form(&kvs, OTHERS[0], "s3cret").await, 403);
    let kvs = of(Cors::Any);
    for from in OTHERS {
        assert_eq!(form(&kvs, from, "s3cret").await, 200, "{from:?}");
    }
}
