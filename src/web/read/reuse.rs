//! Marks a response as reusable while its bucket stays at the same revision.
//!
//! Polling clients send the same request again and again, and get the same response until a client writes. Comparing
//! one revision costs a store less than a read, and the rest of the work for a request is skipped.

use std::sync::Arc;

use crate::model::{Bucket, Revision};
use crate::web::metrics::counted::Counted;
use crate::web::metrics::counters::CountedResponse;
use crate::web::metrics::request_timer::RequestTimer;

/// A reusable response depends on this revision of a bucket, and on the method, the URL and the headers of its request.
/// It depends neither on the time nor on the client.
pub(crate) struct Validity {
    pub(crate) bucket: Bucket,
    pub(crate) revision: Revision,
}

/// The permission to send a response again, byte for byte, to any client whose request has the same method, URL and
/// headers, as long as [`ReusableResponse::is_valid`] returns true.
#[derive(Clone)]
pub struct ReusableResponse(Arc<Inner>);

struct Inner {
    store: Counted,
    validity: Validity,
    response: CountedResponse,
}

impl ReusableResponse {
    pub(crate) fn new(store: Counted, validity: Validity, response: CountedResponse) -> Self {
        Self(Arc::new(Inner { store, validity, response }))
    }

    /// Whether the response would be the same now. If so, the metrics count it as sent once more.
    pub async fn is_valid(&self) -> bool {
        let Inner { store, validity, response } = &*self.0;
        let timer = RequestTimer::start(0);
        let now = store.get(&validity.bucket, &[]).await;
        let is_valid = now.is_ok_and(|now| now.revision == validity.revision);
        if is_valid {
            store.counters().count(response, &timer);
        }
        is_valid
    }
}
