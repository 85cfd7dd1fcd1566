//! Answers that a door may give again without asking the service, as long as nothing they stand on has changed.
//!
//! Polling clients send the same request again and again, and get the same answer until somebody writes. What such an
//! answer stands on is the revision of one bucket; asking for that costs a store less than a read, and everything else
//! that a request goes through is spared.

use std::sync::Arc;

use axum::response::Response;
use http::Method;

use super::Service;
use super::metrics::{self, Class, Tally};
use crate::model::{Bucket, Revision};

/// The bucket that an answer shows, and its revision then. Among the extensions of a response it says that the response
/// depends on nothing else but the method, the address and the headers of its request: neither on the hour nor on who asks.
#[derive(Clone)]
pub(crate) struct Basis {
    pub(crate) bucket: Bucket,
    pub(crate) revision: Revision,
}

/// Among the extensions of a response: it may be given again, byte for byte, to a request with the same method, address
/// and headers, while [`Repeat::is_due`] says so. Who asks does not matter.
#[derive(Clone)]
pub struct Repeat(Arc<Given>);

struct Given {
    service: Arc<Service>,
    basis: Basis,
    class: Class,
    method: Method,
    status: u16,
    sent: u64,
}

impl Repeat {
    /// Makes the basis of a response, if it has one, what a door can ask.
    pub(super) fn offer(service: Arc<Service>, (class, method): (Class, Method), response: &mut Response) {
        let Some(basis) = response.extensions_mut().remove::<Basis>() else { return };
        let (status, sent) = (response.status().as_u16(), metrics::sent(&method, response));
        let given = Given { service, basis, class, method, status, sent };
        response.extensions_mut().insert(Self(Arc::new(given)));
    }

    /// Whether the answer would be the same now. If so it counts as given once more.
    pub async fn is_due(&self) -> bool {
        let Given { service, basis, class, method, status, sent } = &*self.0;
        let tally = Tally::bodiless();
        let now = service.store.get(&basis.bucket, &[]).await;
        let same = now.is_ok_and(|now| now.revision == basis.revision);
        if same {
            service.settings.metrics.counters().count((*class, method, *status), &tally, *sent);
        }
        same
    }
}
