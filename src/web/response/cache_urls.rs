//! The URLs under which shared caches may keep a key. They are purged when the key changes.
//!
//! Reads and purges use the same list, so a cache never keeps a response that is not purged. A URL has more spellings
//! than this list can contain (`%61` for `a`). Caches may keep only the spellings in this list.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::response::Cache;
use crate::model::{Bucket, Key};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::read::long_poll;

/// All characters except the unreserved ones of RFC 3986, section 2.3, and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The URLs of a key that shared caches may keep, relative to the base path: `/kv/BUCKET/KEY`, and in the bucket
/// `default` also `/?k=KEY`. Letters, digits and `-._~/` are written literally, all other bytes as `%XX` in upper case.
///
/// A key that cannot be written in a path (`a//b`) has no URL of the first kind. A key with a comma has none of the
/// second.
pub fn cache_urls(bucket: &Bucket, key: &Key) -> Vec<String> {
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

/// The cache policy for a read of one key. If `cache` allows it, the request is not a long poll, and its URL is one of
/// [`cache_urls`], shared caches may keep the response for the `max_age` of the bucket. Otherwise it is `cache`.
pub(crate) fn shared_cache_policy(ctx: RequestContext<'_>, name: EntryName<'_>, cache: Cache) -> Cache {
    let max_age = ctx.state.settings.policies.for_bucket(name.bucket).max_age;
    let (Cache::Revalidate, Some(max_age)) = (cache, max_age) else { return cache };
    let target = ctx.parts.uri.path_and_query().map_or("", |target| target.as_str());
    let is_long_poll = !matches!(long_poll::parse(ctx.parts, ctx.query), Ok(None));
    if is_long_poll || !cache_urls(name.bucket, name.key).iter().any(|url| url == target) {
        return cache;
    }
    Cache::Shared(max_age.as_secs()).until(Some(max_age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::request::form::QueryString;
    use crate::web::route::Route;

    fn urls(bucket: &str, key: &str) -> Vec<String> {
        cache_urls(&Bucket::new(bucket).unwrap(), &Key::new(key).unwrap())
    }

    #[test]
    fn key_has_one_url_of_each_kind() {
        assert_eq!(urls("default", "kitchen/temp"), ["/kv/default/kitchen/temp", "/?k=kitchen/temp"]);
        assert_eq!(urls("a.b-c_d", "a-._~"), ["/kv/a.b-c_d/a-._~"]);
        assert_eq!(
            urls("default", "ä %2f+?#&=;"),
            ["%C3%A4%20%252f%2B%3F%23%26%3D%3B"]
                .iter()
                .flat_map(|k| [format!("/kv/default/{k}"), format!("/?k={k}")])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn key_has_no_url_that_cannot_contain_it() {
        assert_eq!(urls("default", "a,b"), ["/kv/default/a%2Cb"]);
        for key in ["/a", "a/", "a//b", "a/./b", "a/.."] {
            assert_eq!(urls("default", key), [format!("/?k={key}")], "{key}");
            assert!(urls("other", key).is_empty(), "{key}");
        }
    }

    #[test]
    fn url_is_routed_to_its_key() {
        for name in ["a", "a/b", "ä %41", "+", "a?k=b", "a#b", "🙂&", "a=b;c", "\"'<>\\^`{|}", "...", "%2e%2e/x", "a,b"]
        {
            let key = Key::new(name).unwrap();
            for bucket in [Bucket::default(), Bucket::new("b.c").unwrap()] {
                for url in cache_urls(&bucket, &key) {
                    let uri: http::Uri = url.parse().unwrap();
                    assert_eq!(uri.to_string(), url);
                    let query = QueryString::new(uri.query()).unwrap();
                    match Route::new(uri.path(), query).unwrap() {
                        Route::Entry(b, k) => assert_eq!((&b, &k), (&bucket, &key), "{url}"),
                        route => {
                            assert_eq!(route, Route::Root, "{url}");
                            assert_eq!(query.all("k").next().unwrap().text().unwrap(), name, "{url}");
                        }
                    }
                }
            }
        }
    }
}
