//! Encrypted connections to a server with a self-signed certificate.

use std::sync::OnceLock;

use super::server::{PASSWORD, Server, hand_over};
use super::{client, table};
use crate::support::certificate;

/// A server that accepts only TLS over TCP.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let mut server = Server::start("fsync = off\nshared_buffers = 32MB");
        let data = server.folder().join("data");
        certificate::make(&data);
        hand_over(&data.join("server.key"));
        server.psql("ALTER SYSTEM SET ssl = on");
        let rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        let file = std::fs::File::create(data.join("pg_hba.conf"));
        std::io::Write::write_all(&mut file.unwrap(), rules.as_bytes()).unwrap();
        server.crash();
        server.restart();
        server
    })
}

fn url(parameters: &str) -> String {
    let password = PASSWORD.replace('/', "%2F").replace('?', "%3F").replace('@', "%40");
    server().tcp_url(&password, &format!("table={}&{parameters}", table()))
}

#[tokio::test]
async fn connections_are_encrypted_if_the_server_supports_it() {
    for mode in ["", "sslmode=prefer", "sslmode=require"] {
        let client = client(&url(&format!("{mode}&application_name=tls")));
        client.set("k", "1").await.unwrap();
        let encrypted =
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tls'";
        assert_eq!(server().psql(encrypted), "t", "{mode}");
    }
    let error = client(&url("sslmode=disable")).set("k", "1").await.unwrap_err();
    assert!(error.to_string().contains("no encryption"), "{error}");
}

#[tokio::test]
async fn verify_full_checks_the_certificate() {
    let own = server().folder().join("data/server.crt");
    let own = format!("sslmode=verify-full&sslrootcert={}", own.display());
    client(&url(&own)).set("k", "1").await.unwrap();
    let error = client(&url("sslmode=verify-full")).set("k", "1").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn an_error_names_a_root_certificate_file_without_certificates() {
    let key = server().folder().join("nothing.crt");
    let url = url(&format!("sslmode=require&sslrootcert={}", key.display()));
    let error = kvs::postgres::PostgresStore::open(&url, kvs::postgres::PostgresOptions::default()).err().unwrap();
    assert!(error.to_string().contains("nothing.crt"), "{error}");
}
