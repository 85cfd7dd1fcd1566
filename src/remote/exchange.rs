//! A request to the server, and a response.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// A request to the server.
pub(super) struct RemoteRequest<'a> {
    pub(super) method: Method,
    /// Relative to the address.
    pub(super) path: String,
    pub(super) query: Vec<(&'a str, String)>,
    /// The media type and the body, if it has one.
    pub(super) body: Option<(&'static str, Bytes)>,
    /// Whether it changes nothing, so that it can be repeated.
    pub(super) is_read: bool,
    /// How long the server may wait before it responds.
    pub(super) wait: Duration,
}

impl<'a> RemoteRequest<'a> {
    pub(super) fn get(path: String, query: Vec<(&'a str, String)>) -> Self {
        Self::read(Method::GET, path, query)
    }

    /// A request that changes nothing.
    pub(super) fn read(method: Method, path: String, query: Vec<(&'a str, String)>) -> Self {
        Self { method, path, query, body: None, is_read: true, wait: Duration::ZERO }
    }

    pub(super) fn write(method: Method, path: String, query: Vec<(&'a str, String)>) -> Self {
        Self { method, path, query, body: None, is_read: false, wait: Duration::ZERO }
    }

    pub(super) fn with_body(self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((content_type, body.into())), ..self }
    }
}

/// A response of kvs.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}
