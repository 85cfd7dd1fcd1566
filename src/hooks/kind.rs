//! The kinds of hooks: how items become a request, and what the response means.

use std::hash::Hash;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::http_client::HookResponse;
use super::retry::DeliveryResult;
use super::target::HookUrl;

/// A kind of hook with one URL.
pub(crate) trait HookKind: Send + Sync + 'static {
    /// One entry of the queue.
    type Item: Clone + Eq + Hash + Send + Sync;

    const MAX_ITEMS_PER_REQUEST: usize;

    /// The name in logs: one delivery.
    const NAME: &'static str;

    /// The name of the items in logs.
    const ITEMS: &'static str;

    fn url(&self) -> &HookUrl;

    /// Builds the request. Each attempt has a new one.
    fn request(&self, items: &[Self::Item]) -> Result<Request<Full<Bytes>>, http::Error>;

    /// Interprets the response.
    fn result(&self, response: &HookResponse) -> DeliveryResult;
}
