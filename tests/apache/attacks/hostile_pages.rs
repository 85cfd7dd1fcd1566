//! A page of another site in a real browser: it can neither write nor read, and what others have stored does not run,
//! however the page opens or includes it. `tests/it/attacks/` checks the headers that this depends on.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::chromium::Chromium;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

/// A web server that returns the same page for every URL. Its thread ends with the test.
fn serve_page(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let page = Arc::new(page);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, page) = (stream.unwrap(), Arc::clone(&page));
            std::thread::spawn(move || {
                let mut request = [0; 8192];
                _ = stream.read(&mut request);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
                _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{page}", page.len());
            });
        }
    });
    // Another host than that of kvs, so another site.
    format!("http://localhost:{}/", address.port())
}

fn put(server: &Server, target: &str, content_type: &str, value: &str) {
    let head = format!("PUT {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    let headers = format!("Content-Type: {content_type}\r\nContent-Length: {}", value.len());
    let answer = server.send(format!("{head}\r\n{headers}\r\n\r\n{value}").as_bytes());
    assert!([200, 201].contains(&answer.status), "{target}: {}", answer.text());
}

fn get(server: &Server, target: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    server.send(format!("{head}\r\n\r\n").as_bytes()).text()
}

async fn see(browser: &Chromium, script: &str) -> Value {
    browser.client.execute(&format!("return {script};"), vec![]).await.unwrap_or_else(|e| panic!("{script}: {e}"))
}

async fn until(browser: &Chromium, script: &str) {
    let start = Instant::now();
    while see(browser, script).await != json!(true) {
        let state = see(browser, "JSON.stringify({tried, found})").await;
        assert!(start.elapsed() < Duration::from_secs(30), "timed out waiting for {script}: {state}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends all that a page may send without asking, then tries to read. `tried` counts what has ended, and `found` is what
/// was read.
const WRITER: &str = r#"<!DOCTYPE html><title>evil</title><iframe name=sink></iframe><script>
window.tried = 0; window.found = [];
const KVS = "KVS_URL";
const forms = [
  ["/?bucket=open", "application/x-www-form-urlencoded", {a: "1"}],
  ["/?bucket=default", "application/x-www-form-urlencoded", {a: "1", auth: "SECRET_OF_KVS"}],
  ["/kv/open/a", "text/plain", {a: "1"}],
  ["/kv/open/n?op=incr", "multipart/form-data", {a: "1"}],
  ["/txn/open", "text/plain", {'{"ops":[{"op":"set","key":"a","value":"': '"}]}'}],
  ["/log/open/a", "text/plain", {a: "1"}],
];
const requests = forms.map(([path]) => [path, {method: "POST", mode: "no-cors", body: "a=1", credentials: "include"}]);
requests.push(["/kv/open/a", {method: "PUT", body: "1"}], ["/kv/open/kept", {method: "DELETE"}],
  ["/kv/open/a", {method: "POST", body: "1", headers: {"X-HTTP-Method-Override": "PUT"}}],
  ["/kv/default?prefix=", {method: "DELETE", headers: {"X-KVS-Auth": "SECRET_OF_KVS"}}],
  ["/kv/listed", {}], ["/kv/listed/kept", {}], ["/?bucket=listed&k=kept", {}], ["/kv/default", {}]);
(async () => {
  for (const [path, options] of requests) {
    try { found.push(path + ": " + await (await fetch(KVS + path, options)).text()); } catch {}
    tried++;
  }
  navigator.sendBeacon(KVS + "/?bucket=open", new URLSearchParams({a: "1"}));
  const source = new EventSource(KVS + "/kv/listed");
  for (const name of ["reset", "put", "message"]) source.addEventListener(name, e => found.push("event: " + e.data));
  await new Promise(done => { source.onerror = done; setTimeout(done, 5000); });
  source.close(); tried++;
  for (const [path, enctype, fields] of forms) {
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: KVS + path, enctype, target: "sink"});
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement("input");
      Object.assign(input, {type: "hidden", name, value});
      form.append(input);
    }
    document.body.append(form);
    const loaded = new Promise(done => { document.querySelector("iframe").onload = done; setTimeout(done, 3000); });
    form.submit();
    await loaded;
    tried++;
  }
})();
</script>"#;

#[tokio::test]
async fn a_page_of_another_site_writes_and_reads_nothing() {
    let site = Site::new();
    let config = "buckets:\n  open: {writes: open}\n  listed: {reads: listed}\n";
    std::fs::write(site.root().join("config.yaml"), config).unwrap();
    let server = Server::start_in(site, Way::Http);
    put(&server, "/kv/open/kept", "text/plain", "1");
    put(&server, "/kv/listed/kept", "text/plain", "secret of this network");
    put(&server, "/kv/default/kept", "text/plain", "1");
    let page = WRITER.replace("KVS_URL", &format!("http://127.0.0.1:{}", server.port)).replace("SECRET_OF_KVS", SECRET);
    let browser = Chromium::start().await;
    browser.client.goto(&serve_page(page)).await.unwrap();
    until(&browser, "tried === 14 + 1 + 6").await;
    let found: Vec<String> = serde_json::from_value(see(&browser, "found").await).unwrap();
    // The text of an opaque response is empty.
    let read: Vec<_> = found.iter().filter(|text| !text.ends_with(": ")).collect();
    assert!(read.is_empty(), "{read:?}");
    for bucket in ["open", "default", "listed"] {
        let keys = get(&server, &format!("/kv/{bucket}?format=text"));
        assert_eq!(keys.trim(), "kept", "{bucket}");
        assert_eq!(get(&server, &format!("/log/{bucket}?format=text")).trim(), "", "{bucket}");
    }
    browser.client.clone().close().await.unwrap();
}

/// Includes the stored values in every way that could run them. A script in them calls `pwned`, or tells the page.
const READER: &str = r#"<!DOCTYPE html><title>evil</title><script>
window.tried = 0; window.found = [];
window.pwned = what => found.push(what);
addEventListener("message", e => found.push("message " + e.data));
const KVS = "KVS_URL", KEYS = KEY_LIST;
const include = (name, set) => new Promise(done => {
  const element = document.createElement(name);
  element.onload = element.onerror = done;
  setTimeout(done, 1500);
  set(element);
  document.body ? document.body.append(element) : document.documentElement.append(element);
});
addEventListener("load", async () => {
  for (const key of KEYS) {
    const url = `${KVS}/kv/web/${key}`;
    await Promise.all([
      include("iframe", e => e.src = url),
      include("iframe", e => e.src = `${KVS}/?bucket=web&k=${key}`),
      include("object", e => e.data = url),
      include("embed", e => e.src = url),
      include("script", e => e.src = url),
      include("script", e => { e.type = "module"; e.src = url; }),
      include("img", e => e.src = url),
      include("link", e => { e.rel = "stylesheet"; e.href = url; }),
    ]);
    tried++;
  }
});
</script>"#;

#[tokio::test]
async fn stored_scripts_do_not_run_in_any_page() {
    let server = Server::start(Way::Http);
    let run = "(window.pwned||function(w){parent.postMessage(w,'*')})";
    let html = format!("<!DOCTYPE html><body><script>{run}('html')</script><img src=x onerror=\"{run}('img')\">");
    let svg = format!("<svg xmlns='http://www.w3.org/2000/svg'><script>{run}('svg')</script></svg>");
    let xml = format!("<html xmlns='http://www.w3.org/1999/xhtml'><script>{run}('xhtml')</script></html>");
    let script = format!("{run}('script')");
    let values = [
        ("html", "text/html", html.as_str()),
        ("svg", "image/svg+xml", svg.as_str()),
        ("xhtml", "application/xhtml+xml", xml.as_str()),
        ("xml", "text/xml", xml.as_str()),
        ("js", "text/javascript", script.as_str()),
        ("text", "text/plain", script.as_str()),
        ("sniffed", "text/plain", html.as_str()),
        ("json", "application/json", script.as_str()),
        ("image", "image/png", html.as_str()),
        ("octets", "application/octet-stream", script.as_str()),
        ("csv", "text/csv", script.as_str()),
    ];
    for (key, content_type, value) in values {
        put(&server, &format!("/kv/web/{key}"), content_type, value);
    }
    let keys = json!(values.map(|(key, ..)| key)).to_string();
    let page = READER.replace("KVS_URL", &format!("http://127.0.0.1:{}", server.port)).replace("KEY_LIST", &keys);
    let browser = Chromium::start().await;
    browser.client.goto(&serve_page(page)).await.unwrap();
    until(&browser, &format!("tried === {}", values.len())).await;
    assert_eq!(see(&browser, "found").await, json!([]), "a stored script has run");
    // The same page from a server that says that it is one.
    let control = json!(serve_page(html.clone()));
    see(
        &browser,
        &format!("document.body.append(Object.assign(document.createElement('iframe'), {{src: {control}}}))"),
    )
    .await;
    until(&browser, "found.includes('message html')").await;
    // A link to the value itself: it is shown as text, or saved, but does not run.
    for (key, ..) in values {
        // A download ends the navigation with an error.
        _ = browser.client.goto(&format!("http://127.0.0.1:{}/kv/web/{key}", server.port)).await;
        let scripts =
            see(&browser, "document.querySelectorAll('body script, svg script, body img[onerror]').length").await;
        let title = see(&browser, "document.title").await;
        assert!(scripts == json!(0) || title == json!("evil"), "{key}: {scripts}");
    }
    browser.client.clone().close().await.unwrap();
}
