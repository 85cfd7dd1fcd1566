//! `postgresql://...`: where the server is, as its own clients write it, and besides what is set for kvs.
//!
//! No text made here shows a password, and no part of what might be one.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::schema::{Making, Names};
use super::tls::Trust;
use crate::model::{Error, Kind, Result};

/// The longest name of a table or schema, so that what is named after it is not too long.
const LONGEST: usize = 40;

/// How long to wait for a server that is not there, unless the URL says otherwise.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The parameters of our own.
const OURS: &[&str] =
    &["expired", "layout", "mode", "pool", "schema", "sslmode", "sslrootcert", "statement_timeout", "table"];

/// The parameters of PostgreSQL's that the client knows.
const THEIRS: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// What a URL says.
#[derive(Clone, Debug)]
pub(super) struct Url {
    /// For the client.
    pub(super) config: Config,
    /// Who vouches for the server.
    pub(super) trust: Trust,
    /// The tables.
    pub(super) names: Names,
    /// How to make them.
    pub(super) making: Making,
    /// At most so many connections.
    pub(super) pool: usize,
    /// The longest that a statement may take; zero: as long as it likes.
    pub(super) statement_timeout: Duration,
    /// What becomes of entries that have expired.
    pub(super) expired: Expired,
}

/// What becomes of entries that have expired. No reader sees them, whatever it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Expired {
    /// Removed by who meets them.
    OnRead,
    /// Removed by upkeep.
    #[default]
    Sweep,
    /// Kept.
    Never,
}

impl Url {
    /// What the text says.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter that is wrong or unknown.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (place, query) = split(text)?;
        let mut theirs = Vec::new();
        let mut ours = Ours::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| wrong(name, "is not UTF-8"))?;
            if OURS.contains(&name) {
                ours.take(name, &value)?;
            } else if name == "host" {
                // The client takes one at a time.
                theirs.extend(pair.trim_start_matches("host=").split(',').map(|host| format!("host={host}")));
            } else if THEIRS.contains(&name) {
                theirs.push(pair.to_owned());
            } else {
                return Err(unknown(name));
            }
        }
        let config = format!("{place}?{}", theirs.join("&")).parse::<Config>();
        // The error names a parameter, never its value.
        let config = config.map_err(|e| Error::new(Kind::Invalid, "bad URL of a PostgreSQL").because(e))?;
        Ok(ours.with(completed(config)))
    }

    /// The database, as in `postgresql://db:5432/kvs`.
    pub(super) fn place(&self) -> String {
        let config = &self.config;
        let ports = config.get_ports();
        let port = |n: usize| ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let all = hosts.chain(config.get_hostaddrs().iter().map(ToString::to_string));
        let all: Vec<String> = all.enumerate().map(|(n, host)| format!("{host}:{}", port(n))).collect();
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        format!("postgresql://{}/{database}", all.join(","))
    }
}

/// Where the server is, and the parameters.
pub(super) fn split(text: &str) -> Result<(&str, &str)> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    if query.contains('@') || place.contains('#') {
        let text = "write '/', '?', '#', '@' and '%' in a user's name or password as %2F, %3F, %23, %40 and %25";
        return Err(Error::new(Kind::Invalid, text));
    }
    Ok((place, query))
}

/// The same, with what is not given.
fn completed(mut config: Config) -> Config {
    if config.get_application_name().is_none() {
        config.application_name("kvs");
    }
    if config.get_user().is_none() {
        let user = std::env::var("PGUSER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "postgres".to_owned());
        config.user(user);
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host("/var/run/postgresql");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        // A server that vanished without a word, as in a failover, is noticed within this.
        config.tcp_user_timeout(2 * CONNECT_TIMEOUT);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(2 * CONNECT_TIMEOUT);
    }
    config
}

/// The parameters of our own as far as they were given.
#[derive(Default)]
struct Ours {
    schema: Option<String>,
    table: Option<String>,
    making: Making,
    pool: Option<usize>,
    statement_timeout: Option<Duration>,
    expired: Expired,
    sslmode: Option<(SslMode, Trust)>,
    sslrootcert: Option<Trust>,
}

impl Ours {
    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        match (name, value) {
            ("schema", _) => self.schema = Some(identifier(name, value)?),
            ("table", _) => self.table = Some(identifier(name, value)?),
            ("mode", "regular") => self.making.unlogged = false,
            ("mode", "unlogged") => self.making.unlogged = true,
            ("mode", _) => return Err(wrong(name, "is regular or unlogged")),
            ("layout", "flat") => self.making.partitioned = false,
            ("layout", "partitioned") => self.making.partitioned = true,
            ("layout", _) => return Err(wrong(name, "is flat or partitioned")),
            ("expired", "on-read") => self.expired = Expired::OnRead,
            ("expired", "sweep") => self.expired = Expired::Sweep,
            ("expired", "never") => self.expired = Expired::Never,
            ("expired", _) => return Err(wrong(name, "is on-read, sweep or never")),
            ("pool", _) => {
                let size = value.parse().ok().filter(|size| (1..=1000).contains(size));
                self.pool = Some(size.ok_or_else(|| wrong(name, "is a number of connections from 1 to 1000"))?);
            }
            ("statement_timeout", _) => {
                let span = span(value).ok_or_else(|| wrong(name, "is a time such as 500ms, 30s or 2min; 0: none"))?;
                self.statement_timeout = Some(span);
            }
            ("sslmode", "disable") => self.sslmode = Some((SslMode::Disable, Trust::Anyone)),
            ("sslmode", "allow" | "prefer") => self.sslmode = Some((SslMode::Prefer, Trust::Anyone)),
            ("sslmode", "require") => self.sslmode = Some((SslMode::Require, Trust::Anyone)),
            ("sslmode", "verify-ca" | "verify-full") => self.sslmode = Some((SslMode::Require, Trust::System)),
            ("sslmode", _) => return Err(wrong(name, "is disable, prefer, require or verify-full")),
            (_, "system") => self.sslrootcert = Some(Trust::System),
            (_, file) => self.sslrootcert = Some(Trust::File(file.into())),
        }
        Ok(())
    }

    fn with(self, mut config: Config) -> Url {
        let (mode, trust) = self.sslmode.unwrap_or((SslMode::Prefer, Trust::Anyone));
        config.ssl_mode(mode);
        Url {
            config,
            trust: self.sslrootcert.unwrap_or(trust),
            names: Names::new(self.schema.as_deref(), self.table.as_deref().unwrap_or("kvs")),
            making: self.making,
            pool: self.pool.unwrap_or(8),
            statement_timeout: self.statement_timeout.unwrap_or(Duration::from_secs(30)),
            expired: self.expired,
        }
    }
}

fn wrong(name: &str, what: &str) -> Error {
    Error::new(Kind::Invalid, format!("bad URL of a PostgreSQL: {name} {what}"))
}

/// What a table or a schema may be called, so that it can stand in quotes anywhere.
fn identifier(name: &str, value: &str) -> Result<String> {
    let begins = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let good = begins && value.len() <= LONGEST && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let bad = || wrong(name, &format!("is 1 to {LONGEST} letters, digits and '_', the first no digit"));
    good.then(|| value.to_owned()).ok_or_else(bad)
}

/// A time as PostgreSQL's settings have it: milliseconds unless a unit is given.
fn span(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "" | "ms" => number,
        "s" => number.checked_mul(1000)?,
        "min" => number.checked_mul(60_000)?,
        _ => return None,
    };
    // What PostgreSQL can be told.
    (millis <= 2_147_483_647).then(|| Duration::from_millis(millis))
}

fn unknown(name: &str) -> Error {
    // Only what looks like a name is shown: anything else may be the end of a password.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Error::new(
            Kind::Invalid,
            "bad URL of a PostgreSQL: after '?' come parameters, as in ?table=kvs&pool=8",
        );
    }
    let known = OURS.iter().chain(THEIRS);
    let nearest = known.min_by_key(|known| distance(known, name)).copied().unwrap_or_default();
    wrong(name, &format!("is no parameter there is; did you mean {nearest}?"))
}

/// How many characters must be added, removed or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let here = (corner + usize::from(x != y)).min(left + 1).min(*cell + 1);
            corner = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Whether a store could be opened at this URL, as far as can be told without the server.
///
/// # Errors
/// As for opening it.
pub fn check_url(url: &str) -> Result<()> {
    Url::parse(url).map(drop)
}

/// The tables that a URL leads to, in one spelling whatever else it says, and without user and password: to tell whether
/// two URLs mean the same. None if it is no URL.
pub fn place_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{} {}", url.place(), url.names.table))
}

/// The URL without its password, to be shown.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // Up to the last '@' whatever stands there: a password that is not encoded may hold anything.
    let rest: Cow<'_, str> = match rest.rsplit_once('@') {
        Some((user, rest)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{rest}").into(),
            None => format!("{user}@{rest}").into(),
        },
        None => rest.into(),
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let hide = |pair: &str| if pair.starts_with("password=") { "password=***".to_owned() } else { pair.to_owned() };
    let query: Vec<String> = query.split('&').map(hide).collect();
    format!("{scheme}://{place}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_taken_out_and_the_rest_is_for_the_client() {
        let text = "postgres://me:p%40ss@a:5433,b/db?table=t&target_session_attrs=read-write&schema=s&pool=3\
                    &statement_timeout=2s&mode=unlogged&layout=partitioned&expired=never&application_name=web";
        let url = Url::parse(text).unwrap();
        assert_eq!(url.names, Names::new(Some("s"), "t"));
        assert_eq!(url.making, Making { unlogged: true, partitioned: true });
        assert_eq!((url.pool, url.statement_timeout, url.expired), (3, Duration::from_secs(2), Expired::Never));
        assert_eq!(url.config.get_hosts().len(), 2);
        assert_eq!(url.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(url.config.get_application_name(), Some("web"));
        assert_eq!(url.config.get_dbname(), Some("db"));
    }

    #[test]
    fn what_is_not_given_is_usual() {
        let hosts = Url::parse("postgresql:///db?host=a,/b&port=1,2").unwrap().config;
        assert_eq!((hosts.get_hosts().len(), hosts.get_ports()), (2, &[1, 2][..]));
        let url = Url::parse("postgresql:///db").unwrap();
        assert_eq!(url.names, Names::new(None, "kvs"));
        assert_eq!((url.making, url.pool, url.expired), (Making::default(), 8, Expired::Sweep));
        assert_eq!(url.config.get_application_name(), Some("kvs"));
        assert_eq!(url.config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(url.trust, Trust::Anyone);
    }

    #[test]
    fn sslmode_means_what_it_means_elsewhere() {
        let of = |query: &str| Url::parse(&format!("postgresql://h/db?{query}")).unwrap();
        assert_eq!(of("sslmode=disable").config.get_ssl_mode(), SslMode::Disable);
        let full = of("sslmode=verify-full");
        assert_eq!((full.config.get_ssl_mode(), full.trust), (SslMode::Require, Trust::System));
        let own = of("sslmode=require&sslrootcert=/etc/ca.pem");
        assert_eq!((own.config.get_ssl_mode(), own.trust), (SslMode::Require, Trust::File("/etc/ca.pem".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, told) in [
            ("tabel=t", "did you mean table?"),
            ("statement_timout=1", "did you mean statement_timeout?"),
            ("target_session_attr=any", "did you mean target_session_attrs?"),
            ("table=a-b", "table is 1 to 40 letters"),
            ("schema=1a", "schema is 1 to 40 letters"),
            ("mode=fast", "mode is regular or unlogged"),
            ("layout=tree", "layout is flat or partitioned"),
            ("expired=maybe", "expired is on-read, sweep or never"),
            ("pool=0", "pool is a number"),
            ("statement_timeout=1h", "statement_timeout is a time"),
            ("sslmode=yes", "sslmode is disable, prefer, require or verify-full"),
            ("port=x", "port"),
        ] {
            let error = Url::parse(&format!("postgresql://me:hunter2@h/db?{query}")).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(told), "{query}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
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
            without_password("postgresql://me:x@h/db?password=y&pool=2"),
            "postgresql://me:***@h/db?password=***&pool=2"
        );
        assert_eq!(without_password("postgresql://me@h/db"), "postgresql://me@h/db");
    }
}
