//! Paths as web servers deliver them: REQUEST_URI, SCRIPT_NAME, PATH_INFO and the base path, also rewritten, escaped twice
//! and malformed. The program gets a part of the target of the client, and nothing else; what is removed is the base path.
//!
//! An input is lines `NAME=VALUE`. The first byte says whether the web server started the program.
#![no_main]

use std::sync::LazyLock;

use http::Request;
use kvs::server::{BasePath, Handler};
use kvs::web::{Body, ClientAddr, Response};
use kvs_fuzz::served::{Protocol, Server, fastcgi_answer, fastcgi_request, head, variables};
use libfuzzer_sys::fuzz_target;

/// Returns the target that it gets.
#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    async fn handle(&self, request: Request<Body>, _: ClientAddr) -> Response {
        Response::new(request.uri().to_string().into())
    }
}

static SERVED: LazyLock<Server<Echo>> = LazyLock::new(|| Server::start(Protocol::FastCgi, BasePath::served()));

fn decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// A path without repeated slashes.
fn merged(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = vec![];
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let (mut list, _) = variables(input);
    list.retain(|(name, _)| *name != b"CONTENT_LENGTH" && *name != b"REQUEST_METHOD" && !name.starts_with(b"HTTP_"));
    list.push((b"REQUEST_METHOD", b"GET"));
    let find = |name: &[u8]| list.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let target = find(b"REQUEST_URI").unwrap_or_default().to_vec();
    if target.is_empty() {
        // It is built from the other variables.
        return;
    }
    // Apache puts `REDIRECT_` in front of the name each time it rewrites a path.
    let is_base = |name: &[u8]| name.strip_suffix(b"KVS_BASE_PATH").is_some_and(|front| front.chunks(9).all(|word| word == b"REDIRECT_"));
    let mut bases = list.iter().filter(|(name, _)| is_base(name)).map(|(_, value)| value.to_vec());
    let base = bases.next();
    if bases.next().is_some() {
        return;
    }
    let (output, is_ended) = fastcgi_answer(&SERVED.send(Echo, &fastcgi_request(&list, b"", 1000)));
    assert!(is_ended, "no end of the request");
    let (headers, body) = head(&output).expect("a head");
    let status = headers.iter().find(|(name, _)| name == "status").map_or("", |(_, value)| value.as_str());
    if !status.starts_with("200") {
        assert!(["400", "411", "414", "431"].iter().any(|refused| status.starts_with(refused)), "{status} for {target:?}");
        return;
    }
    assert!(!body.iter().any(|byte| byte.is_ascii_control() || *byte == b' '), "{body:?}");
    let (whole, passed) = (decoded(&target), decoded(body));
    // What was removed.
    let removed = match whole.strip_suffix(&passed[..]) {
        Some(removed) => removed,
        // The target ends with the base path, or its query follows it.
        None => passed.strip_prefix(b"/").and_then(|rest| whole.strip_suffix(rest)).unwrap_or_else(|| {
            panic!("{:?} became {:?}", String::from_utf8_lossy(&target), String::from_utf8_lossy(body))
        }),
    };
    let mut expected = merged(&decoded(base.as_deref().unwrap_or_default()));
    while expected.last() == Some(&b'/') {
        expected.pop();
    }
    let removed = merged(removed);
    let shown = || format!("{:?} below {base:?} became {:?}", String::from_utf8_lossy(&target), String::from_utf8_lossy(body));
    let of_client = removed.is_empty() || removed == expected || removed == [&b"/"[..], &expected].concat();
    // An absolute target names scheme and host.
    assert!(of_client || !target.starts_with(b"/"), "{}", shown());
    let is_plain = |text: &[u8]| {
        text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/-._".contains(byte)) && !text.windows(2).any(|two| two == b"//")
    };
    if let Some(base) = base.as_ref().filter(|base| base.len() > 1 && base.starts_with(b"/") && is_plain(base) && !base.ends_with(b"/")) {
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        if path.strip_prefix(&base[..]).is_some_and(|rest| is_plain(path) && (rest.is_empty() || rest.starts_with(b"/"))) {
            assert_eq!(removed, *base, "not removed: {}", shown());
        }
    }
});
