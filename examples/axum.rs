//! kvs as a part of an axum application: `cargo run --example axum`, then
//!
//!     curl -d 'kitchen/temp=21.5&auth=correct-horse-battery' http://127.0.0.1:3000/kvs/
//!     curl 'http://127.0.0.1:3000/kvs/?k=kitchen/temp'

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use kvs::layers::LargeValues;
use kvs::model::SystemClock;
use kvs::store::Limits;
use kvs::web::{Api, ApiSettings, Budget, ClientAddr, Cors, LongPollLimit, LongPollSettings, Policies, SecretList};
use kvs::yaml::{YamlOptions, YamlStore};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    let files = YamlStore::open("data", YamlOptions { limits, ..YamlOptions::default() })?;
    let store = Arc::new(LargeValues::new(Arc::new(files), limits)?);
    let settings = ApiSettings {
        stop: CancellationToken::new(),
        clock: Arc::new(SystemClock),
        max_value_bytes: limits.max_value_bytes,
        max_blob_bytes: 1 << 30,
        secrets: SecretList::parse("correct-horse-battery\n")?,
        policies: Policies::default(),
        cors: Cors::default(),
        long_polls: LongPollSettings {
            max_wait: Duration::from_secs(25),
            limit: LongPollLimit::new(100),
            short_streams: false,
        },
        responses: Budget::default(),
        metrics: Arc::default(),
    };
    let app = Router::new()
        .route("/", get(async || "The application's own page; kvs is at /kvs/\n"))
        // axum removes /kvs before it calls the API, which reads paths below its base path.
        .nest_service("/kvs", Api::new(store, settings))
        .layer(from_fn(with_client_address));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Tells the API who the client is: the limits on wrong secrets and on long polls count by address.
async fn with_client_address(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(ClientAddr(Some(peer.ip())));
    next.run(request).await
}
