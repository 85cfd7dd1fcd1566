//! Requests to responses: an axum Router over any store. No sockets, no files, no SQL.
//!
//! One file a verb: `read`, `write`, `list`, `status`, `page`; around them what a request is made of
//! (`route`, `form`, `accept`, `condition`), who may send it (`access`, `guard`, `throttle`), and how it
//! is answered (`view`, `wait`, `media`, `reply`). Only `reply` knows status codes.

mod accept;
mod access;
mod condition;
mod demand;
mod form;
mod guard;
mod list;
mod media;
mod page;
mod read;
mod reply;
mod route;
mod status;
mod throttle;
mod view;
mod wait;
mod waiters;
mod write;
#[cfg(test)]
mod yielding_store;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

pub use access::Access;
pub use waiters::{Gate, Waiters};

use crate::model::Clock;
use crate::store::Store;
use form::Question;
use page::IndexPage;
use reply::Refusal;
use route::Route;
use throttle::Throttle;

/// Who sent a request. The doors put it into the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The client's address, as the socket or the web server tells it.
    pub address: Option<IpAddr>,
}

/// Who may read a key by its name. A list always needs a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reads {
    /// Everybody.
    #[default]
    Open,
    /// Who has a secret with the right to read.
    Secret,
}

/// What the service needs to know besides the store.
pub struct Settings {
    /// Told when the program is to stop: waiting reads are answered at once.
    pub stop: CancellationToken,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The longest wait of a read.
    pub max_wait: Duration,
    /// The largest value, in bytes.
    pub max_value: usize,
    /// The secrets, and what each allows.
    pub access: Access,
    /// Who may read.
    pub reads: Reads,
    /// How many reads may wait at once.
    pub waiters: Waiters,
}

/// What every request is answered from.
pub(crate) struct Service {
    store: Arc<dyn Store>,
    settings: Settings,
    throttle: Throttle,
    page: IndexPage,
    /// Held while `/status` looks at the store.
    checking: tokio::sync::Mutex<()>,
}

/// The service over a store.
///
/// A request carries its raw path below the script's base path and its query exactly as sent, and a [`Caller`] among its
/// extensions; without one its address counts as unknown.
pub fn router(store: Arc<dyn Store>, settings: Settings) -> axum::Router {
    let throttle = Throttle::new(Arc::clone(&store), Arc::clone(&settings.clock));
    let service =
        Service { store, settings, throttle, page: IndexPage::new(), checking: tokio::sync::Mutex::default() };
    // Paths are judged by `route`, not by axum, which would decode what must be refused.
    axum::Router::new().fallback(answer).with_state(Arc::new(service))
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match dispatch(&service, &parts, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(&parts.headers),
    }
}

async fn dispatch(service: &Service, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    // Before anything else, so that no answer depends on a secret that has no business there.
    let question = Question::new(parts.uri.query())?;
    let route = Route::new(parts.uri.path())?;
    let caller = parts.extensions.get::<Caller>().copied().unwrap_or_default();
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    match route {
        route if parts.method == Method::OPTIONS => Ok(reply::options(route.allow())),
        Route::Root if parts.method == Method::POST => write::answer(service, parts, question, caller, body).await,
        Route::Root if is_read && question.all("k").next().is_some() => {
            read::answer(service, parts, question, caller).await
        }
        Route::Root if is_read => Ok(service.page.answer(&parts.headers)),
        Route::Status if is_read => status::answer(service).await,
        Route::Bucket(bucket) if is_read => list::answer(service, parts, question, caller, bucket).await,
        route => Err(Refusal::method(route.allow())),
    }
}
