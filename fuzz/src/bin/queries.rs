//! Queries and forms: the response has a documented status, reads change nothing, a form is stored completely or not at
//! all, and without the secret nothing is stored and nothing closed is read.
#![no_main]

use kvs_fuzz::api::{Endpoint, SECRET, request};
use libfuzzer_sys::fuzz_target;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fuzz_target!(|input: &[u8]| {
    let endpoint = Endpoint::new();
    let before = endpoint.contents();
    let is_read = [&b"GET "[..], b"HEAD ", b"OPTIONS "].iter().any(|method| input.starts_with(method));
    let has_secret = [SECRET, "reader", "limited"].iter().any(|secret| {
        input.windows(secret.len()).any(|part| part == secret.as_bytes())
    });
    // Without a secret.
    let Some(asked) = request(input, &[FORM]) else { return };
    let is_open = input.windows(4).any(|part| part == b"open");
    let answer = endpoint.send(asked);
    if is_read || answer.status >= 300 || !(has_secret || is_open) {
        assert_eq!(endpoint.contents(), before, "{} changed something", answer.status);
    }
    let is_closed = input.windows(10).any(|part| part == b"/kv/secret");
    assert!(!(is_read && is_closed && !has_secret && answer.status == 200), "read without the secret");
    // With it.
    let Some(asked) = request(input, &[FORM, ("x-kvs-auth", SECRET)]) else { return };
    let before = endpoint.contents();
    let answer = endpoint.send(asked);
    if is_read || answer.status >= 300 {
        assert_eq!(endpoint.contents(), before, "{} changed something", answer.status);
    }
    for name in ["default", "open"] {
        endpoint.assert_readable(name);
    }
});
