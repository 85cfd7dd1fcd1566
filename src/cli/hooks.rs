//! Write hooks: what is set of them, and how a process ends that may still have something to tell.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use prometheus_client::registry::Registry;

use super::failure::Done;
use super::home;
use super::layers::Layers;
use super::units::{Span, count};
use crate::hook::{self, Hooks, Secret, Target};
use crate::layer::Hooked;
use crate::model::{Bucket, SystemClock};
use crate::service;
use crate::store::Store;

/// What stands before the path of a file that holds a secret.
const FILE: &str = "file:";

/// The longest that a CGI program stays after its answer. Apache kills it after three seconds.
pub(super) const CGI: Duration = Duration::from_millis(2500);

/// Whom to tell of writes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Write hooks")]
#[group(skip)]
pub(super) struct Flags {
    /// A cache to send `PURGE` to for the addresses of a key that was written, as `http://127.0.0.1:6081`; may be given
    /// several times [default: none]
    // Texts until they are checked: an error of the parser would show them, and a URL may be a secret.
    #[arg(
        long,
        global = true,
        env = "KVS_PURGE",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        hide_short_help = true
    )]
    purge: Vec<String>,
    /// A URL to post events to, as signed JSON; may be given several times [default: none]
    #[arg(
        long,
        global = true,
        env = "KVS_WEBHOOK",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        hide_short_help = true
    )]
    webhook: Vec<String>,
    /// What events are signed with, at least 16 characters; `file:PATH` for a file that holds it [default: none]
    #[arg(
        long,
        global = true,
        env = "KVS_WEBHOOK_SECRET",
        hide_env_values = true,
        value_name = "SECRET|file:PATH",
        hide_short_help = true
    )]
    webhook_secret: Option<String>,
    /// A bucket to tell of, if not all; may be given several times [default: all]
    #[arg(
        long,
        global = true,
        env = "KVS_HOOK_BUCKETS",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ',',
        hide_short_help = true
    )]
    hook_buckets: Vec<Bucket>,
    #[command(flatten)]
    bounds: Bounds,
}

/// How much, how often and how long.
#[derive(Args, Debug)]
#[group(skip)]
#[expect(clippy::struct_field_names, reason = "a field has the name of its setting")]
pub(super) struct Bounds {
    /// How many events may wait for each URL
    #[arg(
        long,
        global = true,
        env = "KVS_HOOK_QUEUE",
        hide_env_values = true,
        value_name = "N",
        default_value = "10000",
        value_parser = count,
        hide_short_help = true
    )]
    hook_queue: usize,
    /// How often a request is sent before it is given up
    #[arg(
        long,
        global = true,
        env = "KVS_HOOK_TRIES",
        hide_env_values = true,
        value_name = "N",
        default_value = "10",
        hide_short_help = true
    )]
    hook_tries: u32,
    /// How old an event may grow before it is given up
    #[arg(
        long,
        global = true,
        env = "KVS_HOOK_AGE",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "5m",
        hide_short_help = true
    )]
    hook_age: Span,
    /// How long one request may take
    #[arg(
        long,
        global = true,
        env = "KVS_HOOK_TIMEOUT",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "10s",
        hide_short_help = true
    )]
    hook_timeout: Span,
    /// How long a program that ends stays to deliver what it has to tell; under CGI 2.5s at most
    #[arg(
        long,
        global = true,
        env = "KVS_HOOK_DRAIN",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "5s",
        hide_short_help = true
    )]
    hook_drain: Span,
}

/// The hooks of this process, if there are any.
#[derive(Clone, Default)]
pub(super) struct Delivery {
    hooks: Option<Arc<Hooks>>,
    drain: Duration,
}

impl Flags {
    /// What they come to. Nothing is sent before something is written.
    ///
    /// # Errors
    /// What makes no sense, as whoever gave it knows it.
    pub(super) fn resolve(self, layers: &Layers) -> Done<Delivery> {
        let purge = targets(&self.purge).map_err(|e| layers.blame("purge", e))?;
        if purge.iter().any(Target::has_query) {
            return Err(layers.blame("purge", "an address is put behind this URL, so it has no ?"));
        }
        let webhook = targets(&self.webhook).map_err(|e| layers.blame("webhook", e))?;
        let webhook = match self.webhook_secret {
            _ if webhook.is_empty() => vec![],
            None => {
                return Err(
                    layers.blame("webhook", "this needs a webhook_secret, so that receivers know who tells them")
                );
            }
            Some(text) => {
                let secret = secret(&text).map_err(|e| layers.blame("webhook_secret", e))?;
                webhook.into_iter().map(|target| (target, secret.clone())).collect()
            }
        };
        let Span(drain) = self.bounds.hook_drain;
        let bounds = self.bounds.resolve(layers)?;
        if purge.is_empty() && webhook.is_empty() {
            return Ok(Delivery { hooks: None, drain });
        }
        let buckets = self.hook_buckets;
        let settings = hook::Settings { purge, webhook, buckets, bounds, clock: Arc::new(SystemClock) };
        Ok(Delivery { hooks: Some(Arc::new(Hooks::new(settings, service::addresses))), drain })
    }
}

impl Bounds {
    fn resolve(self, layers: &Layers) -> Done<hook::Bounds> {
        let Span(timeout) = self.hook_timeout;
        let none = [
            ("hook_queue", self.hook_queue == 0),
            ("hook_tries", self.hook_tries == 0),
            ("hook_timeout", timeout.is_zero()),
        ];
        if let Some((name, _)) = none.into_iter().find(|(_, is_none)| *is_none) {
            return Err(layers.blame(name, "this must be more than nothing"));
        }
        let Span(age) = self.hook_age;
        let usual = hook::Bounds::default();
        Ok(hook::Bounds { queue: self.hook_queue, tries: self.hook_tries, age, timeout, ..usual })
    }
}

fn targets(texts: &[String]) -> crate::model::Result<Vec<Target>> {
    texts.iter().map(|text| text.parse()).collect()
}

/// The secret in that text, or in the file that it names.
fn secret(text: &str) -> Result<Secret, String> {
    let text = match text.strip_prefix(FILE) {
        None => text.to_owned(),
        Some(path) => {
            let path = home::text(path)?;
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read {path}: {e}"))?
        }
    };
    Secret::new(&text).map_err(|e| e.to_string())
}

/// The same setting with the path of its file read from that folder.
pub(super) fn located(text: &str, dir: &Path) -> Result<String, String> {
    match text.strip_prefix(FILE) {
        Some(path) => Ok(format!("{FILE}{}", dir.join(home::text(path)?).display())),
        None => Ok(text.to_owned()),
    }
}

/// A URL as it may be shown: without its path and what follows, which may be a secret.
pub(super) fn shown(url: &str) -> String {
    url.parse::<Target>().map_or_else(|_| "(not shown)".to_owned(), |target| target.to_string())
}

impl Delivery {
    /// Tells nobody.
    pub(super) fn off(&self) -> Self {
        Self { hooks: None, drain: self.drain }
    }

    /// Whether anybody is told.
    pub(super) fn is_on(&self) -> bool {
        self.hooks.is_some()
    }

    /// Has it counted among the metrics of this process.
    pub(super) fn register(&self, registry: &mut Registry) {
        if let Some(hooks) = &self.hooks {
            hooks.register(registry);
        }
    }

    /// The same store, its writes told.
    pub(super) fn over(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match self.hooks.clone() {
            Some(hooks) => Arc::new(Hooked::new(store, Arc::new(move |events| hooks.tell(events)))),
            None => store,
        }
    }

    /// How long that may take.
    pub(super) fn longest_finish(&self) -> Duration {
        if self.is_on() { self.drain } else { Duration::ZERO }
    }

    /// Delivers what is left, for as long as is set and no longer than `most`. What is left then is logged.
    pub(super) async fn finish(&self, most: Duration) {
        if let Some(hooks) = &self.hooks {
            hooks.finish(self.drain.min(most)).await;
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("on", &self.hooks.is_some()).field("drain", &self.drain).finish()
    }
}
