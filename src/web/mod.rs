//! The HTTP API over any store: a request in, a response out. No sockets, no files, no SQL.
//!
//! [`Api::handle`] is the entry point. `route` names the resource, `context` has the input of the handlers, and
//! `handlers` has one file for each resource. They share `request` (parsing), `auth` (secrets, policies, rate limit),
//! `read` (conditional responses, long polls), `write` (commits) and `response` (status, headers, errors). Only
//! `response` knows status codes.

mod auth;
mod body;
mod budget;
mod context;
mod damage_report;
mod entry_name;
mod handlers;
mod metrics;
mod read;
mod request;
mod request_log;
mod response;
mod route;
mod shares;
mod write;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};

pub use self::auth::policy::{Policies, Policy, Reads, Timestamps, Writes};
pub use self::auth::secrets::SecretList;
pub use self::body::{Body, BodyError, Response};
pub use self::budget::{Budget, SMALL_BODY_BYTES, Share};
pub use self::context::{ApiSettings, ClientAddr, LongPollSettings};
pub use self::metrics::{Metrics, MetricsAccess};
pub use self::read::long_poll_limit::{LongPollLimit, WaiterGate};
pub use self::read::reuse::ReusableResponse;
pub use self::response::cache_urls::cache_urls;
pub use self::response::cors::{Cors, Origin};
pub use self::response::problem::problem;
pub use self::shares::{SharePermit, Shares};

use self::auth::rate_limit;
use self::auth::rate_limit::RateLimiter;
use self::context::{ApiState, RequestContext};
use self::damage_report::DamageReport;
use self::entry_name::EntryName;
use self::handlers::index::IndexPage;
use self::handlers::{
    changes, classic_get, classic_post, delete_prefix, entry, events, health, help, list, list_buckets, log, maintain,
    multi, openapi, status, txn,
};
use self::metrics::counted::Counted;
use self::metrics::counters::Class;
use self::metrics::request_timer::RequestTimer;
use self::read::coalesce::Coalescer;
use self::request::form::QueryString;
use self::request_log::{LoggedRequest, RequestIds};
use self::response::api_error::ApiError;
use self::response::cors::CorsRequest;
use self::response::response as plain;
use self::route::Route;
use crate::store::Store;

/// The HTTP API over a store. Clones share their state.
///
/// It is also a [`tower::Service`](https://docs.rs/tower-service), so axum, hyper and other frameworks can mount it;
/// see `examples/axum.rs`. Then the address of the client is the [`ClientAddr`] in the extensions of the request;
/// without it the address is unknown.
#[derive(Clone)]
pub struct Api(Arc<ApiState>);

impl Api {
    /// An API over `store`. The metrics in `settings` count its requests and its calls of the store.
    pub fn new(store: Arc<dyn Store>, settings: ApiSettings) -> Self {
        let rate_limiter = RateLimiter::new(Arc::clone(&store), Arc::clone(&settings.clock), rate_limit::random);
        let store = Counted::new(store, Arc::clone(settings.metrics.counters()));
        let (index, damage, coalescer) = (IndexPage::default(), DamageReport::default(), Coalescer::default());
        let request_ids = RequestIds::new();
        Self(Arc::new(ApiState { store, settings, rate_limiter, index, damage, request_ids, coalescer }))
    }

    /// Handles one request. The path in its URI must be relative to the base path; path and query must still be
    /// percent-encoded.
    pub async fn handle(&self, request: Request<Body>, client: ClientAddr) -> Response {
        let state = &*self.0;
        let timer = RequestTimer::start(request.body().length().unwrap_or(0));
        let (parts, body) = request.into_parts();
        let logged = LoggedRequest::new(&parts, client.0, &state.request_ids);
        // The query is checked first, so that no response depends on a secret in it.
        let query = QueryString::new(parts.uri.query());
        let route = query.and_then(|query| Ok((query, Route::new(parts.uri.path(), query)?)));
        let class = route.as_ref().map_or(Class::Other, |(_, route)| route.class());
        let method = route::method(&parts);
        let handled = match (route, &method) {
            (Ok((query, route)), Ok(method)) => {
                let context = RequestContext { state, parts: &parts, query, method, class, client, timer: &timer };
                let answer = dispatch(context, body, &route);
                match &logged {
                    // Boxed, so that the future is no larger for requests that are not logged.
                    Some(logged) => Box::pin(logged.during(answer)).await,
                    None => answer.await,
                }
            }
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error.clone()),
        };
        let method = method.unwrap_or_else(|_| parts.method.clone());
        let is_write = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&method);
        let mut response = handled.unwrap_or_else(|error| {
            let error = if is_write { error.for_write() } else { error };
            error.response(&parts.headers)
        });
        state.settings.cors.add_headers(CorsRequest::new(&parts), &mut response);
        state.settings.metrics.count(class, &method, &timer, &response);
        if let Some(logged) = logged {
            logged.end(&mut response);
        }
        if method == Method::HEAD {
            // The headers stay those of the GET, including its Content-Length (RFC 9110, section 9.3.2).
            *response.body_mut() = response
                .body_mut()
                .take_reusable()
                .map_or_else(Body::empty, |reusable| Body::empty().reusable(reusable));
        }
        response
    }
}

async fn dispatch(context: RequestContext<'_>, body: Body, route: &Route) -> Result<Response, ApiError> {
    let RequestContext { state, method, .. } = context;
    // All but the reads of a key are boxed, so that the future of such a read is small: it is moved several times.
    let is_read = method == Method::GET || method == Method::HEAD;
    match route {
        Route::Metrics if state.settings.metrics.is_off() => Err(route::not_found()),
        Route::Entry(..) if method == Method::OPTIONS => Ok(entry::options()),
        route if method == Method::OPTIONS => Ok(plain::options(route.allow())),
        Route::Root if method == Method::POST => Box::pin(classic_post::answer(context, body)).await,
        Route::Root if is_read && context.query.all("k").next().is_some() => classic_get::answer(context).await,
        Route::Root if is_read => Ok(state.index.answer(&context.parts.headers)),
        Route::Status if is_read => Box::pin(status::answer(state)).await,
        Route::Help if is_read => Ok(help::answer()),
        Route::Live if is_read => Ok(health::live()),
        Route::Ready if is_read => Box::pin(health::ready(state)).await,
        Route::Metrics if is_read => Box::pin(handlers::metrics::answer(context)).await,
        Route::OpenApi if is_read => Ok(openapi::answer()),
        Route::Buckets if is_read => Box::pin(list_buckets::of_entries(context)).await,
        Route::LogBuckets if is_read => Box::pin(list_buckets::of_logs(context)).await,
        Route::Bucket(bucket) if is_read && events::is_requested(&context.parts.headers) => {
            Box::pin(events::of_bucket(context, bucket)).await
        }
        Route::Bucket(bucket) if is_read && context.query.all("since").next().is_some() => {
            Box::pin(changes::answer(context, bucket)).await
        }
        Route::Bucket(bucket) if is_read => Box::pin(list::answer(context, bucket)).await,
        Route::Bucket(bucket) if method == Method::POST => Box::pin(list::answer_form(context, bucket, body)).await,
        Route::Bucket(bucket) if method == Method::DELETE => {
            Box::pin(delete_prefix::answer(context, bucket, body)).await
        }
        Route::Entry(bucket, key) if is_read && events::is_requested(&context.parts.headers) => {
            Box::pin(events::of_entry(context, EntryName { bucket, key })).await
        }
        Route::Entry(bucket, key) => entry::answer(context, EntryName { bucket, key }, body).await,
        Route::Multi(bucket) if multi::supports(method) => Box::pin(multi::answer(context, bucket, body)).await,
        Route::Logs(bucket) if is_read => Box::pin(log::list(context, bucket)).await,
        Route::Log(bucket, key) if is_read || method == Method::POST || method == Method::DELETE => {
            Box::pin(log::answer(context, EntryName { bucket, key }, body)).await
        }
        Route::Txn(bucket) if method == Method::POST => Box::pin(txn::answer(context, bucket, body)).await,
        Route::Maintenance(bucket) if method == Method::POST => Box::pin(maintain::answer(context, bucket, body)).await,
        route => Err(ApiError::method_not_allowed(route.allow())),
    }
}

impl<B> tower_service::Service<Request<B>> for Api
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let api = self.clone();
        let client = request.extensions().get::<ClientAddr>().copied().unwrap_or_default();
        let request = request.map(Body::stream);
        Box::pin(async move { Ok(api.handle(request, client).await) })
    }
}
