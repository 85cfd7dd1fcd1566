//! `kvs serve`: answers clients over HTTP and FastCGI until it is told to stop.

use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::app;
use super::failure::{Done, Failure};
use super::home;
use super::output::Output;
use super::policies;
use super::settings::{Serving, Settings};
use super::units::{Percent, Size, Span, count};
use crate::door::{self, Activated, Address, Limits, Listener, Mount, Proxy};
use crate::service::{Exposure, Shares, Waiters};

const EXAMPLES: &str = "\
Examples:
  kvs serve                                     HTTP on 127.0.0.1:8080
  kvs serve --http 127.0.0.1:9000 --http '[::1]:9000'
  kvs serve --fastcgi unix:/run/kvs/kvs.sock    for nginx, or Apache's mod_proxy_fcgi
  kvs serve --store yaml:/var/lib/kvs --auth /etc/kvs/auth.txt
  kvs serve --policy 'shop: reads=secret' --policy 'news: reads=listed, max_age=60s'
  kvs serve --check-config                      every setting, and where it comes from

Sockets that systemd opened are served as well, by the name that their unit gives them:
FileDescriptorName=http or FileDescriptorName=fastcgi. auth.txt is read again when it changes;
config.yaml is not. SIGTERM, SIGINT, SIGHUP and SIGUSR1 stop the server once what has begun is
answered; a second Ctrl-C stops it at once.";

/// Answer clients over HTTP and FastCGI
///
/// Prints one line with the addresses when it is ready. There is no TLS in it: put a web server in front to serve others
/// than this machine.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    #[command(flatten)]
    // For the parser to know them; what they come to is told by super::layers.
    flags: Flags,
    /// Show all settings and where each comes from, and serve nothing; exit code 2 if one is wrong
    #[arg(long)]
    pub(super) check_config: bool,
}

/// What can be set for a server.
#[derive(Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) places: Places,
    #[command(flatten)]
    pub(super) bounds: Bounds,
    #[command(flatten)]
    pub(super) policies: policies::Rules,
}

/// Where to listen.
#[derive(Args, Clone, Debug)]
pub(super) struct Places {
    /// Speak HTTP on this address and port; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, env = "KVS_HTTP", hide_env_values = true, value_name = "ADDR", value_delimiter = ',', value_parser = home::address)]
    pub(super) http: Vec<Address>,
    /// Speak FastCGI on this socket or address and port; may be given several times
    #[arg(
        long,
        env = "KVS_FASTCGI",
        hide_env_values = true,
        value_name = "unix:PATH|ADDR",
        value_delimiter = ',',
        value_parser = home::address
    )]
    pub(super) fastcgi: Vec<Address>,
    /// The path that a web server has put before ours, as in `/kvs` [default: none]
    #[arg(long, env = "KVS_BASE", hide_env_values = true, value_name = "PATH")]
    pub(super) base: Option<String>,
    /// The mode of Unix sockets; the user of the web server must be able to write to them
    #[arg(long, env = "KVS_SOCKET_MODE", hide_env_values = true, value_name = "MODE", default_value = "660")]
    pub(super) socket_mode: Mode,
    /// Proxies in front, over plain HTTP, that are trusted to tell the client's address (Forwarded, X-Forwarded-For):
    /// addresses, networks as 10.0.0.0/8, or `unix` for all on Unix sockets; may be given several times [default: none]
    #[arg(
        long,
        env = "KVS_TRUSTED_PROXIES",
        hide_env_values = true,
        value_name = "ADDR|NETWORK|unix",
        value_delimiter = ','
    )]
    pub(super) trusted_proxies: Vec<Proxy>,
}

/// What clients may take.
#[derive(Args, Debug)]
pub(super) struct Bounds {
    /// The longest wait of a read (`&wait=`)
    #[arg(long, env = "KVS_MAX_WAIT", hide_env_values = true, value_name = "TIME", default_value = "25s")]
    pub(super) max_wait: Span,
    /// How many reads may wait at once
    #[arg(long, env = "KVS_MAX_WAITERS", hide_env_values = true, value_name = "N", default_value = "10000", value_parser = count)]
    pub(super) max_waiters: usize,
    /// How many connections each listener may have open at once
    #[arg(long, env = "KVS_MAX_CONNECTIONS", hide_env_values = true, value_name = "N", default_value = "12000", value_parser = count)]
    pub(super) max_connections: usize,
    /// How much of the connections, of the reads that wait and of the memory of bodies and answers one address may have (a
    /// network of 64 bits, for IPv6)
    #[arg(long, env = "KVS_ADDRESS_SHARE", hide_env_values = true, value_name = "PERCENT", default_value = "50%")]
    pub(super) address_share: Percent,
    /// How much memory the bodies of all requests may take together, or one body if that is more
    #[arg(long, env = "KVS_BODY_MEMORY", hide_env_values = true, value_name = "SIZE", default_value = "64MiB")]
    pub(super) body_memory: Size,
    /// How long the head of a request may take to arrive
    #[arg(long, env = "KVS_HEADER_TIME", hide_env_values = true, value_name = "TIME", default_value = "10s")]
    pub(super) header_time: Span,
    /// How long the body of a request may take to arrive
    #[arg(long, env = "KVS_BODY_TIME", hide_env_values = true, value_name = "TIME", default_value = "60s")]
    pub(super) body_time: Span,
    /// How much memory all answers may take together that the store does not hold anyway, or one answer if that is more
    #[arg(long, env = "KVS_RESPONSE_MEMORY", hide_env_values = true, value_name = "SIZE", default_value = "256MiB")]
    pub(super) response_memory: Size,
    /// In how long a client must take some of an answer: 16 KiB for each second of it, or all that is left
    #[arg(long, env = "KVS_RESPONSE_TIME", hide_env_values = true, value_name = "TIME", default_value = "60s")]
    pub(super) response_time: Span,
    /// Who may see `/metrics`: `open` (everybody), `secret` (who may read with one), `off` (nobody)
    #[arg(long, env = "KVS_METRICS", hide_env_values = true, value_name = "open|secret|off", default_value = "open")]
    pub(super) metrics: Exposure,
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

/// What the threads of the runtime have to end in: a store may hold one up.
pub(super) const LAST: Duration = Duration::from_secs(1);

/// The longest that a server takes to end once it is told to stop: answers, hooks, threads. docs/deploy.md tells it, and
/// the unit of systemd allows for it.
fn longest_stop(settings: &Settings) -> Duration {
    settings.serving.limits.longest_stop() + settings.delivery.longest_finish() + LAST
}

/// Serves until a signal comes or a listener fails. `activated` are the sockets of systemd.
pub(super) async fn run(settings: Settings, activated: Activated) -> Done {
    let stop = door::stop_on_signals().map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
    let listeners = listeners(&settings.serving, activated)?;
    if let Some(store) = settings.open()?.postgres {
        store.check_encoding().await?;
    }
    let share = settings.serving.address_share;
    let most = settings.serving.max_waiters;
    let waiters = Waiters::new(most).sharing(Shares::new(share.of(most)));
    let mount = settings.serving.mounted(Mount::served());
    let proxies = settings.serving.places.trusted_proxies.clone();
    let limits = Limits { proxies, ..settings.serving.limits.clone() };
    let limits = within_descriptors(limits, share, listeners.len());
    let ready = ready(&listeners, &settings);
    let longest = longest_stop(&settings).as_secs();
    let delivery = settings.delivery.clone();
    let app = app::router(settings, waiters, stop.clone())?;
    let mut doors = JoinSet::new();
    for (tongue, listener) in listeners {
        doors.spawn(open(tongue, listener, app.clone(), (mount.clone(), limits.clone()), stop.clone()));
    }
    announce(&ready);
    let told = stop.clone();
    tokio::spawn(async move {
        told.cancelled().await;
        tracing::info!("told to stop: no new connections; what has begun is answered; {longest} s at most");
    });
    let mut outcome = Ok(());
    while let Some(ended) = doors.join_next().await {
        if let Err(failure) = ended.unwrap_or_else(|e| Err(Failure::Failed(format!("a door has broken down: {e}")))) {
            // One door alone would look like a working server.
            stop.cancel();
            outcome = outcome.and(Err(failure));
        }
    }
    delivery.finish(Duration::MAX).await;
    outcome
}

/// The same limits with no more connections for each of so many listeners than the system lets this process have; a person
/// is told if these are fewer.
fn within_descriptors(limits: Limits, share: Percent, listeners: usize) -> Limits {
    let (wanted, listeners) = (limits.connections, listeners.max(1));
    let connections = (door::connections_allowed(wanted.saturating_mul(listeners)) / listeners).max(1);
    if connections == wanted {
        return limits;
    }
    tracing::warn!(
        "max_connections is {wanted}, but the limit of open files lets each listener have {connections}: further \
         clients wait; raise the limit (ulimit -n, or LimitNOFILE= of systemd)"
    );
    Limits { connections, shares: Shares::new(share.of(connections)), ..limits }
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
        Tongue::Http => door::http::serve(listener, app, mount, limits, stop).await,
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
    let Places { http, fastcgi, socket_mode: Mode(mode), .. } = &serving.places;
    let none = all.is_empty() && http.is_empty() && fastcgi.is_empty();
    let http = if none { &usual } else { http.as_slice() };
    for address in http {
        all.push((Tongue::Http, Listener::bind(address, *mode)?));
    }
    for address in fastcgi {
        all.push((Tongue::FastCgi, Listener::bind(address, *mode)?));
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

/// Prints that line at once. That it cannot be printed is no reason not to serve.
fn announce(line: &str) {
    let mut output = Output::new();
    if let Err(Failure::Failed(text)) = output.line(line).and_then(|()| output.done()) {
        tracing::warn!("{line}; {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::Typed;
    use super::super::place::Place;
    use super::*;

    fn settings(typed: &[&str]) -> Settings {
        let (typed, matches) = Typed::parse(["kvs", "serve"].iter().chain(typed).map(Into::into)).unwrap();
        Settings::resolve(typed.global, &matches, &Place::for_commands().unwrap()).unwrap()
    }

    #[test]
    fn systemd_waits_longer_than_the_longest_stop_which_the_documents_tell() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let unit = std::fs::read_to_string(root.join("deploy/systemd/kvs.service")).unwrap();
        let seconds: u64 = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
        let longest = longest_stop(&settings(&["--purge", "http://127.0.0.1:1"]));
        assert!(Duration::from_secs(seconds) > longest, "{seconds} s for {longest:?}");
        let guide = std::fs::read_to_string(root.join("docs/deploy.md")).unwrap();
        assert!(guide.contains(&format!("{} s at most", longest.as_secs())), "{longest:?}");
        // Without hooks nothing is waited for behind the answers; with more time for hooks the number grows.
        assert!(longest_stop(&settings(&[])) < longest);
        let longer = settings(&["--purge", "http://127.0.0.1:1", "--hook-drain", "1m"]);
        assert_eq!(longest_stop(&longer), longest + Duration::from_secs(55));
    }

    #[test]
    fn modes_are_octal_and_only_bits_of_permission() {
        assert_eq!("660".parse(), Ok(Mode(0o660)));
        assert_eq!("0777".parse(), Ok(Mode(0o777)));
        for bad in ["", "66", "888", "+66", "4755", "rw-"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }
}
