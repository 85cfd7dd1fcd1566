//! The settings of a command: flags, environment, `config.yaml` and defaults, checked as a whole.
//!
//! Each floor below gets its own settings from here. None of them reads a settings file or a variable.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::file::ConfigFile;
use super::flags::{GlobalFlags, SettingFlags};
use super::home::HomeDir;
use super::policies::FilePolicy;
use super::server_settings::ServerSettings;
use super::sources::{FileForm, FileForms, Sources};
use super::units::{Size, TimeSpan};
use super::{policies, tilde};
use crate::cli::data::layer_settings::LayerSettings;
use crate::cli::data::open_store::{OpenStore, StoreOptions, StoreUrl};
use crate::cli::exit::{CliResult, Failure};
use crate::cli::serving::file_watch::exposure;
use crate::cli::serving::hook_runtime;
use crate::cli::serving::hook_runtime::HookRuntime;
use crate::cli::stderr::say;
use crate::client::Client;
use crate::model::{BlobRef, Bucket};
use crate::store::Limits;
use crate::web::SecretList;

/// The settings that `config.yaml` has in a special form.
const FILE_FORMS: &FileForms = &[
    ("store", FileForm::Path(store_below)),
    ("auth", FileForm::Path(path_below)),
    ("encryption_keys", FileForm::Path(path_below)),
    ("secret_file", FileForm::Path(path_below)),
    ("webhook_secret", FileForm::Path(hook_runtime::secret_below)),
    ("buckets", FileForm::Mapping),
];

#[derive(Debug)]
pub(crate) struct CliSettings {
    /// The value of `--bucket`.
    pub(crate) bucket: Option<Bucket>,
    pub(crate) store: StoreUrl,
    pub(crate) store_options: StoreOptions,
    /// The longest value, in bytes.
    pub(crate) max_value: u64,
    pub(crate) layers: LayerSettings,
    pub(crate) auth: AuthFile,
    pub(crate) hooks: HookRuntime,
    pub(crate) server: ServerSettings,
    /// Print errors only.
    pub(crate) quiet: bool,
    pub(crate) sources: Sources,
    /// The bucket policies in `config.yaml`; `server` has them combined with the flags.
    pub(crate) file_policies: Vec<FilePolicy>,
}

/// The file of secrets.
#[derive(Clone, Debug)]
pub(crate) struct AuthFile {
    pub(crate) path: PathBuf,
    /// The user named the file, so it must exist.
    pub(crate) is_required: bool,
}

impl CliSettings {
    pub(crate) fn resolve(global: GlobalFlags, matches: &ArgMatches, home: &HomeDir) -> CliResult<Self> {
        let is_required = global.config.is_some();
        let config = global.config.unwrap_or_else(|| home.join("config.yaml"));
        let file = ConfigFile::read(&config, is_required)?;
        let (SettingFlags { data, hooks, serve }, sources) = Sources::new(matches, file, FILE_FORMS)?;
        let file_policies = sources.mapping("buckets").map_or(Ok(vec![]), policies::in_file);
        let file_policies = file_policies.map_err(|error| error.in_file(&config))?;
        let store = match &data.store {
            Some(url) => url.parse().map_err(|e| sources.error_at("store", e))?,
            None => StoreUrl::yaml(&home.join("data"))?,
        };
        let Size(max_value) = data.max_value;
        if max_value as u64 > BlobRef::MAX_BYTES {
            return Err(sources.error_at("max_value", "must be at most 10 GiB"));
        }
        let (TimeSpan(lock_timeout), TimeSpan(tidy_after)) = (data.lock_timeout, data.tidy_after);
        let layers = LayerSettings {
            compress_from_bytes: data.compress.map(|Size(bytes)| bytes),
            encryption_keys: data.encryption_keys,
        };
        if !layers.is_empty() && max_value > Limits::MAX_VALUE_LIMIT {
            let text = "must be at most 100 MiB with compress or encryption_keys, which work on whole values in memory";
            return Err(sources.error_at("max_value", text));
        }
        if !layers.is_empty() && store.is_remote() {
            let name = if layers.encryption_keys.is_some() { "encryption_keys" } else { "compress" };
            let text = "is a setting of the server; it cannot be used with a store over HTTP";
            return Err(sources.error_at(name, text));
        }
        let hooks = hook_runtime::resolve(hooks, &sources)?;
        Ok(Self {
            bucket: global.bucket,
            store,
            store_options: StoreOptions {
                // Longer values are never in memory.
                limits: Limits { max_value_bytes: max_value.min(Limits::MAX_VALUE_LIMIT) },
                lock_timeout,
                tidy_after,
                tidy_up_to: data.tidy_up_to.0 as u64,
                is_short_lived: false,
                memory_copy: None,
                lacks_layers: false,
                secret_file: data.secret_file,
            },
            max_value: max_value as u64,
            layers,
            auth: AuthFile {
                is_required: data.auth.is_some(),
                path: data.auth.unwrap_or_else(|| home.join("auth.txt")),
            },
            hooks: if global.no_hooks { hooks.disabled() } else { hooks },
            server: ServerSettings::resolve(serve, &sources, &file_policies, max_value)?,
            quiet: global.quiet,
            sources,
            file_policies,
        })
    }

    /// The bucket, for commands that work on one.
    pub(crate) fn bucket(&self) -> Bucket {
        self.bucket.clone().unwrap_or_default()
    }

    /// A client of that bucket.
    pub(crate) fn client(&self) -> CliResult<Client> {
        Ok(Client::new(self.open()?.store).with_bucket(self.bucket()))
    }

    /// Opens the store with its layers. Writes through it send write hooks.
    pub(crate) fn open(&self) -> CliResult<OpenStore> {
        let limits = self.store_options.limits;
        let lacks_layers = self.layers.is_empty();
        let options =
            StoreOptions { limits: self.layers.inner_limits(limits), lacks_layers, ..self.store_options.clone() };
        let opened = self.store.open(options)?;
        let layered = self.layers.over(opened.store, limits)?;
        Ok(OpenStore { store: self.hooks.over(layered), ..opened })
    }

    /// A warning, if every user of the machine can read or change the secrets or the encryption keys.
    pub(crate) fn exposure(&self) -> Option<String> {
        let secret_file = self.store_options.secret_file.as_ref();
        let of_secret = secret_file.and_then(|file| exposure("secret", file));
        let found = [exposure("secrets", &self.auth.path), self.layers.exposure(), of_secret];
        found.into_iter().flatten().reduce(|one, other| format!("{one}; {other}"))
    }

    /// Prints a message that is not data, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

fn store_below(url: &str, dir: &Path) -> Result<OsString, String> {
    url.parse::<StoreUrl>().map(|url| url.below(dir).with_password().into()).map_err(|e| e.to_string())
}

fn path_below(path: &str, dir: &Path) -> Result<OsString, String> {
    Ok(dir.join(tilde::path(path.into())?).into_os_string())
}

impl AuthFile {
    /// Reads the secrets. Without a file there are no secrets, and writes are off.
    pub(crate) fn read(&self) -> CliResult<SecretList> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => SecretList::parse(&text).map_err(|e| Failure::Usage(format!("{}: {e}", self.path.display()))),
            // A dangling link is an error, not a missing file.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.is_required && !self.path.is_symlink() => {
                Ok(SecretList::none())
            }
            Err(e) => Err(Failure::file("read the secrets in", &self.path, &e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::command::CommandLine;
    use crate::cli::config::flags::SocketMode;
    use crate::server;

    fn from_arguments(arguments: &[&str]) -> CliResult<CliSettings> {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        let (typed, matches) = CommandLine::parse(&arguments).unwrap();
        CliSettings::resolve(typed.global, &matches, &HomeDir::for_commands().unwrap())
    }

    fn resolve(typed: &[&str], config: &str) -> CliResult<CliSettings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), config.as_bytes()).unwrap();
        from_arguments(&[&["kvs", "serve", "--config", path.to_str().unwrap()], typed].concat())
    }

    fn error(typed: &[&str], config: &str) -> String {
        match resolve(typed, config) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{config:?} gave {other:?}"),
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_default() {
        let config = "store: yaml:x\nmax_waiters: 8\nmax_wait: 3s\nhttp: [':1', ':2']\n";
        let settings = resolve(&["--store", "memory:", "--max-waiters", "7", "--fastcgi", "unix:/s"], config).unwrap();
        assert_eq!(settings.store.to_string(), "memory:");
        assert_eq!(settings.server.max_waiters, 7);
        assert_eq!(settings.server.max_wait, Duration::from_secs(3));
        assert_eq!(settings.server.limits.header_timeout, Duration::from_secs(10));
        assert_eq!(settings.store_options.limits, Limits::default());
        assert_eq!(settings.server.listen.http.len(), 2);
        // Lists are not merged.
        let settings = resolve(&["--http", ":3,:4,:5"], config).unwrap();
        assert_eq!(settings.server.listen.http, [":3", ":4", ":5"].map(|a| a.parse().unwrap()));
    }

    #[test]
    fn defaults_are_those_of_the_floors_below() {
        let CliSettings { server: serving, store_options: options, .. } = resolve(&[], "").unwrap();
        let default = server::ServerLimits::default();
        let server::ServerLimits { body, piecewise_body, bodies, .. } = serving.limits.clone();
        assert_eq!(serving.limits, server::ServerLimits { body, piecewise_body, bodies, ..default });
        assert_eq!(piecewise_body, 1 << 20);
        assert_eq!(serving.listen.socket_mode, SocketMode(server::SOCKET_MODE));
        let files = crate::yaml::YamlOptions::default();
        assert_eq!((options.limits, options.lock_timeout), (Limits::default(), files.lock_timeout));
        assert_eq!((options.tidy_after, options.tidy_up_to), (files.tidy_after, files.tidy_up_to));
        assert_eq!(serving.policies.default, crate::web::Policy::default());
    }

    #[test]
    fn paths_in_the_file_are_relative_to_its_folder() {
        let settings = resolve(&[], "store: yaml:data\nauth: a.txt\n").unwrap();
        let dir = settings.sources.path().parent().unwrap();
        assert_eq!(settings.store.folder().unwrap(), dir.join("data"));
        assert_eq!(settings.auth.path, dir.join("a.txt"));
        assert!(settings.auth.is_required);
    }

    #[test]
    fn errors_have_the_line_in_the_file_or_the_name_of_the_flag() {
        for (config, says) in [
            ("reads: open\nmax_value: 11GiB\n", "config.yaml: line 2: max_value: must be at most 10 GiB"),
            ("\nmax_connections: 0\n", "config.yaml: line 2: max_connections: must be at least 1"),
            ("reads: open\nmax_value: big\n", "line 2: max_value: bad size"),
            ("store: mysql:x\n", "line 1: store: no store of this kind; the kinds are: yaml:DIR, memory:"),
            ("max-wait: 1\n", "line 1: there is no setting `max-wait`; did you mean `max_wait`?"),
            ("port: 80\n", "line 1: there is no setting `port`; the names are store, auth"),
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
            let text = error(&[], config);
            assert!(text.contains(says), "{config:?} gave {text}");
        }
        assert!(error(&["--max-value", "11GiB"], "").starts_with("--max-value: must be at most 10 GiB"));
        assert!(error(&["--policy", "a: reads=open;a: max_age=1s"], "").starts_with("--policy: the bucket a is given"));
        assert!(error(&["--policy", "a: max_value=2MiB"], "").starts_with("--policy: a: max_value: 2 MiB is more"));
        assert!(error(&["--max-wait", "1s"], "max_wait: soon\n").contains("line 1: max_wait: bad span"));
        assert!(resolve(&[], "max_value: 10GiB\n").is_ok());
    }

    #[test]
    fn policies_are_merged_field_by_field() {
        let config = "reads: secret\nbuckets:\n  a: {reads: listed, max_age: 5s}\n  b:\n";
        let typed =
            ["--policy", "a: reads=open, timestamps=client", "--policy", "c: max_value=1KiB", "--max-age", "9s"];
        let policies = resolve(&typed, config).unwrap().server.policies;
        let shown = |name: &str| {
            crate::cli::config::policies::in_file_form(policies.for_bucket(&Bucket::new(name).unwrap()), 1 << 20)
        };
        assert_eq!(shown("a"), "{reads: open, writes: secret, timestamps: client, max_age: 5s, max_value: 1 MiB}");
        assert_eq!(shown("b"), "{reads: secret, writes: secret, timestamps: server, max_age: 9s, max_value: 1 MiB}");
        assert_eq!(shown("c"), "{reads: secret, writes: secret, timestamps: server, max_age: 9s, max_value: 1 KiB}");
        assert_eq!(policies.by_bucket.len(), 3);
    }

    #[test]
    fn a_file_that_the_user_names_must_exist() {
        let settings = from_arguments(&["kvs", "get", "a", "--config", "/nowhere/config.yaml"]);
        assert!(matches!(settings, Err(Failure::Failed(text)) if text.contains("/nowhere/config.yaml")));
        let auth = |is_required| AuthFile { path: "/nowhere/auth.txt".into(), is_required };
        assert!(auth(true).read().is_err());
        assert!(auth(false).read().is_ok());
    }
}
