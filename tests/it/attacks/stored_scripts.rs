//! Stored scripts: whatever a client stores, under whatever type and key, no response is a page or a script for a
//! browser. `tests/apache/attacks/hostile_pages.rs` checks the same with a real browser.

use std::path::Path;

use kvs::model::Bucket;
use kvs::web::{ApiSettings, Policies, Policy, Reads};

use crate::store::named;
use crate::support::endpoint::{Answer, Endpoint};

const SCRIPT: &str = "<script>alert(1)</script><svg onload=alert(1) xmlns='http://www.w3.org/2000/svg'/>";

/// Types that a browser runs, or may run, and spellings of them.
const TYPES: [&str; 26] = [
    "text/html",
    "TEXT/HTML",
    "text/html; charset=utf-7",
    "text/html;charset=iso-2022-jp",
    "application/xhtml+xml",
    "image/svg+xml",
    "image/svg",
    "text/xml",
    "application/xml",
    "application/rss+xml",
    "application/mathml+xml",
    "text/xsl",
    "application/xslt+xml",
    "text/javascript",
    "application/javascript",
    "application/ecmascript",
    "module/javascript",
    "text/css",
    "text/vbscript",
    "application/wasm",
    "application/pdf",
    "application/x-shockwave-flash",
    "message/rfc822",
    "multipart/x-mixed-replace; boundary=x",
    "text/plain, text/html",
    "text/cache-manifest",
];

const KEYS: [(&str, &str); 3] =
    [("plain", "plain"), ("%3Cscript%3Ealert(1)%3C%2Fscript%3E", "<script>"), ("a.html", "a.html")];

/// Types that a browser only shows or saves, if it does not guess another one.
fn is_inert(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap().trim();
    [
        "text/plain",
        "text/csv",
        "text/event-stream",
        "application/json",
        "application/x-ndjson",
        "application/problem+json",
        "application/openmetrics-text",
        "application/octet-stream",
    ]
    .contains(&essence)
}

#[track_caller]
fn assert_inert(what: &str, answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    if answer.headers.contains_key("content-type") {
        assert!(is_inert(answer.header("content-type")), "{what}: {}", answer.header("content-type"));
    }
}

fn endpoint() -> Endpoint {
    let listed = Policy { reads: Reads::PublicList, ..Policy::default() };
    let by_bucket = [(Bucket::new("web").unwrap(), listed)].into();
    let policies = Policies { by_bucket, ..Policies::default() };
    Endpoint::with(named("memory"), |settings| ApiSettings { policies, ..settings })
}

#[tokio::test]
async fn stored_scripts_are_never_served_as_scripts() {
    let kvs = endpoint();
    for content_type in TYPES {
        for (key, _) in KEYS {
            let entry = format!("/kv/web?key={key}");
            let headers = [("content-type", content_type)];
            let put = kvs.ask("PUT", &entry, &headers, SCRIPT).await;
            assert!([200, 201].contains(&put.status), "{content_type}: {}", put.text());
            let get = kvs.plain("GET", &entry, &[("accept", "text/html")]).await;
            assert_eq!((get.status, get.text()), (200, SCRIPT), "{content_type}");
            assert_eq!(get.header("content-type"), "application/octet-stream", "{content_type}");
            assert_eq!(get.header("content-disposition"), "attachment", "{content_type}");
            assert_eq!(get.header("content-security-policy"), "sandbox", "{content_type}");
            assert_inert(content_type, &get);
            let part = kvs.plain("GET", &entry, &[("range", "bytes=0-30")]).await;
            assert_eq!((part.status, part.header("content-type")), (206, "application/octet-stream"));
            let old = kvs.ask("PUT", &format!("{entry}&return=old"), &headers, SCRIPT).await;
            assert_eq!((old.status, old.text()), (200, SCRIPT));
            assert_inert(content_type, &old);
        }
    }
}

/// The ways in which a value or a key comes back, besides the value itself. Clients may ask for HTML.
#[tokio::test]
async fn no_response_but_the_index_page_is_html() {
    let kvs = endpoint();
    for (key, _) in KEYS {
        let headers = [("content-type", "text/html")];
        assert_eq!(kvs.ask("PUT", &format!("/kv/web?key={key}"), &headers, SCRIPT).await.status, 201);
        assert_eq!(kvs.ask("POST", &format!("/log/web?key={key}"), &headers, SCRIPT).await.status, 201);
        let path = key.replace("%2F", "/");
        let json = format!("{{\"a\":{}}}", serde_json::to_string(SCRIPT).unwrap());
        assert_eq!(kvs.put(&format!("/kv/web/json/{path}"), json).await.status, 201);
        for uri in [
            format!("/?bucket=web&k={key}"),
            format!("/?bucket=web&k={key},plain"),
            format!("/?bucket=web&k=none&default={key}"),
            format!("/kv/web?key={key}&meta"),
            format!("/kv/web/json/{path}?path=/a"),
            format!("/kv/web/json/{path}?path=/{key}"),
            format!("/kv/{key}/a"),
            format!("/kv/web?prefix={key}"),
            format!("/kv/web?prefix={key}&format=text&values"),
            format!("/kv/web?format=csv&after={key}"),
            format!("/kv/web?format={key}"),
            format!("/kv/web?limit={key}"),
            format!("/log/web?key={key}"),
            format!("/log/web?key={key}&exact"),
            format!("/log/web?prefix={key}&format=text"),
            format!("/{key}"),
            format!("/maintenance/{key}"),
            "/kv".to_owned(),
            "/log".to_owned(),
            "/status".to_owned(),
            "/help".to_owned(),
            "/metrics".to_owned(),
            "/openapi.json".to_owned(),
        ] {
            for method in ["GET", "POST", "OPTIONS"] {
                let answer = kvs.ask(method, &uri, &[("accept", "text/html")], "").await;
                assert_inert(&format!("{method} {uri}"), &answer);
            }
        }
    }
}

#[tokio::test]
async fn index_page_contains_nothing_of_the_request_or_the_store() {
    let kvs = endpoint();
    let page = async |uri: &str| kvs.plain("GET", uri, &[("accept", "text/html")]).await;
    let plain = page("/").await;
    assert!(plain.header("content-type").starts_with("text/html"));
    let policy = plain.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    kvs.put("/kv/web/a", SCRIPT).await;
    for uri in ["/?bucket=web", "/?x=%3Cscript%3Ealert(1)%3C/script%3E", "/?bucket=web&%22onload=alert(1)"] {
        let answer = page(uri).await;
        assert_eq!((answer.status, answer.body.clone()), (200, plain.body.clone()), "{uri}");
        assert_eq!(answer.header("content-security-policy"), policy, "{uri}");
    }
}

/// The pages of `examples/` and the index page show what others have stored. They never make HTML or code from text.
#[test]
fn pages_never_make_html_or_code_from_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = std::fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> =
        examples.filter(|path| path.extension().is_some_and(|ending| ending == "html" || ending == "js")).collect();
    assert!(pages.iter().filter(|path| path.extension().is_some_and(|ending| ending == "html")).count() >= 2);
    pages.push(root.join("src/web/handlers/assets/index.html"));
    for path in pages {
        let text = std::fs::read_to_string(&path).unwrap();
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "setHTMLUnsafe",
            "parseFromString",
            "createContextualFragment",
            "document.write",
            "srcdoc",
            "eval(",
            "new Function",
            "javascript:",
            "setTimeout(\"",
        ] {
            assert!(!text.contains(way), "{} has {way}", path.display());
        }
    }
}

/// The address of a page comes from whoever made the link to it.
#[test]
fn link_to_an_example_page_does_not_send_its_secret_elsewhere() {
    for page in ["live.html", "chart.html"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(page)).unwrap();
        let uses: Vec<_> = text.lines().filter(|line| line.contains("location.search")).collect();
        assert!(!uses.is_empty() && uses.iter().all(|line| line.contains("SECRET ? null :")), "{page}: {uses:?}");
    }
}
