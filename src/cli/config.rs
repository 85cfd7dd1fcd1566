//! `config.yaml`: the settings that stand in a file. They have the names and forms of the flags, with `_` for `-`.
//!
//! An unknown name is an error, since a misspelt limit that is ignored is worse than a program that does not start.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::args::Global;
use super::failure::{Done, Failure};
use super::open::StoreUrl;
use super::serve::Flags;
use crate::door::Address;

const NAMES: [&str; 14] = [
    "auth",
    "base",
    "body_time",
    "fastcgi",
    "header_time",
    "http",
    "lock_wait",
    "max_connections",
    "max_value",
    "max_wait",
    "max_waiters",
    "reads",
    "socket_mode",
    "store",
];

/// What stands in the file, as if it had been typed.
#[derive(Clone, Default, Debug)]
pub(super) struct File {
    pub(super) global: Global,
    pub(super) serve: Flags,
}

impl File {
    /// Reads the file. A missing one is empty, unless it was asked for by name.
    pub(super) fn read(path: &Path, asked_for: bool) -> Done<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound && !asked_for => return Ok(Self::default()),
            Err(e) => return Err(Failure::file("read the settings in", path, &e)),
        };
        let file = Self::parse(&text).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
        Ok(file.below(path.parent().unwrap_or(Path::new(""))))
    }

    /// The settings in that text.
    fn parse(text: &str) -> Result<Self, String> {
        if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            return Ok(Self::default());
        }
        serde_yaml::from_str(text).map_err(|e| {
            let text = e.to_string();
            match e.location() {
                // The position is put in front, as in every message about a file.
                Some(at) => {
                    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(front, _)| front);
                    format!("line {}: {text}", at.line())
                }
                None => text,
            }
        })
    }

    /// The same settings, their relative paths read from the folder of the file.
    fn below(mut self, dir: &Path) -> Self {
        self.global.auth = self.global.auth.map(|path| dir.join(path));
        self.global.store =
            self.global.store.map(|url| url.parse::<StoreUrl>().map_or(url, |url| url.below(dir).written()));
        self
    }
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Settings;
        impl<'de> Visitor<'de> for Settings {
            type Value = File;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings, one a line, as in `max_value: 1MiB`")
            }

            fn visit_unit<E>(self) -> Result<File, E> {
                Ok(File::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
                let mut file = File::default();
                let mut seen = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if seen.contains(&name) {
                        map.next_value::<IgnoredAny>()?;
                        return Err(A::Error::custom(format!("the setting `{name}` is given twice")));
                    }
                    seen.push(name);
                    file.take(name, &mut map)?;
                }
                Ok(file)
            }
        }
        deserializer.deserialize_any(Settings)
    }
}

impl File {
    /// Takes the value of one setting.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let (global, places, bounds) = (&mut self.global, &mut self.serve.places, &mut self.serve.bounds);
        match name {
            "store" => global.store = Some(map.next_value::<Text<StoreUrl>>()?.0.written()),
            "auth" => global.auth = Some(map.next_value::<Text<std::path::PathBuf>>()?.0),
            "max_value" => global.max_value = Some(map.next_value::<Text<_>>()?.0),
            "lock_wait" => global.lock_wait = Some(map.next_value::<Text<_>>()?.0),
            "reads" => bounds.reads = Some(map.next_value::<Text<_>>()?.0),
            "max_wait" => bounds.max_wait = Some(map.next_value::<Text<_>>()?.0),
            "max_waiters" => bounds.max_waiters = Some(map.next_value::<Text<_>>()?.0),
            "max_connections" => bounds.max_connections = Some(map.next_value::<Text<_>>()?.0),
            "header_time" => bounds.header_time = Some(map.next_value::<Text<_>>()?.0),
            "body_time" => bounds.body_time = Some(map.next_value::<Text<_>>()?.0),
            "base" => places.base = Some(map.next_value::<Text<_>>()?.0),
            "socket_mode" => places.socket_mode = Some(map.next_value::<Text<_>>()?.0),
            "http" => places.http = map.next_value::<Several>()?.0,
            "fastcgi" => places.fastcgi = map.next_value::<Several>()?.0,
            other => return Err(A::Error::custom(format!("the setting `{other}` is not taken from a file"))),
        }
        Ok(())
    }
}

/// The name of a setting.
struct Name(&'static str);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;
        impl Visitor<'_> for Known {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a setting")
            }

            // Refused here, while the parser still stands on the name, so that the error has its line.
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
                if let Some(name) = NAMES.iter().find(|n| **n == text) {
                    return Ok(Name(name));
                }
                Err(E::custom(match nearest(text, &NAMES) {
                    Some(name) => format!("there is no setting `{text}`; did you mean `{name}`?"),
                    None => format!("there is no setting `{text}`; there are {}", NAMES.join(", ")),
                }))
            }
        }
        deserializer.deserialize_str(Known)
    }
}

/// A value given as text, a number being the text as it is written.
struct Text<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parsed<T>(std::marker::PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<T>, E> {
                text.parse().map(Text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Parsed(std::marker::PhantomData))
    }
}

/// A list of addresses, or one.
struct Several(Vec<Address>);

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Several;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a list of addresses: [127.0.0.1:8080]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Several, E> {
                text.parse().map(|one| Several(vec![one])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Several, A::Error> {
                let mut all = Vec::new();
                while let Some(Text(one)) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Several(all))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// The name that is nearest to what was written, if one is near enough to have been meant.
fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let near = names.iter().map(|name| (distance(&written, name), *name)).min()?;
    (near.0 <= near.1.len() / 3 + 1).then_some(near.1)
}

/// How many characters must be added, removed or changed to come from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut corner = i;
        let mut next = vec![left];
        for (cb, above) in b.chars().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(corner + usize::from(ca != cb));
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::units::{Size, Span};
    use std::time::Duration;

    #[test]
    fn every_setting_is_read() {
        let file = File::parse(
            "# ours\nstore: yaml:data\nauth: secrets.txt\nreads: secret\nmax_value: 64KiB\nmax_wait: 10\n\
             max_waiters: 100\nlock_wait: 500ms\nmax_connections: 50\nheader_time: 5s\nbody_time: 1m\n\
             base: /kvs\nsocket_mode: 666\nhttp: [127.0.0.1:8080, '[::1]:8080']\nfastcgi: unix:/run/kvs.sock\n",
        )
        .unwrap();
        assert_eq!(file.global.store.as_deref(), Some("yaml:data"));
        assert_eq!(file.global.max_value, Some(Size(65_536)));
        assert_eq!(file.serve.bounds.max_wait, Some(Span(Duration::from_secs(10))));
        assert_eq!(file.serve.bounds.max_waiters, Some(100));
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(file.serve.places.http, [address("127.0.0.1:8080"), address("[::1]:8080")]);
        assert_eq!(file.serve.places.fastcgi, [address("unix:/run/kvs.sock")]);
        for name in NAMES {
            // Each is known, whatever is said of its value.
            let error = File::parse(&format!("{name}: {{}}\n")).unwrap_err();
            assert!(!error.contains("no setting"), "{error}");
        }
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        for text in ["", "# nothing\n\n", "~\n", "{}\n"] {
            assert!(File::parse(text).unwrap().global.store.is_none(), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_line_and_what_was_meant() {
        for (text, expected) in [
            (
                "store: yaml:data\n\nmax_vaule: 1\n",
                "line 3: there is no setting `max_vaule`; did you mean `max_value`?",
            ),
            ("max-wait: 1\n", "line 1: there is no setting `max-wait`; did you mean `max_wait`?"),
            ("port: 80\n", "line 1: there is no setting `port`; there are auth, base"),
            ("reads: open\nmax_value: big\n", "line 2: max_value: bad size"),
            ("store: mysql:x\n", "line 1: store: no store of this kind; the kinds are: yaml:DIR, memory:"),
            ("reads: open\nreads: open\n", "the setting `reads` is given twice"),
            ("- a\n", "settings, one a line"),
            ("reads: open\nhttp: [\"a\n", "line "),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn paths_in_the_file_are_read_from_its_folder() {
        let file = File::parse("store: yaml:data\nauth: a.txt\n").unwrap().below(Path::new("/srv/kvs"));
        assert_eq!(file.global.store.as_deref(), Some("yaml:/srv/kvs/data"));
        assert_eq!(file.global.auth.as_deref(), Some(Path::new("/srv/kvs/a.txt")));
    }

    #[test]
    fn a_distance_counts_single_changes() {
        for (a, b, n) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("reads", "read", 1)] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }
}
