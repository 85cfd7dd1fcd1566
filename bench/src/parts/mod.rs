//! What is measured, part by part. `bench/README.md` describes each.

mod apache;
mod cgi;
mod growth;
mod http;
mod library;
mod logs;
mod pgkv;
mod post;
mod start;
mod streams;

use crate::run::Run;

/// The name of a part, and what measures it.
type Part = (&'static str, fn(&mut Run));

/// The parts in the order of the table.
pub(crate) const PARTS: [Part; 10] = [
    ("http", http::measure),
    ("post", post::measure),
    ("cgi", cgi::measure),
    ("start", start::measure),
    ("apache", apache::measure),
    ("library", library::measure),
    ("pgkv", pgkv::measure),
    ("growth", growth::measure),
    ("logs", logs::measure),
    ("streams", streams::measure),
];
