//! Routing: the resource that the path of a request names, and the method of the request.
//!
//! A path is decoded once and never normalized. A path that a web server in front or a file system could understand
//! differently (`..`, `//`, control characters, an incomplete escape) is rejected, not corrected.

use http::Method;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::metrics::counters::Class;
use super::request::form;
use super::request::form::QueryString;
use super::response::api_error::ApiError;
use super::response::response::Cache;
use crate::model::{Bucket, Key};

/// The header that makes a POST another method.
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// The resource that a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// `/`: the classic form, and the index page.
    Root,
    /// `/status`.
    Status,
    /// `/help`.
    Help,
    /// `/livez`.
    Live,
    /// `/readyz`.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/openapi.json`.
    OpenApi,
    /// `/kv`.
    Buckets,
    /// `/kv/{bucket}`.
    Bucket(Bucket),
    /// `/kv/{bucket}/{key}`, or `/kv/{bucket}?key=KEY` for a key that cannot be written in a path.
    Entry(Bucket, Key),
    /// `/multi/{bucket}`.
    Multi(Bucket),
    /// `/txn/{bucket}`.
    Txn(Bucket),
    /// `/log`.
    LogBuckets,
    /// `/log/{bucket}`.
    Logs(Bucket),
    /// `/log/{bucket}/{key}`, or `/log/{bucket}?key=KEY`.
    Log(Bucket, Key),
    /// `/maintenance/{bucket}`.
    Maintenance(Bucket),
    /// `*`, the server as a whole, in `OPTIONS *`.
    Server,
}

impl Route {
    /// The methods of an entry, as the header Allow lists them.
    pub(crate) const ENTRY_METHODS: &str = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS";

    /// The route for the raw path of a request and, in a bucket, for `key` in the query.
    ///
    /// # Errors
    /// If the path is malformed or is not the path of a resource.
    pub(crate) fn new(path: &str, query: QueryString<'_>) -> Result<Self, ApiError> {
        if path == "*" {
            return Ok(Self::Server);
        }
        let Some(rest) = path.strip_prefix('/') else {
            return Err(ApiError::invalid("the path must begin with /"));
        };
        if rest.is_empty() {
            return Ok(Self::Root);
        }
        let rest = if matches!(rest, "kv/" | "log/") { rest.trim_end_matches('/') } else { rest };
        let (first, rest) = rest.split_once('/').map_or((rest, None), |(first, rest)| (first, Some(rest)));
        let first = decode(first)?;
        let Some(rest) = rest else {
            return match first.as_str() {
                "status" => Ok(Self::Status),
                "help" => Ok(Self::Help),
                "livez" => Ok(Self::Live),
                "readyz" => Ok(Self::Ready),
                "metrics" => Ok(Self::Metrics),
                "openapi.json" => Ok(Self::OpenApi),
                "kv" => Ok(Self::Buckets),
                "log" => Ok(Self::LogBuckets),
                _ => Err(not_found()),
            };
        };
        // One slash after a bucket does not begin a segment.
        let (second, third) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.is_empty() {
            return Err(not_found());
        }
        let second = decode(second)?;
        let third = if third.is_empty() { None } else { Some(decode(third)?) };
        match (first.as_str(), third) {
            ("kv", key) => Ok(match entry_key(key, query)? {
                Some(key) => Self::Entry(bucket(&second)?, key),
                None => Self::Bucket(bucket(&second)?),
            }),
            ("log", key) => Ok(match entry_key(key, query)? {
                Some(key) => Self::Log(bucket(&second)?, key),
                None => Self::Logs(bucket(&second)?),
            }),
            ("multi", None) => Ok(Self::Multi(bucket_or_records(&second)?)),
            ("txn", None) => Ok(Self::Txn(bucket_or_records(&second)?)),
            ("maintenance", None) => Ok(Self::Maintenance(bucket(&second)?)),
            _ => Err(not_found()),
        }
    }

    /// The methods of this route, as `Allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Root | Self::Server => "GET, HEAD, POST, OPTIONS",
            Self::Status | Self::Help | Self::Live | Self::Ready | Self::Metrics | Self::OpenApi => {
                "GET, HEAD, OPTIONS"
            }
            Self::Buckets | Self::LogBuckets | Self::Logs(_) => "GET, HEAD, OPTIONS",
            Self::Bucket(_) => "GET, HEAD, POST, DELETE, OPTIONS",
            Self::Entry(..) => Self::ENTRY_METHODS,
            Self::Multi(_) => "POST, PUT, DELETE, OPTIONS",
            Self::Txn(_) | Self::Maintenance(_) => "POST, OPTIONS",
            Self::Log(..) => "GET, HEAD, POST, DELETE, OPTIONS",
        }
    }

    /// The class under which the metrics count its requests.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Root => Class::Root,
            Self::Status => Class::Status,
            Self::Help => Class::Help,
            Self::Live | Self::Ready => Class::Health,
            Self::Metrics => Class::Metrics,
            Self::OpenApi => Class::OpenApi,
            Self::Buckets | Self::Bucket(_) => Class::Bucket,
            Self::Entry(..) => Class::Entry,
            Self::Multi(_) => Class::Multi,
            Self::Txn(_) => Class::Txn,
            Self::LogBuckets | Self::Logs(_) | Self::Log(..) => Class::Log,
            Self::Maintenance(_) | Self::Server => Class::Other,
        }
    }
}

/// The key in the path or in `?key=`.
fn entry_key(in_path: Option<String>, query: QueryString<'_>) -> Result<Option<Key>, ApiError> {
    match (in_path, query.all("key").last()) {
        (None, None) => Ok(None),
        (None, Some(key)) => Ok(Some(key.key()?)),
        (Some(key), None) => Ok(Some(Key::new(&key)?)),
        (Some(_), Some(_)) => {
            Err(ApiError::invalid("the URL has a key in its path and another one in ?key=; send only one"))
        }
    }
}

/// The bucket in `?bucket=`, for the requests whose path names none.
///
/// # Errors
/// If the name is not valid, or is that of a reserved bucket.
pub(crate) fn bucket_in_query(query: QueryString<'_>) -> Result<Bucket, ApiError> {
    let bucket = query.text("bucket")?.map_or_else(|| Ok(Bucket::default()), |name| Bucket::new(&name))?;
    if bucket.is_reserved() {
        let text = "buckets that begin with _kvs belong to kvs; name another one in ?bucket=";
        return Err(ApiError::not_found(text, Cache::Never));
    }
    Ok(bucket)
}

/// The bucket of that name, which may be the one of [`Bucket::COPY_RECORDS`].
fn bucket_or_records(name: &str) -> Result<Bucket, ApiError> {
    if name == Bucket::COPY_RECORDS { Ok(Bucket::new(name)?) } else { bucket(name) }
}

/// The bucket of that name. Reserved buckets do not exist for clients.
fn bucket(name: &str) -> Result<Bucket, ApiError> {
    match Bucket::new(name)? {
        bucket if bucket.is_reserved() => Err(not_found()),
        bucket => Ok(bucket),
    }
}

/// The method of a request. A POST may name another one in `X-HTTP-Method-Override`, because many shared hosts allow
/// only GET and POST.
///
/// # Errors
/// If a POST names any other method.
pub(crate) fn method(parts: &Parts) -> Result<Method, ApiError> {
    if parts.method != Method::POST {
        return Ok(parts.method.clone());
    }
    let mut names = parts.headers.get_all(METHOD_OVERRIDE).iter();
    let Some(name) = names.next() else { return Ok(Method::POST) };
    match (name.as_bytes().to_ascii_uppercase().as_slice(), names.next()) {
        (b"PUT", None) => Ok(Method::PUT),
        (b"DELETE", None) => Ok(Method::DELETE),
        (b"PATCH", None) => Ok(Method::PATCH),
        (b"POST", None) => Ok(Method::POST),
        _ => Err(ApiError::invalid("X-HTTP-Method-Override must occur once and be PUT, DELETE, PATCH or POST")),
    }
}

/// The 404 for a path without a resource.
pub(crate) fn not_found() -> ApiError {
    ApiError::not_found("there is nothing at this path; GET /help lists the paths", Cache::Revalidate)
}

/// A part of a path, decoded once. A slash may be written as `%2F`; the segments around it are checked in the same way.
fn decode(encoded: &str) -> Result<String, ApiError> {
    if !form::is_well_formed(encoded.as_bytes()) {
        return Err(ApiError::invalid("the path contains a % without two hexadecimal digits; write %25 for %"));
    }
    let Ok(text) = percent_decode_str(encoded).decode_utf8() else {
        return Err(ApiError::invalid("the path is not UTF-8"));
    };
    if text.chars().any(char::is_control) {
        return Err(ApiError::invalid("the path contains a control character"));
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(ApiError::invalid("the path contains an empty segment, '.' or '..'; send such a key as ?key=KEY"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(url: &str) -> Result<Route, ApiError> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Route::new(path, QueryString::new(Some(query))?)
    }

    fn status(path: &str) -> u16 {
        match route(path) {
            Ok(_) => 200,
            Err(error) => error.response(&http::HeaderMap::new()).status().as_u16(),
        }
    }

    #[test]
    fn paths_name_their_routes() {
        let bucket = |name| Route::Bucket(Bucket::new(name).unwrap());
        assert_eq!(route("/").unwrap(), Route::Root);
        assert_eq!(route("/status").unwrap(), Route::Status);
        assert_eq!(route("/st%61tus").unwrap(), Route::Status);
        assert_eq!(route("/openapi.json").unwrap(), Route::OpenApi);
        assert_eq!(route("/kv/default").unwrap(), bucket("default"));
        assert_eq!(route("/kv/default/").unwrap(), bucket("default"));
        assert_eq!(route("/multi/default/").unwrap(), Route::Multi(Bucket::default()));
        assert_eq!(route("/txn/default?key=a").unwrap(), Route::Txn(Bucket::default()));
        assert_eq!(route("*").unwrap(), Route::Server);
        for (url, expected) in [("/kv", Route::Buckets), ("/kv/", Route::Buckets), ("/log?x", Route::LogBuckets)] {
            assert_eq!(route(url).unwrap(), expected);
        }
        let records = Bucket::new(Bucket::COPY_RECORDS).unwrap();
        assert_eq!(route("/txn/_kvs.copy").unwrap(), Route::Txn(records));
        assert_eq!(route("/maintenance/default").unwrap(), Route::Maintenance(Bucket::default()));
    }

    #[test]
    fn key_is_the_rest_of_the_path_or_the_query() {
        for (url, key) in [
            ("/kv/default/a", "a"),
            ("/kv/default/a/b", "a/b"),
            ("/kv/default/a%2Fb%252F", "a/b%2F"),
            ("/kv/default/%C3%A4%20+", "ä +"),
            ("/kv/default/a...", "a..."),
            ("/kv/default?key=a%2F%2F..+b", "a//.. b"),
            ("/kv/default/?key=/&_=1", "/"),
        ] {
            assert_eq!(route(url).unwrap(), Route::Entry(Bucket::default(), Key::new(key).unwrap()), "{url}");
        }
    }

    #[test]
    fn post_can_name_another_method() {
        let method = |method: &str, header: &str| {
            let request = http::Request::builder().method(method).header(METHOD_OVERRIDE, header).body(()).unwrap();
            self::method(&request.into_parts().0)
        };
        assert_eq!(method("POST", "PUT").unwrap(), Method::PUT);
        assert_eq!(method("POST", "delete").unwrap(), Method::DELETE);
        assert_eq!(method("GET", "DELETE").unwrap(), Method::GET);
        assert!(method("POST", "GET").is_err() && method("POST", "").is_err() && method("POST", "PUT, PUT").is_err());
    }

    #[test]
    fn malformed_paths_are_400() {
        for path in [
            "//",
            "/kv//",
            "/kv//default",
            "/./",
            "/../etc",
            "/kv/..",
            "/kv/%2e%2e",
            "/kv/a%2F..%2Fb",
            "/%2F",
            "/kv/%2Fa",
            "/%zz",
            "/%",
            "/%4",
            "/%ff",
            "/%00",
            "/%0a",
            "/%C2%85",
            "/%7f",
            "status",
            "",
            "/kv/a%20b",
            "/kv/default//",
            "/kv/default/a/",
            "/kv/default/a//b",
            "/kv/default/a/../b",
            "/kv/default/%2e%2e",
            "/kv/default/a%2F%2Fb",
            "/kv/default/%zz",
            "/kv/default/%ff",
            "/kv/default/a%0Ab",
            "/kv/default/%C2%85",
            "/kv/default/a?key=a",
            "/kv/default?key=",
            "/kv/default?key=..",
            "/kv/default?key=%0a",
            "/multi/a%20b",
        ] {
            assert_eq!(status(path), 400, "{path}");
        }
    }

    #[test]
    fn unknown_paths_are_404() {
        for path in [
            "/x",
            "/status/",
            "/livez/",
            "/openapi",
            "/status/x",
            "/kv/_kvs.throttle",
            "/kv/_kvs.throttle/a",
            "/kv/_kvs.copy",
            "/multi/_kvs.throttle",
            "/maintenance",
            "/maintenance/_kvs.copy",
            "/kv%2Fdefault",
            "/multi",
            "/multi/",
            "/multi/default/a",
            "/txn/_kvs.x",
        ] {
            assert_eq!(status(path), 404, "{path}");
        }
    }
}
