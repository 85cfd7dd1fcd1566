//! The last responses, for requests that are repeated: a client that polls sends the same request again and again.
//!
//! Measured (`bench/README.md`): a GET takes 34,000 instructions through the API and about 8,000 from this cache.
//! Behind `mod_fcgid` the rate is 1.10 of a C program on libfcgi with the cache, and 0.91 without it.
//!
//! The cache does not know what a response means. What always holds: a response is sent again only if the API confirms
//! that it would be the same now, and only for a request that is the same except for the variables of the client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::server::cgi::variables::Variables;
use crate::web::ReusableResponse;

/// How many responses are kept.
const MAX_RESPONSES: usize = 32;

/// The longest body that is kept, in bytes. The variables of the request may not be longer either.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 10;

/// After this time a request goes to the handler again, which notices changed settings.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Variables of the client. A reusable response does not depend on them.
const CLIENT_VARIABLES: [&[u8]; 4] = [b"REMOTE_PORT", b"REMOTE_ADDR", b"UNIQUE_ID", b"HTTP_USER_AGENT"];

/// The last responses on all connections of a responder.
#[derive(Default)]
pub(crate) struct ResponseCache(Mutex<VecDeque<Arc<CachedResponse>>>);

/// A response that was sent.
pub(crate) struct CachedResponse {
    /// The request.
    variables: Variables,
    /// Head and body.
    pub(crate) text: Vec<u8>,
    reusable: ReusableResponse,
    since: Instant,
}

impl ResponseCache {
    /// The response to a request without a body, if it is in the cache and still valid.
    pub(crate) async fn answer(&self, variables: &Variables) -> Option<Arc<CachedResponse>> {
        let found = self.find(variables)?;
        found.reusable.is_valid().await.then_some(found)
    }

    /// Keeps the response to a request without a body. `text` is head and body.
    pub(crate) fn keep(&self, variables: Variables, text: Vec<u8>, reusable: ReusableResponse) -> Arc<CachedResponse> {
        let given = Arc::new(CachedResponse { variables, text, reusable, since: Instant::now() });
        if given.text.len().max(given.variables.size()) <= MAX_BODY_BYTES {
            let mut all = self.0.lock();
            all.retain(|known| !known.is_for(&given.variables));
            all.truncate(MAX_RESPONSES - 1);
            all.push_front(Arc::clone(&given));
        }
        given
    }

    fn find(&self, variables: &Variables) -> Option<Arc<CachedResponse>> {
        let all = self.0.lock();
        let known = all.iter().find(|known| known.is_for(variables))?;
        (known.since.elapsed() < MAX_AGE).then(|| Arc::clone(known))
    }
}

impl CachedResponse {
    /// Whether it is the response to a request with these variables.
    fn is_for(&self, variables: &Variables) -> bool {
        self.variables.agree(variables, &CLIENT_VARIABLES)
    }
}
