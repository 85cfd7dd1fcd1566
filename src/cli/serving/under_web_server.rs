//! Runs under a web server: CGI (one request) and FastCGI (requests on the socket that is standard input).
//!
//! Arguments are ignored: under CGI a client chooses them. Settings come from the environment and from `config.yaml`
//! and `auth.txt` in the folder of the executable; the data is in the same folder. Standard error is the log of the web
//! server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::Either;
use http::{HeaderValue, Request, StatusCode, header};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use super::file_watch::FileWatch;
use super::hook_runtime;
use super::hook_runtime::HookRuntime;
use super::reload::ReloadingApp;
use crate::cli::command::CommandLine;
use crate::cli::config::home::HomeDir;
use crate::cli::exit::CliResult;
use crate::cli::log::Log;
use crate::cli::{command, log};
use crate::model::Bucket;
use crate::server;
use crate::server::{BasePath, Handler, Listener, ServerLimits};
use crate::web::{Body, ClientAddr, LongPollLimit, LongPollSettings, Response, WaiterGate};
use crate::yaml::{FileSystem, RealFileSystem, WaiterLock};

/// The answer to a client if the settings are wrong. Only the log has the reason.
const MISCONFIGURED: &str =
    "kvs is not set up correctly here. The owner of this site finds the reason in the error log.\n";

/// Answers the one request of a CGI process.
pub(crate) fn cgi() -> ExitCode {
    super::disable_huge_pages();
    super::disable_core_files();
    serve(|runtime, log| {
        let stop = CancellationToken::new();
        let setup = WebServerSetup::new(&stop, Requests::One, log);
        let answered = runtime.block_on(async {
            if setup.hooks.is_enabled() {
                // Apache sends SIGTERM as soon as the client has its answer, but hooks may still be waiting.
                server::stop_on_signals()?;
            }
            let answered = server::cgi::answer(setup.app.clone(), &setup.mount, &setup.limits).await;
            if let SetupHandler::Api(app) = &setup.app {
                app.inner.warn_once().await;
            }
            answered
        });
        if setup.hooks.is_enabled() {
            end_answer();
            runtime.block_on(setup.hooks.finish(hook_runtime::CGI_DRAIN_TIMEOUT));
        }
        answered
    })
}

/// Closes standard output, which ends the answer for the web server.
fn end_answer() {
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        // On an error the answer ends with this process, which is soon.
        let _ = rustix::stdio::dup2_stdout(nowhere);
    }
}

/// Answers FastCGI requests until the web server stops the program.
pub(crate) fn fastcgi(listener: Listener) -> ExitCode {
    super::disable_huge_pages();
    super::disable_core_files();
    serve(|runtime, log| {
        runtime.block_on(async {
            let stop = server::stop_on_signals()?;
            let setup = WebServerSetup::new(&stop, Requests::Many, log);
            if let SetupHandler::Api(app) = &setup.app {
                app.inner.warn();
            }
            let (drain, token) = (setup.limits.drain_timeout, stop.clone());
            let stopped = tokio::spawn(async move {
                token.cancelled().await;
                Instant::now()
            });
            let served = server::fastcgi::serve(listener, setup.app, setup.mount, setup.limits, stop.clone()).await;
            stop.cancel();
            // The rest of the time that the web server allows, after the answers.
            let remaining = stopped.await.map_or(drain, |since| drain.saturating_sub(since.elapsed()));
            setup.hooks.finish(remaining).await;
            served
        })
    })
}

fn serve(run: impl FnOnce(&Runtime, &Log) -> std::io::Result<()>) -> ExitCode {
    let log = log::start(LevelFilter::WARN, log::LogKind::UnderWebServer);
    // One thread, because such a process gets one request at a time.
    let outcome = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let outcome = run(&runtime, &log);
        // A blocked read of standard input must not keep the process alive.
        runtime.shutdown_background();
        outcome
    });
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("kvs: {error}");
            ExitCode::FAILURE
        }
    };
    log.finish(&Ok(()));
    code
}

/// How many requests this process answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Requests {
    One,
    Many,
}

/// The parts of a server under a web server.
struct WebServerSetup {
    app: SetupHandler,
    mount: BasePath,
    limits: ServerLimits,
    hooks: HookRuntime,
}

impl WebServerSetup {
    /// From the settings. If they are wrong, a handler that answers 500.
    fn new(stop: &CancellationToken, requests: Requests, log: &Log) -> Self {
        Self::from_settings(stop, requests, log).unwrap_or_else(|failure| {
            tracing::error!("kvs cannot serve: {}", failure.text());
            let app = SetupHandler::Misconfigured(stop.clone());
            let limits = ServerLimits::default().spawned();
            Self { app, mount: BasePath::spawned(), limits, hooks: HookRuntime::default() }
        })
    }

    fn from_settings(stop: &CancellationToken, requests: Requests, log: &Log) -> CliResult<Self> {
        // The parser reads the environment, as for `kvs serve` without flags.
        let (typed, matches) = CommandLine::serve()?;
        let mut settings = command::settings(typed.global, &matches, &HomeDir::under_web_server()?)?;
        log.configure(settings.server.log.log_format, settings.server.log.request_log);
        settings.store_options.is_short_lived = requests == Requests::One;
        let mount = settings.server.mounted(BasePath::spawned());
        let limits = settings.server.limits.clone().spawned();
        let limit = match settings.store.folder() {
            Some(folder) => LongPollLimit::shared(settings.server.max_waiters, Arc::new(FileGate::new(folder))),
            None => LongPollLimit::new(settings.server.max_waiters),
        };
        let long_polls = LongPollSettings { max_wait: settings.server.max_wait, limit, short_streams: true };
        let hooks = settings.hooks.clone();
        let config = Arc::new(FileWatch::new(settings.sources.path(), Duration::from_secs(1)));
        let inner = ReloadingApp::new(settings, long_polls, Some(std::process::id()), stop.clone())?;
        let app = SetupHandler::Api(ExitOnConfigChange { inner, config, stop: stop.clone() });
        Ok(Self { app, mount, limits, hooks })
    }
}

/// Ends the process after a request if `config.yaml` has changed, so that the next process reads it.
#[derive(Clone)]
struct ExitOnConfigChange<A> {
    inner: A,
    config: Arc<FileWatch>,
    stop: CancellationToken,
}

// The handlers are not `async fn`: each would move the large future of the API once more.
impl<A: Handler> Handler for ExitOnConfigChange<A> {
    fn handle(&self, request: Request<Body>, client: ClientAddr) -> impl Future<Output = Response> + Send {
        if self.config.has_changed() {
            tracing::warn!("config.yaml has changed: this process ends, and the next one reads it");
            self.stop.cancel();
        }
        self.inner.handle(request, client)
    }
}

/// The API, or if the settings are wrong an answer of 500. After such an answer the process ends, so that the next
/// process reads the corrected settings.
#[derive(Clone)]
enum SetupHandler {
    Api(ExitOnConfigChange<ReloadingApp>),
    Misconfigured(CancellationToken),
}

impl Handler for SetupHandler {
    fn handle(&self, request: Request<Body>, client: ClientAddr) -> impl Future<Output = Response> + Send {
        match self {
            Self::Api(api) => Either::Left(api.handle(request, client)),
            Self::Misconfigured(stop) => {
                stop.cancel();
                Either::Right(std::future::ready(misconfigured()))
            }
        }
    }
}

fn misconfigured() -> Response {
    let mut response = Response::new(MISCONFIGURED.into());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The lock of a YAML store that all processes share.
struct FileGate {
    folder: PathBuf,
    gate: WaiterLock,
}

impl FileGate {
    fn new(folder: PathBuf) -> Self {
        Self { gate: WaiterLock::new(&folder), folder }
    }
}

impl WaiterGate for FileGate {
    fn enter(&self, bucket: &Bucket) -> Option<Box<dyn Send>> {
        // A client may wait before the first key is stored, when the folder does not exist. Without the folder there is
        // no lock, and nobody waits.
        if !self.folder.is_dir() {
            RealFileSystem.make_folder(&self.folder).ok()?;
        }
        self.gate.try_lock(bucket).map(|guard| Box::new(guard) as Box<dyn Send>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(handler: &impl Handler) -> u16 {
        let request = Request::get("/?k=a").body(Body::empty()).unwrap();
        handler.handle(request, ClientAddr::default()).await.status().as_u16()
    }

    #[derive(Clone)]
    struct Answering200;

    impl Handler for Answering200 {
        async fn handle(&self, _: Request<Body>, _: ClientAddr) -> Response {
            Response::default()
        }
    }

    #[test]
    fn one_process_waits_at_a_time_also_before_the_first_key() {
        let dir = tempfile::tempdir().unwrap();
        let gates = [(); 2].map(|()| FileGate::new(dir.path().join("data")));
        let pass = gates[0].enter(&Bucket::default());
        assert!(pass.is_some() && gates[1].enter(&Bucket::default()).is_none());
        drop(pass);
        assert!(gates[1].enter(&Bucket::default()).is_some());
    }

    #[tokio::test]
    async fn wrong_settings_give_an_answer_without_details_and_end() {
        let stop = CancellationToken::new();
        assert_eq!(status(&SetupHandler::Misconfigured(stop.clone())).await, 500);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_changed_config_ends_the_process_after_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        let stop = CancellationToken::new();
        let inner = Answering200;
        let config = Arc::new(FileWatch::new(&path, Duration::from_millis(50)));
        let app = ExitOnConfigChange { inner, config, stop: stop.clone() };
        assert_eq!(status(&app).await, 200);
        assert!(!stop.is_cancelled());
        std::fs::File::create(&path).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(status(&app).await, 200);
        assert!(stop.is_cancelled());
    }
}
