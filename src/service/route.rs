//! The path of a request: what it names, decoded once, never resolved against anything.
//!
//! A path that could mean something else to a web server before us or to a file system (`..`, `//`, control
//! characters, half an escape) is refused rather than mended.

use http::Method;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::form::{self, Question};
use super::metrics::Class;
use super::reply::{Cache, Refusal};
use crate::model::{Bucket, Key};

/// The header by which a POST stands for another method.
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// What a path names.
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
    /// `/kv/{bucket}`.
    Bucket(Bucket),
    /// `/kv/{bucket}/{key}`, or `/kv/{bucket}?key=KEY` for a key that a path cannot carry.
    Entry(Bucket, Key),
    /// `/multi/{bucket}`.
    Multi(Bucket),
    /// `/txn/{bucket}`.
    Txn(Bucket),
    /// `*`, the server as a whole, which `OPTIONS` may ask about.
    Server,
}

impl Route {
    /// What the raw path of a request names, and in a bucket the question.
    ///
    /// # Errors
    /// A path that is malformed, or that names nothing.
    pub(crate) fn new(path: &str, question: Question<'_>) -> Result<Self, Refusal> {
        if path == "*" {
            return Ok(Self::Server);
        }
        let Some(rest) = path.strip_prefix('/') else {
            return Err(Refusal::invalid("a path begins with /"));
        };
        if rest.is_empty() {
            return Ok(Self::Root);
        }
        let (first, rest) = rest.split_once('/').map_or((rest, None), |(first, rest)| (first, Some(rest)));
        let first = decoded(first)?;
        let Some(rest) = rest else {
            return match first.as_str() {
                "status" => Ok(Self::Status),
                "help" => Ok(Self::Help),
                "livez" => Ok(Self::Live),
                "readyz" => Ok(Self::Ready),
                "metrics" => Ok(Self::Metrics),
                "openapi.json" => Ok(Self::OpenApi),
                _ => Err(nothing()),
            };
        };
        let (second, behind) = rest.split_once('/').unwrap_or((rest, ""));
        // One slash behind a bucket is no segment.
        if rest.is_empty() {
            return Err(nothing());
        }
        let second = decoded(second)?;
        let behind = if behind.is_empty() { None } else { Some(decoded(behind)?) };
        match (first.as_str(), behind) {
            ("kv", None) => match question.all("key").last() {
                Some(key) => Ok(Self::Entry(bucket(&second)?, key.key()?)),
                None => Ok(Self::Bucket(bucket(&second)?)),
            },
            ("kv", Some(key)) if question.all("key").next().is_none() => {
                Ok(Self::Entry(bucket(&second)?, Key::new(&key)?))
            }
            ("kv", Some(_)) => Err(Refusal::invalid("the address names a key in its path and another as ?key=")),
            ("multi", None) => Ok(Self::Multi(bucket(&second)?)),
            ("txn", None) => Ok(Self::Txn(bucket(&second)?)),
            _ => Err(nothing()),
        }
    }

    /// The methods it knows, as `Allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Root | Self::Server => "GET, HEAD, POST, OPTIONS",
            Self::Status | Self::Help | Self::Live | Self::Ready | Self::Metrics | Self::OpenApi => {
                "GET, HEAD, OPTIONS"
            }
            Self::Bucket(_) => "GET, HEAD, DELETE, OPTIONS",
            Self::Entry(..) => "GET, HEAD, PUT, POST, DELETE, OPTIONS",
            Self::Multi(_) => "POST, PUT, DELETE, OPTIONS",
            Self::Txn(_) => "POST, OPTIONS",
        }
    }

    /// As what requests to it are counted.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Root => Class::Root,
            Self::Status => Class::Status,
            Self::Help => Class::Help,
            Self::Live | Self::Ready => Class::Health,
            Self::Metrics => Class::Metrics,
            Self::OpenApi => Class::OpenApi,
            Self::Bucket(_) => Class::Bucket,
            Self::Entry(..) => Class::Entry,
            Self::Multi(_) => Class::Multi,
            Self::Txn(_) => Class::Txn,
            Self::Server => Class::Other,
        }
    }
}

/// The bucket of that name, if clients may see it.
fn bucket(name: &str) -> Result<Bucket, Refusal> {
    match Bucket::new(name)? {
        bucket if bucket.is_reserved() => Err(nothing()),
        bucket => Ok(bucket),
    }
}

/// Takes the method that a POST says it stands for: shared hosts let nothing but GET and POST through.
///
/// # Errors
/// One that a POST may not stand for.
pub(crate) fn override_method(parts: &mut Parts) -> Result<(), Refusal> {
    if parts.method != Method::POST {
        return Ok(());
    }
    let mut given = parts.headers.get_all(METHOD_OVERRIDE).iter();
    let Some(name) = given.next() else { return Ok(()) };
    parts.method = match (name.as_bytes().to_ascii_uppercase().as_slice(), given.next()) {
        (b"PUT", None) => Method::PUT,
        (b"DELETE", None) => Method::DELETE,
        (b"PATCH", None) => Method::PATCH,
        (b"POST", None) => Method::POST,
        _ => return Err(Refusal::invalid("X-HTTP-Method-Override is PUT, DELETE or PATCH, on a POST")),
    };
    Ok(())
}

/// That there is nothing at a path.
pub(crate) fn nothing() -> Refusal {
    Refusal::missing("there is nothing at this path", Cache::Revalidate)
}

/// Part of a path, decoded once. A slash may have come as `%2F`; what stands around it is judged the same.
fn decoded(encoded: &str) -> Result<String, Refusal> {
    if !form::is_well_formed(encoded.as_bytes()) {
        return Err(Refusal::invalid("the path holds a % without two hexadecimal digits; write %25"));
    }
    let Ok(text) = percent_decode_str(encoded).decode_utf8() else {
        return Err(Refusal::invalid("the path is not UTF-8"));
    };
    if text.chars().any(char::is_control) {
        return Err(Refusal::invalid("the path holds a control character"));
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Refusal::invalid("the path holds an empty segment, '.' or '..'"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(address: &str) -> Result<Route, Refusal> {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        Route::new(path, Question::new(Some(query))?)
    }

    fn status(path: &str) -> u16 {
        match route(path) {
            Ok(_) => 200,
            Err(refusal) => refusal.answer(&http::HeaderMap::new()).status().as_u16(),
        }
    }

    #[test]
    fn what_a_path_names() {
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
    }

    #[test]
    fn a_key_is_all_that_follows_or_the_question() {
        for (address, key) in [
            ("/kv/default/a", "a"),
            ("/kv/default/a/b", "a/b"),
            ("/kv/default/a%2Fb%252F", "a/b%2F"),
            ("/kv/default/%C3%A4%20+", "ä +"),
            ("/kv/default/a...", "a..."),
            ("/kv/default?key=a%2F%2F..+b", "a//.. b"),
            ("/kv/default/?key=/&_=1", "/"),
        ] {
            assert_eq!(route(address).unwrap(), Route::Entry(Bucket::default(), Key::new(key).unwrap()), "{address}");
        }
    }

    #[test]
    fn a_post_may_stand_for_another_method() {
        let method = |method: &str, header: &str| {
            let request = http::Request::builder().method(method).header(METHOD_OVERRIDE, header).body(()).unwrap();
            let mut parts = request.into_parts().0;
            override_method(&mut parts).map(|()| parts.method)
        };
        assert_eq!(method("POST", "PUT").unwrap(), Method::PUT);
        assert_eq!(method("POST", "delete").unwrap(), Method::DELETE);
        assert_eq!(method("GET", "DELETE").unwrap(), Method::GET);
        assert!(method("POST", "GET").is_err() && method("POST", "").is_err() && method("POST", "PUT, PUT").is_err());
    }

    #[test]
    fn what_is_malformed_is_refused() {
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
    fn what_is_not_there_is_missing() {
        for path in [
            "/x",
            "/kv",
            "/kv/",
            "/status/",
            "/livez/",
            "/openapi",
            "/status/x",
            "/kv/_kvs.throttle",
            "/kv/_kvs.throttle/a",
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
