//! What the settings come to: flags, else the environment, else `config.yaml`, else the defaults; checked.
//!
//! The parser of the flags has already put the environment behind them. Each floor below gets its own settings from here,
//! and none of them reads a file or the environment for itself.

use std::path::PathBuf;
use std::time::Duration;

use super::args::Global;
use super::config::File;
use super::failure::{Done, Failure};
use super::open::{Opened, Opening, StoreUrl};
use super::place::Place;
use super::serve;
use super::units::{Size, Span};
use crate::api::Client;
use crate::door::{self, Address, Mount};
use crate::model::Bucket;
use crate::service::{Access, Reads};
use crate::store::Limits;

/// How many bytes of a form a byte of a value may take, as `%XX`.
const FORM: usize = 3;

/// The settings of a command.
#[derive(Debug)]
pub(super) struct Settings {
    /// The bucket that was named, if one was.
    pub(super) bucket: Option<Bucket>,
    /// Which store.
    pub(super) store: StoreUrl,
    /// How to open it.
    pub(super) opening: Opening,
    /// The file of secrets.
    pub(super) auth: AuthFile,
    /// The file of settings, whether it is there or not.
    pub(super) config: PathBuf,
    /// What only a server needs.
    pub(super) serving: Serving,
    /// Whether to say nothing but errors.
    pub(super) quiet: bool,
}

/// The file of secrets.
#[derive(Clone, Debug)]
pub(super) struct AuthFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it was asked for by name, so that it must be there.
    pub(super) asked_for: bool,
}

/// The settings of a server.
#[derive(Debug)]
pub(super) struct Serving {
    /// Where to speak HTTP.
    pub(super) http: Vec<Address>,
    /// Where to speak FastCGI.
    pub(super) fastcgi: Vec<Address>,
    /// The path before ours, if one was given.
    pub(super) base: Option<String>,
    /// The mode of Unix sockets.
    pub(super) socket_mode: u32,
    /// Whether reading takes a secret.
    pub(super) reads: Reads,
    /// The longest wait of a read.
    pub(super) max_wait: Duration,
    /// How many reads may wait at once.
    pub(super) max_waiters: usize,
    /// What the doors let a peer take.
    pub(super) limits: door::Limits,
}

impl Settings {
    /// Puts together what was typed, what stands in `config.yaml`, and the defaults of that place.
    pub(super) fn resolve(typed: Global, flags: serve::Flags, place: &Place) -> Done<Self> {
        let config = typed.config.clone().unwrap_or_else(|| place.at("config.yaml"));
        let file = File::read(&config, typed.config.is_some())?;
        let global = typed.or(file.global);
        let store = match &global.store {
            Some(url) => url.parse().map_err(|e| Failure::Usage(format!("--store: {e}")))?,
            None => StoreUrl::yaml(&place.at("data"))?,
        };
        let Size(value) = global.max_value.unwrap_or(Size(Limits::default().value));
        if value > Limits::MOST {
            return Err(Failure::Usage(format!("the largest value may be set to at most {}", Size(Limits::MOST))));
        }
        Ok(Self {
            bucket: global.bucket,
            store,
            opening: Opening { limits: Limits { value }, lock_wait: global.lock_wait.map(|Span(wait)| wait) },
            auth: AuthFile {
                asked_for: global.auth.is_some(),
                path: global.auth.unwrap_or_else(|| place.at("auth.txt")),
            },
            config,
            serving: Serving::resolve(flags.or(file.serve), value)?,
            quiet: global.quiet,
        })
    }

    /// The bucket to work on, for commands that work on one.
    pub(super) fn bucket(&self) -> Bucket {
        self.bucket.clone().unwrap_or_default()
    }

    /// A client of the bucket, for commands that work on one.
    pub(super) fn client(&self) -> Done<Client> {
        Ok(Client::new(self.open()?.store).with_bucket(self.bucket()))
    }

    /// Opens the store.
    pub(super) fn open(&self) -> Done<Opened> {
        Ok(self.store.open(self.opening)?)
    }

    /// The buckets to work on, for commands that work on all unless one is named. A named one must be there, and so must
    /// the folder of all: a wrong name in a nightly `kvs check` is not to look like health.
    pub(super) async fn buckets(&self, opened: &Opened) -> Done<Vec<Bucket>> {
        let all = opened.store.buckets().await?;
        let missing = self.store.folder().filter(|folder| !folder.is_dir());
        match (&self.bucket, missing) {
            (None, Some(folder)) => Err(Failure::Failed(format!("there is no folder {}", folder.display()))),
            (None, None) => Ok(all),
            (Some(one), _) if all.contains(one) => Ok(vec![one.clone()]),
            (Some(one), _) => Err(Failure::Failed(format!("there is no bucket {one} in {}", self.store))),
        }
    }

    /// Says something that is not data, unless quiet is wished.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

impl Serving {
    fn resolve(serve::Flags { places, bounds }: serve::Flags, value: usize) -> Done<Self> {
        let usual = door::Limits::default();
        let span = |given: Option<Span>, usual| given.map_or(usual, |Span(span)| span);
        let connections = bounds.max_connections.unwrap_or(usual.connections);
        if connections == 0 {
            return Err(Failure::Usage("the number of connections must be at least 1".to_owned()));
        }
        let limits = door::Limits {
            body: value.saturating_mul(FORM).saturating_add(usual.body),
            connections,
            head_time: span(bounds.header_time, usual.head_time),
            body_time: span(bounds.body_time, usual.body_time),
            ..usual
        };
        Ok(Self {
            http: places.http,
            fastcgi: places.fastcgi,
            base: places.base,
            socket_mode: places.socket_mode.map_or(door::SOCKET_MODE, |serve::Mode(mode)| mode),
            reads: bounds.reads.map_or(Reads::Open, serve::ReadsFlag::checked),
            max_wait: span(bounds.max_wait, Duration::from_secs(25)),
            max_waiters: bounds.max_waiters.unwrap_or(10_000),
            limits,
        })
    }

    /// The same mount, at the path that is set.
    pub(super) fn mounted(&self, mount: Mount) -> Mount {
        match &self.base {
            Some(path) => mount.at(path),
            None => mount,
        }
    }
}

impl AuthFile {
    /// Reads the secrets. Without a file there are none, and writes are off.
    pub(super) fn read(&self) -> Done<Access> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Access::parse(&text).map_err(|e| Failure::Usage(format!("{}: {e}", self.path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.asked_for => Ok(Access::none()),
            Err(e) => Err(Failure::file("read the secrets in", &self.path, &e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(typed: Global, flags: serve::Flags, config: &str) -> Done<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), config.as_bytes()).unwrap();
        Settings::resolve(Global { config: Some(path), ..typed }, flags, &Place::for_commands())
    }

    #[test]
    fn what_was_typed_wins_over_the_file_and_the_file_over_the_default() {
        let typed = Global { store: Some("memory:".into()), ..Global::default() };
        let mut flags = serve::Flags::default();
        flags.bounds.max_waiters = Some(7);
        let settings = resolve(typed, flags, "store: yaml:x\nmax_waiters: 8\nmax_wait: 3s\n").unwrap();
        assert_eq!(settings.store.to_string(), "memory:");
        assert_eq!(settings.serving.max_waiters, 7);
        assert_eq!(settings.serving.max_wait, Duration::from_secs(3));
        assert_eq!(settings.serving.limits.head_time, Duration::from_secs(10));
        assert_eq!(settings.opening.limits, Limits::default());
    }

    #[test]
    fn limits_without_sense_are_refused() {
        for config in ["max_value: 101MiB\n", "max_connections: 0\n"] {
            assert!(matches!(resolve(Global::default(), serve::Flags::default(), config), Err(Failure::Usage(_))));
        }
        assert!(resolve(Global::default(), serve::Flags::default(), "max_value: 100MiB\n").is_ok());
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let typed = Global { config: Some("/nowhere/config.yaml".into()), ..Global::default() };
        let settings = Settings::resolve(typed, serve::Flags::default(), &Place::for_commands());
        assert!(matches!(settings, Err(Failure::Failed(text)) if text.contains("/nowhere/config.yaml")));
        let auth = |asked_for| AuthFile { path: "/nowhere/auth.txt".into(), asked_for };
        assert!(auth(true).read().is_err());
        assert!(auth(false).read().is_ok());
    }
}
