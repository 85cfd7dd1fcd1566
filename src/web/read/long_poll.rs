//! Long polls: a read that waits until its response changes, the time is up, or the program shuts down.
//!
//! No change is missed: a fetch has the revision of its bucket, and the store wakes the poll for every later revision.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use tokio::time::Instant;

use super::fetch::{Fetch, Fetched, Wakeup};
use super::watched::Watched;
use crate::model::{Clock, Time};
use crate::web::context::RequestContext;
use crate::web::metrics::counters;
use crate::web::request::form::QueryString;
use crate::web::request::number;
use crate::web::response::api_error::ApiError;

/// `Retry-After` if too many long polls are waiting, in seconds.
const RETRY_AFTER_SECONDS: u64 = 2;
/// `Retry-After` when the program shuts down, in seconds. Another process takes over.
const RETRY_AFTER_STOP_SECONDS: u64 = 1;
/// How long after an expiry the poll fetches again, because the clock of the store may be a little slow.
const EXPIRY_GRACE: Duration = Duration::from_millis(5);

/// How long the client wants to wait: `wait=SECONDS` in the URL, else `Prefer: wait=SECONDS` (RFC 7240).
///
/// # Errors
/// If `wait` in the URL is not an integer. A malformed preference is ignored, as the RFC requires.
pub(crate) fn parse(parts: &Parts, query: QueryString<'_>) -> Result<Option<Duration>, ApiError> {
    let in_query = query.text("wait")?.map(|text| {
        let quoted = number::quote(&text);
        let bad = || {
            ApiError::invalid(format!("wait must be 0 or more seconds, got {quoted}; write a whole number in digits"))
        };
        seconds(&text).ok_or_else(bad)
    });
    let seconds = in_query.transpose()?.or_else(|| in_prefer(parts));
    Ok(seconds.filter(|s| *s > 0).map(Duration::from_secs))
}

fn in_prefer(parts: &Parts) -> Option<u64> {
    let lines = parts.headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split([',', ';'])).find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("wait") { seconds(value.trim().trim_matches('"')) } else { None }
    })
}

/// A number of seconds. A number that is too large becomes the largest one; the settings limit the wait anyway.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The result of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// The response is final, after a wait or without one.
    Done,
    /// The poll could not wait, or the program shut down during the wait.
    Rejected {
        /// Seconds after which the client may try again.
        retry_after: u64,
    },
}

/// Fetches until `is_change` is true, at most for `max_wait`, and returns the last fetch. If the poll waited and
/// nothing changed, the fetch has no body.
pub(crate) async fn wait(
    ctx: RequestContext<'_>,
    watched: Watched<'_>,
    max_wait: Option<Duration>,
    resource: &impl Fetch,
    is_change: impl Fn(&Fetched) -> bool + Send + Sync,
) -> Result<(Fetched, Waited), ApiError> {
    let fetched = resource.fetch().await?;
    let Some(max_wait) = max_wait.filter(|_| !is_change(&fetched)) else { return Ok((fetched, Waited::Done)) };
    let poll = LongPoll { ctx, watched, max_wait };
    // Boxed: most reads do not wait, and their futures need no memory for it.
    Box::pin(poll.wait_for_change(fetched, resource, is_change)).await
}

/// A request that waits for a change.
struct LongPoll<'a> {
    ctx: RequestContext<'a>,
    watched: Watched<'a>,
    max_wait: Duration,
}

impl LongPoll<'_> {
    async fn wait_for_change(
        &self,
        mut fetched: Fetched,
        resource: &impl Fetch,
        is_change: impl Fn(&Fetched) -> bool + Send + Sync,
    ) -> Result<(Fetched, Waited), ApiError> {
        let state = self.ctx.state;
        let settings = &state.settings;
        let Some(_permit) = settings.long_polls.limit.try_acquire(self.watched.bucket(), self.ctx.client.0) else {
            counters::add(&settings.metrics.counters().long_polls_rejected);
            return Ok((fetched, Waited::Rejected { retry_after: RETRY_AFTER_SECONDS }));
        };
        let _wait = self.ctx.timer.begin_wait();
        let deadline = Instant::now() + self.max_wait.min(settings.long_polls.max_wait);
        loop {
            // An unchanged body is never sent, and thousands of polls may wait, so they do not keep it in memory.
            if let Some(representation) = &mut fetched.representation {
                representation.body = Bytes::new().into();
            }
            let revision = tokio::select! {
                // In this order, because writes without a pause must not keep a poll waiting after its deadline.
                biased;
                () = settings.stop.cancelled() => {
                    return Ok((fetched, Waited::Rejected { retry_after: RETRY_AFTER_STOP_SECONDS }));
                }
                () = tokio::time::sleep_until(deadline) => return Ok((fetched, Waited::Done)),
                changed = self.watched.changed(&state.store, fetched.revision) => {
                    Some(changed.map_err(ApiError::from_read)?)
                }
                () = sleep_until_expiry(fetched.expires, settings.clock.as_ref()) => None,
            };
            fetched = resource.fetch_after(Wakeup { at: Instant::now(), revision }).await?;
            if is_change(&fetched) {
                return Ok((fetched, Waited::Done));
            }
        }
    }
}

async fn sleep_until_expiry(expires: Option<Time>, clock: &dyn Clock) {
    match expires {
        Some(expires) => tokio::time::sleep(expires.since(clock.now()) + EXPIRY_GRACE).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(query: &str, prefer: Option<&str>) -> Parts {
        let mut request = http::Request::builder().uri(format!("/?{query}"));
        if let Some(prefer) = prefer {
            request = request.header("Prefer", prefer);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn wait_of(query: &str, prefer: Option<&str>) -> Result<Option<u64>, ApiError> {
        let parts = parts(query, prefer);
        parse(&parts, QueryString::new(parts.uri.query()).unwrap()).map(|d| d.map(|d| d.as_secs()))
    }

    #[test]
    fn wait_in_the_url_takes_precedence_over_prefer() {
        assert_eq!(wait_of("wait=3", Some("wait=9")).unwrap(), Some(3));
        assert_eq!(wait_of("wait=99999999999999999999", None).unwrap(), Some(u64::MAX));
        assert_eq!(wait_of("k=a", Some("wait=9")).unwrap(), Some(9));
        assert_eq!(wait_of("k=a", Some("respond-async, Wait = \"9\"; x=1")).unwrap(), Some(9));
        assert_eq!(wait_of("k=a", Some("wait=soon")).unwrap(), None);
        assert_eq!(wait_of("wait=0", Some("wait=9")).unwrap(), None);
        assert_eq!(wait_of("", None).unwrap(), None);
        for bad in ["wait=", "wait=x", "wait=-1", "wait=1.5", "wait=%2B1", "wait=%zz"] {
            assert!(wait_of(bad, None).is_err(), "{bad}");
        }
    }
}
