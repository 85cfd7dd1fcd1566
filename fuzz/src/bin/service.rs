//! Requests of any kind: an answer with a status that the contract knows, and nothing stored without the secret.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, Query, SystemClock};
use kvs::service::{Access, Cors, Policies, Settings, Waiters, Waiting, router};
use kvs::store::{Limits, Store};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower::ServiceExt;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

fuzz_target!(|input: (&str, &[u8], u8)| {
    let (target, body, kind) = input;
    let Ok(uri) = format!("/{target}").parse::<http::Uri>() else { return };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default()));
    let settings = Settings {
        stop: tokio_util::sync::CancellationToken::new(),
        clock: Arc::new(SystemClock),
        max_value: 1000,
        access: Access::parse("correct-horse-battery").expect("a secret"),
        policies: Policies::default(),
        cors: Cors::default(),
        waiting: Waiting { longest: Duration::ZERO, waiters: Waiters::new(1) },
        responses: kvs::service::Budget::default(),
        metrics: Arc::default(),
    };
    let method = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"][usize::from(kind % 6)];
    let mut request = Request::builder().method(method).uri(uri);
    if kind & 64 != 0 {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    let request = request.body(Body::from(body.to_vec())).expect("a request");
    RUNTIME.block_on(async {
        let answer = router(Arc::clone(&store), settings).oneshot(request).await.expect("an answer");
        assert!(!answer.status().is_server_error(), "{}", answer.status());
        assert!(answer.headers().contains_key("x-content-type-options"));
        if answer.status() != StatusCode::OK || method != "POST" {
            let page = store.scan(&Bucket::default(), Query::default()).await.expect("a page");
            assert!(page.entries.is_empty(), "stored without the secret");
        }
    });
});
