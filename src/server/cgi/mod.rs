//! CGI: one request from the environment and standard input, its response to standard output.
//!
//! Under CGI the arguments of the program come from the client. They are never read.

pub(super) mod base_path;
pub(super) mod body_length;
pub(super) mod request;
pub(super) mod response;
pub(super) mod variables;

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::base_path::BasePath;
use self::response::print;
use self::variables::Variables;
use super::error_response::TransportError;
use super::handler::{Handler, call};
use super::lazy_body::{BodySender, lazy_body};
use super::limits::ServerLimits;
use crate::web::Response;

/// How many bytes of a rejected body are read and dropped.
const MAX_DRAINED_BYTES: u64 = 64 << 20;

/// How many bytes of a long body are read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// How long reading them may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the request in the environment of this process.
///
/// A thread that reads standard input may outlive this call if the web server never sends the announced body. End the
/// process without waiting for it.
///
/// # Errors
/// If the response cannot be written to standard output.
pub async fn answer<H: Handler>(handler: H, base_path: &BasePath, limits: &ServerLimits) -> io::Result<()> {
    let variables = Variables::of(std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())));
    let (method, response) = respond(&handler, &variables, base_path, limits, io::stdin()).await;
    write_response(&mut io::stdout().lock(), &method, response).await
}

/// The method of a request and its response.
async fn respond<H: Handler>(
    handler: &H,
    variables: &Variables,
    base_path: &BasePath,
    limits: &ServerLimits,
    input: impl Read + Send + 'static,
) -> (Method, Response) {
    // The same limit as over FastCGI, where these variables are the parameters.
    let size = if variables.size() > limits.head { Err(TransportError::HeadTooLong) } else { Ok(()) };
    let parts = match size.and_then(|()| request::head(variables, base_path)) {
        Ok(parts) => parts,
        Err(error) => {
            let (method, headers) = request::method_and_headers(variables);
            return (method, error.response(&headers));
        }
    };
    let (method, client) = (parts.method.clone(), request::client(variables));
    let response = match body_length::announced(variables, base_path, limits.longest_body()) {
        Ok(length) if length > limits.body as u64 => {
            let (body, sender) = lazy_body(Some(length));
            let headers = parts.headers.clone();
            let response = call(handler, Request::from_parts(parts, body), client);
            answer_in_pieces(response, sender, Input { input, length }, limits)
                .await
                .unwrap_or_else(|error| error.response(&headers))
        }
        Ok(length) => match read_exactly(input, length, limits.body_timeout).await {
            Ok(body) => call(handler, Request::from_parts(parts, body.into()), client).await,
            Err(error) => error.response(&parts.headers),
        },
        Err(error) => {
            drain(input).await;
            error.response(&parts.headers)
        }
    };
    (method, response)
}

/// Standard input, and how many bytes of it are the body.
struct Input<I> {
    input: I,
    length: u64,
}

/// Answers a request with a body that is too long for the memory: the handler takes it piece by piece, or refuses it.
async fn answer_in_pieces(
    response: impl Future<Output = Response>,
    mut sender: BodySender,
    Input { input, length }: Input<impl Read + Send + 'static>,
    limits: &ServerLimits,
) -> Result<Response, TransportError> {
    let mut response = pin!(response);
    tokio::select! {
        biased;
        response = response.as_mut() => {
            drain(input).await;
            return Ok(response);
        }
        () = sender.requested() => {}
    }
    if !sender.is_in_pieces() {
        drain(input).await;
        return Err(TransportError::BodyTooLarge);
    }
    let (mut pieces, finished) = read_in_pieces(input.take(length));
    let supply = async {
        let mut arrived = 0;
        while let Some(piece) =
            timeout(limits.body_timeout, pieces.recv()).await.map_err(|_| TransportError::BodyTimeout)?
        {
            let piece = piece.map_err(|_| TransportError::BrokenBody)?;
            arrived += piece.len() as u64;
            sender.send_piece(piece).await;
        }
        if arrived != length {
            return Err(TransportError::LengthMismatch);
        }
        sender.end().await;
        Ok(())
    };
    let early = tokio::select! {
        biased;
        supplied = supply => {
            supplied?;
            None
        }
        response = response.as_mut() => Some(response),
    };
    match early {
        None => Ok(response.await),
        Some(early) => {
            drop(pieces);
            // What the thread reads now is dropped.
            let _ = timeout(DRAIN_TIMEOUT, finished).await;
            Ok(early)
        }
    }
}

/// Reads all input on a thread. If the pieces are no longer wanted, the thread drops the next ones up to a limit.
fn read_in_pieces(mut input: impl Read + Send + 'static) -> (mpsc::Receiver<io::Result<Bytes>>, oneshot::Receiver<()>) {
    let (pieces_tx, pieces_rx) = mpsc::channel(1);
    let (finished_tx, finished_rx) = oneshot::channel();
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let read = match input.read(&mut piece) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let is_error = read.is_err();
            let read = read.map(|count| {
                piece.truncate(count);
                piece.into()
            });
            if pieces_tx.blocking_send(read).is_err() {
                // The error response is the same whether this worked or not.
                let _ = io::copy(&mut input.take(MAX_DRAINED_BYTES), &mut io::sink());
                break;
            }
            if is_error {
                break;
            }
        }
        let _ = finished_tx.send(());
    });
    (pieces_rx, finished_rx)
}

async fn write_response(output: &mut impl Write, method: &Method, response: Response) -> io::Result<()> {
    let (mut bytes, body) = print(method, response);
    let mut body = body.unwrap_or_default();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        bytes.extend_from_slice(&data);
        output.write_all(&bytes)?;
        output.flush()?;
        bytes.clear();
    }
    output.write_all(&bytes)?;
    output.flush()
}

/// Reads and drops a rejected body. If the program ended before it had read its input, Apache would treat it as broken
/// and lose the response.
async fn drain(input: impl Read + Send + 'static) {
    let (done_tx, done_rx) = oneshot::channel();
    std::thread::spawn(move || {
        let outcome = io::copy(&mut input.take(MAX_DRAINED_BYTES), &mut io::sink());
        // The receiver is gone after the timeout.
        let _ = done_tx.send(outcome);
    });
    // The error response is the same whether this worked or not.
    let _ = timeout(DRAIN_TIMEOUT, done_rx).await;
}

/// Reads `length` bytes and does not try to read more, because a web server may leave standard input open.
async fn read_exactly(
    input: impl Read + Send + 'static,
    length: u64,
    max_time: Duration,
) -> Result<Vec<u8>, TransportError> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let (body_tx, body_rx) = oneshot::channel();
    // Not a blocking task of the runtime: the runtime would wait for it when it ends.
    std::thread::spawn(move || {
        let mut body = Vec::new();
        let outcome = input.take(length).read_to_end(&mut body);
        // The receiver is gone after the timeout.
        let _ = body_tx.send(outcome.map(|_| body));
    });
    match timeout(max_time, body_rx).await {
        Err(_elapsed) => Err(TransportError::BodyTimeout),
        Ok(Ok(Ok(body))) if body.len() as u64 == length => Ok(body),
        Ok(Ok(Ok(_))) => Err(TransportError::LengthMismatch),
        Ok(_) => Err(TransportError::BrokenBody),
    }
}

#[cfg(test)]
mod tests {
    use super::request::tests::variables;
    use super::*;
    use crate::web::{Body, ClientAddr};

    #[derive(Clone)]
    struct EchoHandler;

    impl Handler for EchoHandler {
        async fn handle(&self, request: Request<Body>, _: ClientAddr) -> Response {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let text = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
            let length = text.len();
            let response = Response::new(text.into());
            let (mut parts, body) = response.into_parts();
            parts.headers.insert("content-type", "text/plain".parse().unwrap());
            parts.headers.insert("content-length", length.into());
            Response::from_parts(parts, body)
        }
    }

    async fn run(pairs: &[(&str, &str)], input: impl Read + Send + 'static) -> String {
        let limits = ServerLimits { body: 100, body_timeout: Duration::from_millis(50), ..ServerLimits::default() };
        let (method, response) = respond(&EchoHandler, &variables(pairs), &BasePath::spawned(), &limits, input).await;
        let mut output = Vec::new();
        write_response(&mut output, &method, response).await.unwrap();
        String::from_utf8(output).unwrap()
    }

    /// Standard input that a web server keeps open.
    struct OpenInput<'a>(&'a [u8]);

    impl Read for OpenInput<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                std::thread::sleep(Duration::from_secs(1));
            }
            self.0.read(buffer)
        }
    }

    const POST: &[(&str, &str)] = &[
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_URI", "/d/kvs.cgi/x?y"),
        ("SCRIPT_NAME", "/d/kvs.cgi"),
        ("SCRIPT_FILENAME", "/w/d/kvs.cgi"),
    ];

    #[tokio::test]
    async fn request_is_answered_when_the_body_is_complete() {
        let text = run(&[POST, &[("CONTENT_LENGTH", "4")]].concat(), OpenInput(b"body")).await;
        assert!(text.starts_with("Status: 200 OK\r\nContent-Type: text/plain"), "{text}");
        assert!(text.ends_with("\r\n\r\nPOST /x?y body"), "{text}");
        let text = run(POST, OpenInput(b"")).await;
        assert!(text.ends_with("\r\n\r\nPOST /x?y "), "{text}");
    }

    #[tokio::test]
    async fn handler_is_not_called_when_the_body_is_incomplete() {
        for (length, input, status) in [("5", &b"body"[..], 400), ("101", b"", 413), ("x", b"", 400)] {
            let text = run(&[POST, &[("CONTENT_LENGTH", length)]].concat(), input).await;
            assert!(text.starts_with(&format!("Status: {status} ")), "{length}: {text}");
            assert!(!text.contains("POST /x"), "{text}");
        }
        let text = run(&[POST, &[("CONTENT_LENGTH", "5")]].concat(), OpenInput(b"body")).await;
        assert!(text.starts_with("Status: 408 "), "{text}");
        let text = run(&[POST, &[("KVS_CLIENT_CHUNKED", "1")]].concat(), &b"body"[..]).await;
        assert!(text.starts_with("Status: 411 "), "{text}");
        assert!(run(&[], &b""[..]).await.starts_with("Status: 400 "));
    }

    /// Endless standard input that counts the bytes read.
    struct CountingInput(std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl Read for CountingInput {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len(), std::sync::atomic::Ordering::SeqCst);
            Ok(buffer.len())
        }
    }

    #[tokio::test]
    async fn rejected_body_is_read_up_to_a_limit() {
        let count = std::sync::Arc::default();
        let text =
            run(&[POST, &[("CONTENT_LENGTH", "101")]].concat(), CountingInput(std::sync::Arc::clone(&count))).await;
        assert!(text.starts_with("Status: 413 "), "{text}");
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 64 << 20);
    }

    #[tokio::test]
    async fn address_and_headers_have_limits() {
        let long = format!("/{}", "x".repeat(70_000));
        let asked = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", &long), ("HTTP_ACCEPT", "application/json")];
        let text = run(&asked, &b""[..]).await;
        assert!(text.starts_with("Status: 414 ") && text.contains("\"status\":414"), "{text}");
        let long = "x".repeat(300_000);
        let text = run(&[("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/"), ("HTTP_X", &long)], &b""[..]).await;
        assert!(text.starts_with("Status: 431 "), "{text}");
    }

    #[tokio::test]
    async fn response_to_head_has_no_body() {
        let text = run(&[("REQUEST_METHOD", "HEAD"), ("REQUEST_URI", "/")], &b""[..]).await;
        assert!(text.starts_with("Status: 200 OK\r\n") && text.contains("\r\nContent-Length: 7\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}
