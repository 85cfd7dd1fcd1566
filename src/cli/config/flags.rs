//! The flags of all settings, each with its environment variable and its default.
//!
//! A field is a flag by its `long`, a variable by its `env`, and a name in `config.yaml` by its own name. Parsing
//! checks one value at a time; [`super::settings`] checks what they mean together.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgAction, Args};

use super::policies::{AllowedOrigin, BucketPolicy, MaxAge};
use super::tilde;
use super::units::{Percent, Size, TimeSpan, count};
use crate::cli::log::{LogFormat, RequestLog};
use crate::layers::ReadPolicy;
use crate::model::{Bucket, Error, ErrorKind};
use crate::server::{Address, Proxy};
use crate::web::{MetricsAccess, Reads, Timestamps, Writes};

/// The flags that every command accepts. The help of a command shows only the flags that it uses.
#[derive(Args, Debug)]
#[command(next_help_heading = "Common options")]
pub(crate) struct GlobalFlags {
    /// The bucket [default: default]
    #[arg(short, long, env = "KVS_BUCKET", value_name = "NAME")]
    pub(crate) bucket: Option<Bucket>,
    /// The settings file [default: config.yaml]
    #[arg(long, env = "KVS_CONFIG", value_name = "FILE", value_parser = path())]
    pub(crate) config: Option<PathBuf>,
    // Only so that the parser accepts them: super::sources reads their values.
    #[command(flatten)]
    data: DataFlags,
    /// Do not send write hooks
    #[arg(long)]
    pub(crate) no_hooks: bool,
    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more; -vv prints everything
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print help
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,
    // Last, because its heading also applies to the fields after it.
    #[command(flatten)]
    hooks: HookFlags,
}

/// Everything that can be set by a flag, by a variable and in `config.yaml`.
#[derive(Args, Debug)]
pub(crate) struct SettingFlags {
    #[command(flatten)]
    pub(crate) data: DataFlags,
    #[command(flatten)]
    pub(crate) hooks: HookFlags,
    #[command(flatten)]
    pub(crate) serve: ServeFlags,
}

/// The store and how it is used.
#[derive(Args, Debug)]
pub(crate) struct DataFlags {
    /// The store: `yaml:DIR` (files in a folder), `postgresql://USER@HOST/DATABASE`, `https://HOST/PATH/` (a kvs
    /// server), or `memory:` (lost at exit) [default: yaml:data]
    // A String, because the parser would show the value in an error, and a URL may contain a password.
    #[arg(long, env = "KVS_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The file of secrets [default: auth.txt]
    #[arg(long, env = "KVS_AUTH", value_name = "FILE", value_parser = path())]
    pub(crate) auth: Option<PathBuf>,
    /// The file with the secret for a store over HTTP [default: the variable `KVS_SECRET`, else it is asked for]
    #[arg(long, env = "KVS_SECRET_FILE", value_name = "FILE", value_parser = path())]
    pub(crate) secret_file: Option<PathBuf>,
    /// The largest value that can be stored, at most 10GiB
    #[arg(long, env = "KVS_MAX_VALUE", value_name = "SIZE", default_value = "1MiB")]
    pub(crate) max_value: Size,
    /// How long to wait for a lock that another process holds, or for earlier writes
    #[arg(long, env = "KVS_LOCK_TIMEOUT", value_name = "TIME", default_value = "5s")]
    pub(crate) lock_timeout: TimeSpan,
    /// Rewrite a data file as one document after this time without writes; 0s: never
    #[arg(long, env = "KVS_TIDY_AFTER", value_name = "TIME", default_value = "2s")]
    pub(crate) tidy_after: TimeSpan,
    /// The largest data file that is rewritten in this way, and of which a copy is kept
    #[arg(long, env = "KVS_TIDY_UP_TO", value_name = "SIZE", default_value = "1MiB")]
    pub(crate) tidy_up_to: Size,
    /// Compress values from this size on, as in 4KiB [default: none]
    #[arg(long, env = "KVS_COMPRESS", value_name = "SIZE")]
    pub(crate) compress: Option<Size>,
    /// Encrypt values with the first key in this file; decrypt with all of them [default: none]
    #[arg(long, env = "KVS_ENCRYPTION_KEYS", value_name = "FILE", value_parser = path())]
    pub(crate) encryption_keys: Option<PathBuf>,
}

/// Where to send write hooks.
#[derive(Args, Debug)]
#[command(next_help_heading = "Write hooks")]
pub(crate) struct HookFlags {
    /// Send `PURGE` for each changed key to this cache, as in `http://127.0.0.1:6081`; repeatable [default: none]
    // Strings, because the parser would show the value in an error, and a URL may be a secret.
    #[arg(long, env = "KVS_PURGE", value_name = "URL", value_delimiter = ',')]
    pub(crate) purge: Vec<String>,
    /// Post each change to this URL as signed JSON; repeatable [default: none]
    #[arg(long, env = "KVS_WEBHOOK", value_name = "URL", value_delimiter = ',')]
    pub(crate) webhook: Vec<String>,
    /// The key that signs events, at least 16 characters, or `file:PATH` of a file with the key [default: none]
    #[arg(long, env = "KVS_WEBHOOK_SECRET", value_name = "SECRET|file:PATH")]
    pub(crate) webhook_secret: Option<String>,
    /// Send hooks only for this bucket; repeatable [default: all]
    #[arg(long, env = "KVS_HOOK_BUCKETS", value_name = "NAME", value_delimiter = ',')]
    pub(crate) hook_buckets: Vec<Bucket>,
    #[command(flatten)]
    pub(crate) limits: HookLimitFlags,
}

/// How much, how often and how long write hooks are sent.
#[derive(Args, Debug)]
#[expect(clippy::struct_field_names, reason = "a field has the name of its setting")]
pub(crate) struct HookLimitFlags {
    /// How many events may wait for each URL
    #[arg(long, env = "KVS_HOOK_QUEUE", value_name = "N", default_value = "10000", value_parser = count)]
    pub(crate) hook_queue: usize,
    /// How many times a request is sent before its event is dropped
    #[arg(long, env = "KVS_HOOK_MAX_ATTEMPTS", value_name = "N", default_value = "10")]
    pub(crate) hook_max_attempts: u32,
    /// How old an event may become before it is dropped
    #[arg(long, env = "KVS_HOOK_MAX_AGE", value_name = "TIME", default_value = "5m")]
    pub(crate) hook_max_age: TimeSpan,
    /// How long one request may take
    #[arg(long, env = "KVS_HOOK_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub(crate) hook_timeout: TimeSpan,
    /// How long the program stays at its end to deliver the remaining events; under CGI at most 2.5s
    #[arg(long, env = "KVS_HOOK_DRAIN_TIMEOUT", value_name = "TIME", default_value = "5s")]
    pub(crate) hook_drain_timeout: TimeSpan,
}

/// The settings of a server.
#[derive(Args, Debug)]
pub(crate) struct ServeFlags {
    #[command(flatten)]
    pub(crate) listen: ListenFlags,
    #[command(flatten)]
    pub(crate) policies: PolicyFlags,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
}

/// What is logged, and how.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogFlags {
    /// The form of the log: `text`, or `json` for an object on each line
    #[arg(long, env = "KVS_LOG_FORMAT", value_name = "text|json", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Whether to log a line for each request, and to send its id in the header `X-Request-Id`
    #[arg(long, env = "KVS_REQUEST_LOG", value_name = "on|off", default_value = "off")]
    pub(crate) request_log: RequestLog,
}

/// Where to listen.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenFlags {
    /// Listen for HTTP on this address and port; repeatable [default: 127.0.0.1:8080]
    #[arg(long, env = "KVS_HTTP", value_name = "ADDR", value_delimiter = ',', value_parser = tilde::address)]
    pub(crate) http: Vec<Address>,
    /// Listen for FastCGI on this socket, or address and port; repeatable [default: none]
    #[arg(long, env = "KVS_FASTCGI", value_name = "unix:PATH|ADDR")]
    #[arg(value_delimiter = ',', value_parser = tilde::address)]
    pub(crate) fastcgi: Vec<Address>,
    /// The URL path under which the web server publishes kvs, such as `/kvs` [default: none]
    #[arg(long, env = "KVS_BASE_PATH", value_name = "PATH")]
    pub(crate) base_path: Option<String>,
    /// The file mode of Unix sockets; the user of the web server needs write permission
    #[arg(long, env = "KVS_SOCKET_MODE", value_name = "MODE", default_value = "660")]
    pub(crate) socket_mode: SocketMode,
    /// Trust `Forwarded` and `X-Forwarded-For` from this HTTP proxy: an address, a network such as 10.0.0.0/8, or
    /// `unix` for all Unix sockets; repeatable [default: none]
    #[arg(long, env = "KVS_TRUSTED_PROXIES", value_name = "ADDR|NETWORK|unix", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<Proxy>,
}

/// Who may read what, and how long caches keep it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Access and caching")]
pub(crate) struct PolicyFlags {
    /// Who may read without a secret. `open`: anyone, if they know the key; `listed`: anyone, and they may list keys;
    /// `secret`: no one
    #[arg(long, env = "KVS_READS", value_name = "open|secret|listed", default_value = "open")]
    pub(crate) reads: Reads,
    /// Whether writes need a secret: `secret`, or `open` for anyone who can reach the server
    #[arg(long, env = "KVS_WRITES", value_name = "secret|open", default_value = "secret")]
    pub(crate) writes: Writes,
    /// Who sets the modification time of an entry: the server or, as in Poky, the client
    #[arg(long, env = "KVS_TIMESTAMPS", value_name = "server|client", default_value = "server")]
    pub(crate) timestamps: Timestamps,
    /// How long shared caches may keep a value without asking; they must be purged when it changes; 0s: never
    #[arg(long, env = "KVS_MAX_AGE", value_name = "TIME", default_value = "0s")]
    pub(crate) max_age: MaxAge,
    /// Answer reads from a copy of the data in memory, at most this much older than the store; `any`: of any age, also
    /// while the store cannot be reached [default: none]
    #[arg(long, env = "KVS_MEMORY_COPY", value_name = "TIME|any")]
    pub(crate) memory_copy: Option<MemoryCopy>,
    /// The policy of one bucket, as in `shop: reads=secret, timestamps=client, max_age=60s, max_value=64KiB`, or of all
    /// whose names begin so, as in `shop-*: writes=open`; repeatable, in the variable separated by `;` [default: none]
    #[arg(long = "policy", env = "KVS_POLICY", value_name = "POLICY", value_delimiter = ';')]
    pub(crate) buckets: Vec<BucketPolicy>,
    /// Let pages of this origin read answers (CORS), as in `https://app.example`; `*` allows all; repeatable
    /// [default: none]
    #[arg(long, env = "KVS_CORS", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) cors: Vec<AllowedOrigin>,
    /// Who may read `/metrics`: `open` (anyone), `secret` (only with a secret that can read), `off` (no one)
    #[arg(long, env = "KVS_METRICS", value_name = "open|secret|off", default_value = "open")]
    pub(crate) metrics: MetricsAccess,
}

/// How much clients may use.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// The longest time a read may wait for a change (`&wait=`)
    #[arg(long, env = "KVS_MAX_WAIT", value_name = "TIME", default_value = "25s")]
    pub(crate) max_wait: TimeSpan,
    /// How many reads may wait at the same time
    #[arg(long, env = "KVS_MAX_WAITERS", value_name = "N", default_value = "10000", value_parser = count)]
    pub(crate) max_waiters: usize,
    /// How many connections each listener may have at the same time
    #[arg(long, env = "KVS_MAX_CONNECTIONS", value_name = "N", default_value = "12000", value_parser = count)]
    pub(crate) max_connections: usize,
    /// The share of the connections, of the waiting reads and of the two memories below that one address may use; an
    /// IPv6 network of 64 bits counts as one address
    #[arg(long, env = "KVS_ADDRESS_SHARE", value_name = "PERCENT", default_value = "50%")]
    pub(crate) address_share: Percent,
    /// The memory of all request bodies together; more if one body may be larger
    #[arg(long, env = "KVS_BODY_MEMORY", value_name = "SIZE", default_value = "64MiB")]
    pub(crate) body_memory: Size,
    /// How long the head of a request may take to arrive
    #[arg(long, env = "KVS_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub(crate) header_timeout: TimeSpan,
    /// How long the body of a request may take to arrive
    #[arg(long, env = "KVS_BODY_TIMEOUT", value_name = "TIME", default_value = "60s")]
    pub(crate) body_timeout: TimeSpan,
    /// The memory of all answers together, without values that the store holds anyway; more if one answer may be larger
    #[arg(long, env = "KVS_RESPONSE_MEMORY", value_name = "SIZE", default_value = "256MiB")]
    pub(crate) response_memory: Size,
    /// In each period of this length a client must read 16 KiB per second of its answer, or all that is left
    #[arg(long, env = "KVS_RESPONSE_TIME", value_name = "TIME", default_value = "60s")]
    pub(crate) response_time: TimeSpan,
}

/// Parses a path; `~/` at its beginning is the home folder, as in a shell.
fn path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(tilde::path)
}

/// The mode of a file in octal digits, as for `chmod`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SocketMode(pub(crate) u32);

impl FromStr for SocketMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.map(Self).ok_or_else(|| format!("bad mode {text:?}: write it in octal digits, as 660 or 666"))
    }
}

/// How old the copy in memory may be: a time, or `any`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemoryCopy(pub(crate) ReadPolicy);

impl FromStr for MemoryCopy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "any" {
            return Ok(Self(ReadPolicy::FrontOnly));
        }
        let or_any = |error| Error::new(ErrorKind::Invalid, format!("{error}, or any"));
        let TimeSpan(max_age) = text.parse().map_err(or_any)?;
        Ok(Self(ReadPolicy::FrontFirst { max_age }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_copy_has_an_age_or_any() {
        let max_age = std::time::Duration::from_millis(1500);
        let copy = |text: &str| text.parse::<MemoryCopy>().map(|MemoryCopy(policy)| policy).unwrap();
        assert_eq!(copy("1500ms"), ReadPolicy::FrontFirst { max_age });
        assert_eq!(copy("any"), ReadPolicy::FrontOnly);
        assert!("always".parse::<MemoryCopy>().unwrap_err().to_string().ends_with(", or any"));
    }

    #[test]
    fn socket_modes_are_octal_permission_bits() {
        assert_eq!("660".parse(), Ok(SocketMode(0o660)));
        assert_eq!("0777".parse(), Ok(SocketMode(0o777)));
        for bad in ["", "66", "888", "+66", "4755", "rw-"] {
            assert!(bad.parse::<SocketMode>().is_err(), "{bad}");
        }
    }
}
