//! The data that a read fetches from the store, and its representation in a response.

use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::model::{Revision, Time};
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::Content;

/// The result of a read of the store, at one moment.
#[derive(Clone)]
pub(crate) struct Fetched {
    /// The revision of the bucket at that moment. Every later change has a greater one.
    pub(crate) revision: Revision,
    /// When the read must be repeated at the latest, because an entry expires.
    pub(crate) expires: Option<Time>,
    /// `None` if the key does not exist.
    pub(crate) representation: Option<Representation>,
}

/// A representation in the sense of RFC 9110, section 3.2: bytes and the headers that describe them.
#[derive(Clone)]
pub(crate) struct Representation {
    /// The entity tag, without quotes. Different representations of a resource have different tags.
    pub(crate) tag: String,
    pub(crate) modified: Option<Time>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Content,
}

/// The reason why a long poll fetches again.
#[derive(Clone, Copy)]
pub(crate) struct Wakeup {
    pub(crate) at: Instant,
    /// The revision of the write that woke it up; `None` if it was an expiry.
    pub(crate) revision: Option<Revision>,
}

/// A resource to read. A long poll fetches it again and again.
pub(crate) trait Fetch: Send + Sync {
    fn fetch(&self) -> impl Future<Output = Result<Fetched, ApiError>> + Send;

    /// Fetches for a long poll. Many polls may wake up together, so the result may be shared.
    fn fetch_after(&self, _wakeup: Wakeup) -> impl Future<Output = Result<Fetched, ApiError>> + Send {
        self.fetch()
    }
}
