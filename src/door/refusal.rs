//! The answers a door gives itself, because the request never reached the Router whole.
//!
//! Only faults of the transport stand here; what a request means is judged by the service.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::service::accepts_problem;

/// Seconds after which somebody who was refused for want of room may ask again.
const AGAIN: u64 = 2;

/// Why a request was refused at the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The web server sent variables that make no request.
    NotARequest,
    /// A head that is not one of HTTP/1, or a header of it is malformed.
    Malformed,
    /// The client left within the head.
    CutHead,
    /// The head did not arrive in time.
    SlowHead,
    /// The target of the request is no path.
    BadTarget,
    /// HTTP/1.1 without a Host, or any request with two or a malformed one.
    BadHost,
    /// The length of the body can be read in two ways.
    BadFraming,
    /// The body is encoded for the transfer in a way other than chunks.
    BadCoding,
    /// The target is longer than a URI may be.
    LongTarget,
    /// The parameters or headers are longer than the limit.
    LongHead,
    /// The Content-Length is no number.
    BadLength,
    /// Fewer or more bytes arrived than the Content-Length says.
    OtherLength,
    /// The body came in chunks through a server that loses their end.
    LengthLost,
    /// The body exceeds the limit of the door.
    TooLarge,
    /// The web server cut the body at a limit of its own.
    CutByServer,
    /// The body did not arrive in time.
    Slow,
    /// The chunks of the body are malformed, or the client left within it.
    Broken,
    /// Other bodies hold the memory that there is for them.
    Crowded,
    /// The address of the client has its share.
    Share,
    /// The code that answers panicked.
    Failed,
}

impl Refusal {
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

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NotARequest => "no request method; pass the CGI variables of the web server",
            Self::Malformed => "this is not a request of HTTP/1, or one of its headers is malformed",
            Self::CutHead => "the request broke off within its headers; nothing was done, send it again",
            Self::SlowHead => "the headers did not arrive in time; nothing was done, send the request again",
            Self::BadFraming => {
                "the length of the body is not clear; send one Content-Length, or nothing but Transfer-Encoding: chunked"
            }
            Self::BadTarget => "the address is no valid path; escape special characters as %XX",
            Self::BadHost => "a request needs one Host header, the name of a host and its port",
            Self::BadCoding => "this Transfer-Encoding is not taken; send the body as it is or in chunks",
            Self::LongTarget => "the address is too long; send a shorter one",
            Self::LongHead => "the headers are too long; send fewer or shorter ones",
            Self::BadLength => "Content-Length is not a number; send the length of the body in bytes",
            Self::OtherLength => "the body is not as long as its Content-Length; nothing was done, send it again",
            Self::LengthLost => "the length of a chunked body is lost on its way here; send a Content-Length",
            Self::TooLarge => "the body is too large; nothing was done",
            Self::CutByServer => "the web server cut the body (LimitRequestBody); nothing was done, send a smaller one",
            Self::Slow => "the body did not arrive in time; nothing was done, send it again",
            Self::Broken => "the body broke off or its chunks are malformed; nothing was done, send it again",
            Self::Crowded => {
                "too many large bodies arrive at once, from all or from this address; nothing was done, try again in a few \
                 seconds"
            }
            Self::Share => {
                "too many requests come from this address at once; nothing was done, try again in a few seconds"
            }
            Self::Failed => "the server failed on this request; its log says where",
        }
    }

    /// The answer: one line of text, or RFC 9457 for who accepts JSON.
    pub(super) fn response(self, asked: &HeaderMap) -> Response<Body> {
        self.told(accepts_problem(asked))
    }

    /// The same in this form.
    pub(super) fn told(self, as_problem: bool) -> Response<Body> {
        let (kind, body) = if as_problem {
            let title = self.status().canonical_reason().unwrap_or("Error");
            let problem = serde_json::json!({
                "type": "about:blank", "title": title, "status": self.status().as_u16(), "detail": self.text(),
            });
            ("application/problem+json", format!("{problem}\n"))
        } else {
            ("text/plain; charset=utf-8", format!("{}\n", self.text()))
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, AGAIN.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT;
    use http_body_util::BodyExt;

    async fn text_of(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn answer_is_one_line_when_json_is_not_asked_for() {
        let response = Refusal::LengthLost.response(&HeaderMap::new());
        assert_eq!(response.status(), 411);
        let text = text_of(response).await;
        assert!(text.ends_with("Content-Length\n") && text.lines().count() == 1, "{text}");
    }

    #[tokio::test]
    async fn answer_is_a_problem_when_json_is_accepted() {
        let mut asked = HeaderMap::new();
        asked.insert(ACCEPT, HeaderValue::from_static("text/html, application/JSON"));
        let response = Refusal::TooLarge.response(&asked);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&text_of(response).await).unwrap();
        assert_eq!(problem["status"], 413);
    }
}
