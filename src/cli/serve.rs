//! `kvs serve`: answers clients over HTTP and FastCGI until it is told to stop.

use std::str::FromStr;

use axum::Router;
use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::app;
use super::failure::{Done, Failure};
use super::output::Output;
use super::settings::{Serving, Settings};
use super::units::Span;
use crate::door::{self, Activated, Address, Limits, Listener, Mount};
use crate::service::{Reads, Waiters};

const EXAMPLES: &str = "\
Examples:
  kvs serve                                     HTTP on 127.0.0.1:8080
  kvs serve --http 127.0.0.1:9000 --http '[::1]:9000'
  kvs serve --fastcgi unix:/run/kvs/kvs.sock    for nginx, or Apache's mod_proxy_fcgi
  kvs serve --store yaml:/var/lib/kvs --auth /etc/kvs/auth.txt

Sockets that systemd opened are served as well, by the name that their unit gives them:
FileDescriptorName=http or FileDescriptorName=fastcgi. auth.txt is read again when it changes;
config.yaml is not. SIGTERM, SIGINT, SIGHUP and SIGUSR1 stop the server once what has begun is
answered; a second Ctrl-C stops it at once.";

/// Answer clients over HTTP and FastCGI
///
/// Prints one line with the addresses when it is ready. There is no TLS in it: put a web server in front to serve others
/// than this machine.
#[derive(Args, Clone, Default, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) places: Places,
    #[command(flatten)]
    pub(super) bounds: Bounds,
}

/// Where to listen.
#[derive(Args, Clone, Default, Debug)]
pub(super) struct Places {
    /// Speak HTTP on this address and port; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, env = "KVS_HTTP", hide_env_values = true, value_name = "ADDR", value_delimiter = ',')]
    pub(super) http: Vec<Address>,
    /// Speak FastCGI on this socket or address and port; may be given several times
    #[arg(long, env = "KVS_FASTCGI", hide_env_values = true, value_name = "unix:PATH|ADDR", value_delimiter = ',')]
    pub(super) fastcgi: Vec<Address>,
    /// The path that a web server has put before ours, as in `/kvs`; for FastCGI [default: none]
    #[arg(long, env = "KVS_BASE", hide_env_values = true, value_name = "PATH")]
    pub(super) base: Option<String>,
    /// The mode of Unix sockets; the user of the web server must be able to write to them [default: 660]
    #[arg(long, env = "KVS_SOCKET_MODE", hide_env_values = true, value_name = "MODE")]
    pub(super) socket_mode: Option<Mode>,
}

/// What clients may take.
#[derive(Args, Clone, Default, Debug)]
pub(super) struct Bounds {
    /// Who may read: `open` (everybody) or `secret` (who has one) [default: open]
    #[arg(long, env = "KVS_READS", hide_env_values = true, value_name = "open|secret")]
    pub(super) reads: Option<ReadsFlag>,
    /// The longest wait of a read (`&wait=`) [default: 25s]
    #[arg(long, env = "KVS_MAX_WAIT", hide_env_values = true, value_name = "TIME")]
    pub(super) max_wait: Option<Span>,
    /// How many reads may wait at once [default: 10000]
    #[arg(long, env = "KVS_MAX_WAITERS", hide_env_values = true, value_name = "N")]
    pub(super) max_waiters: Option<usize>,
    /// How many connections may be open at once [default: 12000]
    #[arg(long, env = "KVS_MAX_CONNECTIONS", hide_env_values = true, value_name = "N")]
    pub(super) max_connections: Option<usize>,
    /// How long the head of a request may take to arrive [default: 10s]
    #[arg(long, env = "KVS_HEADER_TIME", hide_env_values = true, value_name = "TIME")]
    pub(super) header_time: Option<Span>,
    /// How long the body of a request may take to arrive [default: 60s]
    #[arg(long, env = "KVS_BODY_TIME", hide_env_values = true, value_name = "TIME")]
    pub(super) body_time: Option<Span>,
}

impl Flags {
    /// These flags, and those of `other` where none was given. Lists are not mixed.
    pub(super) fn or(self, other: Self) -> Self {
        let longer = |mine: Vec<Address>, other| if mine.is_empty() { other } else { mine };
        let (mine, theirs) = (self.bounds, other.bounds);
        Self {
            places: Places {
                http: longer(self.places.http, other.places.http),
                fastcgi: longer(self.places.fastcgi, other.places.fastcgi),
                base: self.places.base.or(other.places.base),
                socket_mode: self.places.socket_mode.or(other.places.socket_mode),
            },
            bounds: Bounds {
                reads: mine.reads.or(theirs.reads),
                max_wait: mine.max_wait.or(theirs.max_wait),
                max_waiters: mine.max_waiters.or(theirs.max_waiters),
                max_connections: mine.max_connections.or(theirs.max_connections),
                header_time: mine.header_time.or(theirs.header_time),
                body_time: mine.body_time.or(theirs.body_time),
            },
        }
    }
}

/// Who may read, as it is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadsFlag(Reads);

impl ReadsFlag {
    pub(super) fn checked(self) -> Reads {
        self.0
    }
}

impl FromStr for ReadsFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self(Reads::Open)),
            "secret" => Ok(Self(Reads::Secret)),
            _ => Err(format!("bad value {text:?}: reads are `open` or `secret`")),
        }
    }
}

/// The mode of a file in octal digits, as `chmod` takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mode(pub(super) u32);

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.map(Self).ok_or_else(|| format!("bad mode {text:?}: write it in octal digits, as 660 or 666"))
    }
}

/// What is spoken over a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tongue {
    Http,
    FastCgi,
}

/// Serves until a signal comes or a listener fails. `activated` are the sockets of systemd.
pub(super) async fn run(settings: Settings, activated: Activated) -> Done {
    let stop = door::stop_on_signals().map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
    let listeners = listeners(&settings.serving, activated)?;
    let waiters = Waiters::new(settings.serving.max_waiters);
    let mount = settings.serving.mounted(Mount::served());
    let limits = settings.serving.limits;
    let ready = ready(&listeners, &settings);
    let app = app::router(settings, waiters, None, stop.clone())?;
    let mut doors = JoinSet::new();
    for (tongue, listener) in listeners {
        doors.spawn(open(tongue, listener, app.clone(), (mount.clone(), limits), stop.clone()));
    }
    announce(&ready)?;
    let mut outcome = Ok(());
    while let Some(ended) = doors.join_next().await {
        if let Err(failure) = ended.unwrap_or_else(|e| Err(Failure::Failed(format!("a door has broken down: {e}")))) {
            // One door alone would look like a working server.
            stop.cancel();
            outcome = outcome.and(Err(failure));
        }
    }
    outcome
}

async fn open(
    tongue: Tongue,
    listener: Listener,
    app: Router,
    (mount, limits): (Mount, Limits),
    stop: CancellationToken,
) -> Done {
    let place = listener.place();
    let served = match tongue {
        Tongue::Http => door::http::serve(listener, app, limits, stop).await,
        Tongue::FastCgi => door::fastcgi::serve(listener, app, mount, limits, stop).await,
    };
    served.map_err(|e| Failure::Failed(format!("cannot serve on {place}: {e}")))
}

/// All that is listened on: what systemd gave, what was asked for, and if nothing was, the usual address.
fn listeners(serving: &Serving, mut activated: Activated) -> Done<Vec<(Tongue, Listener)>> {
    let mut all = Vec::new();
    for (tongue, name) in [(Tongue::Http, "http"), (Tongue::FastCgi, "fastcgi")] {
        while let Some(listener) = activated.take(name) {
            all.push((tongue, listener));
        }
    }
    if let Some(name) = activated.names().next() {
        return Err(Failure::Usage(format!(
            "systemd gave a socket named {name:?}; say what to speak on it: FileDescriptorName=http or fastcgi"
        )));
    }
    let usual = [Address::Tcp("127.0.0.1".to_owned(), 8080)];
    let none = all.is_empty() && serving.http.is_empty() && serving.fastcgi.is_empty();
    let http = if none { &usual } else { serving.http.as_slice() };
    let mode = serving.socket_mode;
    for address in http {
        all.push((Tongue::Http, Listener::bind(address, mode)?));
    }
    for address in &serving.fastcgi {
        all.push((Tongue::FastCgi, Listener::bind(address, mode)?));
    }
    Ok(all)
}

/// The line that says where clients find us.
fn ready(listeners: &[(Tongue, Listener)], settings: &Settings) -> String {
    let place = |(tongue, listener): &(Tongue, Listener)| {
        let place = listener.place();
        match tongue {
            Tongue::Http if listener.tcp_address().is_some() => format!("http://{place}/"),
            Tongue::Http => format!("HTTP on {place}"),
            Tongue::FastCgi => format!("FastCGI on {place}"),
        }
    };
    let places: Vec<_> = listeners.iter().map(place).collect();
    format!("kvs serves {} at {}", settings.store, places.join(", "))
}

/// Prints that line at once. That nobody reads it is no reason not to serve.
fn announce(line: &str) -> Done {
    let mut output = Output::new();
    let printed = output.line(line).and_then(|()| output.done());
    printed.or_else(|failure| if matches!(failure, Failure::Unread) { Ok(()) } else { Err(failure) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_only_bits_of_permission() {
        assert_eq!("660".parse(), Ok(Mode(0o660)));
        assert_eq!("0777".parse(), Ok(Mode(0o777)));
        for bad in ["", "66", "888", "+66", "4755", "rw-"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_that_were_typed_replace_those_of_the_file() {
        let places = |text: &str| Places { http: vec![text.parse().unwrap()], ..Places::default() };
        let typed = Flags { places: places(":1"), ..Flags::default() };
        let mut file = Flags { places: places(":2"), ..Flags::default() };
        file.places.fastcgi = vec!["unix:/run/x".parse().unwrap()];
        let both = typed.or(file);
        assert_eq!(both.places.http, [":1".parse().unwrap()]);
        assert_eq!(both.places.fastcgi, ["unix:/run/x".parse().unwrap()]);
    }
}
