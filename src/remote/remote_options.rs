//! The settings of a store over HTTP.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a store over HTTP.
#[derive(Clone)]
pub struct RemoteOptions {
    /// The secret, if the server needs one.
    pub secret: Option<String>,
    /// How long the server may take to respond, besides the time that it waits for changes.
    pub timeout: Duration,
    /// A file with the certificates (PEM) to trust instead of those of the system.
    pub root_certificates: Option<PathBuf>,
}

impl Default for RemoteOptions {
    /// No secret, 30 seconds, the certificates of the system.
    fn default() -> Self {
        Self { secret: None, timeout: Duration::from_secs(30), root_certificates: None }
    }
}

/// Without the secret.
impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret.as_ref().map(|_| "***");
        let Self { timeout, root_certificates, .. } = self;
        let mut out = f.debug_struct("RemoteOptions");
        out.field("secret", &secret).field("timeout", timeout).field("root_certificates", root_certificates).finish()
    }
}
