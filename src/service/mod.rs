//! Requests to responses: an axum Router over any store. No sockets, no files, no SQL.
//!
//! Over classic addresses `read` and `write`; over `/kv` the verbs of `entry`, and of whole buckets `list` and `clear`;
//! `multi` and `txn` for many keys at once; `status`, `health`, `metrics`, `help`, `openapi` and `page`. Around them what
//! a request is made of (`route`, `form`, `body`, `fields`, `number`, `accept`, `condition`, `demand`, `dates`, `expiry`),
//! who may send it (`access`, `foreign`, `guard`, `policy`, `throttle`), how it is answered (`view`, `wait`, `media`, `meta`,
//! `reply`), where caches
//! may hold the answer (`address`), whether a door may give it again (`repeat`), and whose pages may read it (`cors`).
//! `counted` is the store. Only `reply` knows status codes.

mod accept;
mod access;
mod address;
mod body;
mod budget;
mod clear;
mod commit;
mod compose;
mod condition;
mod cors;
mod counted;
mod dates;
mod demand;
mod entry;
mod expiry;
mod fields;
mod foreign;
mod form;
mod guard;
mod health;
mod help;
mod list;
mod media;
mod meta;
mod metrics;
mod multi;
mod number;
mod openapi;
mod page;
mod policy;
mod read;
mod repeat;
mod reply;
mod route;
mod shares;
mod status;
mod throttle;
mod together;
mod txn;
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

pub use accept::accepts_problem;
pub use access::Access;
pub use address::addresses;
pub use budget::{Budget, LITTLE, Share};
pub use cors::{Cors, Origin};
pub use metrics::{Exposure, Metrics};
pub use policy::{Policies, Policy, Reads, Timestamps};
pub use repeat::Repeat;
pub use shares::{Shares, Taken};
pub use waiters::{Gate, Waiters};

use crate::model::{Bucket, Clock, Time};
use crate::store::Store;
use counted::Counted;
use form::Question;
use metrics::{Class, Tally};
use page::IndexPage;
use reply::Refusal;
use route::Route;
use status::Overview;
use throttle::Throttle;
use together::Together;

/// Who sent a request. The doors put it into the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The client's address, as the socket, the web server or a trusted proxy tells it.
    pub address: Option<IpAddr>,
}

/// What the service needs to know besides the store.
pub struct Settings {
    /// Told when the program is to stop: waiting reads are answered at once.
    pub stop: CancellationToken,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The largest value, in bytes.
    pub max_value: usize,
    /// The secrets, and what each allows.
    pub access: Access,
    /// What holds of each bucket.
    pub policies: Policies,
    /// Whose pages may read the answers.
    pub cors: Cors,
    /// How long and how many reads may wait.
    pub waiting: Waiting,
    /// The memory of all answers that are being sent, where the store does not hold it anyway.
    pub responses: Budget,
    /// What the process counts.
    pub metrics: Arc<Metrics>,
}

/// The bounds of waiting reads.
#[derive(Clone)]
pub struct Waiting {
    /// The longest wait of one.
    pub longest: Duration,
    /// How many may wait at once.
    pub waiters: Waiters,
}

/// What every request is answered from.
pub(crate) struct Service {
    store: Counted,
    settings: Settings,
    throttle: Throttle,
    page: IndexPage,
    overview: Overview,
    /// Lists that many wait for.
    together: Together,
}

/// The service over a store.
///
/// A request carries its raw path below the script's base path and its query exactly as sent, and a [`Caller`] among its
/// extensions; without one its address counts as unknown.
pub fn router(store: Arc<dyn Store>, settings: Settings) -> axum::Router {
    let throttle = Throttle::new(Arc::clone(&store), Arc::clone(&settings.clock), throttle::random);
    let store = Counted::new(store, Arc::clone(settings.metrics.counters()));
    let (page, overview, together) = (IndexPage::new(), Overview::default(), Together::default());
    let service = Service { store, settings, throttle, page, overview, together };
    // Paths are judged by `route`, not by axum, which would decode what must be refused.
    axum::Router::new().fallback(answer).with_state(Arc::new(service))
}

/// A request on its way through the service, without its body.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    service: &'a Service,
    parts: &'a Parts,
    question: Question<'a>,
    caller: Caller,
    tally: &'a Tally,
}

impl Asked<'_> {
    /// The largest value that the bucket takes, in bytes.
    fn most(&self, bucket: &Bucket) -> usize {
        let settings = &self.service.settings;
        settings.policies.of(bucket).max_value.map_or(settings.max_value, |most| most.min(settings.max_value))
    }

    /// The memory of answers, as far as this client may have it.
    fn responses(&self) -> Budget {
        self.service.settings.responses.of(self.caller.address)
    }

    /// The time.
    fn now(&self) -> Time {
        self.service.settings.clock.now()
    }
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let tally = Tally::begin(&request);
    let (mut parts, body) = request.into_parts();
    let from = cors::From::of(&parts.method, &parts.headers);
    // Before anything else, so that no answer depends on a secret that has no business there.
    let route = Question::new(parts.uri.query()).and_then(|question| Route::new(parts.uri.path(), question));
    let class = route.as_ref().map_or(Class::Other, Route::class);
    let done = match route {
        Ok(route) => dispatch(&service, &tally, (&mut parts, body), &route).await,
        Err(refusal) => Err(refusal),
    };
    let writes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
    let told = |refusal: Refusal| if writes { refusal.of_a_write() } else { refusal };
    let mut response = done.unwrap_or_else(|refusal| told(refusal).answer(&parts.headers));
    service.settings.cors.open(from, &mut response);
    service.settings.metrics.count(class, &parts.method, &tally, &response);
    log(&parts, &tally, &response);
    // An answer that is given again does not come by here, and whoever reads the log wants to see each request.
    if !tracing::enabled!(tracing::Level::DEBUG) {
        Repeat::offer(service, (class, parts.method), &mut response);
    }
    response
}

/// A line for each request, without what a client may have put a secret into: the query, the headers, the body.
fn log(parts: &Parts, tally: &Tally, response: &Response) {
    let client = parts.extensions.get::<Caller>().and_then(|caller| caller.address);
    let client = client.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    tracing::debug!(
        target: "kvs::request",
        "{} {} {} in {:.1?} for {client}",
        parts.method,
        parts.uri.path(),
        response.status().as_u16(),
        tally.age()
    );
}

async fn dispatch(
    service: &Service,
    tally: &Tally,
    (parts, body): (&mut Parts, Body),
    route: &Route,
) -> Result<Response, Refusal> {
    route::override_method(parts)?;
    let parts = &*parts;
    let question = Question::new(parts.uri.query())?;
    let caller = parts.extensions.get::<Caller>().copied().unwrap_or_default();
    let asked = Asked { service, parts, question, caller, tally };
    let method = &parts.method;
    let is_read = method == Method::GET || method == Method::HEAD;
    match route {
        Route::Metrics if service.settings.metrics.is_off() => Err(route::nothing()),
        route if method == Method::OPTIONS => Ok(reply::options(route.allow())),
        Route::Root if method == Method::POST => write::answer(asked, body).await,
        Route::Root if is_read && question.all("k").next().is_some() => read::answer(asked).await,
        Route::Root if is_read => Ok(service.page.answer(&parts.headers)),
        Route::Status if is_read => status::answer(service).await,
        Route::Help if is_read => Ok(help::answer()),
        Route::Live if is_read => Ok(health::live()),
        Route::Ready if is_read => health::ready(service).await,
        Route::Metrics if is_read => metrics::answer(asked).await,
        Route::OpenApi if is_read => Ok(openapi::answer()),
        Route::Bucket(bucket) if is_read => list::answer(asked, bucket).await,
        Route::Bucket(bucket) if method == Method::DELETE => clear::answer(asked, bucket, body).await,
        Route::Entry(bucket, key) if is_read => entry::get::answer(asked, (bucket, key)).await,
        Route::Entry(bucket, key) if method == Method::PUT => entry::put::answer(asked, (bucket, key), body).await,
        Route::Entry(bucket, key) if method == Method::POST => entry::post::answer(asked, (bucket, key), body).await,
        Route::Entry(bucket, key) if method == Method::DELETE => {
            entry::delete::answer(asked, (bucket, key), body).await
        }
        Route::Multi(bucket) if multi::knows(method) => multi::answer(asked, bucket, body).await,
        Route::Txn(bucket) if method == Method::POST => txn::answer(asked, bucket, body).await,
        route => Err(Refusal::method(route.allow())),
    }
}
