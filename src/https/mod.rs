//! An HTTP client over TLS or without it: for hooks, and for the store of another server. It follows no redirects and
//! keeps no cookies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

/// The `User-Agent` of the requests.
pub(crate) const KVS_USER_AGENT: &str = concat!("kvs/", env!("CARGO_PKG_VERSION"));

pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How a client connects.
#[derive(Clone, Debug)]
pub(crate) struct ClientSettings {
    /// Whether it can use `https`.
    pub(crate) needs_https: bool,
    /// A file with the certificates (PEM) to trust instead of those of the system.
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    /// An idle connection is closed after this time.
    pub(crate) idle_timeout: Duration,
    pub(crate) max_idle_connections: usize,
}

/// A client that is created with the first request: loading the certificates of the system takes longer than most
/// programs run.
pub(crate) struct LazyClient {
    settings: ClientSettings,
    client: OnceCell<Result<HttpClient, String>>,
}

impl LazyClient {
    pub(crate) fn new(settings: ClientSettings) -> Self {
        Self { settings, client: OnceCell::new() }
    }

    /// # Errors
    /// If the certificates of the system cannot be loaded.
    pub(crate) async fn get(&self) -> Result<&HttpClient, String> {
        self.client.get_or_init(|| create(self.settings.clone())).await.as_ref().map_err(Clone::clone)
    }
}

/// Creates the client on a blocking thread, since reading the certificates takes a while.
async fn create(settings: ClientSettings) -> Result<HttpClient, String> {
    let created = tokio::task::spawn_blocking(move || create_blocking(settings)).await;
    created.unwrap_or_else(|error| Err(error.to_string()))
}

fn create_blocking(settings: ClientSettings) -> Result<HttpClient, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(settings.connect_timeout));
    let builder = HttpsConnectorBuilder::new();
    let builder = if settings.needs_https && settings.root_certificates.is_none() {
        // The roots of the system: a private certificate is trusted in one place, and SSL_CERT_FILE works.
        builder
            .with_provider_and_native_roots((*provider).clone())
            .map_err(|e| format!("cannot load the root certificates of the system: {e}"))?
    } else {
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| e.to_string())?;
        let roots = settings.root_certificates.as_deref().map_or_else(|| Ok(RootCertStore::empty()), roots_in)?;
        builder.with_tls_config(config.with_root_certificates(roots).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(settings.max_idle_connections)
        .build(connector))
}

/// The certificates in a file.
fn roots_in(file: &Path) -> Result<RootCertStore, String> {
    let failed = |why: String| format!("cannot read the certificates in {}: {why}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(e.to_string()))? {
        let certificate = certificate.map_err(|e| failed(e.to_string()))?;
        roots.add(certificate).map_err(|e| failed(e.to_string()))?;
    }
    if roots.is_empty() { Err(failed("there is none".to_owned())) } else { Ok(roots) }
}

/// The innermost source of an error. The outer ones only say that a request failed.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
