//! `kvs serve`: answers clients over HTTP and FastCGI until a signal stops it.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::config::flags::{ListenFlags, ServeFlags, SocketMode};
use crate::cli::config::server_settings::ServerSettings;
use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::Percent;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::cli::serving::reload::ReloadingApp;
use crate::server;
use crate::server::{Activated, Address, BasePath, Listener, ServerLimits, Workers};
use crate::web::{LongPollLimit, LongPollSettings, Shares};

const EXAMPLES: &str = "\
Examples:
  kvs serve                                     HTTP on 127.0.0.1:8080
  kvs serve --http 127.0.0.1:9000 --http '[::1]:9000'
  kvs serve --fastcgi unix:/run/kvs/kvs.sock    for nginx, or Apache's mod_proxy_fcgi
  kvs serve --store yaml:/var/lib/kvs --auth /etc/kvs/auth.txt
  kvs serve --policy 'shop: reads=secret' --policy 'news: reads=listed, max_age=60s'
  kvs serve --check-config                      print every setting and its source

Sockets of systemd are served too; set FileDescriptorName=http or FileDescriptorName=fastcgi in
their unit. A change of auth.txt takes effect at once, a change of config.yaml after a restart.
SIGTERM, SIGINT, SIGHUP and SIGUSR1 stop the server after the current requests are answered; a
second Ctrl-C stops it at once.";

/// Answer clients over HTTP and FastCGI
///
/// Prints a line with its addresses when it is ready. It has no TLS: to serve other machines, put a web server in
/// front.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print all settings and their sources, and exit; exit code 2 if a setting is wrong
    #[arg(long)]
    pub(crate) check_config: bool,
    // Only so that the parser accepts them: the settings come from crate::cli::config::settings.
    #[command(flatten)]
    flags: ServeFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Http,
    FastCgi,
}

/// The time that the threads of the runtime have to end: a store may block one.
pub(crate) const THREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time from a signal to the end: answers, hooks, threads. docs/deploy.md states it, and the systemd unit
/// allows for it.
fn max_stop_time(settings: &CliSettings) -> Duration {
    settings.server.limits.longest_stop() + settings.hooks.max_finish_time() + THREAD_TIMEOUT
}

/// Serves until a signal comes or a listener fails. `activated` are the sockets of systemd, `workers` the runtimes for
/// connections.
pub(crate) async fn run(mut settings: CliSettings, activated: Activated, workers: Workers) -> CliResult {
    let stop = server::stop_on_signals().map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
    let listeners = listeners(&settings.server, activated)?;
    if let Some(store) = settings.open()?.postgres {
        store.check_encoding().await?;
    }
    // Not under a web server, whose programs are many and serve few requests each.
    settings.store_options.memory_copy = settings.server.memory_copy;
    let share = settings.server.address_share;
    let max_waiters = settings.server.max_waiters;
    let limit = LongPollLimit::new(max_waiters).sharing(Shares::new(share.of(max_waiters)));
    let long_polls = LongPollSettings { max_wait: settings.server.max_wait, limit, short_streams: false };
    let mount = settings.server.mounted(BasePath::served());
    let proxies = settings.server.listen.trusted_proxies.clone();
    let limits = ServerLimits { proxies, ..settings.server.limits.clone() };
    let limits = within_descriptors(limits, share, listeners.len());
    let ready = ready_line(&listeners, &settings);
    let longest = max_stop_time(&settings).as_secs();
    let hooks = settings.hooks.clone();
    let app = ReloadingApp::new(settings, long_polls, None, stop.clone())?;
    app.warn();
    let mut servers = JoinSet::new();
    let shared = SharedParts { app, mount, limits, stop: stop.clone() };
    for (protocol, listener) in listeners {
        servers.spawn(serve_on(protocol, listener.served_by(workers.clone()), shared.clone()));
    }
    announce(&ready);
    let signal = stop.clone();
    tokio::spawn(async move {
        signal.cancelled().await;
        tracing::info!("stopping: no new connections, current requests are answered, {longest} s at most");
    });
    let mut outcome = Ok(());
    while let Some(ended) = servers.join_next().await {
        if let Err(failure) = ended.unwrap_or_else(|e| Err(Failure::Failed(format!("a listener failed: {e}")))) {
            // With only one of its listeners the server would seem to work.
            stop.cancel();
            outcome = outcome.and(Err(failure));
        }
    }
    hooks.finish(Duration::MAX).await;
    outcome
}

/// Reduces the connections of each listener to what the limit of open files allows, with a warning.
fn within_descriptors(limits: ServerLimits, share: Percent, listeners: usize) -> ServerLimits {
    let (wanted, listeners) = (limits.connections, listeners.max(1));
    let connections = (server::connections_allowed(wanted.saturating_mul(listeners)) / listeners).max(1);
    if connections == wanted {
        return limits;
    }
    tracing::warn!(
        "max_connections is {wanted}, but the limit of open files allows only {connections} for each listener; further \
         clients wait. Raise the limit (ulimit -n, or LimitNOFILE= of systemd)"
    );
    ServerLimits { connections, shares: Shares::new(share.of(connections)), ..limits }
}

/// The parts of the server that all listeners share.
#[derive(Clone)]
struct SharedParts {
    app: ReloadingApp,
    mount: BasePath,
    limits: ServerLimits,
    stop: CancellationToken,
}

async fn serve_on(protocol: Protocol, listener: Listener, shared: SharedParts) -> CliResult {
    let SharedParts { app, mount, limits, stop } = shared;
    let address = listener.place();
    let served = match protocol {
        Protocol::Http => server::http1::serve(listener, app, mount, limits, stop).await,
        Protocol::FastCgi => server::fastcgi::serve(listener, app, mount, limits, stop).await,
    };
    served.map_err(|e| Failure::Failed(format!("cannot serve on {address}: {e}")))
}

/// The listeners of systemd and of the settings; without any, one on the default address.
fn listeners(settings: &ServerSettings, mut activated: Activated) -> CliResult<Vec<(Protocol, Listener)>> {
    let mut all = Vec::new();
    for (protocol, name) in [(Protocol::Http, "http"), (Protocol::FastCgi, "fastcgi")] {
        while let Some(listener) = activated.take(name) {
            all.push((protocol, listener));
        }
    }
    if let Some(name) = activated.names().next() {
        return Err(Failure::Usage(format!(
            "unknown name {name:?} of a systemd socket; set FileDescriptorName=http or FileDescriptorName=fastcgi"
        )));
    }
    let default = [Address::Tcp("127.0.0.1".to_owned(), 8080)];
    let ListenFlags { http, fastcgi, socket_mode: SocketMode(mode), .. } = &settings.listen;
    let none = all.is_empty() && http.is_empty() && fastcgi.is_empty();
    let http = if none { &default } else { http.as_slice() };
    for address in http {
        all.push((Protocol::Http, Listener::bind(address, *mode)?));
    }
    for address in fastcgi {
        all.push((Protocol::FastCgi, Listener::bind(address, *mode)?));
    }
    Ok(all)
}

/// The line with the addresses.
fn ready_line(listeners: &[(Protocol, Listener)], settings: &CliSettings) -> String {
    let address = |(protocol, listener): &(Protocol, Listener)| {
        let place = listener.place();
        match protocol {
            Protocol::Http if listener.tcp_address().is_some() => format!("http://{place}/"),
            Protocol::Http => format!("HTTP on {place}"),
            Protocol::FastCgi => format!("FastCGI on {place}"),
        }
    };
    let addresses: Vec<_> = listeners.iter().map(address).collect();
    format!("kvs serves {} on {}", settings.store, addresses.join(", "))
}

/// Prints the line at once. An error is only logged: the server works without it.
fn announce(line: &str) {
    let mut output = Output::new();
    if let Err(Failure::Failed(text)) = output.line(line).and_then(|()| output.finish()) {
        tracing::warn!("{line}; {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::CommandLine;
    use crate::cli::config::home::HomeDir;

    fn settings(typed: &[&str]) -> CliSettings {
        let arguments: Vec<_> = ["kvs", "serve"].iter().chain(typed).map(Into::into).collect();
        let (typed, matches) = CommandLine::parse(&arguments).unwrap();
        CliSettings::resolve(typed.global, &matches, &HomeDir::for_commands().unwrap()).unwrap()
    }

    #[test]
    fn systemd_and_the_docs_allow_for_the_longest_stop() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let unit = std::fs::read_to_string(root.join("deploy/systemd/kvs.service")).unwrap();
        let seconds: u64 = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
        let longest = max_stop_time(&settings(&["--purge", "http://127.0.0.1:1"]));
        assert!(Duration::from_secs(seconds) > longest, "{seconds} s for {longest:?}");
        let guide = std::fs::read_to_string(root.join("docs/deploy.md")).unwrap();
        assert!(guide.contains(&format!("{} s at most", longest.as_secs())), "{longest:?}");
        // Without hooks there is no wait after the answers; a longer drain timeout adds to the time.
        assert!(max_stop_time(&settings(&[])) < longest);
        let longer = settings(&["--purge", "http://127.0.0.1:1", "--hook-drain-timeout", "1m"]);
        assert_eq!(max_stop_time(&longer), longest + Duration::from_secs(55));
    }
}
