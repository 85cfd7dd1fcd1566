//! The requests for keys and for lists, within the limits of web servers.

use http::Method;

use super::address::encoded;
use super::exchange::RemoteRequest;
use crate::model::{Bucket, Key, Projection, Scan};
use crate::store::BatchLimits;

/// Longer parameters are not sent in a URL. Each byte may become three.
const MAX_URL_BYTES: usize = 2000;
/// The most keys of a request, and the most bytes in them: `mod_fcgid` accepts 128 KiB by default.
const KEYS_OF_A_REQUEST: BatchLimits = BatchLimits { keys: 1000, bytes: 64 << 10 };
/// The most entries of a page of the server.
const MAX_PAGE: usize = 1000;

/// Splits keys into those of one request each. Without keys there is one request too.
pub(super) fn parts(keys: &[Key]) -> impl Iterator<Item = &[Key]> {
    let none = keys.is_empty().then_some(keys);
    none.into_iter().chain(KEYS_OF_A_REQUEST.split(keys, |key| key.as_str().len()))
}

/// The request for a list. Web servers limit the length of a URL (Apache: 8,190 bytes), but not that of a form.
pub(super) fn list(bucket: &Bucket, query: &Scan) -> RemoteRequest<'static> {
    let (path, parameters) = (format!("kv/{bucket}"), parameters(query));
    if parameters.iter().map(|(_, value)| value.len()).sum::<usize>() <= MAX_URL_BYTES {
        return RemoteRequest::get(path, parameters);
    }
    let form = encoded(&parameters);
    RemoteRequest::read(Method::POST, path, vec![]).with_body("application/x-www-form-urlencoded", form)
}

/// A bound that selects the same keys: it is longer than every key, or whole.
fn shortened(bound: &str) -> &str {
    let end = (Key::MAX_BYTES + 1..bound.len()).find(|end| bound.is_char_boundary(*end));
    end.and_then(|end| bound.get(..end)).unwrap_or(bound)
}

/// The parameters of a list.
fn parameters(query: &Scan) -> Vec<(&'static str, String)> {
    let mut out = vec![("limit", query.limit.clamp(1, MAX_PAGE).to_string())];
    if !query.prefix.is_empty() {
        out.push(("prefix", shortened(&query.prefix).to_owned()));
    }
    for (name, bound) in [("start", &query.start), ("end", &query.end), ("after", &query.after)] {
        out.extend(bound.as_deref().map(|bound| (name, shortened(bound).to_owned())));
    }
    if query.reverse {
        out.push(("reverse", "1".to_owned()));
    }
    match query.projection {
        Projection::Entries => {}
        Projection::Keys => out.push(("keys", "1".to_owned())),
        Projection::Count => out.push(("count", "1".to_owned())),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_split_by_number_and_length() {
        let keys = |count: usize, length: usize| vec![Key::new(&"k".repeat(length)).unwrap(); count];
        let sizes = |keys: Vec<Key>| parts(&keys).map(<[Key]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![]), [0]);
        assert_eq!(sizes(keys(2500, 5)), [1000, 1000, 500]);
        assert_eq!(sizes(keys(100, 1024)), [64, 36]);
    }

    #[test]
    fn long_bounds_are_shortened_behind_every_key() {
        let long = "\u{e9}".repeat(600);
        let short = shortened(&long);
        assert!(short.len() > Key::MAX_BYTES && short.len() < long.len() && long.starts_with(short));
        assert_eq!(shortened("kitchen/"), "kitchen/");
    }
}
