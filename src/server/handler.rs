//! The [`Handler`] that the servers call. A panic in it fails only the request that caused it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use http::header::ACCEPT;
use http::{HeaderMap, Request};

use super::error_response::TransportError;
use crate::web::{Api, Body, ClientAddr, Response};

/// The function that a server calls for each request: an [`Api`], or a wrapper around one.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Handles one request. `client` is the address of the client, if it is known.
    fn handle(&self, request: Request<Body>, client: ClientAddr) -> impl Future<Output = Response> + Send;
}

impl Handler for Api {
    fn handle(&self, request: Request<Body>, client: ClientAddr) -> impl Future<Output = Response> + Send {
        Api::handle(self, request, client)
    }
}

/// Calls `handler`. If it panics, the response is 500; the panic hook logs the panic itself. The query is not logged,
/// because it may contain a secret.
pub(crate) fn call<H: Handler>(
    handler: &H,
    request: Request<Body>,
    client: ClientAddr,
) -> impl Future<Output = Response> + Send + use<H> {
    let handler = handler.clone();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let accept = request.headers().get(ACCEPT).cloned();
    async move {
        let mut response = pin!(handler.handle(request, client));
        // Half-changed state is dropped with the future. State that lives longer is protected by the locks of the
        // stores, which stay consistent when a caller panics.
        let outcome = std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| response.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
            Err(_panic) => Poll::Ready(None),
        })
        .await;
        outcome.unwrap_or_else(|| {
            tracing::error!(%method, path = uri.path(), "the handler panicked");
            TransportError::Internal.response(&HeaderMap::from_iter(accept.map(|accept| (ACCEPT, accept))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct PanickingAt(&'static str);

    impl Handler for PanickingAt {
        async fn handle(&self, request: Request<Body>, _: ClientAddr) -> Response {
            assert!(request.uri().path() != self.0, "the test makes this handler panic");
            Response::new("well".into())
        }
    }

    #[tokio::test]
    async fn response_is_500_when_the_handler_panics() {
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        let handler = PanickingAt("/broken");
        assert_eq!(call(&handler, get("/broken"), ClientAddr::default()).await.status(), 500);
        assert_eq!(call(&handler, get("/well"), ClientAddr::default()).await.status(), 200);
    }
}
