//! Error responses for requests that do not reach the handler, or do not reach it completely.
//!
//! Only errors of the transport are here. The API (`web`) decides what a request means.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::web::{Response, problem};

/// The `Retry-After` of a 503, in seconds.
const RETRY_AFTER_SECONDS: u64 = 2;

/// Why a server answers a request itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TransportError {
    /// The CGI variables of the web server contain no valid request method.
    NotARequest,
    /// The head is not valid HTTP/1, or one of its headers is malformed.
    Malformed,
    /// The client closed the connection within the head.
    CutHead,
    /// The head did not arrive within `header_timeout`.
    SlowHead,
    /// The target of the request is not a valid path.
    BadTarget,
    /// HTTP/1.1 without a Host header, or any request with two of them or a malformed one.
    BadHost,
    /// The length of the body is ambiguous (RFC 9112, section 6.3).
    BadFraming,
    /// The body has a Transfer-Encoding other than chunked.
    BadCoding,
    /// The target is longer than a URI may be.
    LongTarget,
    /// The parameters or headers are longer than the limit.
    LongHead,
    /// The Content-Length is not a number.
    BadLength,
    /// The body is longer or shorter than its Content-Length.
    OtherLength,
    /// The body is chunked, and the web server does not pass on its length.
    LengthLost,
    /// The body is longer than `ServerLimits::body`.
    TooLarge,
    /// The web server cut the body short at a limit of its own.
    CutByServer,
    /// The body did not arrive within `body_timeout`.
    Slow,
    /// The chunks of the body are malformed, or the client closed the connection within it.
    Broken,
    /// The memory budget for bodies is used up.
    Crowded,
    /// The address of the client has used up its share.
    Share,
    /// The handler panicked.
    Failed,
}

impl TransportError {
    fn status(self) -> StatusCode {
        match self {
            Self::NotARequest
            | Self::Malformed
            | Self::CutHead
            | Self::BadTarget
            | Self::BadHost
            | Self::BadFraming
            | Self::BadLength
            | Self::OtherLength
            | Self::Broken => StatusCode::BAD_REQUEST,
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::LongHead => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LengthLost => StatusCode::LENGTH_REQUIRED,
            Self::TooLarge | Self::CutByServer => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowHead | Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::BadCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Crowded | Self::Share => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotARequest => {
                "REQUEST_METHOD is missing or invalid; check the FastCGI/CGI configuration of the web server"
            }
            Self::Malformed => "the request line or a header is malformed; send a valid HTTP/1 request",
            Self::CutHead => "the headers are incomplete; nothing was done, send the request again",
            Self::SlowHead => "the headers did not arrive in time; nothing was done, send the request again",
            Self::BadFraming => {
                "the length of the body is ambiguous; send either one Content-Length or Transfer-Encoding: chunked"
            }
            Self::BadTarget => "the path in the address is invalid; escape special characters as %XX",
            Self::BadHost => "the Host header is missing, repeated or malformed; send one with HOST or HOST:PORT",
            Self::BadCoding => "unsupported Transfer-Encoding; use chunked or none",
            Self::LongTarget => "the address is too long; send a shorter one",
            Self::LongHead => "the headers are too long; send fewer or shorter ones",
            Self::BadLength => "Content-Length is not a number; send the length of the body in bytes",
            Self::OtherLength => "the body is not as long as its Content-Length; nothing was done, send it again",
            Self::LengthLost => "the web server does not pass on the length of chunked bodies; send Content-Length",
            Self::TooLarge => "the body is too large; nothing was done, send a smaller one",
            Self::CutByServer => "the web server cut the body (LimitRequestBody); nothing was done, send a smaller one",
            Self::Slow => "the body did not arrive in time; nothing was done, send the request again",
            Self::Broken => "the body is incomplete or its chunks are malformed; nothing was done, send it again",
            Self::Crowded => {
                "too many large bodies are arriving at once, in total or from this address; nothing was done, try \
                 again in a few seconds"
            }
            Self::Share => {
                "too many connections or requests from this address; nothing was done, try again in a few seconds"
            }
            Self::Failed => "internal error; a write may or may not have been stored, see the log of the server",
        }
    }

    /// The response: one line of text, or a problem in JSON (RFC 9457) if the client accepts JSON.
    pub(crate) fn response(self, headers: &HeaderMap) -> Response {
        let mut response = problem(self.status(), self.text(), headers);
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{ACCEPT, CONTENT_TYPE};
    use http_body_util::BodyExt;

    async fn text_of(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn response_is_one_line_when_json_is_not_accepted() {
        let response = TransportError::LengthLost.response(&HeaderMap::new());
        assert_eq!(response.status(), 411);
        let text = text_of(response).await;
        assert!(text.ends_with("Content-Length\n") && text.lines().count() == 1, "{text}");
    }

    #[tokio::test]
    async fn response_is_problem_json_when_json_is_accepted() {
        let mut asked = HeaderMap::new();
        asked.insert(ACCEPT, HeaderValue::from_static("text/html, application/JSON"));
        let response = TransportError::TooLarge.response(&asked);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&text_of(response).await).unwrap();
        assert_eq!(problem["status"], 413);
    }
}
