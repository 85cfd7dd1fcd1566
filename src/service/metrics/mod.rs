//! `GET /metrics`: what this process has counted, as Prometheus reads it (OpenMetrics text).
//!
//! Counting costs a request two looks at the clock and some atomic additions: no lock, no allocation, no search by name.
//! No label holds anything that a client chose: neither keys nor buckets, paths, secrets or addresses. The numbers are
//! those of one process, from its start.

mod counters;
mod exposition;
mod histogram;
mod tally;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use counters::{Class, Counters, add};
pub(crate) use tally::Tally;

use super::access::Right;
use super::guard::{self, Secrets};
use super::reply::{self, Cache, Refusal};
use super::{Asked, Service};
use crate::model::{Bucket, Error, Kind, Time};

/// The media type of the text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Who may see the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Exposure {
    /// Everybody.
    #[default]
    Open,
    /// Who has a secret with the right to read the bucket `default`.
    Secret,
    /// Nobody: there is nothing at `/metrics`.
    Off,
}

impl FromStr for Exposure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "open" => Ok(Self::Open),
            "secret" => Ok(Self::Secret),
            "off" => Ok(Self::Off),
            _ => Err(Error::new(Kind::Invalid, format!("bad value {text:?}: write open, secret or off"))),
        }
    }
}

/// The counters of a process, and what else it is to tell.
///
/// One for each process, not for each router: the numbers go on when a router is made anew.
#[derive(Debug)]
pub struct Metrics {
    exposure: Exposure,
    process: Option<u32>,
    registry: Registry,
    counters: Arc<Counters>,
}

impl Default for Metrics {
    /// Open to everybody, of the only process, which started whenever time began.
    fn default() -> Self {
        Self::new(Exposure::default(), None, Time::default())
    }
}

impl Metrics {
    /// Counters at zero. `process` labels every number with `process="ID"`: where a web server starts several processes,
    /// each request may meet another one, and their numbers must not be taken for each other's.
    #[must_use]
    pub fn new(exposure: Exposure, process: Option<u32>, started: Time) -> Self {
        let mut registry = Registry::with_labels(labels(process).into_iter());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("kvs_build", "The program that runs", version);
        let since = started.since(Time::default()).as_secs_f64();
        let help = "When the process started, in seconds since 1970";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, ConstGauge::new(since));
        let counters = Arc::new(Counters::default());
        registry.register_collector(Box::new(Arc::clone(&counters)));
        Self { exposure, process, registry, counters }
    }

    /// Takes further numbers to tell, before serving begins. Their names get `kvs_` in front; their labels hold nothing
    /// that a client chose.
    pub fn registry(&mut self) -> &mut Registry {
        self.registry.sub_registry_with_prefix("kvs")
    }

    /// What is counted.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Whether there is anything to see.
    pub(crate) fn is_off(&self) -> bool {
        self.exposure == Exposure::Off
    }

    /// Counts an answer.
    pub(crate) fn count(&self, class: Class, method: &Method, tally: &Tally, response: &Response) {
        self.counters.count((class, method, response.status().as_u16()), tally, sent(method, response));
    }

    /// The text, with what is read off only now.
    fn text(&self, service: &Service) -> Result<String, fmt::Error> {
        let mut now = Registry::with_labels(labels(self.process).into_iter());
        let waiters = &service.settings.waiting.waiters;
        let gauge = |number: usize| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
        now.register("kvs_waiters", "Reads that are held at this moment", gauge(waiters.taken()));
        now.register("kvs_waiters_max", "How many reads may be held at once", gauge(waiters.most()));
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        text::encode_registry(&mut out, &now)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// How long the body of this answer is on its way to the client, if that is known.
pub(crate) fn sent(method: &Method, response: &Response) -> u64 {
    let has_body = method != Method::HEAD;
    response.body().size_hint().exact().filter(|_| has_body).unwrap_or(0)
}

/// What stands on every number.
fn labels(process: Option<u32>) -> Option<(Cow<'static, str>, Cow<'static, str>)> {
    process.map(|id| ("process".into(), id.to_string().into()))
}

/// Answers `GET /metrics`.
pub(crate) async fn answer(asked: Asked<'_>) -> Result<Response, Refusal> {
    let metrics = &asked.service.settings.metrics;
    if metrics.exposure == Exposure::Secret {
        let secrets = Secrets::in_headers(&asked.parts.headers);
        guard::admit(asked, &secrets, (Right::Read, &Bucket::default())).await?;
    }
    let text =
        metrics.text(asked.service).map_err(|error| Refusal::internal(&format!("writing the metrics: {error}")))?;
    let what = [(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))];
    Ok(reply::bytes(Bytes::from(text), Cache::Never, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_see_them_is_open_secret_or_off() {
        assert_eq!("secret".parse::<Exposure>().unwrap(), Exposure::Secret);
        assert_eq!("off".parse::<Exposure>().unwrap(), Exposure::Off);
        assert_eq!("open".parse::<Exposure>().unwrap(), Exposure::default());
        assert!("closed".parse::<Exposure>().unwrap_err().to_string().contains("open, secret or off"));
    }

    #[test]
    fn further_numbers_are_told_with_the_label_of_the_process() {
        let mut metrics = Metrics::new(Exposure::Open, Some(7), Time::from_secs(12));
        metrics.registry().register("things", "Things", ConstGauge::new(3_i64));
        let mut out = String::new();
        text::encode(&mut out, &metrics.registry).unwrap();
        assert!(out.contains("kvs_things{process=\"7\"} 3\n"), "{out}");
        assert!(out.contains("process_start_time_seconds{process=\"7\"} 12.0\n"), "{out}");
    }
}
