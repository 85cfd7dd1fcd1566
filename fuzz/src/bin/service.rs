//! Requests of any kind: the response is not a server error, and nothing is stored without the secret.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Request, StatusCode};
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, Scan, SystemClock};
use kvs::web::{SecretList, Body, ClientAddr, Cors, Policies, ApiSettings, LongPollLimit, LongPollSettings, Api};
use kvs::store::{Limits, Store};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

fuzz_target!(|input: (&str, &[u8], u8)| {
    let (target, body, kind) = input;
    let Ok(uri) = format!("/{target}").parse::<http::Uri>() else { return };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default()));
    let settings = ApiSettings {
        stop: tokio_util::sync::CancellationToken::new(),
        clock: Arc::new(SystemClock),
        max_value_bytes: 1000,
        max_blob_bytes: 10 << 20,
        secrets: SecretList::parse("correct-horse-battery").expect("a secret"),
        policies: Policies::default(),
        cors: Cors::default(),
        long_polls: LongPollSettings { max_wait: Duration::ZERO, limit: LongPollLimit::new(1), short_streams: true },
        responses: kvs::web::Budget::default(),
        metrics: Arc::default(),
    };
    let method = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"][usize::from(kind % 6)];
    let mut request = Request::builder().method(method).uri(uri);
    if kind & 64 != 0 {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    let request = request.body(Body::from(body.to_vec())).expect("a request");
    RUNTIME.block_on(async {
        let answer = Api::new(Arc::clone(&store), settings).handle(request, ClientAddr::default()).await;
        assert!(!answer.status().is_server_error(), "{}", answer.status());
        assert!(answer.headers().contains_key("x-content-type-options"));
        if answer.status() != StatusCode::OK || method != "POST" {
            let page = store.scan(&Bucket::default(), Scan::default()).await.expect("a page");
            assert!(page.entries.is_empty(), "stored without the secret");
        }
    });
});
