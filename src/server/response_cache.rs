//! A cache of the last responses. A client that polls sends the same request again and again.
//!
//! Measured (`bench/README.md`): a GET over FastCGI takes 37,100 instructions through the API and about 8,000 from this
//! cache. Behind `mod_fcgid` the rate is 1.10 of a C program on libfcgi with the cache, and 0.91 without it.
//!
//! The cache does not know the meaning of a response. It sends a response again only if the API confirms that it would
//! be the same now, and only for a request that is the same.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::web::ReusableResponse;

/// How many responses are kept.
const MAX_RESPONSES: usize = 32;

/// The longest response and the longest request that are kept, in bytes.
pub(crate) const MAX_CACHED_BYTES: usize = 16 << 10;

/// After this time a request goes to the handler again. So changed settings take effect.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A request without a body, as a protocol transmits it.
pub(crate) trait CachedRequest {
    /// Whether a reusable response to one of them is a response to the other.
    fn is_same(&self, other: &Self) -> bool;

    /// Its length in bytes.
    fn length(&self) -> usize;
}

/// The last responses on all connections of a listener.
pub(crate) struct ResponseCache<R>(Mutex<VecDeque<Arc<CachedResponse<R>>>>);

impl<R> Default for ResponseCache<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A response that was sent.
pub(crate) struct CachedResponse<R> {
    request: R,
    /// Head and body.
    pub(crate) bytes: Vec<u8>,
    reusable: ReusableResponse,
    since: Instant,
}

impl<R: CachedRequest> ResponseCache<R> {
    /// The response to a request, if it is in the cache and still valid.
    pub(crate) async fn get(&self, request: &R) -> Option<Arc<CachedResponse<R>>> {
        self.find(request)?.if_valid().await
    }

    /// Keeps the response to a request. `bytes` are its head and its body.
    pub(crate) fn insert(&self, request: R, bytes: Vec<u8>, reusable: ReusableResponse) -> Arc<CachedResponse<R>> {
        let response = Arc::new(CachedResponse { request, bytes, reusable, since: Instant::now() });
        if response.bytes.len().max(response.request.length()) <= MAX_CACHED_BYTES {
            let mut all = self.0.lock();
            all.retain(|cached| !cached.request.is_same(&response.request));
            all.truncate(MAX_RESPONSES - 1);
            all.push_front(Arc::clone(&response));
        }
        response
    }

    /// The response to a request, if it is in the cache.
    pub(crate) fn find(&self, request: &R) -> Option<Arc<CachedResponse<R>>> {
        let all = self.0.lock();
        let cached = all.iter().find(|cached| cached.request.is_same(request))?;
        (cached.since.elapsed() < MAX_AGE).then(|| Arc::clone(cached))
    }
}

impl<R> CachedResponse<R> {
    /// The response, if it is still valid.
    pub(crate) async fn if_valid(self: Arc<Self>) -> Option<Arc<Self>> {
        self.reusable.is_valid().await.then_some(self)
    }
}
