//! What a web server starts: CGI, one request and the end; FastCGI, requests on the socket it left as standard input.
//!
//! Arguments are never read: under CGI a client chooses them. Settings come from the environment and from `config.yaml`
//! and `auth.txt` beside the executable; the data lies beside it too. Standard output and error are the web server's log.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::util::Either;
use tracing_subscriber::filter::LevelFilter;

use super::app::{App, Seal};
use super::args::Typed;
use super::failure::Done;
use super::hooks::{self, Delivery};
use super::logs;
use super::place::Place;
use super::settings::Settings;
use super::usage;
use crate::door::{self, Limits, Listener, Mount};
use crate::model::Bucket;
use crate::service::{Gate, Waiters};
use crate::yaml::{Disk, RealDisk, WaitGate};

/// What a client is told when the settings are wrong. The reason is in the log: it is nobody else's business.
const BROKEN: &str = "kvs is not set up correctly here. The owner of this site finds the reason in the error log.\n";

/// Answers the one request of a CGI process.
pub(super) fn cgi() -> ExitCode {
    serve(|runtime| {
        let stop = CancellationToken::new();
        let ready = Ready::new(&stop);
        let answered = runtime.block_on(async {
            if ready.delivery.is_on() {
                // Apache asks a program to end as soon as the client has its answer; there may still be something to do.
                door::stop_on_signals()?;
            }
            let answered = door::cgi::answer(ready.app.clone(), &ready.mount, &ready.limits).await;
            if let Either::Left(app) = &ready.app {
                app.inner.warn_once().await;
            }
            answered
        });
        if ready.delivery.is_on() {
            end_answer();
            runtime.block_on(ready.delivery.finish(hooks::CGI));
        }
        answered
    })
}

/// Closes standard output: for the web server the answer is over then.
fn end_answer() {
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        // If it stays open, the answer lasts until this process ends, which is soon.
        let _ = rustix::stdio::dup2_stdout(nowhere);
    }
}

/// Answers FastCGI until the web server asks to stop.
pub(super) fn fastcgi(listener: Listener) -> ExitCode {
    serve(|runtime| {
        runtime.block_on(async {
            let stop = door::stop_on_signals()?;
            let ready = Ready::new(&stop);
            if let Either::Left(app) = &ready.app {
                app.inner.warn();
            }
            let (drain, token) = (ready.limits.drain_time, stop.clone());
            let stopped = tokio::spawn(async move {
                token.cancelled().await;
                Instant::now()
            });
            let served = door::fastcgi::serve(listener, ready.app, ready.mount, ready.limits, stop.clone()).await;
            stop.cancel();
            // What the answers have left of the time that the web server gives.
            let left = stopped.await.map_or(drain, |since| drain.saturating_sub(since.elapsed()));
            ready.delivery.finish(left).await;
            served
        })
    })
}

fn serve(run: impl FnOnce(&Runtime) -> std::io::Result<()>) -> ExitCode {
    let log = logs::start(LevelFilter::WARN, logs::Of::Spawned);
    // One thread of the runtime: such a process gets one request at a time.
    let outcome = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let outcome = run(&runtime);
        // A read of standard input that never ends must not keep the process.
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

/// All that a door needs.
struct Ready {
    app: Either<UntilChanged<App>, Router>,
    mount: Mount,
    limits: Limits,
    delivery: Delivery,
}

impl Ready {
    /// What the settings make, or what says that they are wrong.
    fn new(stop: &CancellationToken) -> Self {
        Self::set_up(stop).unwrap_or_else(|failure| {
            tracing::error!("kvs cannot serve: {}", failure.text());
            let app = Either::Right(broken(stop.clone()));
            let limits = Limits::default().spawned();
            Self { app, mount: Mount::spawned(), limits, delivery: Delivery::default() }
        })
    }

    fn set_up(stop: &CancellationToken) -> Done<Self> {
        // As if `kvs serve` had been typed, which brings in the environment.
        let typed = ["kvs", "serve"].map(Into::into);
        let (typed, matches) = Typed::parse(typed.clone()).map_err(|e| usage::failure(e, &typed))?;
        let settings = Settings::resolve(typed.global, &matches, &Place::for_spawned()?)?;
        let mount = settings.serving.mounted(Mount::spawned());
        let limits = settings.serving.limits.clone().spawned();
        let waiters = match settings.store.folder() {
            Some(folder) => Waiters::shared(settings.serving.max_waiters, Arc::new(FileGate::new(folder))),
            None => Waiters::new(settings.serving.max_waiters),
        };
        let delivery = settings.delivery.clone();
        let config = Arc::new(Sometimes::new(Seal::on(settings.layers.path()), Duration::from_secs(1)));
        let inner = App::new(settings, waiters, Some(std::process::id()), stop.clone())?;
        let app = Either::Left(UntilChanged { inner, config, stop: stop.clone() });
        Ok(Self { app, mount, limits, delivery })
    }
}

/// Ends the process behind a request that finds `config.yaml` changed, so that the next one reads it.
#[derive(Clone)]
struct UntilChanged<A> {
    inner: A,
    config: Arc<Sometimes>,
    stop: CancellationToken,
}

impl<A: door::App> Service<Request> for UntilChanged<A> {
    type Response = Response;
    type Error = Infallible;
    type Future = A::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.config.is_due() && self.config.seal.is_broken() {
            tracing::warn!("config.yaml has changed: this process ends, the next one reads it");
            self.stop.cancel();
        }
        self.inner.call(request)
    }
}

/// A file that is looked at once in a while.
struct Sometimes {
    seal: Seal,
    pause: Duration,
    last: Mutex<Instant>,
}

impl Sometimes {
    fn new(seal: Seal, pause: Duration) -> Self {
        Self { seal, pause, last: Mutex::new(Instant::now()) }
    }

    fn is_due(&self) -> bool {
        let mut last = self.last.lock();
        let due = last.elapsed() >= self.pause;
        if due {
            *last = Instant::now();
        }
        due
    }
}

/// Tells every client the same, and ends the process behind the first, so that the next one reads mended settings.
fn broken(stop: CancellationToken) -> Router {
    Router::new().fallback(move || {
        let stop = stop.clone();
        async move {
            stop.cancel();
            refusal()
        }
    })
}

fn refusal() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, BROKEN).into_response()
}

/// The gate of a file store, which all processes of it share.
struct FileGate {
    folder: PathBuf,
    gate: WaitGate,
}

impl FileGate {
    fn new(folder: PathBuf) -> Self {
        Self { gate: WaitGate::new(&folder), folder }
    }
}

impl Gate for FileGate {
    fn enter(&self, bucket: &Bucket) -> Option<Box<dyn Send>> {
        // The first to come may wait for the first key of all: then the folder of the locks is still to be made. If it
        // cannot be, no lock can be had, and nobody waits.
        if !self.folder.is_dir() {
            RealDisk.make_folder(&self.folder).ok()?;
        }
        self.gate.enter(bucket).map(|pass| Box::new(pass) as Box<dyn Send>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt as _;

    fn get() -> Request {
        http::Request::get("/?k=a").body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn one_waits_at_a_time_also_before_the_first_key() {
        let dir = tempfile::tempdir().unwrap();
        let gates = [(); 2].map(|()| FileGate::new(dir.path().join("data")));
        let pass = gates[0].enter(&Bucket::default());
        assert!(pass.is_some() && gates[1].enter(&Bucket::default()).is_none());
        drop(pass);
        assert!(gates[1].enter(&Bucket::default()).is_some());
    }

    #[tokio::test]
    async fn wrong_settings_are_answered_neutrally_and_end_the_process() {
        let stop = CancellationToken::new();
        let response = broken(stop.clone()).oneshot(get()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_changed_config_ends_the_process_behind_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        let stop = CancellationToken::new();
        let inner = Router::new().fallback(async || "answer");
        let config = Arc::new(Sometimes::new(Seal::on(&path), Duration::from_millis(50)));
        let app = UntilChanged { inner, config, stop: stop.clone() };
        assert_eq!(app.clone().oneshot(get()).await.unwrap().status(), 200);
        assert!(!stop.is_cancelled());
        std::fs::File::create(&path).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(app.oneshot(get()).await.unwrap().status(), 200);
        assert!(stop.is_cancelled());
    }
}
