//! The service as the doors get it: the Router over the store, made anew when `auth.txt` changes.
//!
//! A secret that has been taken out of the file is refused from the next request on, without a restart, which somebody
//! with an account on a shared host could not ask for.

use std::convert::Infallible;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::failure::Done;
use super::open::Opened;
use super::settings::Settings;
use crate::model::{Batch, Bucket, Clock as _, Key, SystemClock, Write};
use crate::service::{self, Access, Metrics, Waiters, Waiting};

/// What a router is made of, beside the secrets.
struct Parts {
    opened: Opened,
    settings: Settings,
    waiters: Waiters,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

struct Watched {
    parts: Parts,
    current: Mutex<Current>,
}

/// The router as it was made last, and what it was made of.
struct Current {
    stamp: Stamp,
    router: Router,
    /// Why the secrets could not be read.
    fault: Option<String>,
    /// Who else can read them.
    exposure: Option<String>,
}

/// Answers requests from the store that the settings name.
#[derive(Clone)]
pub(super) struct App(Arc<Watched>);

impl App {
    /// `process` is our number where others work beside us.
    ///
    /// # Errors
    /// If the store cannot be opened or the secrets cannot be read.
    pub(super) fn new(
        settings: Settings,
        waiters: Waiters,
        process: Option<u32>,
        stop: CancellationToken,
    ) -> Done<Self> {
        let stamp = Stamp::of(&settings.auth.path);
        let access = settings.auth.read()?;
        if access.is_empty() {
            tracing::info!("there is no secret, so nobody may write; `kvs passcode --write` makes one");
        }
        let mut metrics = Metrics::new(settings.serving.metrics, process, SystemClock.now());
        settings.delivery.register(metrics.registry());
        let exposure = settings.auth.exposure();
        let parts = Parts { opened: settings.open()?, settings, waiters, metrics: Arc::new(metrics), stop };
        let current = Mutex::new(Current { stamp, router: parts.router(access), fault: None, exposure });
        Ok(Self(Arc::new(Watched { parts, current })))
    }

    /// Warns if others can read the secrets. It is warned of once, and again when that has changed.
    pub(super) fn warn(&self) {
        if let Some(exposure) = &self.0.current.lock().exposure {
            tracing::warn!("{exposure}");
        }
    }

    /// The same in a process that lives for one request: what was warned of is remembered in the store.
    pub(super) async fn warn_once(&self) {
        let Some(exposure) = self.0.current.lock().exposure.clone() else { return };
        if !self.0.parts.was_told(&exposure).await {
            tracing::warn!("{exposure}");
        }
    }
}

impl Service<Request> for App {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self(watched) = self;
        let mut router = if may_carry_a_secret(&request) { watched.router() } else { watched.last() };
        router.call(request)
    }
}

/// The same as a Router, for a process that works alone.
///
/// # Errors
/// As for [`App::new`].
pub(super) fn router(settings: Settings, waiters: Waiters, stop: CancellationToken) -> Done<Router> {
    let app = App::new(settings, waiters, None, stop)?;
    app.warn();
    Ok(Router::new().fallback_service(app))
}

impl Parts {
    /// Whether this was told before; from now on it was. What cannot be remembered is told again.
    async fn was_told(&self, text: &str) -> bool {
        let (Ok(bucket), Ok(key)) = (Bucket::new("_kvs.told"), Key::new("auth")) else { return false };
        let told = self.opened.store.values(&bucket, std::slice::from_ref(&key)).await;
        if told.is_ok_and(|values| values.first().is_some_and(|told| told.as_deref() == Some(text.as_bytes()))) {
            return true;
        }
        let batch = Batch::of(vec![Write::put(key, text.to_owned())]).untold();
        if let Err(error) = self.opened.store.apply(&bucket, batch).await {
            tracing::debug!("remembering what was warned of: {error}");
        }
        false
    }

    fn router(&self, access: Access) -> Router {
        let settings = service::Settings {
            stop: self.stop.clone(),
            clock: Arc::new(SystemClock),
            max_value: self.settings.opening.limits.value,
            access,
            policies: self.settings.serving.policies.clone(),
            cors: self.settings.serving.cors.clone(),
            waiting: Waiting { longest: self.settings.serving.max_wait, waiters: self.waiters.clone() },
            responses: self.settings.serving.responses.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        service::router(Arc::clone(&self.opened.store), settings)
    }
}

/// Whether the secrets can matter to the answer: not to an open read, of which there are the most.
fn may_carry_a_secret(request: &Request) -> bool {
    let given = |name| request.headers().contains_key(name);
    !request.method().is_safe() || given("x-kvs-auth") || given("authorization")
}

impl Watched {
    /// The router as it was made last.
    fn last(&self) -> Router {
        self.current.lock().router.clone()
    }

    /// The router for a request that comes now.
    fn router(&self) -> Router {
        let stamp = Stamp::of(&self.parts.settings.auth.path);
        let mut current = self.current.lock();
        // What could not be read is tried each time: that no file could be opened may be over though this one is the same.
        if current.stamp != stamp || current.fault.is_some() {
            self.reread(&mut current, stamp);
        }
        current.router.clone()
    }

    /// Takes the secrets as they are now. If they cannot be read none is good: the old ones may just have been withdrawn.
    fn reread(&self, current: &mut Current, stamp: Stamp) {
        let auth = &self.parts.settings.auth;
        let read = auth.read().map_err(|failure| failure.text().to_owned());
        let fault = read.as_ref().err().cloned();
        if current.stamp == stamp && current.fault == fault {
            return;
        }
        match &fault {
            None => tracing::info!(file = %auth.path.display(), "the secrets have been read again"),
            Some(fault) if current.fault.as_ref() != Some(fault) => tracing::error!("no secret is accepted: {fault}"),
            // It was told.
            Some(_) => {}
        }
        let exposure = auth.exposure();
        if exposure.is_some() && exposure != current.exposure {
            tracing::warn!("{}", exposure.as_deref().unwrap_or_default());
        }
        let router = self.parts.router(read.unwrap_or_else(|_| Access::unreadable()));
        *current = Current { stamp, router, fault, exposure };
    }
}

/// What changes when a file is written or replaced; none if it is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp(Option<(u64, u64, i64, i64, i64, i64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let stamp = |m: Metadata| (m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        Self(std::fs::metadata(path).ok().map(stamp))
    }
}

/// A file that is expected to stay as it is.
pub(super) struct Seal {
    path: PathBuf,
    stamp: Stamp,
}

impl Seal {
    pub(super) fn on(path: &Path) -> Self {
        Self { path: path.to_path_buf(), stamp: Stamp::of(path) }
    }

    /// Whether the file is no longer what it was.
    pub(super) fn is_broken(&self) -> bool {
        Stamp::of(&self.path) != self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.txt");
        let missing = Seal::on(&path);
        let mut file = std::fs::File::create(&path).unwrap();
        assert!(missing.is_broken());
        let seal = Seal::on(&path);
        assert!(!seal.is_broken());
        file.write_all(b"secret").unwrap();
        assert!(seal.is_broken());
        let seal = Seal::on(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(seal.is_broken());
    }
}
