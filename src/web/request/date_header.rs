//! HTTP dates in headers (RFC 9110, section 5.6.7).

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::model::Time;
use crate::web::response::api_error::ApiError;

/// A time as an HTTP date.
pub(crate) fn format_date(time: Time) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(time.to_http_date())).ok()
}

/// The date in a header, if there is a valid one. `now` decides the century of a year of two digits.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName, now: Time) -> Option<Time> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    // A repeated date is invalid.
    if lines.next().is_some() { None } else { Time::from_http_date(line.to_str().ok()?, now) }
}

/// The error for a write whose If-Unmodified-Since is invalid.
pub(crate) fn invalid_date() -> ApiError {
    ApiError::invalid("If-Unmodified-Since must be one HTTP date, such as Sun, 06 Nov 1994 08:49:37 GMT")
}
