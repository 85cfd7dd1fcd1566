//! Long polls: a read that is held until there is news, the client's time is up, or the program stops.
//!
//! No change is missed: what was looked at carries the revision of its bucket, and the store wakes for anything after it.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use tokio::time::Instant;

use super::Asked;
use super::form::Question;
use super::metrics;
use super::number;
use super::reply::Refusal;
use super::view::{Look, News, View};
use crate::model::{Bucket, Clock, Time};

/// Seconds after which a client that could not be held may ask again.
const AGAIN: u64 = 2;
/// The same when the program stops: another one takes over.
const AGAIN_AFTER_STOP: u64 = 1;
/// What ends by itself is looked at no sooner than this after its end: the store's clock may be a little behind ours.
const GRACE: Duration = Duration::from_millis(5);

/// How long the client wants to wait: `wait=SECONDS` in the address, else `Prefer: wait=SECONDS` (RFC 7240).
///
/// # Errors
/// A `wait` in the address that is no whole number. A preference that is not understood is ignored, as the RFC
/// has it.
pub(crate) fn asked(parts: &Parts, question: Question<'_>) -> Result<Option<Duration>, Refusal> {
    let given = question.text("wait")?.map(|text| {
        let told = number::shown(&text);
        let bad =
            || Refusal::invalid(format!("wait must be 0 or more seconds, got {told}; write a whole number in digits"));
        seconds(&text).ok_or_else(bad)
    });
    let seconds = given.transpose()?.or_else(|| preferred(parts));
    Ok(seconds.filter(|s| *s > 0).map(Duration::from_secs))
}

fn preferred(parts: &Parts) -> Option<u64> {
    let lines = parts.headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split([',', ';'])).find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("wait") { seconds(value.trim().trim_matches('"')) } else { None }
    })
}

/// A number of seconds. More than fits is as good as the largest: a client is held no longer than the settings say.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// What became of a wish to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// There was no such wish, or it was fulfilled.
    Done,
    /// The client should come back.
    Declined {
        /// In so many seconds.
        retry_after: u64,
    },
}

/// Looks until there is news, at most for `span`, and returns the last look; if it was held, and there is none, without
/// the body.
pub(crate) async fn hold(
    asked: Asked<'_>,
    bucket: &Bucket,
    span: Option<Duration>,
    looking: &dyn Look,
    is_news: impl Fn(&View) -> bool + Send + Sync,
) -> Result<(View, Hold), Refusal> {
    let service = asked.service;
    let settings = &service.settings;
    let mut view = looking.look(service).await?;
    let Some(span) = span.filter(|_| !is_news(&view)) else { return Ok((view, Hold::Done)) };
    let Some(_place) = settings.waiting.waiters.enter(bucket, asked.caller.address) else {
        metrics::add(&settings.metrics.counters().declined);
        return Ok((view, Hold::Declined { retry_after: AGAIN }));
    };
    let _held = asked.tally.hold();
    let deadline = Instant::now() + span.min(settings.waiting.longest);
    loop {
        // Nobody is sent what is no news, and thousands may wait: none keeps a whole list meanwhile.
        if let Some(shown) = &mut view.shown {
            shown.body = Bytes::new().into();
        }
        let revision = tokio::select! {
            // In this order: a bucket that never rests must not keep a waiter beyond its time.
            biased;
            () = settings.stop.cancelled() => {
                return Ok((view, Hold::Declined { retry_after: AGAIN_AFTER_STOP }));
            }
            () = tokio::time::sleep_until(deadline) => return Ok((view, Hold::Done)),
            moved = service.store.changed(bucket, view.moved) => Some(moved.map_err(Refusal::unread)?),
            () = end_of(view.ends, settings.clock.as_ref()) => None,
        };
        view = looking.look_again(service, News { woken: Instant::now(), revision }).await?;
        if is_news(&view) {
            return Ok((view, Hold::Done));
        }
    }
}

async fn end_of(ends: Option<Time>, clock: &dyn Clock) {
    match ends {
        Some(end) => tokio::time::sleep(end.since(clock.now()) + GRACE).await,
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

    fn ask(query: &str, prefer: Option<&str>) -> Result<Option<u64>, Refusal> {
        let parts = parts(query, prefer);
        asked(&parts, Question::new(parts.uri.query()).unwrap()).map(|d| d.map(|d| d.as_secs()))
    }

    #[test]
    fn the_address_goes_before_the_preference() {
        assert_eq!(ask("wait=3", Some("wait=9")).unwrap(), Some(3));
        assert_eq!(ask("wait=99999999999999999999", None).unwrap(), Some(u64::MAX));
        assert_eq!(ask("k=a", Some("wait=9")).unwrap(), Some(9));
        assert_eq!(ask("k=a", Some("respond-async, Wait = \"9\"; x=1")).unwrap(), Some(9));
        assert_eq!(ask("k=a", Some("wait=soon")).unwrap(), None);
        assert_eq!(ask("wait=0", Some("wait=9")).unwrap(), None);
        assert_eq!(ask("", None).unwrap(), None);
        for bad in ["wait=", "wait=x", "wait=-1", "wait=1.5", "wait=%2B1", "wait=%zz"] {
            assert!(ask(bad, None).is_err(), "{bad}");
        }
    }
}
