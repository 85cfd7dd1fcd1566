//! The path of a request: what it names, decoded once, never resolved against anything.
//!
//! A path that could mean something else to a web server before us or to a file system (`..`, `//`, control
//! characters, half an escape) is refused rather than mended.

use percent_encoding::percent_decode_str;

use super::form;
use super::reply::{Cache, Refusal};
use crate::model::Bucket;

/// What a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// `/`: the classic form, and the index page.
    Root,
    /// `/status`.
    Status,
    /// `/kv/{bucket}`.
    Bucket(Bucket),
    /// `*`, the server as a whole, which `OPTIONS` may ask about.
    Server,
}

impl Route {
    /// What the raw path of a request names.
    ///
    /// # Errors
    /// A path that is malformed, or that names nothing.
    pub(crate) fn new(path: &str) -> Result<Self, Refusal> {
        if path == "*" {
            return Ok(Self::Server);
        }
        let Some(rest) = path.strip_prefix('/') else {
            return Err(Refusal::invalid("a path begins with /"));
        };
        if rest.is_empty() {
            return Ok(Self::Root);
        }
        // `/kv/{bucket}/` is `/kv/{bucket}`: one slash at the end is no segment.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let segments = rest.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match *segments.as_slice() {
            ["status"] if !path.ends_with('/') => Ok(Self::Status),
            ["kv", bucket] => match Bucket::new(bucket)? {
                bucket if bucket.is_reserved() => Err(nothing()),
                bucket => Ok(Self::Bucket(bucket)),
            },
            _ => Err(nothing()),
        }
    }

    /// The methods it knows, as `Allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Root | Self::Server => "GET, HEAD, POST, OPTIONS",
            Self::Status | Self::Bucket(_) => "GET, HEAD, OPTIONS",
        }
    }
}

fn nothing() -> Refusal {
    Refusal::missing("there is nothing at this path", Cache::Revalidate)
}

fn segment(encoded: &str) -> Result<String, Refusal> {
    if !form::is_well_formed(encoded.as_bytes()) {
        return Err(Refusal::invalid("the path holds a % without two hexadecimal digits; write %25"));
    }
    let Ok(text) = percent_decode_str(encoded).decode_utf8() else {
        return Err(Refusal::invalid("the path is not UTF-8"));
    };
    if text.chars().any(char::is_control) {
        return Err(Refusal::invalid("the path holds a control character"));
    }
    // A slash may have come as %2F; what stands around it is judged the same.
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Refusal::invalid("the path holds an empty segment, '.' or '..'"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str) -> u16 {
        match Route::new(path) {
            Ok(_) => 200,
            Err(refusal) => refusal.answer(&http::HeaderMap::new()).status().as_u16(),
        }
    }

    #[test]
    fn what_a_path_names() {
        let bucket = |name| Route::Bucket(Bucket::new(name).unwrap());
        assert_eq!(Route::new("/").unwrap(), Route::Root);
        assert_eq!(Route::new("/status").unwrap(), Route::Status);
        assert_eq!(Route::new("/st%61tus").unwrap(), Route::Status);
        assert_eq!(Route::new("/kv/default").unwrap(), bucket("default"));
        assert_eq!(Route::new("/kv/default/").unwrap(), bucket("default"));
        assert_eq!(Route::new("*").unwrap(), Route::Server);
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
        ] {
            assert_eq!(status(path), 400, "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_missing() {
        for path in
            ["/x", "/kv", "/kv/", "/kv/default/a", "/status/", "/status/x", "/kv/_kvs.throttle", "/kv%2Fdefault"]
        {
            assert_eq!(status(path), 404, "{path}");
        }
    }
}
