//! Calls what answers for one request, and keeps its panic to that request.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::body::Body;
use http::{Request, Response};
use tower::Service;

use super::refusal::Refusal;
use crate::service::accepts_problem;

/// What a door asks for answers: an axum Router, or what is asked and answers as one.
pub trait App:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<A> App for A where
    A: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The answer of `app`; 500 if it panics. The panic itself was written by the panic hook; the query is kept out of the
/// log, since a client may have put a secret there.
pub(super) fn call<A: App>(app: &A, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + use<A> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let as_problem = accepts_problem(request.headers());
    let mut app = app.clone();
    async move {
        let mut answer = pin!(async move { app.call(request).await });
        // A state that a panic left half-changed is dropped with the future. What outlives it sits behind locks of the
        // stores, which must hold whatever happens to a caller.
        let outcome = std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(Some(response)),
            Err(_panic) => Poll::Ready(None),
        })
        .await;
        outcome.unwrap_or_else(|| {
            tracing::error!(%method, path = uri.path(), "a request panicked");
            Refusal::Failed.told(as_problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;

    async fn breaks() -> &'static str {
        panic!("as the test wants it")
    }

    #[tokio::test]
    async fn panic_is_an_answer_when_the_app_panics() {
        let app = Router::new().route("/", get(breaks)).route("/well", get(|| async { "well" }));
        let broken = call(&app, Request::get("/").body(Body::empty()).unwrap()).await;
        assert_eq!(broken.status(), 500);
        let well = call(&app, Request::get("/well").body(Body::empty()).unwrap()).await;
        assert_eq!(well.status(), 200);
    }
}
