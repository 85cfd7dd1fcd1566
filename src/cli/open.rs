//! From the URL of a store to the store. A new store is one line in `SCHEMES` and the function it names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::home;
use crate::memory::MemoryStore;
use crate::model::{Error, Kind, Result, SystemClock};
use crate::postgres::{self, PostgresStore};
use crate::store::{Limits, Store};
use crate::yaml::{self, YamlStore};

const SCHEMES: &[Scheme] = &[
    Scheme { name: "yaml", form: "yaml:DIR", follows: Follows::Path, open: open_yaml },
    Scheme { name: "memory", form: "memory:", follows: Follows::Nothing, open: open_memory },
    Scheme {
        name: "postgresql",
        form: "postgresql://USER@HOST/DATABASE",
        follows: Follows::Place,
        open: open_postgres,
    },
    Scheme { name: "postgres", form: "", follows: Follows::Place, open: open_postgres },
];

struct Scheme {
    name: &'static str,
    /// How it is written; empty if it is another name for the one before.
    form: &'static str,
    follows: Follows,
    open: fn(&str, Opening) -> Result<Opened>,
}

/// What follows the name of a scheme and its colon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// A path, which is not empty.
    Path,
    Nothing,
    /// Two slashes, where a server is and what is wanted of it.
    Place,
}

impl Follows {
    fn fits(self, rest: &str) -> bool {
        match self {
            Self::Path => !rest.is_empty(),
            Self::Nothing => rest.is_empty(),
            Self::Place => rest.starts_with("//"),
        }
    }
}

/// What is set for any store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// What it takes.
    pub(super) limits: Limits,
    /// How long to wait for others.
    pub(super) lock_wait: Duration,
    /// How long a bucket of files is quiet before it is tidied, and up to which length of its file, in bytes.
    pub(super) tidy: (Duration, u64),
}

/// A store that has been opened.
#[derive(Clone)]
pub(super) struct Opened {
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// The same store, if it is one of files.
    pub(super) yaml: Option<YamlStore>,
    /// The same store, if it is one on PostgreSQL.
    pub(super) postgres: Option<PostgresStore>,
}

fn open_yaml(dir: &str, opening: Opening) -> Result<Opened> {
    let Opening { limits, lock_wait, tidy: (tidy_after, tidy_up_to) } = opening;
    let options = yaml::Options { limits, lock_wait, tidy_after, tidy_up_to, ..yaml::Options::default() };
    let store = YamlStore::open(dir, options)?;
    Ok(Opened { store: Arc::new(store.clone()), yaml: Some(store), postgres: None })
}

#[expect(clippy::unnecessary_wraps, reason = "all stores are opened by the same signature")]
fn open_memory(_: &str, opening: Opening) -> Result<Opened> {
    let store = MemoryStore::new(Arc::new(SystemClock), opening.limits);
    Ok(Opened { store: Arc::new(store), yaml: None, postgres: None })
}

fn open_postgres(place: &str, opening: Opening) -> Result<Opened> {
    let Opening { limits, lock_wait, .. } = opening;
    let options = postgres::Options { limits, lock_wait, ..postgres::Options::default() };
    let store = PostgresStore::open(&format!("postgresql:{place}"), options)?;
    Ok(Opened { store: Arc::new(store.clone()), yaml: None, postgres: Some(store) })
}

/// The URL of a store of a kind that this program has.
#[derive(Clone)]
pub(super) struct StoreUrl {
    scheme: &'static Scheme,
    rest: String,
}

impl StoreUrl {
    /// The file store in that folder.
    pub(super) fn yaml(dir: &Path) -> Result<Self> {
        format!("yaml:{}", dir.display()).parse()
    }

    /// The same store, its path read as one below `dir` if it is relative.
    pub(super) fn below(mut self, dir: &Path) -> Self {
        if self.scheme.follows == Follows::Path {
            self.rest = dir.join(&self.rest).display().to_string();
        }
        self
    }

    /// The folder it lies in, if it lies in one.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        (self.scheme.follows == Follows::Path).then(|| PathBuf::from(&self.rest))
    }

    /// The URL itself, with a password if there is one in it.
    pub(super) fn written(&self) -> String {
        format!("{}:{}", self.scheme.name, self.rest)
    }

    /// Where its data are, in one spelling, to tell whether two URLs mean the same; none if they are nowhere that stays.
    pub(super) fn place(&self) -> Option<String> {
        match self.scheme.follows {
            Follows::Nothing => None,
            Follows::Place => postgres::place_of(&self.written()),
            Follows::Path => {
                let path = std::path::absolute(&self.rest).ok()?;
                // What is not there yet is called as it will be.
                Some(format!("yaml:{}", path.canonicalize().unwrap_or(path).display()))
            }
        }
    }

    /// Opens it.
    pub(super) fn open(&self, opening: Opening) -> Result<Opened> {
        (self.scheme.open)(&self.rest, opening)
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = text.split_once(':').and_then(|(name, rest)| {
            let scheme = SCHEMES.iter().find(|s| s.name == name)?;
            scheme.follows.fits(rest).then(|| Self { scheme, rest: rest.to_owned() })
        });
        let Some(url) = found else {
            let known: Vec<_> = SCHEMES.iter().map(|s| s.form).filter(|form| !form.is_empty()).collect();
            // A URL may hold a password, so the text itself is not shown.
            let hint = if text.contains(':') { "" } else { "; for a folder write yaml: in front of it" };
            return Err(Error::new(
                Kind::Invalid,
                format!("no store of this kind; the kinds are: {}{hint}", known.join(", ")),
            ));
        };
        let wrong = |text| Error::new(Kind::Invalid, text);
        match url.scheme.follows {
            Follows::Place if text.contains("sslrootcert=~") => {
                return Err(wrong("sslrootcert: ~ is no folder in a URL; write the whole path".to_owned()));
            }
            Follows::Place => postgres::check_url(text)?,
            Follows::Path => return Ok(Self { rest: home::text(&url.rest).map_err(wrong)?, ..url }),
            Follows::Nothing => {}
        }
        Ok(url)
    }
}

/// Without a password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&postgres::without_password(&self.written()))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_known_stores_are_kept_as_written() {
        for text in ["yaml:data", "yaml:/srv/kvs", "memory:", "postgresql://db/kvs?table=t", "postgres:///kvs"] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_password_is_kept_and_not_shown() {
        let url: StoreUrl = "postgresql://me:hunter2@db/kvs".parse().unwrap();
        assert_eq!(url.written(), "postgresql://me:hunter2@db/kvs");
        assert_eq!(url.to_string(), "postgresql://me:***@db/kvs");
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn others_are_refused_naming_what_there_is_and_not_what_was_given() {
        for bad in
            ["", "data", "yaml:", "memory:x", "mysql://me:hunter2@db/kvs", "postgresql:me:hunter2@db", "YAML:data"]
        {
            let text = bad.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(text.contains("yaml:DIR, memory:"), "{text}");
            assert_eq!(text.contains("in front"), ["", "data"].contains(&bad), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn relative_paths_are_read_from_a_folder_and_absolute_ones_are_not() {
        let below = |text: &str| text.parse::<StoreUrl>().unwrap().below(Path::new("/srv")).to_string();
        assert_eq!(below("yaml:data"), "yaml:/srv/data");
        assert_eq!(below("yaml:/var/kvs"), "yaml:/var/kvs");
        assert_eq!(below("memory:"), "memory:");
    }
}
