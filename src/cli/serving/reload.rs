//! The web API over the store, rebuilt when `auth.txt` changes.
//!
//! A secret that is removed from the file is rejected from the next request on, without a restart: users of shared
//! hosts cannot restart the server.

use std::sync::Arc;

use http::Request;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::file_watch::FileStamp;
use super::process_metrics::ProcessMetrics;
use crate::cli::config::settings::CliSettings;
use crate::cli::data::open_store::OpenStore;
use crate::cli::exit::CliResult;
use crate::model::{Batch, Bucket, Clock as _, Key, Returning, SystemClock, Write};
use crate::server::Handler;
use crate::web;
use crate::web::{Api, Body, ClientAddr, LongPollSettings, Metrics, Response, SecretList};

/// Everything that the API is built from, except the secrets.
struct ApiParts {
    opened: OpenStore,
    settings: CliSettings,
    long_polls: LongPollSettings,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

struct ReloadState {
    parts: ApiParts,
    current: Mutex<CurrentApi>,
}

/// The API, and the state of `auth.txt` that it was built from.
struct CurrentApi {
    stamp: FileStamp,
    api: Api,
    /// Ends the event streams and long polls of this API.
    stop: CancellationToken,
    /// The error, if the secrets cannot be read.
    fault: Option<String>,
    /// The warning that other users can read them.
    exposure: Option<String>,
}

/// The API over the store of the settings.
#[derive(Clone)]
pub(crate) struct ReloadingApp(Arc<ReloadState>);

impl ReloadingApp {
    /// `process` is the id of this process if others serve the same store; metrics are labelled with it.
    ///
    /// # Errors
    /// If the store cannot be opened or the secrets cannot be read.
    pub(crate) fn new(
        settings: CliSettings,
        long_polls: LongPollSettings,
        process: Option<u32>,
        stop: CancellationToken,
    ) -> CliResult<Self> {
        let stamp = FileStamp::of(&settings.auth.path);
        let secrets = settings.auth.read()?;
        if secrets.is_empty() {
            tracing::info!("there is no secret, so no client may write; `kvs passcode --write` creates one");
        }
        let mut metrics = Metrics::new(settings.server.metrics, process, SystemClock.now());
        settings.hooks.register(metrics.registry());
        let exposure = settings.exposure();
        let opened = settings.open()?;
        metrics.collect(Box::new(ProcessMetrics));
        if let Some(yaml) = &opened.yaml {
            metrics.measure(Arc::new(yaml.clone()));
        }
        let parts = ApiParts { opened, settings, long_polls, metrics: Arc::new(metrics), stop };
        let stop = parts.stop.child_token();
        let api = parts.api(secrets, stop.clone());
        let current = Mutex::new(CurrentApi { stamp, api, stop, fault: None, exposure });
        Ok(Self(Arc::new(ReloadState { parts, current })))
    }

    /// Warns if other users can read the secrets. Later only a change is logged.
    pub(crate) fn warn(&self) {
        if let Some(exposure) = &self.0.current.lock().exposure {
            tracing::warn!("{exposure}");
        }
    }

    /// [`Self::warn`] for a process that serves one request. The store remembers the warning.
    pub(crate) async fn warn_once(&self) {
        let Some(exposure) = self.0.current.lock().exposure.clone() else { return };
        if !self.0.parts.was_logged(&exposure).await {
            tracing::warn!("{exposure}");
        }
    }
}

impl Handler for ReloadingApp {
    async fn handle(&self, request: Request<Body>, client: ClientAddr) -> Response {
        let api = if may_carry_a_secret(&request) { self.0.api() } else { self.0.last_api() };
        api.handle(request, client).await
    }
}

impl ApiParts {
    /// Whether the store remembers this warning; from now on it does. If it cannot, the warning is logged again.
    async fn was_logged(&self, text: &str) -> bool {
        let (Ok(bucket), Ok(key)) = (Bucket::new("_kvs.told"), Key::new("auth")) else { return false };
        let logged = self.opened.store.get_values(&bucket, std::slice::from_ref(&key)).await;
        if logged.is_ok_and(|values| values.first().is_some_and(|value| value.as_deref() == Some(text.as_bytes()))) {
            return true;
        }
        let batch = Batch::new(vec![Write::put(key, text.to_owned())]).returning(Returning::Nothing);
        if let Err(error) = self.opened.store.apply(&bucket, batch).await {
            tracing::debug!("cannot remember that a warning was logged: {error}");
        }
        false
    }

    fn api(&self, secrets: SecretList, stop: CancellationToken) -> Api {
        let settings = web::ApiSettings {
            stop,
            clock: Arc::new(SystemClock),
            max_value_bytes: self.settings.store_options.limits.max_value_bytes,
            max_blob_bytes: self.settings.server.limits.piecewise_body,
            secrets,
            policies: self.settings.server.policies.clone(),
            cors: self.settings.server.cors.clone(),
            long_polls: self.long_polls.clone(),
            responses: self.settings.server.responses.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        Api::new(Arc::clone(&self.opened.store), settings)
    }
}

/// Whether the answer may depend on the secrets. Most requests are reads without a secret, and need no check of the
/// file.
fn may_carry_a_secret(request: &Request<Body>) -> bool {
    let has = |name| request.headers().contains_key(name);
    !request.method().is_safe() || has("x-kvs-auth") || has("authorization")
}

impl ReloadState {
    fn last_api(&self) -> Api {
        self.current.lock().api.clone()
    }

    /// The API with the current secrets.
    fn api(&self) -> Api {
        let stamp = FileStamp::of(&self.parts.settings.auth.path);
        let mut current = self.current.lock();
        // After an error the file is read each time: the cause may be gone although the file is the same.
        if current.stamp != stamp || current.fault.is_some() {
            self.reread(&mut current, stamp);
        }
        current.api.clone()
    }

    /// Reads the secrets. On an error no secret is valid, because the old ones may have been removed.
    fn reread(&self, current: &mut CurrentApi, stamp: FileStamp) {
        let auth = &self.parts.settings.auth;
        let read = auth.read().map_err(|failure| failure.text().to_owned());
        let fault = read.as_ref().err().cloned();
        if current.stamp == stamp && current.fault == fault {
            return;
        }
        match &fault {
            None => tracing::info!(file = %auth.path.display(), "auth file reloaded"),
            Some(fault) if current.fault.as_ref() != Some(fault) => tracing::error!("no secret is accepted: {fault}"),
            // Logged before.
            Some(_) => {}
        }
        let exposure = self.parts.settings.exposure();
        if exposure.is_some() && exposure != current.exposure {
            tracing::warn!("{}", exposure.as_deref().unwrap_or_default());
        }
        let stop = self.parts.stop.child_token();
        let api = self.parts.api(read.unwrap_or_else(|_| SecretList::unreadable()), stop.clone());
        // A client whose secret was removed must not go on reading. All others connect again.
        current.stop.cancel();
        *current = CurrentApi { stamp, api, stop, fault, exposure };
    }
}
