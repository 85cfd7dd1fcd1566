//! Header injection: no name, value or header of a client begins a header line, in responses over FastCGI and CGI and in
//! the requests of hooks. Over FastCGI and CGI no parser of HTTP has removed line feeds before kvs gets a variable.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::regression::server::programs::Place;
use crate::server::fastcgi_client::{params, whole};
use crate::support::receiver::Receiver;
use crate::support::served::{SECRET, Served};

/// What an attacker appends to a value.
const LINES: [&str; 7] = [
    "\r\nX-Evil: 1",
    "\nX-Evil: 1",
    "\rX-Evil: 1",
    "\r\n\r\n<script>",
    "\u{85}X-Evil: 1",
    "\0X-Evil: 1",
    "\u{2028}X-Evil: 1",
];

/// All headers of responses to the requests here.
const KNOWN: [&str; 22] = [
    "status",
    "content-type",
    "content-length",
    "content-disposition",
    "content-security-policy",
    "content-digest",
    "content-range",
    "accept-ranges",
    "cache-control",
    "x-content-type-options",
    "etag",
    "last-modified",
    "kvs-key",
    "kvs-revision",
    "kvs-cursor",
    "allow",
    "vary",
    "retry-after",
    "www-authenticate",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "date",
];

/// The status of a response, whose head has only known headers, each once, and printable characters.
#[track_caller]
fn checked(what: &str, answer: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: no head: {text:?}"));
    let mut names: Vec<String> = vec![];
    for line in head.split("\r\n") {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{what}: {line:?}");
        names.push(line.split_once(": ").unwrap_or_else(|| panic!("{what}: {line:?}")).0.to_ascii_lowercase());
    }
    for (at, name) in names.iter().enumerate() {
        assert!(KNOWN.contains(&name.as_str()) && !names[..at].contains(name), "{what}: header {name} in {head}");
    }
    let status = head.split("Status: ").nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
    (status.unwrap_or_else(|| panic!("{what}: no status: {head}")), body.to_owned())
}

/// Sends a request over FastCGI.
fn fastcgi(served: &Served, variables: &[(&str, &str)], body: &str) -> (u16, String) {
    let length = body.len().to_string();
    let mut list = vec![("REMOTE_ADDR", "192.0.2.1"), ("CONTENT_LENGTH", length.as_str())];
    list.extend(variables);
    let list: Vec<(&str, &[u8])> = list.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let mut socket = UnixStream::connect(served.folder().join("s")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(&whole(1, false, &params(&list), body.as_bytes())).unwrap();
    let (mut bytes, mut answer) = (vec![], vec![]);
    socket.read_to_end(&mut bytes).unwrap();
    // The contents of the records of the standard output.
    let mut rest = &bytes[..];
    while let [_, kind, _, _, high, low, padding, _, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == crate::server::fastcgi_client::STDOUT {
            answer.extend_from_slice(&after[..length]);
        }
        rest = &after[length + usize::from(*padding)..];
    }
    checked(&format!("{variables:?}"), &answer)
}

#[test]
fn variables_of_a_request_add_no_header_to_its_response() {
    let served = Served::start(&["--fastcgi", "unix:s", "--cors", "https://app.example"]);
    served.put("/kv/default/a", "1");
    let get = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/kv/default/a")];
    let put = [("REQUEST_METHOD", "PUT"), ("REQUEST_URI", "/kv/default/b"), ("HTTP_X_KVS_AUTH", SECRET)];
    for line in LINES {
        for (name, value) in [
            ("HTTP_ORIGIN", "https://app.example"),
            ("HTTP_ACCEPT", "application/json"),
            ("HTTP_IF_NONE_MATCH", "\"x\""),
            ("HTTP_IF_MODIFIED_SINCE", "Thu, 01 Jan 2004 00:00:00 GMT"),
            ("HTTP_RANGE", "bytes=0-0"),
            ("HTTP_HOST", "kvs.example"),
            ("HTTP_PREFER", "wait=0"),
            ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "PUT"),
            ("HTTP_WANT_CONTENT_DIGEST", "sha-256=1"),
            ("HTTP_X_HTTP_METHOD_OVERRIDE", "PUT"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("HTTP_X", "y"),
        ] {
            let value = format!("{value}{line}");
            let variables = [&get[..], &[(name, value.as_str())]].concat();
            let (status, _) = fastcgi(&served, &variables, "");
            // Bytes that are no control characters are part of the value.
            let is_valid = name == "SERVER_PROTOCOL" || line.starts_with('\u{2028}') || line.starts_with('\u{85}');
            assert!(status == 400 || is_valid && status < 500, "{status} for {name} {value:?}");
        }
        for uri in ["/kv/default/", "/?k=", "/?k=a,", "/?default=x&k=none", "/x", "/kv/", "/log/default/"] {
            let uri = format!("{uri}{line}");
            let variables = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", uri.as_str())];
            let (status, _) = fastcgi(&served, &variables, "");
            assert!(status < 500, "{status} for {uri:?}");
        }
        let content_type = format!("text/plain{line}");
        let (status, text) = fastcgi(&served, &[&put[..], &[("CONTENT_TYPE", &content_type)]].concat(), "1");
        assert_eq!(status, 400, "{content_type:?}: {text}");
    }
    assert!(served.get("/kv/default/b").starts_with("HTTP/1.1 404 "), "nothing was stored");
}

/// A type comes from the JSON of a client, too, and a key from an escaped path.
#[test]
fn stored_types_and_keys_add_no_header_to_a_response() {
    let served = Served::start(&["--fastcgi", "unix:s"]);
    let post = |path: &str, kind: &str, body: &str| {
        let variables =
            [("REQUEST_METHOD", "POST"), ("REQUEST_URI", path), ("CONTENT_TYPE", kind), ("HTTP_X_KVS_AUTH", SECRET)];
        fastcgi(&served, &variables, body).0
    };
    for line in LINES {
        let content_type = format!("text/plain{line}");
        let step = json!({"ops": [{"op": "set", "key": "t", "value": "1", "type": content_type}]});
        assert_eq!(post("/txn/default", "application/json", &step.to_string()), 400, "{line:?}");
        let row = json!([{"key": "t", "data": "1", "content_type": content_type}]);
        assert_eq!(post("/multi/default?op=set", "application/json", &row.to_string()), 400, "{line:?}");
        let key = format!("k{line}");
        let is_valid = line.contains('\u{2028}');
        let step = json!({"ops": [{"op": "set", "key": key, "value": "1"}]});
        let expected = if is_valid { 200 } else { 400 };
        assert_eq!(post("/txn/default", "application/json", &step.to_string()), expected, "{line:?}");
    }
    // Such a key is named by a header.
    let name = format!("k{}", LINES[6]);
    let uri = format!("/?k={}", percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC));
    for uri in [uri.clone(), format!("{uri},a")] {
        let (status, body) = fastcgi(&served, &[("REQUEST_METHOD", "GET"), ("REQUEST_URI", &uri)], "");
        assert_eq!((status, body.as_str()), (200, "1"), "{uri}");
    }
    let list =
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/kv/default?format=text&limit=1"), ("HTTP_X_KVS_AUTH", SECRET)];
    assert_eq!(fastcgi(&served, &list, "").0, 200);
}

/// Under CGI the status is a header line as well.
#[test]
fn cgi_response_has_only_the_header_lines_of_kvs() {
    let place = Place::new();
    for uri in
        ["/kvs.cgi/kv/default/a%0d%0aX-Evil:%201", "/kvs.cgi/kv/default/a\r\nX-Evil: 1", "/kvs.cgi?k=%E2%80%A8%20b"]
    {
        for accept in ["*/*", "application/json", "text/html\r\nX-Evil: 1"] {
            let mut command = place.program();
            command.envs([
                ("GATEWAY_INTERFACE", "CGI/1.1"),
                ("REQUEST_METHOD", "GET"),
                ("SCRIPT_NAME", "/kvs.cgi"),
                ("SCRIPT_FILENAME", "/srv/kvs.cgi"),
                ("REQUEST_URI", uri),
                ("SERVER_PROTOCOL", "HTTP/1.1\r\nX-Evil: 1"),
                ("REMOTE_ADDR", "192.0.2.1"),
                ("HTTP_ACCEPT", accept),
            ]);
            let output = command.stderr(Stdio::null()).output().unwrap();
            let (status, _) = checked(&format!("{uri} {accept}"), &output.stdout);
            assert!((400..500).contains(&status), "{uri} {accept}: {status}");
        }
    }
}

#[test]
fn keys_add_no_header_and_no_request_to_those_of_hooks() {
    let receiver = Receiver::start();
    let secret = "0123456789abcdef";
    let flags = ["--purge", &receiver.url(), "--webhook", &receiver.url(), "--webhook-secret", secret];
    let served = Served::start(&flags);
    let keys = [
        "a b",
        "a HTTP/1.1",
        "a%0d%0aX-Evil: 1",
        "a?x#y",
        "@evil.example/",
        "//evil.example/a",
        "http://evil.example/",
        "a\\b\"'<>`{}|^",
        "a\u{2028}b",
        "a/../../b",
        "ü\u{ff0f}\u{560d}\u{560a}X-Evil: 1",
    ];
    let ops: Vec<_> = keys.iter().map(|key| json!({"op": "set", "key": key, "value": "1"})).collect();
    let body = json!({"ops": ops}).to_string();
    let headers = format!("X-KVS-Auth: {SECRET}\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    let answer =
        served.ask(&format!("POST /txn/default HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n\r\n{body}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let told = |seen: &[crate::support::receiver::Request]| {
        let events = seen.iter().filter(|request| request.method == "POST").map(|request| request.events().len());
        events.sum::<usize>() >= keys.len() && seen.iter().filter(|request| request.method == "PURGE").count() >= 18
    };
    let seen = receiver.wait_until("the events and purges of all keys", told);
    let known = ["host", "user-agent", "content-length", "content-type", "kvs-signature", "kvs-timestamp"];
    for request in seen {
        let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.iter().all(|name| known.contains(name)), "{request:?}");
        assert_eq!(format!("http://{}", request.header("host")), receiver.url(), "{request:?}");
        if request.method == "PURGE" {
            let target = &request.target;
            assert!(target.starts_with("/kv/default/") || target.starts_with("/?k="), "{target}");
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%?=".contains(&byte);
            let path = target.split('?').next().unwrap_or_default();
            assert!(target.bytes().all(is_plain) && !path.contains("/../"), "{target}");
        } else {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/"), "{request:?}");
        }
    }
}
