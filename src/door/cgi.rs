//! CGI: one request from the environment and standard input, its answer to standard output.
//!
//! The arguments of the program come from the client under CGI and are never looked at.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use axum::body::Body;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::call::{App, call};
use super::gateway;
use super::length;
use super::limits::Limits;
use super::mount::Mount;
use super::print::print;
use super::refusal::Refusal;
use super::variables::Variables;

/// How much of a body that is refused is read.
const DROPPED: u64 = 64 << 20;

/// How long that may take.
const DROP_TIME: Duration = Duration::from_secs(5);

/// Answers the request in the environment of this process. An error means that nobody takes the answer.
///
/// A thread that reads standard input may outlive this call if the web server never sends what it announced; leave the
/// process without waiting for it.
pub async fn answer<A: App>(app: A, mount: &Mount, limits: &Limits) -> io::Result<()> {
    let variables = Variables::of(std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())));
    respond(app, (variables, mount), limits, io::stdin(), &mut io::stdout().lock()).await
}

async fn respond<A: App>(
    app: A,
    (variables, mount): (Variables, &Mount),
    limits: &Limits,
    input: impl Read + Send + 'static,
    output: &mut impl Write,
) -> io::Result<()> {
    // As over FastCGI, where the same variables are a list of parameters.
    let bounded = if variables.size() > limits.head { Err(Refusal::LongHead) } else { Ok(()) };
    let (method, response) = match bounded.and_then(|()| gateway::head(&variables, mount)) {
        Ok(parts) => {
            let method = parts.method.clone();
            (method, called(&app, parts, (&variables, mount), (limits, input)).await)
        }
        Err(refusal) => {
            let (method, headers) = gateway::asked(&variables);
            (method, refusal.response(&headers))
        }
    };
    let (mut bytes, body) = print(&method, response);
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

async fn called<A: App>(
    app: &A,
    parts: Parts,
    (variables, mount): (&Variables, &Mount),
    (limits, input): (&Limits, impl Read + Send + 'static),
) -> Response<Body> {
    let body = match length::announced(variables, mount, limits.body) {
        Ok(0) => Ok(Vec::new()),
        Ok(length) => read(input, length, limits.body_time).await,
        Err(refusal) => {
            drop_all(input).await;
            Err(refusal)
        }
    };
    match body {
        Ok(body) => call(app, Request::from_parts(parts, Body::from(body))).await,
        Err(refusal) => refusal.response(&parts.headers),
    }
}

/// Reads and drops a body that is refused. Apache takes a program that ends before as a broken one, and loses its
/// answer.
async fn drop_all(input: impl Read + Send + 'static) {
    let (done, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let outcome = io::copy(&mut input.take(DROPPED), &mut io::sink());
        // Nobody listens any more if it took too long.
        let _ = done.send(outcome);
    });
    // Whatever came of it: the answer is the refusal.
    let _ = tokio::time::timeout(DROP_TIME, ended).await;
}

/// Exactly `length` bytes. No more are asked for: a web server need not close its end.
async fn read(input: impl Read + Send + 'static, length: usize, patience: Duration) -> Result<Vec<u8>, Refusal> {
    let (done, read) = oneshot::channel();
    // Not a blocking task: the runtime would wait for it at its end.
    std::thread::spawn(move || {
        let mut body = Vec::new();
        let wanted = u64::try_from(length).unwrap_or(u64::MAX);
        let outcome = input.take(wanted).read_to_end(&mut body);
        // Nobody listens any more if it took too long.
        let _ = done.send(outcome.map(|_| body));
    });
    match tokio::time::timeout(patience, read).await {
        Err(_elapsed) => Err(Refusal::Slow),
        Ok(Ok(Ok(body))) if body.len() == length => Ok(body),
        Ok(Ok(Ok(_))) => Err(Refusal::OtherLength),
        Ok(_) => Err(Refusal::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gateway::tests::variables;
    use super::*;
    use axum::Router;
    use axum::extract::Request as Asked;

    async fn echo(asked: Asked) -> String {
        let (parts, body) = asked.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body))
    }

    async fn run(pairs: &[(&str, &str)], input: impl Read + Send + 'static) -> String {
        let app = Router::new().fallback(echo);
        let limits = Limits { body: 100, body_time: Duration::from_millis(50), ..Limits::default() };
        let mut output = Vec::new();
        respond(app, (variables(pairs), &Mount::spawned()), &limits, input, &mut output).await.unwrap();
        String::from_utf8(output).unwrap()
    }

    /// Standard input that a web server keeps open.
    struct Open<'a>(&'a [u8]);

    impl Read for Open<'_> {
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
    async fn request_is_answered_when_the_body_is_whole() {
        let text = run(&[POST, &[("CONTENT_LENGTH", "4")]].concat(), Open(b"body")).await;
        assert!(text.starts_with("Status: 200 OK\r\nContent-Type: text/plain"), "{text}");
        assert!(text.ends_with("\r\n\r\nPOST /x?y body"), "{text}");
        let text = run(POST, Open(b"")).await;
        assert!(text.ends_with("\r\n\r\nPOST /x?y "), "{text}");
    }

    #[tokio::test]
    async fn app_is_not_called_when_the_body_is_not_whole() {
        for (length, input, status) in [("5", &b"body"[..], 400), ("101", b"", 413), ("x", b"", 400)] {
            let text = run(&[POST, &[("CONTENT_LENGTH", length)]].concat(), input).await;
            assert!(text.starts_with(&format!("Status: {status} ")), "{length}: {text}");
            assert!(!text.contains("POST /x"), "{text}");
        }
        let text = run(&[POST, &[("CONTENT_LENGTH", "5")]].concat(), Open(b"body")).await;
        assert!(text.starts_with("Status: 408 "), "{text}");
        let text = run(&[POST, &[("KVS_CLIENT_CHUNKED", "1")]].concat(), &b"body"[..]).await;
        assert!(text.starts_with("Status: 411 "), "{text}");
        assert!(run(&[], &b""[..]).await.starts_with("Status: 400 "));
    }

    /// Counts what is read of endless standard input.
    struct Counted(std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len(), std::sync::atomic::Ordering::SeqCst);
            Ok(buffer.len())
        }
    }

    #[tokio::test]
    async fn refused_body_is_read_but_not_for_ever() {
        let count = std::sync::Arc::default();
        let text = run(&[POST, &[("CONTENT_LENGTH", "101")]].concat(), Counted(std::sync::Arc::clone(&count))).await;
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
    async fn body_is_left_out_when_asked_by_head() {
        let text = run(&[("REQUEST_METHOD", "HEAD"), ("REQUEST_URI", "/")], &b""[..]).await;
        assert!(text.starts_with("Status: 200 OK\r\n") && text.contains("\r\nContent-Length: 7\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}
