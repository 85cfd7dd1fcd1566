//! Sends a request and returns its response. It knows what may be repeated, and what an error says about a write.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Semaphore;

use super::address::RemoteAddress;
use super::exchange::{RemoteRequest, Reply};
use super::failure;
use super::remote_options::RemoteOptions;
use crate::https::{ClientSettings, HttpClient, KVS_USER_AGENT, LazyClient, root_cause};
use crate::model::{Error, ErrorKind, Result};

/// The header of the secret. Some web servers do not pass on `Authorization`.
const KVS_AUTH: &str = "x-kvs-auth";

/// How often a request is sent in all.
const MAX_ATTEMPTS: u32 = 3;

/// The pause before the second attempt; before the third it is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// An idle connection is closed after this time: much sooner than Apache does it (5 s), so that a write hardly ever
/// meets a connection that is being closed. Nobody would know whether it was done.
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);

/// How many requests are sent at once, besides those that wait for changes. A web server with too many connections
/// closes idle ones, and hosts limit the connections of an address.
const MAX_REQUESTS: usize = 16;

/// A slow line needs this much longer: a second for each 16 KiB that are sent.
const BYTES_PER_SECOND: u64 = 16 << 10;

/// The reason why no response came.
enum Lost {
    /// The request was not sent.
    NotSent(String),
    /// It may have been sent.
    Unknown(String),
}

/// The connections to a server.
pub(super) struct Connection {
    pub(super) address: RemoteAddress,
    secret: Option<HeaderValue>,
    timeout: Duration,
    client: LazyClient,
    requests: Semaphore,
}

impl Connection {
    /// # Errors
    /// If the secret cannot be sent in a header.
    pub(super) fn new(address: RemoteAddress, options: &RemoteOptions) -> Result<Self> {
        let RemoteOptions { secret, timeout, root_certificates } = options.clone();
        let secret =
            secret.filter(|secret| !secret.is_empty()).map(HeaderValue::try_from).transpose().map_err(|_| {
                Error::new(ErrorKind::Invalid, "the secret has characters that cannot be sent, such as a line break")
            })?;
        let secret = secret.map(|mut secret| {
            secret.set_sensitive(true);
            secret
        });
        let client = LazyClient::new(ClientSettings {
            needs_https: address.is_https(),
            root_certificates,
            connect_timeout: timeout / 3,
            idle_timeout: IDLE_TIMEOUT,
            max_idle_connections: MAX_REQUESTS,
        });
        Ok(Self { address, secret, timeout, client, requests: Semaphore::new(MAX_REQUESTS) })
    }

    /// Sends a request until there is a response of kvs. It may be an error of kvs that only the caller understands:
    /// 404, 409 or 410.
    ///
    /// # Errors
    /// If there is none, or if it is another error.
    pub(super) async fn send(&self, request: &RemoteRequest<'_>) -> Result<Reply> {
        let client = self.client.get().await.map_err(|why| Error::new(ErrorKind::Invalid, why))?;
        // It is never closed.
        let _permit = if request.wait.is_zero() { self.requests.acquire().await.ok() } else { None };
        let mut pause = PAUSE;
        for attempt in 1.. {
            let is_last = attempt >= MAX_ATTEMPTS;
            match self.exchange(client, request).await? {
                Ok(reply) if !is_last && request.is_read && failure::is_worth_a_retry(&reply) => {}
                Ok(reply) => return failure::check(&self.address, request, reply),
                Err(Lost::NotSent(why)) if is_last || is_lasting(&why) => return Err(self.not_sent(&why)),
                Err(Lost::Unknown(why)) if is_last || !request.is_read => return Err(self.lost(request, &why)),
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        // The loop has no other end.
        Err(self.not_sent("no attempt was made"))
    }

    async fn exchange(&self, client: &HttpClient, request: &RemoteRequest<'_>) -> Result<Result<Reply, Lost>> {
        let bytes = request.body.as_ref().map_or(0, |(_, body)| body.len() as u64);
        let max_time = self.timeout + request.wait + Duration::from_secs(bytes / BYTES_PER_SECOND);
        let sent = self.http_request(request)?;
        let response = match tokio::time::timeout(max_time, client.request(sent)).await {
            Err(_) => return Ok(Err(Lost::Unknown(format!("no response within {} s", max_time.as_secs())))),
            Ok(Err(error)) if error.is_connect() => return Ok(Err(Lost::NotSent(root_cause(&error)))),
            Ok(Err(error)) => return Ok(Err(Lost::Unknown(root_cause(&error)))),
            Ok(Ok(response)) => response,
        };
        let (parts, mut body) = response.into_parts();
        let mut collected: Vec<u8> = vec![];
        loop {
            match tokio::time::timeout(self.timeout, body.frame()).await {
                Err(_) => return Ok(Err(Lost::Unknown("the response stopped midway".to_owned()))),
                Ok(Some(Err(error))) => return Ok(Err(Lost::Unknown(root_cause(&error)))),
                Ok(Some(Ok(frame))) => collected.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
                Ok(None) => break,
            }
        }
        Ok(Ok(Reply { status: parts.status, headers: parts.headers, body: collected.into() }))
    }

    fn http_request(&self, request: &RemoteRequest<'_>) -> Result<Request<Full<Bytes>>> {
        let (content_type, body) = request.body.clone().unwrap_or_default();
        let mut out = Request::new(Full::new(body));
        *out.method_mut() = request.method.clone();
        *out.uri_mut() = self.address.url(&request.path, &request.query)?;
        let headers = out.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(KVS_USER_AGENT));
        // Errors of kvs are JSON then, and those of a web server in front are not.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(secret) = &self.secret {
            headers.insert(KVS_AUTH, secret.clone());
        }
        Ok(out)
    }

    fn not_sent(&self, why: &str) -> Error {
        let address = &self.address;
        if is_lasting(why) {
            let text = format!(
                "{address}: the certificate of the server is not trusted ({why}); nothing was done; put the certificate \
                 of its authority among those of the system, or name its file in SSL_CERT_FILE"
            );
            return Error::new(ErrorKind::Invalid, text);
        }
        Error::new(ErrorKind::Busy, format!("cannot connect to {address}: {why}; nothing was done, try again"))
    }

    fn lost(&self, request: &RemoteRequest<'_>, why: &str) -> Error {
        let address = &self.address;
        let text = if request.is_read {
            format!("{address}: the response did not arrive: {why}; try again")
        } else {
            format!(
                "{address}: the response to a write did not arrive ({why}); it is unknown whether the write was done: \
                 read before you write again"
            )
        };
        Error::new(ErrorKind::Unavailable, text)
    }
}

/// Whether another attempt to connect is useless.
fn is_lasting(why: &str) -> bool {
    why.contains("certificate")
}
