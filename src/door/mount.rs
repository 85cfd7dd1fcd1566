//! Where the program is mounted, and the path of a request below that place.
//!
//! The target is read as the client sent it, still percent-encoded; servers hand out their own names decoded, so a base
//! is compared byte by byte against the decoded target, and what follows is left as it was. A target that does not lie
//! below the base is left whole: the service has no such path and says so.

use std::borrow::Cow;

/// The place of the program among the paths of the web server. The variable `KVS_BASE` of a request overrides the path.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Mount {
    spawned: bool,
    path: Option<Vec<u8>>,
}

impl Mount {
    /// A program that runs by itself and that web servers hand requests to. It stands at the root unless told
    /// otherwise: what such servers put into `SCRIPT_NAME` is just the path of the request again.
    pub fn served() -> Self {
        Self::default()
    }

    /// A program that the web server starts, by CGI or `mod_fcgid`, by the name of its file. Unless told otherwise it
    /// stands where `SCRIPT_NAME` says.
    pub fn spawned() -> Self {
        Self { spawned: true, path: None }
    }

    /// The same at this path: `/kvs`, `/kvs/`, `/my%20files`, or nothing for the root.
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
    pub(super) fn is_spawned(&self) -> bool {
        self.spawned
    }

    /// The base that holds for a request with this raw target, decoded.
    pub(super) fn base<'a>(&'a self, target: &[u8], script_name: &'a [u8], script_filename: &[u8]) -> &'a [u8] {
        match &self.path {
            Some(path) => path,
            None if !self.spawned || last_segment(script_name) != last_segment(script_filename) => b"",
            None if below(target, script_name).is_some() => script_name,
            // The program answers for its folder (FallbackResource, DirectoryIndex): the target does not name it.
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

/// The path and query of a request target: absolute form loses scheme and host, a fragment is cut off.
pub(super) fn path_and_query(target: &[u8]) -> Cow<'_, [u8]> {
    let target = target.split(|b| *b == b'#').next().unwrap_or(target);
    if target.first() == Some(&b'/') || target == b"*" {
        return Cow::Borrowed(target);
    }
    let scheme = target.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
    let Some(authority) = target.get(scheme..).and_then(|rest| rest.strip_prefix(b"://")) else {
        return Cow::Owned([b"/", target].concat());
    };
    let end = authority.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(authority.len());
    let rest = authority.get(end..).unwrap_or_default();
    if rest.first() == Some(&b'/') { Cow::Borrowed(rest) } else { Cow::Owned([b"/", rest].concat()) }
}

/// What follows `base` in a raw path and query, if it is the base or continues it by a slash. A server merges slashes
/// in the names it hands out, so several in the target count as one of the base.
pub(super) fn below<'a>(target: &'a [u8], base: &[u8]) -> Option<&'a [u8]> {
    let mut rest = target;
    for wanted in base {
        let (byte, after) = decoded(rest)?;
        if byte != *wanted || rest.first() == Some(&b'?') {
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
fn decoded(raw: &[u8]) -> Option<(u8, &[u8])> {
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

    fn routed(mount: &Mount, target: &str, name: &str, file: &str) -> String {
        let target = path_and_query(target.as_bytes()).into_owned();
        let base = mount.base(&target, name.as_bytes(), file.as_bytes());
        String::from_utf8(below(&target, base).unwrap_or(&target).to_vec()).unwrap()
    }

    #[test]
    fn target_is_a_path_when_absolute_or_with_two_slashes() {
        for (given, path) in [
            ("/x?y", "/x?y"),
            ("//x", "//x"),
            ("//x://y", "//x://y"),
            ("http://host/x?y", "/x?y"),
            ("http://host:80", "/"),
            ("https://host?k=a/b", "/?k=a/b"),
            ("/x#part", "/x"),
            ("*", "*"),
            ("x", "/x"),
            ("?k=http://a/b", "/?k=http://a/b"),
        ] {
            let got = path_and_query(given.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(got).unwrap(), path, "{given}");
        }
    }

    #[test]
    fn base_is_the_script_when_the_target_continues_it() {
        let file = "/var/www/kv/kvs.fcgi";
        for (target, path) in [
            ("/kv/kvs.fcgi", ""),
            ("/kv/kvs.fcgi?k=a", "?k=a"),
            ("/kv/kvs.fcgi/x%2Fy?z", "/x%2Fy?z"),
            ("//kv//kvs.fcgi//x", "//x"),
            ("/%6Bv/kvs.fcgi/x", "/x"),
            ("/kv/kvs.fcgi.bak", "/kvs.fcgi.bak"),
            ("/kv/?k=a", "/?k=a"),
            ("/kv/deep/er", "/deep/er"),
            ("/kv?k=a", "?k=a"),
            ("/elsewhere", "/elsewhere"),
        ] {
            assert_eq!(routed(&Mount::spawned(), target, "/kv/kvs.fcgi", file), path, "{target}");
        }
    }

    #[test]
    fn base_is_empty_when_the_script_is_not_its_file() {
        assert_eq!(routed(&Mount::spawned(), "/kv/b/k", "/kv/b/k", "/srv/kvs.fcgi"), "/kv/b/k");
        assert_eq!(routed(&Mount::spawned(), "/x", "/kvs.fcgi", "proxy:fcgi://h/kvs.fcgi"), "/x");
        assert_eq!(routed(&Mount::served(), "/a/b", "/a/b", "/srv/a/b"), "/a/b");
    }

    #[test]
    fn base_matches_when_the_server_names_it_decoded() {
        assert_eq!(routed(&Mount::spawned(), "/my%20files/k.cgi/a", "/my files/k.cgi", "/w/my files/k.cgi"), "/a");
        assert_eq!(routed(&Mount::served().at("/my%20files/"), "/my%20files/a%2fb", "", ""), "/a%2fb");
    }

    #[test]
    fn fixed_base_is_normal_when_written_in_any_way() {
        for text in ["/c", "/c/", "c", "c//"] {
            assert_eq!(Mount::served().at(text).path.unwrap(), b"/c", "{text}");
        }
        assert_eq!(Mount::served().at("/").path.unwrap(), b"");
        assert_eq!(routed(&Mount::spawned().at(""), "/k.cgi/a", "/k.cgi", "/w/k.cgi"), "/k.cgi/a");
        assert_eq!(routed(&Mount::served().at("/c"), "/cr/x", "", ""), "/cr/x");
        assert_eq!(routed(&Mount::served().at("/c"), "/c?k=a", "", ""), "?k=a");
        assert_eq!(below(b"/%", b"/%"), Some(&b""[..]));
        assert_eq!(below(b"?k", b"?k"), None);
    }
}
