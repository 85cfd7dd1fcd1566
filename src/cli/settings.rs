//! What the settings come to: flags, else the environment, else `config.yaml`, else the defaults; checked.
//!
//! Which of them was given where is told by [`super::layers`]; here it is checked as a whole. Each floor below gets its own settings from here,
//! and none of them reads a file or the environment for itself.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory};

use super::args::{Global, Settable, Typed};
use super::config::File;
use super::failure::{Done, Failure};
use super::hooks::Delivery;
use super::layers::Layers;
use super::open::{Opened, Opening, StoreUrl};
use super::output::say;
use super::place::Place;
use super::serve;
use super::units::{Percent, Size, Span};
use super::variables;
use crate::api::Client;
use crate::door::{self, Mount};
use crate::model::Bucket;
use crate::service::{Access, Budget, Cors, Exposure, Policies, Shares};
use crate::store::Limits;

/// What the values of one answer may hold, unless one value may hold more.
const LARGEST_ANSWER: usize = 64 << 20;

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
    /// Whom to tell of writes.
    pub(super) delivery: Delivery,
    /// What only a server needs.
    pub(super) serving: Serving,
    /// Whether to say nothing but errors.
    pub(super) quiet: bool,
    /// Where each comes from.
    pub(super) layers: Layers,
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
    /// Where to listen.
    pub(super) places: serve::Places,
    /// What holds of each bucket.
    pub(super) policies: Policies,
    /// Whose pages may read answers.
    pub(super) cors: Cors,
    /// The longest wait of a read.
    pub(super) max_wait: Duration,
    /// How many reads may wait at once.
    pub(super) max_waiters: usize,
    /// Who may see what the process counts.
    pub(super) metrics: Exposure,
    /// How much of all connections and waits one address may have.
    pub(super) address_share: Percent,
    /// The memory of all answers.
    pub(super) responses: Budget,
    /// What the doors let a peer take.
    pub(super) limits: door::Limits,
}

impl Settings {
    /// Puts together what was typed, what stands in `config.yaml`, and the defaults of that place.
    pub(super) fn resolve(global: Global, matches: &ArgMatches, place: &Place) -> Done<Self> {
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        variables::check(names, &Typed::command())?;
        let asked_for = global.config.is_some();
        let config = global.config.unwrap_or_else(|| place.at("config.yaml"));
        let (Settable { data, hooks, serve }, layers) = Layers::new(matches, File::read(&config, asked_for)?)?;
        let store = match &data.store {
            Some(url) => url.parse().map_err(|e| layers.blame("store", e))?,
            None => StoreUrl::yaml(&place.at("data"))?,
        };
        let Size(value) = data.max_value;
        if value > Limits::MOST {
            let text = format!("the largest value may be set to at most {}", Size(Limits::MOST));
            return Err(layers.blame("max_value", text));
        }
        let (Span(lock_wait), Span(tidy_after), Size(tidy_up_to)) = (data.lock_wait, data.tidy_after, data.tidy_up_to);
        let delivery = hooks.resolve(&layers)?;
        Ok(Self {
            bucket: global.bucket,
            store,
            opening: Opening { limits: Limits { value }, lock_wait, tidy: (tidy_after, tidy_up_to as u64) },
            auth: AuthFile { asked_for: data.auth.is_some(), path: data.auth.unwrap_or_else(|| place.at("auth.txt")) },
            delivery: if global.no_hooks { delivery.off() } else { delivery },
            serving: Serving::resolve(serve, &layers, value)?,
            quiet: global.quiet,
            layers,
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

    /// Opens the store; what is written through it is told.
    pub(super) fn open(&self) -> Done<Opened> {
        let opened = self.store.open(self.opening)?;
        Ok(Opened { store: self.delivery.over(opened.store), ..opened })
    }

    /// Says something that is not data, unless quiet is wished.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

impl Serving {
    fn resolve(flags: serve::Flags, layers: &Layers, value: usize) -> Done<Self> {
        let serve::Flags { places, bounds, policies } = flags;
        let usual = door::Limits::default();
        if bounds.max_connections == 0 {
            return Err(layers.blame("max_connections", "at least one connection must be let in"));
        }
        let body = value.saturating_mul(FORM).saturating_add(usual.body);
        let share = bounds.address_share;
        let budget = |bytes: usize, largest| Budget::new(bytes, largest).sharing(share.of(bytes));
        let limits = door::Limits {
            body,
            bodies: budget(bounds.body_memory.0, body),
            connections: bounds.max_connections,
            shares: Shares::new(share.of(bounds.max_connections)),
            head_time: bounds.header_time.0,
            body_time: bounds.body_time.0,
            response_time: bounds.response_time.0,
            ..usual
        };
        Ok(Self {
            places,
            policies: policies.policies(layers, value)?,
            cors: policies.cors(layers)?,
            max_wait: bounds.max_wait.0,
            max_waiters: bounds.max_waiters,
            metrics: bounds.metrics,
            address_share: share,
            responses: budget(bounds.response_memory.0, value.max(LARGEST_ANSWER)),
            limits,
        })
    }

    /// The same mount, at the path that is set.
    pub(super) fn mounted(&self, mount: Mount) -> Mount {
        match &self.places.base {
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
            // A link that leads nowhere is no missing file.
            Err(e) if e.kind() == ErrorKind::NotFound && !self.asked_for && !self.path.is_symlink() => {
                Ok(Access::none())
            }
            Err(e) => Err(Failure::file("read the secrets in", &self.path, &e)),
        }
    }

    /// What is wrong if every user of the machine can read the secrets, or put in their own.
    pub(super) fn exposure(&self) -> Option<String> {
        let mode = std::fs::metadata(&self.path).ok()?.permissions().mode();
        let done = match (mode & 0o004 != 0, mode & 0o002 != 0) {
            (false, false) => return None,
            (true, false) => "read",
            (false, true) => "change",
            (true, true) => "read and change",
        };
        let path = self.path.display();
        Some(format!(
            "every user of this machine can {done} the secrets in {path}; make it the file of the user as whom kvs runs, \
             and `chmod 600` it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(typed: &[&str], config: &str) -> Done<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), config.as_bytes()).unwrap();
        let arguments = ["kvs", "serve", "--config", path.to_str().unwrap()];
        let (typed, matches) = Typed::parse(arguments.iter().chain(typed).map(Into::into)).unwrap();
        Settings::resolve(typed.global, &matches, &Place::for_commands().unwrap())
    }

    fn fault(typed: &[&str], config: &str) -> String {
        match resolve(typed, config) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{config:?} gave {other:?}"),
        }
    }

    #[test]
    fn what_was_typed_wins_over_the_file_and_the_file_over_the_default() {
        let config = "store: yaml:x\nmax_waiters: 8\nmax_wait: 3s\nhttp: [':1', ':2']\n";
        let settings = resolve(&["--store", "memory:", "--max-waiters", "7", "--fastcgi", "unix:/s"], config).unwrap();
        assert_eq!(settings.store.to_string(), "memory:");
        assert_eq!(settings.serving.max_waiters, 7);
        assert_eq!(settings.serving.max_wait, Duration::from_secs(3));
        assert_eq!(settings.serving.limits.head_time, Duration::from_secs(10));
        assert_eq!(settings.opening.limits, Limits::default());
        assert_eq!(settings.serving.places.http.len(), 2);
        // Lists are not mixed.
        let settings = resolve(&["--http", ":3,:4,:5"], config).unwrap();
        assert_eq!(settings.serving.places.http, [":3", ":4", ":5"].map(|a| a.parse().unwrap()));
    }

    #[test]
    fn defaults_are_those_of_the_floors_below() {
        let Settings { serving, opening, .. } = resolve(&[], "").unwrap();
        let usual = door::Limits::default();
        assert_eq!(
            serving.limits,
            door::Limits { body: serving.limits.body, bodies: serving.limits.bodies.clone(), ..usual }
        );
        assert_eq!(serving.places.socket_mode, serve::Mode(door::SOCKET_MODE));
        let files = crate::yaml::Options::default();
        assert_eq!((opening.limits, opening.lock_wait), (Limits::default(), files.lock_wait));
        assert_eq!(opening.tidy, (files.tidy_after, files.tidy_up_to));
        assert_eq!(serving.policies.usual, crate::service::Policy::default());
    }

    #[test]
    fn paths_in_the_file_are_read_from_its_folder() {
        let settings = resolve(&[], "store: yaml:data\nauth: a.txt\n").unwrap();
        let dir = settings.layers.path().parent().unwrap();
        assert_eq!(settings.store.folder().unwrap(), dir.join("data"));
        assert_eq!(settings.auth.path, dir.join("a.txt"));
        assert!(settings.auth.asked_for);
    }

    #[test]
    fn a_fault_in_the_file_has_its_line_and_a_typed_one_its_flag() {
        for (config, says) in [
            ("reads: open\nmax_value: 101MiB\n", "config.yaml: line 2: max_value: the largest value may be"),
            ("\nmax_connections: 0\n", "config.yaml: line 2: max_connections: at least one"),
            ("reads: open\nmax_value: big\n", "line 2: max_value: bad size"),
            ("store: mysql:x\n", "line 1: store: no store of this kind; the kinds are: yaml:DIR, memory:"),
            ("max-wait: 1\n", "line 1: there is no setting `max-wait`; did you mean `max_wait`?"),
            ("port: 80\n", "line 1: there is no setting `port`; there are store, auth"),
            ("config: x\n", "line 1: there is no setting `config`"),
            ("max_waiters: many\n", "line 1: max_waiters: \"many\" is not a whole number"),
            ("max_wait: [1, 2]\n", "line 1: max_wait: write one value"),
            ("max_wait:\n", "line 1: max_wait: write one value"),
            ("http: {a: b}\n", "line 1: http: write a value or a list"),
            ("reads: closed\n", "line 1: reads: bad value \"closed\": write open, secret or listed"),
            ("cors: ['*', 'https://a']\n", "line 1: cors: `*` means all origins"),
            ("cors: https://a/\n", "line 1: cors: bad origin"),
            ("max_value: 1KiB\nbuckets:\n  a: {max_value: 2KiB}\n", "line 3: a: max_value: 2 KiB is more than 1 KiB"),
        ] {
            let text = fault(&[], config);
            assert!(text.contains(says), "{config:?} gave {text}");
        }
        assert!(fault(&["--max-value", "101MiB"], "").starts_with("--max-value: the largest"));
        assert!(fault(&["--policy", "a: reads=open;a: max_age=1s"], "").starts_with("--policy: the bucket a is given"));
        assert!(fault(&["--policy", "a: max_value=2MiB"], "").starts_with("--policy: a: max_value: 2 MiB is more"));
        assert!(fault(&["--max-wait", "1s"], "max_wait: soon\n").contains("line 1: max_wait: bad span"));
        assert!(resolve(&[], "max_value: 100MiB\n").is_ok());
    }

    #[test]
    fn policies_are_mixed_field_by_field() {
        let config = "reads: secret\nbuckets:\n  a: {reads: listed, max_age: 5s}\n  b:\n";
        let typed =
            ["--policy", "a: reads=open, timestamps=client", "--policy", "c: max_value=1KiB", "--max-age", "9s"];
        let policies = resolve(&typed, config).unwrap().serving.policies;
        let shown = |name: &str| super::super::policies::shown(policies.of(&Bucket::new(name).unwrap()), 1 << 20);
        assert_eq!(shown("a"), "{reads: open, timestamps: client, max_age: 5s, max_value: 1 MiB}");
        assert_eq!(shown("b"), "{reads: secret, timestamps: server, max_age: 9s, max_value: 1 MiB}");
        assert_eq!(shown("c"), "{reads: secret, timestamps: server, max_age: 9s, max_value: 1 KiB}");
        assert_eq!(policies.named.len(), 3);
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let arguments = ["kvs", "get", "a", "--config", "/nowhere/config.yaml"];
        let (typed, matches) = Typed::parse(arguments.map(Into::into)).unwrap();
        let settings = Settings::resolve(typed.global, &matches, &Place::for_commands().unwrap());
        assert!(matches!(settings, Err(Failure::Failed(text)) if text.contains("/nowhere/config.yaml")));
        let auth = |asked_for| AuthFile { path: "/nowhere/auth.txt".into(), asked_for };
        assert!(auth(true).read().is_err());
        assert!(auth(false).read().is_ok());
    }
}
