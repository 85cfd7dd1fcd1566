//! What the errors of a store over HTTP say: what failed, and whether anything was stored.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use kvs::client::Client;
use kvs::model::{Error, ErrorKind, SystemClock};
use kvs::remote::{RemoteOptions, RemoteStore};
use kvs::store::Limits;
use tokio_util::sync::CancellationToken;

use super::apache::Apache;
use super::{SECRET, runtime, serve, settings};
use crate::store::named;

fn client(address: &str, options: &RemoteOptions) -> Client {
    Client::new(Arc::new(RemoteStore::new(address.parse().unwrap(), options).unwrap()))
}

fn options() -> RemoteOptions {
    RemoteOptions { secret: Some(SECRET.to_owned()), timeout: Duration::from_secs(5), ..RemoteOptions::default() }
}

/// A server in memory.
fn server() -> (u16, CancellationToken) {
    let _runtime = runtime().enter();
    let (stop, limits) = (CancellationToken::new(), Limits::default());
    let folder = tempfile::tempdir().unwrap();
    let store = named("memory")(Arc::new(SystemClock), limits, folder.path());
    let api = kvs::web::Api::new(store, settings(Arc::new(SystemClock), limits, stop.clone()));
    (serve(api, limits, stop.clone()), stop)
}

/// A server that answers each connection with this text after it has read something, and closes it.
fn answering(text: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(text.as_bytes());
        }
    });
    port
}

fn assert_error(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let text = error.to_string();
    assert!(error.kind() == kind && parts.iter().all(|part| text.contains(part)), "{:?}: {text}", error.kind());
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn an_unreachable_server_did_nothing() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kvs = client(&format!("http://127.0.0.1:{port}/"), &options());
    let expected = ["cannot connect to http://127.0.0.1:", "nothing was done"];
    assert_error(&kvs.set("a", "1").await.unwrap_err(), ErrorKind::Busy, &expected);
    assert_error(&kvs.get("a").await.unwrap_err(), ErrorKind::Busy, &expected);
}

#[tokio::test]
async fn a_lost_response_leaves_a_write_unknown() {
    for text in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"revision\":"] {
        let kvs = client(&format!("http://127.0.0.1:{}/", answering(text)), &options());
        let error = kvs.set("a", "1").await.unwrap_err();
        assert_error(&error, ErrorKind::Unavailable, &["unknown whether the write was done", "read before you write"]);
        assert_error(&kvs.get("a").await.unwrap_err(), ErrorKind::Unavailable, &["did not arrive", "try again"]);
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let kvs = client(&address, &RemoteOptions { timeout: Duration::from_millis(300), ..options() });
    let error = kvs.set("a", "1").await.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, &["unknown whether the write was done", "no response within"]);
}

#[tokio::test]
async fn a_server_that_is_not_kvs_is_named_as_such() {
    let page = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    let kvs = client(&format!("http://127.0.0.1:{}/", answering(page)), &options());
    for error in [kvs.set("a", "1").await.unwrap_err(), kvs.get("a").await.unwrap_err()] {
        assert_error(&error, ErrorKind::Invalid, &["404", "not kvs", "nothing was done", "check the address"]);
    }
    let moved = "HTTP/1.1 301 Moved\r\nLocation: https://example.org/kvs/?x\r\nContent-Length: 0\r\n\r\n";
    let kvs = client(&format!("http://127.0.0.1:{}/", answering(moved)), &options());
    let error = kvs.set("a", "1").await.unwrap_err();
    assert_error(&error, ErrorKind::Invalid, &["redirects to https://example.org/kvs/;"]);
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let kvs = client(&format!("http://127.0.0.1:{}/", answering(text)), &options());
    assert_error(&kvs.get("a").await.unwrap_err(), ErrorKind::Unavailable, &["not one of kvs"]);
}

#[tokio::test]
async fn rights_and_limits_are_those_of_the_server() {
    let (port, _stop) = server();
    let address = format!("http://127.0.0.1:{port}/");
    let nobody = client(&address, &RemoteOptions { secret: None, ..options() });
    assert_eq!(nobody.get("a").await.unwrap(), None, "reads are open");
    let error = nobody.set("a", "1").await.unwrap_err();
    assert_error(&error, ErrorKind::PermissionDenied, &["a secret is needed", "nothing was stored"]);
    let wrong = client(&address, &RemoteOptions { secret: Some("wrong".to_owned()), ..options() });
    let error = wrong.set("a", "1").await.unwrap_err();
    assert_error(&error, ErrorKind::PermissionDenied, &["wrong secret", "nothing was stored"]);
    let kvs = client(&address, &options());
    let error = kvs.set("a", vec![b'x'; 2 << 20]).await.unwrap_err();
    assert_error(&error, ErrorKind::TooLarge, &["nothing was stored"]);
    kvs.set("a", "1").await.unwrap();
    assert_eq!(kvs.get_string("a").await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn an_untrusted_certificate_is_an_error_that_says_what_to_do() {
    let (port, _stop) = server();
    let kvs = client(&Apache::shared().address(port), &options());
    let error = kvs.set("a", "1").await.unwrap_err();
    assert_error(&error, ErrorKind::Invalid, &["not trusted", "nothing was done", "SSL_CERT_FILE"]);
}

#[tokio::test]
async fn a_stopped_server_behind_apache_leaves_a_write_unknown() {
    let (port, stop) = server();
    let apache = Apache::shared();
    let options = RemoteOptions { root_certificates: Some(apache.certificate()), ..options() };
    let kvs = client(&apache.address(port), &options);
    kvs.set("a", "1").await.unwrap();
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let error = kvs.set("a", "2").await.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, &["503", "unknown whether the write was done"]);
    assert_error(&kvs.get("a").await.unwrap_err(), ErrorKind::Unavailable, &["503", "not kvs"]);
}
