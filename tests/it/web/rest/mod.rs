//! The REST contract, on every kind of store, and races.

mod bodies;
mod changes;
mod errors;
mod expiry;
mod json_documents;
mod json_patches;
mod keys;
mod matrix;
mod meta;
mod multi;
mod old;
mod poky;
mod races;
mod rights;
mod scans;
mod transfers;
mod txn;
mod waiting;
mod writes;

use kvs::model::Time;

/// A time as an HTTP date.
fn date(time: Time) -> String {
    httpdate::fmt_http_date(time.into())
}
