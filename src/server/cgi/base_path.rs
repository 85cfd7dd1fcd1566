//! The base path: the URL path under which the web server publishes the program. It is removed from each request.
//!
//! The target is the raw one of the client, still percent-encoded. Web servers pass their own names decoded. So the
//! base path is compared byte by byte with the decoded target, and the rest of the target is not changed. A target that
//! is not below the base path is not changed, and the API answers 404.

use http::Uri;

use crate::server::error_response::TransportError;
use crate::server::request_target;

/// The URL path under which the web server publishes the program. The variable `KVS_BASE_PATH` of a request overrides
/// it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BasePath {
    spawned: bool,
    path: Option<Vec<u8>>,
}

impl BasePath {
    /// For a program that runs independently, alone or behind a web server. The default is the root, because such a web
    /// server only repeats the path of the request in `SCRIPT_NAME`.
    pub fn served() -> Self {
        Self::default()
    }

    /// For a program file that the web server starts, by CGI or `mod_fcgid`. The default is the path in `SCRIPT_NAME`.
    pub fn spawned() -> Self {
        Self { spawned: true, path: None }
    }

    /// Sets the path: `/kvs`, `/kvs/`, `/my%20files`, or empty for the root.
    #[must_use]
    pub fn at(self, path: impl AsRef<[u8]>) -> Self {
        let mut path: Vec<u8> = percent_encoding::percent_decode(path.as_ref()).collect();
        while path.last() == Some(&b'/') {
            path.pop();
        }
        if path.first().is_some_and(|b| *b != b'/') {
            path.insert(0, b'/');
        }
        Self { path: Some(path), ..self }
    }

    /// Whether the web server starts the program.
    pub(crate) fn is_spawned(&self) -> bool {
        self.spawned
    }

    /// The part of a target below the base path. `script_name` and `script_filename` are the decoded variables of a web
    /// server, and empty over plain HTTP.
    pub(crate) fn uri(&self, target: &str, script_name: &[u8], script_filename: &[u8]) -> Result<Uri, TransportError> {
        let base = self.base(target.as_bytes(), script_name, script_filename);
        let rest = strip_base(target.as_bytes(), base).map_or(target.len(), <[u8]>::len);
        request_target::uri(target.get(target.len() - rest..).unwrap_or(target))
    }

    /// The decoded base path for a request with this raw target.
    fn base<'a>(&'a self, target: &[u8], script_name: &'a [u8], script_filename: &[u8]) -> &'a [u8] {
        match &self.path {
            Some(path) => path,
            None if !self.spawned || last_segment(script_name) != last_segment(script_filename) => b"",
            None if strip_base(target, script_name).is_some() => script_name,
            // The program answers for its folder (FallbackResource, DirectoryIndex), and the target does not name it.
            None => folder(script_name),
        }
    }
}

fn last_segment(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// The text after `base` in a raw path and query, if the path is the base or continues it with a slash. Web servers
/// merge slashes in the names that they pass, so several slashes in the target match one in the base.
fn strip_base<'a>(target: &'a [u8], base: &[u8]) -> Option<&'a [u8]> {
    let mut rest = target;
    for expected in base {
        let (byte, after) = first_decoded(rest)?;
        if byte != *expected || rest.first() == Some(&b'?') {
            return None;
        }
        rest = after;
        while byte == b'/' && rest.first() == Some(&b'/') {
            rest = rest.get(1..)?;
        }
    }
    matches!(rest.first(), None | Some(b'/' | b'?')).then_some(rest)
}

/// The first byte, decoded, and the rest.
fn first_decoded(raw: &[u8]) -> Option<(u8, &[u8])> {
    match raw {
        [b'%', high, low, rest @ ..] => match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
            (Some(high), Some(low)) => Some((u8::try_from(high * 16 + low).ok()?, rest)),
            _ => Some((b'%', raw.get(1..)?)),
        },
        [first, rest @ ..] => Some((*first, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_below(base_path: &BasePath, target: &str, name: &str, file: &str) -> String {
        base_path.uri(target, name.as_bytes(), file.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn base_path_is_the_script_when_the_target_continues_it() {
        let file = "/var/www/kv/kvs.fcgi";
        for (target, path) in [
            ("/kv/kvs.fcgi", "/"),
            ("/kv/kvs.fcgi?k=a", "/?k=a"),
            ("/kv/kvs.fcgi/x%2Fy?z", "/x%2Fy?z"),
            ("//kv//kvs.fcgi//x", "//x"),
            ("/%6Bv/kvs.fcgi/x", "/x"),
            ("/kv/kvs.fcgi.bak", "/kvs.fcgi.bak"),
            ("/kv/?k=a", "/?k=a"),
            ("/kv/deep/er", "/deep/er"),
            ("/kv?k=a", "/?k=a"),
            ("/elsewhere", "/elsewhere"),
        ] {
            assert_eq!(path_below(&BasePath::spawned(), target, "/kv/kvs.fcgi", file), path, "{target}");
        }
    }

    #[test]
    fn base_path_is_empty_when_script_name_is_not_the_script_file() {
        assert_eq!(path_below(&BasePath::spawned(), "/kv/b/k", "/kv/b/k", "/srv/kvs.fcgi"), "/kv/b/k");
        assert_eq!(path_below(&BasePath::spawned(), "/x", "/kvs.fcgi", "proxy:fcgi://h/kvs.fcgi"), "/x");
        assert_eq!(path_below(&BasePath::served(), "/a/b", "/a/b", "/srv/a/b"), "/a/b");
    }

    #[test]
    fn base_path_matches_when_the_server_passes_it_decoded() {
        assert_eq!(
            path_below(&BasePath::spawned(), "/my%20files/k.cgi/a", "/my files/k.cgi", "/w/my files/k.cgi"),
            "/a"
        );
        assert_eq!(path_below(&BasePath::served().at("/my%20files/"), "/my%20files/a%2fb", "", ""), "/a%2fb");
    }

    #[test]
    fn configured_base_path_is_normalized() {
        for text in ["/c", "/c/", "c", "c//"] {
            assert_eq!(BasePath::served().at(text).path.unwrap(), b"/c", "{text}");
        }
        assert_eq!(BasePath::served().at("/").path.unwrap(), b"");
        assert_eq!(path_below(&BasePath::spawned().at(""), "/k.cgi/a", "/k.cgi", "/w/k.cgi"), "/k.cgi/a");
        assert_eq!(path_below(&BasePath::served().at("/c"), "/cr/x", "", ""), "/cr/x");
        assert_eq!(path_below(&BasePath::served().at("/c"), "/c?k=a", "", ""), "/?k=a");
        assert_eq!(strip_base(b"/%", b"/%"), Some(&b""[..]));
        assert_eq!(strip_base(b"?k", b"?k"), None);
    }

    #[test]
    fn base_path_is_removed_and_the_rest_is_unchanged() {
        for (base, target, expected) in [
            ("/kvs", "/kvs/?k=a", "/?k=a"),
            ("/kvs/", "/kvs?k=a/b", "/?k=a/b"),
            ("kvs", "/kvs/kv/default/a%2Fb", "/kv/default/a%2Fb"),
            ("/my%20files", "/my%20files/status", "/status"),
            ("/a/b", "/a/b/", "/"),
            ("/a", "/%61/x", "/x"),
            ("/a", "/a//x", "//x"),
            ("/kvs", "//kvs/a", "/a"),
            ("/kvs", "/kvstore/x", "/kvstore/x"),
            ("/kvs", "/kvs%2Fx", "/kvs%2Fx"),
            ("/kvs", "/", "/"),
            ("/kvs", "*", "*"),
            ("/", "/x?y", "/x?y"),
        ] {
            assert_eq!(path_below(&BasePath::served().at(base), target, "", ""), expected, "{base} {target}");
        }
    }
}
