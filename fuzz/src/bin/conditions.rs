//! Conditions: ETags and dates in headers, compared with a simple evaluation of RFC 9110, section 13.2.2, and the other
//! headers that select a response.
//!
//! An input is lines: `1` to `4` and a text is If-Match, If-None-Match, If-Modified-Since or If-Unmodified-Since; any
//! other line is a header. In a text `TAG` is the ETag of the entry, and `DATE`, `OLD` and `NEW` are its date, and one
//! before and one after it.
#![no_main]

use http::{HeaderName, HeaderValue, Request};
use kvs::web::Body;
use kvs_fuzz::api::{Answer, Endpoint, KEPT, SECRET};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 4] = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
/// One second around the time of the clock.
const OLD: &str = "Sat, 28 Nov 2026 11:59:59 GMT";
const NEW: &str = "Sat, 28 Nov 2026 12:00:01 GMT";

/// The tags of a plain list, and whether each is weak. `None` if the list is not plain.
fn tags(text: &str) -> Option<Vec<(bool, &str)>> {
    text.split(',')
        .map(|member| {
            let member = member.trim_matches([' ', '\t']);
            let (weak, quoted) = member.strip_prefix("W/").map_or((false, member), |quoted| (true, quoted));
            let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
            let is_plain = !opaque.is_empty() && opaque.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_plain.then_some((weak, opaque))
        })
        .collect()
}

/// Whether a list has the tag; `None` if the list is not plain.
fn has(text: &str, tag: &str, strong: bool) -> Option<bool> {
    if text == "*" {
        return Some(true);
    }
    Some(tags(text)?.iter().any(|(weak, opaque)| *opaque == tag && !(strong && *weak)))
}

/// Whether the entry is later than a date; `None` if the date is none of those that this file knows.
fn is_later(text: &str, date: &str) -> Option<bool> {
    match text {
        OLD => Some(true),
        NEW => Some(false),
        text if text == date => Some(false),
        _ => None,
    }
}

/// The expected status of a read; `None` if it is unknown.
fn of_read(conditions: &[Option<String>; 4], tag: &str, date: &str) -> Option<u16> {
    let [matches, none_match, modified, unmodified] = conditions;
    let holds = match (matches, unmodified) {
        (Some(text), _) => has(text, tag, true)?,
        (None, Some(text)) => !is_later(text, date)?,
        (None, None) => true,
    };
    let is_unchanged = match (none_match, modified) {
        (Some(text), _) => has(text, tag, false)?,
        (None, Some(text)) => !is_later(text, date)?,
        (None, None) => false,
    };
    Some(if !holds { 412 } else if is_unchanged { 304 } else { 200 })
}

/// The expected status of a write of the entry; `None` if it is unknown.
fn of_write(conditions: &[Option<String>; 4], tag: &str, date: &str) -> Option<u16> {
    let [matches, none_match, _, unmodified] = conditions;
    let mut holds = true;
    if let Some(text) = matches {
        holds &= has(text, tag, true)?;
    }
    if let Some(text) = none_match {
        holds &= !has(text, tag, false)?;
    }
    if let (None, Some(text)) = (matches, unmodified) {
        holds &= !is_later(text, date)?;
    }
    Some(if holds { 200 } else { 412 })
}

fn send(endpoint: &Endpoint, method: &str, headers: &[(HeaderName, HeaderValue)]) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("/kv/default/{KEPT}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = if method == "PUT" { Body::from("2") } else { Body::empty() };
    endpoint.send(request.header("x-kvs-auth", SECRET).body(body).expect("a request"))
}

fuzz_target!(|text: &str| {
    let endpoint = Endpoint::new();
    let entry = send(&endpoint, "GET", &[]);
    let header = |name: &str| entry.headers[name].to_str().expect("text").to_owned();
    let (quoted, date) = (header("etag"), header("last-modified"));
    let tag = quoted.trim_matches('"');
    let (mut conditions, mut headers, mut has_others) = ([const { None }; 4], vec![], false);
    for line in text.lines().take(12) {
        let (name, value) = match line.split_at_checked(1) {
            Some((number @ ("1" | "2" | "3" | "4"), value)) => {
                let number = usize::from(number.as_bytes()[0] - b'1');
                let value = value.replace("TAG", tag).replace("DATE", &date).replace("OLD", OLD).replace("NEW", NEW);
                let value = value.trim_matches([' ', '\t']).to_owned();
                // Several lines of one header are one list.
                has_others |= conditions[number].is_some();
                conditions[number] = Some(value.clone());
                (NAMES[number].to_owned(), value)
            }
            _ => {
                has_others = true;
                let Some((name, value)) = line.split_once(':') else { return };
                (name.to_owned(), value.trim().to_owned())
            }
        };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) else { return };
        if name == "x-http-method-override" || name == "x-kvs-auth" || name == "authorization" {
            return;
        }
        headers.push((name, value));
    }
    for method in ["GET", "HEAD"] {
        let answer = send(&endpoint, method, &headers);
        if let Some(expected) = of_read(&conditions, tag, &date).filter(|_| !has_others) {
            assert_eq!(answer.status, expected, "{method} {headers:?} for {tag} of {date}");
        }
        if answer.status == 304 {
            assert_eq!(answer.headers["etag"], *quoted, "{headers:?}");
        }
    }
    let before = endpoint.contents();
    let answer = send(&endpoint, "PUT", &headers);
    if let Some(expected) = of_write(&conditions, tag, &date).filter(|_| !has_others) {
        assert_eq!(answer.status, expected, "PUT {headers:?} for {tag} of {date}");
    }
    assert_eq!(endpoint.contents() == before, answer.status >= 300, "PUT {headers:?}: {}", answer.status);
});
