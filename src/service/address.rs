//! The addresses under which a cache may hold a key, and which are therefore purged when the key changes.
//!
//! Reader and purger ask here, so that no cache is told to keep what nobody will purge. A key can be asked for in more
//! spellings than can be listed (`%61` for `a`); only one of each kind is kept, and all others are asked for anew.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::reply::Cache;
use super::{Asked, wait};
use crate::model::{Bucket, Key};

/// All but the unreserved characters of RFC 3986, section 2.3, and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The addresses of a key that shared caches may keep, below the place where kvs is mounted: `/kv/BUCKET/KEY`, and
/// `/?k=KEY` in the bucket of the classic form. Letters, digits, `-._~/` stand for themselves, all else as `%XX` in
/// capitals.
///
/// A key that a path cannot carry (`a//b`) has no address of the first kind, one with a comma none of the second.
pub fn addresses(bucket: &Bucket, key: &Key) -> Vec<String> {
    let encoded = utf8_percent_encode(key.as_str(), ENCODED);
    let mut all = vec![];
    if !key.as_str().split('/').any(|part| matches!(part, "" | "." | "..")) {
        all.push(format!("/kv/{}/{encoded}", utf8_percent_encode(bucket.as_str(), ENCODED)));
    }
    if *bucket == Bucket::default() && !key.as_str().contains(',') {
        all.push(format!("/?k={encoded}"));
    }
    all
}

/// What caches may do with the answer to a read of that key, if `cache` is what its readers may: keep it for as long as
/// the policy of the bucket says, if it was asked for under one of its addresses and waits for nothing.
pub(crate) fn kept(asked: Asked<'_>, (bucket, key): (&Bucket, &Key), cache: Cache) -> Cache {
    let max_age = asked.service.settings.policies.of(bucket).max_age;
    let (Cache::Revalidate, Some(max_age)) = (cache, max_age) else { return cache };
    let target = asked.parts.uri.path_and_query().map_or("", |target| target.as_str());
    let waits = !matches!(wait::asked(asked.parts, asked.question), Ok(None));
    if waits || !addresses(bucket, key).iter().any(|address| address == target) {
        return cache;
    }
    Cache::Shared(max_age.as_secs()).until(Some(max_age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::super::form::Question;
    use super::super::route::Route;
    use super::*;

    fn of(bucket: &str, key: &str) -> Vec<String> {
        addresses(&Bucket::new(bucket).unwrap(), &Key::new(key).unwrap())
    }

    #[test]
    fn a_key_has_one_address_of_each_kind() {
        assert_eq!(of("default", "kitchen/temp"), ["/kv/default/kitchen/temp", "/?k=kitchen/temp"]);
        assert_eq!(of("a.b-c_d", "a-._~"), ["/kv/a.b-c_d/a-._~"]);
        assert_eq!(
            of("default", "ä %2f+?#&=;"),
            ["%C3%A4%20%252f%2B%3F%23%26%3D%3B"]
                .iter()
                .flat_map(|k| [format!("/kv/default/{k}"), format!("/?k={k}")])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_an_address_cannot_carry_has_none() {
        assert_eq!(of("default", "a,b"), ["/kv/default/a%2Cb"]);
        for key in ["/a", "a/", "a//b", "a/./b", "a/.."] {
            assert_eq!(of("default", key), [format!("/?k={key}")], "{key}");
            assert!(of("other", key).is_empty(), "{key}");
        }
    }

    #[test]
    fn an_address_leads_back_to_its_key() {
        for name in ["a", "a/b", "ä %41", "+", "a?k=b", "a#b", "🙂&", "a=b;c", "\"'<>\\^`{|}", "...", "%2e%2e/x", "a,b"]
        {
            let key = Key::new(name).unwrap();
            for bucket in [Bucket::default(), Bucket::new("b.c").unwrap()] {
                for address in addresses(&bucket, &key) {
                    let uri: http::Uri = address.parse().unwrap();
                    assert_eq!(uri.to_string(), address);
                    let question = Question::new(uri.query()).unwrap();
                    match Route::new(uri.path(), question).unwrap() {
                        Route::Entry(b, k) => assert_eq!((&b, &k), (&bucket, &key), "{address}"),
                        route => {
                            assert_eq!(route, Route::Root, "{address}");
                            assert_eq!(question.all("k").next().unwrap().text().unwrap(), name, "{address}");
                        }
                    }
                }
            }
        }
    }
}
