//! HTTP/1: any bytes on a connection. The server answers or closes, each response has a complete head and as many bytes
//! as it says, and nothing is written without the secret.
#![no_main]

use std::sync::LazyLock;

use kvs::server::BasePath;
use kvs::web::Api;
use kvs_fuzz::api::{Endpoint, SECRET, STATUSES};
use kvs_fuzz::served::{Protocol, Server, head};
use libfuzzer_sys::fuzz_target;

static SERVER: LazyLock<Server<Api>> = LazyLock::new(|| Server::start(Protocol::Http, BasePath::served()));

/// The rest of the bytes after the chunks; `None` if they are malformed or incomplete.
fn after_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        let chunk = bytes.get(end + 2..)?;
        bytes = chunk.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(bytes);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let endpoint = Endpoint::new();
    let before = endpoint.contents();
    let answer = SERVER.send(endpoint.api.clone(), input);
    let has = |text: &str| input.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()));
    let mut rest = &answer[..];
    while !rest.is_empty() {
        let (headers, body) = head(rest).unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(rest)));
        let status: u16 = headers[0].0.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
        if status == 100 {
            rest = body;
            continue;
        }
        assert!(STATUSES.contains(&status) || status == 505, "{:?}", String::from_utf8_lossy(rest));
        if has("HEAD") {
            // It is unknown to which request a response belongs, and whether it has a body.
            break;
        }
        let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        rest = match (find("content-length"), find("transfer-encoding")) {
            _ if matches!(status, 204 | 304) => body,
            (Some(length), None) => body.get(length.parse().expect("a length")..).expect("a complete body"),
            (None, Some("chunked")) => after_chunks(body).expect("complete chunks"),
            (None, None) => b"",
            other => panic!("{other:?}"),
        };
    }
    if !(has(SECRET) || has("limited") || has("open")) {
        assert_eq!(endpoint.contents(), before, "stored without the secret");
    }
});
