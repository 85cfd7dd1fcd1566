//! From the URL of a store to the store. A new store is one line in `SCHEMES` and the function it names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::memory::MemoryStore;
use crate::model::{Error, Kind, Result, SystemClock};
use crate::store::{Limits, Store};
use crate::yaml::{self, YamlStore};

const SCHEMES: &[Scheme] = &[
    Scheme { name: "yaml", form: "yaml:DIR", is_path: true, open: open_yaml },
    Scheme { name: "memory", form: "memory:", is_path: false, open: open_memory },
];

struct Scheme {
    name: &'static str,
    form: &'static str,
    /// Whether a path follows; it is then never empty.
    is_path: bool,
    open: fn(&str, Opening) -> Result<Opened>,
}

/// What is set for any store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// What it takes.
    pub(super) limits: Limits,
    /// How long to wait for others.
    pub(super) lock_wait: Duration,
}

/// A store that has been opened.
#[derive(Clone)]
pub(super) struct Opened {
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// The same store, if it is one of files.
    pub(super) yaml: Option<YamlStore>,
}

fn open_yaml(dir: &str, opening: Opening) -> Result<Opened> {
    let Opening { limits, lock_wait } = opening;
    let options = yaml::Options { limits, lock_wait, ..yaml::Options::default() };
    let store = YamlStore::open(dir, options)?;
    Ok(Opened { store: Arc::new(store.clone()), yaml: Some(store) })
}

#[expect(clippy::unnecessary_wraps, reason = "all stores are opened by the same signature")]
fn open_memory(_: &str, opening: Opening) -> Result<Opened> {
    Ok(Opened { store: Arc::new(MemoryStore::new(Arc::new(SystemClock), opening.limits)), yaml: None })
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
        if self.scheme.is_path {
            self.rest = dir.join(&self.rest).display().to_string();
        }
        self
    }

    /// The folder it lies in, if it lies in one.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.scheme.is_path.then(|| PathBuf::from(&self.rest))
    }

    /// Opens it.
    pub(super) fn open(&self, opening: Opening) -> Result<Opened> {
        (self.scheme.open)(&self.rest, opening)
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once(':')
            .and_then(|(name, rest)| {
                let scheme = SCHEMES.iter().find(|s| s.name == name)?;
                (scheme.is_path != rest.is_empty()).then(|| Self { scheme, rest: rest.to_owned() })
            })
            .ok_or_else(|| {
                let known: Vec<_> = SCHEMES.iter().map(|s| s.form).collect();
                // A URL may hold a password, so the text itself is not shown.
                Error::new(Kind::Invalid, format!("no store of this kind; the kinds are: {}", known.join(", ")))
            })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme.name, self.rest)
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
        for text in ["yaml:data", "yaml:/srv/kvs", "memory:"] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn others_are_refused_naming_what_there_is_and_not_what_was_given() {
        for bad in ["", "data", "yaml:", "memory:x", "postgresql://me:hunter2@db/kvs", "YAML:data"] {
            let text = bad.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(text.contains("yaml:DIR, memory:"), "{text}");
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
