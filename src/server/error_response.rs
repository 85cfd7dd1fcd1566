//! Error responses for requests that do not reach the handler, or do not reach it completely.
//!
//! Only errors of the transport are here. The API (`web`) decides what a request means.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::web::{Response, problem};

/// The `Retry-After` of a 503, in seconds.
const RETRY_AFTER_SECONDS: u64 = 2;

/// The reason why a server answers a request itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TransportError {
    /// The CGI variables of the web server contain no valid request method.
    BadMethod,
    /// The head is not valid HTTP/1, or one of its headers is malformed.
    MalformedHead,
    /// The client closed the connection within the head.
    IncompleteHead,
    /// The head did not arrive within `header_timeout`.
    HeadTimeout,
    /// The target of the request is not a valid path.
    BadTarget,
    /// HTTP/1.1 without a Host header, or any request with two of them or a malformed one.
    BadHost,
    /// The length of the body is ambiguous (RFC 9112, section 6.3).
    BadFraming,
    /// The body has a Transfer-Encoding other than chunked.
    BadTransferCoding,
    /// The target is longer than a URI may be.
    TargetTooLong,
    /// The parameters or headers are longer than the limit.
    HeadTooLong,
    /// The Content-Length is not a number.
    BadContentLength,
    /// The body is longer or shorter than its Content-Length.
    LengthMismatch,
    /// The body is chunked, and the web server does not pass on its length.
    LengthUnknown,
    /// The body is longer than `ServerLimits::body`.
    BodyTooLarge,
    /// The web server cut the body short at a limit of its own.
    BodyCutByServer,
    /// The body did not arrive within `body_timeout`.
    BodyTimeout,
    /// The chunks of the body are malformed, or the client closed the connection within it.
    BrokenBody,
    /// The memory budget for bodies is used up.
    BodyBudgetUsedUp,
    /// The address of the client has used up its share of the connections.
    ShareUsedUp,
    /// The handler panicked, or the server has a bug.
    Internal,
}

impl TransportError {
    fn status(self) -> StatusCode {
        match self {
            Self::BadMethod
            | Self::MalformedHead
            | Self::IncompleteHead
            | Self::BadTarget
            | Self::BadHost
            | Self::BadFraming
            | Self::BadContentLength
            | Self::LengthMismatch
            | Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LengthUnknown => StatusCode::LENGTH_REQUIRED,
            Self::BodyTooLarge | Self::BodyCutByServer => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BadTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::BodyBudgetUsedUp | Self::ShareUsedUp => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BadMethod => {
                "REQUEST_METHOD is missing or invalid; check the FastCGI/CGI configuration of the web server"
            }
            Self::MalformedHead => "the request line or a header is malformed; send a valid HTTP/1 request",
            Self::IncompleteHead => "the headers are incomplete; nothing was done, send the request again",
            Self::HeadTimeout => "the headers did not arrive in time; nothing was done, send the request again",
            Self::BadFraming => {
                "the length of the body is ambiguous; send either one Content-Length or Transfer-Encoding: chunked"
            }
            Self::BadTarget => "the path in the address is invalid; escape special characters as %XX",
            Self::BadHost => "the Host header is missing, repeated or malformed; send one with HOST or HOST:PORT",
            Self::BadTransferCoding => "unsupported Transfer-Encoding; use chunked or none",
            Self::TargetTooLong => "the address is too long; send a shorter one",
            Self::HeadTooLong => "the headers are too long; send fewer or shorter ones",
            Self::BadContentLength => "Content-Length is not a number; send the length of the body in bytes",
            Self::LengthMismatch => "the body is not as long as its Content-Length; nothing was done, send it again",
            Self::LengthUnknown => "the web server does not pass on the length of chunked bodies; send Content-Length",
            Self::BodyTooLarge => "the body is too large; nothing was done, send a smaller one",
            Self::BodyCutByServer => {
                "the web server cut the body (LimitRequestBody); nothing was done, send a smaller one"
            }
            Self::BodyTimeout => "the body did not arrive in time; nothing was done, send the request again",
            Self::BrokenBody => "the body is incomplete or its chunks are malformed; nothing was done, send it again",
            Self::BodyBudgetUsedUp => {
                "too many large bodies are arriving at once, in total or from this address; nothing was done, try \
                 again in a few seconds"
            }
            Self::ShareUsedUp => {
                "too many connections or requests from this address; nothing was done, try again in a few seconds"
            }
            Self::Internal => "internal error; a write may or may not have been stored, see the log of the server",
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
        let response = TransportError::LengthUnknown.response(&HeaderMap::new());
        assert_eq!(response.status(), 411);
        let text = text_of(response).await;
        assert!(text.ends_with("Content-Length\n") && text.lines().count() == 1, "{text}");
    }

    #[tokio::test]
    async fn response_is_problem_json_when_json_is_accepted() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html, application/JSON"));
        let response = TransportError::BodyTooLarge.response(&headers);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&text_of(response).await).unwrap();
        assert_eq!(problem["status"], 413);
    }
}
