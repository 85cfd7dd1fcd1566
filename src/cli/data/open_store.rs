//! Parses the URL of a store and opens the store. A new kind of store is a line in `SCHEMES` and a function.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::remote_secret;
use crate::cli::config::tilde;
use crate::layers::{LargeValues, ReadPolicy, Tiered, WritePolicy};
use crate::memory::MemoryStore;
use crate::model::{Error, ErrorKind, Result, SystemClock};
use crate::postgres::PostgresStore;
use crate::remote::{RemoteAddress, RemoteOptions, RemoteStore};
use crate::store::{BatchLimits, Limits, Store};
use crate::yaml::YamlStore;
use crate::{postgres, yaml};

const SCHEMES: &[Scheme] = &[
    Scheme { name: "yaml", usage: "yaml:DIR", form: UrlForm::Path, open: open_yaml },
    Scheme { name: "memory", usage: "memory:", form: UrlForm::Empty, open: open_memory },
    Scheme { name: "postgresql", usage: "postgresql://USER@HOST/DATABASE", form: UrlForm::Server, open: open_postgres },
    Scheme { name: "postgres", usage: "", form: UrlForm::Server, open: open_postgres },
    Scheme {
        name: "https",
        usage: "https://HOST/PATH/",
        form: UrlForm::Http,
        open: |rest, options| open_remote(&format!("https:{rest}"), options),
    },
    Scheme {
        name: "http",
        usage: "",
        form: UrlForm::Http,
        open: |rest, options| open_remote(&format!("http:{rest}"), options),
    },
];

struct Scheme {
    name: &'static str,
    /// For error messages; empty for an alias of the line before.
    usage: &'static str,
    form: UrlForm,
    open: fn(&str, StoreOptions) -> Result<OpenStore>,
}

/// The text after the scheme and its colon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UrlForm {
    /// A path that is not empty.
    Path,
    Empty,
    /// `//`, the address of a database server, and parameters.
    Server,
    /// `//` and the address of a kvs server.
    Http,
}

impl UrlForm {
    fn fits(self, rest: &str) -> bool {
        match self {
            Self::Path => !rest.is_empty(),
            Self::Empty => rest.is_empty(),
            Self::Server | Self::Http => rest.starts_with("//"),
        }
    }
}

/// The settings of any store.
#[derive(Clone, Debug)]
pub(crate) struct StoreOptions {
    pub(crate) limits: Limits,
    /// How long to wait for a lock.
    pub(crate) lock_timeout: Duration,
    /// YAML: how long a bucket has no writes before its file is tidied. Zero: never.
    pub(crate) tidy_after: Duration,
    /// YAML: the largest file that is tidied, in bytes.
    pub(crate) tidy_up_to: u64,
    /// YAML: whether this process answers one request.
    pub(crate) is_short_lived: bool,
    /// Read from a copy in memory, which is at most this old.
    pub(crate) memory_copy: Option<ReadPolicy>,
    /// Whether values that a layer has encoded must not be read, because the caller does not decode them.
    pub(crate) lacks_layers: bool,
    /// HTTP: the file with the secret for the server.
    pub(crate) secret_file: Option<PathBuf>,
}

/// An open store, for all commands, and again for commands that need one kind of store.
#[derive(Clone)]
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) yaml: Option<YamlStore>,
    pub(crate) postgres: Option<PostgresStore>,
    /// How much an import and a copy write at once.
    pub(crate) batches: BatchLimits,
}

impl OpenStore {
    fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), yaml: None, postgres: None, batches: BatchLimits::default() }
    }

    /// A database as it is now, for reading; `None` if the kind of store has no common moment of all buckets.
    pub(crate) async fn at_one_moment(&self, limits: Limits) -> Result<Option<Arc<dyn Store>>> {
        let Some(store) = &self.postgres else { return Ok(None) };
        match store.at_one_moment().await {
            Ok(store) => Ok(Some(Arc::new(LargeValues::new(Arc::new(store), limits)?))),
            // A cluster.
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn open_yaml(dir: &str, options: StoreOptions) -> Result<OpenStore> {
    let StoreOptions { limits, lock_timeout, tidy_after, tidy_up_to, is_short_lived, .. } = options;
    let default = yaml::YamlOptions::default();
    let yaml = yaml::YamlOptions { limits, lock_timeout, tidy_after, tidy_up_to, is_short_lived, ..default };
    let store = YamlStore::open(dir, yaml)?;
    let large_values = with_layers(store.clone(), options)?;
    Ok(OpenStore { yaml: Some(store), ..OpenStore::new(large_values) })
}

/// The layers that need no key and no other setting.
fn with_layers(store: impl Store, options: StoreOptions) -> Result<LargeValues> {
    let store = with_memory_copy(Arc::new(store), options.memory_copy)?;
    let large_values = LargeValues::new(store, options.limits)?;
    Ok(if options.lacks_layers { large_values.as_only_layer() } else { large_values })
}

fn with_memory_copy(store: Arc<dyn Store>, read: Option<ReadPolicy>) -> Result<Arc<dyn Store>> {
    let Some(read) = read else { return Ok(store) };
    // The store may have longer values, which somebody else has written.
    let limits = Limits { max_value_bytes: usize::MAX };
    let copy = Arc::new(MemoryStore::new(Arc::new(SystemClock), limits));
    Ok(Arc::new(Tiered::new(copy, store, WritePolicy::Through, read)?))
}

fn open_remote(url: &str, options: StoreOptions) -> Result<OpenStore> {
    let address: RemoteAddress = url.parse()?;
    let secret = remote_secret::find(options.secret_file.as_deref(), &address)?;
    if secret.is_some() && address.is_exposed() {
        tracing::warn!("{address} is not encrypted: everybody on the way can read the secret; use https if you can");
    }
    let records = Arc::new(MemoryStore::new(Arc::new(SystemClock), options.limits));
    let store = RemoteStore::new(address, &RemoteOptions { secret, ..RemoteOptions::default() })?;
    let store = with_memory_copy(Arc::new(store.with_records_in(records)), options.memory_copy)?;
    Ok(OpenStore { store, yaml: None, postgres: None, batches: BatchLimits::OVER_HTTP })
}

fn open_memory(_: &str, options: StoreOptions) -> Result<OpenStore> {
    let store = MemoryStore::new(Arc::new(SystemClock), options.limits);
    Ok(OpenStore::new(with_layers(store, options)?))
}

fn open_postgres(rest: &str, options: StoreOptions) -> Result<OpenStore> {
    let StoreOptions { limits, lock_timeout, .. } = options;
    let postgres = postgres::PostgresOptions { limits, lock_timeout, ..postgres::PostgresOptions::default() };
    let store = PostgresStore::open(&format!("postgresql:{rest}"), postgres)?;
    // A statement that returns what it has replaced takes longer.
    let large_values = with_layers(store.clone(), options)?.with_lazy_removal();
    Ok(OpenStore { postgres: Some(store), ..OpenStore::new(large_values) })
}

/// The URL of a store, of a kind that this program supports.
#[derive(Clone)]
pub(crate) struct StoreUrl {
    scheme: &'static Scheme,
    rest: String,
}

impl StoreUrl {
    /// The YAML store in a folder.
    pub(crate) fn yaml(dir: &Path) -> Result<Self> {
        format!("yaml:{}", dir.display()).parse()
    }

    /// The same store, a relative path taken as one below `dir`.
    pub(crate) fn below(mut self, dir: &Path) -> Self {
        if self.scheme.form == UrlForm::Path {
            self.rest = dir.join(&self.rest).display().to_string();
        }
        self
    }

    /// The folder of a YAML store.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        (self.scheme.form == UrlForm::Path).then(|| PathBuf::from(&self.rest))
    }

    /// The address of a kvs server.
    fn remote(&self) -> Option<RemoteAddress> {
        if self.scheme.form == UrlForm::Http { self.with_password().parse().ok() } else { None }
    }

    /// Whether the data is kept by a kvs server.
    pub(crate) fn is_remote(&self) -> bool {
        self.scheme.form == UrlForm::Http
    }

    /// Whether the data is kept by a database server.
    pub(crate) fn is_database(&self) -> bool {
        self.scheme.form == UrlForm::Server
    }

    /// The URL, with its password if it has one.
    pub(crate) fn with_password(&self) -> String {
        format!("{}:{}", self.scheme.name, self.rest)
    }

    /// The location of the data, in a normal form, to compare two URLs. A store in memory has no location.
    pub(crate) fn location(&self) -> Option<String> {
        match self.scheme.form {
            UrlForm::Empty => None,
            UrlForm::Server => postgres::location_of(&self.with_password()),
            UrlForm::Http => self.remote().map(|address| address.to_string()),
            UrlForm::Path => {
                let path = std::path::absolute(&self.rest).ok()?;
                // A folder that does not exist yet has no canonical path.
                Some(format!("yaml:{}", path.canonicalize().unwrap_or(path).display()))
            }
        }
    }

    pub(crate) fn open(&self, options: StoreOptions) -> Result<OpenStore> {
        (self.scheme.open)(&self.rest, options)
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = text.split_once(':').and_then(|(name, rest)| {
            let scheme = SCHEMES.iter().find(|s| s.name == name)?;
            scheme.form.fits(rest).then(|| Self { scheme, rest: rest.to_owned() })
        });
        let Some(url) = found else {
            let known: Vec<_> = SCHEMES.iter().map(|s| s.usage).filter(|usage| !usage.is_empty()).collect();
            // The text is not shown: it may contain a password.
            let hint = if text.contains(':') { "" } else { "; for a folder write yaml: in front of it" };
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("no store of this kind; the kinds are: {}{hint}", known.join(", ")),
            ));
        };
        let invalid = |text| Error::new(ErrorKind::Invalid, text);
        match url.scheme.form {
            UrlForm::Server if text.contains("sslrootcert=~") => {
                return Err(invalid("sslrootcert: ~ is not supported in a URL; write the whole path".to_owned()));
            }
            UrlForm::Server => postgres::check_url(text)?,
            UrlForm::Path => return Ok(Self { rest: tilde::text(&url.rest).map_err(invalid)?, ..url }),
            UrlForm::Http => drop(text.parse::<RemoteAddress>()?),
            UrlForm::Empty => {}
        }
        Ok(url)
    }
}

/// Without the password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.with_password();
        f.write_str(&if self.is_database() { postgres::without_password(&url) } else { url })
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
    fn urls_of_known_stores_keep_their_spelling() {
        for text in [
            "yaml:data",
            "yaml:/srv/kvs",
            "memory:",
            "postgresql://db/kvs?table=t",
            "postgres:///kvs",
            "https://host/kvs",
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_password_is_kept_but_not_shown() {
        let url: StoreUrl = "postgresql://me:hunter2@db/kvs".parse().unwrap();
        assert_eq!(url.with_password(), "postgresql://me:hunter2@db/kvs");
        assert_eq!(url.to_string(), "postgresql://me:***@db/kvs");
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn errors_about_a_url_name_the_kinds_but_not_the_url() {
        for bad in [
            "",
            "data",
            "yaml:",
            "memory:x",
            "mysql://me:hunter2@db/kvs",
            "postgresql:me:hunter2@db",
            "YAML:data",
            "https:x",
        ] {
            let text = bad.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(text.contains("yaml:DIR, memory:"), "{text}");
            assert_eq!(text.contains("in front"), ["", "data"].contains(&bad), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn only_relative_paths_are_taken_from_a_folder() {
        let below = |text: &str| text.parse::<StoreUrl>().unwrap().below(Path::new("/srv")).to_string();
        assert_eq!(below("yaml:data"), "yaml:/srv/data");
        assert_eq!(below("yaml:/var/kvs"), "yaml:/var/kvs");
        assert_eq!(below("memory:"), "memory:");
    }
}
