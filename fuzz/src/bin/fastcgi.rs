//! FastCGI: any bytes, and requests with any variables. The server answers or closes, its records have the form of the
//! protocol, its responses are complete, and nothing is written without the secret.
#![no_main]

use std::sync::LazyLock;

use kvs::server::BasePath;
use kvs::web::Api;
use kvs_fuzz::api::{Endpoint, SECRET, STATUSES};
use kvs_fuzz::served::{Protocol, Server, fastcgi_answer, fastcgi_request, head, variables};
use libfuzzer_sys::fuzz_target;

static SERVER: LazyLock<Server<Api>> = LazyLock::new(|| Server::start(Protocol::FastCgi, BasePath::served()));

/// The contents of all records.
fn contents(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![];
    while let [_, _, _, _, high, low, padding, _, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        all.extend_from_slice(&rest[..length]);
        bytes = rest.get(length + usize::from(*padding)..).unwrap_or_default();
    }
    all
}

// The first byte: `r` sends the rest as it is, any other the variables and the body in it, in records of that size.
fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let endpoint = Endpoint::new();
    let before = endpoint.contents();
    let is_raw = *first == b'r';
    let sent = if is_raw {
        rest.to_vec()
    } else {
        let (mut variables, body) = variables(rest);
        let length = body.len().to_string();
        if !variables.iter().any(|(name, _)| *name == b"CONTENT_LENGTH") {
            variables.push((b"CONTENT_LENGTH", length.as_bytes()));
        }
        fastcgi_request(&variables, body, usize::from(*first) + 1)
    };
    let (output, is_ended) = fastcgi_answer(&SERVER.send(endpoint.api.clone(), &sent));
    assert!(is_raw || is_ended, "no end of the request: {:?}", String::from_utf8_lossy(&output));
    let mut is_whole = !output.is_empty();
    // Several requests may be in the input.
    if !is_raw && is_whole {
        let (headers, body) = head(&output).expect("a head");
        let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let status: u16 = find("status").and_then(|text| text.get(..3)?.parse().ok()).expect("a status");
        assert!(STATUSES.contains(&status), "{status}: {:?}", String::from_utf8_lossy(&output));
        let is_head = rest.windows(4).any(|four| four == b"HEAD");
        if let Some(length) = find("content-length").filter(|_| !is_head && status != 304) {
            assert_eq!(length, body.len().to_string());
        }
        is_whole = status < 300;
    }
    // Records may divide the secret.
    let text = if is_raw { contents(rest) } else { rest.to_vec() };
    let has = |word: &str| text.windows(word.len()).any(|part| part == word.as_bytes());
    if !(has(SECRET) || has("open") || has("limited")) || !is_whole {
        assert_eq!(endpoint.contents(), before, "stored without the secret, or by a failed request");
    }
});
