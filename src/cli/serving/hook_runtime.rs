//! Write hooks of this process: built from the settings, put over the store, and finished at the end.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::cli::config::flags::{HookFlags, HookLimitFlags};
use crate::cli::config::sources::Sources;
use crate::cli::config::tilde;
use crate::cli::config::units::TimeSpan;
use crate::cli::exit::CliResult;
use crate::hooks::{HookUrl, Hooks, Secret};
use crate::layers::Hooked;
use crate::model::SystemClock;
use crate::store::Store;
use crate::{hooks, web};

/// The prefix of a setting that names a file with the secret.
const FILE_PREFIX: &str = "file:";

/// The longest time a CGI program stays after its answer. Apache kills it after 3 s.
pub(crate) const CGI_DRAIN_TIMEOUT: Duration = Duration::from_millis(2500);

/// The hooks of this process, if any are set.
#[derive(Clone, Default)]
pub(crate) struct HookRuntime {
    hooks: Option<Arc<Hooks>>,
    drain_timeout: Duration,
}

/// Checks the flags. Nothing is sent before the first write.
///
/// # Errors
/// A value that makes no sense, with its source.
pub(crate) fn resolve(flags: HookFlags, sources: &Sources) -> CliResult<HookRuntime> {
    let purge = targets(&flags.purge).map_err(|e| sources.error_at("purge", e))?;
    if purge.iter().any(HookUrl::has_query) {
        return Err(sources.error_at("purge", "a purge URL must not contain a query (?)"));
    }
    let webhook = targets(&flags.webhook).map_err(|e| sources.error_at("webhook", e))?;
    let webhook = match flags.webhook_secret {
        _ if webhook.is_empty() => vec![],
        None => return Err(sources.error_at("webhook", "webhook_secret must be set, to sign the events")),
        Some(text) => {
            let secret = secret(&text).map_err(|e| sources.error_at("webhook_secret", e))?;
            webhook.into_iter().map(|target| (target, secret.clone())).collect()
        }
    };
    let TimeSpan(drain_timeout) = flags.limits.hook_drain_timeout;
    let limits = limits(&flags.limits, sources)?;
    if purge.is_empty() && webhook.is_empty() {
        return Ok(HookRuntime { hooks: None, drain_timeout });
    }
    let buckets = flags.hook_buckets;
    let settings = hooks::HookSettings { purge, webhook, buckets, limits, clock: Arc::new(SystemClock) };
    Ok(HookRuntime { hooks: Some(Arc::new(Hooks::new(settings, web::cache_urls))), drain_timeout })
}

fn limits(flags: &HookLimitFlags, sources: &Sources) -> CliResult<hooks::DeliveryLimits> {
    let TimeSpan(request_timeout) = flags.hook_timeout;
    let zero = [
        ("hook_queue", flags.hook_queue == 0),
        ("hook_max_attempts", flags.hook_max_attempts == 0),
        ("hook_timeout", request_timeout.is_zero()),
    ];
    if let Some((name, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
        return Err(sources.error_at(name, "must be greater than 0"));
    }
    let TimeSpan(max_age) = flags.hook_max_age;
    let default = hooks::DeliveryLimits::default();
    Ok(hooks::DeliveryLimits {
        max_queued: flags.hook_queue,
        max_attempts: flags.hook_max_attempts,
        max_age,
        request_timeout,
        ..default
    })
}

fn targets(texts: &[String]) -> crate::model::Result<Vec<HookUrl>> {
    texts.iter().map(|text| text.parse()).collect()
}

/// The secret in the setting, or in the file that it names.
fn secret(text: &str) -> Result<Secret, String> {
    let text = match text.strip_prefix(FILE_PREFIX) {
        None => text.to_owned(),
        Some(path) => {
            let path = tilde::text(path)?;
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read {path}: {e}"))?
        }
    };
    Secret::new(&text).map_err(|e| e.to_string())
}

/// The setting of the secret, a relative path taken as one below `dir`.
pub(crate) fn secret_below(text: &str, dir: &Path) -> Result<OsString, String> {
    match text.strip_prefix(FILE_PREFIX) {
        Some(path) => Ok(format!("{FILE_PREFIX}{}", dir.join(tilde::text(path)?).display()).into()),
        None => Ok(text.into()),
    }
}

/// A URL without its path and query, which may be secret.
pub(crate) fn without_path(url: &str) -> String {
    url.parse::<HookUrl>().map_or_else(|_| "(not shown)".to_owned(), |target| target.to_string())
}

impl HookRuntime {
    /// Without hooks.
    pub(crate) fn disabled(&self) -> Self {
        Self { hooks: None, drain_timeout: self.drain_timeout }
    }

    /// Whether there are hooks.
    pub(crate) fn is_enabled(&self) -> bool {
        self.hooks.is_some()
    }

    /// Adds the metrics of the hooks.
    pub(crate) fn register(&self, registry: &mut Registry) {
        if let Some(hooks) = &self.hooks {
            hooks.register(registry);
        }
    }

    /// The store, with hooks for its writes.
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match self.hooks.clone() {
            Some(hooks) => Arc::new(Hooked::new(store, Arc::new(move |events| hooks.enqueue(events)))),
            None => store,
        }
    }

    /// The longest time that [`Self::finish`] may take.
    pub(crate) fn max_finish_time(&self) -> Duration {
        if self.is_enabled() { self.drain_timeout } else { Duration::ZERO }
    }

    /// Delivers the remaining events, for at most the drain timeout and `max`. Logs how many are lost.
    pub(crate) async fn finish(&self, max: Duration) {
        if let Some(hooks) = &self.hooks {
            hooks.drain(self.drain_timeout.min(max)).await;
        }
    }
}

impl fmt::Debug for HookRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks = &self.is_enabled();
        f.debug_struct("HookRuntime").field("hooks", hooks).field("drain_timeout", &self.drain_timeout).finish()
    }
}
