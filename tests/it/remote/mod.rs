//! The store over HTTP: a kvs server in this process, behind a real Apache with TLS.

pub(crate) mod apache;
mod errors;
mod kills;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use kvs::memory::MemoryStore;
use kvs::model::Clock;
use kvs::remote::{RemoteOptions, RemoteStore};
use kvs::server::{BasePath, Listener, SOCKET_MODE, ServerLimits};
use kvs::store::{Limits, Store};
use kvs::web::{Api, ApiSettings, LongPollLimit, LongPollSettings, Policies, SecretList};
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::apache::Apache;
use crate::store::Make;
use crate::support::doubles::{Around, PassThrough};

/// The secret of the servers, with all rights.
pub(crate) const SECRET: &str = "secret-of-the-remote";

/// Stops a server when its store is dropped.
struct Running {
    _stop: DropGuard,
}

#[async_trait]
impl Around for Running {}

/// The store of a server that has the store of `make`.
pub(crate) fn over(make: Make, clock: Arc<dyn Clock>, limits: Limits, folder: &Path) -> Arc<dyn Store> {
    let runtime = runtime();
    let _runtime = runtime.enter();
    let (stop, served) = (CancellationToken::new(), make(Arc::clone(&clock), limits, folder));
    let api = Api::new(served, settings(Arc::clone(&clock), limits, stop.clone()));
    let port = serve(api, limits, stop.clone());
    let apache = Apache::shared();
    let options = RemoteOptions {
        secret: Some(SECRET.to_owned()),
        root_certificates: Some(apache.certificate()),
        ..RemoteOptions::default()
    };
    let records = Arc::new(MemoryStore::new(clock, limits));
    let store = RemoteStore::new(apache.address(port).parse().unwrap(), &options).unwrap().with_records_in(records);
    Arc::new(PassThrough { inner: Arc::new(store), around: Running { _stop: stop.drop_guard() } })
}

/// The runtime of the servers, which outlives that of a test.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

fn settings(clock: Arc<dyn Clock>, limits: Limits, stop: CancellationToken) -> ApiSettings {
    ApiSettings {
        stop,
        clock,
        max_value_bytes: limits.max_value_bytes,
        max_blob_bytes: limits.max_value_bytes as u64,
        secrets: SecretList::parse(SECRET).unwrap(),
        policies: Policies::default(),
        cors: kvs::web::Cors::default(),
        metrics: Arc::default(),
        long_polls: LongPollSettings {
            max_wait: Duration::from_secs(25),
            limit: LongPollLimit::new(1000),
            short_streams: false,
        },
        responses: kvs::web::Budget::default(),
    }
}

/// Serves the API on a free port.
fn serve(api: Api, limits: Limits, stop: CancellationToken) -> u16 {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), SOCKET_MODE).unwrap();
    let port = listener.tcp_address().unwrap().port();
    let body = 3 * limits.max_value_bytes + (4 << 20);
    let bodies = kvs::web::Budget::new(256 << 20, body);
    let limits = ServerLimits { body, bodies, ..ServerLimits::default() };
    tokio::spawn(kvs::server::http1::serve(listener, api, BasePath::served(), limits, stop));
    port
}
