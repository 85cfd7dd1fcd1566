//! Forms: what they store, what is rejected, and who may send them.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use kvs::web::Body;
use kvs::web::{ApiSettings, ClientAddr, SecretList};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, cases, request};

cases! {
    pairs_of_a_form_are_written_in_order,
    rejected_forms_store_nothing,
    type_and_length_of_forms_are_checked,
    secrets_in_headers_are_accepted_and_all_must_be_valid,
    writes_are_rejected_if_no_secret_is_configured,
    wrong_secrets_pause_only_their_address,
    preconditions_apply_to_forms_with_one_pair,
}

async fn pairs_of_a_form_are_written_in_order(make: Make) {
    let kvs = Endpoint::new(make);
    let form = "second=2&first=1&twice=a&auth=s3cret&twice=b&named&x%3Dy=a%3Db";
    assert_eq!(kvs.form(form).await.status, 200);
    assert_eq!(kvs.get("/?k=second,first").await.text(), "1");
    assert_eq!(kvs.get("/?k=twice").await.text(), "b");
    assert_eq!(kvs.get("/?k=named").await.body.len(), 0);
    assert_eq!(kvs.get("/?k=x%3Dy").await.text(), "a=b");
}

async fn rejected_forms_store_nothing(make: Make) {
    let kvs = Endpoint::with(make, |s| ApiSettings { max_value_bytes: 1000, ..s });
    let large = format!("a=1&b={}&auth=s3cret", "x".repeat(1001));
    let huge = format!("a=1&b={}&auth=s3cret", "x".repeat(3000 + (64 << 10)));
    let long_key = format!("a=1&{}=2&auth=s3cret", "k".repeat(1025));
    let cases = [
        ("a=1", 401),
        ("a=1&auth=", 401),
        ("a=1&auth=wrong", 401),
        ("a=1&auth=s3cret&auth=s3cret", 400),
        ("a=1&auth=s3cret&%61uth=", 400),
        ("a=1&auth=reader", 403),
        ("a=1&auth=elsewhere", 403),
        ("auth=s3cret", 400),
        ("", 401),
        ("a=1&=2&auth=s3cret", 400),
        ("a=1&..=2&auth=s3cret", 400),
        ("a=1&%zz=2&auth=s3cret", 400),
        ("a=1&%ff=2&auth=s3cret", 400),
        ("a=1&b%0A=2&auth=s3cret", 400),
        (&long_key, 400),
        (&large, 413),
        (&huge, 413),
        // A client that may not write does not learn what is wrong with the rest.
        ("a=1&..=2&auth=wrong", 401),
        ("a=1&..=2", 401),
    ];
    for (form, status) in cases {
        let answer = kvs.form(form).await;
        assert_eq!(answer.status, status, "{form:.60}");
        assert!(answer.text().lines().count() == 1 && !answer.text().contains("s3cret"), "{}", answer.text());
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        assert_eq!(kvs.get("/?k=a").await.status, 404, "{form:.60}");
    }
    assert!(kvs.form("a=1&..=2&auth=s3cret").await.text().contains("\"..\""));
    assert!(kvs.form(&large).await.text().contains("1000"));
    let fits = format!("a={}&auth=s3cret", "%41".repeat(1000));
    assert_eq!(kvs.form(&fits).await.status, 200);
}

async fn type_and_length_of_forms_are_checked(make: Make) {
    let kvs = Endpoint::with(make, |s| ApiSettings { max_value_bytes: 1000, ..s });
    let send = |headers: Headers<'_>, uri: &str| {
        let form = Body::from("a=1&auth=s3cret");
        kvs.send(request("POST", uri, headers, form))
    };
    let cases: [(Headers<'_>, u16); 8] = [
        (&[], 200),
        (&[("content-type", "")], 200),
        (&[("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")], 200),
        (&[("content-type", "multipart/form-data; boundary=x")], 415),
        (&[("content-type", "application/json")], 415),
        (&[("content-length", "15")], 200),
        (&[("content-length", "16")], 400),
        (&[("content-length", "9999999")], 413),
    ];
    for (headers, status) in cases {
        assert_eq!(send(headers, "/").await.status, status, "{headers:?}");
    }
    assert!(send(&[("content-type", "application/json")], "/").await.text().contains("x-www-form-urlencoded"));
    for (uri, status) in [("/?ttl=60", 200), ("/?ttl=0", 400), ("/?ttl=x", 400), ("/?expires=1", 400)] {
        assert_eq!(send(&[], uri).await.status, status, "{uri}");
    }
    assert_eq!(send(&[], "/?ttl=60").await.status, 200);
    kvs.clock.advance(Duration::from_secs(59));
    assert_eq!(kvs.get("/?k=a").await.status, 200);
    kvs.clock.advance(Duration::from_secs(1));
    assert_eq!(kvs.get("/?k=a").await.status, 404);
    let broken = futures_util::stream::iter([Ok(Bytes::from("a=1&auth=s3")), Err(std::io::Error::other("gone"))]);
    assert_eq!(kvs.send(request("POST", "/", &[], crate::support::endpoint::streamed(broken))).await.status, 400);
}

async fn secrets_in_headers_are_accepted_and_all_must_be_valid(make: Make) {
    let kvs = Endpoint::new(make);
    let cases: [(Headers<'_>, &str, u16); 9] = [
        (&[("authorization", "Bearer s3cret")], "a=1", 200),
        (&[("authorization", "Basic bWU6czNjcmV0")], "a=1", 200),
        (&[("x-kvs-auth", "s3cret")], "a=1", 200),
        (&[("x-kvs-auth", "s3cret")], "a=1&auth=s3cret", 200),
        (&[("x-kvs-auth", "wrong")], "a=1&auth=s3cret", 401),
        (&[("x-kvs-auth", "s3cret")], "a=1&auth=wrong", 401),
        (&[("x-kvs-auth", "reader")], "a=1&auth=s3cret", 403),
        (&[("authorization", "Digest username=x")], "a=1&auth=s3cret", 200),
        (&[("authorization", "Digest username=x")], "a=1", 401),
    ];
    for (headers, form, status) in cases {
        let answer = kvs.send(request("POST", "/", headers, Body::from(form))).await;
        assert_eq!(answer.status, status, "{headers:?} {form}");
    }
}

async fn writes_are_rejected_if_no_secret_is_configured(make: Make) {
    for text in ["", "# none\n", "yourauthorizationhere\n"] {
        let kvs = Endpoint::with(make, |s| ApiSettings { secrets: SecretList::parse(text).unwrap(), ..s });
        for form in ["a=1", "a=1&auth=", "a=1&auth=yourauthorizationhere"] {
            let answer = kvs.form(form).await;
            assert_eq!(answer.status, 403, "{form}");
            assert!(answer.text().contains("auth.txt"));
        }
        assert_eq!(kvs.plain("GET", "/kv/default", &[("x-kvs-auth", "x")]).await.status, 403);
        assert_eq!(kvs.get("/?k=a").await.status, 404);
    }
}

async fn wrong_secrets_pause_only_their_address(make: Make) {
    let kvs = Endpoint::new(make);
    for _ in 0..20 {
        assert_eq!(kvs.form("a=1").await.status, 401);
        assert_eq!(kvs.form("a=1&auth=reader").await.status, 403);
    }
    for n in 0..5 {
        assert_eq!(kvs.form(&format!("a=1&auth=wrong{n}")).await.status, 401);
    }
    for form in ["a=1&auth=wrong", "a=1&auth=s3cret", "a=1"] {
        let answer = kvs.form(form).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, "1"), "{form}");
    }
    assert_eq!(kvs.plain("GET", "/kv/default", &[("x-kvs-auth", "s3cret")]).await.status, 429);
    assert_eq!(kvs.get("/?k=a").await.status, 404);
    let other = ClientAddr(Some(Ipv4Addr::new(192, 0, 2, 2).into()));
    let mut from_other = request("POST", "/", &[], Body::from("b=1&auth=s3cret"));
    from_other.extensions_mut().insert(other);
    assert_eq!(kvs.send(from_other).await.status, 200);
    kvs.clock.advance(Duration::from_secs(1));
    let answer = kvs.form("a=1&auth=wrong").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "2"));
    kvs.clock.advance(Duration::from_secs(2));
    assert_eq!(kvs.form("a=1&auth=s3cret").await.status, 200);
    assert_eq!(kvs.get("/?k=a").await.text(), "1");
}

async fn preconditions_apply_to_forms_with_one_pair(make: Make) {
    let kvs = Endpoint::new(make);
    let send = async |form: &str, headers: Headers<'_>| {
        let answer = kvs.send(request("POST", "/", headers, Body::from(form.to_owned()))).await;
        (answer.status, kvs.get("/?k=a").await.text().to_owned())
    };
    let form = |value: &str| format!("a={value}&auth=s3cret");
    assert_eq!(send(&form("0"), &[("if-match", "*")]).await.0, 412);
    assert_eq!(send(&form("1"), &[("if-none-match", "*")]).await, (200, "1".into()));
    assert_eq!(send(&form("2"), &[("if-none-match", "*")]).await, (412, "1".into()));
    let tag = kvs.get("/?k=a").await.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(send(&form("2"), &[("if-match", &format!("\"other\", {tag}"))]).await, (200, "2".into()));
    assert_eq!(send(&form("3"), &[("if-match", &tag)]).await, (412, "2".into()), "the same tag passes once");
    assert_eq!(send(&form("3"), &[("if-unmodified-since", "Fri, 20 Nov 2020 12:00:00 GMT")]).await, (412, "2".into()));
    for broken in [[("if-match", "2")], [("if-none-match", "a b")], [("if-unmodified-since", "soon")]] {
        assert_eq!(send(&form("3"), &broken).await, (400, "2".into()), "{broken:?}");
    }
    assert_eq!(send("a=3&b=3&auth=s3cret", &[("if-match", "*")]).await, (400, "2".into()));
}
