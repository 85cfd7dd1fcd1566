//! Replies, and how they are sent.

use std::io;
use std::sync::Arc;

use http::Method;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::connection::Connection;
use super::encoder;
use super::encoder::RequestEnd;
use crate::server::cgi::response::print;
use crate::server::cgi::variables::Variables;
use crate::server::response_cache::CachedResponse;
use crate::web::{Body, Response};

/// Up to this size, a head and a piece of a body are copied together, so that both are one record.
const MAX_COPIED_BYTES: usize = 32 << 10;

/// The reply to a request.
pub(crate) enum Reply {
    /// A whole response, which may be sent again.
    Cached(Arc<CachedResponse<Variables>>),
    /// The head of a response, and its body if it has one.
    New(Vec<u8>, Option<Body>),
    /// The role of the request is not supported.
    OtherRole,
}

/// Answers a request before its body has arrived. The rest of it is dropped.
pub(crate) async fn answer_early(
    connection: &mut Connection,
    id: u16,
    method: &Method,
    response: Response,
) -> io::Result<()> {
    connection.forget(id);
    let (bytes, body) = print(method, response);
    send(connection, id, Reply::New(bytes, body)).await
}

/// Writes a reply to the buffer, and sends the buffer when it is full.
///
/// # Errors
/// If the connection fails or the body ends early. The end of the response is not sent then.
pub(crate) async fn send(connection: &mut Connection, id: u16, reply: Reply) -> io::Result<()> {
    connection.begin();
    match reply {
        Reply::Cached(response) => connection.part(id, &response.bytes).await?,
        Reply::New(head, body) => send_body(connection, id, head, body.unwrap_or_default()).await?,
        Reply::OtherRole => {
            encoder::end_request(connection.outgoing(), id, RequestEnd::UnknownRole);
            return Ok(());
        }
    }
    encoder::end_request(connection.outgoing(), id, RequestEnd::Complete);
    Ok(())
}

/// Sends the head and the body of a response.
async fn send_body(connection: &mut Connection, id: u16, mut head: Vec<u8>, body: Body) -> io::Result<()> {
    let mut body = match body.into_whole() {
        Ok(bytes) => return send_piece(connection, id, &mut head, &bytes).await,
        Err(stream) => stream,
    };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        send_piece(connection, id, &mut head, &data).await?;
        // A client gets each piece of a streamed body at once.
        if !body.is_end_stream() {
            connection.flush().await?;
        }
    }
    connection.part(id, &head).await
}

/// Sends the head, if it is not sent yet, and a piece of the body. If both are small, they are one record.
async fn send_piece(connection: &mut Connection, id: u16, head: &mut Vec<u8>, piece: &[u8]) -> io::Result<()> {
    let mut head = std::mem::take(head);
    if head.len() + piece.len() <= MAX_COPIED_BYTES {
        head.extend_from_slice(piece);
        return connection.part(id, &head).await;
    }
    connection.part(id, &head).await?;
    connection.part(id, piece).await
}
