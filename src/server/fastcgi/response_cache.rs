//! A cache of the last responses. A client that polls sends the same request again and again.
//!
//! Measured (`bench/README.md`): a GET takes 37,100 instructions through the API and about 8,000 from this cache.
//! Behind `mod_fcgid` the rate is 1.10 of a C program on libfcgi with the cache, and 0.91 without it.
//!
//! The cache does not know the meaning of a response. It sends a response again only if the API confirms that it would
//! be the same now, and only for a request that is the same except for the variables that describe the client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::server::cgi::variables::Variables;
use crate::web::ReusableResponse;

/// How many responses are kept.
const MAX_RESPONSES: usize = 32;

/// The longest body and the longest request variables that are kept, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 10;

/// After this time a request goes to the handler again. So changed settings take effect.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The variables that describe the client. A reusable response does not depend on them.
const CLIENT_VARIABLES: [&[u8]; 4] = [b"REMOTE_PORT", b"REMOTE_ADDR", b"UNIQUE_ID", b"HTTP_USER_AGENT"];

/// The last responses on all connections of a responder.
#[derive(Default)]
pub(crate) struct ResponseCache(Mutex<VecDeque<Arc<CachedResponse>>>);

/// A response that was sent.
pub(crate) struct CachedResponse {
    /// The variables of its request.
    variables: Variables,
    /// Head and body.
    pub(crate) bytes: Vec<u8>,
    reusable: ReusableResponse,
    since: Instant,
}

impl ResponseCache {
    /// The response to a request without a body, if it is in the cache and still valid.
    pub(crate) async fn get(&self, variables: &Variables) -> Option<Arc<CachedResponse>> {
        let found = self.find(variables)?;
        found.reusable.is_valid().await.then_some(found)
    }

    /// Keeps the response to a request without a body. `bytes` are its head and its body.
    pub(crate) fn insert(
        &self,
        variables: Variables,
        bytes: Vec<u8>,
        reusable: ReusableResponse,
    ) -> Arc<CachedResponse> {
        let response = Arc::new(CachedResponse { variables, bytes, reusable, since: Instant::now() });
        if response.bytes.len().max(response.variables.size()) <= MAX_BODY_BYTES {
            let mut all = self.0.lock();
            all.retain(|cached| !cached.is_for(&response.variables));
            all.truncate(MAX_RESPONSES - 1);
            all.push_front(Arc::clone(&response));
        }
        response
    }

    fn find(&self, variables: &Variables) -> Option<Arc<CachedResponse>> {
        let all = self.0.lock();
        let cached = all.iter().find(|cached| cached.is_for(variables))?;
        (cached.since.elapsed() < MAX_AGE).then(|| Arc::clone(cached))
    }
}

impl CachedResponse {
    /// Whether it is the response to a request with these variables.
    fn is_for(&self, variables: &Variables) -> bool {
        self.variables.equals_except(variables, &CLIENT_VARIABLES)
    }
}
