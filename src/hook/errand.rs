//! What a kind of hook does: how items become a request, and what its answer means.

use std::hash::Hash;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::client::Answer;
use super::retry::Verdict;
use super::target::Target;

/// A kind of hook at one URL.
pub(super) trait Errand: Send + Sync + 'static {
    /// What waits in its queue.
    type Item: Clone + Eq + Hash + Send + Sync;

    /// How many items go into one request.
    const MOST: usize;

    /// What the log calls it.
    const NAME: &'static str;

    /// Where to.
    fn target(&self) -> &Target;

    /// The request, made anew for each try.
    ///
    /// # Errors
    /// What cannot be sent at all.
    fn request(&self, items: &[Self::Item]) -> Result<Request<Full<Bytes>>, http::Error>;

    /// What the answer means.
    fn judge(&self, answer: &Answer) -> Verdict;
}
