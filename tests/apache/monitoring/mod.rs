//! What operators use to watch kvs: `/metrics`, and the files in `deploy/prometheus/` and `deploy/grafana/`.
//!
//! `metrics` reads `/metrics` with the parser of Prometheus. `alerts` and `dashboard` check the files, and that kvs
//! exports each metric in them. `scraped` runs Prometheus on a kvs, with all of these files.

mod alerts;
mod dashboard;
mod metrics;
mod scraped;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

/// The names of metrics.
type Names = BTreeSet<String>;

/// A file or a folder of `deploy/`.
fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// The metrics that an expression names.
fn metrics_in(expression: &str) -> Names {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("kvs_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The names of the samples that a server exports now.
fn exported(server: &Server) -> Names {
    let answer = server.send(b"GET /metrics HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// A server with a value, a log and a hook. The hook gets no events.
fn used_server(way: Way) -> Server {
    let site = Site::new();
    let settings = "webhook: http://127.0.0.1:9/\nwebhook_secret: Secret-of-the-hook-6Tn1\nhook_buckets: [unused]\n";
    fs::write(site.root().join("config.yaml"), settings).unwrap();
    let server = Server::start_in(site, way);
    for (method, target, body) in [
        ("PUT", "/kv/default/kitchen/temp", "21.5"),
        ("GET", "/kv/default/kitchen/temp", ""),
        ("GET", "/?k=kitchen/temp", ""),
        ("POST", "/log/default/kitchen/temp", "21.5"),
    ] {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: kvs.test\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        let answer = server.send(request.as_bytes());
        assert!(answer.status < 300, "{method} {target}: {} {}", answer.status, answer.text());
    }
    server
}
