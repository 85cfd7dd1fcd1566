//! A response with Server-Sent Events: the events since the position of the client, then each one when it happens.
//!
//! It ends when the program stops, when the store fails, and after an hour; clients then connect again. A comment is
//! sent every 15 seconds, so that both sides notice a broken connection.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::api_error::ApiError;
use super::response;
use super::response::{Cache, with_body};
use super::streamed::Content;
use crate::model::Error;
use crate::web::body::{Body, BodyError, Response};
use crate::web::read::fetch::Wakeup;
use crate::web::read::long_poll_limit::StreamPermit;

/// The media type of event streams.
pub(crate) const CONTENT_TYPE: &str = "text/event-stream";

/// The time between two comments.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// The longest time of a stream. Then the secret of the client is checked again.
const MAX_STREAM_TIME: Duration = Duration::from_secs(3_600);

/// After this time in milliseconds a client connects again: at the end of a stream, and if it could not wait.
const RETRY_MS: u32 = 1_000;
const RETRY_LATER_MS: u32 = 5_000;

/// It tells nginx not to buffer the response.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// When a stream ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StreamEnd {
    /// After an hour, or when the program stops.
    AfterAnHour,
    /// After the first events, or after this time without any.
    AfterFirstEvents(Duration),
}

/// What a stream sends.
pub(crate) trait EventSource: Send + Sync + 'static {
    /// A position in the events, which a client sends back as `Last-Event-ID`.
    type Position: fmt::Display + Send + Sync;

    /// The events after a position, if there are any, and the position after them. Without a position: the first events
    /// for a client that connects for the first time. With a `wakeup` the result may be shared.
    fn events(
        &self,
        since: Option<&Self::Position>,
        wakeup: Option<Wakeup>,
    ) -> impl Future<Output = Result<(Self::Position, Option<Content>), ApiError>> + Send;

    /// Waits until there may be events after a position.
    fn changed(&self, since: &Self::Position) -> impl Future<Output = Result<Wakeup, Error>> + Send;
}

/// The stream of one client.
pub(crate) struct EventStream<S: EventSource> {
    source: S,
    /// The position up to which the client has seen everything; `None` at its first connection.
    since: Option<S::Position>,
    is_short: bool,
    deadline: Instant,
    stop: CancellationToken,
    _permit: StreamPermit,
    /// The events that are being sent.
    sending: Option<Body>,
    is_ended: bool,
}

/// What a stream sends next.
enum Next {
    Events(Content),
    Heartbeat,
    End,
}

impl<S: EventSource> EventStream<S> {
    pub(crate) fn new(
        source: S,
        since: Option<S::Position>,
        end: StreamEnd,
        stop: CancellationToken,
        permit: StreamPermit,
    ) -> Self {
        let (is_short, time) = match end {
            StreamEnd::AfterAnHour => (false, MAX_STREAM_TIME),
            StreamEnd::AfterFirstEvents(max_wait) => (true, max_wait),
        };
        let deadline = Instant::now() + time;
        Self { source, since, is_short, deadline, stop, _permit: permit, sending: None, is_ended: false }
    }

    /// The response. Its first frame is sent at once, so that the client sees that it is connected.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn open(mut self) -> Result<Response, ApiError> {
        let first = self.fetch(None).await?;
        let greeting = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
        self.sending = first.map(Body::from);
        let stream = unfold((Some(greeting), self), |(greeting, mut stream)| async move {
            let frame = match greeting {
                Some(greeting) => Ok(Frame::data(greeting)),
                None => stream.next_frame().await?,
            };
            Some((frame, (None, stream)))
        });
        Ok(with_headers(Body::stream(StreamBody::new(Box::pin(stream)))))
    }

    async fn next_frame(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        loop {
            if let Some(body) = &mut self.sending {
                if let Some(frame) = body.frame().await {
                    return Some(frame);
                }
                self.sending = None;
                if self.is_short {
                    self.is_ended = true;
                    return Some(Ok(self.position_comment()));
                }
            }
            if self.is_ended {
                return None;
            }
            match self.next().await {
                Next::Events(events) => self.sending = Some(events.into()),
                Next::Heartbeat => return Some(Ok(self.position_comment())),
                Next::End => {
                    self.is_ended = true;
                    return Some(Ok(self.position_comment()));
                }
            }
        }
    }

    /// A comment, and the position: changes of other keys move it too, so the client does not ask for them again.
    fn position_comment(&self) -> Frame<Bytes> {
        let position = self.since.as_ref().map(|since| format!("id: {since}\n")).unwrap_or_default();
        Frame::data(format!(":\n{position}\n").into())
    }

    async fn next(&mut self) -> Next {
        let heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
        loop {
            let Some(since) = &self.since else { return Next::End };
            let wakeup = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Next::End,
                () = sleep_until(self.deadline) => return Next::End,
                // Before the changes: those of other keys must not keep a stream silent.
                () = sleep_until(heartbeat) => return Next::Heartbeat,
                changed = self.source.changed(since) => changed,
            };
            let Ok(wakeup) = wakeup else { return Next::End };
            match self.fetch(Some(wakeup)).await {
                Ok(Some(events)) => return Next::Events(events),
                Ok(None) => {}
                // The store has logged the reason. When the client connects again, it gets the error.
                Err(_) => return Next::End,
            }
        }
    }

    /// The events that the client has not seen, if there are any.
    async fn fetch(&mut self, wakeup: Option<Wakeup>) -> Result<Option<Content>, ApiError> {
        let (position, events) = self.source.events(self.since.as_ref(), wakeup).await?;
        self.since = Some(position);
        Ok(events)
    }
}

/// A stream that ends at once, because too many are open. The client connects again.
pub(crate) fn rejected() -> Response {
    with_headers(format!("retry: {RETRY_LATER_MS}\n\n").into())
}

fn with_headers(body: Body) -> Response {
    let mut response = with_body(StatusCode::OK, Cache::Never, CONTENT_TYPE, body);
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response::vary(&mut response, "Accept");
    response
}
