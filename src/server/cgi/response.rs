//! The bytes of a response, as a web server expects them from a CGI or FastCGI program (RFC 3875, section 6).
//!
//! `Status:` always comes first: without it Apache evaluates conditional headers itself. A header cannot contain a line
//! end, because the type `HeaderValue` does not allow it.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{Method, StatusCode};

use crate::web::{Body, Response};

/// The head of the response as bytes, and the body if one is to be sent.
pub(crate) fn print(method: &Method, response: Response) -> (Vec<u8>, Option<Body>) {
    let (parts, body) = response.into_parts();
    let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"Status: ");
    head.extend_from_slice(parts.status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(parts.status.canonical_reason().unwrap_or("Unnamed").as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        // The web server frames the message itself.
        let framing: [HeaderName; 3] = [CONNECTION, TRANSFER_ENCODING, UPGRADE];
        if !(framing.contains(name) || bodiless && name == CONTENT_LENGTH) {
            line(&mut head, name, value.as_bytes());
        }
    }
    if !bodiless && !parts.headers.contains_key(CONTENT_TYPE) {
        line(&mut head, &CONTENT_TYPE, b"application/octet-stream");
    }
    // The handler has removed the body of a HEAD, so the length 0 means nothing.
    let length = body.length().filter(|length| *length > 0 || method != Method::HEAD);
    if let Some(length) = length.filter(|_| !bodiless && !parts.headers.contains_key(CONTENT_LENGTH)) {
        line(&mut head, &CONTENT_LENGTH, length.to_string().as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    (head, (!bodiless && method != Method::HEAD).then_some(body))
}

fn line(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    // As in `Content-Type`: some old clients compare names case-sensitively.
    let (from, mut first) = (head.len(), true);
    head.extend_from_slice(name.as_str().as_bytes());
    for byte in head.iter_mut().skip(from) {
        if first {
            byte.make_ascii_uppercase();
        }
        first = *byte == b'-';
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    fn printed(method: &Method, response: http::response::Builder, body: Body) -> (String, bool) {
        let (head, body) = print(method, response.body(body).unwrap());
        (String::from_utf8(head).unwrap(), body.is_some())
    }

    #[test]
    fn status_comes_first() {
        let response = Response::builder().header("content-type", "text/plain").header("etag", "\"e\"");
        let (head, body) = printed(&Method::GET, response, Body::from("value"));
        assert_eq!(head, "Status: 200 OK\r\nContent-Type: text/plain\r\nEtag: \"e\"\r\nContent-Length: 5\r\n\r\n");
        assert!(body);
    }

    #[test]
    fn type_and_length_are_added_when_the_handler_sets_neither() {
        let (head, body) = printed(&Method::POST, Response::builder().status(404), Body::empty());
        let rest = "Content-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(head, format!("Status: 404 Not Found\r\n{rest}"));
        assert!(body);
    }

    #[test]
    fn body_is_omitted_when_the_status_has_none() {
        for (status, name) in [(204, "No Content"), (304, "Not Modified")] {
            let response = Response::builder().status(status).header("content-length", "5").header("x-a", "b");
            let (head, body) = printed(&Method::GET, response, Body::from("value"));
            assert_eq!(head, format!("Status: {status} {name}\r\nX-A: b\r\n\r\n"));
            assert!(!body);
        }
    }

    #[test]
    fn response_to_head_has_the_length_of_the_get() {
        let response = Response::builder().header("content-type", "a/b").header("content-length", "5");
        let (head, body) = printed(&Method::HEAD, response, Body::empty());
        assert_eq!(head, "Status: 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\n");
        assert!(!body);
        let (head, body) = printed(&Method::HEAD, Response::builder().header("content-type", "a/b"), Body::empty());
        assert_eq!(head, "Status: 200 OK\r\nContent-Type: a/b\r\n\r\n");
        assert!(!body);
    }

    #[test]
    fn connection_headers_of_the_handler_are_removed() {
        let response = Response::builder().header("connection", "close").header("transfer-encoding", "chunked");
        let (head, _) = printed(&Method::GET, response.status(599), Body::from("x"));
        let rest = "Content-Type: application/octet-stream\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(head, format!("Status: 599 Unnamed\r\n{rest}"));
    }
}
