//! The URL of a store: the server, as PostgreSQL's own clients write it, and the parameters of kvs.
//!
//! No error text made here contains a password, or anything that could be a part of one.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config as ClientConfig;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Trust;
use crate::model::{Error, ErrorKind, Result, parse_span};
use crate::postgres::sql::schema::{TableNames, TableOptions};

/// The longest name of a table or schema. Names that are derived from it stay below PostgreSQL's limit of 63 bytes.
const MAX_NAME_BYTES: usize = 40;

/// The longest `statement_timeout` that PostgreSQL accepts.
const MAX_STATEMENT_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// A parameter within this many edits of one of ours is a misspelling of it.
const MAX_TYPO_EDITS: usize = 2;

/// The timeout of a connection attempt, unless the URL has `connect_timeout`.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The parameters of kvs. All others are for the client library.
const OURS: &[&str] =
    &["expired", "layout", "mode", "pool_size", "schema", "sslmode", "sslrootcert", "statement_timeout", "table"];

#[derive(Clone, Debug)]
pub(crate) struct Url {
    /// The configuration of the client library.
    pub(crate) client: ClientConfig,
    pub(crate) trust: Trust,
    pub(crate) names: TableNames,
    pub(crate) table_options: TableOptions,
    /// The most connections of one runtime. Default: 8.
    pub(crate) pool_size: usize,
    /// The longest time of a statement; zero: no limit. Default: 30 s.
    pub(crate) statement_timeout: Duration,
    pub(crate) expiry: ExpiryPolicy,
}

/// When expired entries are removed from the table. Readers never see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum ExpiryPolicy {
    /// By the read that finds them.
    OnRead,
    /// By maintenance.
    #[default]
    Sweep,
    /// Never.
    Never,
}

impl Url {
    /// Parses the text.
    ///
    /// # Errors
    /// `Invalid`, with the parameter that is wrong or unknown.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (server, query) = split(text)?;
        let mut client_parameters = Vec::new();
        let mut own_parameters = OwnParameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| invalid(name, "must be UTF-8"))?;
            if OURS.contains(&name) {
                own_parameters.set(name, &value)?;
            } else if name == "host" {
                // The client library expects one host per parameter.
                client_parameters
                    .extend(pair.trim_start_matches("host=").split(',').map(|host| format!("host={host}")));
            } else {
                check_name(name)?;
                client_parameters.push(pair.to_owned());
            }
        }
        let client = format!("{server}?{}", client_parameters.join("&")).parse::<ClientConfig>();
        // The error names an unknown or wrong parameter, never its value.
        let client = client.map_err(|e| Error::new(ErrorKind::Invalid, "invalid PostgreSQL URL").with_source(e))?;
        Ok(own_parameters.into_url(with_defaults(client)))
    }

    /// The server and the database, without user and password: `postgresql://db:5432/kvs`.
    pub(crate) fn location(&self) -> String {
        let client = &self.client;
        let ports = client.get_ports();
        let port = |n: usize| ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        let hosts = client.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let all = hosts.chain(client.get_hostaddrs().iter().map(ToString::to_string));
        let all: Vec<String> = all.enumerate().map(|(n, host)| format!("{host}:{}", port(n))).collect();
        let database = client.get_dbname().or(client.get_user()).unwrap_or_default();
        format!("postgresql://{}/{database}", all.join(","))
    }
}

/// The URL up to its `?`, and the parameters.
pub(crate) fn split(text: &str) -> Result<(&str, &str)> {
    let (server, query) = text.split_once('?').unwrap_or((text, ""));
    if query.contains('@') || server.contains('#') {
        let text = "write '/', '?', '#', '@' and '%' in a user's name or password as %2F, %3F, %23, %40 and %25";
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok((server, query))
}

/// Sets the defaults of kvs where the URL has no value.
fn with_defaults(mut client: ClientConfig) -> ClientConfig {
    if client.get_application_name().is_none() {
        client.application_name("kvs");
    }
    if client.get_user().is_none() {
        let user = std::env::var("PGUSER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "postgres".to_owned());
        client.user(user);
    }
    if client.get_hosts().is_empty() && client.get_hostaddrs().is_empty() {
        client.host("/var/run/postgresql");
    }
    if client.get_connect_timeout().is_none() {
        client.connect_timeout(CONNECT_TIMEOUT);
    }
    if client.get_tcp_user_timeout().is_none() {
        // A server that vanished without closing its connections, as in a failover, is noticed within this time.
        client.tcp_user_timeout(2 * CONNECT_TIMEOUT);
    }
    if client.get_keepalives_idle() == ClientConfig::new().get_keepalives_idle() {
        client.keepalives_idle(2 * CONNECT_TIMEOUT);
    }
    client
}

/// The parameters of kvs that the URL has.
#[derive(Default)]
struct OwnParameters {
    schema: Option<String>,
    table: Option<String>,
    table_options: TableOptions,
    pool_size: Option<usize>,
    statement_timeout: Option<Duration>,
    expiry: ExpiryPolicy,
    sslmode: Option<(SslMode, Trust)>,
    sslrootcert: Option<Trust>,
}

impl OwnParameters {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let expiry =
            [("on-read", ExpiryPolicy::OnRead), ("sweep", ExpiryPolicy::Sweep), ("never", ExpiryPolicy::Never)];
        let sslmode = [
            ("disable", (SslMode::Disable, Trust::Any)),
            ("allow", (SslMode::Prefer, Trust::Any)),
            ("prefer", (SslMode::Prefer, Trust::Any)),
            ("require", (SslMode::Require, Trust::Any)),
            ("verify-ca", (SslMode::Require, Trust::System)),
            ("verify-full", (SslMode::Require, Trust::System)),
        ];
        match name {
            "schema" => self.schema = Some(identifier(name, value)?),
            "table" => self.table = Some(identifier(name, value)?),
            "mode" => self.table_options.unlogged = choice(name, value, [("regular", false), ("unlogged", true)])?,
            "layout" => self.table_options.partitioned = choice(name, value, [("flat", false), ("partitioned", true)])?,
            "expired" => self.expiry = choice(name, value, expiry)?,
            "pool_size" => {
                let size = value.parse().ok().filter(|size| (1..=1000).contains(size));
                self.pool_size = Some(size.ok_or_else(|| invalid(name, "must be 1 to 1000 connections"))?);
            }
            "statement_timeout" => {
                let timeout = statement_timeout(value);
                let wrong = || invalid(name, "must be a time such as 500ms, 30s or 2min, at most 24d; 0: no limit");
                self.statement_timeout = Some(timeout.ok_or_else(wrong)?);
            }
            "sslmode" => self.sslmode = Some(choice(name, value, sslmode)?),
            _ if value == "system" => self.sslrootcert = Some(Trust::System),
            _ => self.sslrootcert = Some(Trust::File(value.into())),
        }
        Ok(())
    }

    fn into_url(self, mut client: ClientConfig) -> Url {
        let (mode, trust) = self.sslmode.unwrap_or((SslMode::Prefer, Trust::Any));
        client.ssl_mode(mode);
        Url {
            client,
            trust: self.sslrootcert.unwrap_or(trust),
            names: TableNames::new(self.schema.as_deref(), self.table.as_deref().unwrap_or("kvs")),
            table_options: self.table_options,
            pool_size: self.pool_size.unwrap_or(8),
            statement_timeout: self.statement_timeout.unwrap_or(Duration::from_secs(30)),
            expiry: self.expiry,
        }
    }
}

fn invalid(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("invalid PostgreSQL URL: {name} {why}"))
}

/// The value with this name.
fn choice<T, const N: usize>(name: &str, value: &str, choices: [(&str, T); N]) -> Result<T> {
    let known = choices.each_ref().map(|(choice, _)| *choice).join(", ");
    let chosen = choices.into_iter().find(|(choice, _)| *choice == value);
    chosen.map(|(_, chosen)| chosen).ok_or_else(|| invalid(name, &format!("must be one of {known}")))
}

/// The name of a table or a schema. Only such names are safe inside quotes in a statement.
fn identifier(name: &str, value: &str) -> Result<String> {
    let begins = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let good = begins && value.len() <= MAX_NAME_BYTES && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let bad =
        || invalid(name, &format!("must be 1 to {MAX_NAME_BYTES} letters, digits and '_', and not begin with a digit"));
    good.then(|| value.to_owned()).ok_or_else(bad)
}

/// A number without a unit is milliseconds, as in the settings of PostgreSQL.
fn statement_timeout(text: &str) -> Option<Duration> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let span = if is_number { parse_span(&format!("{text}ms")) } else { parse_span(text) };
    span.ok().filter(|span| *span <= MAX_STATEMENT_TIMEOUT)
}

/// Refuses misspelled parameters of kvs, and text that is not a parameter.
fn check_name(name: &str) -> Result<()> {
    // Only text that looks like a name is shown: anything else may be the end of a password.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        let text = "invalid PostgreSQL URL: expected parameters after '?', as in ?table=kvs&pool_size=8";
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    match OURS.iter().find(|ours| strsim::osa_distance(ours, name) <= MAX_TYPO_EDITS) {
        Some(ours) => Err(Error::new(
            ErrorKind::Invalid,
            format!("invalid PostgreSQL URL: unknown parameter {name}; did you mean {ours}?"),
        )),
        None => Ok(()),
    }
}

/// Checks the URL of a store without asking the server.
///
/// # Errors
/// As for [`PostgresStore::open`](crate::postgres::PostgresStore::open).
pub fn check_url(url: &str) -> Result<()> {
    Url::parse(url).map(drop)
}

/// The server, the database and the table of a URL, without user, password and other parameters. Two URLs with the same
/// location are the same store. `None` if the URL is invalid.
pub fn location_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{} {}", url.location(), url.names.table))
}

/// The URL with `***` for its password, for logs and messages.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // Up to the last '@': a password that is not encoded may contain any character.
    let rest: Cow<'_, str> = match rest.rsplit_once('@') {
        Some((user, rest)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{rest}").into(),
            None => format!("{user}@{rest}").into(),
        },
        None => rest.into(),
    };
    let Some((server, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let hide = |pair: &str| if pair.starts_with("password=") { "password=***".to_owned() } else { pair.to_owned() };
    let query: Vec<String> = query.split('&').map(hide).collect();
    format!("{scheme}://{server}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_parameters_are_removed_and_the_rest_is_passed_on() {
        let text = "postgres://me:p%40ss@a:5433,b/db?table=t&target_session_attrs=read-write&schema=s&pool_size=3\
                    &statement_timeout=2s&mode=unlogged&layout=partitioned&expired=never&application_name=web";
        let url = Url::parse(text).unwrap();
        assert_eq!(url.names, TableNames::new(Some("s"), "t"));
        assert_eq!(url.table_options, TableOptions { unlogged: true, partitioned: true });
        assert_eq!(
            (url.pool_size, url.statement_timeout, url.expiry),
            (3, Duration::from_secs(2), ExpiryPolicy::Never)
        );
        assert_eq!(url.client.get_hosts().len(), 2);
        assert_eq!(url.client.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(url.client.get_application_name(), Some("web"));
        assert_eq!(url.client.get_dbname(), Some("db"));
    }

    #[test]
    fn missing_parameters_have_defaults() {
        let hosts = Url::parse("postgresql:///db?host=a,/b&port=1,2").unwrap().client;
        assert_eq!((hosts.get_hosts().len(), hosts.get_ports()), (2, &[1, 2][..]));
        let url = Url::parse("postgresql:///db").unwrap();
        assert_eq!(url.names, TableNames::new(None, "kvs"));
        assert_eq!((url.table_options, url.pool_size, url.expiry), (TableOptions::default(), 8, ExpiryPolicy::Sweep));
        assert_eq!(url.client.get_application_name(), Some("kvs"));
        assert_eq!(url.client.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(url.trust, Trust::Any);
    }

    #[test]
    fn sslmode_means_the_same_as_in_other_clients() {
        let of = |query: &str| Url::parse(&format!("postgresql://h/db?{query}")).unwrap();
        assert_eq!(of("sslmode=disable").client.get_ssl_mode(), SslMode::Disable);
        let full = of("sslmode=verify-full");
        assert_eq!((full.client.get_ssl_mode(), full.trust), (SslMode::Require, Trust::System));
        let own = of("sslmode=require&sslrootcert=/etc/ca.pem");
        assert_eq!((own.client.get_ssl_mode(), own.trust), (SslMode::Require, Trust::File("/etc/ca.pem".into())));
    }

    #[test]
    fn errors_name_the_wrong_parameter() {
        for (query, expected) in [
            ("tabel=t", "did you mean table?"),
            ("statement_timout=1", "did you mean statement_timeout?"),
            ("target_session_attr=any", "unknown option `target_session_attr`"),
            ("table=a-b", "table must be 1 to 40 letters"),
            ("schema=1a", "schema must be 1 to 40 letters"),
            ("mode=fast", "mode must be one of regular, unlogged"),
            ("layout=tree", "layout must be one of flat, partitioned"),
            ("expired=maybe", "expired must be one of on-read, sweep, never"),
            ("pool_size=0", "pool_size must be 1 to 1000"),
            ("statement_timeout=25d", "statement_timeout must be a time"),
            ("statement_timeout=", "statement_timeout must be a time"),
            ("sslmode=yes", "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full"),
            ("port=x", "port"),
        ] {
            let error = Url::parse(&format!("postgresql://me:hunter2@h/db?{query}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{query}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn statement_timeout_is_in_milliseconds_unless_it_has_a_unit() {
        for (text, millis) in
            [("0", 0), ("250", 250), ("250ms", 250), ("30s", 30_000), ("2min", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(statement_timeout(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn parameters_of_the_client_library_are_not_misspellings() {
        for name in
            ["application_name", "dbname", "hostaddr", "keepalives", "options", "port", "sslnegotiation", "user"]
        {
            check_name(name).unwrap();
        }
    }

    #[test]
    fn no_error_shows_a_password_that_is_not_encoded() {
        for url in [
            "postgresql://me:hun?ter2@h/db",
            "postgresql://me:hun?ter2&x=hunter@h/db",
            "postgresql://me:hun/ter2@h/db",
            "postgresql://me:hun#ter2@h/db",
            "postgresql://me:hun@ter2@h:x/db",
            "postgresql://me:hun%ter2@h/db",
            "postgresql://h/db?password=hunter2&tabel=x",
            "postgresql://h:hunter2/db",
        ] {
            if let Err(error) = Url::parse(url) {
                assert!(!error.to_string().contains("ter2") && !error.to_string().contains("hun"), "{url}: {error}");
            }
            let shown = without_password(url);
            assert!(!shown.contains("ter2@") && !shown.contains("password=h"), "{shown}");
        }
        assert_eq!(
            without_password("postgresql://me:x@h/db?password=y&pool_size=2"),
            "postgresql://me:***@h/db?password=***&pool_size=2"
        );
        assert_eq!(without_password("postgresql://me@h/db"), "postgresql://me@h/db");
    }
}
