//! The exposition of the counters: names, units, labels and help texts. Classes of requests that
//! nobody has sent are left out.

use std::fmt::Result;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType::{Counter, Histogram};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit::{Bytes, Seconds};

use super::counters::{CLASSES, Cell, Counters, KINDS, METHODS, STATUSES, WAIT_BOUNDS_NANOS};
use super::histogram;
use super::histogram::NANOS;
use crate::store::DURATION_BOUNDS;

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result {
        let encoder = &mut encoder;
        requests(encoder, self)?;
        durations(encoder, self)?;
        let help = "How long long polls waited";
        let metric = encoder.encode_descriptor("kvs_wait_duration", help, Some(&Seconds), Histogram)?;
        histogram::encode(&self.waited, &WAIT_BOUNDS_NANOS, NANOS, metric)?;
        let store = &self.store;
        for (name, help, counter) in [
            (
                "kvs_long_polls_rejected",
                "Long polls that could not wait because too many were waiting",
                &self.long_polls_rejected,
            ),
            ("kvs_auth_failures", "Requests with a wrong secret", &self.wrong_secrets),
            (
                "kvs_auth_throttled",
                "Requests that were rejected because their client had sent too many wrong secrets",
                &self.rejected_during_pause,
            ),
            ("kvs_store_reads", "Reads of the store", &store.reads),
            ("kvs_store_commits", "Batches sent to the store", &store.commits),
            ("kvs_store_writes", "Writes in those batches", &store.writes),
        ] {
            ConstCounter::new(load(counter)).encode(encoder.encode_descriptor(name, help, None, Counter)?)?;
        }
        for (name, help, counter) in [
            ("kvs_request_body", "Bytes of request bodies", &self.received),
            ("kvs_response_body", "Bytes of response bodies", &self.sent),
        ] {
            ConstCounter::new(load(counter)).encode(encoder.encode_descriptor(name, help, Some(&Bytes), Counter)?)?;
        }
        let mut family = encoder.encode_descriptor("kvs_store_errors", "Errors of the store", None, Counter)?;
        for ((_, kind), counter) in KINDS.iter().zip(&store.errors) {
            ConstCounter::new(load(counter)).encode(family.encode_family(&[("kind", *kind)])?)?;
        }
        Ok(())
    }
}

pub(crate) fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The cells of all classes and methods that were requested.
fn cells(counters: &Counters) -> impl Iterator<Item = (&'static str, &'static str, &Cell)> {
    let rows = CLASSES.iter().zip(counters.requests.iter());
    let cells =
        rows.flat_map(|((_, class), row)| METHODS.iter().zip(row).map(|(method, cell)| (*class, *method, cell)));
    cells.filter(|(.., cell)| !cell.spent.is_empty())
}

fn requests(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> Result {
    let mut family = encoder.encode_descriptor("kvs_requests", "Requests", None, Counter)?;
    for (route, method, cell) in cells(counters) {
        let names = STATUSES.iter().map(ToString::to_string).chain(["other".to_owned()]);
        for (status, counter) in names.zip(&cell.statuses).filter(|(_, counter)| load(counter) > 0) {
            let labels = [("route", route), ("method", method), ("status", &status)];
            ConstCounter::new(load(counter)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn durations(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> Result {
    let help = "Time spent on requests, without the time that long polls waited or bodies were received";
    let mut family = encoder.encode_descriptor("kvs_request_duration", help, Some(&Seconds), Histogram)?;
    for (route, method, cell) in cells(counters) {
        let labels = [("route", route), ("method", method)];
        histogram::encode(&cell.spent, &DURATION_BOUNDS, NANOS, family.encode_family(&labels)?)?;
    }
    Ok(())
}
