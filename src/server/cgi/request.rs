//! The head of a request from CGI or FastCGI variables. Pure: no sockets, no environment, no body.
//!
//! The names are those of RFC 3875. Values are bytes. If HTTP cannot contain the value of a header, the request is
//! refused: without a condition or a type it would be another request. A header with an invalid name is dropped.
//! After an internal redirect of Apache, the variables of its configuration have names with `REDIRECT_` in front.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
};
use http::request::Parts;
use http::{Method, Request, Uri, Version};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::base_path::BasePath;
use super::variables::Variables;
use crate::server::error_response::TransportError;
use crate::server::request_target;
use crate::web::ClientAddr;

/// The bytes of a decoded path that must be escaped.
const PATH_ESCAPES: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

/// The head of the request that these variables describe.
pub(crate) fn head(variables: &Variables, base_path: &BasePath) -> Result<Parts, TransportError> {
    let method = Method::from_bytes(variables.get("REQUEST_METHOD")).map_err(|_| TransportError::BadMethod)?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri(variables, base_path)?;
    parts.version = match variables.get("SERVER_PROTOCOL") {
        b"HTTP/1.0" => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    parts.headers = headers(variables, Err).map_err(|_invalid| TransportError::MalformedHead)?;
    Ok(parts)
}

/// The method and headers of a rejected request, as far as its variables contain them. The form of the error response
/// depends on them.
pub(crate) fn method_and_headers(variables: &Variables) -> (Method, HeaderMap) {
    let headers = headers(variables, |_invalid| Ok(())).unwrap_or_default();
    (Method::from_bytes(variables.get("REQUEST_METHOD")).unwrap_or(Method::GET), headers)
}

/// The client's address. Some servers put IPv6 into brackets or add a zone.
pub(crate) fn client(variables: &Variables) -> ClientAddr {
    ClientAddr(address(variables))
}

fn address(variables: &Variables) -> Option<IpAddr> {
    let text = std::str::from_utf8(variables.get("REMOTE_ADDR")).ok()?.trim_start_matches('[').trim_end_matches(']');
    let text = text.split('%').next().unwrap_or(text);
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn uri(variables: &Variables, base_path: &BasePath) -> Result<Uri, TransportError> {
    let built;
    let raw = match variables.get("REQUEST_URI") {
        b"" => {
            built = built_target(variables);
            built.as_slice()
        }
        raw => raw,
    };
    let configured = variables.configured("KVS_BASE_PATH").map(|path| BasePath::default().at(path));
    let base_path = configured.as_ref().unwrap_or(base_path);
    base_path.uri(&request_target::normalize(raw)?, variables.get("SCRIPT_NAME"), variables.get("SCRIPT_FILENAME"))
}

/// The target of a request without `REQUEST_URI`, built from the decoded names.
fn built_target(variables: &Variables) -> Vec<u8> {
    let path = [variables.get("SCRIPT_NAME"), variables.get("PATH_INFO")].concat();
    let mut target = percent_encode(&path, PATH_ESCAPES).to_string().into_bytes();
    if target.first() != Some(&b'/') {
        target.insert(0, b'/');
    }
    let query = variables.get("QUERY_STRING");
    if !query.is_empty() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    target
}

/// What to do about a value that a header cannot have.
type OnInvalid = fn(InvalidHeaderValue) -> Result<(), InvalidHeaderValue>;

fn headers(variables: &Variables, on_invalid: OnInvalid) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::with_capacity(variables.len() / 2);
    for (name, value) in variables.iter() {
        let Some(name) = name.strip_prefix(b"HTTP_") else { continue };
        let Some(name) = header_name(name) else { continue };
        match HeaderValue::from_maybe_shared(variables.shared(value)) {
            Ok(value) => drop(headers.append(name, value)),
            Err(invalid) => on_invalid(invalid)?,
        }
    }
    let mut set = |name: HeaderName, value: &[u8]| {
        match HeaderValue::from_maybe_shared(variables.shared(value)) {
            Ok(value) => drop(headers.insert(name, value)),
            Err(invalid) => on_invalid(invalid)?,
        }
        Ok(())
    };
    for (name, variable) in [(CONTENT_TYPE, "CONTENT_TYPE"), (CONTENT_LENGTH, "CONTENT_LENGTH")] {
        let value = variables.get(variable);
        if !value.is_empty() {
            set(name, value)?;
        }
    }
    if !variables.has("HTTP_AUTHORIZATION") {
        let names = ["HTTP_AUTHORIZATION", "Authorization", "AUTHORIZATION"];
        if let Some(value) = names.iter().find_map(|name| variables.configured(name)).filter(|v| !v.is_empty()) {
            set(AUTHORIZATION, value)?;
        }
    }
    Ok(headers)
}

/// The header for a variable name without `HTTP_`. `None` if the name is invalid, if the header concerns only the
/// connection between the client and the web server, or if another variable has its value.
fn header_name(variable: &[u8]) -> Option<HeaderName> {
    const NOT_PASSED_ON: &[&[u8]] = &[
        b"CONNECTION",
        b"CONTENT_LENGTH",
        b"CONTENT_TYPE",
        b"EXPECT",
        b"KEEP_ALIVE",
        b"TE",
        b"TRAILER",
        b"TRANSFER_ENCODING",
        b"UPGRADE",
    ];
    let dashed = |b: u8| if b == b'_' { b'-' } else { b };
    let mut short = [0; 64];
    let long: Vec<u8>;
    let name = if let Some(name) = short.get_mut(..variable.len()) {
        name.iter_mut().zip(variable).for_each(|(out, b)| *out = dashed(*b));
        &*name
    } else {
        long = variable.iter().map(|b| dashed(*b)).collect();
        &long
    };
    let name = HeaderName::from_bytes(name).ok()?;
    if NOT_PASSED_ON.iter().any(|name| name.eq_ignore_ascii_case(variable)) { None } else { Some(name) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Variables from names and values.
    pub(crate) fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::of(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn path_of(pairs: &[(&str, &str)], base_path: &BasePath) -> String {
        let all = variables(&[&[("REQUEST_METHOD", "GET")], pairs].concat());
        head(&all, base_path).unwrap().uri.to_string()
    }

    #[test]
    fn uri_is_raw_when_the_server_passes_it() {
        for (raw, uri) in [
            ("/?k=a%2Cb", "/?k=a%2Cb"),
            ("http://host/x%2541?y", "/x%2541?y"),
            ("//x", "//x"),
            ("//host:99/x?y", "//host:99/x?y"),
            ("*", "*"),
            ("/a b\"<>`", "/a%20b%22%3C%3E%60"),
            ("/ä?k=ü", "/%C3%A4?k=%C3%BC"),
            ("/{x}|^\\[y]%zz", "/{x}|^\\[y]%zz"),
        ] {
            let names = [("REQUEST_URI", raw), ("SCRIPT_NAME", "/else"), ("QUERY_STRING", "no")];
            assert_eq!(path_of(&names, &BasePath::served()), uri, "{raw}");
        }
    }

    #[test]
    fn uri_is_built_when_the_server_does_not_pass_it() {
        let names =
            [("SCRIPT_NAME", "/my kvs"), ("PATH_INFO", "/a?b%"), ("QUERY_STRING", "k=%2C"), ("REQUEST_URI", "")];
        assert_eq!(path_of(&names, &BasePath::served()), "/my%20kvs/a%3Fb%25?k=%2C");
        assert_eq!(path_of(&[], &BasePath::served()), "/");
        let names = [("SCRIPT_NAME", "/k.cgi"), ("SCRIPT_FILENAME", "/w/k.cgi"), ("PATH_INFO", "/x")];
        assert_eq!(path_of(&names, &BasePath::spawned()), "/x");
    }

    #[test]
    fn configured_base_path_overrides_the_script() {
        let names = [("REQUEST_URI", "/c/d?k=a"), ("SCRIPT_NAME", "/c/d"), ("SCRIPT_FILENAME", "/w/c/d")];
        assert_eq!(path_of(&names, &BasePath::spawned()), "/?k=a");
        let with = |name, base| [&names[..], &[(name, base)]].concat();
        assert_eq!(path_of(&with("KVS_BASE_PATH", "/c"), &BasePath::spawned()), "/d?k=a");
        assert_eq!(path_of(&with("REDIRECT_REDIRECT_KVS_BASE_PATH", "/c"), &BasePath::spawned()), "/d?k=a");
        assert_eq!(path_of(&with("KVS_BASE_PATH", ""), &BasePath::spawned()), "/c/d?k=a");
        assert_eq!(path_of(&with("HTTP_KVS_BASE", "/c"), &BasePath::spawned()), "/?k=a");
    }

    #[test]
    fn header_with_an_invalid_name_is_dropped_and_the_others_stay() {
        let all = Variables::of([
            (b"REQUEST_METHOD".as_slice(), b"GET".as_slice()),
            (b"HTTP_X_ONE", b"1"),
            (b"HTTP_X_BYTES", b"\xff\xfe"),
            (b"HTTP_\xff", b"x"),
            (b"HTTP_", b"x"),
            (b"HTTP_X_TWO", b"2"),
        ]);
        let headers = head(&all, &BasePath::served()).unwrap().headers;
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["x-bytes"].as_bytes(), b"\xff\xfe");
        assert_eq!(headers["x-two"], "2");
    }

    /// A write whose condition is dropped would overwrite a value unchecked.
    #[test]
    fn value_that_no_header_can_have_is_refused() {
        for (name, value) in [
            ("HTTP_IF_MATCH", "\"a\"\u{1}"),
            ("HTTP_X", "a\nb"),
            ("HTTP_X", "a\0"),
            ("CONTENT_TYPE", "text/csv\r\nX: y"),
            ("Authorization", "Bearer \u{7f}"),
        ] {
            let all = variables(&[("REQUEST_METHOD", "PUT"), ("HTTP_ACCEPT", "a/b"), (name, value)]);
            assert_eq!(head(&all, &BasePath::served()).unwrap_err(), TransportError::MalformedHead, "{name} {value:?}");
            assert_eq!(method_and_headers(&all).1["accept"], "a/b", "{name} {value:?}");
        }
    }

    #[test]
    fn headers_of_the_body_come_from_their_variables() {
        let all = variables(&[
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_CONTENT_LENGTH", "4"),
            ("HTTP_TRANSFER_ENCODING", "chunked"),
            ("SERVER_PROTOCOL", "HTTP/1.0"),
            ("REMOTE_ADDR", "[::ffff:192.0.2.1]"),
        ]);
        let parts = head(&all, &BasePath::served()).unwrap();
        assert_eq!(parts.headers[CONTENT_LENGTH], "3");
        assert_eq!(parts.headers[CONTENT_TYPE], "text/plain");
        assert_eq!((parts.headers.len(), parts.version), (2, Version::HTTP_10));
        assert_eq!(client(&all).0, Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn authorization_is_found_when_the_server_renames_it() {
        for name in ["HTTP_AUTHORIZATION", "REDIRECT_HTTP_AUTHORIZATION", "Authorization", "REDIRECT_Authorization"] {
            let all = variables(&[("REQUEST_METHOD", "GET"), (name, "Bearer x")]);
            assert_eq!(head(&all, &BasePath::served()).unwrap().headers[AUTHORIZATION], "Bearer x", "{name}");
        }
        let all = variables(&[("REQUEST_METHOD", "GET"), ("XREDIRECT_HTTP_AUTHORIZATION", "Bearer x")]);
        assert!(head(&all, &BasePath::served()).unwrap().headers.is_empty());
    }

    #[test]
    fn invalid_request_is_rejected() {
        assert_eq!(head(&variables(&[]), &BasePath::served()).unwrap_err(), TransportError::BadMethod);
        let long = format!("/{}", "x".repeat(70_000));
        for (target, error) in [(long.as_str(), TransportError::TargetTooLong), ("/a#b", TransportError::BadTarget)] {
            let all = variables(&[("REQUEST_METHOD", "HEAD"), ("REQUEST_URI", target), ("HTTP_ACCEPT", "a/b")]);
            assert_eq!(head(&all, &BasePath::served()).unwrap_err(), error);
            let (method, headers) = method_and_headers(&all);
            assert_eq!((method, &headers["accept"]), (Method::HEAD, &HeaderValue::from_static("a/b")));
        }
    }
}
